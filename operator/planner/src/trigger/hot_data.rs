//! HotDataReplication: a shard with many hot keys that carries more than its share of its leader's node gets read
//! replicas, and loses them when it has cooled down.

use crate::{
    Change, Effect, Figure, Priority, Reason, Refusal,
    admission::{self, Candidate},
    fleet::{Role, Shard},
    ledger::{Ledger, Resource},
    placement::{self, Arrival},
    plan::Findings,
    view::View,
};

pub(super) fn find(view: &View<'_>, ledger: &mut Ledger) -> Findings {
    let mut findings = Findings::default();
    let mut hot: Vec<&Shard> = view.fleet.shards().iter().filter(|shard| is_hot(view, ledger, shard)).collect();
    hot.sort_by(|a, b| b.load.reads.total_cmp(&a.load.reads).then(a.id.cmp(&b.id)));
    for shard in hot {
        match replicate(view, ledger, shard) {
            Ok(proposal) => findings.proposals.push(proposal),
            Err(refusal) => {
                let spent = matches!(refusal, Refusal::ClusterBudget { .. });
                findings.refusals.add(refusal);
                if spent {
                    break;
                }
            }
        }
    }
    for shard in view.fleet.shards().iter().filter(|shard| has_cooled(view, shard)) {
        match let_go(view, ledger, shard) {
            Some(Ok(proposal)) => findings.proposals.push(proposal),
            Some(Err(refusal)) => findings.refusals.add(refusal),
            None => {}
        }
    }
    findings
}

/// Whether a shard should have a read replica more.
pub(super) fn is_hot(view: &View<'_>, ledger: &Ledger, shard: &Shard) -> bool {
    let policy = view.policies.of(&shard.pool);
    let (load, readers) = (&shard.load, shard.members(Role::Learner).count());
    if load.hot_keys < policy.triggers.hot_keys || load.reads <= load.writes {
        return false;
    }
    let Some(place) = shard.leader().and_then(|leader| view.fleet.place_of(leader.node)) else {
        return false;
    };
    let node = ledger.share(view, place, Resource::Load) * view.fleet.nodes()[place].load.cpu_cores;
    let fair = node / view.fleet.held_count(place).max(1) as f64;
    readers < policy.budget.read_replicas as usize && load.cpu > fair * policy.hysteresis
}

/// Whether a shard has read replicas that it no longer needs.
pub(super) fn has_cooled(view: &View<'_>, shard: &Shard) -> bool {
    let policy = view.policies.of(&shard.pool);
    let cool = (shard.load.hot_keys as f64) < policy.triggers.hot_keys as f64 / policy.hysteresis;
    cool && shard.members(Role::Learner).next().is_some()
}

fn replicate(view: &View<'_>, ledger: &mut Ledger, shard: &Shard) -> Result<crate::Proposal, Refusal> {
    admission::shard_is_free(view, ledger, shard, Priority::Normal, Reason::HotDataReplication)?;
    let arrival = Arrival { shard, role: Role::Learner, leaving: None, exchange: false, cannot_wait: false };
    let to = placement::choose(view, ledger, &arrival)?;
    let before = shard.members(Role::Learner).count() as f64;
    let effect = Effect { figure: Figure::ReadReplicas, node: None, before, after: before + 1.0 };
    let change = Change::AddReplica { shard: shard.id, role: Role::Learner, to };
    admission::admit(view, ledger, Candidate::new(change, Priority::Normal, Reason::HotDataReplication).with(effect))
}

fn let_go(view: &View<'_>, ledger: &mut Ledger, shard: &Shard) -> Option<Result<crate::Proposal, Refusal>> {
    let last = shard.members(Role::Learner).max_by_key(|replica| replica.id)?;
    let before = shard.members(Role::Learner).count() as f64;
    let effect = Effect { figure: Figure::ReadReplicas, node: None, before, after: before - 1.0 };
    let change = Change::RemoveReplica { shard: shard.id, replica: last.id, role: last.role, from: last.node };
    let candidate = Candidate::new(change, Priority::Low, Reason::HotDataReplication).with(effect);
    Some(admission::admit(view, ledger, candidate))
}
