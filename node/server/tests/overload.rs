//! Bounds in time and number: what does not fit is refused at once, what takes too long ends at its deadline.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use support::{Folder, NodeProcess, PATIENCE, batch, get, noise, put, put_mutation, value, within};
use thermocline_proto::v1;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::{Code, Request, Status};

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_finds_no_room_is_refused_at_once_and_served_when_there_is_some() {
    let folder = Folder::new();
    let (node, key) = support::slow_read(&folder, &["--max-running", "1", "--max-waiting", "1"]).await;
    let kv = node.kv().await;
    kv.clone().put(put("key", "value")).await.unwrap();
    let reading = |key: &'static str| {
        let mut kv = kv.clone();
        tokio::spawn(async move { kv.get(get(key)).await })
    };
    let running = reading(key);
    within("the slow read", || (node.metric("thermocline_admission_running{pool=\"requests\"}")? > 0.0).then_some(()));
    let waiting = reading("absent");
    within("the read behind it", || {
        (node.metric("thermocline_admission_waiting{pool=\"requests\"}")? > 0.0).then_some(())
    });
    let refused = kv.clone().put(put("key", "lost")).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("1 requests wait already; retry later"), "{refused}");
    assert!(!running.is_finished(), "it was refused while the read ran, not after it");
    assert_eq!(node.metric("thermocline_admission_refused_total{pool=\"requests\"}"), Some(1.0));
    // The control plane and the probes have room of their own.
    assert_eq!(node.http("/readyz").0, 200);
    node.admin().await.list_moves(v1::ListMovesRequest {}).await.unwrap();

    assert!(running.await.unwrap().unwrap().into_inner().record.is_some());
    assert!(waiting.await.unwrap().unwrap().into_inner().record.is_none());
    assert_eq!(value(&mut kv.clone(), "key").await.unwrap(), b"value");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_hold_too_many_bytes_together_are_refused() {
    let folder = Folder::new();
    let (node, key) = support::slow_read(&folder, &["--max-running", "1", "--max-request-mebibytes", "72"]).await;
    let kv = node.kv().await;
    let mut reader = kv.clone();
    let running = tokio::spawn(async move { reader.get(get(key)).await });
    within("the slow read", || (node.metric("thermocline_admission_running{pool=\"requests\"}")? > 0.0).then_some(()));
    // 40 MiB each: one has room beside the read, two have not.
    let half = || batch((0..5).map(|i| put_mutation(format!("large/{i}"), vec![0; 8 << 20])).collect());
    let mut writer = kv.clone();
    let waiting = tokio::spawn(async move { writer.write(half()).await });
    within("the batch behind it", || {
        (node.metric("thermocline_admission_waiting{pool=\"requests\"}")? > 0.0).then_some(())
    });
    let refused = kv.clone().write(half()).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("requests in hand may hold 75497472 bytes together"), "{refused}");
    running.await.unwrap().unwrap();
    waiting.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn scans_whose_readers_are_slow_keep_others_out_but_not_point_reads() {
    let folder = Folder::new();
    let node = NodeProcess::start(&folder, &["--max-scans", "1"]);
    let mut kv = node.kv().await;
    for i in 0..16_u64 {
        kv.put(put(format!("key/{i:02}"), noise(i, 1 << 20))).await.unwrap();
    }
    let mut slow = kv.scan(v1::ScanRequest::default()).await.unwrap().into_inner();
    let waiting_is = |count: f64| {
        within("the scan that waits", || {
            (node.metric("thermocline_admission_waiting{pool=\"scans\"}")? == count).then_some(())
        });
    };
    let mut patient = kv.clone();
    let waiting = tokio::spawn(async move { patient.scan(v1::ScanRequest::default()).await.map(|_| ()) });
    waiting_is(1.0);
    let refused = kv.scan(v1::ScanRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    assert!(value(&mut kv, "key/00").await.is_some());
    // A scan that waits gives its place back when its reader goes, and at its deadline.
    waiting.abort();
    waiting_is(0.0);
    let mut late = Request::new(v1::ScanRequest::default());
    late.set_timeout(Duration::from_millis(300));
    kv.scan(late).await.unwrap_err();
    waiting_is(0.0);
    within("the count of the late scan", || {
        node.metric("thermocline_requests_total{code=\"DEADLINE_EXCEEDED\",rpc=\"scan\"}").filter(|count| *count == 1.0)
    });
    let mut found = 0;
    while let Some(chunk) = slow.message().await.unwrap() {
        found += chunk.records.len();
    }
    assert_eq!(found, 16, "the slow scan is whole");
}

/// The first part of a message whose rest does not come.
struct Unfinished(Option<bytes::Bytes>);

impl http_body::Body for Unfinished {
    type Data = bytes::Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<bytes::Bytes>, Status>>> {
        self.0.take().map_or(Poll::Pending, |part| Poll::Ready(Some(Ok(http_body::Frame::data(part)))))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_arrives_is_bounded_before_it_is_a_request() {
    let folder = Folder::new();
    let node = NodeProcess::start(&folder, &["--max-request-mebibytes", "72"]);
    let half = || batch((0..5).map(|i| put_mutation(format!("large/{i}"), vec![0; 8 << 20])).collect());
    // The length of a message of 60 MiB, and 40 MiB of it.
    let mut part = vec![0, 3, 192, 0, 0];
    part.resize(40 << 20, 0);
    let request = http::Request::builder()
        .method("POST")
        .uri("/thermocline.v1.Kv/Write")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Body::new(Unfinished(Some(part.into()))))
        .unwrap();
    let [mut channel, _] = node.channels().await;
    std::future::poll_fn(|context| channel.poll_ready(context)).await.unwrap();
    let arriving = tokio::spawn(async move { channel.call(request).await.map(drop) });
    let mut kv = node.kv().await;
    let began = Instant::now();
    let refused = loop {
        match kv.write(half()).await {
            Err(refused) => break refused,
            Ok(_) => assert!(began.elapsed() < PATIENCE, "what arrives is not counted"),
        }
    };
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    assert!(!arriving.is_finished());
    arriving.abort();
    let began = Instant::now();
    while let Err(refused) = kv.write(half()).await {
        assert!(began.elapsed() < PATIENCE, "what no longer arrives is still counted: {refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_ends_at_its_deadline_and_the_node_says_why() {
    let folder = Folder::new();
    let (node, key) = support::slow_read(&folder, &["--max-running", "1"]).await;
    let mut kv = node.kv().await;
    let late = |timeout: Duration| {
        let mut request = Request::new(get(key));
        request.set_timeout(timeout);
        request
    };
    let began = Instant::now();
    // The first while it runs, the second while it waits for the first, which goes on without its client.
    for _ in 0..2 {
        let expired = kv.get(late(Duration::from_millis(400))).await.unwrap_err();
        // On a busy machine the client's own clock may come first; it says CANCELLED.
        assert!(matches!(expired.code(), Code::DeadlineExceeded | Code::Cancelled), "{expired}");
    }
    let expired_after = began.elapsed();
    within("the count of the late reads", || {
        // By whichever clock came first, as above.
        let ended = |code: &str| {
            node.metric(&format!("thermocline_requests_total{{code=\"{code}\",rpc=\"get\"}}")).unwrap_or_default()
        };
        (ended("DEADLINE_EXCEEDED") + ended("CANCELLED") == 2.0).then_some(())
    });
    assert!(kv.get(late(PATIENCE)).await.unwrap().into_inner().record.is_some(), "with time enough it is answered");
    assert!(began.elapsed() > expired_after);
}
