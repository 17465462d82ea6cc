//! What tells a person or a machine how the node is: metrics, probes, gRPC health and reflection.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use support::{Folder, NodeProcess, delete, get, put, range_mismatch, scan, value};
use thermocline_node::metrics::{ALL, Kind};
use thermocline_proto::v1;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

/// A family of the text: its type and the label names of its series, without what the format itself adds.
#[derive(Debug, Default)]
struct Family {
    kind: String,
    labels: BTreeSet<Vec<String>>,
}

fn families(text: &str) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    for line in text.lines() {
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            families.entry(name.to_owned()).or_default().kind = kind.to_owned();
        } else if !line.starts_with('#') {
            let (series, number) = line.rsplit_once(' ').unwrap();
            number.parse::<f64>().unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            let labels: Vec<String> = labels
                .trim_end_matches('}')
                .split(',')
                .filter_map(|pair| Some(pair.split_once('=')?.0.to_owned()))
                .filter(|label| label != "le" && label != "quantile")
                .collect();
            let family = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|suffix| name.strip_suffix(suffix).filter(|family| families.contains_key(*family)))
                .unwrap_or(name);
            families.get_mut(family).unwrap().labels.insert(labels);
        }
    }
    families
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_of_the_table_is_served_and_nothing_else() {
    let folder = Folder::new();
    let node = NodeProcess::start(&folder, &[]);
    let mut kv = node.kv().await;
    kv.put(put("a-very-private-key", "value")).await.unwrap();
    assert!(value(&mut kv, "a-very-private-key").await.is_some());
    support::move_range(&mut node.admin().await, "", "", "cold").await;
    let (status, text) = node.http("/metrics");
    assert_eq!(status, 200);
    let served = families(&text);
    let named: BTreeSet<&str> = ALL.iter().map(|definition| definition.name).collect();
    assert_eq!(served.keys().map(String::as_str).collect::<BTreeSet<_>>(), named);
    for definition in ALL {
        let family = &served[definition.name];
        let kind = match definition.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
            Kind::Summary => "summary",
        };
        assert_eq!(family.kind, kind, "{}", definition.name);
        let mut expected: Vec<String> = definition.labels.iter().map(|label| (*label).to_owned()).collect();
        expected.sort();
        for labels in &family.labels {
            let mut labels = labels.clone();
            labels.sort();
            assert_eq!(labels, expected, "{}", definition.name);
        }
        assert!(!family.labels.is_empty(), "{} has no series", definition.name);
    }
    assert!(!text.contains("a-very-private-key"), "no key is in a metric");
}

#[test]
fn names_units_and_labels_of_metrics_keep_to_the_rules() {
    for definition in ALL {
        let name = definition.name;
        let rest = name.strip_prefix("thermocline_").unwrap_or_else(|| panic!("{name} lacks the prefix"));
        assert!(rest.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
        assert_eq!(name.ends_with("_total"), definition.kind == Kind::Counter, "{name}: counters, and they alone");
        for wrong in ["_ms", "_millis", "_micros", "_nanos", "_mib", "_kb", "_percent", "_minutes"] {
            assert!(!name.contains(wrong), "{name}: base units only");
        }
        assert_eq!(
            rest.starts_with("tier_") || rest.starts_with("disk_"),
            definition.labels.contains(&"tier"),
            "{name}"
        );
        for label in definition.labels {
            assert!(!["key", "shard", "range", "client", "prefix"].contains(label), "{name}: {label} has no bound");
        }
        assert!(definition.help.ends_with('.'), "{name}: the help is a sentence");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_what_happened() {
    let folder = Folder::new();
    let node = NodeProcess::start(&folder, &["--range-end", "z"]);
    let mut kv = node.kv().await;
    for i in 0..10 {
        kv.put(put(format!("key/{i}"), [b'v'; 100])).await.unwrap();
    }
    kv.delete(delete("key/0")).await.unwrap();
    assert!(value(&mut kv, "key/1").await.is_some());
    let all = v1::ScanRequest { end: "z".into(), ..v1::ScanRequest::default() };
    assert_eq!(scan(&mut kv, all).await.unwrap().len(), 9);
    assert!(range_mismatch(&kv.get(get("zz")).await.unwrap_err()).is_some());
    // In two steps: what leaves the fastest tier is first in memory, between slower ones files are made.
    support::move_range(&mut node.admin().await, "", "", "warm").await;
    support::move_range(&mut node.admin().await, "", "", "cold").await;
    assert!(value(&mut kv, "key/2").await.is_some());
    for (series, expected) in [
        ("thermocline_requests_total{code=\"OK\",rpc=\"put\"}", 10.0),
        ("thermocline_requests_total{code=\"OK\",rpc=\"delete\"}", 1.0),
        ("thermocline_requests_total{code=\"FAILED_PRECONDITION\",rpc=\"get\"}", 1.0),
        ("thermocline_requests_total{code=\"OK\",rpc=\"batch_get\"}", 0.0),
        ("thermocline_request_duration_seconds_count{rpc=\"put\"}", 10.0),
        ("thermocline_requests_in_flight", 0.0),
        ("thermocline_writes_total", 10.0),
        ("thermocline_deletes_total", 1.0),
        ("thermocline_scans_total", 1.0),
        ("thermocline_health{state=\"serving\"}", 1.0),
        ("thermocline_health{state=\"read_only\"}", 0.0),
        ("thermocline_tier_reads_total{tier=\"cold\"}", 1.0),
        ("thermocline_tier_under_reserve{tier=\"hot\"}", 0.0),
    ] {
        assert_eq!(node.metric(series), Some(expected), "{series}");
    }
    for positive in [
        "thermocline_tier_size_bytes{tier=\"cold\"}",
        "thermocline_tier_capacity_bytes{tier=\"warm\"}",
        "thermocline_disk_usage_ratio{tier=\"hot\"}",
        "thermocline_wal_written_bytes_total",
        "thermocline_memory_bytes",
        "thermocline_uptime_seconds",
        "thermocline_moved_records_total{from=\"warm\",to=\"cold\",reason=\"manual\"}",
    ] {
        let value = support::within(positive, || node.metric(positive).filter(|value| *value > 0.0));
        assert!(value.is_finite(), "{positive}");
    }
    assert_eq!(node.metric("thermocline_memory_limit_bytes"), Some(f64::from(256 << 20)));
}

#[test]
fn probes_answer_and_other_paths_do_not() {
    let folder = Folder::new();
    let node = NodeProcess::start(&folder, &[]);
    assert_eq!(node.http("/healthz"), (200, "ok\n".to_owned()));
    assert_eq!(node.http("/readyz"), (200, "serving\n".to_owned()));
    assert_eq!(node.http("/").0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_grpc_ports_tell_their_health() {
    let folder = Folder::new();
    let node = NodeProcess::start(&folder, &[]);
    for channel in node.channels().await {
        let mut health = HealthClient::new(channel);
        for service in ["", "thermocline.v1.Kv", "thermocline.v1.Admin"] {
            let request = HealthCheckRequest { service: service.to_owned() };
            let answer = health.check(request).await.unwrap().into_inner();
            assert_eq!(answer.status(), ServingStatus::Serving, "{service:?}");
        }
        let unknown = HealthCheckRequest { service: "thermocline.v1.Nothing".to_owned() };
        assert_eq!(health.check(unknown).await.unwrap_err().code(), tonic::Code::NotFound);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_grpc_ports_describe_their_services() {
    let folder = Folder::new();
    let node = NodeProcess::start(&folder, &[]);
    for channel in node.channels().await {
        let mut reflection = ServerReflectionClient::new(channel);
        let mut ask = async |question: MessageRequest| {
            let request = ServerReflectionRequest { host: String::new(), message_request: Some(question) };
            let stream = reflection.server_reflection_info(tokio_stream::once(request)).await.unwrap();
            stream.into_inner().message().await.unwrap().unwrap().message_response.unwrap()
        };
        let MessageResponse::ListServicesResponse(list) = ask(MessageRequest::ListServices(String::new())).await else {
            panic!("no list of services");
        };
        let names: BTreeSet<String> = list.service.into_iter().map(|service| service.name).collect();
        for expected in ["thermocline.v1.Kv", "thermocline.v1.Admin", "grpc.health.v1.Health"] {
            assert!(names.contains(expected), "{expected}: {names:?}");
        }
        let symbol = MessageRequest::FileContainingSymbol("thermocline.v1.Kv.Scan".to_owned());
        let answer = ask(symbol).await;
        assert!(matches!(answer, MessageResponse::FileDescriptorResponse(_)), "{answer:?}");
    }
}
