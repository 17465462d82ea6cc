//! A node that can no longer do everything: it says so everywhere at once, refuses what it cannot do, and goes on with the
//! rest.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use support::{Folder, NodeProcess, noise, put, scan, value, within};
use thermocline_proto::v1;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// What both gRPC ports say of themselves.
async fn grpc_health(node: &NodeProcess) -> Vec<ServingStatus> {
    let mut told = Vec::new();
    for channel in node.channels().await {
        let request = HealthCheckRequest { service: String::new() };
        told.push(HealthClient::new(channel).check(request).await.unwrap().into_inner().status());
    }
    told
}

async fn status(node: &NodeProcess) -> v1::NodeStatus {
    let request = v1::StatusRequest { interval_ms: 0, once: true };
    let mut stream = node.admin().await.status(request).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_under_its_reserve_reads_and_refuses_writes_and_says_which_device_it_is() {
    let folder = Folder::on_a_small_device();
    let node = NodeProcess::start(&folder, &[]);
    node.kv().await.put(put("key", "value")).await.unwrap();
    node.stop();
    // More than the whole device.
    let device = rustix::fs::statvfs(folder.path()).unwrap();
    let reserve = device.f_blocks * device.f_frsize + (1 << 30);
    let size = format!("tiers[0].size={}", reserve + (1 << 30));
    let node = NodeProcess::start(&folder, &["--set", &size, "--set", &format!("tiers[0].reserve={reserve}")]);
    within("the metric", || node.metric("thermocline_health{state=\"read_only\"}").filter(|is| *is == 1.0));
    let (code, body) = node.http("/readyz");
    assert_eq!(code, 200, "it is not to be taken out of service: reads go on");
    assert!(body.starts_with("read_only: ") && body.contains("is under its reserve"), "{body}");
    assert_eq!(grpc_health(&node).await, [ServingStatus::Serving; 2]);
    let told = status(&node).await;
    assert_eq!(told.health(), v1::Health::ReadOnly);
    assert!(told.health_reason.contains("is under its reserve"), "{}", told.health_reason);
    assert!(told.tiers[0].under_reserve);
    let mut kv = node.kv().await;
    let refused = kv.put(put("key", "other")).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("reserve"), "{refused}");
    assert_eq!(value(&mut kv, "key").await.unwrap(), b"value");
    node.stop();
    let node = NodeProcess::start(&folder, &[]);
    node.kv().await.put(put("key", "other")).await.unwrap();
    assert_eq!(node.http("/readyz"), (200, "serving\n".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_storage_failed_is_not_ready_takes_no_write_and_has_lost_none() {
    let folder = Folder::new();
    let mut node = NodeProcess::start(&folder, &["--set", "tiers[0].profile.writeBuffer=64Ki"]);
    let mut kv = node.kv().await;
    kv.put(put("key", "value")).await.unwrap();
    // The device of the fastest tier goes away under the node: the next file cannot be made.
    let (hot, away) = (folder.path().join("hot"), folder.path().join("away"));
    std::fs::rename(&hot, &away).unwrap();
    let mut acknowledged = Vec::new();
    for i in 0..2000_u64 {
        let key = format!("fill/{i:04}");
        if kv.put(put(&key, noise(i, 64 << 10))).await.is_err() {
            break;
        }
        acknowledged.push(key);
    }
    assert!(acknowledged.len() < 2000, "writes are refused in the end");
    let refused = kv.put(put("key", "other")).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    within("the metric", || node.metric("thermocline_health{state=\"not_serving\"}").filter(|is| *is == 1.0));
    let (code, body) = node.http("/readyz");
    assert_eq!(code, 503, "{body}");
    assert!(body.contains("a write to storage failed") && body.contains("restart the node"), "{body}");
    assert_eq!(node.http("/healthz").0, 200, "it is not killed before a person has looked");
    assert_eq!(grpc_health(&node).await, [ServingStatus::NotServing; 2]);
    let told = status(&node).await;
    assert_eq!(told.health(), v1::Health::NotServing);
    assert!(told.health_reason.contains("a write to storage failed"), "{}", told.health_reason);
    assert_eq!(value(&mut kv, "key").await.unwrap(), b"value", "reads go on");

    // It does not heal by itself: what was in memory is in the log alone until the store is opened again.
    std::fs::rename(&away, &hot).unwrap();
    assert!(kv.put(put("key", "other")).await.is_err());
    node.signal(rustix::process::Signal::TERM);
    node.wait();
    let node = NodeProcess::start(&folder, &[]);
    assert_eq!(node.http("/readyz"), (200, "serving\n".to_owned()));
    let mut kv = node.kv().await;
    let kept =
        scan(&mut kv, v1::ScanRequest { start: "fill/".into(), end: "fill0".into(), ..Default::default() }).await;
    let kept = kept.unwrap();
    for key in &acknowledged {
        assert!(kept.iter().any(|record| record.key == key.as_bytes()), "{key} was acknowledged and is lost");
    }
    kv.put(put("key", "other")).await.unwrap();
}
