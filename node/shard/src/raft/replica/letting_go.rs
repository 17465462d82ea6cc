//! How large a replica's log is, and letting go of its beginning.

use std::sync::atomic::Ordering;

use super::{LOOK, ProposeError, RaftReplica};
use crate::machine::ShardStore;

/// Up to this entry, the first after that of the first members, a log is let go before anybody joins.
const BEGINNING: u64 = 1;

impl<S: ShardStore> RaftReplica<S> {
    /// The bytes of the log.
    pub fn log_bytes(&self) -> u64 {
        self.sizes.lock().total()
    }

    /// The bytes of the log behind an entry.
    pub fn log_bytes_behind(&self, index: u64) -> u64 {
        self.sizes.lock().behind(index)
    }

    /// The last entry that the log no longer has.
    pub fn purged(&self) -> u64 {
        use openraft::async_runtime::WatchReceiver;
        self.raft.metrics().borrow_watched().purged.map_or(0, |id| id.index)
    }

    /// Lets go of the log up to an entry, as far as what was applied is synced; otherwise has it synced. To be called until
    /// it has gone.
    ///
    /// # Errors
    /// When this one has stopped.
    pub async fn let_go(&self, upto: u64) -> Result<(), ProposeError> {
        let upto = upto.min(self.applied().unwrap_or_default());
        let synced = self.synced.load(Ordering::SeqCst);
        if synced < upto {
            self.shorten_log().await?;
        }
        match upto.min(synced) {
            upto if upto > self.purged() => self.purge_log(upto).await,
            _ => Ok(()),
        }
    }

    /// Has what was applied synced, so that the log up to there may go.
    ///
    /// # Errors
    /// When this one has stopped.
    pub async fn shorten_log(&self) -> Result<(), ProposeError> {
        let asked = self.raft.trigger().snapshot().await;
        asked.map_err(|source| ProposeError::Stopped { replica: self.replica, source })
    }

    /// Lets go of the log up to an entry that is applied and synced, whoever may still want it.
    ///
    /// # Errors
    /// When this one has stopped.
    pub async fn purge_log(&self, upto: u64) -> Result<(), ProposeError> {
        let asked = self.raft.trigger().purge_log(upto).await;
        asked.map_err(|source| ProposeError::Stopped { replica: self.replica, source })
    }

    /// Makes sure that the log has lost its beginning, so that a replica that has nothing is sent a snapshot instead of the log.
    /// Entries before a split write keys that are another shard's now; a replica that began with them would write over what that
    /// shard's replica on the same node holds. Replicas that began with a snapshot have no beginning of the log either, so
    /// whoever leads later cannot send it.
    ///
    /// # Errors
    /// When this one has stopped.
    pub async fn lose_beginning(&self) -> Result<(), ProposeError> {
        use openraft::async_runtime::WatchReceiver;
        loop {
            let (snapshot, purged) = {
                let metrics = self.raft.metrics();
                let metrics = metrics.borrow_watched();
                (metrics.snapshot.is_some(), metrics.purged.is_some())
            };
            match (snapshot, purged) {
                (_, true) => return Ok(()),
                (true, false) => self.purge_log(BEGINNING).await?,
                (false, false) => self.shorten_log().await?,
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}
