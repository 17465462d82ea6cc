//! Drain: a node that is being emptied gives its leaders away, then its members.

use crate::{
    Change, Priority, Proposal, Reason, Refusal,
    admission::{self, Candidate},
    fleet::{Replica, Role, Shard},
    ledger::Ledger,
    placement::{self, Arrival},
    plan::Findings,
    view::View,
};

pub(super) fn find(view: &View<'_>, ledger: &mut Ledger) -> Findings {
    let mut findings = Findings::default();
    let draining = view.fleet.nodes().iter().enumerate().filter(|(_, node)| node.is_draining());
    for (place, _) in draining {
        let (mut leading, mut following): (Vec<_>, Vec<_>) =
            view.fleet.held(place).partition(|(shard, replica)| replica.leader && has_successor(shard, replica));
        ledger.work += (leading.len() + following.len()) as u64;
        // The busiest leaders first: their users notice a stop most. Learners last: they are only let go.
        leading.sort_by(|a, b| b.0.operations().total_cmp(&a.0.operations()).then(a.0.id.cmp(&b.0.id)));
        following.sort_by_key(|(shard, replica)| (replica.role, shard.id));
        empty(&mut findings, leading, |(shard, replica)| transfer(view, ledger, shard, replica));
        empty(&mut findings, following, |(shard, replica)| send_away(view, ledger, shard, replica));
    }
    findings
}

/// Plans for each, until a budget is spent.
fn empty<'a>(
    findings: &mut Findings,
    members: Vec<(&'a Shard, &'a Replica)>,
    mut plan: impl FnMut((&'a Shard, &'a Replica)) -> Result<Proposal, Refusal>,
) {
    let all = members.len();
    for (number, member) in members.into_iter().enumerate() {
        let from = member.1.node;
        match plan(member) {
            Ok(proposal) => findings.proposals.push(proposal),
            Err(refusal) => {
                let spent = matches!(refusal, Refusal::ClusterBudget { .. })
                    || matches!(refusal, Refusal::NodeBudget { node, .. } if node == from);
                findings.refusals.add_many(refusal, if spent { (all - number) as u64 } else { 1 });
                if spent {
                    return;
                }
            }
        }
    }
}

fn has_successor(shard: &Shard, leader: &Replica) -> bool {
    shard.members(Role::Data).any(|other| other.id != leader.id)
}

fn transfer(view: &View<'_>, ledger: &mut Ledger, shard: &Shard, leader: &Replica) -> Result<Proposal, Refusal> {
    let places = shard.members(Role::Data).filter(|other| other.id != leader.id && view.is_sound(other));
    let mut places: Vec<usize> = places.filter_map(|other| view.fleet.place_of(other.node)).collect();
    places.sort_by(|a, b| ledger.fullness(view, *a).total_cmp(&ledger.fullness(view, *b)).then(a.cmp(b)));
    let mut refusal = Refusal::NoTarget { shard: shard.id, because: None };
    for place in places {
        let change = Change::TransferLeader { shard: shard.id, from: leader.node, to: view.fleet.nodes()[place].id };
        match admission::admit(view, ledger, Candidate::new(change, Priority::High, Reason::Drain)) {
            Ok(proposal) => return Ok(proposal),
            Err(error) => refusal = error,
        }
    }
    Err(refusal)
}

fn send_away(view: &View<'_>, ledger: &mut Ledger, shard: &Shard, replica: &Replica) -> Result<Proposal, Refusal> {
    admission::shard_is_free(view, ledger, shard, Priority::High, Reason::Drain)?;
    let Replica { id, node: from, role, .. } = *replica;
    let change = if role == Role::Learner {
        Change::RemoveReplica { shard: shard.id, replica: id, role, from }
    } else {
        let arrival = Arrival { shard, role, leaving: Some(from), exchange: false, cannot_wait: true };
        let to = placement::choose(view, ledger, &arrival)?;
        Change::MoveReplica { shard: shard.id, replica: id, role, from, to, exchange: None }
    };
    admission::admit(view, ledger, Candidate::new(change, Priority::High, Reason::Drain))
}
