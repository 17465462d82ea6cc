//! How a request answers: a callback that is called exactly once, whatever happens.

use crossbeam_channel::{Receiver, bounded};

use super::error::LogError;

type Callback = Box<dyn FnOnce(Result<(), LogError>) + Send>;

/// What is called when a request is durable or has failed.
///
/// Called exactly once: by the writer thread in the order of the requests, or, when a request is refused before it is
/// queued, by the thread that made it. It must be short and must not wait for the log store, since every group waits meanwhile.
pub struct Completion {
    // `None` after the call.
    callback: Option<Callback>,
}

impl Completion {
    /// Wraps a callback.
    pub fn new(callback: impl FnOnce(Result<(), LogError>) + Send + 'static) -> Self {
        Self { callback: Some(Box::new(callback)) }
    }

    /// A completion and the other end, on which a thread can wait.
    pub fn channel() -> (Self, Pending) {
        let (sender, receiver) = bounded(1);
        // A receiver that is gone no longer wants the answer.
        let completion = Self::new(move |outcome| drop(sender.send(outcome)));
        (completion, Pending { receiver })
    }

    pub(super) fn complete(mut self, outcome: Result<(), LogError>) {
        self.call(outcome);
    }

    fn call(&mut self, outcome: Result<(), LogError>) {
        if let Some(callback) = self.callback.take() {
            callback(outcome);
        }
    }
}

/// A completion that nobody called, because its store went away, still answers.
impl Drop for Completion {
    fn drop(&mut self) {
        self.call(Err(LogError::Closed));
    }
}

impl std::fmt::Debug for Completion {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Completion").finish_non_exhaustive()
    }
}

/// The waiting end of [`Completion::channel`].
#[derive(Debug)]
pub struct Pending {
    receiver: Receiver<Result<(), LogError>>,
}

impl Pending {
    /// Waits until the request is durable or has failed.
    ///
    /// # Errors
    /// What the request failed with.
    pub fn wait(self) -> Result<(), LogError> {
        self.receiver.recv().unwrap_or(Err(LogError::Closed))
    }

    /// The outcome, if there is one already.
    pub fn poll(&self) -> Option<Result<(), LogError>> {
        self.receiver.try_recv().ok()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_completion_that_is_dropped_answers_closed_and_a_called_one_answers_once() {
        let (completion, pending) = Completion::channel();
        drop(completion);
        assert!(matches!(pending.wait(), Err(LogError::Closed)));

        let (completion, pending) = Completion::channel();
        assert!(pending.poll().is_none());
        completion.complete(Ok(()));
        assert!(matches!(pending.poll(), Some(Ok(()))));
        assert!(pending.poll().is_none(), "no second answer from the drop");
    }
}
