//! Every limit of the data plane: what is at it passes, what is over it is refused with the limit in the message, and
//! what belongs to another node is refused with what this one owns.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use support::{
    Folder, NodeProcess, batch, delete, delete_mutation, get, put, put_mutation, range_mismatch, scan, value,
};
use thermocline_proto::{MAX_KEY_BYTES, MAX_VALUE_BYTES, v1};
use tonic::{Code, Status};

fn assert_refused(refused: Status, code: Code, says: &[&str]) {
    assert_eq!(refused.code(), code, "{refused}");
    for part in says {
        assert!(refused.message().contains(part), "{part:?} is missing from: {refused}");
    }
}

fn batch_get(keys: impl IntoIterator<Item = Vec<u8>>) -> v1::BatchGetRequest {
    v1::BatchGetRequest { keys: keys.into_iter().map(Into::into).collect(), ..v1::BatchGetRequest::default() }
}

#[test]
fn the_engine_the_contracts_and_the_node_agree_on_every_limit() {
    use thermocline_node::service::limits;
    assert_eq!(MAX_KEY_BYTES, thermocline_engine::MAX_KEY_BYTES);
    assert_eq!(MAX_VALUE_BYTES, thermocline_engine::MAX_VALUE_BYTES);
    assert_eq!(limits::MAX_BATCH_BYTES, thermocline_engine::MAX_BATCH_BYTES);
    const { assert!(limits::MAX_MESSAGE_BYTES > limits::MAX_BATCH_BYTES, "a batch at its limit fits a message") };
}

#[test]
fn the_engine_and_the_configuration_agree_on_every_default() {
    use thermocline_engine::classify::Policy;
    use thermocline_engine::{Medium, TierSpec};
    use thermocline_node_config::defaults;
    let settings = TierSpec::new("hot", 0, Medium::Nvme, std::path::PathBuf::from("/hot"), 1 << 30).settings;
    assert_eq!(settings.high_watermark, f64::from(defaults::HIGH_WATERMARK_PERCENT) / 100.0);
    assert_eq!(settings.low_watermark, f64::from(defaults::LOW_WATERMARK_PERCENT) / 100.0);
    let policy = Policy::default();
    assert_eq!(policy.evaluation_interval, defaults::EVALUATION_INTERVAL);
    assert_eq!(policy.hysteresis, defaults::HYSTERESIS);
    assert_eq!(policy.min_residency, defaults::MIN_RESIDENCY);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_key_is_refused_by_every_call_that_names_one() {
    let folder = Folder::new();
    let node = NodeProcess::start(&folder, &[]);
    let (mut kv, mut admin) = (node.kv().await, node.admin().await);
    let says = |field: &'static str| [field, "is empty", "1 to 4096 bytes"];
    assert_refused(kv.get(get("")).await.unwrap_err(), Code::InvalidArgument, &says("key"));
    assert_refused(kv.put(put("", "value")).await.unwrap_err(), Code::InvalidArgument, &says("key"));
    assert_refused(kv.delete(delete("")).await.unwrap_err(), Code::InvalidArgument, &says("key"));
    let keys = batch_get([b"a".to_vec(), vec![]]);
    assert_refused(kv.batch_get(keys).await.unwrap_err(), Code::InvalidArgument, &says("keys[1]"));
    let mutations = batch(vec![put_mutation("a", ""), delete_mutation("")]);
    assert_refused(kv.write(mutations).await.unwrap_err(), Code::InvalidArgument, &says("mutations[1].key"));
    assert_eq!(value(&mut kv, "a").await, None, "nothing of a refused batch is written");
    let explain = v1::ExplainRequest { key: vec![].into() };
    assert_refused(admin.explain(explain).await.unwrap_err(), Code::InvalidArgument, &says("key"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_4096_bytes_passes_and_one_more_is_refused_with_the_limit() {
    let folder = Folder::new();
    let node = NodeProcess::start(&folder, &[]);
    let mut kv = node.kv().await;
    let longest = vec![0xfe; MAX_KEY_BYTES];
    kv.put(put(&longest, "value")).await.unwrap();
    assert_eq!(value(&mut kv, &longest).await.unwrap(), b"value");
    kv.delete(delete(&longest)).await.unwrap();
    let over = vec![0xfe; MAX_KEY_BYTES + 1];
    let says = ["4097", "the limit is 4096"];
    assert_refused(kv.get(get(&over)).await.unwrap_err(), Code::InvalidArgument, &says);
    assert_refused(kv.put(put(&over, "")).await.unwrap_err(), Code::InvalidArgument, &says);
    assert_refused(kv.delete(delete(&over)).await.unwrap_err(), Code::InvalidArgument, &says);
    assert_refused(kv.batch_get(batch_get([over.clone()])).await.unwrap_err(), Code::InvalidArgument, &says);
    let mutation = batch(vec![put_mutation(&over, "")]);
    assert_refused(kv.write(mutation).await.unwrap_err(), Code::InvalidArgument, &says);
    let bound = v1::ScanRequest { start: over.into(), ..v1::ScanRequest::default() };
    assert_refused(scan(&mut kv, bound).await.unwrap_err(), Code::InvalidArgument, &says);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_of_8_mebibytes_passes_and_one_byte_more_is_refused_with_the_limit() {
    let folder = Folder::new();
    let node = NodeProcess::start(&folder, &[]);
    let mut kv = node.kv().await;
    let largest = vec![7; MAX_VALUE_BYTES];
    kv.put(put("large", &largest)).await.unwrap();
    assert!(value(&mut kv, "large").await.unwrap() == largest);
    let over = vec![7; MAX_VALUE_BYTES + 1];
    let says = ["8388609", "the limit is 8388608"];
    assert_refused(kv.put(put("over", &over)).await.unwrap_err(), Code::InvalidArgument, &says);
    let mutation = batch(vec![put_mutation("over", &over)]);
    assert_refused(kv.write(mutation).await.unwrap_err(), Code::InvalidArgument, &says);
    assert_eq!(value(&mut kv, "over").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_64_mebibytes_passes_and_one_byte_more_is_refused_with_the_limit() {
    let folder = Folder::new();
    let node = NodeProcess::start(&folder, &[]);
    let mut kv = node.kv().await;
    // One byte of key and seven less than a full value each make a round number of bytes.
    let value_bytes = vec![0; MAX_VALUE_BYTES - 1];
    let mut mutations: Vec<_> = (b'a'..=b'h').map(|key| put_mutation([key], &value_bytes)).collect();
    kv.write(batch(mutations.clone())).await.unwrap();
    assert_eq!(value(&mut kv, "h").await.unwrap().len(), value_bytes.len());
    mutations.push(delete_mutation("i"));
    let refused = kv.write(batch(mutations)).await.unwrap_err();
    assert_refused(refused, Code::InvalidArgument, &["67108865", "the limit is 67108864"]);

    let many = |count: usize| batch((0..count).map(|_| delete_mutation("k")).collect());
    let refused = kv.write(many(250_001)).await.unwrap_err();
    assert_refused(refused, Code::InvalidArgument, &["mutations has 250001", "the limit is 250000"]);
    let refused = kv.write(batch(vec![])).await.unwrap_err();
    assert_refused(refused, Code::InvalidArgument, &["give at least one mutation or condition"]);
    // What no message may hold is refused by the transport, before the node has it in memory.
    let refused = kv.put(put("k", vec![0; 80 << 20])).await.unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange, "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_get_has_at_most_10000_keys_and_64_mebibytes() {
    let folder = Folder::new();
    let node = NodeProcess::start(&folder, &[]);
    let mut kv = node.kv().await;
    let of = |count: usize| batch_get((0..count).map(|i| format!("key/{i}").into_bytes()));
    let results = kv.batch_get(of(10_000)).await.unwrap().into_inner().results;
    assert_eq!(results.len(), 10_000);
    let refused = kv.batch_get(of(10_001)).await.unwrap_err();
    assert_refused(refused, Code::InvalidArgument, &["keys has 10001", "the limit is 10000"]);
    kv.put(put("large", vec![1; MAX_VALUE_BYTES])).await.unwrap();
    let repeated = |count: usize| batch_get(std::iter::repeat_n(b"large".to_vec(), count));
    assert_eq!(kv.batch_get(repeated(7)).await.unwrap().into_inner().results.len(), 7);
    let refused = kv.batch_get(repeated(9)).await.unwrap_err();
    assert_refused(refused, Code::OutOfRange, &["67108864 bytes", "ask for fewer keys"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_another_node_is_refused_with_what_this_one_owns() {
    let folder = Folder::new();
    let node = NodeProcess::start(&folder, &["--range-start", "b", "--range-end", "d"]);
    let (mut kv, mut admin) = (node.kv().await, node.admin().await);
    kv.put(put("b", "first")).await.unwrap();
    kv.put(put("c\u{ff}", "last")).await.unwrap();
    for outside in ["a", "d", "x"] {
        let mut refusals = vec![
            kv.get(get(outside)).await.unwrap_err(),
            kv.put(put(outside, "value")).await.unwrap_err(),
            kv.delete(delete(outside)).await.unwrap_err(),
            kv.batch_get(batch_get([outside.into()])).await.unwrap_err(),
            kv.write(batch(vec![put_mutation(outside, "")])).await.unwrap_err(),
            admin.explain(v1::ExplainRequest { key: outside.into() }).await.unwrap_err(),
        ];
        let condition = v1::Condition { key: outside.into(), expected: Some(v1::condition::Expected::Absent(true)) };
        let asking = v1::WriteRequest { conditions: vec![condition], ..v1::WriteRequest::default() };
        refusals.push(kv.write(asking).await.unwrap_err());
        for refused in refusals {
            assert_eq!(range_mismatch(&refused), Some((b"b".to_vec(), b"d".to_vec())), "{refused}");
            assert_refused(refused, Code::FailedPrecondition, &[&format!("key {outside}"), "b to before d"]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_across_a_bound_is_refused_with_the_split_point() {
    let folder = Folder::new();
    let node = NodeProcess::start(&folder, &["--range-start", "b", "--range-end", "d"]);
    let mut kv = node.kv().await;
    for (keys, split) in [(["b", "d"], "d"), (["x", "c"], "d"), (["a", "b"], "b"), (["c", "a"], "b")] {
        let says = ["spans nodes", &format!("split the batch at key {split}")];
        let refused = kv.write(batch(keys.map(|key| put_mutation(key, "")).to_vec())).await.unwrap_err();
        assert_eq!(range_mismatch(&refused), Some((b"b".to_vec(), b"d".to_vec())));
        assert_refused(refused, Code::FailedPrecondition, &says);
        let refused = kv.batch_get(batch_get(keys.map(|key| key.into()))).await.unwrap_err();
        assert_refused(refused, Code::FailedPrecondition, &says);
    }
    let all = v1::ScanRequest { start: "b".into(), end: "d".into(), ..v1::ScanRequest::default() };
    assert_eq!(scan(&mut kv, all.clone()).await.unwrap(), [], "nothing of the refused batches was written");
    for (start, end) in [("", "d"), ("b", ""), ("b", "e")] {
        let leaving = v1::ScanRequest { start: start.into(), end: end.into(), ..all.clone() };
        let refused = scan(&mut kv, leaving).await.unwrap_err();
        assert_eq!(range_mismatch(&refused), Some((b"b".to_vec(), b"d".to_vec())));
        assert_refused(refused, Code::FailedPrecondition, &["leaves this node's range", "b to before d"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_shard_0_of_epoch_0_is_answered_for_and_by_every_call() {
    let folder = Folder::new();
    let node = NodeProcess::start(&folder, &[]);
    let mut kv = node.kv().await;
    let id = |length: usize| Some(v1::RequestId { client: vec![1; length].into(), sequence: 1 });
    let known = v1::RequestHeader { shard: 0, epoch: 0, request_id: id(16), ..v1::RequestHeader::default() };
    kv.put(v1::PutRequest { header: Some(known), ..put("key", "value") }).await.unwrap();
    let corpus = [
        (
            v1::RequestHeader { shard: 3, epoch: 0, request_id: None, ..v1::RequestHeader::default() },
            Code::FailedPrecondition,
            "shard 3",
        ),
        (
            v1::RequestHeader { shard: 0, epoch: 9, request_id: None, ..v1::RequestHeader::default() },
            Code::FailedPrecondition,
            "epoch 9",
        ),
        (
            v1::RequestHeader { shard: 0, epoch: 0, request_id: id(15), ..v1::RequestHeader::default() },
            Code::InvalidArgument,
            "15 bytes",
        ),
    ];
    for (header, code, says) in corpus {
        let header = Some(header);
        let refusals = [
            kv.get(v1::GetRequest { header: header.clone(), ..get("key") }).await.unwrap_err(),
            kv.batch_get(v1::BatchGetRequest { header: header.clone(), ..batch_get([b"key".to_vec()]) })
                .await
                .unwrap_err(),
            kv.put(v1::PutRequest { header: header.clone(), ..put("key", "lost") }).await.unwrap_err(),
            kv.delete(v1::DeleteRequest { header: header.clone(), ..delete("key") }).await.unwrap_err(),
            kv.write(v1::WriteRequest { header: header.clone(), ..batch(vec![delete_mutation("key")]) })
                .await
                .unwrap_err(),
            scan(&mut kv, v1::ScanRequest { header, ..v1::ScanRequest::default() }).await.unwrap_err(),
        ];
        for refused in refusals {
            assert_refused(refused, code, &[says]);
        }
    }
    assert_eq!(value(&mut kv, "key").await.unwrap(), b"value");
}
