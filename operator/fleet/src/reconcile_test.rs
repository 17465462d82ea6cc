//! Decisions as values.

use super::*;
use crate::desired::desired as desired_of;
use crate::home::{Ended, Placement};
use crate::revision::Memory;
use std::net::Ipv4Addr;
use std::path::Path;
use thermocline_crds::validate;

const MANIFEST: &str = "
{apiVersion: thermocline.dev/v1alpha1, kind: StorageCluster, metadata: {name: demo}, spec: {version: 0.1.0}}
---
{apiVersion: thermocline.dev/v1alpha1, kind: StorageTier, metadata: {name: hot}, spec: {cluster: demo, rank: 0, medium: NVMe, size: 1Gi}}
---
{apiVersion: thermocline.dev/v1alpha1, kind: StoragePool, metadata: {name: main}, spec: {cluster: demo, replicas: 3, tiers: [{name: hot}]}}
";

struct Fleet {
    desired: Desired,
    observed: BTreeMap<String, Observed>,
    statuses: BTreeMap<String, v1::NodeStatus>,
    silent: BTreeSet<String>,
    held: HeldTiers,
}

impl Fleet {
    /// Three nodes that run and serve as declared.
    fn settled() -> Self {
        let objects: Vec<_> = validate::manifest(MANIFEST).unwrap().into_iter().map(|located| located.object).collect();
        let placement = Placement { first_address: Ipv4Addr::LOCALHOST, nodes_folder: Path::new("/nodes") };
        let desired = desired_of(&objects, placement, &mut Memory::default());
        let (observed, statuses) = (BTreeMap::new(), BTreeMap::new());
        let mut fleet = Self { desired, observed, statuses, silent: BTreeSet::new(), held: HeldTiers::new() };
        for name in ["main-0", "main-1", "main-2"] {
            let fingerprint = fleet.desired.nodes[name].run.fingerprint.clone();
            fleet.see(name, Presence::Running { fingerprint, since: Duration::from_secs(9) });
            let tiers = vec![v1::TierStatus { name: "hot".into(), keys: 5, ..v1::TierStatus::default() }];
            let status = v1::NodeStatus {
                health: v1::Health::Serving.into(),
                policy_generation: 1,
                tiers_generation: 1,
                tiers,
                ..v1::NodeStatus::default()
            };
            fleet.statuses.insert(name.to_owned(), status);
        }
        fleet
    }

    fn see(&mut self, name: &str, presence: Presence) {
        self.observed.insert(name.to_owned(), Observed { presence, restarts: 0, listen: None });
    }

    fn outdate(&mut self, name: &str) {
        self.see(name, Presence::Running { fingerprint: "old".to_owned(), since: Duration::from_secs(9) });
    }

    /// A node that says nothing any more.
    fn silence(&mut self, name: &str) {
        self.statuses.remove(name);
        self.silent.insert(name.to_owned());
    }

    fn plan(&self) -> Plan {
        let Self { desired, observed, statuses, silent, held } = self;
        reconcile(desired, Facts { observed, statuses, silent, held })
    }

    fn actions(&self) -> Vec<Action> {
        self.plan().actions
    }
}

fn ended(in_a_row: u32, milliseconds: u64, asked: bool) -> Presence {
    let ago = Duration::from_millis(milliseconds);
    Presence::Absent { ended: Some(Ended { in_a_row, ago, asked, refused: false, reason: String::new() }) }
}

#[test]
fn a_settled_fleet_is_left_alone() {
    assert_eq!(Fleet::settled().actions(), []);
}

#[test]
fn a_node_that_never_ran_is_run_and_one_that_nothing_asks_for_is_stopped() {
    let mut fleet = Fleet::settled();
    fleet.observed.remove("main-1");
    fleet.see("old-0", Presence::Running { fingerprint: String::new(), since: Duration::ZERO });
    assert_eq!(fleet.actions(), [Action::Stop("old-0".into()), Action::Run("main-1".into())]);
}

#[test]
fn a_node_that_keeps_ending_is_run_after_pauses_that_grow_up_to_a_bound() {
    let mut fleet = Fleet::settled();
    for (in_a_row, milliseconds, runs) in
        [(1, 249, false), (1, 250, true), (3, 999, false), (3, 1000, true), (99, 30_000, true)]
    {
        fleet.see("main-0", ended(in_a_row, milliseconds, false));
        assert_eq!(!fleet.actions().is_empty(), runs, "{in_a_row} ends, {milliseconds} ms ago");
    }
    fleet.see("main-0", ended(0, 0, true));
    assert_eq!(fleet.actions(), [Action::Run("main-0".into())], "it was stopped to be run anew");
    assert_eq!(pause(u32::MAX), LONGEST_PAUSE);
}

#[test]
fn nodes_are_replaced_one_at_a_time_and_only_while_all_others_serve() {
    let mut fleet = Fleet::settled();
    fleet.outdate("main-0");
    fleet.outdate("main-1");
    assert_eq!(fleet.actions(), [Action::Replace("main-0".into())]);
    fleet.see("main-0", Presence::Stopping);
    assert_eq!(fleet.actions(), [], "the first has not ended yet");
    fleet = Fleet::settled();
    fleet.outdate("main-0");
    fleet.statuses.remove("main-2");
    assert_eq!(fleet.actions(), [], "another does not serve");
    fleet.silence("main-0");
    assert_eq!(fleet.actions(), [Action::Replace("main-0".into())], "it does not serve itself");
}

#[test]
fn nodes_that_were_not_heard_yet_are_waited_for_and_silent_ones_are_replaced_one_at_a_time() {
    let mut fleet = Fleet::settled();
    let names = ["main-0", "main-1", "main-2"];
    for name in names {
        fleet.outdate(name);
    }
    // As a supervisor finds it that has just begun.
    let statuses = std::mem::take(&mut fleet.statuses);
    assert_eq!(fleet.actions(), []);
    fleet.statuses = statuses;
    fleet.statuses.remove("main-1");
    assert_eq!(fleet.actions(), [], "while one is not heard the others must go on serving, and it may serve too");
    for name in names {
        fleet.silence(name);
    }
    assert_eq!(fleet.actions(), [Action::Replace("main-0".into())]);
    fleet.see("main-0", Presence::Stopping);
    assert_eq!(fleet.actions(), []);
}

#[test]
fn what_a_node_has_not_confirmed_is_sent_to_it() {
    let mut fleet = Fleet::settled();
    fleet.statuses.get_mut("main-1").unwrap().policy_generation = 0;
    fleet.statuses.get_mut("main-2").unwrap().tiers_generation = 0;
    assert_eq!(fleet.actions(), [Action::SetPolicy("main-1".into()), Action::SetTiers("main-2".into())]);
    fleet.statuses.get_mut("main-1").unwrap().health = v1::Health::Draining.into();
    fleet.statuses.remove("main-2");
    assert_eq!(fleet.actions(), [], "who drains or is silent is told nothing");
}

#[test]
fn a_tier_that_holds_data_is_not_taken_away() {
    let mut fleet = Fleet::settled();
    fleet.outdate("main-0");
    let cold = v1::TierStatus { name: "cold".into(), keys: 7, ..v1::TierStatus::default() };
    fleet.statuses.get_mut("main-0").unwrap().tiers.push(cold);
    let plan = fleet.plan();
    assert_eq!(plan.actions, []);
    assert!(plan.held["main-0"].contains("holds 7 keys"), "{:?}", plan.held);
    fleet.statuses.get_mut("main-0").unwrap().tiers[1].keys = 0;
    assert_eq!(fleet.actions(), [Action::Replace("main-0".into())]);
}

#[test]
fn a_node_whose_change_is_held_back_or_waits_is_told_what_it_can_change_while_it_runs() {
    let mut fleet = Fleet::settled();
    fleet.outdate("main-0");
    let cold = v1::TierStatus { name: "cold".into(), rank: 9, keys: 7, ..v1::TierStatus::default() };
    fleet.statuses.get_mut("main-0").unwrap().tiers.push(cold);
    fleet.statuses.get_mut("main-0").unwrap().policy_generation = 0;
    assert_eq!(fleet.actions(), [Action::SetPolicy("main-0".into())], "it is held back");
    fleet.statuses.get_mut("main-0").unwrap().tiers[1].keys = 0;
    assert_eq!(fleet.actions(), [Action::Replace("main-0".into())], "it is started with it");
    fleet.statuses.remove("main-2");
    assert_eq!(fleet.actions(), [Action::SetPolicy("main-0".into())], "it waits for its turn");
    for (tier, told) in [("hot", true), ("cold", false), ("new", false)] {
        let stated = v1::Temperature { tier: tier.into(), ..v1::Temperature::default() };
        fleet.desired.nodes.get_mut("main-0").unwrap().policy.temperatures = vec![stated];
        assert_eq!(!fleet.actions().is_empty(), told, "a policy about {tier} of hot and cold");
    }
}

#[test]
fn a_tier_that_held_data_when_it_was_last_told_is_not_taken_away_from_a_node_that_says_nothing() {
    let mut fleet = Fleet::settled();
    fleet.held.insert("main-0".to_owned(), [("cold".to_owned(), 7)].into());
    fleet.outdate("main-0");
    assert_eq!(fleet.actions(), [Action::Replace("main-0".into())], "it says itself that it is empty");
    fleet.silence("main-0");
    let plan = fleet.plan();
    assert_eq!(plan.actions, []);
    assert!(plan.held["main-0"].contains("holds 7 keys"), "{:?}", plan.held);
    fleet.see("main-0", ended(1, 60_000, false));
    let plan = fleet.plan();
    assert_eq!(plan.actions, [Action::Run("main-0".into())], "it is run,");
    assert!(plan.held.contains_key("main-0"), "but not without the tier: {:?}", plan.held);
}

#[test]
fn nodes_of_a_pool_that_cannot_be_followed_are_left_as_they_are() {
    let mut fleet = Fleet::settled();
    fleet.desired.nodes.clear();
    fleet.desired.unfollowed.insert("main".to_owned());
    assert_eq!(fleet.actions(), []);
    fleet.see("other-0", Presence::Running { fingerprint: String::new(), since: Duration::ZERO });
    assert_eq!(fleet.actions(), [Action::Stop("other-0".into())], "that pool is gone");
}

#[test]
fn while_the_cluster_is_paused_nothing_is_done() {
    let mut fleet = Fleet::settled();
    fleet.outdate("main-0");
    fleet.observed.remove("main-1");
    fleet.see("old-0", Presence::Running { fingerprint: String::new(), since: Duration::ZERO });
    fleet.desired.paused = true;
    assert_eq!(fleet.plan(), Plan::default());
}
