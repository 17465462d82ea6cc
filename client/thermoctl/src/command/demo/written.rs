//! What every record should be: loaded once and then written again under load, each time with a number, so that a write that was
//! acknowledged and is lost is told from one that is there.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::sync::Mutex;

/// Between what was loaded and the number of the write.
const MARK: &[u8] = b"\nwritten again: ";

/// The records, the most popular first.
#[derive(Debug)]
pub(super) struct Written {
    records: Vec<(Bytes, Bytes)>,
    writes: Vec<Writes>,
}

/// Of one record: one write at a time, so that the last one is known.
#[derive(Debug, Default)]
struct Writes {
    turn: Mutex<()>,
    begun: AtomicU64,
    acknowledged: AtomicU64,
}

impl Written {
    /// As they are loaded.
    pub(super) fn loaded(records: Vec<(Bytes, Bytes)>) -> Self {
        let writes = records.iter().map(|_| Writes::default()).collect();
        Self { records, writes }
    }

    /// As they were loaded.
    pub(super) fn records(&self) -> &[(Bytes, Bytes)] {
        &self.records
    }

    /// Writes a record again; `None` where there is none of this number.
    pub(super) async fn write<E>(
        &self,
        record: usize,
        put: impl AsyncFnOnce(Bytes, Bytes) -> Result<(), E>,
    ) -> Option<Result<(), E>> {
        let ((key, value), writes) = (self.records.get(record)?, self.writes.get(record)?);
        let _turn = writes.turn.lock().await;
        let number = writes.begun.fetch_add(1, Ordering::Relaxed) + 1;
        let value = Bytes::from([value, MARK, number.to_string().as_bytes()].concat());
        let put = put(key.clone(), value).await;
        if put.is_ok() {
            writes.acknowledged.store(number, Ordering::Relaxed);
        }
        Some(put)
    }

    /// Whether a record is what it may be: the last write that was acknowledged, or a later one of which that is not known.
    pub(super) fn is_right(&self, record: usize, found: &[u8]) -> bool {
        let (Some((_, loaded)), Some(writes)) = (self.records.get(record), self.writes.get(record)) else {
            return false;
        };
        let number = match found.strip_prefix(loaded.as_ref()) {
            Some([]) => Some(0),
            Some(rest) => rest.strip_prefix(MARK).and_then(|number| std::str::from_utf8(number).ok()?.parse().ok()),
            None => None,
        };
        let known = writes.acknowledged.load(Ordering::Relaxed)..=writes.begun.load(Ordering::Relaxed);
        number.is_some_and(|number: u64| known.contains(&number))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_acknowledged_write_that_is_lost_is_seen_and_one_whose_outcome_is_unknown_may_be_there_or_not() {
        let written = Written::loaded(vec![("key".into(), "value".into())]);
        assert!(written.is_right(0, b"value") && !written.is_right(0, b"other") && !written.is_right(1, b"value"));
        let mut last = Bytes::new();
        let put = async |_, value| {
            last = value;
            Ok::<(), ()>(())
        };
        written.write(0, put).await.unwrap().unwrap();
        assert!(written.is_right(0, &last));
        assert!(!written.is_right(0, b"value"), "what was loaded came back");
        let mut unknown = Bytes::new();
        let put = async |_, value| {
            unknown = value;
            Err(())
        };
        assert!(written.write(0, put).await.unwrap().is_err());
        assert!(written.is_right(0, &last) && written.is_right(0, &unknown));
        assert!(!written.is_right(0, b"value\nwritten again: 3"), "nobody wrote that");
    }
}
