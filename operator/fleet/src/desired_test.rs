//! From manifests to what nodes should run.

use super::*;
use std::path::Path;
use thermocline_crds::validate;

/// Everything that a manifest can say of a node, in one place.
const ALL: &str = "
{apiVersion: thermocline.dev/v1alpha1, kind: StorageCluster, metadata: {name: demo},
 spec: {version: 0.1.0, durability: Sync, listeners: {kv: 8400, admin: 8401, http: 8402}}}
---
{apiVersion: thermocline.dev/v1alpha1, kind: StorageTier, metadata: {name: cold},
 spec: {cluster: demo, rank: 20, medium: HDD, size: 4Gi, throttle: 60Mi}}
---
{apiVersion: thermocline.dev/v1alpha1, kind: StorageTier, metadata: {name: hot},
 spec: {cluster: demo, rank: 0, medium: NVMe, size: 1Gi, reserve: 8Mi, watermarks: {highPercent: 80, lowPercent: 60},
        profile: {cache: 16Mi, writeBuffer: 4Mi, filterBits: 9, compression: Zstd, compressionLevel: 3,
                  compressionDictionary: 16Ki, compressionPerLevel: [{level: 0, compression: None}], blockSize: 8Ki, openFiles: 100}}}
---
{apiVersion: thermocline.dev/v1alpha1, kind: StoragePool,
 metadata: {name: main, annotations: {thermocline.dev/split-points: g}},
 spec: {cluster: demo, replicas: 2, tiers: [{name: cold}, {name: hot, size: 512Mi}], resources: {limits: {memory: 256Mi}}}}
---
{apiVersion: thermocline.dev/v1alpha1, kind: MigrationPolicy, metadata: {name: by-heat},
 spec: {cluster: demo, tiering: Paused, temperatures: {hot: {reads: 5, per: 60s, readWithin: 30s}},
        evaluationInterval: 5s, hysteresis: 3, minResidency: 7s, budget: {bytesPerSecond: 32Mi}}}
";

fn objects(text: &str) -> Vec<Object> {
    validate::manifest(text).unwrap().into_iter().map(|located| located.object).collect()
}

fn of(objects: &[Object], memory: &mut Memory) -> Desired {
    let placement = Placement { first_address: Ipv4Addr::new(127, 0, 9, 1), nodes_folder: Path::new("/state/nodes") };
    desired(objects, placement, memory)
}

#[test]
fn every_field_of_the_manifests_reaches_the_configuration_of_the_nodes() {
    let desired = of(&objects(ALL), &mut Memory::default());
    let names: Vec<&str> = desired.nodes.keys().map(String::as_str).collect();
    assert_eq!(names, ["main-0", "main-1"]);
    let rendered = serde_yaml::to_string(&desired.nodes["main-1"].run.config).unwrap();
    let expected = "\
node: main-1
cluster: demo
listen:
  kv: 127.0.9.2:8400
  admin: 127.0.9.2:8401
  http: 127.0.9.2:8402
range:
  start: g
  end: ''
root: /state/nodes/main-1/root
durability: sync
memoryLimit: 256Mi
tiers:
- name: hot
  rank: 0
  medium: NVMe
  path: /state/nodes/main-1/tiers/hot
  size: 512Mi
  reserve: 8Mi
  highWatermarkPercent: 80
  lowWatermarkPercent: 60
  profile:
    cache: 16Mi
    writeBuffer: 4Mi
    filterBits: 9
    compression: zstd
    compressionLevel: 3
    compressionDictionary: 16Ki
    compressionPerLevel:
      '0': none
    blockSize: 8Ki
    openFiles: 100
- name: cold
  rank: 20
  medium: HDD
  path: /state/nodes/main-1/tiers/cold
  size: 4Gi
  highWatermarkPercent: 85
  lowWatermarkPercent: 75
  throttle: 60Mi
policy:
  generation: 1
  paused: true
  temperatures:
  - tier: hot
    reads: 5.0
    per: 1m
    readWithin: 30s
  evaluationInterval: 5s
  hysteresis: 3.0
  minResidency: 7s
  bytesPerSecond: 32Mi
";
    assert_eq!(rendered, expected);
}

#[test]
fn what_is_sent_to_a_running_node_says_the_same_as_its_file() {
    let desired = of(&objects(ALL), &mut Memory::default());
    let node = &desired.nodes["main-0"];
    assert!(node.policy.tiering_paused);
    assert_eq!((node.policy.evaluation_interval_ms, node.policy.min_residency_ms), (5_000, 7_000));
    assert_eq!(node.policy.bytes_per_second, 32 << 20);
    let [hot] = node.policy.temperatures.as_slice() else { panic!("one temperature") };
    assert_eq!((hot.tier.as_str(), hot.per_ms, hot.read_within_ms), ("hot", 60_000, 30_000));
    let tiers: Vec<_> = node.tiers.tiers.iter().map(|tier| (tier.name.as_str(), tier.size_bytes)).collect();
    assert_eq!(tiers, [("hot", 512 << 20), ("cold", 4 << 30)]);
    assert_eq!(node.tiers.tiers[1].throttle_bytes_per_second, 60 << 20);
}

#[test]
fn what_a_running_node_can_change_leaves_its_fingerprint_and_all_else_does_not() {
    let before = of(&objects(ALL), &mut Memory::default());
    let fingerprint = |text: &str| of(&objects(text), &mut Memory::default()).nodes["main-0"].run.fingerprint.clone();
    for (from, to) in [
        ("size: 4Gi", "size: 5Gi"),
        ("highPercent: 80", "highPercent: 90"),
        ("throttle: 60Mi", "throttle: 1Mi"),
        ("hysteresis: 3", "hysteresis: 4"),
        ("tiering: Paused", "tiering: Auto"),
        ("size: 512Mi", "size: 600Mi"),
    ] {
        assert_eq!(fingerprint(&ALL.replace(from, to)), before.nodes["main-0"].run.fingerprint, "{to}");
    }
    for (from, to) in [
        ("blockSize: 8Ki", "blockSize: 16Ki"),
        ("memory: 256Mi", "memory: 300Mi"),
        ("durability: Sync", "durability: Wal"),
        ("reserve: 8Mi", "reserve: 9Mi"),
        ("kv: 8400", "kv: 8500"),
        ("{name: cold}, ", ""),
    ] {
        assert_ne!(fingerprint(&ALL.replace(from, to)), before.nodes["main-0"].run.fingerprint, "{to}");
    }
}

#[test]
fn generations_follow_changes_of_the_pool_and_of_nothing_else() {
    let mut memory = Memory::default();
    let mut generations = |text: &str| {
        let node = &of(&objects(text), &mut memory).nodes["main-0"];
        (node.policy.generation, node.tiers.generation)
    };
    assert_eq!(generations(ALL), (1, 1));
    assert_eq!(generations(ALL), (1, 1));
    assert_eq!(generations(&ALL.replace("hysteresis: 3", "hysteresis: 4")), (2, 1));
    assert_eq!(generations(&ALL.replace("size: 4Gi", "size: 5Gi")), (3, 2));
}

#[test]
fn a_policy_that_names_the_pool_beats_an_older_one_for_all_and_the_loser_is_known() {
    let mut all = objects(ALL);
    all.extend(objects(
        "{apiVersion: thermocline.dev/v1alpha1, kind: MigrationPolicy, metadata: {name: special}, spec: {cluster: demo, pools: [main]}}",
    ));
    let desired = of(&all, &mut Memory::default());
    assert_eq!(desired.policy_of_pool["main"], "special");
    assert_eq!(desired.conflicts["by-heat"], ["special"]);
    assert!(!desired.nodes["main-0"].policy.tiering_paused);
}

#[test]
fn a_pool_whose_tier_is_missing_has_no_nodes_and_says_why() {
    let mut all = objects(ALL);
    all.retain(|object| object.name() != "cold");
    let desired = of(&all, &mut Memory::default());
    assert!(desired.nodes.is_empty());
    assert!(desired.invalid[0].2.contains("no StorageTier cold"), "{:?}", desired.invalid);
    assert!(!desired.is_left_over("main-0"), "nobody took the pool away");
    assert!(desired.is_left_over("other-0"));
    all.retain(|object| object.kind() != Kind::StoragePool);
    assert!(of(&all, &mut Memory::default()).is_left_over("main-0"));
}

#[test]
fn a_node_is_where_it_listens_and_not_where_it_is_declared_to() {
    let desired = of(&objects(ALL), &mut Memory::default());
    let node = &desired.nodes["main-0"];
    let at = |port| std::net::SocketAddr::from(([127, 0, 9, 1], port));
    let listen = Listen { kv: at(1), admin: at(2), http: at(3), peer: None };
    let presence = crate::home::Presence::Stopping;
    let mut seen = Observed { presence, restarts: 0, listen: Some(listen.clone()) };
    assert_eq!(node.run_as_seen(Some(&seen)).config.listen, listen);
    seen.listen = None;
    assert_eq!(node.run_as_seen(Some(&seen)), node.run, "not known of one that an older version started");
}

#[test]
fn a_configuration_that_was_kept_has_the_fingerprint_that_it_was_started_with() {
    let desired = of(&objects(ALL), &mut Memory::default());
    let run = &desired.nodes["main-1"].run;
    let kept = serde_yaml::from_str(&serde_yaml::to_string(&run.config).unwrap()).unwrap();
    assert_eq!(&run_of(kept), run);
}

#[test]
fn fields_without_effect_are_told() {
    let text = "{apiVersion: thermocline.dev/v1alpha1, kind: StorageCluster, metadata: {name: demo, namespace: prod}, spec: {version: 0.1.0}}";
    assert_eq!(ignored(&objects(text)[0]), ["StorageCluster/demo: metadata.namespace is ignored outside Kubernetes"]);
    assert_eq!(ignored(&objects(ALL)[0]), Vec::<String>::new());
}

const REPLICATED: &str = "
{apiVersion: thermocline.dev/v1alpha1, kind: StorageCluster, metadata: {name: demo}, spec: {version: 0.1.0}}
---
{apiVersion: thermocline.dev/v1alpha1, kind: StorageTier, metadata: {name: hot},
 spec: {cluster: demo, rank: 0, medium: NVMe, size: 1Gi}}
---
{apiVersion: thermocline.dev/v1alpha1, kind: StoragePool, metadata: {name: main},
 spec: {cluster: demo, replicas: 4, replication: {}, tiers: [{name: hot}]}}
";

fn node(name: &str, offline: bool) -> String {
    format!(
        "---\n{{apiVersion: thermocline.dev/v1alpha1, kind: StorageNode, metadata: {{name: {name}}},
 spec: {{cluster: demo, pool: main, offline: {offline}}}}}\n"
    )
}

fn leaving(desired: &Desired) -> Vec<(&str, Leaving)> {
    desired.nodes.iter().filter_map(|(name, node)| Some((name.as_str(), node.leaving?))).collect()
}

#[test]
fn nodes_that_a_pool_has_no_place_for_any_more_run_on_until_they_are_empty() {
    let smaller = format!("{REPLICATED}{}{}", node("main-3", false), node("main-0", false));
    let smaller = smaller.replace("replicas: 4", "replicas: 3");
    let mut desired = of(&objects(&smaller), &mut Memory::default());
    assert_eq!(desired.nodes.len(), 4);
    assert_eq!(leaving(&desired), [("main-3", Leaving::PoolShrank)]);
    assert!(!desired.is_left_over("main-3"));
    desired.release(|_| false);
    assert_eq!(desired.nodes.len(), 4);
    desired.release(|_| true);
    assert!(desired.is_left_over("main-3") && desired.nodes.len() == 3 && desired.offline.is_empty());
    // The pool has a place for it again before it was empty.
    assert_eq!(leaving(&of(&objects(&smaller.replace("replicas: 3", "replicas: 4")), &mut Memory::default())), []);
}

#[test]
fn a_node_that_is_to_be_offline_runs_until_it_is_empty_and_then_not_until_it_is_wanted_again() {
    let with = |offline, state| {
        let mut objects = objects(&format!("{REPLICATED}{}", node("main-1", offline)));
        let Some(Object::StorageNode(node)) = objects.last_mut() else { panic!("it is the last one") };
        node.status.get_or_insert_default().state = state;
        objects
    };
    let mut desired = of(&with(true, NodeState::Ready), &mut Memory::default());
    assert_eq!(leaving(&desired), [("main-1", Leaving::Offline)]);
    desired.release(|_| true);
    assert!(desired.is_left_over("main-1") && desired.offline.contains("main-1"), "it is stopped, and known");
    // Nobody hears one that does not run: its status says that it was empty.
    let desired = of(&with(true, NodeState::Offline), &mut Memory::default());
    assert!(!desired.nodes.contains_key("main-1") && desired.offline.contains("main-1"));
    let desired = of(&with(false, NodeState::Offline), &mut Memory::default());
    assert!(desired.nodes.contains_key("main-1") && desired.offline.is_empty());
}

#[test]
fn so_many_nodes_cannot_be_offline_that_a_shard_has_no_place() {
    let with = |nodes: &[&str]| {
        let nodes: String = nodes.iter().map(|name| node(name, true)).collect();
        refusals(&objects(&format!("{REPLICATED}{nodes}")))
    };
    assert_eq!(with(&["main-1"]), Vec::<String>::new());
    assert!(
        with(&["main-1", "main-2"])[0].contains("needs 3 nodes, and 2 of 4 would stay"),
        "{:?}",
        with(&["main-1", "main-2"])
    );
    let alone = objects(&format!("{}{}", REPLICATED.replace("replication: {}, ", ""), node("main-1", true)));
    assert!(refusals(&alone)[0].contains("no replication"), "{:?}", refusals(&alone));
}
