//! The control plane: status, heat, policy, tier settings, moves, checkpoints.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::Duration;

use support::{Folder, NodeProcess, noise, put, value};
use thermocline_proto::v1;
use thermocline_proto::v1::admin_client::AdminClient;
use tonic::Code;
use tonic::transport::Channel;

type Statuses = tonic::Streaming<v1::NodeStatus>;

async fn statuses(admin: &mut AdminClient<Channel>, interval_ms: u32, once: bool) -> Statuses {
    admin.status(v1::StatusRequest { interval_ms, once }).await.unwrap().into_inner()
}

async fn status_now(node: &NodeProcess) -> v1::NodeStatus {
    statuses(&mut node.admin().await, 0, true).await.message().await.unwrap().unwrap()
}

/// Reads the stream until a message says this.
async fn until(stream: &mut Statuses, what: &str, says: impl Fn(&v1::NodeStatus) -> bool) -> v1::NodeStatus {
    let waiting = async {
        loop {
            let message = stream.message().await.unwrap().unwrap();
            if says(&message) {
                return message;
            }
        }
    };
    tokio::time::timeout(support::PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{what} was never told"))
}

fn policy(generation: u64) -> v1::Policy {
    let temperature = |tier: &str, reads: f64| v1::Temperature {
        tier: tier.to_owned(),
        reads,
        per_ms: 86_400_000,
        read_within_ms: 3_600_000,
    };
    v1::Policy {
        generation,
        temperatures: vec![temperature("hot", 1000.0), temperature("warm", 100.0)],
        evaluation_interval_ms: 3_600_000,
        ..v1::Policy::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_stream_begins_at_once_tells_changes_and_can_be_asked_once() {
    let folder = Folder::new();
    let node = NodeProcess::start(&folder, &["--range-start", "a"]);
    let mut admin = node.admin().await;
    let mut stream = statuses(&mut admin, 100, false).await;
    let first = stream.message().await.unwrap().unwrap();
    assert_eq!((first.node.as_str(), first.version.as_str()), ("node-a", env!("CARGO_PKG_VERSION")));
    assert_eq!(first.health(), v1::Health::Serving);
    assert_eq!((first.range_start.as_ref(), first.range_end.as_ref()), (&b"a"[..], &b""[..]));
    let tiers: Vec<_> = first.tiers.iter().map(|tier| (tier.name.as_str(), tier.rank, tier.medium.as_str())).collect();
    assert_eq!(tiers, [("hot", 0, "NVMe"), ("warm", 10, "SSD"), ("cold", 20, "HDD")]);
    for tier in &first.tiers {
        assert_eq!(tier.id.len(), 16, "{tier:?}");
        assert!(tier.capacity_bytes > 0 && !tier.under_reserve, "{tier:?}");
    }
    assert_eq!(first.load.unwrap().memory_limit_bytes, 256 << 20);
    assert_eq!(first.mover.unwrap().state, "idle");

    node.kv().await.put(put("key", "value")).await.unwrap();
    until(&mut stream, "the write", |status| status.operations.as_ref().unwrap().writes == 1).await;
    admin.set_policy(v1::SetPolicyRequest { policy: Some(policy(3)) }).await.unwrap();
    let told = until(&mut stream, "the policy", |status| status.policy_generation == 3).await;
    assert!(told.uptime_ms >= first.uptime_ms);

    let mut once = statuses(&mut admin, 0, true).await;
    assert!(once.message().await.unwrap().is_some());
    assert!(once.message().await.unwrap().is_none(), "the stream ends after one");
    let refused = admin.status(v1::StatusRequest { interval_ms: 99, once: false }).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("interval_ms is 99; 100 to 60000"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_node_is_silent_between_its_signs_of_life() {
    let folder = Folder::new();
    let node = NodeProcess::start(&folder, &[]);
    let mut stream = statuses(&mut node.admin().await, 100, false).await;
    assert!(stream.message().await.unwrap().is_some());
    let mut more = 0;
    let _ = tokio::time::timeout(Duration::from_secs(2), async {
        while stream.message().await.unwrap().is_some() {
            more += 1;
        }
    })
    .await;
    // Twenty intervals passed. The engine may settle once after its start.
    assert!(more <= 3, "{more} messages without a change");
}

#[tokio::test(flavor = "multi_thread")]
async fn heat_tells_the_hottest_keys_and_ranges_with_pattern_class_and_size() {
    let folder = Folder::new();
    let node = NodeProcess::start(&folder, &[]);
    let (mut kv, mut admin) = (node.kv().await, node.admin().await);
    let mutations = (0..200).map(|i| support::put_mutation(format!("key/{i:03}"), noise(i, 1000))).collect();
    kv.write(support::batch(mutations)).await.unwrap();
    for i in 0..4000 {
        let key = if i % 2 == 0 { "key/042".to_owned() } else { format!("key/{:03}", i * 7919 % 200) };
        assert!(value(&mut kv, &key).await.is_some());
    }
    let heat = admin.heat(v1::HeatRequest { top_keys: 5, ranges: 10 }).await.unwrap().into_inner();
    assert!(heat.keys.len() <= 5 && heat.tracked_bytes > 0);
    let hottest = heat.keys.first().expect("a key read 2000 times is tracked");
    assert_eq!((hottest.key.as_ref(), hottest.tier.as_str()), (&b"key/042"[..], "hot"));
    assert!(hottest.reads_per_day > 0.0 && hottest.last_read_ms_ago < 60_000, "{hottest:?}");
    assert!(!heat.ranges.is_empty() && heat.ranges.len() <= 10);
    for range in &heat.ranges {
        assert!(["random", "sequential", "batch", "rare-write"].contains(&range.pattern.as_str()), "{range:?}");
        assert!(["hot", "warm", "cold"].contains(&range.class.as_str()), "{range:?}");
        let tiers: Vec<_> = range.bytes.iter().map(|bytes| bytes.tier.as_str()).collect();
        assert_eq!(tiers, ["hot", "warm", "cold"]);
    }
    let busiest = heat.ranges.iter().find(|range| range.reads_per_day > 0.0).expect("a range that is read");
    assert!(busiest.start.as_ref() <= &b"key/042"[..] && busiest.last_read_ms_ago < 60_000, "{busiest:?}");
    let refused = admin.heat(v1::HeatRequest { top_keys: 1001, ranges: 0 }).await.unwrap_err();
    assert!(refused.message().contains("the limit is 1000"), "{refused}");
    let refused = admin.heat(v1::HeatRequest { top_keys: 0, ranges: 4097 }).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_says_where_a_key_is_and_why() {
    let folder = Folder::new();
    let node = NodeProcess::start(&folder, &[]);
    let (mut kv, mut admin) = (node.kv().await, node.admin().await);
    let version = kv.put(put("key", "value")).await.unwrap().into_inner().version;
    let mut explain =
        async |key: &'static str| admin.explain(v1::ExplainRequest { key: key.into() }).await.unwrap().into_inner();
    let answer = explain("key").await;
    assert!(answer.exists);
    assert_eq!(answer.copies.len(), 1);
    let copy = &answer.copies[0];
    assert_eq!((copy.tier.as_str(), copy.version, copy.kind.as_str()), ("hot", version, "value"));
    assert!(["hot", "warm", "cold"].contains(&answer.class.as_str()));
    assert!(!answer.rule.is_empty() && !answer.decision.is_empty());
    let range = answer.range.unwrap();
    assert_eq!(range.class, answer.class, "a key that is not tracked has the class of its range");
    assert!(!range.pattern.is_empty());

    support::move_range(&mut node.admin().await, "", "", "cold").await;
    assert_eq!(explain("key").await.copies[0].tier, "cold");
    kv.delete(support::delete("key")).await.unwrap();
    let deleted = explain("key").await;
    assert!(!deleted.exists);
    let kinds: Vec<_> = deleted.copies.iter().map(|copy| (copy.tier.as_str(), copy.kind.as_str())).collect();
    assert_eq!(kinds, [("hot", "tombstone"), ("cold", "value")]);
    let absent = explain("absent").await;
    assert!(!absent.exists && absent.copies.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_is_put_in_force_and_a_wrong_or_older_one_is_refused() {
    let folder = Folder::new();
    let node = NodeProcess::start(&folder, &[]);
    let mut admin = node.admin().await;
    let mut set = async |policy| admin.set_policy(v1::SetPolicyRequest { policy }).await;
    assert_eq!(set(Some(policy(5))).await.unwrap().into_inner().generation, 5);
    assert_eq!(status_now(&node).await.policy_generation, 5);

    let mut bad = policy(6);
    bad.temperatures[0].tier = "lukewarm".to_owned();
    let refused = set(Some(bad)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("lukewarm") && refused.message().contains("hot"), "{refused}");
    let refused = set(Some(v1::Policy { promote_over_demote: 0.5, ..policy(6) })).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    let refused = set(None).await.unwrap_err();
    assert!(refused.message().contains("give the whole policy"), "{refused}");
    let refused = set(Some(policy(4))).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("generation 4 is older than 5"), "{refused}");
    assert_eq!(status_now(&node).await.policy_generation, 5, "what was refused changed nothing");

    set(Some(v1::Policy { tiering_paused: true, temperatures: vec![], ..policy(6) })).await.unwrap();
    let status = status_now(&node).await;
    assert_eq!((status.policy_generation, status.mover.unwrap().state.as_str()), (6, "paused"));
    assert_eq!(node.metric("thermocline_policy_generation"), Some(6.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_tier_takes_a_new_size_and_watermarks() {
    let folder = Folder::new();
    let node = NodeProcess::start(&folder, &[]);
    let mut admin = node.admin().await;
    let setting = |name: &str| v1::TierSetting {
        name: name.to_owned(),
        size_bytes: 64 << 20,
        high_watermark: 0.7,
        low_watermark: 0.5,
        throttle_bytes_per_second: 1 << 20,
    };
    let mut set = async |generation, tiers| admin.set_tiers(v1::SetTiersRequest { generation, tiers }).await;
    let answer = set(4, vec![setting("warm"), setting("archive")]).await.unwrap().into_inner();
    assert_eq!(answer.generation, 4);
    assert_eq!(answer.needs_restart, ["tiers[1]: the tier archive is not open"]);
    let status = status_now(&node).await;
    assert_eq!(status.tiers_generation, 4);
    let warm = status.tiers.iter().find(|tier| tier.name == "warm").unwrap();
    assert_eq!((warm.high_watermark, warm.low_watermark), (0.7, 0.5));
    assert_eq!(warm.throttle_bytes_per_second, 1 << 20);
    assert!(warm.capacity_bytes <= 64 << 20);

    let contradiction = v1::TierSetting { low_watermark: 0.8, ..setting("cold") };
    let refused = set(5, vec![setting("hot"), contradiction]).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("tiers[1].low_watermark is 0.8"), "{refused}");
    let refused = set(3, vec![]).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    let status = status_now(&node).await;
    assert_eq!(status.tiers_generation, 4);
    assert!(status.tiers[0].capacity_bytes > 64 << 20, "nothing of a refused request is applied");
}

#[tokio::test(flavor = "multi_thread")]
async fn reclassifying_moves_what_the_policy_wants_elsewhere() {
    let folder = Folder::new();
    let node = NodeProcess::start(&folder, &[]);
    let (mut kv, mut admin) = (node.kv().await, node.admin().await);
    let nothing = admin.reclassify(v1::ReclassifyRequest {}).await.unwrap().into_inner();
    assert_eq!((nothing.moved_records, nothing.moved_bytes), (0, 0), "an empty store has nothing to move");
    for i in 0..20 {
        kv.put(put(format!("key/{i}"), noise(i, 1 << 20))).await.unwrap();
    }
    // What holds 20 MiB is far over its watermark now; the default reserve would refuse writes, not moves.
    let small = v1::TierSetting {
        name: "hot".to_owned(),
        size_bytes: 16 << 20,
        high_watermark: 0.5,
        low_watermark: 0.3,
        throttle_bytes_per_second: 0,
    };
    admin.set_tiers(v1::SetTiersRequest { generation: 1, tiers: vec![small] }).await.unwrap();
    admin.set_policy(v1::SetPolicyRequest { policy: Some(policy(1)) }).await.unwrap();
    let mut moved = 0;
    for _ in 0..5 {
        moved += admin.reclassify(v1::ReclassifyRequest {}).await.unwrap().into_inner().moved_records;
        if moved > 0 {
            break;
        }
    }
    assert!(moved > 0, "{:?}", status_now(&node).await.tiers);
    for i in 0..20 {
        assert_eq!(value(&mut kv, format!("key/{i}")).await.unwrap(), noise(i, 1 << 20));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_is_told_from_running_to_completed_and_stays_listed() {
    let folder = Folder::new();
    let node = NodeProcess::start(&folder, &[]);
    let (mut kv, mut admin) = (node.kv().await, node.admin().await);
    let mutations = (0..300).map(|i| support::put_mutation(format!("key/{i:03}"), noise(i, 1000))).collect();
    kv.write(support::batch(mutations)).await.unwrap();
    let told = support::move_range(&mut admin, "key/100", "key/200", "cold").await;
    let last = told.last().unwrap();
    assert_eq!((last.state.as_str(), last.percent, last.records), ("completed", 100, 100), "{told:?}");
    assert!(last.bytes >= 100 * 1000);
    for pair in told.windows(2) {
        assert!(pair[0].state == "running" && pair[0].records <= pair[1].records, "{told:?}");
    }
    let listed = admin.list_moves(v1::ListMovesRequest {}).await.unwrap().into_inner().moves;
    assert_eq!(listed.as_slice(), std::slice::from_ref(last));
    for i in [99, 100, 199, 200] {
        let key = format!("key/{i:03}");
        let explained = admin.explain(v1::ExplainRequest { key: key.clone().into() }).await.unwrap().into_inner();
        let expected = if (100..200).contains(&i) { "cold" } else { "hot" };
        assert_eq!(explained.copies[0].tier, expected, "{key}");
        assert_eq!(value(&mut kv, &key).await.unwrap(), noise(i, 1000));
    }
    let back = support::move_range(&mut admin, "", "", "hot").await;
    assert_eq!(back.last().unwrap().state, "completed");
    assert_eq!(admin.list_moves(v1::ListMovesRequest {}).await.unwrap().into_inner().moves.len(), 2);

    let nowhere = support::move_range(&mut admin, "", "", "attic").await;
    let failed = nowhere.last().unwrap();
    assert_eq!(failed.state, "failed");
    assert!(failed.message.contains("attic") && failed.message.contains("hot"), "{failed:?}");
    let unnamed = admin.move_range(v1::MoveRangeRequest::default()).await.unwrap_err();
    assert!(unnamed.message().contains("to_tier is missing"), "{unnamed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_outlives_its_caller_and_can_be_cancelled() {
    let folder = Folder::new();
    let node = NodeProcess::start(&folder, &[]);
    let (mut kv, mut admin) = (node.kv().await, node.admin().await);
    for i in 0..16 {
        kv.put(put(format!("key/{i:02}"), noise(i, 1 << 20))).await.unwrap();
    }
    // At this budget it would take minutes.
    let request = v1::MoveRangeRequest {
        to_tier: "warm".to_owned(),
        bytes_per_second: 1 << 20,
        ..v1::MoveRangeRequest::default()
    };
    let mut stream = admin.move_range(request).await.unwrap().into_inner();
    let first = stream.message().await.unwrap().unwrap();
    assert_eq!(first.state, "running");
    drop(stream);
    let mut state_of = async |id: u64| {
        let moves = admin.list_moves(v1::ListMovesRequest {}).await.unwrap().into_inner().moves;
        moves.into_iter().find(|told| told.move_id == id).unwrap().state
    };
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(state_of(first.move_id).await, "running", "its caller has gone");
    assert_eq!(status_now(&node).await.mover.unwrap().state, "moving");
    let mut other = node.admin().await;
    other.cancel_move(v1::CancelMoveRequest { move_id: first.move_id }).await.unwrap();
    let ended = tokio::time::timeout(support::PATIENCE, async {
        loop {
            let state = state_of(first.move_id).await;
            if state != "running" {
                return state;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    assert_eq!(ended.await.unwrap(), "cancelled");
    other.cancel_move(v1::CancelMoveRequest { move_id: first.move_id }).await.unwrap();
    let unknown = other.cancel_move(v1::CancelMoveRequest { move_id: 77 }).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    for i in 0..16 {
        assert_eq!(value(&mut kv, format!("key/{i:02}")).await.unwrap(), noise(i, 1 << 20), "wherever it is");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_is_a_copy_in_a_new_folder() {
    let folder = Folder::new();
    let node = NodeProcess::start(&folder, &[]);
    let (mut kv, mut admin) = (node.kv().await, node.admin().await);
    kv.put(put("key", "value")).await.unwrap();
    support::move_range(&mut admin, "", "", "cold").await;
    kv.put(put("other", "value")).await.unwrap();
    let copy = folder.path().join("copy");
    let mut checkpoint = async |folder: &std::path::Path| {
        let folder = folder.to_str().unwrap().to_owned();
        admin.checkpoint(v1::CheckpointRequest { folder }).await
    };
    checkpoint(&copy).await.unwrap();
    assert!(std::fs::read_dir(&copy).unwrap().count() > 0);
    let again = checkpoint(&copy).await.unwrap_err();
    assert!(again.message().contains("copy"), "the folder is named: {again}");
    let relative = checkpoint(std::path::Path::new("copy")).await.unwrap_err();
    assert_eq!(relative.code(), Code::InvalidArgument);
    assert!(relative.message().contains("an absolute path"), "{relative}");
    assert_eq!(value(&mut kv, "key").await.unwrap(), b"value");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_engine_prints_its_statistics_for_a_person() {
    let folder = Folder::new();
    let node = NodeProcess::start(&folder, &[]);
    node.kv().await.put(put("key", "value")).await.unwrap();
    let text = node.admin().await.print_stats(v1::PrintStatsRequest {}).await.unwrap().into_inner().text;
    for part in ["hot", "warm", "cold", "Compaction Stats"] {
        assert!(text.contains(part), "{part} is missing from: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_tells_how_far_it_is_while_it_runs() {
    let folder = Folder::new();
    let node = NodeProcess::start(&folder, &[]);
    let mut kv = node.kv().await;
    for i in 0..24_u64 {
        kv.put(put(format!("key/{i:02}"), noise(i, 1 << 20))).await.unwrap();
    }
    // A part holds 8 MiB: three of them, a second each.
    let request = v1::MoveRangeRequest { to_tier: "cold".to_owned(), bytes_per_second: 8 << 20, ..Default::default() };
    let mut stream = node.admin().await.move_range(request).await.unwrap().into_inner();
    let mut told = Vec::new();
    while let Some(progress) = stream.message().await.unwrap() {
        told.push(progress);
    }
    let percents: Vec<u32> = told.iter().map(|progress| progress.percent).collect();
    assert!(percents.is_sorted(), "{percents:?}");
    assert!(percents.iter().any(|percent| (1..100).contains(percent)), "{percents:?}");
    let last = told.last().unwrap();
    assert_eq!((last.state.as_str(), last.percent, last.records), ("completed", 100, 24));
}
