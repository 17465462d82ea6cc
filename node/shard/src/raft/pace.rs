//! How long things take in a group, and what openraft is told by that.

use std::time::Duration;

use openraft::{Config, SnapshotPolicy};

/// How long things take in a group. The same for all of its replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Between two signs of life of the leader.
    pub heartbeat: Duration,
    /// The shortest silence of the leader after which another one asks for votes. The longest is half as long again, and as
    /// long is a leader's promise not to be replaced.
    pub election: Duration,
}

impl Pace {
    /// How long a leader waits for the answer to a sign of life. A leader whose followers answer later is never told that it
    /// leads, and answers nothing, while they hear it and choose no other one: so it is as long as it may be, which is shorter
    /// than the shortest election.
    fn answer(self) -> Duration {
        self.election * 2 / 3
    }

    /// How long a leader counts as heard by a quorum after it was: the longest silence before an election.
    pub(super) fn lease(self) -> Duration {
        self.election * 3 / 2
    }

    /// How long a leader that no quorum answers is silent, so that those who hear it without being heard choose another one, and
    /// how long it tries again then. The others' promise to it and one election, and half as much for chance.
    fn silence(self) -> Duration {
        self.lease() * 3
    }
}

impl Default for Pace {
    /// So that writes are back 3 s after their leader was killed: `make bench-promises` measures it, and the README has the figures.
    fn default() -> Self {
        Self { heartbeat: Duration::from_millis(150), election: Duration::from_millis(600) }
    }
}

/// What openraft is told; its defaults are made for a demonstration.
pub(super) fn config(pace: Pace, may_lead: bool) -> Result<Config, openraft::ConfigError> {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let config = Config {
        // Signs of life go out at the pace of `replica/pulse.rs`.
        heartbeat_interval: millis(pace.answer()),
        election_timeout_min: millis(pace.election),
        election_timeout_max: millis(pace.lease()),
        quorum_loss_probe_interval: Some(millis(pace.silence())),
        // One that was cut off does not end the others' term when it comes back.
        enable_pre_vote: Some(true),
        // A leader that restarts stands for election like everybody: entries that it had sent and not synced are gone with a
        // power loss, and in its old term it would give their names to others.
        enable_leader_restore: Some(false),
        // A witness leads only where nobody else can: the watchdog sees to that. A replica whose snapshot was installed by half
        // never does.
        enable_elect: may_lead,
        // The shard's log says what of it may go (`host/log_bounds.rs`): a count of entries here would not know who needs them.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: u64::MAX,
        ..Config::default()
    };
    config.validate()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn no_default_of_the_library_that_is_meant_for_a_demonstration_is_left() {
        let config = config(Pace::default(), true).unwrap();
        assert_eq!(config.enable_pre_vote, Some(true));
        assert_eq!(
            (config.heartbeat_interval, config.election_timeout_min, config.election_timeout_max),
            (400, 600, 900)
        );
        // A leader whose signs of life arrive and whose answers do not would else stay for ever.
        assert_eq!(config.quorum_loss_probe_interval, Some(2700));
        // What of a log may go is decided by those who know who needs it.
        assert_eq!((config.snapshot_policy, config.max_in_snapshot_log_to_keep), (SnapshotPolicy::Never, u64::MAX));
        // A follower whose log went back has lost its disk under its old number.
        assert_ne!(config.allow_log_reversion, Some(true));
    }

    #[test]
    fn a_witness_and_a_replica_without_data_ask_for_no_votes_by_themselves() {
        assert!(config(Pace::default(), true).unwrap().enable_elect);
        assert!(!config(Pace::default(), false).unwrap().enable_elect);
    }

    #[test]
    fn the_library_is_pinned_to_a_version_that_has_the_fixes_it_needs() {
        let manifest = include_str!("../../../../Cargo.toml");
        let line = manifest.lines().find(|line| line.starts_with("openraft = ")).unwrap();
        let version = line.split('"').nth(1).unwrap();
        // Before alpha 37 it commits on less than a quorum after some changes of members; exactly one version, for each next one
        // is to pass the whole suite first.
        let alpha: u32 = version.strip_prefix("=0.10.0-alpha.").unwrap().parse().unwrap();
        assert!(alpha >= 37, "{version}");
    }
}
