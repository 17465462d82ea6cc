//! Finding the other nodes: each tells who and where it is and is told of those that are known, now and then, so that every
//! node hears of every other and of where the meta group is.

use std::sync::Arc;
use std::time::Duration;

use thermocline_proto::replica::v1 as wire;
use thermocline_shard::{NodeId, ShardId};
use tokio_util::sync::CancellationToken;

use super::NodeHost;
use super::book::{Book, entry, message};
use super::lines::Lines;
use super::rtt::RoundTrips;

/// Between two greetings of all nodes.
const EVERY: Duration = Duration::from_secs(2);
/// Until a first other node is known.
const EAGER: Duration = Duration::from_millis(200);
/// A node that is silent so long is greeted again the next time.
const PATIENCE: Duration = Duration::from_secs(2);

/// Greets until the token is cancelled.
pub async fn greet(
    host: Arc<NodeHost>,
    book: Arc<Book>,
    lines: Lines,
    seeds: Vec<String>,
    trips: Arc<RoundTrips>,
    stop: CancellationToken,
) {
    while !stop.is_cancelled() {
        note_meta(&host, &book);
        let me = book.me().0;
        let others: Vec<_> = book.nodes().into_iter().filter(|node| node.node != me).collect();
        let known: Vec<String> = others.iter().map(|node| node.peer.clone()).collect();
        let strangers = seeds.iter().filter(|seed| !known.contains(seed));
        let calls = others.iter().map(|node| (Some(NodeId(node.node)), node.peer.clone()));
        let calls = calls.chain(strangers.map(|seed| (None, seed.clone())));
        let greetings = calls.map(|(node, address)| greet_one(&book, &lines, &trips, node, address));
        futures::future::join_all(greetings).await;
        let pause = if others.is_empty() && !seeds.is_empty() { EAGER } else { EVERY };
        stop.run_until_cancelled(tokio::time::sleep(pause)).await;
    }
}

/// What this node knows of the meta group at first hand.
fn note_meta(host: &NodeHost, book: &Book) {
    let Some(meta) = host.of_shard(ShardId::META) else { return };
    let group = meta.replica().group();
    if !group.votes(meta.replica().id()) {
        return;
    }
    let members = group.members.iter().map(|(id, member)| wire::Member {
        replica: id.0,
        node: member.node.0,
        role: wire::Role::from(member.role).into(),
    });
    book.learn(Vec::new(), &members.collect::<Vec<_>>(), group.members_changed_at);
}

async fn greet_one(book: &Book, lines: &Lines, trips: &RoundTrips, node: Option<NodeId>, address: String) {
    let from = book.node(book.me()).as_ref().map(message);
    let Ok(mut client) = lines.peer_at(&address) else { return };
    let began = tokio::time::Instant::now();
    let answered = tokio::time::timeout(PATIENCE, client.greet(wire::GreetRequest { from })).await;
    match answered {
        Ok(Ok(told)) => {
            let told = told.into_inner();
            // One that lost its disks is another node at the same address: the old one did not answer.
            if let Some(node) = node.filter(|node| node.0 == told.node) {
                trips.note(node, began.elapsed());
            }
            book.learn(told.nodes.into_iter().map(entry).collect(), &told.meta, told.meta_changed_at);
        }
        Ok(Err(status)) => tracing::debug!(address, %status, "a node was not greeted"),
        Err(_) => tracing::debug!(address, "a node did not answer a greeting"),
    }
}
