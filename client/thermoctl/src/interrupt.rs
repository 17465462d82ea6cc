//! Ctrl-C of a command that has something to end: the first asks it to, the second ends the process.

use std::io::{self, IsTerminal, Write};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use crate::{CommandError, ExitCode};

/// Whether a person asked the command to end. Clones share the answer.
#[derive(Debug, Clone)]
pub struct Interrupt(watch::Receiver<bool>);

impl Interrupt {
    /// Listens from now on, to the end of the process. `first` and `second` give what is said when it is asked once and again;
    /// nothing where they give nothing.
    ///
    /// # Errors
    /// That signals cannot be listened to.
    pub fn listen(
        first: impl FnOnce() -> String + Send + 'static,
        second: impl FnOnce() -> String + Send + 'static,
    ) -> Result<Self, CommandError> {
        let mut signals = signal(SignalKind::interrupt())
            .map_err(|source| CommandError::Read { path: "the process's signals".into(), source })?;
        let (ask, interrupt) = Self::asked_by();
        tokio::spawn(async move {
            signals.recv().await;
            // Said before anything comes of it.
            say(&first());
            ask.send_replace(true);
            signals.recv().await;
            say(&second());
            // Who asks twice does not want to wait for what the command still does.
            std::process::exit(i32::from(ExitCode::Interrupted as u8));
        });
        Ok(interrupt)
    }

    /// One that nobody asks.
    pub fn never() -> Self {
        Self::asked_by().1
    }

    /// One that is asked by the sender.
    pub fn asked_by() -> (watch::Sender<bool>, Self) {
        let (ask, asked) = watch::channel(false);
        (ask, Self(asked))
    }

    /// Whether it was asked.
    #[must_use]
    pub fn asked(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it is asked.
    pub async fn wait(mut self) {
        if self.0.wait_for(|asked| *asked).await.is_err() {
            // Nobody is left who could ask.
            std::future::pending::<()>().await;
        }
    }
}

/// Says it whatever form answers have: who presses Ctrl-C reads it.
fn say(words: &str) {
    let mut stderr = io::stderr().lock();
    // A terminal has just shown ^C, or is in the midst of a line of progress.
    let begin = if stderr.is_terminal() { "\n" } else { "" };
    if !words.is_empty() {
        // What cannot be shown is no reason not to end.
        let _ = writeln!(stderr, "{begin}{words}");
    }
}
