//! Writes that may have been applied, and how many are under way at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use thermocline_client::{Batch, Client, Error, ErrorKind, Options};
use tonic::Code;

use crate::{
    cluster::{Cluster, options},
    node::{Arrived, Fault},
};

/// Numbers and retry flags of what arrived.
fn names(arrived: &[Arrived]) -> Vec<(u64, bool)> {
    let name = |arrived: &Arrived| (arrived.header.request_id.as_ref().unwrap().sequence, arrived.header.retry);
    arrived.iter().map(name).collect()
}

/// One that the shard knows already: of one that it does not, it cannot tell a retry.
async fn known_client(cluster: &Cluster, options: Options) -> Client {
    let client = cluster.client_with(options).await;
    client.put("first", "0").await.unwrap();
    client
}

#[tokio::test]
async fn a_write_whose_acknowledgement_is_lost_is_sent_again_as_a_retry_and_applied_once() {
    for fault in [Fault::DoAndBreak, Fault::DoAndFail(Code::Unavailable), Fault::DoAndFail(Code::DeadlineExceeded)] {
        let cluster = Cluster::start().await;
        let client = known_client(&cluster, options()).await;
        cluster.node(1).fault(fault.clone());
        client.put("a", "1").await.unwrap();
        // The second node was asked too, and pointed to the first.
        assert_eq!(names(&cluster.node(1).arrived()), [(1, false), (2, false), (2, true)], "{fault:?}");
        assert_eq!(cluster.applied(), 2, "{fault:?}");
    }
}

#[tokio::test]
async fn a_write_whose_connection_broke_before_it_was_done_is_applied_by_its_retry() {
    let cluster = Cluster::start().await;
    let client = known_client(&cluster, options()).await;
    cluster.node(1).fault(Fault::Break);
    client.put("a", "1").await.unwrap();
    assert_eq!(names(&cluster.node(1).arrived()), [(1, false), (2, false), (2, true)]);
    assert_eq!(cluster.applied(), 2);
}

#[tokio::test]
async fn a_conditional_write_that_is_sent_again_is_told_what_came_of_the_first_sending() {
    let cluster = Cluster::start().await;
    let client = known_client(&cluster, options()).await;
    cluster.node(1).fault(Fault::DoAndBreak);
    let version = client.write(Batch::new().put("a", "1").when_absent("a")).await.unwrap();
    assert_eq!(version, 2, "not that its own first sending made the condition fail");
}

#[tokio::test]
async fn a_leader_that_hangs_does_not_use_up_the_time_of_a_call() {
    let cluster = Cluster::start().await;
    let client = known_client(&cluster, Options { attempt_timeout: Duration::from_millis(100), ..options() }).await;
    cluster.node(1).always(Fault::Hang);
    cluster.node(1).state.lock().unwrap().silent = true;
    cluster.change(|world| world.shard(1).leader = Some(2));
    client.put("a", "1").await.unwrap();
    assert_eq!(names(&cluster.node(2).arrived()), [(2, true)], "the one that hangs may do it yet");
}

#[tokio::test]
async fn a_read_that_takes_longer_than_an_attempt_is_given_more_time() {
    let cluster = Cluster::start().await;
    let client = cluster.client_with(Options { attempt_timeout: Duration::from_millis(20), ..options() }).await;
    for _ in 0..4 {
        cluster.node(1).fault(Fault::Hang);
    }
    assert_eq!(client.get("a").await.unwrap(), None);
}

#[tokio::test]
async fn once_one_sending_may_have_been_applied_all_later_ones_are_retries() {
    let cluster = Cluster::start().await;
    let client = known_client(&cluster, options()).await;
    cluster.node(1).fault(Fault::DoAndFail(Code::Unavailable));
    cluster.node(1).fault(Fault::PointTo(2));
    cluster.node(1).fault(Fault::Refuse(Code::ResourceExhausted));
    client.put("a", "1").await.unwrap();
    let (first, second) = (names(&cluster.node(1).arrived()), names(&cluster.node(2).arrived()));
    assert_eq!(first[..2], [(1, false), (2, false)]);
    assert!(
        first.len() >= 4 && first[2..].iter().chain(&second).all(|name| *name == (2, true)),
        "{first:?} {second:?}"
    );
    assert_eq!(cluster.applied(), 2);
}

#[tokio::test]
async fn a_session_that_has_expired_leaves_the_outcome_unknown() {
    let cluster = Cluster::start().await;
    // The shard does not know this client, and the sending that it would have known it by is lost.
    let client = cluster.client().await;
    cluster.node(1).fault(Fault::Break);
    let error = client.put("a", "1").await.unwrap_err();
    assert!(
        matches!(&error, Error::OutcomeUnknown { source: Some(source), .. } if source.code() == Code::Aborted),
        "{error}"
    );
    assert_eq!(cluster.applied(), 0);
}

#[tokio::test]
async fn a_refusal_after_a_sending_that_may_have_been_applied_leaves_the_outcome_unknown() {
    let cluster = Cluster::start().await;
    let client = known_client(&cluster, options()).await;
    cluster.node(1).fault(Fault::Refuse(Code::FailedPrecondition));
    let error = client.put("a", "1").await.unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "nothing was changed: {error}");
    cluster.node(1).fault(Fault::DoAndFail(Code::Unavailable));
    cluster.node(1).fault(Fault::Refuse(Code::FailedPrecondition));
    let error = client.put("a", "1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error}");
}

#[tokio::test]
async fn a_batch_that_may_have_been_applied_before_its_shard_split_has_an_unknown_outcome() {
    let cluster = Cluster::start().await;
    let client = known_client(&cluster, options()).await;
    cluster.node(1).fault(Fault::DoAndFail(Code::Unavailable));
    cluster.node(1).fault(Fault::Meanwhile(|world| world.split(1, "m", 9)));
    let error = client.write(Batch::new().put("a", "1").put("z", "1")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "not that it was refused: {error}");
}

#[tokio::test]
async fn a_deadline_leaves_a_write_unknown_only_if_a_sending_may_have_been_applied() {
    let cluster = Cluster::start().await;
    let client = known_client(&cluster, Options { attempt_timeout: Duration::from_millis(50), ..options() }).await;
    let hasty = client.with_timeout(Duration::from_millis(300));
    cluster.node(1).always(Fault::DoAndHang);
    let error = hasty.put("a", "1").await.unwrap_err();
    assert!(matches!(error, Error::OutcomeUnknown { .. }), "{error}");
    let read = hasty.get("a").await.unwrap_err();
    assert!(matches!(read, Error::Deadline { .. }), "{read}");
    cluster.node(1).always(Fault::Refuse(Code::ResourceExhausted));
    let error = hasty.put("b", "1").await.unwrap_err();
    assert!(matches!(error, Error::Deadline { .. }) && error.kind() == ErrorKind::Unavailable, "{error}");
}

#[tokio::test]
async fn many_writes_at_once_go_under_few_ids_with_at_most_32_under_way_each() {
    let cluster = Cluster::start().await;
    let client = cluster.client_with(Options { lanes: 2, ..options() }).await;
    let writes = (0..300).map(|number| client.put(format!("key-{number}"), "1"));
    for written in futures::future::join_all(writes).await {
        written.unwrap();
    }
    assert_eq!(cluster.applied(), 300);
    let mut by_client: BTreeMap<Bytes, BTreeSet<u64>> = BTreeMap::new();
    for arrived in cluster.node(1).arrived() {
        let id = arrived.header.request_id.unwrap();
        assert!(by_client.entry(id.client).or_default().insert(id.sequence), "each was sent once");
    }
    assert_eq!(by_client.len(), 2);
    assert!(cluster.node(1).state.lock().unwrap().under_way.1 <= 64);
}

#[tokio::test]
async fn more_writes_than_there_is_room_for_wait_until_their_deadline() {
    let cluster = Cluster::start().await;
    let client = known_client(&cluster, Options { lanes: 1, ..options() }).await;
    cluster.node(1).always(Fault::Hang);
    let hanging = futures::future::join_all((0..32).map(|_| client.put("a", "1")));
    let hasty = client.with_timeout(Duration::from_millis(300));
    let one_more = async {
        let all_there = async {
            while cluster.node(1).state.lock().unwrap().under_way.0 < 32 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), all_there).await.unwrap();
        hasty.put("b", "1").await
    };
    tokio::select! {
        _ = hanging => panic!("they hang"),
        refused = one_more => {
            let error = refused.unwrap_err();
            assert!(matches!(error, Error::Crowded { writes: 32, .. }), "{error}");
        }
    }
    // Writes that nobody waits for any more give their places back.
    cluster.node(1).state.lock().unwrap().always = None;
    client.put("c", "1").await.unwrap();
}
