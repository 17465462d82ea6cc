//! The local home with a program that plays a node.

use super::*;
use crate::desired::run_of;

/// Generous: machines that run tests are busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// Serves where its configuration names the tier cold, and refuses to start where it does not.
const NEEDS_COLD: &str = "#!/bin/sh\ngrep -q cold \"$2\" || exit 2\necho {} > \"$4\"\nexec sleep 1000\n";

fn run_with(home: &LocalHome, tiers: &[&str]) -> NodeRun {
    let tier = |name: &&str| {
        let path = home.layout.node("main-0").join("tiers").join(name);
        serde_json::json!({"name": name, "rank": 0, "medium": "HDD", "path": path, "size": "1Gi"})
    };
    let config = serde_json::json!({
        "node": "main-0", "cluster": "demo",
        "listen": {"kv": "127.0.0.1:1", "admin": "127.0.0.1:2", "http": "127.0.0.1:3"},
        "tiers": tiers.iter().map(tier).collect::<Vec<_>>(),
    });
    run_of(serde_json::from_value(config).unwrap())
}

async fn until(what: &str, home: &LocalHome, so: impl Fn(&Presence) -> bool) {
    let begun = Instant::now();
    while !so(&home.observe().await.unwrap()["main-0"].presence) {
        assert!(begun.elapsed() < PATIENCE, "not so after {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_node_that_refuses_what_it_is_started_with_can_be_run_as_it_was_before() {
    let folder = tempfile::tempdir().unwrap();
    let (script, program) = (folder.path().join("script"), folder.path().join("node"));
    std::fs::write(&script, NEEDS_COLD).unwrap();
    // Written by another process: one that a test beside this one begins may have inherited it open, and it would not run.
    let installed = Command::new("install").args(["-m", "755"]).args([&script, &program]).status();
    assert!(installed.unwrap().success());
    let layout = Layout::new(folder.path().join("fleet"));
    let home = LocalHome::open(layout.clone(), program, || Timestamp::UNIX_EPOCH).unwrap();
    let (before, after) = (run_with(&home, &["hot", "cold"]), run_with(&home, &["hot"]));
    home.run(&before).await.unwrap();
    until("it serves", &home, |_| layout.node("main-0").join("ready.json").exists()).await;
    home.prepare(&after).await.unwrap();
    home.stop("main-0").await.unwrap();
    until("it has stopped", &home, |presence| matches!(presence, Presence::Absent { .. })).await;
    home.run(&after).await.unwrap();
    let refused = |presence: &Presence| matches!(presence, Presence::Absent { ended: Some(ended) } if ended.refused);
    until("it refuses", &home, refused).await;
    assert_eq!(home.kept("main-0").await.unwrap(), Some(before.config));
}
