//! A run as SVG: imbalance above, disk and processors in the middle, moves below, over hours.

use plotters::prelude::*;
use thermocline_simulator::{Report, Sample};

/// The size of the drawing, in pixels.
const SIZE: (u32, u32) = (960, 900);
/// Colours that people who see colours differently can tell apart.
const COLOURS: [RGBColor; 2] = [RGBColor(0, 114, 178), RGBColor(213, 94, 0)];

/// A line: its name and its figure.
type Line = (&'static str, fn(&Sample) -> f64);
type DrawingError = DrawingAreaErrorKind<std::io::Error>;

/// Draws a run.
///
/// # Errors
/// Where it cannot be drawn.
pub(super) fn draw(report: &Report) -> Result<String, DrawingError> {
    let mut drawing = String::new();
    {
        let area = SVGBackend::with_string(&mut drawing, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let panels = area.split_evenly((3, 1));
        let imbalance: [Line; 2] =
            [("imbalance by bytes, %", |sample| sample.imbalance_disk), ("by load, %", |sample| sample.imbalance_load)];
        let fullness: [Line; 2] =
            [("fullest tier, %", |sample| sample.disk_max), ("busiest node, %", |sample| sample.cpu_max)];
        let moves: [Line; 2] = [
            ("moves under way", |sample| sample.moving as f64),
            ("TiB moved", |sample| sample.bytes_moved as f64 / (1_u64 << 40) as f64),
        ];
        for (panel, lines) in panels.iter().zip([imbalance, fullness, moves]) {
            draw_panel(panel, report, lines)?;
        }
        area.present()?;
    }
    Ok(drawing)
}

fn draw_panel(
    panel: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    report: &Report,
    lines: [Line; 2],
) -> Result<(), DrawingError> {
    let hour = |sample: &Sample| sample.second as f64 / 3_600.0;
    let figures = lines.iter().flat_map(|(_, figure)| report.samples.iter().map(*figure));
    let highest = figures.fold(1.0, f64::max) * 1.05;
    let last = report.samples.last().map_or(1.0, hour).max(0.1);
    let mut chart = ChartBuilder::on(panel)
        .margin(12)
        .x_label_area_size(28)
        .y_label_area_size(48)
        .build_cartesian_2d(0.0..last, 0.0..highest)?;
    chart.configure_mesh().x_desc("hours").light_line_style(WHITE).draw()?;
    for ((name, figure), colour) in lines.into_iter().zip(COLOURS) {
        let points = report.samples.iter().map(|sample| (hour(sample), figure(sample)));
        chart
            .draw_series(LineSeries::new(points, &colour))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour));
    }
    chart.configure_series_labels().background_style(WHITE.mix(0.8)).border_style(BLACK.mix(0.3)).draw()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use thermocline_simulator::{Scenario, Simulation};

    use super::*;

    #[test]
    fn a_run_is_drawn_with_all_its_lines() {
        let text = "{duration: 5m, nodes: [{count: 3, tiers: [{name: hot, rank: 0, size: 100Gi}]}],
            shards: [{count: 9, size: 1Gi, operations: 100}]}";
        let mut simulation = Simulation::new(Scenario::from_yaml(text).unwrap());
        while !simulation.is_over() {
            simulation.plan().unwrap();
            simulation.advance();
        }
        let drawing = draw(&simulation.report()).unwrap();
        assert!(drawing.starts_with("<svg") && drawing.trim_end().ends_with("</svg>"));
        for name in
            ["imbalance by bytes", "by load", "fullest tier", "busiest node", "moves under way", "TiB moved", "hours"]
        {
            assert!(drawing.contains(name), "{name}");
        }
        assert!(drawing.matches("<polyline").count() >= 6, "a line each");
    }
}
