//! Starts that do not end in a fleet that is ready.

use std::process::Command;

use super::support::*;

#[test]
fn an_address_in_use_is_named_before_anything_is_started() {
    let fleet = Fleet::new();
    let taken = std::net::TcpListener::bind(format!("{}:7401", fleet.address)).unwrap();
    let manifests = examples("quickstart");
    let up = ["local", "up", "-f", manifests.to_str().unwrap(), "--address", &fleet.address];
    let said = fleet.refused(&up, 2);
    let address = taken.local_addr().unwrap().to_string();
    assert!(said.contains(&address) && said.contains("admin of main-0"), "{said}");
    assert!(!fleet.home().exists());
}

#[test]
fn a_fleet_under_its_reserve_is_not_ready_and_says_so_without_being_waited_for() {
    let fleet = Fleet::on_a_small_device();
    // More than the whole device.
    let device = rustix::fs::statvfs(fleet.folder.path()).unwrap();
    let reserve = device.f_blocks * device.f_frsize + (1 << 30);
    let tier = format!("size: '{}'\n  reserve: '{reserve}'", reserve + (1 << 30));
    let manifests = fleet.manifests("tiers.yaml", "size: 1Gi", &tier);
    let up = ["local", "up", "-f", &manifests, "--address", &fleet.address];
    let said = fleet.refused(&up, 5);
    assert!(said.contains("is under its reserve") && said.contains("free space on the device of"), "{said}");
    assert!(!said.contains("not ready after"), "{said}");
    for object in [["tc", "demo"], ["tcp", "main"], ["tcn", "main-0"]] {
        let ready = until("it is told", || {
            let ready = condition(&fleet.get(&object), "Ready").clone();
            (ready["reason"] == "OutOfSpace").then_some(ready)
        });
        assert_eq!(ready["status"], "False", "{object:?}");
    }
    let status = fleet.ok(&["local", "status"]);
    assert!(status.contains("NotReady") && status.contains("main-0: the device of"), "{status}");
    fleet.ok(&["apply", "-f", examples("quickstart").join("tiers.yaml").to_str().unwrap()]);
    until("with a reserve that can be kept it is ready", || {
        (condition(&fleet.get(&["tc", "demo"]), "Ready")["status"] == "True").then_some(())
    });
}

#[test]
fn a_node_that_refuses_to_start_is_reported_at_once_in_its_own_words() {
    let fleet = Fleet::new();
    fleet.up();
    fleet.ok(&["local", "down"]);
    let identity = fleet.layout().node("main-1").join("root/node-identity.json");
    std::fs::write(&identity, r#"{"cluster": "another", "node": "main-1"}"#).unwrap();
    let manifests = examples("quickstart");
    let up = ["local", "up", "-f", manifests.to_str().unwrap()];
    let said = fleet.refused(&up, 1);
    assert!(said.contains("main-1: it refuses to start") && said.contains("of cluster another"), "{said}");
    assert!(!said.contains("not ready after"), "{said}");
    let node = fleet.get(&["tcn", "main-1"]);
    assert_eq!(condition(&node, "Ready")["reason"], "Refused");
    let status = fleet.ok(&["local", "status"]);
    assert!(status.contains("main-1: it refuses to start") && status.contains("of cluster another"), "{status}");
    std::fs::write(&identity, r#"{"cluster": "demo", "node": "main-1"}"#).unwrap();
    until("corrected, it starts", || (fleet.get(&["tc", "demo"])["status"]["nodes"] == "3/3").then_some(()));
}

#[test]
fn nodes_that_keep_ending_are_reported_with_their_last_error() {
    let fleet = Fleet::new();
    let program = fleet.folder.path().join("thermocline-node");
    let script = "#!/bin/sh\necho 'thermocline-node: cannot open the store: No space left on device' >&2\nexit 1\n";
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let manifests = examples("quickstart");
    let output = Command::new(env!("CARGO_BIN_EXE_thermoctl"))
        .args(["local", "up", "-f", manifests.to_str().unwrap(), "--address", &fleet.address])
        .env("THERMOCLINE_HOME", fleet.home())
        .env("THERMOCLINE_NODE_BINARY", &program)
        .output()
        .unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("exit status 1") && said.contains("No space left on device"), "{said}");
    let status = fleet.ok(&["local", "status"]);
    assert!(status.contains("Stopped") && status.contains("No space left on device"), "{status}");
}
