//! What a replica's shard held at entries that asked for it, hashed beside everything else.

use std::collections::VecDeque;

use parking_lot::Mutex;
use thermocline_engine::{EngineError, LogicalHash};
use tokio::sync::watch;

/// Hashes that are remembered, at most.
const KEPT: usize = 4;

type Hashed = Option<Result<LogicalHash, String>>;

/// The last hashes of a replica, by the index of the entry that asked.
#[derive(Debug, Default)]
pub struct Hashes(Mutex<VecDeque<(u64, watch::Receiver<Hashed>)>>);

/// Called with a hash, or why there is none.
pub type HashDone = Box<dyn FnOnce(Result<LogicalHash, EngineError>) + Send>;

impl Hashes {
    /// Remembers that one is begun, and gives what is called with it.
    pub(super) fn begin(&self, index: u64) -> HashDone {
        let (sender, receiver) = watch::channel(None);
        let mut kept = self.0.lock();
        kept.push_back((index, receiver));
        if kept.len() > KEPT {
            kept.pop_front();
        }
        Box::new(move |hashed| {
            // Nobody waits for it any more where it was pushed out.
            drop(sender.send(Some(hashed.map_err(|error| error.to_string()))));
        })
    }

    /// The hash of an entry, once it is known; `None` where none is under way: the entry is not applied yet, or long ago.
    ///
    /// # Errors
    /// When the shard could not be read.
    pub async fn wait(&self, index: u64) -> Option<Result<LogicalHash, String>> {
        let found = self.0.lock().iter().find(|(known, _)| *known == index).map(|(_, receiver)| receiver.clone());
        let mut receiver = found?;
        let hashed = receiver.wait_for(Option::is_some).await.ok()?;
        hashed.clone()
    }
}
