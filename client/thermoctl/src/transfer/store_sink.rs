//! A cluster as the target of an import.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use futures::future::try_join_all;
use thermocline_client::{Batch, Client, Error as ClientError, ErrorKind};
use tokio::time::Instant;

use super::import::BatchSink;

/// Writes batches through a client, one part per node.
#[derive(Debug, Clone)]
pub struct StoreSink {
    client: Client,
    /// How long a batch is tried while nodes are unavailable. A batch of puts may be sent twice: an import gives the
    /// same keys the same values again.
    patience: Duration,
}

/// Between two tries of a batch; the client has paused within each of its own already.
const PAUSE: Duration = Duration::from_millis(250);

impl StoreSink {
    /// Writes through `client`.
    #[must_use]
    pub const fn new(client: Client, patience: Duration) -> Self {
        Self { client, patience }
    }

    /// Deletes keys, as patiently as records are written.
    ///
    /// # Errors
    /// The last failure, when patience ran out.
    pub async fn delete(&self, keys: Vec<Bytes>) -> Result<(), ClientError> {
        self.patiently(keys.into_iter().map(|key| (key, None)).collect()).await
    }

    /// Puts what has a value and deletes what has none.
    async fn once(&self, changes: &[(Bytes, Option<Bytes>)]) -> Result<(), ClientError> {
        let ranges = self.client.ranges();
        let mut parts: BTreeMap<usize, Batch> = BTreeMap::new();
        for (key, value) in changes {
            let part = parts.entry(ranges.owner(key)).or_default();
            match value {
                Some(value) => part.push_put(key.clone(), value.clone()),
                None => part.push_delete(key.clone()),
            }
        }
        try_join_all(parts.into_values().map(|part| self.client.write(part))).await?;
        Ok(())
    }

    async fn patiently(&self, changes: Vec<(Bytes, Option<Bytes>)>) -> Result<(), ClientError> {
        let give_up = Instant::now() + self.patience;
        loop {
            let Err(error) = self.once(&changes).await else {
                return Ok(());
            };
            let passes = matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::OutcomeUnknown)
                // The ranges changed between grouping and sending: group again.
                || matches!(error, ClientError::BatchSpansNodes { .. });
            if !passes || Instant::now() + PAUSE >= give_up {
                return Err(error);
            }
            tracing::info!(%error, "a batch is tried again");
            tokio::time::sleep(PAUSE).await;
        }
    }
}

impl BatchSink for StoreSink {
    async fn write(&self, batch: Vec<(Bytes, Bytes)>) -> Result<(), ClientError> {
        self.patiently(batch.into_iter().map(|(key, value)| (key, Some(value))).collect()).await
    }
}
