//! What the live view knows: the latest state of every node and the last few minutes of rates.
//!
//! Pure: updates carry the time they were seen; rates are differences of totals.

use std::{collections::VecDeque, time::Duration};

use thermocline_proto::v1::{Health, MoveProgress, NodeStatus, RangeHeat};

/// Samples of the history that are kept: at one a second, two minutes.
const HISTORY: usize = 120;

/// News of one node.
#[derive(Debug)]
pub(crate) enum Update {
    /// Its state.
    Status(Box<NodeStatus>),
    /// It does not answer, and why.
    Silent(String),
    /// The heat of its ranges, in key order.
    Heat(Vec<RangeHeat>),
    /// Its moves.
    Moves(Vec<MoveProgress>),
}

/// What is known of one node.
#[derive(Debug, Default)]
pub(crate) struct NodeView {
    pub(crate) name: String,
    pub(crate) status: Option<NodeStatus>,
    pub(crate) silent: Option<String>,
    pub(crate) heat: Vec<RangeHeat>,
    pub(crate) moves: Vec<MoveProgress>,
    pub(crate) reads_per_second: f64,
    pub(crate) writes_per_second: f64,
    seen: Option<Duration>,
}

/// What the view draws.
#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) cluster: String,
    pub(crate) nodes: Vec<NodeView>,
    /// Reads a second over all nodes, oldest first.
    pub(crate) reads: VecDeque<u64>,
    /// Writes a second over all nodes, oldest first.
    pub(crate) writes: VecDeque<u64>,
}

impl Model {
    /// A view of these nodes, of which nothing is known yet.
    pub(crate) fn new(cluster: String, names: impl IntoIterator<Item = String>) -> Self {
        let nodes = names.into_iter().map(|name| NodeView { name, ..NodeView::default() }).collect();
        Self { cluster, nodes, ..Self::default() }
    }

    /// Takes news of a node, seen `now` after the view began.
    pub(crate) fn update(&mut self, node: usize, now: Duration, update: Update) {
        let Some(view) = self.nodes.get_mut(node) else {
            return;
        };
        match update {
            Update::Status(status) => view.status_seen(*status, now),
            Update::Silent(reason) => {
                view.silent = Some(reason);
                view.reads_per_second = 0.0;
                view.writes_per_second = 0.0;
                view.seen = None;
            }
            Update::Heat(mut ranges) => {
                ranges.sort_by(|left, right| left.start.cmp(&right.start));
                view.heat = ranges;
            }
            Update::Moves(moves) => view.moves = moves,
        }
    }

    /// Adds the present rates to the history; to be called once an interval.
    pub(crate) fn sample(&mut self) {
        let reads = self.nodes.iter().map(|node| node.reads_per_second).sum::<f64>();
        let writes = self.nodes.iter().map(|node| node.writes_per_second).sum::<f64>();
        for (history, value) in [(&mut self.reads, reads), (&mut self.writes, writes)] {
            if history.len() == HISTORY {
                history.pop_front();
            }
            history.push_back(value as u64);
        }
    }
}

impl NodeView {
    fn status_seen(&mut self, status: NodeStatus, now: Duration) {
        let totals = |status: &NodeStatus| status.operations.unwrap_or_default();
        if let (Some(before), Some(seen)) = (&self.status, self.seen) {
            let seconds = now.saturating_sub(seen).as_secs_f64();
            let (old, new) = (totals(before), totals(&status));
            // Totals start anew with the process: then there is no rate until the next answer.
            let restarted = status.uptime_ms < before.uptime_ms;
            if seconds > 0.0 && !restarted {
                let per_second = |new: u64, old: u64| new.saturating_sub(old) as f64 / seconds;
                self.reads_per_second = per_second(new.reads, old.reads);
                self.writes_per_second = per_second(new.writes + new.deletes, old.writes + old.deletes);
            }
        }
        self.status = Some(status);
        self.silent = None;
        self.seen = Some(now);
    }

    /// Its health as one word.
    pub(crate) fn health(&self) -> &'static str {
        if self.silent.is_some() {
            return "silent";
        }
        match self.status.as_ref().map(NodeStatus::health) {
            None => "asking",
            Some(Health::Serving) => "serving",
            Some(Health::ReadOnly) => "read only",
            Some(Health::NotServing) => "not serving",
            Some(Health::Draining) => "draining",
            Some(Health::Unspecified) => "unknown",
        }
    }
}

#[cfg(test)]
mod tests {
    use thermocline_proto::v1::OperationTotals;

    use super::*;

    fn status(uptime_ms: u64, reads: u64, writes: u64) -> Update {
        Update::Status(Box::new(NodeStatus {
            uptime_ms,
            health: Health::Serving.into(),
            operations: Some(OperationTotals { reads, writes, ..OperationTotals::default() }),
            ..NodeStatus::default()
        }))
    }

    fn model() -> Model {
        Model::new("demo".to_owned(), ["a".to_owned(), "b".to_owned()])
    }

    #[test]
    fn rates_are_differences_of_totals_over_the_time_between() {
        let mut model = model();
        model.update(0, Duration::from_secs(1), status(1000, 100, 10));
        assert_eq!(model.nodes[0].reads_per_second, 0.0, "one answer makes no rate");
        model.update(0, Duration::from_secs(3), status(3000, 300, 30));
        assert_eq!((model.nodes[0].reads_per_second, model.nodes[0].writes_per_second), (100.0, 10.0));
        model.update(1, Duration::from_secs(1), status(1000, 0, 0));
        model.update(1, Duration::from_secs(2), status(2000, 50, 0));
        model.sample();
        assert_eq!((model.reads.back(), model.writes.back()), (Some(&150), Some(&10)));
    }

    #[test]
    fn a_restarted_node_makes_no_false_rate() {
        let mut model = model();
        model.update(0, Duration::from_secs(1), status(9000, 100, 0));
        model.update(0, Duration::from_secs(2), status(500, 1_000_000, 0));
        assert_eq!(model.nodes[0].reads_per_second, 0.0);
    }

    #[test]
    fn a_silent_node_has_no_rate_and_says_so() {
        let mut model = model();
        assert_eq!(model.nodes[0].health(), "asking");
        model.update(0, Duration::from_secs(1), status(1000, 0, 0));
        model.update(0, Duration::from_secs(2), status(2000, 10, 0));
        assert_eq!(model.nodes[0].health(), "serving");
        model.update(0, Duration::from_secs(3), Update::Silent("refused".to_owned()));
        assert_eq!((model.nodes[0].health(), model.nodes[0].reads_per_second), ("silent", 0.0));
    }

    #[test]
    fn the_history_is_bounded() {
        let mut model = model();
        for _ in 0..HISTORY + 10 {
            model.sample();
        }
        assert_eq!(model.reads.len(), HISTORY);
    }
}
