//! Round trips of the data plane: what was written is read, by every call that reads.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use support::{Folder, NodeProcess, batch, delete, delete_mutation, get, noise, put, put_mutation, scan, value};
use thermocline_proto::v1;
use thermocline_proto::v1::condition::Expected;

fn condition(key: &'static str, expected: Expected) -> v1::Condition {
    v1::Condition { key: key.into(), expected: Some(expected) }
}

fn keys(records: &[v1::Record]) -> Vec<&str> {
    records.iter().map(|record| std::str::from_utf8(&record.key).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_is_read_until_it_is_replaced_or_deleted() {
    let folder = Folder::new();
    let node = NodeProcess::start(&folder, &[]);
    let mut kv = node.kv().await;
    assert_eq!(kv.get(get("key")).await.unwrap().into_inner().record, None, "an absent key is no error");
    let first = kv.put(put("key", "one")).await.unwrap().into_inner().version;
    let record = kv.get(get("key")).await.unwrap().into_inner().record.unwrap();
    assert_eq!((record.key.as_ref(), record.value.as_ref(), record.version), (&b"key"[..], &b"one"[..], first));
    let second = kv.put(put("key", "two")).await.unwrap().into_inner().version;
    assert!(second > first);
    // Twice: the second answer may come from the row cache, which is asked in another place.
    for _ in 0..2 {
        assert_eq!(value(&mut kv, "key").await.unwrap(), b"two");
    }
    let third = kv.delete(delete("key")).await.unwrap().into_inner().version;
    assert!(third > second);
    assert_eq!(value(&mut kv, "key").await, None);
    kv.put(put("empty", "")).await.unwrap();
    assert_eq!(value(&mut kv, "empty").await.unwrap(), b"", "an empty value is a value");
    node.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_durability_is_taken_and_an_unknown_one_is_refused() {
    let folder = Folder::new();
    let node = NodeProcess::start(&folder, &[]);
    let mut kv = node.kv().await;
    for durability in [v1::Durability::Sync, v1::Durability::Wal, v1::Durability::Buffered] {
        let key = durability.as_str_name();
        kv.put(v1::PutRequest { durability: durability.into(), ..put(key, key) }).await.unwrap();
        assert_eq!(value(&mut kv, key).await.unwrap(), key.as_bytes(), "reads see it at once");
    }
    let refused = kv.put(v1::PutRequest { durability: 9, ..put("key", "value") }).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    assert!(refused.message().contains("durability is 9") && refused.message().contains("3 (buffered)"), "{refused}");
    // What was buffered is on disk after an orderly stop.
    node.stop();
    let node = NodeProcess::start(&folder, &[]);
    assert!(value(&mut node.kv().await, "DURABILITY_BUFFERED").await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_values_may_be_any_bytes() {
    let folder = Folder::new();
    let node = NodeProcess::start(&folder, &[]);
    let mut kv = node.kv().await;
    let every_byte: Vec<u8> = (0..=255).collect();
    let cases: [&[u8]; 6] = [b"\0", b"\0\0", b"\xff", b"\xff\xff\xff", b"a\xc3\x28", &every_byte];
    for key in cases {
        kv.put(put(key, every_byte.iter().rev().copied().collect::<Vec<_>>())).await.unwrap();
    }
    for key in cases {
        assert_eq!(value(&mut kv, key).await.unwrap(), every_byte.iter().rev().copied().collect::<Vec<_>>());
    }
    let found = scan(&mut kv, v1::ScanRequest::default()).await.unwrap();
    let mut sorted = cases.to_vec();
    sorted.sort_unstable();
    assert_eq!(found.iter().map(|record| record.key.as_ref()).collect::<Vec<_>>(), sorted, "in byte order");
    let bounded = v1::ScanRequest { start: vec![0xff].into(), ..v1::ScanRequest::default() };
    assert_eq!(scan(&mut kv, bounded).await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_get_answers_in_the_order_asked_with_gaps_and_repeats() {
    let folder = Folder::new();
    let node = NodeProcess::start(&folder, &[]);
    let mut kv = node.kv().await;
    let mutations = (0..500).map(|i| put_mutation(format!("key/{i:03}"), format!("value {i}"))).collect();
    let version = kv.write(batch(mutations)).await.unwrap().into_inner().version;
    let asked: Vec<String> = ["key/499", "missing", "key/000", "key/499"]
        .map(str::to_owned)
        .into_iter()
        .chain((0..500).rev().map(|i| format!("key/{i:03}")))
        .collect();
    let request = v1::BatchGetRequest {
        keys: asked.iter().map(|key| key.clone().into()).collect(),
        ..v1::BatchGetRequest::default()
    };
    let results = kv.batch_get(request).await.unwrap().into_inner().results;
    assert_eq!(results.len(), asked.len());
    for (key, result) in asked.iter().zip(results) {
        match result.record {
            None => assert_eq!(key, "missing"),
            Some(record) => {
                let number: u32 = key.strip_prefix("key/").unwrap().parse().unwrap();
                assert_eq!(record.key, key.as_bytes());
                assert_eq!(record.value, format!("value {number}").as_bytes());
                assert_eq!(record.version, version, "one batch, one version");
            }
        }
    }
    let nothing = kv.batch_get(v1::BatchGetRequest::default()).await.unwrap().into_inner();
    assert!(nothing.results.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_written_wholly_or_not_at_all() {
    let folder = Folder::new();
    let node = NodeProcess::start(&folder, &[]);
    let mut kv = node.kv().await;
    let version = kv.put(put("a", "1")).await.unwrap().into_inner().version;
    let conditional = |conditions, mutations| v1::WriteRequest { conditions, ..batch(mutations) };
    let holds = kv
        .write(conditional(
            vec![
                condition("a", Expected::VersionEquals(version)),
                condition("a", Expected::Exists(true)),
                condition("b", Expected::Absent(true)),
            ],
            vec![put_mutation("b", "2"), delete_mutation("a"), put_mutation("c", "3")],
        ))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(holds.condition_failed, None);
    assert!(holds.version > version);
    assert_eq!(value(&mut kv, "a").await, None);
    assert_eq!(value(&mut kv, "c").await.unwrap(), b"3");

    let failing = [
        (condition("a", Expected::Exists(true)), 0),
        (condition("b", Expected::Absent(true)), holds.version),
        (condition("b", Expected::VersionEquals(version)), holds.version),
        (condition("a", Expected::VersionEquals(version)), 0),
    ];
    for (bad, actual_version) in failing {
        let good = condition("c", Expected::Exists(true));
        let request = conditional(vec![good, bad.clone()], vec![put_mutation("b", "lost"), delete_mutation("c")]);
        let answer = kv.write(request).await.unwrap().into_inner();
        let failed = v1::ConditionFailed { index: 1, actual_version };
        assert_eq!(answer.condition_failed, Some(failed), "{bad:?}");
        assert_eq!(answer.version, 0);
        assert_eq!(value(&mut kv, "b").await.unwrap(), b"2");
        assert_eq!(value(&mut kv, "c").await.unwrap(), b"3");
    }
    let only_asks = conditional(vec![condition("b", Expected::Exists(true))], vec![]);
    assert_eq!(kv.write(only_asks).await.unwrap().into_inner().condition_failed, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_racing_writers_with_the_same_condition_one_wins() {
    let folder = Folder::new();
    let node = NodeProcess::start(&folder, &[]);
    let kv = node.kv().await;
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..16_u32 {
        let mut kv = kv.clone();
        writers.spawn(async move {
            let conditions = vec![condition("lock", Expected::Absent(true))];
            let mutations = vec![put_mutation("lock", writer.to_string())];
            let request = v1::WriteRequest { conditions, mutations, ..v1::WriteRequest::default() };
            (writer, kv.write(request).await.unwrap().into_inner().condition_failed.is_none())
        });
    }
    let outcomes = writers.join_all().await;
    let winners: Vec<u32> = outcomes.into_iter().filter_map(|(writer, won)| won.then_some(writer)).collect();
    assert_eq!(winners.len(), 1, "{winners:?}");
    assert_eq!(value(&mut kv.clone(), "lock").await.unwrap(), winners[0].to_string().as_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_goes_both_ways_stops_at_its_limit_and_can_leave_values_out() {
    let folder = Folder::new();
    let node = NodeProcess::start(&folder, &[]);
    let mut kv = node.kv().await;
    for key in ["a", "b", "c", "d", "e"] {
        kv.put(put(key, format!("value of {key}"))).await.unwrap();
    }
    kv.delete(delete("c")).await.unwrap();
    // Part of it is in a slower tier, and one key is newer above than below.
    support::move_range(&mut node.admin().await, "a", "c", "cold").await;
    kv.put(put("b", "newer")).await.unwrap();
    let of = |start: &'static str, end: &'static str| v1::ScanRequest {
        start: start.into(),
        end: end.into(),
        ..v1::ScanRequest::default()
    };
    let found = scan(&mut kv, of("", "")).await.unwrap();
    assert_eq!(keys(&found), ["a", "b", "d", "e"]);
    assert_eq!(found[1].value, "newer");
    assert!(found.iter().all(|record| record.version > 0));
    assert_eq!(keys(&scan(&mut kv, of("b", "e")).await.unwrap()), ["b", "d"], "the end is exclusive");
    assert_eq!(keys(&scan(&mut kv, of("x", "y")).await.unwrap()), [""; 0], "nothing there is no error");
    let reverse = v1::ScanRequest { reverse: true, ..of("a", "e") };
    assert_eq!(keys(&scan(&mut kv, reverse.clone()).await.unwrap()), ["d", "b", "a"]);
    let last_two = v1::ScanRequest { limit: 2, ..reverse };
    assert_eq!(keys(&scan(&mut kv, last_two).await.unwrap()), ["d", "b"]);
    let first = v1::ScanRequest { limit: 1, keys_only: true, ..of("", "") };
    let found = scan(&mut kv, first).await.unwrap();
    assert_eq!((keys(&found), found[0].value.as_ref()), (vec!["a"], &b""[..]));
    let backwards = scan(&mut kv, of("e", "a")).await.unwrap_err();
    assert_eq!(backwards.code(), tonic::Code::InvalidArgument);
    assert!(backwards.message().contains("end is before start"), "{backwards}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_scan_comes_in_chunks_and_as_of_its_beginning() {
    const RECORDS: usize = 20_000;
    let folder = Folder::new();
    let node = NodeProcess::start(&folder, &[]);
    let mut kv = node.kv().await;
    for part in 0..10 {
        let each = (part * RECORDS / 10)..((part + 1) * RECORDS / 10);
        let mutations = each.map(|i| put_mutation(format!("key/{i:06}"), noise(i as u64, 500))).collect();
        kv.write(batch(mutations)).await.unwrap();
    }
    let mut stream = kv.scan(v1::ScanRequest::default()).await.unwrap().into_inner();
    let first = stream.message().await.unwrap().unwrap();
    // The transport holds a few MiB; of 10 MiB the rest is read by the node after these writes.
    kv.put(put("key/zzz", "after the beginning")).await.unwrap();
    kv.delete(delete(format!("key/{:06}", RECORDS - 1))).await.unwrap();
    let (mut chunks, mut number) = (1, 0);
    let mut next = Some(first);
    while let Some(chunk) = next {
        assert!(chunk.records.len() <= 1000);
        for record in chunk.records {
            assert_eq!(record.key, format!("key/{number:06}").as_bytes());
            assert_eq!(record.value, noise(number as u64, 500));
            number += 1;
        }
        next = stream.message().await.unwrap();
        chunks += usize::from(next.is_some());
    }
    assert_eq!(number, RECORDS);
    assert!(chunks >= RECORDS / 1000);
    let again = v1::ScanRequest { start: "key/019998".into(), ..v1::ScanRequest::default() };
    assert_eq!(keys(&scan(&mut kv, again).await.unwrap()), ["key/019998", "key/zzz"]);
}
