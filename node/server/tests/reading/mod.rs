//! Reads of nodes that do not lead, and of such that were paused.

use std::time::Duration;

use rustix::process::Signal;
use thermocline_proto::v1;
use thermocline_proto::v1::Consistency::{Follower, Leader, Stale};
use tonic::{Code, Status};

use super::FIRST;
use super::cluster::{self, TestCluster, misrouted, read_of, until, value};

const LEADER: usize = 0;
const FOLLOWER: usize = 1;
const WITNESS: usize = 2;

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;

/// A cluster whose shard is led by the first node and followed by the second.
async fn led() -> TestCluster {
    let cluster = TestCluster::grown(&["a", "b", "c"]).await;
    cluster.put(LEADER, "key", "before").await;
    if cluster.leader(FIRST).await != LEADER {
        cluster.transfer(FIRST, LEADER).await;
    }
    cluster.settled(FIRST).await;
    cluster
}

/// Refused, and the client is told where else to ask.
fn refuses(answer: Result<v1::GetResponse, Status>) {
    let refused = answer.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    assert!(misrouted(&refused).is_some_and(|misrouted| misrouted.shards[0].shard == FIRST), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_answers_reads_that_let_it_and_refuses_what_it_is_too_old_for() {
    let cluster = led().await;
    cluster.put(LEADER, "key", "after").await;
    let follower = async |consistency, most| cluster.read(FOLLOWER, "key", consistency, most).await;
    let exact = until("the follower answers", async || follower(Follower, 0).await.ok()).await;
    assert_eq!(exact.staleness_ms, 0);
    assert_eq!(value(exact).as_deref(), Some("after"));
    let stale = until("the follower answers", async || follower(Stale, MINUTE).await.ok()).await;
    assert!((1..=MINUTE).contains(&stale.staleness_ms), "{stale:?}");
    assert_eq!(value(stale).as_deref(), Some("after"));

    // It hears nobody: neither who leads nor whoever could vote for it.
    for node in [LEADER, WITNESS] {
        cluster.signal(node, Signal::STOP);
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let old = follower(Stale, HOUR).await.unwrap();
    assert!(old.staleness_ms >= 3000, "{old:?}");
    assert_eq!(value(old).as_deref(), Some("after"));
    refuses(follower(Stale, 2000).await);
    refuses(follower(Follower, 0).await);
    for node in [LEADER, WITNESS] {
        cluster.signal(node, Signal::CONT);
    }
    until("the follower hears of a leader again", async || follower(Stale, 2000).await.ok()).await;
    cluster.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_was_paused_does_not_take_its_state_for_a_new_one() {
    let cluster = led().await;
    for round in 0..3 {
        let (before, after) = (format!("before {round}"), format!("after {round}"));
        cluster.put(LEADER, "key", &before).await;
        let fresh = async || cluster.read(FOLLOWER, "key", Stale, 1).await.ok();
        let fresh = until("the follower has the newest", fresh).await;
        assert_eq!(value(fresh).as_deref(), Some(before.as_str()));
        let mut kv = cluster.kv(FOLLOWER).await;
        cluster.signal(FOLLOWER, Signal::STOP);
        cluster.put(LEADER, "key", &after).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        // Waits for it in its socket, before anything that the leader says arrives.
        let asked = tokio::spawn(async move { read_of(&mut kv, "key", Stale, 2000).await });
        tokio::time::sleep(Duration::from_millis(200)).await;
        cluster.signal(FOLLOWER, Signal::CONT);
        match asked.await.unwrap() {
            Ok(answer) => assert_eq!(value(answer).as_deref(), Some(after.as_str()), "it was written 3 s before"),
            Err(status) => assert_eq!(status.code(), Code::Unavailable, "{status:?}"),
        }
    }
    cluster.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_data_sends_such_a_read_on_and_what_says_two_things_at_once_is_refused() {
    let cluster = led().await;
    for (consistency, most) in [(Leader, 0), (Follower, 0), (Stale, MINUTE)] {
        let read = async || cluster.read(WITNESS, "key", consistency, most).await.ok();
        let answer = cluster::until("it is answered", read).await;
        assert_eq!(value(answer).as_deref(), Some("before"), "{consistency:?}");
    }
    for (consistency, most, why) in [
        (Stale, 0, "with STALE it is from 1 to 3600000"),
        (Stale, HOUR + 1, "with STALE it is from 1 to 3600000"),
        (Leader, 5, "it is said with STALE alone"),
        (Follower, 5, "it is said with STALE alone"),
    ] {
        let refused = cluster.read(FOLLOWER, "key", consistency, most).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().contains(why), "{refused:?}");
    }
    cluster.stop();
}
