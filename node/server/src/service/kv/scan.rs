//! Scan: one snapshot, streamed in chunks.
//!
//! A blocking thread walks the store and hands chunks to the stream over a short channel, so that a slow reader slows
//! the walk instead of filling memory. It stops when the reader goes, the deadline passes or the scan's bound is
//! reached, also where it has found nothing to hand over for a while. How it ended travels beside the channel: a stream that just stopped would look complete.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt, future, stream};
use thermocline_engine::{Cancel, Engine, EngineError, KeyRange, ScanOptions};
use thermocline_proto::v1;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status};

use super::DataPlane;
use crate::metrics::RequestTimer;
use crate::service::{Rejection, consistency, deadline, limits, status};

/// A chunk is sent when its records hold so many bytes ...
const CHUNK_BYTES: usize = 256 << 10;
/// ... or are so many.
const CHUNK_RECORDS: usize = 1000;
/// Chunks between the walk and the reader ...
const CHUNKS_AHEAD: usize = 4;
/// ... which hold so many bytes together, or one chunk with a larger value.
const BYTES_AHEAD: usize = CHUNK_BYTES * CHUNKS_AHEAD;
/// A snapshot keeps deleted data on disk, so no reader may hold one for longer.
const LONGEST: Duration = Duration::from_secs(120);

/// The chunks of one scan.
pub type ScanStream = Pin<Box<dyn Stream<Item = Result<v1::ScanResponse, Status>> + Send>>;

/// Called once the scan has its snapshot: whether what the snapshot shows may be answered, and how many milliseconds old it is at
/// most.
pub(super) type Holds = Box<dyn FnOnce() -> Result<u64, Status> + Send>;

/// Checks the request and begins.
pub(super) async fn start(
    plane: Arc<DataPlane>,
    request: Request<v1::ScanRequest>,
    timer: RequestTimer,
) -> Result<ScanStream, Status> {
    let deadline = deadline::of(request.metadata());
    let checked = check(&plane, request.into_inner());
    let (range, options) = match checked {
        Ok(checked) => checked,
        Err(rejection) => {
            let status = Status::from(rejection);
            timer.finish(Some(status.code()));
            return Err(status);
        }
    };
    run(plane, range, options, deadline, timer, None).await
}

/// Waits for the first chunk, so that a refusal is the call's own status.
pub(super) async fn run(
    plane: Arc<DataPlane>,
    range: KeyRange,
    options: ScanOptions,
    deadline: Option<Instant>,
    timer: RequestTimer,
    holds: Option<Holds>,
) -> Result<ScanStream, Status> {
    let (chunks, receiver) = mpsc::channel(CHUNKS_AHEAD);
    let (ended, outcome) = oneshot::channel();
    let cancel = Arc::new(Cancel::default());
    let walk = Walk { range, options, deadline, cancel: Arc::clone(&cancel), holds };
    let (to_reader, runtime) = (chunks.clone(), Handle::current());
    tokio::spawn(async move {
        let engine = plane.engine.clone();
        // Not the call's deadline: the walk watches it itself and says so in order, after the chunks before it.
        let run = plane.scans.run(BYTES_AHEAD, None, move || walk.run(&engine, to_reader, runtime));
        let result = tokio::select! {
            result = run => result.unwrap_or_else(|error| Err(status::of_admission(&error))),
            // A scan must not keep its place, in the queue or among those that run, when nobody waits for it any more.
            () = chunks.closed() => {
                cancel.cancel();
                Err(match deadline {
                    Some(deadline) if deadline <= Instant::now() => expired_before_the_first_record(),
                    _ => Status::cancelled("the reader of the scan has gone"),
                })
            }
        };
        timer.finish(result.as_ref().err().map(Status::code));
        // Nobody listens any more where the reader has gone.
        let _ = ended.send(result);
    });
    let ending = stream::once(outcome).filter_map(|ended| {
        future::ready(match ended {
            Ok(Ok(())) => None,
            Ok(Err(status)) => Some(Err(status)),
            Err(_) => Some(Err(Status::internal("the scan was lost"))),
        })
    });
    let mut stream: ScanStream = Box::pin(ReceiverStream::new(receiver).map(|(chunk, _room)| Ok(chunk)).chain(ending));
    let first = match deadline {
        None => stream.next().await,
        Some(deadline) => timeout_at(deadline, stream.next()).await.map_err(|_| expired_before_the_first_record())?,
    };
    match first {
        None => Ok(Box::pin(stream::empty())),
        Some(Err(status)) => Err(status),
        Some(Ok(first)) => Ok(Box::pin(stream::once(future::ready(Ok(first))).chain(stream))),
    }
}

fn expired_before_the_first_record() -> Status {
    Status::deadline_exceeded("the deadline passed before the scan had a record; scan less at once, or retry later")
}

fn check(plane: &DataPlane, request: v1::ScanRequest) -> Result<(KeyRange, ScanOptions), Rejection> {
    limits::header(request.header.as_ref())?;
    consistency::of(request.read)?;
    let (range, options) = parse(&request)?;
    if !plane.range.covers(&request.start, &request.end) {
        return Err(Rejection::ScanOutsideRange { range: plane.range.clone() });
    }
    Ok((range, options))
}

/// What is to be scanned, and how.
pub(super) fn parse(request: &v1::ScanRequest) -> Result<(KeyRange, ScanOptions), Rejection> {
    for (field, bound) in [("start", &request.start), ("end", &request.end)] {
        limits::at_most(field, "bytes of a key", bound.len(), thermocline_proto::MAX_KEY_BYTES)?;
    }
    let range = KeyRange::new(request.start.to_vec(), request.end.to_vec());
    let range = range.ok_or_else(|| Rejection::Unknown {
        field: "end".to_owned(),
        actual: "before start".to_owned(),
        allowed: "a key from start on, or empty for no upper bound".to_owned(),
    })?;
    let options = ScanOptions {
        reverse: request.reverse,
        limit: (request.limit > 0).then_some(request.limit),
        keys_only: request.keys_only,
        max_lifetime: LONGEST,
    };
    Ok((range, options))
}

/// When a scan that begins now has to end.
fn ends_at(now: Instant, deadline: Option<Instant>) -> Instant {
    deadline.map_or(now + LONGEST, |deadline| deadline.min(now + LONGEST))
}

/// A chunk, with the place of its bytes among those ahead; given back when the transport takes it.
type Sent = (v1::ScanResponse, OwnedSemaphorePermit);

struct Walk {
    range: KeyRange,
    options: ScanOptions,
    deadline: Option<Instant>,
    cancel: Arc<Cancel>,
    holds: Option<Holds>,
}

impl Walk {
    fn run(self, engine: &Engine, chunks: mpsc::Sender<Sent>, runtime: Handle) -> Result<(), Status> {
        let began = Instant::now();
        let until = ends_at(began, self.deadline);
        let room = Arc::new(Semaphore::new(BYTES_AHEAD));
        let reader = Reader { chunks, room, until, deadline: self.deadline, runtime };
        let failed = |error: EngineError| match error {
            EngineError::ScanExpired => reader.expired(),
            error => status::of_engine(&error),
        };
        let snapshot = engine.snapshot().map_err(failed)?;
        let mut staleness_ms = self.holds.map_or(Ok(0), |holds| holds())?;
        let options = ScanOptions { max_lifetime: until.saturating_duration_since(began), ..self.options };
        let mut chunk = Chunk::default();
        for entry in snapshot.scan(&self.range, options).cancelled_by(self.cancel) {
            let (key, record) = entry.map_err(failed)?;
            chunk.add(v1::Record { key, value: record.value.into(), version: record.version });
            if chunk.is_full() {
                reader.send(chunk.take(std::mem::take(&mut staleness_ms)))?;
            }
        }
        // How old nothing is has to be said too.
        if chunk.records.is_empty() && staleness_ms == 0 {
            return Ok(());
        }
        reader.send(chunk.take(staleness_ms))
    }
}

/// Where a walk hands its chunks to.
struct Reader {
    chunks: mpsc::Sender<Sent>,
    room: Arc<Semaphore>,
    until: Instant,
    deadline: Option<Instant>,
    runtime: Handle,
}

impl Reader {
    fn send(&self, (chunk, bytes): (v1::ScanResponse, usize)) -> Result<(), Status> {
        if self.until <= Instant::now() {
            return Err(self.expired());
        }
        let gone = || Status::cancelled("the reader of the scan has gone");
        let handed = async {
            let bytes = u32::try_from(bytes.min(BYTES_AHEAD)).unwrap_or(u32::MAX);
            let room = tokio::select! {
                room = Arc::clone(&self.room).acquire_many_owned(bytes) => room.map_err(|_closed| gone())?,
                () = self.chunks.closed() => return Err(gone()),
            };
            self.chunks.send((chunk, room)).await.map_err(|_closed| gone())
        };
        self.runtime.block_on(timeout_at(self.until, handed)).unwrap_or_else(|_elapsed| Err(self.expired()))
    }

    fn expired(&self) -> Status {
        match self.deadline {
            Some(deadline) if deadline <= Instant::now() => {
                Status::deadline_exceeded("the deadline passed during the scan; resume it from the last key")
            }
            _ => status::of_engine(&EngineError::ScanExpired),
        }
    }
}

#[derive(Default)]
struct Chunk {
    records: Vec<v1::Record>,
    bytes: usize,
}

impl Chunk {
    fn add(&mut self, record: v1::Record) {
        self.bytes += record.key.len() + record.value.len();
        self.records.push(record);
    }

    fn is_full(&self) -> bool {
        self.bytes >= CHUNK_BYTES || self.records.len() >= CHUNK_RECORDS
    }

    /// What was gathered, and its bytes.
    fn take(&mut self, staleness_ms: u64) -> (v1::ScanResponse, usize) {
        let bytes = std::mem::take(&mut self.bytes);
        (v1::ScanResponse { records: std::mem::take(&mut self.records), staleness_ms }, bytes)
    }
}

#[cfg(test)]
#[path = "scan_test.rs"]
mod tests;
