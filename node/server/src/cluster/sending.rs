//! Sending a snapshot: its files are offered, what the receiver lacks is sent no faster than allowed, and it is told to install
//! them. Where the stream breaks it goes on from what has arrived.

use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use parking_lot::Mutex;
use thermocline_proto::replica::v1 as wire;
use thermocline_shard::host::SendRates;
use thermocline_shard::machine::{ExportedData, Snapshot};
use thermocline_shard::raft::{SnapshotMeta, Vote, message};
use thermocline_shard::{NodeId, ReplicaId};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use xxhash_rust::xxh3::Xxh3;

use super::copies::{Copies, Counting};
use super::lines::{LineError, Lines};

/// Bytes of one part.
const PART: usize = 256 << 10;
/// Parts between the reader of files and the connection.
const AHEAD: usize = 4;
/// Breaks of the stream without a byte of progress after which it is given up; consensus begins anew then.
const BREAKS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(500);
/// Nothing is sent for so long while it is paused or throttled, at most: then it is looked again.
const LOOK: Duration = Duration::from_millis(100);

/// When what was sent so far is paid for, at a rate.
#[derive(Debug, Default)]
pub(super) struct Account(Mutex<Option<Instant>>);

impl Account {
    /// How long to wait before so many bytes are sent at a rate, in bytes a second; 0: as fast as it goes.
    fn wait(&self, bytes: usize, rate: u64) -> Duration {
        if rate == 0 {
            return Duration::ZERO;
        }
        let now = Instant::now();
        let mut paid = self.0.lock();
        let from = paid.filter(|paid| *paid > now).unwrap_or(now);
        *paid = Some(from + Duration::from_secs_f64(bytes as f64 / rate as f64));
        from - now
    }

    /// What was sent so far costs nothing any more.
    fn settle(&self) {
        *self.0.lock() = None;
    }
}

/// What snapshots of a node may take together, in bytes a second.
#[derive(Debug)]
pub struct Limit {
    bytes_per_second: u64,
    account: Account,
}

impl Limit {
    /// At most so many bytes a second; 0: as fast as it goes.
    pub const fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second, account: Account(Mutex::new(None)) }
    }

    /// How long to wait before so many bytes are sent.
    fn wait(&self, bytes: usize) -> Duration {
        self.account.wait(bytes, self.bytes_per_second)
    }
}

/// Why a snapshot did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// Its files cannot be read.
    #[error("read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The receiver is not known.
    #[error("find the receiver")]
    Line(#[from] LineError),
    /// The receiver refuses it, or cannot be reached.
    #[error("{attempt}")]
    Call {
        /// What was attempted.
        attempt: &'static str,
        /// What came instead of an answer.
        source: Box<Status>,
    },
    /// The answer is not understood.
    #[error("read the answer to a snapshot")]
    Answer(#[source] std::io::Error),
}

/// A snapshot on its way to a replica.
pub struct Sending<'a> {
    pub(super) lines: &'a Lines,
    pub(super) rates: &'a SendRates,
    pub(super) limit: &'a Limit,
    /// Of this one alone: one that is slow on request holds up no other.
    pub(super) own: Account,
    pub(super) copies: &'a Copies,
    pub(super) to: ReplicaId,
    pub(super) node: NodeId,
}

fn call(attempt: &'static str) -> impl FnOnce(Status) -> SendError {
    move |status| SendError::Call { attempt, source: Box::new(status) }
}

impl Sending<'_> {
    /// Sends all of it; the receiver's vote once it is installed.
    pub(super) async fn send(&self, vote: &Vote, meta: &SnapshotMeta, snapshot: &Snapshot) -> Result<Vote, SendError> {
        let folder = match &snapshot.data {
            ExportedData::Folder(folder) => Some(folder.clone()),
            ExportedData::Nothing | ExportedData::Records(_) => None,
        };
        let files = match folder.clone() {
            Some(folder) => {
                tokio::task::spawn_blocking(move || list(&folder)).await.unwrap_or_else(|_| Ok(Vec::new()))?
            }
            None => Vec::new(),
        };
        let offer = wire::SnapshotOffer { to: self.to.0, id: id_of(&files, snapshot), files };
        if let Some(folder) = folder {
            self.send_files(&offer, &folder).await?;
        }
        let mut client = self.lines.peer(self.node)?;
        let answer = client.install_snapshot(message::install_request(offer, vote, meta, snapshot)).await;
        message::known_install_response(&answer.map_err(call("install the snapshot"))?.into_inner())
            .map_err(SendError::Answer)
    }

    async fn send_files(&self, offer: &wire::SnapshotOffer, folder: &Path) -> Result<(), SendError> {
        let (mut breaks, mut arrived) = (0, 0);
        let counting = self.copies.begin(self.to, offer.files.iter().map(|file| file.bytes).sum());
        loop {
            let mut client = self.lines.peer(self.node)?;
            let offered = client.offer_snapshot(wire::OfferSnapshotRequest { offer: Some(offer.clone()) }).await;
            let have = match offered {
                Ok(answer) => answer.into_inner().have,
                Err(_) if breaks < BREAKS => {
                    breaks += 1;
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
                Err(status) => return Err(call("offer the snapshot")(status)),
            };
            let lacking: Vec<(String, u64, u64)> = offer
                .files
                .iter()
                .zip(have.iter().chain(std::iter::repeat(&0)))
                .filter(|(file, have)| **have < file.bytes)
                .map(|(file, have)| (file.name.clone(), *have, file.bytes))
                .collect();
            if lacking.is_empty() {
                return Ok(());
            }
            let now_arrived: u64 = have.iter().sum();
            breaks = if now_arrived > arrived { 0 } else { breaks };
            arrived = now_arrived;
            counting.have(arrived);
            if let Err(status) = self.stream(offer, folder, lacking, &counting).await {
                breaks += 1;
                if breaks >= BREAKS {
                    return Err(call("send the snapshot")(status));
                }
                tracing::debug!(replica = self.to.0, %status, "a snapshot broke off; it goes on from what has arrived");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    async fn stream(
        &self,
        offer: &wire::SnapshotOffer,
        folder: &Path,
        lacking: Vec<(String, u64, u64)>,
        counting: &Counting<'_>,
    ) -> Result<(), Status> {
        let (parts, receiver) = mpsc::channel(AHEAD);
        let mut client = self.lines.peer(self.node).map_err(|error| Status::unavailable(error.to_string()))?;
        let sent = async {
            for (name, from, to) in lacking {
                let mut offset = from;
                while offset < to {
                    let path = folder.join(&name);
                    let content = tokio::task::spawn_blocking(move || read(&path, offset, PART))
                        .await
                        .map_err(|error| Status::internal(error.to_string()))?
                        .map_err(|error| Status::internal(error.to_string()))?;
                    if content.is_empty() {
                        return Err(Status::internal(format!("{name} is shorter than it was")));
                    }
                    self.pace(content.len()).await;
                    let bytes = content.len() as u64;
                    let (id, file) = (offer.id.clone(), name.clone());
                    let part = wire::SnapshotPart { to: self.to.0, id, file, offset, content: content.into() };
                    if parts.send(part).await.is_err() {
                        // The connection broke; the call says why.
                        return Ok(());
                    }
                    offset += bytes;
                    counting.sent(bytes);
                }
            }
            drop(parts);
            Ok(())
        };
        let call = client.send_snapshot(ReceiverStream::new(receiver));
        let (sent, answered) = tokio::join!(sent, call);
        sent?;
        answered.map(drop)
    }

    /// Waits until so many bytes may be sent.
    async fn pace(&self, bytes: usize) {
        while self.rates.of(self.to).paused {
            tokio::time::sleep(LOOK).await;
        }
        let rate = || self.rates.of(self.to).bytes_per_second;
        let at = rate();
        let until = Instant::now() + self.limit.wait(bytes).max(self.own.wait(bytes, at));
        while Instant::now() < until {
            // Somebody may have it go faster meanwhile.
            if rate() != at {
                self.own.settle();
                return;
            }
            tokio::time::sleep(LOOK.min(until - Instant::now())).await;
        }
    }
}

fn list(folder: &Path) -> Result<Vec<wire::SnapshotFile>, SendError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| SendError::Read { path, source }
    };
    let mut files = Vec::new();
    for file in std::fs::read_dir(folder).map_err(failed(folder))? {
        let path = file.map_err(failed(folder))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let (bytes, checksum) = checksum(&path).map_err(failed(&path))?;
        files.push(wire::SnapshotFile { name: name.to_owned(), bytes, checksum });
    }
    files.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(files)
}

/// The length of a file, and XXH3 of its content.
pub(super) fn checksum(path: &Path) -> std::io::Result<(u64, u64)> {
    let mut file = std::fs::File::open(path)?;
    let (mut hasher, mut bytes, mut buffer) = (Xxh3::new(), 0, vec![0; PART]);
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok((bytes, hasher.digest()));
        }
        hasher.update(&buffer[..read]);
        bytes += read as u64;
    }
}

fn read(path: &Path, offset: u64, most: usize) -> std::io::Result<Vec<u8>> {
    let mut file = std::fs::File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut content = Vec::with_capacity(most);
    file.take(most as u64).read_to_end(&mut content)?;
    Ok(content)
}

/// The same files of the same state are the same snapshot: what has arrived of it counts.
fn id_of(files: &[wire::SnapshotFile], snapshot: &Snapshot) -> String {
    let mut hasher = Xxh3::new();
    hasher.update(&snapshot.applied);
    for file in files {
        hasher.update(file.name.as_bytes());
        hasher.update(&file.bytes.to_be_bytes());
        hasher.update(&file.checksum.to_be_bytes());
    }
    format!("{:032x}", hasher.digest128())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Longer than any machine takes between two lines.
    const LONG: Duration = Duration::from_secs(200);

    #[test]
    fn a_copy_that_is_slow_on_request_holds_up_no_other() {
        let limit = Limit::new(64 << 20);
        let (slow, other) = (Account::default(), Account::default());
        let wait = |own: &Account, rate| limit.wait(PART).max(own.wait(PART, rate));
        assert_eq!(wait(&slow, 1 << 10), Duration::ZERO, "the first part is paid for afterwards");
        assert!(wait(&slow, 1 << 10) > LONG);
        assert!(wait(&other, 0) < Duration::from_secs(1), "they share the node's limit alone");
    }

    #[test]
    fn copies_share_what_the_node_allows() {
        let limit = Limit::new(1 << 10);
        assert_eq!(limit.wait(PART), Duration::ZERO);
        assert!(limit.wait(PART) > LONG);
        assert_eq!(Limit::new(0).wait(PART), Duration::ZERO);
    }
}
