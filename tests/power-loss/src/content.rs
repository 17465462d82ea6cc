//! Takes a file's content back to an earlier state by undoing its logged changes, last one first.
//!
//! Every step is harmless where the change it undoes was logged but not made, which is how a kill may leave the last ones.

use std::{fs::File, io, ops::Range, os::unix::fs::FileExt};

/// One call's changes of one file.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    /// Index of the call's last record, to be compared with where a sync began.
    pub(crate) position: usize,
    pub(crate) operation: u64,
    /// The size before; none where the kill came between the overwritten bytes' record and the call's own, before the call.
    pub(crate) old_size: Option<u64>,
    /// Overwritten bytes: offset in the file, place in the log.
    pub(crate) overwritten: Vec<(u64, Range<usize>)>,
    /// Offset and length of a write; none for other changes.
    pub(crate) written: Option<(u64, u64)>,
}

impl Change {
    fn undo(&self, file: &File, log: &[u8]) -> io::Result<()> {
        let Some(old_size) = self.old_size else { return Ok(()) };
        file.set_len(old_size)?;
        for (offset, bytes) in &self.overwritten {
            let bytes = log.get(bytes.clone()).ok_or(io::ErrorKind::UnexpectedEof)?;
            file.write_all_at(bytes, *offset)?;
        }
        Ok(())
    }
}

/// Undoes all of `changes` but the first `kept`, and keeps the first `torn_bytes` bytes of the first undone one if it is a write.
pub(crate) fn revert(file: &File, changes: &[Change], kept: usize, torn_bytes: u64, log: &[u8]) -> io::Result<()> {
    let undone = changes.get(kept..).unwrap_or_default();
    for change in undone.iter().skip(1).rev() {
        change.undo(file, log)?;
    }
    let Some(first) = undone.first() else { return Ok(()) };
    let survivor = match first.written {
        Some((offset, length)) => Some((offset, read_up_to(file, offset, torn_bytes.min(length))?)),
        None => None,
    };
    first.undo(file, log)?;
    match survivor {
        Some((offset, bytes)) => file.write_all_at(&bytes, offset),
        None => Ok(()),
    }
}

/// Fewer bytes where the file ends sooner: a failed write was logged with its full length.
fn read_up_to(file: &File, offset: u64, length: u64) -> io::Result<Vec<u8>> {
    let present = file.metadata()?.len().saturating_sub(offset).min(length);
    let mut bytes = vec![0; usize::try_from(present).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes)
}
