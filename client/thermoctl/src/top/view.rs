//! Draws the model. Pure: the same model, size and style give the same cells.
//!
//! Meaning is never in colour alone: fill is a bar with figures, heat is a shade.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Block, Cell, LineGauge, Paragraph, Row, Sparkline, Table},
};
use thermocline_proto::v1::{RangeHeat, TierStatus};

use super::model::{Model, NodeView};
use crate::output::{bytes, nanos, percent, rate};

/// Shades from cold to hot.
const SHADES: [&str; 5] = ["·", "░", "▒", "▓", "█"];
/// Reads a day per step of shade: each step is about thirty times the one before; the last begins where a key counts
/// as hot many times over.
const SHADE_STEPS: [f64; 4] = [1.0, 30.0, 1_000.0, 30_000.0];
const SHADE_COLORS: [Color; 5] = [Color::DarkGray, Color::Blue, Color::Cyan, Color::Yellow, Color::Red];

/// Draws the model into the frame; without colours where `styled` is false.
pub(crate) fn draw(frame: &mut Frame<'_>, model: &Model, styled: bool) {
    let tiers = tier_totals(model);
    let node_rows = model.nodes.len() as u16;
    let [head, load, nodes, tier_area, heat, moves] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(6),
        Constraint::Length(node_rows + 3),
        Constraint::Length(tiers.len() as u16 + 2),
        Constraint::Length(node_rows + 2),
        Constraint::Min(3),
    ])
    .areas(frame.area());
    let palette = Palette { styled };
    frame.render_widget(header(model, palette), head);
    draw_load(frame, load, model, palette);
    draw_nodes(frame, nodes, model, palette);
    draw_tiers(frame, tier_area, &tiers, palette);
    draw_heat(frame, heat, model, palette);
    draw_moves(frame, moves, model);
}

/// Styles that vanish where colours are off.
#[derive(Clone, Copy)]
struct Palette {
    styled: bool,
}

impl Palette {
    fn color(self, color: Color) -> Style {
        if self.styled { Style::new().fg(color) } else { Style::new() }
    }

    fn bold(self) -> Style {
        if self.styled { Style::new().add_modifier(Modifier::BOLD) } else { Style::new() }
    }
}

fn header(model: &Model, palette: Palette) -> Paragraph<'_> {
    let serving = model.nodes.iter().filter(|node| node.health() == "serving").count();
    Paragraph::new(Line::from(vec![
        Span::styled(format!("Thermocline {}", model.cluster), palette.bold()),
        Span::raw(format!("  {serving} of {} nodes serve   q quits", model.nodes.len())),
    ]))
}

fn draw_load(frame: &mut Frame<'_>, area: Rect, model: &Model, palette: Palette) {
    let halves = Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).areas::<2>(area);
    let sides = [("reads", &model.reads, Color::Green), ("writes", &model.writes, Color::Magenta)];
    for (half, (name, history, color)) in halves.into_iter().zip(sides) {
        let now = history.back().copied().unwrap_or_default();
        // The newest samples are those on the right.
        let width = usize::from(half.width.saturating_sub(2));
        let shown: Vec<u64> = history.iter().rev().take(width).rev().copied().collect();
        let line = Sparkline::default()
            .block(Block::bordered().title(format!(" {name} {} ", rate(now as f64))))
            .style(palette.color(color))
            .data(shown);
        frame.render_widget(line, half);
    }
}

fn draw_nodes(frame: &mut Frame<'_>, area: Rect, model: &Model, palette: Palette) {
    let rows = model.nodes.iter().map(|node| node_row(node, palette));
    let header =
        Row::new(["node", "health", "reads", "writes", "read p50", "p99", "write p50", "p99", "row cache", "mover"]);
    let widths = [
        Constraint::Fill(2),
        Constraint::Length(11),
        Constraint::Length(9),
        Constraint::Length(9),
        Constraint::Length(9),
        Constraint::Length(9),
        Constraint::Length(9),
        Constraint::Length(9),
        Constraint::Length(9),
        Constraint::Fill(1),
    ];
    let table = Table::new(rows, widths).header(header.style(palette.bold())).block(Block::bordered().title(" nodes "));
    frame.render_widget(table, area);
}

fn node_row(node: &NodeView, palette: Palette) -> Row<'static> {
    let health = node.health();
    let health_style = palette.color(if health == "serving" { Color::Green } else { Color::Red });
    let mut cells = vec![
        Cell::from(node.name.clone()),
        Cell::from(health).style(health_style),
        Cell::from(rate(node.reads_per_second)),
        Cell::from(rate(node.writes_per_second)),
    ];
    if let Some(status) = &node.status {
        let operations = status.operations.unwrap_or_default();
        let cache = status.row_cache.unwrap_or_default();
        let asked = cache.hits + cache.misses;
        let hit_ratio = if asked == 0 { "-".to_owned() } else { percent(cache.hits as f64 / asked as f64) };
        let mover = status.mover.as_ref().map_or_else(String::new, |mover| mover.state.clone());
        cells.extend(
            [
                nanos(operations.read_p50_nanos),
                nanos(operations.read_p99_nanos),
                nanos(operations.write_p50_nanos),
                nanos(operations.write_p99_nanos),
                hit_ratio,
                mover,
            ]
            .map(Cell::from),
        );
    }
    Row::new(cells)
}

/// A tier over all nodes.
struct TierTotal {
    name: String,
    rank: u32,
    used: u64,
    capacity: u64,
    reads: u64,
}

fn tier_totals(model: &Model) -> Vec<TierTotal> {
    let mut totals: Vec<TierTotal> = Vec::new();
    let tiers = model.nodes.iter().filter_map(|node| node.status.as_ref()).flat_map(|status| &status.tiers);
    for TierStatus { name, rank, used_bytes, capacity_bytes, reads, .. } in tiers {
        if let Some(total) = totals.iter_mut().find(|total| total.name == *name) {
            total.used += used_bytes;
            total.capacity += capacity_bytes;
            total.reads += reads;
        } else {
            totals.push(TierTotal {
                name: name.clone(),
                rank: *rank,
                used: *used_bytes,
                capacity: *capacity_bytes,
                reads: *reads,
            });
        }
    }
    totals.sort_by_key(|total| total.rank);
    totals
}

fn draw_tiers(frame: &mut Frame<'_>, area: Rect, tiers: &[TierTotal], palette: Palette) {
    let block = Block::bordered().title(" tiers ");
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let all_reads: u64 = tiers.iter().map(|tier| tier.reads).sum();
    let rows = Layout::vertical(vec![Constraint::Length(1); tiers.len()]).split(inner);
    for (tier, row) in tiers.iter().zip(rows.iter()) {
        let fill = if tier.capacity == 0 { 0.0 } else { tier.used as f64 / tier.capacity as f64 };
        let share = if all_reads == 0 { 0.0 } else { tier.reads as f64 / all_reads as f64 };
        let label = format!(
            "{:<10} {:>10} of {:>10}  {:>7}  {:>7} of reads ",
            tier.name,
            bytes(tier.used),
            bytes(tier.capacity),
            percent(fill),
            percent(share)
        );
        let color = if fill > 0.85 { Color::Red } else { Color::Green };
        let gauge = LineGauge::default()
            .ratio(fill.clamp(0.0, 1.0))
            .label(label)
            .filled_symbol("█")
            .unfilled_symbol("─")
            .filled_style(palette.color(color))
            .unfilled_style(palette.color(Color::DarkGray));
        frame.render_widget(gauge, *row);
    }
}

fn draw_heat(frame: &mut Frame<'_>, area: Rect, model: &Model, palette: Palette) {
    let name_width = model.nodes.iter().map(|node| node.name.chars().count()).max().unwrap_or(0);
    let cells = usize::from(area.width.saturating_sub(3)).saturating_sub(name_width);
    let lines: Vec<Line<'_>> = model
        .nodes
        .iter()
        .map(|node| {
            let mut spans = vec![Span::raw(format!("{:<name_width$} ", node.name))];
            spans.extend(
                node_heat(&node.heat, cells)
                    .into_iter()
                    .map(|level| Span::styled(SHADES[level], palette.color(SHADE_COLORS[level]))),
            );
            Line::from(spans)
        })
        .collect();
    let title = " heat of ranges, in key order (· cold, █ hot) ";
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(title)), area);
}

/// Levels of at most `cells` cells: where there are more ranges than cells, a cell shows the hottest of its ranges.
fn node_heat(ranges: &[RangeHeat], cells: usize) -> Vec<usize> {
    if ranges.is_empty() || cells == 0 {
        return Vec::new();
    }
    let shown = ranges.len().min(cells);
    (0..shown)
        .map(|cell| {
            let group = &ranges[cell * ranges.len() / shown..(cell + 1) * ranges.len() / shown];
            let hottest = group.iter().map(|range| range.reads_per_day).fold(0.0, f64::max);
            SHADE_STEPS.iter().filter(|step| hottest >= **step).count()
        })
        .collect()
}

fn draw_moves(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let asked_for = model.nodes.iter().flat_map(|node| {
        node.moves.iter().map(move |entry| {
            format!(
                "{}/{} {} {} %  {} {}",
                node.name,
                entry.move_id,
                entry.state,
                entry.percent,
                bytes(entry.bytes),
                entry.message
            )
        })
    });
    let automatic = model.nodes.iter().flat_map(|node| {
        let totals = node.status.iter().filter_map(|status| status.mover.as_ref()).flat_map(|mover| &mover.totals);
        totals.map(move |total| {
            format!(
                "{} {} -> {} ({}): {} moves, {}",
                node.name,
                total.from,
                total.to,
                total.reason,
                total.moves,
                bytes(total.bytes)
            )
        })
    });
    let silent = model
        .nodes
        .iter()
        .filter_map(|node| node.silent.as_ref().map(|reason| format!("{} is silent: {reason}", node.name)));
    let lines: Vec<Line<'_>> = silent.chain(asked_for).chain(automatic).map(Line::from).collect();
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(" moves ")), area);
}

#[cfg(test)]
#[path = "view_test.rs"]
mod tests;
