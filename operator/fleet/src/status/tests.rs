//! What is told, and when it is written.

use super::*;
use crate::desired::desired as desired_of;
use crate::home::{Ended, Placement};
use crate::revision::Memory;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;
use thermocline_crds::validate;

const MANIFEST: &str = "
{apiVersion: thermocline.dev/v1alpha1, kind: StorageCluster, metadata: {name: demo, generation: 4}, spec: {version: 0.1.0}}
---
{apiVersion: thermocline.dev/v1alpha1, kind: StorageTier, metadata: {name: hot}, spec: {cluster: demo, rank: 0, medium: NVMe, size: 1Gi, costPerGiBMonth: 2.0}}
---
{apiVersion: thermocline.dev/v1alpha1, kind: StoragePool, metadata: {name: main}, spec: {cluster: demo, replicas: 1, tiers: [{name: hot}]}}
---
{apiVersion: thermocline.dev/v1alpha1, kind: MigrationPolicy, metadata: {name: p}, spec: {cluster: demo}}
";

struct Scene {
    objects: Vec<Object>,
    desired: Desired,
    observed: BTreeMap<String, Observed>,
    statuses: BTreeMap<String, v1::NodeStatus>,
    unstarted: BTreeMap<String, String>,
}

fn scene(version: &str) -> Scene {
    let objects: Vec<_> = validate::manifest(MANIFEST).unwrap().into_iter().map(|located| located.object).collect();
    let placement = Placement { first_address: Ipv4Addr::LOCALHOST, nodes_folder: Path::new("/nodes") };
    let desired = desired_of(&objects, placement, &mut Memory::default());
    let fingerprint = desired.nodes["main-0"].run.fingerprint.clone();
    let presence = Presence::Running { fingerprint, since: Duration::ZERO };
    let tier =
        v1::TierStatus { name: "hot".into(), used_bytes: 1 << 30, keys: 3, reads: 5, ..v1::TierStatus::default() };
    let status = v1::NodeStatus {
        health: v1::Health::Serving.into(),
        version: version.into(),
        policy_generation: 1,
        tiers_generation: 1,
        tiers: vec![tier],
        ..v1::NodeStatus::default()
    };
    Scene {
        objects,
        desired,
        observed: [("main-0".to_owned(), Observed { presence, restarts: 2, listen: None })].into(),
        statuses: [("main-0".to_owned(), status)].into(),
        unstarted: BTreeMap::new(),
    }
}

impl Scene {
    fn told(&self, second: i64) -> Vec<Object> {
        let view = View {
            desired: &self.desired,
            observed: &self.observed,
            statuses: &self.statuses,
            unstarted: &self.unstarted,
            plan: &Plan::default(),
            migrations: &BTreeMap::new(),
            shard_moves: &BTreeMap::new(),
            now: Timestamp::from_second(second).unwrap(),
        };
        told(&self.objects, view)
    }

    /// Takes what was told as what stands.
    fn settle(&mut self) {
        for new in self.told(1) {
            self.objects.retain(|old| (old.kind(), old.name()) != (new.kind(), new.name()));
            self.objects.push(new);
        }
    }
}

fn conditions(objects: &[Object], kind: Kind) -> Vec<(String, String, Option<i64>)> {
    let object = objects.iter().find(|object| object.kind() == kind).unwrap();
    let json = object.to_json().unwrap();
    let list = json["status"]["conditions"].as_array().unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    list.iter().map(|one| (text(&one["type"]), text(&one["status"]), one["observedGeneration"].as_i64())).collect()
}

#[test]
fn a_fleet_that_serves_is_ready_with_the_generation_it_was_judged_at_and_said_once() {
    let mut scene = scene("0.1.0");
    let told = scene.told(1);
    assert_eq!(told.len(), 5, "four objects and the node that is made");
    let of = |about: &str, so: &str| (about.to_owned(), so.to_owned(), Some(4));
    let expected = [of("Ready", "True"), of("Available", "True"), of("Progressing", "False"), of("Degraded", "False")];
    assert_eq!(conditions(&told, Kind::StorageCluster), expected);
    assert_eq!(conditions(&told, Kind::MigrationPolicy)[0].1, "True");
    scene.settle();
    assert_eq!(scene.told(99), [], "the same view later says nothing new");
}

#[test]
fn costs_and_keys_of_a_tier_come_from_the_bytes_that_nodes_measured() {
    let told = scene("0.1.0").told(1);
    let tier = told.iter().find_map(|object| match object {
        Object::StorageTier(tier) => tier.status.as_ref()?.pools.first(),
        _ => None,
    });
    let tier = tier.unwrap();
    assert_eq!((tier.used_bytes, tier.keys, tier.cost_per_month), (1 << 30, 3, Some(2.0)));
    assert_eq!(tier.read_share_percent, Some(100.0));
}

#[test]
fn another_version_than_the_declared_one_is_degraded() {
    let told = scene("0.2.0").told(1);
    assert_eq!(conditions(&told, Kind::StorageCluster)[3].1, "True");
}

#[test]
fn a_node_that_ended_by_itself_is_told_with_its_reason() {
    let mut scene = scene("0.1.0");
    scene.settle();
    scene.statuses.clear();
    let ended =
        Ended { in_a_row: 3, ago: Duration::ZERO, asked: false, refused: false, reason: "exit status 2".into() };
    scene.observed.get_mut("main-0").unwrap().presence = Presence::Absent { ended: Some(ended) };
    let told = scene.told(2);
    let node = told.iter().find(|object| object.kind() == Kind::StorageNode).unwrap();
    let text = node.to_yaml().unwrap();
    assert!(
        text.contains("state: Stopped") && text.contains("CrashLooping") && text.contains("exit status 2"),
        "{text}"
    );
    assert_eq!(conditions(&told, Kind::StorageCluster)[1].1, "False", "no node serves");
}

#[test]
fn a_node_that_refuses_to_start_is_told_apart_from_one_that_ends_and_one_that_cannot_be_started() {
    let mut scene = scene("0.1.0");
    scene.statuses.clear();
    let mut ended = Ended { in_a_row: 1, ago: Duration::ZERO, asked: false, refused: true, reason: "not mine".into() };
    let told = |scene: &Scene| {
        let node = scene.told(2).into_iter().find(|object| object.kind() == Kind::StorageNode).unwrap();
        let json = node.to_json().unwrap();
        let find =
            |about: &str| json["status"]["conditions"].as_array().unwrap().iter().find(|one| one["type"] == about);
        ["Ready", "Degraded"].map(|about| {
            let one = find(about).unwrap();
            format!("{} {} {}", one["status"], one["reason"], one["message"]).replace('"', "")
        })
    };
    scene.observed.get_mut("main-0").unwrap().presence = Presence::Absent { ended: Some(ended.clone()) };
    assert_eq!(told(&scene), ["False Refused not mine", "True Refused not mine"]);
    ended.refused = false;
    scene.observed.get_mut("main-0").unwrap().presence = Presence::Absent { ended: Some(ended) };
    assert_eq!(told(&scene), ["False CrashLooping not mine", "True NodesNotReady not mine"]);
    scene.unstarted.insert("main-0".into(), "no space left".into());
    assert_eq!(told(&scene), ["False CannotStart no space left", "True CannotStart no space left"]);
}

#[test]
fn a_node_under_its_reserve_is_not_ready_and_says_where_to_free_space() {
    let mut scene = scene("0.1.0");
    let status = scene.statuses.get_mut("main-0").unwrap();
    status.health = v1::Health::ReadOnly.into();
    status.health_reason = "the device of tier hot is under its reserve".into();
    status.tiers[0].under_reserve = true;
    let told = scene.told(1);
    for kind in [Kind::StorageCluster, Kind::StoragePool, Kind::StorageNode] {
        let ready = &conditions(&told, kind)[0];
        assert_eq!((ready.0.as_str(), ready.1.as_str()), ("Ready", "False"), "{kind}");
        let text = told.iter().find(|object| object.kind() == kind).unwrap().to_yaml().unwrap();
        for part in ["OutOfSpace", "the device of tier hot", "/nodes/main-0/tiers/hot", "StorageTier/hot"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
    let available = &conditions(&told, Kind::StorageCluster)[1];
    assert_eq!((available.0.as_str(), available.1.as_str()), ("Available", "True"), "it reads");
    // Not the tier: then the log.
    scene.statuses.get_mut("main-0").unwrap().tiers[0].under_reserve = false;
    let told = scene.told(1);
    let node = told.iter().find(|object| object.kind() == Kind::StorageNode).unwrap().to_yaml().unwrap();
    assert!(node.contains("/nodes/main-0/root"), "{node}");
}

#[test]
fn a_node_whose_fastest_tier_is_damaged_is_not_told_as_one_without_space() {
    let mut scene = scene("0.1.0");
    let status = scene.statuses.get_mut("main-0").unwrap();
    status.health = v1::Health::ReadOnly.into();
    status.health_reason = "tier hot has damaged blocks and is full".into();
    let told = scene.told(1);
    for kind in [Kind::StorageCluster, Kind::StoragePool, Kind::StorageNode] {
        let ready = &conditions(&told, kind)[0];
        assert_eq!((ready.0.as_str(), ready.1.as_str()), ("Ready", "False"), "{kind}");
        let text = told.iter().find(|object| object.kind() == kind).unwrap().to_yaml().unwrap();
        assert!(text.contains("TierDamaged") && text.contains("has damaged blocks"), "{text}");
        assert!(!text.contains("OutOfSpace") && !text.contains("free space"), "{text}");
    }
}

#[test]
fn small_moves_of_figures_are_not_written_and_states_are_at_once() {
    let mut scene = scene("0.1.0");
    scene.settle();
    let old = scene.objects.iter().find(|object| object.kind() == Kind::StorageTier).unwrap().clone();
    let mut changed = |bytes: u64| {
        scene.statuses.get_mut("main-0").unwrap().tiers[0].used_bytes = bytes;
        scene.told(2).into_iter().find(|object| object.kind() == Kind::StorageTier).unwrap()
    };
    let little = changed((1 << 30) + (1 << 24));
    assert!(!is_urgent(&old, &little) && !is_material(&old, &little));
    let much = changed(2 << 30);
    assert!(!is_urgent(&old, &much) && is_material(&old, &much));
    scene.statuses.clear();
    let silent = scene.told(3).into_iter().find(|object| object.kind() == Kind::StorageTier).unwrap();
    assert!(is_urgent(&old, &silent));
}

#[test]
fn whether_a_tier_of_a_node_holds_anything_is_told_at_once() {
    let mut scene = scene("0.1.0");
    scene.settle();
    let old = scene.objects.iter().find(|object| object.kind() == Kind::StorageNode).unwrap().clone();
    let mut changed = |keys: u64| {
        scene.statuses.get_mut("main-0").unwrap().tiers[0].keys = keys;
        scene.told(2).into_iter().find(|object| object.kind() == Kind::StorageNode).unwrap()
    };
    let (more, none) = (changed(9), changed(0));
    assert!(!is_urgent(&old, &more));
    assert!(is_urgent(&old, &none), "a tier that was emptied can be taken away now");
}

#[test]
fn a_node_is_told_where_it_listens() {
    let mut scene = scene("0.1.0");
    let at = |port| std::net::SocketAddr::from(([127, 0, 0, 1], port));
    scene.observed.get_mut("main-0").unwrap().listen =
        Some(thermocline_node_config::Listen { kv: at(11), admin: at(12), http: at(13), peer: None });
    let told = scene.told(1);
    let of =
        |kind: Kind| told.iter().find(|object| object.kind() == kind).unwrap().to_json().unwrap()["status"].clone();
    assert_eq!(of(Kind::StorageNode)["adminAddress"], "127.0.0.1:12");
    assert_eq!(of(Kind::StorageCluster)["endpoints"][0], "127.0.0.1:11");
}
