//! A run as text.

use std::fmt::Write as _;

use super::SimulationView;
use crate::{
    context::Context,
    output::{bytes, count, percent},
};

/// Refusals that are shown.
const REFUSALS: usize = 5;

pub(super) fn text(context: &Context, view: &SimulationView) -> String {
    let report = &view.report;
    let mut rows = Vec::new();
    let mut row = |name: &str, value: String| rows.push(vec![name.to_owned(), value]);
    row("fleet", format!("{} nodes, {} shards", count(report.nodes), count(report.shards)));
    row("simulated", format!("{}, seed {}", span(report.seconds), report.seed));
    row(
        "imbalance",
        format!(
            "{:.1} % before, {:.1} % after; at most {:.0} % is aimed at",
            report.imbalance_before, report.imbalance_after, report.imbalance_target
        ),
    );
    row("in balance after", report.converged_after.map_or_else(|| "never".to_owned(), span));
    row("time in balance", percent(report.time_in_balance));
    row("bytes moved", bytes(report.bytes_moved));
    let (most, mean) = (report.moves_per_shard_max, report.moves_per_moved_shard);
    row("moves of a shard", format!("at most {most}, {mean:.2} of those that moved; {} came back", report.returns));
    row("fullest tier", format!("{:.1} % at most", report.disk_max));
    row("busiest node", format!("{:.1} % of its processors at most", report.cpu_max));
    row("cost a month", format!("{:.2} before, {:.2} after", report.cost_before, report.cost_after));
    if let Some(recovered) = report.recovered_after {
        row("failure made up for", format!("within {}", span(recovered)));
    }
    row("moves took", format!("{:+.1} % of what was forecast", report.duration_error * 100.0));
    let planning = &view.planning;
    row(
        "a planning round",
        format!(
            "{:.1} ms, at most {:.1} ms ({} rounds)",
            planning.mean_millis,
            planning.max_millis,
            count(planning.rounds)
        ),
    );
    let mut text = context.printer.table(&["FIGURE", "VALUE"], rows);
    let moves = report.moves.iter().map(|(reason, of)| vec![reason.clone(), count(of.moves), bytes(of.bytes)]);
    // Writing to a String cannot fail.
    let _ = write!(text, "\n{}", context.printer.table(&["REASON", "MOVES", "BYTES"], moves.collect()));
    if !report.refusals.is_empty() {
        let refused = report.refusals.iter().take(REFUSALS);
        let refused = refused.map(|(times, example)| vec![count(*times), example.clone()]).collect();
        let _ = write!(text, "\n{}", context.printer.table(&["REFUSED", "FOR EXAMPLE, IN THE LAST ROUND"], refused));
    }
    text
}

/// Seconds as hours, minutes and seconds.
fn span(seconds: u64) -> String {
    match (seconds / 3_600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, 0) => format!("{minutes} min"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, 0, _) => format!("{hours} h"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::span;

    #[test]
    fn a_span_reads_as_people_say_it() {
        let shown = [0, 59, 60, 61, 3_600, 3_660, 90_061].map(span);
        assert_eq!(shown, ["0 s", "59 s", "1 min", "1 min 1 s", "1 h", "1 h 1 min", "25 h 1 min"]);
    }
}
