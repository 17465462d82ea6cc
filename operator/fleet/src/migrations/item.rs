//! A Migration between nodes, parsed.

use jiff::Timestamp;
use thermocline_crds::Object;
use thermocline_crds::v1alpha1::{MigrationPhase, MigrationPriority, MigrationStatus, Mode, Move, ValidatedMigration};
use thermocline_planner::{Moment, Priority, Reason, ShardId};

use super::identity::job_of;
use super::words;

/// A Migration between nodes.
#[derive(Debug, Clone)]
pub struct Item {
    /// The object's name.
    pub name: String,
    /// Its uid: one that comes again under its name is another.
    pub uid: String,
    /// What it asks for.
    pub valid: ValidatedMigration,
    /// The shard.
    pub shard: ShardId,
    /// Whether the planner made it.
    pub planner_made: bool,
    /// When it was made.
    pub created: Timestamp,
    /// The generation of its spec.
    pub generation: Option<i64>,
    /// How it was told to be last.
    pub status: MigrationStatus,
}

/// The Migrations between nodes; those that cannot be parsed are told elsewhere.
#[must_use]
pub fn items(objects: &[Object]) -> Vec<Item> {
    let item = |object: &Object| {
        let Object::Migration(raw) = object else { return None };
        let valid = ValidatedMigration::try_from(&raw.spec).ok()?;
        let name = object.name().to_owned();
        let metadata = object.metadata();
        Some(Item {
            uid: metadata.uid.clone().unwrap_or_else(|| name.clone()),
            shard: ShardId(valid.what.shard()?),
            planner_made: raw.is_planner_made(),
            created: metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0),
            generation: metadata.generation,
            status: raw.status.clone().unwrap_or_default(),
            valid,
            name,
        })
    };
    objects.iter().filter_map(item).collect()
}

impl Item {
    /// Whether nothing follows.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.status.phase.is_final()
    }

    /// Whether it has begun, as its object says.
    #[must_use]
    pub const fn has_begun(&self) -> bool {
        self.status.started_at.is_some()
    }

    /// Whether a person has to approve it before it begins.
    #[must_use]
    pub fn needs_approval(&self, mode: Mode) -> bool {
        self.can_wait() && !self.valid.approved && mode == Mode::Propose
    }

    /// Whether it is one that the policy, paused, does not want any more.
    #[must_use]
    pub fn is_unwanted(&self, mode: Mode) -> bool {
        self.can_wait() && !self.valid.approved && mode == Mode::Paused
    }

    /// Whether it hangs on the policy's mode: not what a person asks for, a drain among it, not what restores copies, and not a
    /// split or a merge, which move nothing.
    fn can_wait(&self) -> bool {
        let splits = matches!(self.valid.what, Move::SplitShard { .. } | Move::MergeShards { .. });
        let declared = !self.planner_made || self.reason().is_declared();
        !declared && self.valid.priority != MigrationPriority::Critical && !splits
    }

    /// The number of its job.
    #[must_use]
    pub fn job(&self) -> u64 {
        job_of(&self.uid)
    }

    /// How urgent it is.
    #[must_use]
    pub const fn priority(&self) -> Priority {
        words::priority(self.valid.priority)
    }

    /// Why.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        words::reason(self.valid.reason)
    }

    /// When it ended.
    #[must_use]
    pub fn ended(&self) -> Option<Moment> {
        self.status.ended_at.as_ref().map(|time| moment(time.0))
    }

    /// Whether it ended as asked.
    #[must_use]
    pub fn completed(&self) -> bool {
        self.status.phase == MigrationPhase::Completed
    }
}

/// A point in time as the planner has it.
pub(super) fn moment(of: Timestamp) -> Moment {
    Moment(u64::try_from(of.as_millisecond()).unwrap_or_default())
}
