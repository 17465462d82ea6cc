//! Whether everything that was loaded is there: every record is read again and compared.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use thermocline_client::{Client, Error as ClientError};

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
    /// That are not what was written.
    pub(super) different: u64,
}

impl Proof {
    pub(super) const fn holds(self) -> bool {
        self.missing == 0 && self.different == 0
    }

    fn of(written: &[(Bytes, Bytes)], found: &[Option<Bytes>]) -> Self {
        let mut proof = Self { read: written.len() as u64, ..Self::default() };
        for ((_, value), found) in written.iter().zip(found) {
            match found {
                None => proof.missing += 1,
                Some(found) if found != value => proof.different += 1,
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
pub(super) async fn read_all(
    client: &Client,
    records: &[(Bytes, Bytes)],
    done: &AtomicU64,
) -> Result<Proof, ClientError> {
    let part = async |part: &[(Bytes, Bytes)]| {
        let keys: Vec<Bytes> = part.iter().map(|(key, _)| key.clone()).collect();
        let found = client.batch_get(&keys).await?;
        let values: Vec<Option<Bytes>> = found.into_iter().map(|record| record.map(|record| record.value)).collect();
        done.fetch_add(part.len() as u64, Ordering::Relaxed);
        Ok(Proof::of(part, &values))
    };
    stream::iter(records.chunks(BATCH))
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
        let written: Vec<(Bytes, Bytes)> =
            ["a", "b", "c"].iter().map(|key| (Bytes::from(*key), Bytes::from(*key))).collect();
        let proof = Proof::of(&written, &[Some("a".into()), None, Some("x".into())]);
        assert_eq!(proof, Proof { read: 3, missing: 1, different: 1 });
        assert!(!proof.holds() && Proof::of(&written[..1], &[Some("a".into())]).holds());
    }
}
