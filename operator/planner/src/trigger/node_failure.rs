//! NodeFailure: the members of a node that is lost are made anew elsewhere, those of the busiest shards first. It acts
//! only where exactly one node looks lost, all other members of the shard are sound and a majority, and no drain is on:
//! automation that is too eager has lost more data than it has saved.

use crate::{
    Change, Effect, Figure, Priority, Reason, Refusal, RefusalKind,
    admission::{self, Candidate, pool_is_open},
    fleet::{Availability, Replica, Role, Shard},
    ledger::Ledger,
    placement::{self, Arrival},
    plan::Findings,
    view::View,
};

pub(super) fn find(view: &View<'_>, ledger: &mut Ledger) -> Findings {
    let mut findings = Findings::default();
    for place in 0..view.fleet.nodes().len() {
        if view.fleet.held_count(place) == 0 {
            continue;
        }
        match is_lost(view, place) {
            Some(Ok(())) => replace_all(view, ledger, &mut findings, place),
            Some(Err(refusal)) => findings.refusals.add(refusal),
            None => {}
        }
    }
    findings
}

/// Whether a node is lost and its members may be replaced; `None` where it is not silent at all.
pub(super) fn is_lost(view: &View<'_>, place: usize) -> Option<Result<(), Refusal>> {
    let node = &view.fleet.nodes()[place];
    let Availability::Silent { since } = node.availability else {
        return None;
    };
    let policy = view.policy_of_node(place);
    if let Some(left) = view.now.left_of(policy.triggers.node_lost_after, Some(since)) {
        return Some(Err(Refusal::NotYetLost { node: node.id, left }));
    }
    let nodes = || view.fleet.nodes().iter().enumerate();
    let silent = nodes().filter(|(place, node)| node.is_silent() && view.fleet.held_count(*place) > 0).count();
    if silent > 1 {
        return Some(Err(Refusal::SeveralNodesLost { silent }));
    }
    if let Some((_, draining)) = nodes().find(|(_, other)| other.is_draining() && other.pool == node.pool) {
        return Some(Err(Refusal::DrainInProgress { node: draining.id }));
    }
    Some(pool_is_open(view, policy, &node.pool, Priority::Critical))
}

fn replace_all(view: &View<'_>, ledger: &mut Ledger, findings: &mut Findings, place: usize) {
    let mut lost: Vec<(&Shard, &Replica)> = view.fleet.held(place).collect();
    lost.sort_by(|a, b| b.0.operations().total_cmp(&a.0.operations()).then(a.0.id.cmp(&b.0.id)));
    let all = lost.len();
    for (number, (shard, replica)) in lost.into_iter().enumerate() {
        match replace(view, ledger, shard, replica) {
            Ok(proposal) => findings.proposals.push(proposal),
            Err(refusal) => {
                let spent = refusal.kind() == RefusalKind::ClusterBudget;
                findings.refusals.add_many(refusal, if spent { (all - number) as u64 } else { 1 });
                if spent {
                    return;
                }
            }
        }
    }
}

fn replace(view: &View<'_>, ledger: &mut Ledger, shard: &Shard, replica: &Replica) -> Result<crate::Proposal, Refusal> {
    admission::shard_is_free(view, ledger, shard, Priority::Critical, Reason::NodeFailure)?;
    let (from, id, role) = (replica.node, replica.id, replica.role);
    let voters = shard.replicas.iter().filter(|member| member.votes()).count();
    let others = shard.replicas.iter().filter(|member| member.votes() && member.id != id).count();
    let has_data = shard.members(Role::Data).any(|member| member.id != id);
    if others * 2 <= voters || !has_data {
        return Err(Refusal::NoCopyLeft { shard: shard.id, node: from });
    }
    let wanted = view.policies.of(&shard.pool).replication;
    let superfluous = match role {
        Role::Learner => true,
        Role::Data => shard.members(Role::Data).count() > wanted.data as usize,
        Role::Witness => !wanted.witness,
    };
    if superfluous {
        let change = Change::RemoveReplica { shard: shard.id, replica: id, role, from };
        return admission::admit(view, ledger, Candidate::new(change, Priority::Critical, Reason::NodeFailure));
    }
    let arrival = Arrival { shard, role, leaving: Some(from), exchange: false, cannot_wait: true };
    let to = placement::choose(view, ledger, &arrival)?;
    let change = Change::MoveReplica { shard: shard.id, replica: id, role, from, to, exchange: None };
    let effect = Effect { figure: Figure::Members, node: None, before: others as f64, after: others as f64 + 1.0 };
    admission::admit(view, ledger, Candidate::new(change, Priority::Critical, Reason::NodeFailure).with(effect))
}
