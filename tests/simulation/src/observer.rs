//! Sees what nodes write and say, and tells the invariants. Nothing that is simulated depends on it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use prost::Message;
use thermocline_engine::CallerRecord;
use thermocline_engine::log::StateKey;
use thermocline_proto::replica::v1 as wire;
use thermocline_shard::{NodeId, ReplicaId, Role, ShardDescriptor, ShardId};
use xxhash_rust::xxh3::xxh3_64;

use crate::disk::Change;
use crate::invariant::{
    Commits, Configs, Elections, EntryId, Held, LogMatching, Mirror, Promise, Ranges, Violation, Votes, before_all,
};

// The kinds of a replica's records (node/shard/src/machine/records.rs): on disks, so they stay what they are.
const APPLIED: u8 = 1;
const MEMBERSHIP: u8 = 2;
const DESCRIPTOR: u8 = 3;
const RESIDENT: u8 = 7;
const REMOVED: u8 = 8;

/// Sees everything.
#[derive(Default)]
pub struct Observer {
    now: AtomicU64,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    violation: Option<(u64, Violation)>,
    replicas: BTreeMap<ReplicaId, (ShardId, Role)>,
    /// Where a replica is.
    nodes: BTreeMap<ReplicaId, NodeId>,
    logs: BTreeMap<ReplicaId, Mirror>,
    synced_logs: BTreeMap<ReplicaId, Mirror>,
    synced: BTreeMap<ReplicaId, u64>,
    members: BTreeMap<ReplicaId, BTreeMap<u64, Members>>,
    commits: Commits,
    elections: Elections,
    matching: LogMatching,
    ranges: Ranges,
    votes: Votes,
    snapshots: u64,
}

/// Who belongs to a group, from an entry on.
#[derive(Debug, Clone, Default)]
struct Members {
    configs: Configs,
    data: BTreeSet<ReplicaId>,
}

impl From<&wire::Membership> for Members {
    fn from(membership: &wire::Membership) -> Self {
        let voters = |voters: &wire::Voters| voters.replicas.iter().copied().map(ReplicaId).collect();
        let stores = |member: &&wire::Member| member.role() == wire::Role::Data;
        let data = membership.members.iter().filter(stores).map(|member| ReplicaId(member.replica));
        Self { configs: membership.configs.iter().map(voters).collect(), data: data.collect() }
    }
}

/// What a run has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sights {
    /// Elections that were won.
    pub elections: usize,
    /// Shards there are in the end.
    pub shards: usize,
    /// Snapshots that were installed.
    pub snapshots: u64,
    /// Shards that became parts of others.
    pub merges: usize,
}

impl Observer {
    /// Has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// It is so late.
    pub fn at(&self, millis: u64) {
        self.now.store(millis, Ordering::SeqCst);
    }

    /// The first invariant that did not hold, and when.
    pub fn violation(&self) -> Option<(u64, Violation)> {
        self.seen.lock().violation.clone()
    }

    /// What was seen so far.
    pub fn sights(&self) -> Sights {
        let seen = self.seen.lock();
        let (elections, shards) = (seen.elections.count(), seen.ranges.shards());
        Sights { elections, shards, snapshots: seen.snapshots, merges: seen.ranges.merges() }
    }

    /// Whether a shard is a part of another one now.
    pub fn is_absorbed(&self, shard: ShardId) -> bool {
        self.seen.lock().ranges.is_absorbed(shard)
    }

    /// Something does not hold.
    pub fn judge(&self, held: Held) {
        self.seen.lock().judge(self.now.load(Ordering::SeqCst), held);
    }

    fn see(&self, look: impl FnOnce(&mut Seen) -> Held) {
        let mut seen = self.seen.lock();
        let held = look(&mut seen);
        seen.judge(self.now.load(Ordering::SeqCst), held);
    }

    /// A replica leads.
    pub fn leads(&self, shard: ShardId, term: u64, replica: ReplicaId, boot: u32) {
        self.see(|seen| {
            let before = seen.elections.count();
            seen.elections.leads(shard, term, replica, boot)?;
            if seen.elections.count() == before { Ok(()) } else { seen.whole(shard, replica) }
        });
    }

    /// What a replica has promised so far.
    pub fn promise_of(&self, replica: ReplicaId) -> Promise {
        self.seen.lock().votes.of(replica)
    }

    /// A replica gives its vote or takes entries; `before` is what it had promised when it was asked.
    pub fn promised(&self, replica: ReplicaId, before: Promise, now: Promise) {
        self.see(|seen| seen.votes.promised(replica, before, now));
    }

    /// Records were applied on a node, together.
    pub fn applied(&self, node: NodeId, records: &[CallerRecord]) {
        self.see(|seen| seen.records(node, records));
    }

    /// A snapshot, or nothing, replaced what a replica had.
    pub fn installed(&self, node: NodeId, nothing: bool, records: &[CallerRecord]) {
        self.see(|seen| {
            let Some(replica) = records.iter().find_map(|(key, _)| of_kind(key, APPLIED)) else { return Ok(()) };
            seen.snapshots += 1;
            let begun = records.iter().any(|(key, value)| of_kind(key, DESCRIPTOR).is_some() && value.is_some());
            let stores = seen.replicas.get(&replica).is_some_and(|(_, role)| *role == Role::Data);
            if stores && begun && nothing {
                let said = format!("{replica} stores data and was given the state of one that does not");
                return Err(Violation::of("no witness's snapshot is installed as data", said));
            }
            seen.records(node, records)
        });
    }

    /// Records are safe from a power loss.
    pub fn synced(&self, records: &[CallerRecord]) {
        let mut seen = self.seen.lock();
        for (replica, value) in of_kinds(records, APPLIED) {
            match value.and_then(log_id) {
                Some(id) => drop(seen.synced.insert(replica, id.index)),
                None => drop(seen.synced.remove(&replica)),
            }
        }
    }

    /// After a power loss a node has these records.
    pub fn went_back(&self, node: NodeId, records: &[(Bytes, Bytes)]) {
        self.see(|seen| {
            for (replica, _) in seen.nodes.iter().filter(|(_, on)| **on == node) {
                seen.commits.went_back(*replica, None);
            }
            for (replica, value) in records.iter().filter_map(|(key, value)| Some((of_kind(key, APPLIED)?, value))) {
                let index = log_id(value).map_or(0, |id| id.index);
                seen.commits.went_back(replica, Some(index));
                let purged = seen.synced_logs.get(&replica).and_then(|log| log.purged);
                if let Some(purged) = purged.filter(|purged| purged.index > index) {
                    let said = format!("{replica} is at entry {index} again and let go of its log up to {purged}");
                    return Err(Violation::of("a log is let go up to what was synced", said));
                }
            }
            Ok(())
        });
    }

    /// A log was asked to change.
    pub fn log_changed(&self, replica: ReplicaId, change: &Change) {
        self.see(|seen| seen.log_changed(replica, change));
    }

    /// A change of a log is synced.
    pub fn log_synced(&self, replica: ReplicaId, change: &Change) {
        let mut seen = self.seen.lock();
        let log = seen.synced_logs.entry(replica).or_default();
        match change {
            Change::Append(entries) => log.entries.extend(entries.iter().filter_map(|(_, entry)| named(entry))),
            Change::Truncate(from) => drop(log.entries.split_off(from)),
            Change::Purge(_, mark) => log_id(mark).into_iter().for_each(|upto| log.purge(upto)),
            Change::State(StateKey::Vote, vote) => {
                let vote = wire::Vote::decode(vote.clone()).unwrap_or_default();
                seen.votes.synced(replica, (vote.term, vote.leader));
            }
            Change::State(..) => {}
            Change::Remove => *log = Mirror::default(),
        }
    }

    /// After a crash these logs are what was synced of them, and others of the node are gone.
    pub fn logs_went_back(&self, replicas: &[ReplicaId]) {
        let mut seen = self.seen.lock();
        for replica in replicas {
            let synced = seen.synced_logs.get(replica).cloned().unwrap_or_default();
            let last = synced.entries.last_key_value().map_or(0, |(index, _)| *index);
            let last = last.max(seen.commits.applied(*replica).unwrap_or(0));
            if let Some(members) = seen.members.get_mut(replica) {
                members.retain(|index, _| *index <= last);
            }
            seen.logs.insert(*replica, synced);
        }
    }
}

impl Seen {
    fn judge(&mut self, now: u64, held: Held) {
        if let Err(violation) = held {
            self.violation.get_or_insert((now, violation));
        }
    }

    fn records(&mut self, node: NodeId, records: &[CallerRecord]) -> Held {
        for (replica, value) in of_kinds(records, RESIDENT) {
            if let Some(resident) = value.and_then(|value| wire::Resident::decode(value.clone()).ok()) {
                let role = if resident.role() == wire::Role::Witness { Role::Witness } else { Role::Data };
                self.replicas.insert(replica, (ShardId(resident.shard), role));
                self.nodes.insert(replica, node);
            }
        }
        for (replica, value) in of_kinds(records, MEMBERSHIP) {
            let stored = value.and_then(|value| wire::StoredMembership::decode(value.clone()).ok());
            let Some((id, membership)) = stored.and_then(|stored| Some((stored.id?, stored.membership?))) else {
                continue;
            };
            self.members.entry(replica).or_default().insert(id.index, Members::from(&membership));
        }
        self.absorbed(records);
        let descriptors = of_kinds(records, DESCRIPTOR).filter_map(|(_, value)| {
            let message = wire::Descriptor::decode(value?.clone()).ok()?;
            ShardDescriptor::try_from(message).ok()
        });
        let descriptors: Vec<ShardDescriptor> = descriptors.collect();
        if !descriptors.is_empty() {
            self.ranges.told(&descriptors)?;
        }
        for (replica, value) in of_kinds(records, APPLIED) {
            match value.and_then(log_id) {
                Some(id) => self.advanced(replica, id)?,
                None => self.commits.went_back(replica, None),
            }
        }
        Ok(())
    }

    /// A shard becomes a part of another one where its replica leaves, or may not come any more, as the other one changes.
    fn absorbed(&mut self, records: &[CallerRecord]) {
        if of_kinds(records, DESCRIPTOR).all(|(_, value)| value.is_none()) {
            return;
        }
        let leaves = |(replica, value): (ReplicaId, Option<&Bytes>)| {
            let resident = wire::Resident::decode(value?.clone()).ok()?;
            resident.leaving.then_some(replica)
        };
        let leaving = of_kinds(records, RESIDENT).filter_map(leaves);
        let gone = leaving.chain(of_kinds(records, REMOVED).map(|(replica, _)| replica));
        let shards: Vec<ShardId> = gone.filter_map(|replica| Some(self.replicas.get(&replica)?.0)).collect();
        self.ranges.absorbed(shards);
    }

    fn advanced(&mut self, replica: ReplicaId, to: EntryId) -> Held {
        let before = self.commits.applied(replica);
        self.commits.advanced(replica, to.index)?;
        let Some((shard, _)) = self.replicas.get(&replica).copied() else { return Ok(()) };
        let Some(log) = self.logs.get_mut(&replica) else { return Ok(()) };
        if log.entries.get(&to.index) != Some(&to) {
            // A snapshot: what its log had there was not applied, and may be of a leader that was replaced.
            log.entries = log.entries.split_off(&(to.index + 1));
            return Ok(());
        }
        let after = before.map_or(0, |before| before + 1);
        let entries: Vec<EntryId> = log.entries.range(after..=to.index).map(|(_, id)| *id).collect();
        for id in entries {
            // Its config is the last one before it, or one that its leader's log had behind it.
            let members = self.members.entry(replica).or_default();
            let first = members.range(..=id.index).next_back().map_or(0, |(index, _)| *index);
            let configs: Vec<Configs> = members.range(first..).map(|(_, members)| members.configs.clone()).collect();
            let (replicas, logs, synced) = (&self.replicas, &self.synced_logs, &self.synced);
            let holders = || {
                let of_shard = replicas.iter().filter(|(_, (of, _))| *of == shard).map(|(replica, _)| *replica);
                let has = |replica: &ReplicaId| {
                    let applied = synced.get(replica).is_some_and(|synced| *synced >= id.index);
                    applied || logs.get(replica).is_some_and(|log| log.has(id))
                };
                of_shard.filter(has).collect()
            };
            self.commits.committed(shard, replica, id, holders, &configs)?;
        }
        Ok(())
    }

    /// Whoever leads has all that was committed.
    fn whole(&self, shard: ShardId, leader: ReplicaId) -> Held {
        let empty = Mirror::default();
        let log = self.logs.get(&leader).unwrap_or(&empty);
        let applied = self.commits.applied(leader).unwrap_or(0);
        match self.commits.lacked_by(shard, |id| id.index <= applied || log.has(id)) {
            None => Ok(()),
            Some(id) => {
                let said = format!("{leader} leads {shard} and lacks {id}, which was committed");
                Err(Violation::of("a leader has all that is committed", said))
            }
        }
    }

    fn log_changed(&mut self, replica: ReplicaId, change: &Change) -> Held {
        let known = self.replicas.get(&replica).copied();
        let log = self.logs.entry(replica).or_default();
        match change {
            Change::Append(entries) => {
                for (_, bytes) in entries {
                    let Some((index, id)) = named(bytes) else {
                        return Err(Violation::of(
                            "log matching",
                            format!("{replica} was given an entry without a name"),
                        ));
                    };
                    let before = log.before(index);
                    log.entries.insert(index, id);
                    if let Some(membership) = membership(bytes) {
                        self.members.entry(replica).or_default().insert(index, Members::from(&membership));
                    }
                    let Some((shard, _)) = known else { continue };
                    self.matching.appended(shard, id, xxh3_64(bytes), before)?;
                }
                Ok(())
            }
            Change::Truncate(from) => {
                let gone = log.entries.split_off(from);
                if let Some(members) = self.members.get_mut(&replica) {
                    members.retain(|index, _| index < from);
                }
                let Some((shard, _)) = known else { return Ok(()) };
                let committed = gone.into_values().find(|id| self.commits.at(shard, id.index) == Some(*id));
                committed.map_or(Ok(()), |id| {
                    let said = format!("{replica} of {shard} gave up {id}, which was committed");
                    Err(Violation::of("what is committed stays", said))
                })
            }
            Change::Purge(upto, mark) => {
                let last = log.last_until(*upto);
                log_id(mark).into_iter().for_each(|upto| log.purge(upto));
                match (last, known) {
                    (Some(last), Some((shard, role))) => self.purged(shard, replica, role, last),
                    _ => Ok(()),
                }
            }
            Change::State(..) => Ok(()),
            Change::Remove => {
                self.logs.remove(&replica);
                self.members.remove(&replica);
                self.commits.went_back(replica, None);
                Ok(())
            }
        }
    }

    /// A replica lets go of its log up to `last`, which it had.
    fn purged(&self, shard: ShardId, replica: ReplicaId, role: Role, last: EntryId) -> Held {
        let synced = self.synced.get(&replica).copied().unwrap_or(0);
        if synced < last.index {
            let said = format!("{replica} lets go of {last}; what it applied is synced up to entry {synced}");
            return Err(Violation::of("a log is let go up to what was synced", said));
        }
        if role == Role::Data {
            return Ok(());
        }
        let members =
            self.members.get(&replica).and_then(|members| members.last_key_value()).map(|(_, members)| members);
        let Some(members) = members else { return Ok(()) };
        let voters: BTreeSet<ReplicaId> = members.configs.iter().flatten().copied().collect();
        let lacks = |data: &ReplicaId| {
            let there = self.replicas.get(data).is_some_and(|(of, _)| *of == shard);
            let applied = self.commits.applied(*data).is_some_and(|applied| applied >= last.index);
            there && !applied && !self.logs.get(data).is_some_and(|log| log.has(last))
        };
        let lacking = members.data.intersection(&voters).copied().filter(lacks).collect();
        before_all(replica, last, &lacking)
    }
}

/// The replica of a record of a kind.
fn of_kind(key: &[u8], kind: u8) -> Option<ReplicaId> {
    let number = key.strip_prefix(&[kind])?.try_into().ok()?;
    Some(ReplicaId(u64::from_be_bytes(number)))
}

fn of_kinds(records: &[CallerRecord], kind: u8) -> impl Iterator<Item = (ReplicaId, Option<&Bytes>)> {
    records.iter().filter_map(move |(key, value)| Some((of_kind(key, kind)?, value.as_ref())))
}

fn log_id(bytes: &Bytes) -> Option<EntryId> {
    wire::LogId::decode(bytes.clone()).ok().map(|id| EntryId::from(&id))
}

fn named(entry: &Bytes) -> Option<(u64, EntryId)> {
    let id = EntryId::from(&wire::Entry::decode(entry.clone()).ok()?.id?);
    Some((id.index, id))
}

fn membership(entry: &Bytes) -> Option<wire::Membership> {
    match wire::Entry::decode(entry.clone()).ok()?.payload? {
        wire::entry::Payload::Membership(membership) => Some(membership),
        _ => None,
    }
}

#[cfg(test)]
#[path = "observer_test.rs"]
mod tests;
