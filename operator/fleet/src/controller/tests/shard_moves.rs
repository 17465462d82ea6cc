//! Moves between nodes, over supervisors that come and go.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use thermocline_crds::{Kind, Object};
use thermocline_proto::v1;
use tokio::time::Instant;

use super::memory_home::MemoryHome;
use super::played_node::PlayedNode;
use super::{CLUSTER, Controller, HOT, PATIENCE};
use crate::desired;
use crate::home::Home;
use crate::revision::Memory;

const POOL: &str = "{apiVersion: thermocline.dev/v1alpha1, kind: StoragePool, metadata: {name: main}, spec: {cluster: demo, replicas: 2, replication: {data: 1, witness: false}, tiers: [{name: hot}]}}";
const MOVE: &str = "{apiVersion: thermocline.dev/v1alpha1, kind: Migration, metadata: {name: m}, spec: {cluster: demo, kind: MoveReplica, shard: 1, from: main-0, to: main-1}}";

/// Two nodes, the first of which has the index of shards and the users' shard.
struct Scene {
    home: Arc<MemoryHome>,
    nodes: [PlayedNode; 2],
}

fn shard(number: u64, members: &[(u64, u64)]) -> v1::ShardStatus {
    let member = |(replica, node): &(u64, u64)| v1::MemberStatus {
        replica: *replica,
        node: *node,
        witness: false,
        votes: true,
        lag: Some(0),
    };
    let edge = |at: u64| vec![u8::try_from(at).unwrap() + b'a'].into();
    v1::ShardStatus {
        shard: number,
        epoch: 1,
        start: edge(number),
        end: edge(number + 1),
        replica: members[0].0,
        leads: true,
        leader: members[0].1,
        term: 1,
        members: members.iter().map(member).collect(),
        ..v1::ShardStatus::default()
    }
}

impl Scene {
    async fn new() -> Self {
        let home = Arc::new(MemoryHome::default());
        for (text, uid) in [(CLUSTER, "c"), (HOT, "h"), (POOL, "p"), (MOVE, "move")] {
            home.0.lock().apply(text, uid);
        }
        let nodes = [PlayedNode::start("main-0").await, PlayedNode::start("main-1").await];
        let desired = desired::desired(&home.0.lock().objects, home.placement(), &mut Memory::default());
        for (number, node) in (1..).zip(&nodes) {
            home.0.lock().runs_at(node.name, &desired.nodes[node.name].run.fingerprint, node.address);
            node.played.lock().node_id = number;
        }
        nodes[0].played.lock().shards = vec![shard(0, &[(1, 1)]), shard(1, &[(10, 1)])];
        Self { home, nodes }
    }

    /// Rounds of one supervisor until something is so, and a few more; then it is gone.
    async fn supervisor(&self, rounds: usize, so: impl Fn(&Self) -> bool) {
        let mut controller = Controller::new(Arc::clone(&self.home), || Timestamp::UNIX_EPOCH).await.unwrap();
        let begun = Instant::now();
        while !so(self) {
            assert!(begun.elapsed() < PATIENCE, "not so after {PATIENCE:?}: {:?}", self.phase());
            controller.round().await.unwrap();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        for _ in 0..rounds {
            controller.round().await.unwrap();
        }
    }

    fn phase(&self) -> Option<String> {
        let held = self.home.0.lock();
        let migration = held.objects.iter().find(|object| object.kind() == Kind::Migration).map(Object::to_json);
        Some(migration?.unwrap()["status"]["phase"].as_str()?.to_owned())
    }

    fn is(&self, phase: &str) -> bool {
        self.phase().as_deref() == Some(phase)
    }

    fn begun(&self) -> Vec<u64> {
        self.nodes[0].played.lock().begun.clone()
    }

    /// What the leader does next: the job ends, and the copy goes.
    fn ends(&self, outcome: &str) {
        let mut leader = self.nodes[0].played.lock();
        let mut job = leader.shards[1].job.take().unwrap();
        job.outcome = outcome.to_owned();
        if outcome == "Cancelled" {
            leader.shards[1].ended.push(job);
            return;
        }
        leader.shards.truncate(1);
        let mut moved = shard(1, &[(11, 2)]);
        moved.ended.push(job);
        self.nodes[1].played.lock().shards = vec![moved];
    }
}

#[tokio::test]
async fn a_supervisor_that_is_gone_at_any_step_is_followed_by_one_that_goes_on_with_the_same_job() {
    for rounds in 0..3 {
        let scene = Scene::new().await;
        // One is gone when its object says that it has begun, one when the leader was asked, one when it shows.
        scene.supervisor(rounds, |scene| scene.is("Running")).await;
        scene.supervisor(rounds, |scene| !scene.begun().is_empty()).await;
        scene.supervisor(rounds, |scene| !scene.begun().is_empty()).await;
        scene.supervisor(rounds, |scene| scene.nodes[0].played.lock().shards[1].job.is_some()).await;
        scene.ends("Done");
        scene.supervisor(rounds, |scene| scene.is("Completed")).await;
        let jobs: BTreeSet<u64> = scene.begun().into_iter().collect();
        assert_eq!(jobs.len(), 1, "{:?}", scene.begun());
        scene.supervisor(3, |scene| scene.home.0.lock().memory.shard_jobs.is_empty()).await;
    }
}

#[tokio::test]
async fn a_move_that_is_deleted_while_nobody_supervises_is_cancelled_by_the_next_one() {
    let scene = Scene::new().await;
    scene.supervisor(0, |scene| scene.nodes[0].played.lock().shards[1].job.is_some()).await;
    scene.home.0.lock().delete(Kind::Migration, "m");
    scene.supervisor(0, |scene| scene.nodes[0].played.lock().shards[1].job.as_ref().unwrap().cancelled).await;
    scene.ends("Cancelled");
    scene.supervisor(0, |scene| scene.home.0.lock().memory.shard_jobs.is_empty()).await;
    assert_eq!(scene.begun().into_iter().collect::<BTreeSet<_>>().len(), 1);
}
