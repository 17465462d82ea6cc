//! Who owns which keys, as the nodes say.

use std::time::Duration;

use thermocline_proto::v1;
use tonic::Status;

use crate::{Error, KeyRange, NodeEndpoint, connection::Connection};

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
