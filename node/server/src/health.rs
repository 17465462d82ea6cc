//! One health of the node, made of the engine's and of what the process is doing, and told to everyone who asks: the
//! gRPC health service, `/readyz`, the Status stream and metrics.

use std::time::Duration;

use thermocline_engine::Health;
use thermocline_engine::log::StorageFailure;
use thermocline_proto::{UNDER_RESERVE, v1};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::telemetry::chain;

/// How often the engine is asked. A health that turns bad is seen by writers at once, by probes after this.
const INTERVAL: Duration = Duration::from_millis(200);
/// The names under which gRPC health is told; the empty one is the whole server.
const SERVICES: [&str; 3] = ["", "thermocline.v1.Kv", "thermocline.v1.Admin"];

/// Whether the node serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeHealth {
    /// Reads and writes.
    Serving,
    /// Reads; a device is under its reserve, or damaged.
    ReadOnly {
        /// Which, and what to do.
        reason: String,
    },
    /// A write to storage failed: reads, until the node is restarted.
    NotServing {
        /// The first failure.
        reason: String,
    },
    /// It was asked to stop.
    Draining,
}

impl NodeHealth {
    /// The logs of the replicas failed, which then neither vote nor write.
    pub fn without_logs(failure: &StorageFailure) -> Self {
        Self::NotServing { reason: format!("the logs of the replicas stopped: {}; restart the node", chain(failure)) }
    }

    /// Every state as a label.
    pub const LABELS: [&'static str; 4] = ["serving", "read_only", "not_serving", "draining"];

    /// The state as a label.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::ReadOnly { .. } => "read_only",
            Self::NotServing { .. } => "not_serving",
            Self::Draining => "draining",
        }
    }

    /// Whether traffic should come. A node that only reads still serves reads, and no other node has its keys.
    pub fn is_ready(&self) -> bool {
        matches!(self, Self::Serving | Self::ReadOnly { .. })
    }

    /// Why it does not serve fully; empty where it does.
    pub fn reason(&self) -> &str {
        match self {
            Self::Serving => "",
            Self::ReadOnly { reason } | Self::NotServing { reason } => reason,
            Self::Draining => "the node is stopping",
        }
    }

    /// The state as the Status stream tells it.
    pub fn message(&self) -> v1::Health {
        match self {
            Self::Serving => v1::Health::Serving,
            Self::ReadOnly { .. } => v1::Health::ReadOnly,
            Self::NotServing { .. } => v1::Health::NotServing,
            Self::Draining => v1::Health::Draining,
        }
    }
}

impl From<Health> for NodeHealth {
    fn from(health: Health) -> Self {
        match health {
            Health::Serving => Self::Serving,
            Health::ReadOnly { device } => Self::ReadOnly {
                reason: format!("the device of {device} {UNDER_RESERVE}; writes are refused until space returns"),
            },
            Health::Damaged { tier, reason } => Self::ReadOnly {
                reason: format!(
                    "tier {tier} has damaged blocks and is full: {reason}; writes are refused until that range is restored"
                ),
            },
            Health::Failed { reason } => {
                Self::NotServing { reason: format!("a write to storage failed: {reason}; restart the node") }
            }
        }
    }
}

/// Tells the health on, and what it is now. Dropping it ends nothing; the monitor ends with its token.
#[derive(Debug, Clone)]
pub struct HealthBoard {
    state: watch::Sender<NodeHealth>,
}

impl HealthBoard {
    /// A board that begins with this health.
    pub fn new(health: NodeHealth) -> Self {
        Self { state: watch::Sender::new(health) }
    }

    /// The health now.
    pub fn now(&self) -> NodeHealth {
        self.state.borrow().clone()
    }

    /// Hears of every change.
    pub fn subscribe(&self) -> watch::Receiver<NodeHealth> {
        self.state.subscribe()
    }

    /// The node was asked to stop; nothing it hears from the engine changes that.
    pub fn drain(&self) {
        self.state.send_replace(NodeHealth::Draining);
    }

    /// Notes what the engine says. Tells only of changes, and never of any after draining began.
    fn note(&self, health: NodeHealth) {
        let changed = self.state.send_if_modified(|state| {
            let differs = *state != NodeHealth::Draining && *state != health;
            if differs {
                *state = health.clone();
            }
            differs
        });
        if !changed {
            return;
        }
        match &health {
            NodeHealth::NotServing { reason } => tracing::error!(reason, "the node no longer takes writes"),
            NodeHealth::ReadOnly { reason } => tracing::warn!(reason, "the node only reads"),
            NodeHealth::Serving | NodeHealth::Draining => {
                tracing::info!(health = health.label(), "the node's health changed");
            }
        }
    }
}

/// Looks at storage again and again, until the token is cancelled.
pub async fn monitor(board: HealthBoard, storage: impl Fn() -> NodeHealth, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(INTERVAL);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        board.note(storage());
    }
}

/// Carries the board's state to the gRPC health service, until the token is cancelled; then ends the watches, which
/// would otherwise keep their connections open for ever.
pub async fn report(board: HealthBoard, mut reporter: HealthReporter, stop: CancellationToken) {
    let mut changes = board.subscribe();
    loop {
        let status =
            if changes.borrow_and_update().is_ready() { ServingStatus::Serving } else { ServingStatus::NotServing };
        for service in SERVICES {
            reporter.set_service_status(service, status).await;
        }
        match stop.run_until_cancelled(changes.changed()).await {
            Some(Ok(())) => {}
            // Cancelled, or the board is gone.
            _ => break,
        }
    }
    for service in SERVICES {
        reporter.clear_service_status(service).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_told_after_draining_began() {
        let board = HealthBoard::new(NodeHealth::Serving);
        board.note(NodeHealth::ReadOnly { reason: "full".into() });
        assert_eq!(board.now().label(), "read_only");
        board.drain();
        board.note(NodeHealth::Serving);
        assert_eq!(board.now(), NodeHealth::Draining);
    }

    #[test]
    fn only_changes_are_told() {
        let board = HealthBoard::new(NodeHealth::Serving);
        let mut changes = board.subscribe();
        board.note(NodeHealth::Serving);
        assert!(!changes.has_changed().unwrap_or(true));
        board.note(NodeHealth::NotServing { reason: "io".into() });
        assert!(changes.has_changed().unwrap_or(false));
        changes.mark_unchanged();
        board.note(NodeHealth::NotServing { reason: "io".into() });
        assert!(!changes.has_changed().unwrap_or(true));
    }

    #[test]
    fn a_node_that_only_reads_is_ready_and_a_failed_one_is_not() {
        let states = [
            (Health::Serving, true),
            (Health::ReadOnly { device: "log".into() }, true),
            (Health::Damaged { tier: "hot".into(), reason: "block".into() }, true),
            (Health::Failed { reason: "io".into() }, false),
        ];
        for (health, ready) in states {
            let for_want_of_space = matches!(health, Health::ReadOnly { .. });
            let health = NodeHealth::from(health);
            assert_eq!(health.reason().contains(UNDER_RESERVE), for_want_of_space, "{health:?}");
            assert_eq!(health.is_ready(), ready, "{health:?}");
            assert!(NodeHealth::LABELS.contains(&health.label()));
        }
        assert!(!NodeHealth::Draining.is_ready());
    }
}
