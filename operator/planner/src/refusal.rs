//! Why something is not done: a value with a sentence, and counts that stay small in a large fleet.

use std::{collections::BTreeMap, time::Duration};

use crate::{Change, Figure, NodeId, PoolName, ReplicaId, ShardId};

/// Refusals of one kind that are kept as examples.
pub const EXAMPLES_PER_KIND: usize = 3;

macro_rules! refusals {
    ($($(#[$about:meta])* $name:ident { $($(#[$of:meta])* $field:ident: $type:ty),* $(,)? } $text:literal $(, $argument:expr)*;)*) => {
        /// Why something is not done.
        #[derive(Debug, Clone, PartialEq, thiserror::Error)]
        pub enum Refusal {
            $($(#[$about])* #[error($text $(, $argument)*)] $name { $($(#[$of])* $field: $type),* },)*
        }

        /// A [`Refusal`] without its particulars.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum RefusalKind {
            $($(#[$about])* $name,)*
        }

        impl Refusal {
            /// Its kind.
            #[must_use]
            pub const fn kind(&self) -> RefusalKind {
                match self {
                    $(Self::$name { .. } => RefusalKind::$name,)*
                }
            }
        }
    };
}

refusals! {
    /// The policy is paused.
    Paused { /** The pool. */ pool: PoolName }
        "moves of pool {pool} are paused by its policy";
    /// The move can wait, and no window is open.
    OutsideWindows { /** The pool. */ pool: PoolName }
        "no window of the policy of pool {pool} is open, and the move can wait";
    /// Nobody could carry it out.
    NotPossible { /** What is missing. */ what: &'static str, /** The move. */ change: Change }
        "this version does not have {what}, so this is not done: {change}";
    /// Something else is done to the shard.
    ShardBusy { /** The shard. */ shard: ShardId }
        "{shard} has an open move; it has one at a time";
    /// The shard moved a moment ago.
    MinResidency { /** The shard. */ shard: ShardId, /** How long it stays. */ left: Duration }
        "{shard} moved a short while ago and stays as it is for {} s more", left.as_secs();
    /// The shard has moved often enough.
    MovesPerShard { /** The shard. */ shard: ShardId, /** How many moves a day has. */ limit: u32 }
        "{shard} was moved {limit} times within a day, as often as the policy allows";
    /// A node's figures are older than its last move.
    Cooldown { /** The node. */ node: NodeId, /** How long it waits. */ left: Duration }
        "load moved from or to {node} a moment ago; it is left alone for {} s more, until it was measured again", left.as_secs();
    /// A node has as many moves as it may.
    NodeBudget { /** The node. */ node: NodeId, /** Which moves. */ what: &'static str, /** How many. */ limit: u32 }
        "{node} has {limit} {what} under way, as many as the policy allows";
    /// The cluster has as many moves as it may.
    ClusterBudget { /** Which moves. */ what: &'static str, /** How many. */ limit: u32 }
        "the cluster has {limit} {what} open, as many as the policy allows";
    /// The day has no bytes left.
    DailyBytes { /** Bytes it would take. */ bytes: u64, /** Bytes a day has. */ limit: u64 }
        "moving {bytes} bytes would exceed the {limit} bytes that the policy allows for a day";
    /// A member of the shard is not sound.
    ReplicaUnsound { /** The shard. */ shard: ShardId, /** The member. */ replica: ReplicaId, /** Where it is. */ node: NodeId }
        "{replica} of {shard} on {node} is not healthy or not caught up; a shard is changed only while all its other members are";
    /// Nobody leads the shard.
    NoLeader { /** The shard. */ shard: ShardId }
        "{shard} has no leader that could carry out a move";
    /// More nodes are silent than one.
    SeveralNodesLost { /** How many. */ silent: usize }
        "{silent} nodes that hold members are silent; members are replaced only where exactly one looks lost, so this needs a person (or the nodes back)";
    /// A node is silent, but not for long.
    NotYetLost { /** The node. */ node: NodeId, /** How long it has. */ left: Duration }
        "{node} is silent; it counts as lost in {} s", left.as_secs();
    /// A drain is on.
    DrainInProgress { /** The node that drains. */ node: NodeId }
        "{node} is being drained; members of a lost node are replaced once that is over or cancelled";
    /// No other copy is left.
    NoCopyLeft { /** The shard. */ shard: ShardId, /** The node that is lost. */ node: NodeId }
        "the members of {shard} without the one on {node} are no majority; it cannot be rebuilt from them";
    /// The pool has fewer nodes than a shard has members.
    TooFewNodes { /** The pool. */ pool: PoolName, /** Nodes that members need. */ wanted: u32, /** Nodes it has. */ nodes: u32 }
        "pool {pool} has {nodes} nodes for members, but its replication needs {wanted}";
    /// No node can take the member.
    NoTarget { /** The shard. */ shard: ShardId, /** Why the most promising one cannot. */ because: Option<Box<Refusal>> }
        "no node of its pool can take a member of {shard}{}", because.as_ref().map_or_else(String::new, |refusal| format!(": {refusal}"));
    /// Nothing on a node can go where it would be better.
    NoRelief { /** The node. */ node: NodeId, /** What it has too much of. */ figure: Figure }
        "nothing that is on {node} would lower its {figure} without making another node worse";
    /// The target is not there, is leaving, or is another pool's.
    TargetNotReady { /** The node. */ node: NodeId, /** What it lacks. */ why: &'static str }
        "{node} cannot take anything: {why}";
    /// The target is not well.
    TargetUnhealthy { /** The node. */ node: NodeId, /** Its score. */ points: u8 }
        "{node} has a health score of {points}, too low to be given anything";
    /// The target has a member already.
    TwoMembers { /** The shard. */ shard: ShardId, /** The node. */ node: NodeId }
        "{node} already has a member of {shard}; two on one node would fail together";
    /// The members would be in fewer zones.
    FewerZones { /** The shard. */ shard: ShardId, /** The node. */ node: NodeId }
        "with a member on {node} the members of {shard} would be in fewer zones than now";
    /// A tier of the target would be too full.
    NoRoom { /** The node. */ node: NodeId, /** The shard. */ shard: ShardId }
        "no tier of {node} can take {shard} and stay under its high watermark";
    /// The target would be overloaded.
    WouldOverload { /** The node. */ node: NodeId, /** What of it. */ figure: Figure, /** How much it would be. */ percent: f64 }
        "the {figure} of {node} would be {percent:.0} %, over its trigger";
    /// The move would not bring two nodes nearer to each other.
    WouldBeWorse { /** The node that gives. */ from: NodeId, /** The node that takes. */ to: NodeId, /** What it is about. */ figure: Figure }
        "{to} would be worse off in {figure} than {from}, which the move is to help";
    /// The move would raise the imbalance.
    WouldUnbalance { /** The node that would deviate. */ node: NodeId, /** What it is about. */ figure: Figure, /** By how much it would deviate from the mean. */ percent: f64 }
        "the {figure} of {node} would deviate by {percent:.0} % from the mean, more than any node does now";
    /// No key would divide the shard well.
    NoSplitKey { /** The shard. */ shard: ShardId }
        "{shard} should be split, but no key is known that leaves at least a quarter on each side";
    /// Neighbours that could be merged are not on the same nodes.
    MembersDiffer { /** The left one. */ left: ShardId, /** The right one. */ right: ShardId }
        "{left} and {right} are small and idle, but their members are not on the same nodes in the same roles";
    /// Neighbours that could be merged are too young.
    TooYoung { /** The shard. */ shard: ShardId, /** How long it waits. */ left: Duration }
        "{shard} is small and idle, but can be merged in {} s only", left.as_secs();
    /// What the move was for is no longer so.
    NotNeeded { /** The move. */ change: Change }
        "what was to be mended is so no longer: {change}";
    /// The shard has changed since.
    Changed { /** The shard. */ shard: ShardId, /** What of it. */ what: &'static str }
        "the {what} of {shard} has changed since the move was planned";
    /// The shard or node is gone.
    Gone { /** The move. */ change: Change }
        "the shard, member or node is no longer there: {change}";
}

/// Refusals of a plan: all are counted, some of each kind are kept.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Refusals {
    by_kind: BTreeMap<RefusalKind, (u64, Vec<Refusal>)>,
}

impl Refusals {
    /// Counts one.
    pub fn add(&mut self, refusal: Refusal) {
        self.add_many(refusal, 1);
    }

    /// Counts so many that are alike.
    pub fn add_many(&mut self, refusal: Refusal, times: u64) {
        if times == 0 {
            return;
        }
        let (count, examples) = self.by_kind.entry(refusal.kind()).or_default();
        *count += times;
        if examples.len() < EXAMPLES_PER_KIND && !examples.contains(&refusal) {
            examples.push(refusal);
        }
    }

    /// Takes in those of another.
    pub fn merge(&mut self, other: Self) {
        for (kind, (count, examples)) in other.by_kind {
            let (sum, kept) = self.by_kind.entry(kind).or_default();
            *sum += count;
            for refusal in examples {
                if kept.len() < EXAMPLES_PER_KIND && !kept.contains(&refusal) {
                    kept.push(refusal);
                }
            }
        }
    }

    /// Each kind with how often it was refused so and with examples.
    pub fn iter(&self) -> impl Iterator<Item = (RefusalKind, u64, &[Refusal])> {
        self.by_kind.iter().map(|(kind, (count, examples))| (*kind, *count, examples.as_slice()))
    }

    /// How often something was refused for that.
    #[must_use]
    pub fn count(&self, kind: RefusalKind) -> u64 {
        self.by_kind.get(&kind).map_or(0, |(count, _)| *count)
    }

    /// Whether nothing was refused.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_kind.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_of_a_large_fleet_are_counted_and_few_are_kept() {
        let mut refusals = Refusals::default();
        for number in 0..100_000 {
            refusals.add(Refusal::ShardBusy { shard: ShardId(number) });
        }
        refusals.add_many(Refusal::NoLeader { shard: ShardId(1) }, 5);
        let shown: Vec<_> = refusals.iter().map(|(kind, count, kept)| (kind, count, kept.len())).collect();
        assert_eq!(shown, [(RefusalKind::ShardBusy, 100_000, EXAMPLES_PER_KIND), (RefusalKind::NoLeader, 5, 1)]);
    }
}
