//! Objects that are changed while a fleet runs.

use std::{path::Path, process::Command};

use serde_json::Value;
use thermocline_crds::Kind;
use thermocline_fleet::local::process;

use super::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_tier_and_a_changed_policy_reach_running_nodes_and_a_profile_restarts_them() {
    let fleet = Fleet::new();
    fleet.up();
    let before = fleet.pids();
    fleet.ok(&["apply", "-f", &fleet.edited("tiers.yaml", "size: 1Gi", "size: 768Mi")]);
    fleet.ok(&["apply", "-f", &fleet.edited("policy.yaml", "hysteresis: 2", "hysteresis: 3")]);
    until("every node has confirmed both", || {
        let nodes = fleet.get(&["tcn"]);
        let sized = nodes.as_array()?.iter().all(|node| {
            node["status"]["tiers"][0]["capacityBytes"] == 768 << 20
                && condition(node, "Progressing")["status"] == "False"
        });
        let policy = fleet.get(&["tcmp", "by-heat"]);
        let in_force = condition(&policy, "InForce");
        (sized && in_force["status"] == "True" && in_force["observedGeneration"] == 2).then_some(())
    });
    assert_eq!(fleet.pids(), before, "nothing was restarted for it");
    let profile = fleet.edited("tiers.yaml", "size: 1Gi", "size: 768Mi\n  profile: {filterBits: 12}");
    fleet.ok(&["apply", "-f", &profile]);
    until("every node runs with the profile", || {
        let now = fleet.pids();
        let all_new = now.len() == 3 && now.iter().zip(&before).all(|(new, old)| new != old);
        let cluster = fleet.get(&["tc", "demo"]);
        (all_new && condition(&cluster, "Progressing")["status"] == "False").then_some(())
    });
    for (name, _) in before {
        let config = std::fs::read_to_string(fleet.layout().node(&name).join("node.yaml")).unwrap();
        assert!(config.contains("filterBits: 12"), "{config}");
        assert_eq!(fleet.get(&["tcn", &name])["status"]["restarts"], 0, "no end by itself");
    }
}

#[test]
fn a_bad_manifest_leaves_everything_as_it_was() {
    let fleet = Fleet::new();
    let manifests = fleet.folder.path().join("bad");
    std::fs::create_dir(&manifests).unwrap();
    for file in ["cluster.yaml", "policy.yaml", "pool.yaml"] {
        std::fs::copy(examples("quickstart").join(file), manifests.join(file)).unwrap();
    }
    let up = ["local", "up", "-f", manifests.to_str().unwrap(), "--address", &fleet.address];
    let said = fleet.refused(&up, 2);
    assert!(said.contains("no StorageTier"), "{said}");
    assert!(!fleet.home().exists(), "nothing was made");
    fleet.up();
    let (before, pids) = (fleet.get(&["tct"]), fleet.pids());
    let said = fleet.refused(&["apply", "-f", &fleet.edited("tiers.yaml", "rank: 0", "rank: 5")], 2);
    assert!(said.contains("rank"), "{said}");
    fleet.refused(&["apply", "-f", &fleet.edited("tiers.yaml", "size: 1Gi", "size: 1Gigabyte")], 2);
    fleet.refused(&["delete", "tct", "cold"], 2);
    fleet.refused(&["get", "tct", "missing"], 3);
    let spec = |objects: &Value| objects.as_array().unwrap().iter().map(|one| one["spec"].clone()).collect::<Vec<_>>();
    assert_eq!(spec(&fleet.get(&["tct"])), spec(&before));
    assert_eq!(fleet.pids(), pids);
}

#[test]
fn a_pool_that_holds_data_is_deleted_only_where_it_is_meant_and_can_be_had_back() {
    let fleet = Fleet::new();
    fleet.up();
    fleet.ok(&["put", "zebra", "striped"]);
    let pids = fleet.pids();
    let said = fleet.refused(&["delete", "tcp", "main"], 2);
    let folder = fleet.layout().node("main-0").display().to_string();
    assert!(said.contains("holds data") && said.contains("--yes") && said.contains(&folder), "{said}");
    // A folder of manifests that lacks the pool takes nothing away either.
    let tiers = examples("quickstart").join("tiers.yaml");
    fleet.ok(&["apply", "-f", tiers.to_str().unwrap()]);
    assert_eq!(fleet.pids(), pids, "nothing was stopped");
    let output = fleet.run(&["delete", "tcp", "main", "--yes"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let said = text(&output.stderr);
    assert!(said.contains("its data stays in") && said.contains(&folder), "{said}");
    until("its nodes have stopped and are no objects any more", || {
        (fleet.pids().is_empty() && fleet.get(&["tcn"]).as_array()?.is_empty()).then_some(())
    });
    assert!(Path::new(&folder).join("root").exists(), "the data stays");
    let pool = examples("quickstart").join("pool.yaml");
    fleet.ok(&["apply", "-f", pool.to_str().unwrap()]);
    until("the pool is back", || (fleet.get(&["tc", "demo"])["status"]["nodes"] == "3/3").then_some(()));
    assert_eq!(fleet.ok(&["get", "zebra"]), "striped\n");
    // Deleted while nobody supervised: its nodes are no objects any more either.
    fleet.ok(&["local", "down"]);
    fleet.ok(&["delete", "tcp", "main", "--yes"]);
    let manifests = examples("quickstart");
    let supervisor = Command::new(env!("CARGO_BIN_EXE_thermoctl"))
        .args(["local", "supervise"])
        .env("THERMOCLINE_HOME", fleet.home())
        .env("THERMOCLINE_NODE_BINARY", node_program())
        .spawn();
    let mut supervisor = supervisor.unwrap();
    until("the objects are gone", || fleet.get(&["tcn"]).as_array()?.is_empty().then_some(()));
    fleet.ok(&["local", "down"]);
    supervisor.wait().unwrap();
    fleet.ok(&["local", "up", "-f", manifests.to_str().unwrap()]);
    assert_eq!(fleet.ok(&["get", "zebra"]), "striped\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_moves_its_range_on_every_node_that_owns_a_part() {
    let fleet = Fleet::new();
    fleet.up();
    let client = fleet.client().await;
    for number in 0..300 {
        client.put(format!("logs/{number:04}"), "x".repeat(500)).await.unwrap();
    }
    let manifest = examples("migrations").join("archive-logs.yaml");
    fleet.ok(&["apply", "-f", manifest.to_str().unwrap()]);
    let done = until("it is over", || {
        let migration = fleet.get(&["tcm", "archive-logs"]);
        (migration["status"]["phase"] == "Completed").then_some(migration)
    });
    assert_eq!(done["status"]["progress"], 100);
    assert_eq!(condition(&done, "Complete")["status"], "True");
    assert!(done["status"]["bytesMoved"].as_u64().unwrap() > 0, "{done}");
    let explained = fleet.ok(&["explain", "logs/0007"]);
    assert!(explained.contains("cold"), "{explained}");
    assert_eq!(client.get("logs/0299").await.unwrap().unwrap().value.len(), 500);
    assert_eq!(fleet.get(&[Kind::Migration.plural()]).as_array().unwrap().len(), 1);
    fleet.ok(&["delete", "tcm/archive-logs"]);
    assert_eq!(fleet.get(&["tcm"]).as_array().unwrap().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_freezes_while_it_moves_a_range_holds_up_neither_the_others_nor_the_end() {
    let fleet = Fleet::new();
    fleet.up();
    let client = fleet.client().await;
    for number in 0..20 {
        client.put(format!("apple/{number:04}"), "x".repeat(1 << 20)).await.unwrap();
    }
    // At this pace it would take hours.
    let manifest = fleet.folder.path().join("slow.yaml");
    let slow = "{apiVersion: thermocline.dev/v1alpha1, kind: Migration, metadata: {name: slow}, spec: {cluster: demo, kind: ChangeTier, range: {prefix: apple/}, toTier: cold, bytesPerSecond: 1Ki}}";
    std::fs::write(&manifest, slow).unwrap();
    fleet.ok(&["apply", "-f", manifest.to_str().unwrap()]);
    until("it runs", || {
        let memory = std::fs::read_to_string(fleet.home().join("memory.json")).unwrap_or_default();
        memory.contains("main-0").then_some(())
    });
    let pids = fleet.pids();
    let frozen = process::started(pids[0].1).unwrap();
    assert!(process::signal(&frozen, rustix::process::Signal::STOP).unwrap());
    fleet.ok(&["delete", "tcm/slow"]);
    kill(pids[1].1);
    until("another node is started again", || {
        let now = fleet.pids();
        (now.len() == 3 && now[1].1 != pids[1].1).then_some(())
    });
    fleet.ok(&["local", "down"]);
    assert_eq!(fleet.pids(), []);
}
