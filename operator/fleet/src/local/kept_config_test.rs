//! What is known of a node's configuration after each step of a start, also where nobody goes on.

use super::*;
use crate::desired::run_of;

fn run(tiers: &[&str], memory_limit: &str) -> NodeRun {
    let tier = |name: &&str| serde_json::json!({"name": name, "rank": 0, "medium": "HDD", "path": "/t", "size": "1Gi"});
    let config = serde_json::json!({
        "node": "main-0", "cluster": "demo", "memoryLimit": memory_limit,
        "listen": {"kv": "127.0.0.1:1", "admin": "127.0.0.1:2", "http": "127.0.0.1:3"},
        "tiers": tiers.iter().map(tier).collect::<Vec<_>>(),
    });
    run_of(serde_json::from_value(config).unwrap())
}

fn served_with(run: &NodeRun) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    start_with(folder.path(), run).unwrap();
    serve(folder.path());
    folder
}

fn serve(folder: &Path) {
    fs::write(folder.join(READY_FILE), "{}").unwrap();
}

fn kept(folder: &Path) -> NodeConfig {
    read(folder).unwrap().unwrap()
}

fn next(folder: &Path) -> NodeConfig {
    serde_yaml::from_str(&fs::read_to_string(folder.join(CONFIG_FILE)).unwrap()).unwrap()
}

#[test]
fn a_configuration_that_has_not_served_does_not_take_the_place_of_the_one_that_has() {
    let (whole, less, least) = (run(&["hot", "cold"], "1Gi"), run(&["hot"], "1Gi"), run(&["hot"], "2Gi"));
    let folder = served_with(&whole);
    // Each is refused, and the first one is tried again, as after a supervisor that ended meanwhile.
    for refused in [&less, &less, &least] {
        start_with(folder.path(), refused).unwrap();
        assert_eq!(next(folder.path()), refused.config);
        assert_eq!(kept(folder.path()), whole.config);
    }
    start_with(folder.path(), &whole).unwrap();
    assert_eq!((kept(folder.path()), next(folder.path())), (whole.config.clone(), whole.config));
    start_with(folder.path(), &less).unwrap();
    serve(folder.path());
    assert_eq!(kept(folder.path()), less.config, "it serves with this one");
}

#[test]
fn a_node_that_runs_is_prepared_for_what_it_can_change_and_for_nothing_that_a_start_may_refuse() {
    let whole = run(&["hot", "cold"], "1Gi");
    let folder = served_with(&whole);
    refresh(folder.path(), &run(&["hot"], "1Gi")).unwrap();
    assert_eq!(next(folder.path()), whole.config, "it still holds what it held");
    let mut larger = whole.config;
    larger.tiers[1].size = "2Gi".to_owned();
    refresh(folder.path(), &run_of(larger.clone())).unwrap();
    assert_eq!((kept(folder.path()), next(folder.path())), (larger.clone(), larger));
}

#[test]
fn a_configuration_that_cannot_be_read_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(CONFIG_FILE), "of: another version").unwrap();
    let whole = run(&["hot"], "1Gi");
    start_with(folder.path(), &whole).unwrap();
    assert_eq!(kept(folder.path()), whole.config);
}
