//! Takes something off a node: leaders first, which costs nothing, then replicas.

use crate::{
    Change, NodeId, Priority, Reason, Refusal,
    admission::{self, Candidate},
    fleet::{Replica, Role, Shard},
    ledger::{Ledger, Resource},
    plan::Findings,
    view::View,
};

/// Shards of a node that are tried, those first that would bring it nearest to where it should be.
const SHARDS_TRIED: usize = 64;
/// What is so many times slighter than the mean of what a node could give away changes nothing to speak of, and would be given away
/// where all else is too much.
const SLIGHT: f64 = 10.0;
/// Nodes that a replica is tried on, the least used first.
const TARGETS_TRIED: usize = 16;

/// What to take off a node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Relief {
    /// The node's place.
    pub place: usize,
    /// What it has too much of.
    pub resource: Resource,
    /// The share it should have.
    pub down_to: f64,
    /// Why.
    pub reason: Reason,
    /// How urgent it is.
    pub priority: Priority,
    /// The place it must go to; anywhere if absent.
    pub target: Option<usize>,
    /// At most so many changes.
    pub at_most: usize,
}

/// How something leaves a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Another member leads.
    Leader,
    /// The member itself goes.
    Replica,
}

/// A member of the node that could leave it.
struct Burden<'a> {
    shard: &'a Shard,
    replica: &'a Replica,
    way: Way,
}

impl Burden<'_> {
    /// The change that brings it to a node, where there is one: leadership goes only to followers, a member only to nodes
    /// without one, or in exchange for the witness.
    fn to(&self, to: NodeId) -> Option<Change> {
        let Replica { id, node: from, role, leader, .. } = *self.replica;
        let (shard, there) = (self.shard.id, self.shard.replica_on(to));
        match self.way {
            Way::Leader => {
                let follows = leader && there.is_some_and(|other| other.role == Role::Data && other.id != id);
                follows.then_some(Change::TransferLeader { shard, from, to })
            }
            Way::Replica => {
                let exchange = match there {
                    None => None,
                    Some(other) if other.role == Role::Witness && role == Role::Data => Some(other.id),
                    Some(_) => return None,
                };
                Some(Change::MoveReplica { shard, replica: id, role, from, to, exchange })
            }
        }
    }
}

/// Plans what brings the node down, and says how many changes that takes.
pub(super) fn relieve(view: &View<'_>, ledger: &mut Ledger, findings: &mut Findings, relief: &Relief) -> usize {
    let mut planned = 0;
    let targets = targets(view, ledger, relief);
    for way in [Way::Leader, Way::Replica] {
        let leaders_move = view.policy_of_node(relief.place).budget.leader_moves > 0;
        if way == Way::Leader && (relief.resource == Resource::Disk || !leaders_move) {
            continue;
        }
        let burdens = burdens(view, ledger, relief, way);
        let relief = Relief { at_most: relief.at_most - planned, ..*relief };
        let (more, spent) = move_away(view, ledger, findings, &relief, &targets, burdens);
        planned += more;
        // What more leaders could do next time is not done with replicas now.
        if spent {
            break;
        }
    }
    if planned == 0 {
        let node = view.fleet.nodes()[relief.place].id;
        findings.refusals.add(Refusal::NoRelief { node, figure: relief.resource.figure() });
    }
    planned
}

/// Places that a replica can go to, the least used first.
fn targets(view: &View<'_>, ledger: &mut Ledger, relief: &Relief) -> Vec<usize> {
    if let Some(target) = relief.target {
        return vec![target];
    }
    let all = view.staying[view.pool_of_node(relief.place)].iter().copied().filter(|place| *place != relief.place);
    let mut shares: Vec<(f64, usize)> = all.map(|place| (ledger.share(view, place, relief.resource), place)).collect();
    ledger.work += shares.len() as u64;
    shares.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    shares.into_iter().map(|(_, place)| place).collect()
}

/// What the node could give away, best first: nearest to what it has too much, and to half the gap to the least used.
fn burdens<'a>(view: &View<'a>, ledger: &mut Ledger, relief: &Relief, way: Way) -> Vec<Burden<'a>> {
    let share = ledger.share(view, relief.place, relief.resource);
    let pool = &view.staying[view.pool_of_node(relief.place)];
    let least = pool.iter().map(|place| ledger.share(view, *place, relief.resource)).fold(share, f64::min);
    let wanted = (share - relief.down_to).min((share - least) / 2.0);
    ledger.work += view.fleet.held_count(relief.place) as u64;
    let burdens = view.fleet.held(relief.place).filter_map(|(shard, replica)| {
        if replica.role == Role::Witness || (way == Way::Leader && !replica.leader) {
            return None;
        }
        let shift = ledger.leaving(view, relief.place, shard, replica, way == Way::Leader);
        Some((-ledger.share_of(view, &shift, relief.resource), Burden { shard, replica, way }))
    });
    let burdens: Vec<(f64, Burden<'a>)> = burdens.filter(|(share, _)| *share > 0.0).collect();
    let mean = burdens.iter().map(|(share, _)| share).sum::<f64>() / burdens.len().max(1) as f64;
    let weighs = |(share, _): &(f64, Burden<'a>)| *share * SLIGHT >= mean;
    let distance = |(share, burden): (f64, Burden<'a>)| ((share - wanted).abs(), burden);
    let mut found: Vec<(f64, Burden<'a>)> = burdens.into_iter().filter(weighs).map(distance).collect();
    let nearest =
        |a: &(f64, Burden<'_>), b: &(f64, Burden<'_>)| a.0.total_cmp(&b.0).then(a.1.shard.id.cmp(&b.1.shard.id));
    // What is tried is a small part of what a node may have: only that is put in order.
    if found.len() > SHARDS_TRIED {
        found.select_nth_unstable_by(SHARDS_TRIED, nearest);
        found.truncate(SHARDS_TRIED);
    }
    found.sort_by(nearest);
    found.into_iter().map(|(_, burden)| burden).collect()
}

/// Plans for one after the other, and says for how many, and whether a budget ended it.
fn move_away(
    view: &View<'_>,
    ledger: &mut Ledger,
    findings: &mut Findings,
    relief: &Relief,
    targets: &[usize],
    burdens: Vec<Burden<'_>>,
) -> (usize, bool) {
    let from = view.fleet.nodes()[relief.place].id;
    let mut planned = 0;
    for burden in burdens {
        let left = ledger.share(view, relief.place, relief.resource) - relief.down_to;
        if planned >= relief.at_most || left <= 0.0 {
            break;
        }
        if let Err(refusal) = admission::shard_is_free(view, ledger, burden.shard, relief.priority, relief.reason) {
            findings.refusals.add(refusal);
            continue;
        }
        match find_place(view, ledger, relief, targets, &burden) {
            Ok(proposal) => {
                findings.proposals.push(proposal);
                planned += 1;
            }
            Err(refusal) => {
                let spent = match &refusal {
                    Refusal::ClusterBudget { .. } => true,
                    Refusal::NodeBudget { node, .. } | Refusal::Cooldown { node, .. } => *node == from,
                    _ => false,
                };
                findings.refusals.add(refusal);
                if spent {
                    return (planned, true);
                }
            }
        }
    }
    (planned, false)
}

/// Plans the first change that takes the burden away; else the refusal that says most.
fn find_place(
    view: &View<'_>,
    ledger: &mut Ledger,
    relief: &Relief,
    targets: &[usize],
    burden: &Burden<'_>,
) -> Result<crate::Proposal, Refusal> {
    let mut last = Refusal::NoTarget { shard: burden.shard.id, because: None };
    let ways = targets.iter().filter_map(|place| burden.to(view.fleet.nodes()[*place].id));
    for change in ways.take(TARGETS_TRIED) {
        let candidate = Candidate::new(change, relief.priority, relief.reason).levelling(relief.resource);
        match admission::admit(view, ledger, candidate) {
            Ok(proposal) => return Ok(proposal),
            // The others are used more than this one already: none is helped with.
            Err(refusal @ Refusal::WouldBeWorse { .. }) => return Err(refusal),
            Err(refusal @ (Refusal::ClusterBudget { .. } | Refusal::ReplicaUnsound { .. })) => return Err(refusal),
            Err(refusal) => last = refusal,
        }
    }
    Err(last)
}
