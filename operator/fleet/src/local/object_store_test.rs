//! What a change of objects leaves behind, accepted or refused.

use super::*;
use crate::local::{HomeSettings, kept_config};

const CLUSTER: &str =
    "{apiVersion: thermocline.dev/v1alpha1, kind: StorageCluster, metadata: {name: demo}, spec: {version: 0.1.0}}";
const TIER: &str = "{apiVersion: thermocline.dev/v1alpha1, kind: StorageTier, metadata: {name: hot}, spec: {cluster: demo, rank: 0, medium: NVMe, size: 1Gi}}";
const POOL: &str = "{apiVersion: thermocline.dev/v1alpha1, kind: StoragePool, metadata: {name: main}, spec: {cluster: demo, replicas: 2, tiers: [{name: hot}]}}";

fn objects(texts: &[&str]) -> Vec<Object> {
    let text = texts.join("\n---\n");
    validate::manifest(&text).unwrap().into_iter().map(|located| located.object).collect()
}

fn store() -> (tempfile::TempDir, ObjectStore) {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::new(folder.path().join("fleet"));
    layout.create(HomeSettings::default()).unwrap();
    (folder, ObjectStore::new(layout, || Timestamp::UNIX_EPOCH))
}

fn generation(store: &ObjectStore, kind: Kind, name: &str) -> Option<i64> {
    store.get(kind, name).unwrap().and_then(|object| object.metadata().generation)
}

#[test]
fn a_generation_grows_only_when_the_spec_changes() {
    let (_folder, store) = store();
    let created = store.apply(objects(&[CLUSTER, TIER, POOL])).unwrap();
    assert_eq!(created, [Change::Created; 3]);
    assert_eq!(store.apply(objects(&[TIER])).unwrap(), [Change::Unchanged]);
    assert_eq!(generation(&store, Kind::StorageTier, "hot"), Some(1));
    let larger = TIER.replace("1Gi", "2Gi");
    assert_eq!(store.apply(objects(&[&larger])).unwrap(), [Change::Configured]);
    assert_eq!(generation(&store, Kind::StorageTier, "hot"), Some(2));
    let labelled = larger.replace("{name: hot}", "{name: hot, labels: {a: b}}");
    assert_eq!(store.apply(objects(&[&labelled])).unwrap(), [Change::Configured]);
    assert_eq!(generation(&store, Kind::StorageTier, "hot"), Some(2));
}

#[test]
fn where_one_object_is_refused_none_is_changed() {
    let (_folder, store) = store();
    store.apply(objects(&[CLUSTER, TIER, POOL])).unwrap();
    let before = store.list().unwrap();
    let larger = TIER.replace("1Gi", "2Gi");
    for bad in [
        POOL.replace("replicas: 2", "replicas: 3"),
        POOL.replace("name: main", "name: other"),
        POOL.replace("{name: hot}", "{name: missing}"),
        CLUSTER.replace("demo", "second"),
        "{apiVersion: thermocline.dev/v1alpha1, kind: StorageNode, metadata: {name: main-0}, spec: {cluster: demo, pool: main}}".to_owned(),
    ] {
        let error = store.apply(objects(&[&larger, &bad])).unwrap_err();
        assert!(matches!(error, StoreError::Refused(_)), "{bad}: {error}");
        assert_eq!(store.list().unwrap(), before, "{bad}");
    }
}

#[test]
fn what_others_name_is_not_deleted() {
    let (_folder, store) = store();
    store.apply(objects(&[CLUSTER, TIER, POOL])).unwrap();
    let error = store.delete(Kind::StorageTier, "hot").unwrap_err();
    assert!(error.to_string().contains("StoragePool/main"), "{error}");
    let error = store.delete(Kind::StorageCluster, "demo").unwrap_err().to_string();
    assert!(error.contains("StorageTier/hot: spec.cluster names it"), "{error}");
    assert!(!error.contains("none yet"), "there is one: {error}");
    assert!(store.delete(Kind::StoragePool, "main").unwrap());
    assert!(store.delete(Kind::StorageTier, "hot").unwrap());
    assert!(!store.delete(Kind::StorageTier, "hot").unwrap(), "it is gone");
}

#[test]
fn a_status_is_kept_by_apply_and_a_spec_by_write_status() {
    let (_folder, store) = store();
    store.apply(objects(&[CLUSTER, TIER])).unwrap();
    let Some(Object::StorageCluster(mut seen)) = store.get(Kind::StorageCluster, "demo").unwrap() else {
        panic!("it was applied");
    };
    // Between the reading and the writing of the status a person changes the spec.
    store.apply(objects(&[&CLUSTER.replace("0.1.0", "0.1.1")])).unwrap();
    seen.status.get_or_insert_default().nodes = Some("1/1".to_owned());
    store.write_status(Object::StorageCluster(seen)).unwrap();
    store.apply(objects(&[&CLUSTER.replace("0.1.0", "0.1.2")])).unwrap();
    let Some(Object::StorageCluster(now)) = store.get(Kind::StorageCluster, "demo").unwrap() else {
        panic!("it was applied");
    };
    assert_eq!(now.spec.version, "0.1.2");
    assert_eq!(now.status.and_then(|status| status.nodes).as_deref(), Some("1/1"));
    assert_eq!(now.metadata.generation, Some(3));
}

#[test]
fn a_pool_that_is_created_anew_keeps_the_cuts_of_the_records_in_its_folders() {
    let (_folder, store) = store();
    let cut_at = |key: &str| {
        POOL.replace("{name: main}", &format!("{{name: main, annotations: {{{SPLIT_POINTS_ANNOTATION}: {key}}}}}"))
    };
    store.apply(objects(&[CLUSTER, TIER, &cut_at("g")])).unwrap();
    assert!(store.delete(Kind::StoragePool, "main").unwrap());

    let node = store.layout.node("main-1");
    let root = node.join("root");
    fs::create_dir_all(&node).unwrap();
    let config = serde_json::json!({
        "node": "main-1", "cluster": "demo", "root": root, "range": {"start": "g", "end": ""},
        "listen": {"kv": "127.0.0.1:1", "admin": "127.0.0.1:2", "http": "127.0.0.1:3"}, "tiers": [],
    });
    fs::write(node.join(kept_config::CONFIG_FILE), serde_yaml::to_string(&config).unwrap()).unwrap();
    assert!(store.plan(objects(&[&cut_at("h")])).is_ok(), "a folder without a store holds no record");

    fs::create_dir(&root).unwrap();
    let refused = store.apply(objects(&[&cut_at("h")])).unwrap_err().to_string();
    assert!(refused.contains("main-1") && refused.contains("data does not follow"), "{refused}");
    assert_eq!(store.apply(objects(&[&cut_at("g")])).unwrap(), [Change::Created]);
}

const COLD: &str = "{apiVersion: thermocline.dev/v1alpha1, kind: StorageTier, metadata: {name: cold}, spec: {cluster: demo, rank: 9, medium: HDD, size: 1Gi}}";

fn with_cold() -> String {
    POOL.replace("[{name: hot}]", "[{name: hot}, {name: cold}]")
}

#[test]
fn who_reads_all_objects_waits_for_a_change_that_is_being_written() {
    let (_folder, store) = store();
    store.apply(objects(&[CLUSTER, TIER, POOL])).unwrap();
    let writing = store.lock().unwrap();
    std::thread::scope(|scope| {
        let (told, read) = std::sync::mpsc::channel();
        let store = &store;
        scope.spawn(move || told.send(store.list().map(|all| all.len())));
        let early = read.recv_timeout(std::time::Duration::from_millis(200));
        assert!(early.is_err(), "it was read while it was written");
        drop(writing);
        assert_eq!(read.recv_timeout(std::time::Duration::from_secs(60)).unwrap().unwrap(), 3);
    });
}

#[test]
fn a_change_that_cannot_be_written_whole_leaves_no_pool_that_names_a_missing_tier() {
    let (_folder, store) = store();
    store.apply(objects(&[CLUSTER, TIER, POOL])).unwrap();
    // In the way of the file that would be written beside the tier's.
    let beside = format!(".storagetier.cold.yaml.{}.new", std::process::id());
    fs::create_dir(store.layout.objects().join(beside)).unwrap();
    let error = store.apply(objects(&[&with_cold(), COLD])).unwrap_err();
    assert!(matches!(error, StoreError::Io { .. }), "{error}");
    assert_eq!(generation(&store, Kind::StoragePool, "main"), Some(1));
    assert!(validate::set(&store.list().unwrap()).is_empty());
}

#[test]
fn a_tier_that_holds_data_is_not_taken_out_of_its_pool() {
    let (_folder, store) = store();
    store.apply(objects(&[CLUSTER, TIER, COLD, &with_cold()])).unwrap();
    let node = |keys: u64| {
        let text = format!(
            "{{apiVersion: thermocline.dev/v1alpha1, kind: StorageNode, metadata: {{name: main-1}}, spec: {{cluster: demo, pool: main, range: {{start: '', end: ''}}}}, status: {{tiers: [{{name: cold, capacityBytes: 9, usedBytes: 1, keys: {keys}}}]}}}}"
        );
        Object::from_yaml(&text).unwrap()
    };
    store.write_status(node(7)).unwrap();
    let refused = store.apply(objects(&[POOL])).unwrap_err().to_string();
    assert!(refused.contains("tier cold") && refused.contains("main-1 it holds 7 keys"), "{refused}");
    assert!(refused.contains("Migration"), "{refused}");
    assert_eq!(store.apply(objects(&[&with_cold()])).unwrap(), [Change::Unchanged]);
    store.write_status(node(0)).unwrap();
    assert_eq!(store.apply(objects(&[POOL])).unwrap(), [Change::Configured]);
}

#[test]
fn a_pool_that_is_created_anew_keeps_the_tiers_of_the_records_in_its_folders() {
    let (_folder, store) = store();
    let cut = |pool: &str| {
        pool.replace("{name: main}", &format!("{{name: main, annotations: {{{SPLIT_POINTS_ANNOTATION}: g}}}}"))
    };
    store.apply(objects(&[CLUSTER, TIER, COLD, &cut(&with_cold())])).unwrap();
    assert!(store.delete(Kind::StoragePool, "main").unwrap());
    let node = store.layout.node("main-0");
    fs::create_dir_all(node.join("root")).unwrap();
    let tier = |name: &str| serde_json::json!({"name": name, "rank": 0, "medium": "HDD", "size": "1Gi", "path": node.join("tiers").join(name)});
    let config = serde_json::json!({
        "node": "main-0", "cluster": "demo", "root": node.join("root"), "range": {"start": "", "end": "g"},
        "listen": {"kv": "127.0.0.1:1", "admin": "127.0.0.1:2", "http": "127.0.0.1:3"},
        "tiers": [tier("hot"), tier("cold")],
    });
    fs::write(node.join(kept_config::CONFIG_FILE), serde_yaml::to_string(&config).unwrap()).unwrap();
    // Its nodes are no objects any more: nobody tells what the tier holds.
    let refused = store.apply(objects(&[&cut(POOL)])).unwrap_err().to_string();
    assert!(refused.contains("main-0 has the tier cold") && refused.contains("Migration"), "{refused}");
    assert_eq!(store.apply(objects(&[&cut(&with_cold())])).unwrap(), [Change::Created]);
}
