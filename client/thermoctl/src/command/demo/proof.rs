//! Whether everything that was written is there: every record is read again and compared with its last acknowledged write.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use thermocline_client::{Client, Error as ClientError};

use super::written::Written;

/// Records that are asked for at once.
const BATCH: usize = 500;
const IN_FLIGHT: usize = 4;

/// What was found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Proof {
    /// Records that were read.
    pub(super) read: u64,
    /// That are not there.
    pub(super) missing: u64,
    /// That are not what was written last.
    pub(super) different: u64,
}

impl Proof {
    pub(super) const fn holds(self) -> bool {
        self.missing == 0 && self.different == 0
    }

    /// Of the records from this one on.
    fn of(written: &Written, first: usize, found: &[Option<Bytes>]) -> Self {
        let mut proof = Self { read: found.len() as u64, ..Self::default() };
        for (record, found) in (first..).zip(found) {
            match found {
                None => proof.missing += 1,
                Some(found) if !written.is_right(record, found) => proof.different += 1,
                Some(_) => {}
            }
        }
        proof
    }

    const fn and(self, other: Self) -> Self {
        Self {
            read: self.read + other.read,
            missing: self.missing + other.missing,
            different: self.different + other.different,
        }
    }
}

/// Reads every record; `done` counts them.
pub(super) async fn read_all(client: &Client, written: &Written, done: &AtomicU64) -> Result<Proof, ClientError> {
    let part = async |(number, part): (usize, &[(Bytes, Bytes)])| {
        let keys: Vec<Bytes> = part.iter().map(|(key, _)| key.clone()).collect();
        let found = client.batch_get(&keys).await?;
        let values: Vec<Option<Bytes>> = found.into_iter().map(|record| record.map(|record| record.value)).collect();
        done.fetch_add(part.len() as u64, Ordering::Relaxed);
        Ok(Proof::of(written, number * BATCH, &values))
    };
    stream::iter(written.records().chunks(BATCH).enumerate())
        .map(part)
        .buffer_unordered(IN_FLIGHT)
        .try_fold(Proof::default(), |sum, part| async move { Ok(sum.and(part)) })
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_and_what_differs_is_counted() {
        let records = ["a", "b", "c"].iter().map(|key| (Bytes::from(*key), Bytes::from(*key))).collect();
        let written = Written::loaded(records);
        let proof = Proof::of(&written, 0, &[Some("a".into()), None, Some("x".into())]);
        assert_eq!(proof, Proof { read: 3, missing: 1, different: 1 });
        assert!(!proof.holds() && Proof::of(&written, 1, &[Some("b".into())]).holds());
    }
}
