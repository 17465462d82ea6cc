//! Members that a shard lacks for the replication of its pool, and members that it has too many.

use crate::{
    Change, Effect, Figure, Priority, Reason, Refusal, RefusalKind,
    admission::{self, Candidate},
    fleet::{Replica, Role, Shard},
    ledger::Ledger,
    placement::{self, Arrival},
    plan::Findings,
    view::View,
};

/// Shards that are looked at closely in a round; what they are refused for, the others would be too.
const EXAMINED: u64 = 1_000;

pub(super) fn missing(view: &View<'_>, ledger: &mut Ledger) -> Findings {
    let mut lacking: Vec<(&Shard, Role)> =
        view.fleet.shards().iter().filter_map(|shard| Some((shard, lacks(view, shard)?))).collect();
    // Those with the fewest members first.
    lacking.sort_by_key(|(shard, _)| (shard.replicas.len(), shard.id));
    each(lacking, |(shard, role)| add(view, ledger, shard, role))
}

pub(super) fn surplus(view: &View<'_>, ledger: &mut Ledger) -> Findings {
    let surplus = view.fleet.shards().iter().filter_map(|shard| Some((shard, *has_too_many(view, shard)?)));
    each(surplus.collect(), |(shard, replica)| {
        let change =
            Change::RemoveReplica { shard: shard.id, replica: replica.id, role: replica.role, from: replica.node };
        let before = shard.replicas.iter().filter(|member| member.votes()).count() as f64;
        let effect = Effect { figure: Figure::Members, node: None, before, after: before - 1.0 };
        admission::admit(view, ledger, Candidate::new(change, Priority::Low, Reason::Rebalance).with(effect))
    })
}

/// The role that a shard lacks a member of.
pub(super) fn lacks(view: &View<'_>, shard: &Shard) -> Option<Role> {
    let wanted = view.policies.of(&shard.pool).replication;
    if shard.members(Role::Data).count() < wanted.data as usize {
        return Some(Role::Data);
    }
    (wanted.witness && shard.members(Role::Witness).next().is_none()).then_some(Role::Witness)
}

/// A member that a shard has too many: one that is lost or leaving, then one in a zone with another, then the last; never
/// the leader.
pub(super) fn has_too_many<'a>(view: &View<'_>, shard: &'a Shard) -> Option<&'a Replica> {
    let wanted = view.policies.of(&shard.pool).replication;
    let role = if shard.members(Role::Data).count() > wanted.data as usize {
        Role::Data
    } else if shard.members(Role::Witness).count() > usize::from(wanted.witness) {
        Role::Witness
    } else {
        return None;
    };
    shard.members(role).filter(|replica| !replica.leader).max_by_key(|replica| {
        let place = view.fleet.place_of(replica.node);
        let leaves = place.is_none_or(|place| !view.fleet.nodes()[place].stays());
        let zone = place.map_or(0, |place| placement::members_in_zone(view, shard, Some(replica.node), place));
        (leaves, zone, replica.id)
    })
}

fn add(view: &View<'_>, ledger: &mut Ledger, shard: &Shard, role: Role) -> Result<crate::Proposal, Refusal> {
    admission::shard_is_free(view, ledger, shard, Priority::Critical, Reason::Rebalance)?;
    let wanted = view.policies.of(&shard.pool).replication.voters();
    let nodes = view.staying[view.pool_of_shard(shard)].len() as u32;
    if nodes <= shard.replicas.len() as u32 && nodes < wanted {
        return Err(Refusal::TooFewNodes { pool: shard.pool.clone(), wanted, nodes });
    }
    let arrival = Arrival { shard, role, leaving: None, exchange: false, cannot_wait: true };
    let to = placement::choose(view, ledger, &arrival)?;
    let before = shard.replicas.iter().filter(|member| member.votes()).count() as f64;
    let effect = Effect { figure: Figure::Members, node: None, before, after: before + 1.0 };
    let change = Change::AddReplica { shard: shard.id, role, to };
    admission::admit(view, ledger, Candidate::new(change, Priority::Critical, Reason::Rebalance).with(effect))
}

/// Tries each, until the cluster has no place for one more, or enough were refused.
fn each<T>(all: Vec<T>, mut attempt: impl FnMut(T) -> Result<crate::Proposal, Refusal>) -> Findings {
    let mut findings = Findings::default();
    let (count, mut refused) = (all.len() as u64, 0);
    for (number, one) in (0..).zip(all) {
        match attempt(one) {
            Ok(proposal) => findings.proposals.push(proposal),
            Err(refusal) => {
                refused += 1;
                let ends = refusal.kind() == RefusalKind::ClusterBudget || refused >= EXAMINED;
                findings.refusals.add_many(refusal, if ends { count - number } else { 1 });
                if ends {
                    break;
                }
            }
        }
    }
    findings
}
