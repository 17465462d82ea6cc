//! The planner's proposals as objects.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use thermocline_crds::v1alpha1::{
    Desired, MADE_BY_LABEL, Migration, MigrationKind, MigrationPhase, MigrationSpec, PLANNER, Planned, ReplicaRole,
    key_fields,
};
use thermocline_planner::fleet::Role;
use thermocline_planner::{Change, NodeId, Priority, Proposal};

use super::forecast;
use super::identity::hash;
use super::item::moment;
use super::words;
use super::{Item, tell};
use crate::rebalance::Known;

/// What a person cancelled is not proposed again for so long.
const CANCELLED: Duration = Duration::from_secs(3600);
/// What failed is not tried again for so long ...
const FAILED: Duration = Duration::from_secs(300);
/// ... nor, where copies are missing, for so long.
const FAILED_CRITICAL: Duration = Duration::from_secs(30);

/// What becomes of the planner's proposals.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Proposed {
    /// Objects to be made, with the status they begin with.
    pub new: Vec<Migration>,
    /// Objects that wait and give way to what is more urgent: by name, what to.
    pub overtaken: Vec<(String, String)>,
}

/// The objects for what is proposed. A proposal of which there is an object already, or was a short while ago, is left out.
#[must_use]
pub fn proposed(proposals: &[Proposal], items: &[Item], known: &Known, cluster: &str, now: Timestamp) -> Proposed {
    let mut result = Proposed::default();
    for proposal in proposals {
        let change = &proposal.change;
        let Some(spec) = spec(proposal, known, cluster) else { continue };
        let base = base(&spec);
        if items.iter().any(|item| rests(item, &base, proposal.priority, now)) {
            continue;
        }
        let same_shard = items.iter().filter(|item| item.shard == change.shard() && !item.is_over());
        let (own, others): (Vec<&Item>, Vec<&Item>) = same_shard.partition(|item| item.planner_made);
        // The leader takes one at a time; what only waits gives way, if the planner says so.
        if own.iter().chain(&others).any(|item| item.has_begun()) {
            continue;
        }
        let number = items.iter().filter_map(|item| numbered(&item.name, &base)).max().unwrap_or(0) + 1;
        let name = format!("{base}-{number}");
        result.overtaken.extend(own.iter().map(|item| (item.name.clone(), name.clone())));
        result.new.push(object(proposal, spec, name, known, now));
    }
    result
}

fn object(proposal: &Proposal, spec: MigrationSpec, name: String, known: &Known, now: Timestamp) -> Migration {
    let labels = BTreeMap::from([(MADE_BY_LABEL.to_owned(), PLANNER.to_owned())]);
    let metadata = ObjectMeta { name: Some(name), labels: Some(labels), ..ObjectMeta::default() };
    let replica = match proposal.change {
        Change::MoveReplica { replica, .. } | Change::RemoveReplica { replica, .. } => Some(words::number(replica.0)),
        _ => None,
    };
    let precondition = proposal.precondition;
    let planned = Planned {
        epoch: words::number(precondition.epoch.0),
        members_changed_at: words::number(precondition.membership.index),
        replica,
    };
    let mut migration = Migration { metadata, spec, status: None };
    let status = migration.status.get_or_insert_default();
    status.planned = Some(planned);
    status.forecast = Some(Box::new(forecast::told(&proposal.forecast, known)));
    let phase = if proposal.needs_approval { MigrationPhase::Proposed } else { MigrationPhase::Approved };
    status.phase = phase;
    super::conditions(&mut status.conditions, phase, "the planner has just made it", Some(1), now);
    migration
}

/// What a proposal asks for; `None` where objects cannot say it.
fn spec(proposal: &Proposal, known: &Known, cluster: &str) -> Option<MigrationSpec> {
    let name = |node: NodeId| Some(name_of(known, node));
    let mut spec = MigrationSpec {
        cluster: cluster.to_owned(),
        kind: MigrationKind::MoveReplica,
        range: None,
        to_tier: None,
        shard: Some(words::number(proposal.change.shard().0)),
        from: None,
        to: None,
        role: None,
        at: None,
        at_base64: None,
        priority: words::priority_told(proposal.priority),
        reason: words::reason_told(proposal.reason),
        approved: false,
        desired: Desired::Run,
        bytes_per_second: None,
    };
    match &proposal.change {
        // That the target has the witness, and so has to trade places, shows when it begins.
        Change::MoveReplica { from, to, .. } => (spec.from, spec.to) = (name(*from), name(*to)),
        Change::AddReplica { role: role @ (Role::Data | Role::Witness), to, .. } => {
            spec.kind = MigrationKind::AddReplica;
            spec.role = Some(if *role == Role::Witness { ReplicaRole::Witness } else { ReplicaRole::Data });
            spec.to = name(*to);
        }
        Change::RemoveReplica { from, .. } => {
            (spec.kind, spec.from) = (MigrationKind::RemoveReplica, name(*from));
        }
        Change::TransferLeader { from, to, .. } => {
            spec.kind = MigrationKind::TransferLeader;
            (spec.from, spec.to) = (name(*from), name(*to));
        }
        Change::SplitShard { at, .. } => {
            spec.kind = MigrationKind::SplitShard;
            (spec.at, spec.at_base64) = key_fields(at);
        }
        // The one behind it when it begins.
        Change::MergeShards { .. } => spec.kind = MigrationKind::MergeShards,
        Change::AddReplica { role: Role::Learner, .. } | Change::ChangeTier { .. } => return None,
    }
    Some(spec)
}

/// A node's name as objects can say it; one that nobody has heard has none of its own.
pub(super) fn name_of(known: &Known, node: NodeId) -> String {
    let name = known.get(&node.0).map(|heard| heard.name.as_str()).filter(|name| !name.contains(' '));
    name.map_or_else(|| format!("unknown-{}", node.0), str::to_owned)
}

/// What the names of objects for the same move for the same reason begin with.
fn base(spec: &MigrationSpec) -> String {
    let kind = match spec.kind {
        MigrationKind::MoveReplica => "move-replica",
        MigrationKind::AddReplica => "add-replica",
        MigrationKind::RemoveReplica => "remove-replica",
        MigrationKind::TransferLeader => "transfer-leader",
        MigrationKind::SplitShard => "split-shard",
        MigrationKind::MergeShards => "merge-shards",
        MigrationKind::ChangeTier => "change-tier",
    };
    let what = (&spec.cluster, &spec.from, &spec.to, &spec.role, &spec.at, &spec.at_base64);
    let particular = hash(&format!("{what:?} {:?} {:?}", spec.priority, spec.reason)) & 0xffff_ffff;
    format!("{kind}-{}-{particular:08x}", spec.shard.unwrap_or_default())
}

/// Which of the objects for the same move one is.
fn numbered(name: &str, base: &str) -> Option<u64> {
    name.strip_prefix(base)?.strip_prefix('-')?.parse().ok()
}

/// Whether the same move waits already, or ended so that it is left alone for a while.
fn rests(item: &Item, base: &str, priority: Priority, now: Timestamp) -> bool {
    if !item.planner_made || numbered(&item.name, base).is_none() {
        return false;
    }
    let failed = if priority == Priority::Critical { FAILED_CRITICAL } else { FAILED };
    let rest = match item.status.phase {
        MigrationPhase::Cancelled => CANCELLED,
        MigrationPhase::Failed => failed,
        MigrationPhase::Completed | MigrationPhase::Expired => return false,
        _ => return true,
    };
    moment(now).left_of(rest, item.ended()).is_some()
}

/// What an object is told to be that gave way.
#[must_use]
pub fn overtaken(item: &Item, by: &str, now: Timestamp) -> thermocline_crds::v1alpha1::MigrationStatus {
    tell(item, MigrationPhase::Expired, &format!("{by} is more urgent for the same shard"), now)
}
