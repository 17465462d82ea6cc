//! Input that a person can interrupt: a read of a terminal or a quiet pipe waits for as long as it likes, and so does the
//! opening of a named pipe that nobody writes to.

use std::{
    fs::File,
    io::{self, Read},
    path::PathBuf,
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    time::Duration,
};

use crate::interrupt::Interrupt;

const CHUNK_BYTES: usize = 256 * 1024;
/// How often it looks whether it was interrupted.
const GLANCE: Duration = Duration::from_millis(50);

/// Reads on a thread of its own, which nobody waits for.
pub struct StreamedInput {
    chunks: Receiver<io::Result<Vec<u8>>>,
    interrupt: Interrupt,
    chunk: Vec<u8>,
    given: usize,
}

impl StreamedInput {
    /// Of standard input; fails when `interrupt` is asked while it waits.
    #[must_use]
    pub fn stdin(interrupt: Interrupt) -> Self {
        Self::of(|| Ok(io::stdin()), interrupt)
    }

    /// Of a pipe or device that has a path; fails when `interrupt` is asked while it waits.
    #[must_use]
    pub fn file(path: PathBuf, interrupt: Interrupt) -> Self {
        Self::of(move || File::open(path), interrupt)
    }

    fn of<R: Read>(open: impl FnOnce() -> io::Result<R> + Send + 'static, interrupt: Interrupt) -> Self {
        let (sender, chunks) = sync_channel(1);
        std::thread::spawn(move || {
            let mut source = match open() {
                Ok(source) => source,
                Err(error) => {
                    // Where nobody reads any more, nobody asks why.
                    let _ = sender.send(Err(error));
                    return;
                }
            };
            loop {
                let mut chunk = vec![0; CHUNK_BYTES];
                let read = source.read(&mut chunk);
                let over = !matches!(read, Ok(1..));
                let sent = sender.send(read.map(|length| {
                    chunk.truncate(length);
                    chunk
                }));
                // Nobody reads any more, or there is nothing more to read.
                if sent.is_err() || over {
                    return;
                }
            }
        });
        Self { chunks, interrupt, chunk: Vec::new(), given: 0 }
    }
}

impl Read for StreamedInput {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.given == self.chunk.len() {
            match self.chunks.recv_timeout(GLANCE) {
                Ok(Ok(chunk)) if chunk.is_empty() => return Ok(0),
                Ok(chunk) => (self.chunk, self.given) = (chunk?, 0),
                Err(RecvTimeoutError::Timeout) if self.interrupt.asked() => {
                    return Err(io::Error::other("interrupted"));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(0),
            }
        }
        let length = buffer.len().min(self.chunk.len() - self.given);
        buffer[..length].copy_from_slice(&self.chunk[self.given..self.given + length]);
        self.given += length;
        Ok(length)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_is_read_to_its_end() {
        let (_ask, interrupt) = Interrupt::asked_by();
        let bytes: Vec<u8> = (0..CHUNK_BYTES + 10).map(|place| place as u8).collect();
        let (mut read, source) = (Vec::new(), io::Cursor::new(bytes.clone()));
        StreamedInput::of(|| Ok(source), interrupt).read_to_end(&mut read).unwrap();
        assert!(read == bytes);
    }

    #[test]
    fn a_read_that_waits_is_interrupted() {
        struct Quiet;
        impl Read for Quiet {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                loop {
                    std::thread::park();
                }
            }
        }
        let (ask, interrupt) = Interrupt::asked_by();
        let (said, heard) = std::sync::mpsc::channel();
        std::thread::spawn(move || said.send(StreamedInput::of(|| Ok(Quiet), interrupt).read(&mut [0])));
        assert!(heard.recv_timeout(Duration::from_millis(200)).is_err(), "it waits");
        ask.send_replace(true);
        assert!(heard.recv_timeout(Duration::from_secs(20)).unwrap().is_err());
    }
}
