//! What needs attention about a node, and what to do about it.

use thermocline_crds::reasons::Reason;
use thermocline_proto::{UNDER_RESERVE, v1};

use super::View;
use crate::home::{Ended, Presence};

/// Ends in a row after which a node is said to loop.
const LOOPING: u32 = 3;

impl View<'_> {
    /// What needs attention about a node; its reason is the best known one.
    pub(super) fn trouble(&self, name: &str) -> Option<(Reason, String)> {
        if let Some(status) = self.statuses.get(name) {
            return match status.health() {
                v1::Health::Serving | v1::Health::Draining | v1::Health::Unspecified => None,
                v1::Health::ReadOnly => self.refusing_writes(name),
                v1::Health::NotServing => Some((Reason::NodesNotReady, status.health_reason.clone())),
            };
        }
        if let Some(reason) = self.unstarted.get(name) {
            return Some((Reason::CannotStart, reason.clone()));
        }
        match self.observed.get(name).map(|node| &node.presence) {
            Some(Presence::Absent { ended: Some(ended) }) if !ended.asked => {
                Some((of_end(ended), ended.reason.clone()))
            }
            _ => None,
        }
    }

    /// Why a node that reads refuses writes, and for want of space where to free some; `None` for one that does not.
    pub(super) fn refusing_writes(&self, name: &str) -> Option<(Reason, String)> {
        let told = self.statuses.get(name).filter(|told| told.health() == v1::Health::ReadOnly)?;
        let config = self.desired.nodes.get(name).map(|node| &node.run.config);
        let fastest = config.and_then(|config| config.tiers.first());
        // A slower tier under its reserve stops moves, not writes.
        let tier_is_short =
            fastest.is_some_and(|own| told.tiers.iter().any(|tier| tier.name == own.name && tier.under_reserve));
        if !tier_is_short && !told.health_reason.contains(UNDER_RESERVE) {
            return Some((Reason::TierDamaged, told.health_reason.clone()));
        }
        let (Some(config), Some(fastest)) = (config, fastest) else {
            return Some((Reason::OutOfSpace, told.health_reason.clone()));
        };
        // Writes need the fastest tier and the log; where it is not the one it is the other.
        let folder = if tier_is_short { &fastest.path } else { config.root.as_ref().unwrap_or(&fastest.path) };
        let advice = format!(
            "{}; free space on the device of {}, or lower spec.reserve of StorageTier/{}",
            told.health_reason,
            folder.display(),
            fastest.name
        );
        Some((Reason::OutOfSpace, advice))
    }
}

/// Why a node that ended by itself needs attention.
fn of_end(ended: &Ended) -> Reason {
    match ended {
        Ended { refused: true, .. } => Reason::Refused,
        Ended { in_a_row: LOOPING.., .. } => Reason::CrashLooping,
        _ => Reason::NodesNotReady,
    }
}
