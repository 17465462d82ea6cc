//! A real cluster as a target.

use std::sync::Arc;

use bytes::Bytes;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use thermocline_client::{Client, Error, ScanOptions};

use super::{
    key_source::KeySource,
    operation::{Operation, OperationKind},
    runner::{Outcome, Target},
};

/// Runs operations through a client.
pub struct StoreTarget {
    client: Client,
    keys: Arc<dyn KeySource>,
    value_bytes: usize,
}

impl StoreTarget {
    /// Operations on `keys` with values of `value_bytes`.
    #[must_use]
    pub fn new(client: Client, keys: Arc<dyn KeySource>, value_bytes: usize) -> Self {
        Self { client, keys, value_bytes }
    }

    /// The value of a write: as many bytes, half of them random, so that compression finds about what real records
    /// offer.
    #[must_use]
    pub fn value(&self, seed: u64) -> Bytes {
        let mut value = vec![b'.'; self.value_bytes];
        let random = self.value_bytes.div_ceil(2);
        ChaCha8Rng::seed_from_u64(seed).fill_bytes(&mut value[..random]);
        value.into()
    }

    async fn attempt(&self, operation: Operation) -> Result<Outcome, Error> {
        let key = self.keys.key(operation.record);
        match operation.kind {
            OperationKind::Read => {
                let found = self.client.get(key).await?;
                Ok(if found.is_some() { Outcome::Done } else { Outcome::NotFound })
            }
            OperationKind::Update | OperationKind::Insert => {
                self.client.put(key, self.value(operation.value_seed)).await?;
                Ok(Outcome::Done)
            }
            OperationKind::Scan => {
                let mut scan = self.client.scan(ScanOptions {
                    start: key,
                    limit: Some(operation.length),
                    ..ScanOptions::default()
                });
                while scan.next_chunk().await?.is_some() {}
                Ok(Outcome::Done)
            }
            OperationKind::ReadModifyWrite => {
                let found = self.client.get(key.clone()).await?;
                self.client.put(key, self.value(operation.value_seed)).await?;
                Ok(if found.is_some() { Outcome::Done } else { Outcome::NotFound })
            }
        }
    }
}

impl Target for StoreTarget {
    async fn execute(&self, operation: Operation) -> Result<Outcome, String> {
        self.attempt(operation).await.map_err(|error| error.to_string())
    }
}
