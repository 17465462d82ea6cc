//! What the library underneath gets wrong in careless hands, where no other test shows it.

use std::time::Duration;

use super::{ONE, SHARD, TWO, grown};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_cut_off_does_not_raise_its_term() {
    let fleet = grown().await;
    let leader = fleet.leader(SHARD).await.0;
    let other = if leader == ONE { TWO } else { ONE };
    fleet.settled(SHARD).await;
    let alone = fleet.host(other).of_shard(SHARD).unwrap();
    fleet.cut(other);
    let before = alone.replica().term();
    // Several elections long. Without a vote before the vote it would come back with a higher term and end the leader's.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(alone.replica().term(), before);
    fleet.join(other);
    fleet.put("after").await;
    fleet.stop().await;
}
