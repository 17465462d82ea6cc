//! Which replicas may answer reads, and how old an answer is.

use std::time::Duration;

use thermocline_proto::v1;

/// Which replicas of a shard may answer a client's reads. A node that stands alone has the only copy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Consistency {
    /// The leader: with everything that was acknowledged before the call.
    #[default]
    Leader,
    /// A near replica that has data: with the same, for it asks the leader first how far it has to be.
    Follower,
    /// A near replica that has data: with everything that was acknowledged so long before the call. It asks nobody where it
    /// knows that it is so new. Counted in whole milliseconds, from 1 up to an hour.
    Stale(Duration),
}

impl Consistency {
    pub(crate) fn to_proto(self) -> Option<v1::ReadOptions> {
        let (consistency, max_staleness_ms) = match self {
            Self::Leader => return None,
            Self::Follower => (v1::Consistency::Follower, 0),
            // Rounded down: what is older was not asked for.
            Self::Stale(most) => (v1::Consistency::Stale, u64::try_from(most.as_millis()).unwrap_or(u64::MAX)),
        };
        Some(v1::ReadOptions { consistency: consistency.into(), max_staleness_ms })
    }

    /// Whether a replica that is near is preferred to the leader.
    pub(crate) const fn prefers_near(self) -> bool {
        !matches!(self, Self::Leader)
    }
}

/// What was found, and how old it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aged<T> {
    /// What was found.
    pub found: T,
    /// Everything that was acknowledged longer ago than this is in it; counted when the answer came, by this machine's clock.
    pub at_most: Duration,
}
