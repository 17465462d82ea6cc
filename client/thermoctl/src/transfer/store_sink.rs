//! A cluster as the target of an import.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use futures::future::join_all;
use thermocline_client::{Batch, Client, Error as ClientError, ErrorKind, KeyRange};
use tokio::time::Instant;

use super::import::BatchSink;
use crate::interrupt::Interrupt;

/// Writes batches through a client, one part for each shard, or node that stands alone.
#[derive(Debug, Clone)]
pub struct StoreSink {
    client: Client,
    /// How long a batch is tried while nodes are unavailable.
    patience: Duration,
    /// Ends the tries.
    interrupt: Interrupt,
}

/// A key, and its value where it is put and not deleted.
type Change = (Bytes, Option<Bytes>);

/// Between two tries of a batch; the client has paused within each of its own already.
const PAUSE: Duration = Duration::from_millis(250);

impl StoreSink {
    /// Writes through `client`.
    #[must_use]
    pub const fn new(client: Client, patience: Duration, interrupt: Interrupt) -> Self {
        Self { client, patience, interrupt }
    }

    /// Deletes keys, as patiently as records are written.
    ///
    /// # Errors
    /// The last failure, when patience ran out or a person interrupted; at once where it is not known whether a batch was done.
    pub async fn delete(&self, keys: Vec<Bytes>) -> Result<(), ClientError> {
        self.patiently(keys.into_iter().map(|key| (key, None)).collect()).await
    }

    /// Sends again what a node certainly did not do. What it may have done is not: another client may have written the key
    /// since, and the second sending would undo that.
    async fn patiently(&self, mut changes: Vec<Change>) -> Result<(), ClientError> {
        let give_up = Instant::now() + self.patience;
        loop {
            let (left, error) = self.once(changes).await?;
            let Some(error) = error else {
                return Ok(());
            };
            if Instant::now() + PAUSE >= give_up || self.interrupt.asked() {
                return Err(error);
            }
            tracing::info!(%error, "a batch is tried again");
            tokio::time::sleep(PAUSE).await;
            changes = left;
        }
    }

    /// Puts what has a value and deletes what has none. What was certainly not done, and why not; fails where that is not
    /// certain or trying again does not help.
    async fn once(&self, changes: Vec<Change>) -> Result<(Vec<Change>, Option<ClientError>), ClientError> {
        let parts = match self.by_owner(&changes).await {
            Ok(parts) => parts,
            Err(error) if passes(&error) => return Ok((changes, Some(error))),
            Err(error) => return Err(error),
        };
        // All are waited for: one that is dropped on the way may have been done.
        let sent = join_all(parts.into_iter().map(async |part| (self.client.write(batch(&part)).await, part))).await;
        let (mut left, mut passing, mut final_error) = (Vec::new(), None, None);
        for (outcome, part) in sent {
            match outcome {
                Ok(_version) => {}
                Err(error) if passes(&error) => {
                    left.extend(part);
                    passing = Some(error);
                }
                Err(error) => final_error = Some(error),
            }
        }
        final_error.map_or(Ok((left, passing)), Err)
    }

    /// The changes that may be one batch together: those of one shard, or of one node that stands alone.
    async fn by_owner(&self, changes: &[Change]) -> Result<Vec<Vec<Change>>, ClientError> {
        let mut parts: BTreeMap<Bytes, (KeyRange, Vec<Change>)> = BTreeMap::new();
        for change in changes {
            let key = &change.0;
            if let Some((_, (range, part))) = parts.range_mut(..=key.clone()).next_back()
                && range.contains(key)
            {
                part.push(change.clone());
                continue;
            }
            let range = self.client.owned_with(key).await?;
            parts.entry(range.start().clone()).or_insert((range, Vec::new())).1.push(change.clone());
        }
        Ok(parts.into_values().map(|(_, part)| part).collect())
    }
}

/// Whether nothing was done, and it may work the next time.
fn passes(error: &ClientError) -> bool {
    error.kind() == ErrorKind::Unavailable
        // The ranges changed between grouping and sending: group again.
        || matches!(error, ClientError::BatchSpansShards { .. })
}

fn batch(changes: &[Change]) -> Batch {
    let mut batch = Batch::with_capacity(changes.len());
    for (key, value) in changes {
        match value {
            Some(value) => batch.push_put(key.clone(), value.clone()),
            None => batch.push_delete(key.clone()),
        }
    }
    batch
}

impl BatchSink for StoreSink {
    async fn write(&self, batch: Vec<(Bytes, Bytes)>) -> Result<(), ClientError> {
        self.patiently(batch.into_iter().map(|(key, value)| (key, Some(value))).collect()).await
    }
}
