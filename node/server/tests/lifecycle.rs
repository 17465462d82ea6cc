//! A node from start to end: orderly, by force, and where it must not start at all.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use rustix::process::Signal;
use support::{Folder, NodeProcess, get, put, run, scan, standard_error, value, within};
use thermocline_proto::v1;
use tokio::task::JoinSet;

/// Writers that put one key after the other until the node goes; the keys that were acknowledged.
async fn write_until_it_ends(node: &NodeProcess) -> JoinSet<Vec<String>> {
    let mut writers = JoinSet::new();
    for writer in 0..4 {
        let mut kv = node.kv().await;
        writers.spawn(async move {
            let mut acknowledged = Vec::new();
            for number in 0.. {
                let key = format!("key/{writer}/{number:06}");
                let durability = v1::Durability::Wal.into();
                if kv.put(v1::PutRequest { durability, ..put(&key, &key) }).await.is_err() {
                    break;
                }
                acknowledged.push(key);
            }
            acknowledged
        });
    }
    within("writes", || node.metric("thermocline_writes_total").filter(|writes| *writes >= 200.0));
    writers
}

async fn assert_holds(node: &NodeProcess, acknowledged: &[String]) {
    assert!(acknowledged.len() >= 200, "{}", acknowledged.len());
    let mut kv = node.kv().await;
    let keys = scan(&mut kv, v1::ScanRequest::default()).await.unwrap();
    let found: std::collections::HashMap<&[u8], &[u8]> =
        keys.iter().map(|record| (record.key.as_ref(), record.value.as_ref())).collect();
    for key in acknowledged {
        assert_eq!(found.get(key.as_bytes()), Some(&key.as_bytes()), "{key} was acknowledged and is lost");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_node_has_every_acknowledged_write_when_it_comes_back() {
    let folder = Folder::new();
    for round in 0..2 {
        let node = NodeProcess::start(&folder, &[]);
        let writers = write_until_it_ends(&node).await;
        node.kill();
        let acknowledged = writers.join_all().await.concat();
        let node = NodeProcess::start(&folder, &[]);
        assert_holds(&node, &acknowledged).await;
        assert_eq!(node.http("/readyz").0, 200, "round {round}");
        node.kill();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_asked_to_stop_loses_nothing_and_exits_with_0() {
    for signal in [Signal::TERM, Signal::INT] {
        let folder = Folder::new();
        let mut node = NodeProcess::start(&folder, &[]);
        let writers = write_until_it_ends(&node).await;
        node.signal(signal);
        assert_eq!(node.wait().code(), Some(0), "{}", node.log());
        let acknowledged = writers.join_all().await.concat();
        let node = NodeProcess::start(&folder, &[]);
        assert_holds(&node, &acknowledged).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_flight_is_answered_before_the_node_stops_and_nothing_new_begins() {
    let folder = Folder::new();
    let (mut node, key) = support::slow_read(&folder, &[]).await;
    let mut kv = node.kv().await;
    let mut status = node.admin().await.status(v1::StatusRequest { interval_ms: 100, once: false }).await.unwrap();
    assert!(status.get_mut().message().await.unwrap().is_some());
    let reading = tokio::spawn(async move { kv.get(get(key)).await });
    within("the slow read", || (node.metric("thermocline_admission_running{pool=\"requests\"}")? > 0.0).then_some(()));
    let (kv_address, http) = (node.kv_address(), node.http_address());
    node.signal(Signal::TERM);
    within("the drain", || (node.http("/readyz").0 == 503).then_some(()));
    let (_, reason) = node.http("/readyz");
    assert_eq!(reason, "draining: the node is stopping\n");
    assert_eq!(node.http("/healthz").0, 200, "it is not to be killed");
    within("the end of the listener", || std::net::TcpStream::connect(kv_address).is_err().then_some(()));
    assert!(!reading.is_finished());
    let record = reading.await.unwrap().unwrap().into_inner().record.unwrap();
    assert_eq!(record.value.len(), 128 << 10);
    // The stream tells the end and ends by itself.
    let mut last = None;
    while let Ok(Some(message)) = status.get_mut().message().await {
        last = Some(message.health());
    }
    assert_eq!(last, Some(v1::Health::Draining));
    assert_eq!(node.wait().code(), Some(0), "{}", node.log());
    assert!(std::net::TcpStream::connect(http).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_never_ends_is_cut_off_after_the_grace_period() {
    let folder = Folder::new();
    let mut node = NodeProcess::start(&folder, &["--grace-period", "300ms"]);
    let mut kv = node.kv().await;
    for i in 0..16_u64 {
        kv.put(put(format!("key/{i:02}"), support::noise(i, 1 << 20))).await.unwrap();
    }
    let _never_read = kv.scan(v1::ScanRequest::default()).await.unwrap();
    node.signal(Signal::TERM);
    assert_eq!(node.wait().code(), Some(0), "{}", node.log());
    assert!(node.log().contains("the grace period passed"), "{}", node.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_that_a_second_signal_cuts_short_is_no_success_and_loses_nothing_of_the_log() {
    for (signal, code, name) in [(Signal::TERM, 143, "SIGTERM"), (Signal::INT, 130, "SIGINT")] {
        let folder = Folder::new();
        let mut node = NodeProcess::start(&folder, &[]);
        let mut kv = node.kv().await;
        for i in 0..16_u64 {
            let durability = v1::Durability::Wal.into();
            let large = put(format!("key/{i:02}"), support::noise(i, 1 << 20));
            kv.put(v1::PutRequest { durability, ..large }).await.unwrap();
        }
        let _never_read = kv.scan(v1::ScanRequest::default()).await.unwrap();
        node.signal(Signal::TERM);
        within("the drain", || (node.http("/readyz").0 == 503).then_some(()));
        node.signal(signal);
        assert_eq!(node.wait().code(), Some(code), "{}", node.log());
        assert!(node.log().contains(&format!("a second {name} cut the stop short")), "{}", node.log());
        let node = NodeProcess::start(&folder, &[]);
        let kept = scan(&mut node.kv().await, v1::ScanRequest::default()).await.unwrap();
        assert_eq!(kept.len(), 16);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_on_the_folder_says_so_and_exits_with_3() {
    let folder = Folder::new();
    let node = NodeProcess::start(&folder, &[]);
    node.kv().await.put(put("key", "value")).await.unwrap();
    let second = run(&folder, &[]);
    assert_eq!(second.status.code(), Some(3), "{}", standard_error(&second));
    let says = standard_error(&second);
    assert!(says.contains("in use by another process"), "{says}");
    assert!(says.contains(&folder.path().join("root").display().to_string()), "{says}");
    assert_eq!(value(&mut node.kv().await, "key").await.unwrap(), b"value", "the first goes on");
    node.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_log_cannot_be_written_serves_and_stops_as_any_other() {
    let folder = Folder::new();
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut node = NodeProcess::start_logging_to(&folder, &[], full);
    let mut kv = node.kv().await;
    kv.put(put("key", "value")).await.unwrap();
    assert_eq!(value(&mut kv, "key").await.unwrap(), b"value");
    node.signal(Signal::TERM);
    assert_eq!(node.wait().code(), Some(0));
    // Nor does an error that cannot be told change how it ends.
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut refused = support::command();
    refused.arg("--config").arg(folder.config()).args(["--node", "another"]).stderr(full);
    assert_eq!(refused.status().unwrap().code(), Some(2));
}

#[test]
fn a_folder_of_another_node_is_refused_and_left_as_it_is() {
    let folder = Folder::new();
    NodeProcess::start(&folder, &[]).stop();
    for other in [["--node", "node-b"], ["--cluster", "another"]] {
        let refused = run(&folder, &other);
        assert_eq!(refused.status.code(), Some(2), "{}", standard_error(&refused));
        let says = standard_error(&refused);
        assert!(says.contains("belongs to node node-a of cluster test"), "{says}");
    }
    NodeProcess::start(&folder, &[]).stop();
}

#[test]
fn an_address_that_is_taken_is_named_with_its_field() {
    let folder = Folder::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let failed = run(&folder, &["--listen-admin", &address]);
    assert_eq!(failed.status.code(), Some(1));
    let says = standard_error(&failed);
    assert!(says.contains(&address) && says.contains("listen.admin") && says.contains("in use"), "{says}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_of_health_does_not_keep_a_node_from_stopping() {
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_client::HealthClient;
    let folder = Folder::new();
    let mut node = NodeProcess::start(&folder, &[]);
    let [kv, _] = node.channels().await;
    let request = HealthCheckRequest { service: String::new() };
    let mut watch = HealthClient::new(kv).watch(request).await.unwrap().into_inner();
    assert!(watch.message().await.unwrap().is_some());
    let watching = tokio::spawn(async move { while let Ok(Some(_)) = watch.message().await {} });
    node.signal(Signal::TERM);
    assert_eq!(node.wait().code(), Some(0));
    assert!(!node.log().contains("grace period passed"), "{}", node.log());
    watching.await.unwrap();
}
