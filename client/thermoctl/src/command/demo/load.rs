//! The import and the load of the demonstration.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use hdrhistogram::Histogram;
use thermocline_client::{Client, Error as ClientError};

use super::written::Written;
use crate::{
    CommandError,
    interrupt::Interrupt,
    transfer::{BatchSink, StoreSink},
    workload::{Operation, OperationKind, Outcome, Target},
};

/// Records of a batch of the import, over all nodes.
const BATCH: usize = 600;
/// Batches of the import in flight.
const IN_FLIGHT: usize = 4;
/// How long a batch is tried while a node cannot take it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Writes every record; `done` counts them.
pub(super) async fn import(client: &Client, records: &[(Bytes, Bytes)], done: &AtomicU64) -> Result<(), CommandError> {
    // In key order, as an export or a dump would come.
    let mut order: Vec<&(Bytes, Bytes)> = records.iter().collect();
    order.sort_by(|one, other| one.0.cmp(&other.0));
    // Each batch takes from all over the key space, so that all nodes are busy from the first on.
    let stride = order.len().div_ceil(BATCH).max(1);
    let sink = StoreSink::new(client.clone(), PATIENCE, Interrupt::never());
    stream::iter(0..stride)
        .map(|first| {
            let batch: Vec<(Bytes, Bytes)> =
                order.iter().skip(first).step_by(stride).map(|one| (*one).clone()).collect();
            let count = batch.len() as u64;
            let sink = &sink;
            async move {
                sink.write(batch).await?;
                done.fetch_add(count, Ordering::Relaxed);
                Ok::<(), ClientError>(())
            }
        })
        .buffer_unordered(IN_FLIGHT)
        .try_collect::<Vec<()>>()
        .await?;
    Ok(())
}

/// The cluster as the target of the load: reads a record, or writes it again.
#[derive(Debug)]
pub(super) struct DemoTarget {
    client: Client,
    written: Arc<Written>,
    recent: recent::Recent,
}

mod recent {
    //! Latencies since the last look.
    use std::sync::{Mutex, PoisonError};
    use std::time::Duration;

    use super::Histogram;

    /// A minute: no operation of the demonstration takes longer.
    const LONGEST_MICROS: u64 = 60_000_000;

    #[derive(Debug)]
    pub(super) struct Recent(Mutex<Histogram<u64>>);

    impl Recent {
        pub(super) fn new() -> Option<Self> {
            // With bounds: one without would hold everything to its smallest size until something else makes it grow.
            Some(Self(Mutex::new(Histogram::new_with_bounds(1, LONGEST_MICROS, 3).ok()?)))
        }

        pub(super) fn record(&self, latency: Duration) {
            let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
            let mut latencies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            latencies.saturating_record(micros);
        }

        /// p50 and p99 in microseconds, and begins anew.
        pub(super) fn take(&self) -> (u64, u64) {
            let mut latencies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let seen = (latencies.value_at_quantile(0.5), latencies.value_at_quantile(0.99));
            latencies.reset();
            seen
        }
    }

    #[cfg(test)]
    #[allow(clippy::unwrap_used)]
    mod tests {
        use super::*;

        #[test]
        fn latencies_are_told_as_they_were_from_the_first_on() {
            let recent = Recent::new().unwrap();
            recent.record(Duration::from_millis(7));
            let (p50, p99) = recent.take();
            assert!((6990..=7010).contains(&p50) && p50 == p99, "{p50} and {p99} us");
        }
    }
}

impl DemoTarget {
    /// Over these records, the most popular first.
    pub(super) fn new(client: Client, written: Arc<Written>) -> Option<Self> {
        Some(Self { client, written, recent: recent::Recent::new()? })
    }

    /// p50 and p99 since the last look, in microseconds.
    pub(super) fn recent(&self) -> (u64, u64) {
        self.recent.take()
    }
}

impl Target for DemoTarget {
    async fn execute(&self, operation: Operation) -> Result<Outcome, String> {
        let number = usize::try_from(operation.record).unwrap_or(usize::MAX);
        let none = || format!("there is no record {}", operation.record);
        let (key, _) = self.written.records().get(number).ok_or_else(none)?;
        let begun = Instant::now();
        let outcome = if operation.kind == OperationKind::Read {
            let found = self.client.get(key.clone()).await.map_err(|error| error.to_string())?;
            if found.is_some() { Outcome::Done } else { Outcome::NotFound }
        } else {
            let put = async |key, value| self.client.put(key, value).await.map(drop);
            let put = self.written.write(number, put).await.ok_or_else(none)?;
            put.map_err(|error| error.to_string())?;
            Outcome::Done
        };
        self.recent.record(begun.elapsed());
        Ok(outcome)
    }
}
