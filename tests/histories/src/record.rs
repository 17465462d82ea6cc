//! Recording: clients that call at once, on one clock, and a last read of every key.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep};

use crate::history::History;
use crate::operation::{Operation, operations};
use crate::store::{Answer, Request, Store};
use crate::workload::{Keys, Workload};

/// A client that was not answered waits this long at most, so that a store that is away does not fill the history with
/// open writes.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(400);
/// Last reads at a time.
const READERS: usize = 16;

/// What is recorded.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Of everything drawn.
    pub seed: u64,
    /// How long clients call.
    pub length: Duration,
    /// On which keys.
    pub keys: Keys,
    /// The longest a client waits between two calls; the shortest is nothing.
    pub pause: Duration,
    /// How long the last reads may take, for a store that comes back from its last fault.
    pub patience: Duration,
}

/// A recording that did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// A client stopped.
    #[error("a recorded client stopped")]
    Client(#[source] JoinError),
    /// A last read had no answer.
    #[error("key {key} could not be read within {patience:?} after the run")]
    LastRead {
        /// The key.
        key: String,
        /// How long it was tried.
        patience: Duration,
    },
}

/// Runs one client for each of `stores` (connections of its own, if it has several), then reads every key once more, so that
/// a write that was acknowledged and is gone is seen.
///
/// # Errors
/// A client that stopped, or a key that cannot be read in the end.
pub async fn record<S: Store>(stores: Vec<S>, plan: &Plan) -> Result<History, RecordError> {
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for (client, store) in (0..).zip(stores) {
        tasks.spawn(run_client(store, client, plan.clone(), start));
    }
    let mut history = History::default();
    let mut first = None;
    while let Some(ended) = tasks.join_next().await {
        let (store, client, lines) = ended.map_err(RecordError::Client)?;
        history.operations.extend(lines);
        if client == 0 {
            first = Some(store);
        }
    }
    if let Some(store) = first {
        history.operations.extend(last_reads(store, plan, start).await?);
    }
    history.operations.sort_by_key(|operation| operation.call_ns);
    Ok(history)
}

async fn run_client<S: Store>(store: S, client: u32, plan: Plan, start: Instant) -> (S, u32, Vec<Operation>) {
    let mut workload = Workload::new(plan.seed, client, plan.keys.clone());
    let mut lines = Vec::new();
    let mut number = u64::from(client) << 32;
    while start.elapsed() < plan.length {
        let request = workload.next_call(start.elapsed());
        let (answer, parts) = timed(&store, client, number, &request, start).await;
        workload.heard(&request, &answer);
        lines.extend(parts);
        number += 1;
        let failed = matches!(answer, Answer::Unknown | Answer::NotDone);
        let pause = workload.pause(if failed { PAUSE_AFTER_FAILURE } else { plan.pause });
        sleep(pause).await;
    }
    (store, client, lines)
}

/// Reads every key until it is answered, some at a time.
async fn last_reads<S: Store>(store: S, plan: &Plan, start: Instant) -> Result<Vec<Operation>, RecordError> {
    let deadline = Instant::now() + plan.patience;
    let (store, keys) = (Arc::new(store), Arc::new(plan.keys.until(plan.length)));
    let mut readers = JoinSet::new();
    for first in 0..READERS {
        let (store, keys, patience) = (Arc::clone(&store), Arc::clone(&keys), plan.patience);
        readers.spawn(async move {
            let mut lines = Vec::new();
            for key in keys.iter().skip(first).step_by(READERS) {
                lines.extend(
                    last_read(&*store, key, deadline, start)
                        .await
                        .ok_or_else(|| RecordError::LastRead { key: key.clone(), patience })?,
                );
            }
            Ok(lines)
        });
    }
    let mut lines = Vec::new();
    while let Some(read) = readers.join_next().await {
        lines.extend(read.map_err(RecordError::Client)??);
    }
    Ok(lines)
}

/// `None` where it was not answered in time.
async fn last_read<S: Store>(store: &S, key: &str, deadline: Instant, start: Instant) -> Option<Vec<Operation>> {
    let request = Request::Get { key: key.to_owned() };
    loop {
        let (answer, lines) = timed(store, 0, 0, &request, start).await;
        if matches!(answer, Answer::Found { .. } | Answer::Absent) {
            return Some(lines);
        }
        if Instant::now() > deadline {
            return None;
        }
        sleep(Duration::from_millis(100)).await;
    }
}

async fn timed<S: Store>(
    store: &S,
    client: u32,
    number: u64,
    request: &Request,
    start: Instant,
) -> (Answer, Vec<Operation>) {
    let nanos = || u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let call_ns = nanos();
    let answer = store.call(request).await;
    let lines = operations(client, number, request, &answer, call_ns, nanos());
    (answer, lines)
}
