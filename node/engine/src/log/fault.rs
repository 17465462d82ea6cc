//! Where a test may break the log store's storage. In production nothing implements it.

use std::io;

/// What a batch is about to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchFacts {
    /// Batches written before this one since opening.
    pub number: u64,
    /// Requests in it.
    pub requests: usize,
    /// Entries in it.
    pub entries: usize,
}

/// Injected storage faults. Every method stands for one place where a device can fail or be slow.
pub trait Fault: Send + Sync {
    /// Called by the writer thread before a batch is written; an error is the batch's storage failure, waiting is a slow device.
    ///
    /// # Errors
    /// Whatever the device shall answer.
    fn before_write(&self, batch: BatchFacts) -> io::Result<()> {
        let _ = batch;
        Ok(())
    }

    /// The free bytes that the log's device shall report instead of `measured`.
    fn available_bytes(&self, measured: u64) -> u64 {
        measured
    }
}
