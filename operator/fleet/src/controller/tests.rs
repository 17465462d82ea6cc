//! Rounds over a home in memory and nodes that are played.

mod memory_home;
mod played_node;
mod shard_moves;

use std::net::SocketAddr;

use thermocline_crds::Object;

use super::*;
use memory_home::MemoryHome;
use played_node::PlayedNode;

/// Generous: machines that run tests are busy.
const PATIENCE: Duration = Duration::from_secs(60);
const CLUSTER: &str =
    "{apiVersion: thermocline.dev/v1alpha1, kind: StorageCluster, metadata: {name: demo}, spec: {version: 0.1.0}}";
const HOT: &str = "{apiVersion: thermocline.dev/v1alpha1, kind: StorageTier, metadata: {name: hot}, spec: {cluster: demo, rank: 0, medium: NVMe, size: 1Gi}}";
const COLD: &str = "{apiVersion: thermocline.dev/v1alpha1, kind: StorageTier, metadata: {name: cold}, spec: {cluster: demo, rank: 9, medium: HDD, size: 1Gi}}";
const POOL: &str = "{apiVersion: thermocline.dev/v1alpha1, kind: StoragePool, metadata: {name: main}, spec: {cluster: demo, replicas: 1, tiers: [{name: hot}, {name: cold}]}}";

fn migration(to: &str) -> String {
    format!(
        "{{apiVersion: thermocline.dev/v1alpha1, kind: Migration, metadata: {{name: m}}, spec: {{cluster: demo, kind: ChangeTier, range: {{prefix: logs/}}, toTier: {to}}}}}"
    )
}

struct Scene {
    home: Arc<MemoryHome>,
    controller: Controller<MemoryHome>,
}

impl Scene {
    /// A pool of one node with these moves in memory, and a controller that has just begun.
    async fn new(memory: Memory) -> Self {
        let home = Arc::new(MemoryHome::default());
        for (text, uid) in [(CLUSTER, "c"), (HOT, "h"), (COLD, "k"), (POOL, "p")] {
            home.0.lock().apply(text, uid);
        }
        home.0.lock().memory = memory;
        let controller = Controller::new(Arc::clone(&home), || Timestamp::UNIX_EPOCH).await.unwrap();
        Self { home, controller }
    }

    /// What the node should be run with.
    fn declared(&self) -> NodeRun {
        let desired = desired::desired(&self.home.0.lock().objects, self.home.placement(), &mut Memory::default());
        desired.nodes["main-0"].run.clone()
    }

    /// The node runs as declared, but for where it listens.
    fn node_runs_at(&self, address: SocketAddr) {
        let fingerprint = self.declared().fingerprint;
        self.home.0.lock().runs_at("main-0", &fingerprint, address);
    }

    async fn until(&mut self, what: &str, so: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !so(self) {
            assert!(begun.elapsed() < PATIENCE, "not so after {PATIENCE:?}: {what}");
            self.controller.round().await.unwrap();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn phase(&self) -> String {
        let held = self.home.0.lock();
        let migration = held.objects.iter().find(|object| object.kind() == Kind::Migration).map(Object::to_json);
        migration.unwrap().unwrap()["status"]["phase"].as_str().unwrap_or_default().to_owned()
    }
}

fn remembered(uid: &str, id: u64) -> Memory {
    Memory { moves: [(uid.to_owned(), [("main-0".to_owned(), id)].into())].into(), ..Memory::default() }
}

#[tokio::test]
async fn nodes_are_heard_and_published_where_they_listen_and_not_where_they_are_declared_to() {
    let (mut scene, node) = (Scene::new(Memory::default()).await, PlayedNode::start("main-0").await);
    scene.node_runs_at(node.address);
    let begun = Instant::now();
    while scene.controller.round().await.unwrap().serving == 0 {
        assert!(begun.elapsed() < PATIENCE, "the node is not heard");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let published = scene.home.0.lock().published.clone();
    let [runs] = published.as_slice() else { panic!("written once: {published:?}") };
    assert_eq!(runs[0].config.listen.admin, node.address);
    let ended = Presence::Absent { ended: None };
    scene.home.0.lock().observed.insert("main-0".to_owned(), Observed { presence: ended, restarts: 0, listen: None });
    scene.controller.round().await.unwrap();
    let published = scene.home.0.lock().published.clone();
    assert_eq!(published.last().unwrap(), &[scene.declared()], "there it is run next");
}

#[tokio::test]
async fn while_the_cluster_is_paused_clients_find_nodes_where_they_found_them() {
    let mut scene = Scene::new(Memory::default()).await;
    scene.controller.round().await.unwrap();
    let paused = CLUSTER.replace("0.1.0", "0.1.0, pause: true, listeners: {kv: 9001, admin: 9002, http: 9003}");
    scene.home.0.lock().apply(&paused, "c");
    scene.controller.round().await.unwrap();
    scene.home.0.lock().delete(Kind::StoragePool, "main");
    scene.controller.round().await.unwrap();
    let held = scene.home.0.lock();
    assert_eq!((held.published.len(), held.forgotten.len(), held.prepared.len()), (1, 0, 1));
}

#[tokio::test]
async fn nodes_of_a_pool_whose_tier_is_missing_for_a_while_are_neither_stopped_nor_forgotten() {
    let mut scene = Scene::new(Memory::default()).await;
    scene.node_runs_at(SocketAddr::from(([127, 255, 255, 254], 9)));
    scene.controller.round().await.unwrap();
    scene.home.0.lock().delete(Kind::StorageTier, "cold");
    scene.controller.round().await.unwrap();
    {
        let held = scene.home.0.lock();
        assert_eq!((held.stopped.as_slice(), held.forgotten.len(), held.published.len()), ([].as_slice(), 0, 1));
    }
    scene.home.0.lock().delete(Kind::StoragePool, "main");
    scene.controller.round().await.unwrap();
    let held = scene.home.0.lock();
    assert_eq!(
        (held.stopped.as_slice(), held.forgotten.as_slice()),
        (["main-0".to_owned()].as_slice(), ["main-0".to_owned()].as_slice())
    );
    assert_eq!(held.published.last().map(Vec::len), Some(0));
}

#[tokio::test]
async fn a_node_that_ends_before_its_tier_is_empty_is_run_with_the_tier() {
    let mut scene = Scene::new(Memory::default()).await;
    let before = scene.declared();
    {
        let mut held = scene.home.0.lock();
        let node = "{apiVersion: thermocline.dev/v1alpha1, kind: StorageNode, metadata: {name: main-0}, spec: {cluster: demo, pool: main, range: {start: '', end: ''}}, status: {tiers: [{name: cold, capacityBytes: 9, usedBytes: 1, keys: 7}]}}";
        held.objects.push(Object::from_yaml(node).unwrap());
        held.kept.insert("main-0".to_owned(), before.config.clone());
        held.apply(&POOL.replace(", {name: cold}", ""), "p");
    }
    scene.controller.round().await.unwrap();
    let held = scene.home.0.lock();
    assert_eq!(held.run, [before]);
    assert_eq!(held.prepared, [], "what it is run with next time has the tier too");
}

#[tokio::test]
async fn a_migration_that_comes_again_under_its_name_is_another_one() {
    let (mut scene, node) = (Scene::new(Memory::default()).await, PlayedNode::start("main-0").await);
    scene.node_runs_at(node.address);
    scene.home.0.lock().apply(&migration("cold"), "first");
    scene.until("it runs", |scene| scene.home.0.lock().memory.moves.contains_key("first")).await;
    // Deleted and applied between two rounds.
    scene.home.0.lock().apply(&migration("hot"), "second");
    scene.until("the other one runs", |scene| scene.home.0.lock().memory.moves.contains_key("second")).await;
    scene.until("the first has ended", |scene| scene.home.0.lock().memory.moves.len() == 1).await;
    let mut asked = node.asked();
    asked.sort();
    // It is asked again in every round until it has ended.
    asked.dedup();
    assert_eq!(asked, ["end 1", "move to cold", "move to hot"]);
    assert_eq!(scene.phase(), "Running");
}

#[tokio::test]
async fn a_move_whose_migration_was_deleted_while_nobody_supervised_is_ended_when_its_node_lets_it() {
    let (mut scene, node) = (Scene::new(remembered("gone", 7)).await, PlayedNode::start("main-0").await);
    scene.node_runs_at(node.address);
    node.played.lock().refuses_cancel = true;
    scene.until("the node is heard", |scene| scene.controller.watches.heard_at("main-0").is_some()).await;
    for _ in 0..3 {
        scene.controller.round().await.unwrap();
        assert_eq!(scene.home.0.lock().memory.moves, remembered("gone", 7).moves, "it is not forgotten");
    }
    node.played.lock().refuses_cancel = false;
    scene.until("it is forgotten", |scene| scene.home.0.lock().memory.moves.is_empty()).await;
    assert_eq!(node.asked(), ["end 7"]);
}

#[tokio::test]
async fn moves_are_ended_beside_each_other_and_none_waits_for_the_answer_about_another() {
    let (mut scene, node) = (Scene::new(Memory::default()).await, PlayedNode::start("main-0").await);
    scene.node_runs_at(node.address);
    for name in ["a", "b", "c"] {
        scene.home.0.lock().apply(&migration("cold").replace("name: m", &format!("name: {name}")), name);
    }
    scene.until("all run", |scene| scene.home.0.lock().memory.moves.len() == 3).await;
    // None is answered before all are asked.
    node.played.lock().cancels_meet = Some(Arc::new(tokio::sync::Barrier::new(3)));
    for name in ["a", "b", "c"] {
        scene.home.0.lock().delete(Kind::Migration, name);
    }
    scene.controller.round().await.unwrap();
    let ended = |asked: Vec<String>| asked.iter().filter(|one| one.starts_with("end")).count();
    assert_eq!(ended(node.asked()), 3, "of migrations that were deleted");

    let moves = ["d", "e", "f"].map(|uid| (uid.to_owned(), [("main-0".to_owned(), 7)].into()));
    let left = Memory { moves: moves.into(), ..Memory::default() };
    let mut scene = Scene::new(left).await;
    scene.node_runs_at(node.address);
    scene.until("the node is heard", |scene| scene.controller.watches.heard_at("main-0").is_some()).await;
    scene.controller.round().await.unwrap();
    assert_eq!(ended(node.asked()), 6, "of an earlier supervisor");
}

#[tokio::test]
async fn a_move_that_an_earlier_supervisor_began_is_ended_before_it_is_begun_again() {
    let (mut scene, node) = (Scene::new(remembered("uid", 7)).await, PlayedNode::start("main-0").await);
    scene.node_runs_at(node.address);
    scene.home.0.lock().apply(&migration("cold"), "uid");
    node.played.lock().refuses_cancel = true;
    scene.until("the node is heard", |scene| scene.controller.watches.heard_at("main-0").is_some()).await;
    for _ in 0..3 {
        scene.controller.round().await.unwrap();
    }
    assert_eq!(node.asked(), Vec::<String>::new(), "no second one beside it");
    node.played.lock().refuses_cancel = false;
    scene.until("it runs", |_| node.asked().len() == 2).await;
    assert_eq!(node.asked(), ["end 7", "move to cold"]);
}

#[tokio::test]
async fn a_move_whose_stream_broke_is_ended_before_it_is_begun_again() {
    let (mut scene, node) = (Scene::new(Memory::default()).await, PlayedNode::start("main-0").await);
    scene.node_runs_at(node.address);
    scene.home.0.lock().apply(&migration("cold"), "uid");
    scene.until("it runs", |scene| !scene.home.0.lock().memory.moves.is_empty()).await;
    node.break_streams();
    scene.until("it runs again", |_| node.asked().len() == 3).await;
    assert_eq!(node.asked(), ["move to cold", "end 1", "move to cold"]);
}

#[tokio::test]
async fn moves_of_a_node_that_does_not_run_have_ended_with_it() {
    let mut scene = Scene::new(remembered("gone", 7)).await;
    scene.controller.round().await.unwrap();
    assert!(scene.home.0.lock().memory.moves.is_empty());
}
