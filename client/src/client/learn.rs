//! Who owns which keys, as the nodes say.

use std::time::Duration;

use futures::{StreamExt, stream::FuturesUnordered};
use thermocline_proto::v1;
use tonic::{Code, Status};

use super::call::with_deadline;
use crate::{EndpointsError, Error, KeyRange, NodeEndpoint, connection::Connection, retry::Failure};

/// What the first node said that answered.
#[derive(Debug)]
pub(super) enum Told {
    /// That it has no shards.
    StandsAlone,
    /// Where the first shards are; none where it has shards, but could not say.
    Shards(Vec<v1::ShardRoute>),
}

/// Asks every node at once where the shards are; the first answer counts.
pub(super) async fn ask_first(
    nodes: &[NodeEndpoint],
    connections: &[Connection],
    patience: Duration,
) -> Result<Told, Error> {
    let asked = nodes.iter().zip(connections).map(|(node, connection)| async move {
        let request = with_deadline(v1::RouteRequest::default(), patience);
        let answer = tokio::time::timeout(patience, async { connection.kv.kv().route(request).await }).await;
        (node, answer.unwrap_or_else(|_elapsed| Err(Status::deadline_exceeded("no answer in time"))))
    });
    let mut asked: FuturesUnordered<_> = asked.collect();
    let mut silent = Err(Error::Endpoints(EndpointsError::Empty));
    while let Some((node, answer)) = asked.next().await {
        match answer {
            Ok(told) => return Ok(Told::Shards(told.into_inner().shards)),
            Err(status) if status.code() == Code::Unimplemented => return Ok(Told::StandsAlone),
            // An answer of a node that cannot say at the moment where the shards are.
            Err(status) if matches!(Failure::of(&status), Failure::Answered(Code::Unavailable)) => {
                return Ok(Told::Shards(Vec::new()));
            }
            Err(status) => {
                let (node, address) = (node.name.clone(), node.kv.clone());
                silent = Err(Error::Silent { node, address, source: Box::new(status) });
            }
        }
    }
    silent
}

/// Asks every node at once. One that does not answer in time keeps the range that is known of it.
pub(super) async fn learn(
    nodes: &[NodeEndpoint],
    connections: &[Connection],
    patience: Duration,
    known: impl Fn(usize) -> Option<KeyRange>,
) -> Result<Vec<(KeyRange, usize)>, Error> {
    let known = &known;
    let asked = nodes.iter().zip(connections).enumerate().map(|(index, (node, connection))| async move {
        let answer = tokio::time::timeout(patience, owned_range(connection))
            .await
            .unwrap_or_else(|_elapsed| Err(Status::deadline_exceeded("no answer in time")));
        match (answer, known(index)) {
            (Ok(status), _) => Ok((KeyRange::new(status.range_start, status.range_end)?, index)),
            (Err(_), Some(range)) => Ok((range, index)),
            (Err(status), None) => {
                Err(Error::Silent { node: node.name.clone(), address: node.admin.clone(), source: Box::new(status) })
            }
        }
    });
    futures::future::try_join_all(asked).await
}

async fn owned_range(connection: &Connection) -> Result<v1::NodeStatus, Status> {
    let request = v1::StatusRequest { interval_ms: 0, once: true };
    let mut stream = connection.admin().status(request).await?.into_inner();
    stream.message().await?.ok_or_else(|| Status::internal("the status stream ended without a message"))
}
