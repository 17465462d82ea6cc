//! Three nodes of one world: data replicas on the first two, witnesses on the third.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use thermocline_client::{Client, Endpoints, NodeEndpoint, Options};

use crate::{
    node::Node,
    world::{Shard, World},
};

pub struct Cluster {
    pub world: Arc<Mutex<World>>,
    nodes: Vec<Node>,
}

impl Cluster {
    /// One shard, led by the first node.
    pub async fn start() -> Self {
        Self::of([Shard::new(1, "", "", 1)]).await
    }

    /// Shards "a" to "m" and from "m" on, led by the first and the second node.
    pub async fn halves() -> Self {
        Self::of([Shard::new(1, "", "m", 1), Shard::new(2, "m", "", 2)]).await
    }

    pub async fn of(shards: impl IntoIterator<Item = Shard>) -> Self {
        let world = Arc::new(Mutex::new(World { page: 64, ..World::default() }));
        let mut nodes = Vec::new();
        for number in 1..=3 {
            let node = Node::start(number, &world).await;
            world.lock().unwrap().addresses.insert(number, node.address.clone());
            nodes.push(node);
        }
        world.lock().unwrap().shards.extend(shards);
        Self { world, nodes }
    }

    /// A node by its number, from 1 on.
    pub fn node(&self, number: u64) -> &Node {
        &self.nodes[number as usize - 1]
    }

    pub fn change(&self, change: impl FnOnce(&mut World)) {
        change(&mut self.world.lock().unwrap());
    }

    pub fn applied(&self) -> u64 {
        self.world.lock().unwrap().applied
    }

    /// A client that is told of the first node alone.
    pub async fn client(&self) -> Client {
        self.client_with(options()).await
    }

    pub async fn client_with(&self, options: Options) -> Client {
        Client::connect(self.endpoints([1]), options).await.unwrap()
    }

    pub fn endpoints(&self, numbers: impl IntoIterator<Item = u64>) -> Endpoints {
        let nodes = numbers.into_iter().map(|number| endpoint(&format!("node-{number}"), &self.node(number).address));
        Endpoints::new(None, nodes.collect()).unwrap()
    }
}

pub fn endpoint(name: &str, kv: &str) -> NodeEndpoint {
    NodeEndpoint { name: name.to_owned(), kv: kv.to_owned(), admin: "127.0.0.1:1".to_owned(), http: None, range: None }
}

/// An address where nobody listens.
pub async fn nobody() -> String {
    tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string()
}

/// Short pauses, a generous deadline.
pub fn options() -> Options {
    Options {
        timeout: Duration::from_secs(30),
        min_backoff: Duration::from_millis(1),
        max_backoff: Duration::from_millis(5),
        jitter_seed: 1,
        client_id: [7; 16].into(),
        ..Options::default()
    }
}

/// A client that would have to pause is out of time at once: what goes well with it was sent at once.
pub fn without_pauses() -> Options {
    Options { min_backoff: Duration::from_secs(60), max_backoff: Duration::from_secs(60), ..options() }
}
