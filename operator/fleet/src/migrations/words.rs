//! The planner's terms and the objects', one for the other.

use thermocline_crds::v1alpha1::{MigrationPriority, MigrationReason};
use thermocline_planner::{Priority, Reason};

pub(super) const fn priority(of: MigrationPriority) -> Priority {
    match of {
        MigrationPriority::Critical => Priority::Critical,
        MigrationPriority::High => Priority::High,
        MigrationPriority::Normal => Priority::Normal,
        MigrationPriority::Low => Priority::Low,
    }
}

pub(super) const fn priority_told(of: Priority) -> MigrationPriority {
    match of {
        Priority::Critical => MigrationPriority::Critical,
        Priority::High => MigrationPriority::High,
        Priority::Normal => MigrationPriority::Normal,
        Priority::Low => MigrationPriority::Low,
    }
}

pub(super) const fn reason(of: MigrationReason) -> Reason {
    match of {
        MigrationReason::NodeOverload => Reason::NodeOverload,
        MigrationReason::DiskFull => Reason::DiskFull,
        MigrationReason::HotDataReplication => Reason::HotDataReplication,
        MigrationReason::ColdDataArchive => Reason::ColdDataArchive,
        MigrationReason::NetworkOptimization => Reason::NetworkOptimization,
        MigrationReason::NodeFailure => Reason::NodeFailure,
        MigrationReason::Rebalance => Reason::Rebalance,
        MigrationReason::Drain => Reason::Drain,
        MigrationReason::Manual => Reason::Manual,
    }
}

pub(super) const fn reason_told(of: Reason) -> MigrationReason {
    match of {
        Reason::NodeOverload => MigrationReason::NodeOverload,
        Reason::DiskFull => MigrationReason::DiskFull,
        Reason::HotDataReplication => MigrationReason::HotDataReplication,
        Reason::ColdDataArchive => MigrationReason::ColdDataArchive,
        Reason::NetworkOptimization => MigrationReason::NetworkOptimization,
        Reason::NodeFailure => MigrationReason::NodeFailure,
        Reason::Rebalance => MigrationReason::Rebalance,
        Reason::Drain => MigrationReason::Drain,
        Reason::Manual => MigrationReason::Manual,
    }
}

/// A number of the nodes as the objects have it.
pub(super) fn number(of: u64) -> i64 {
    i64::try_from(of).unwrap_or(i64::MAX)
}
