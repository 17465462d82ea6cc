//! The log's records: framing, decoding, and the one kind this side writes (the baseline).
//!
//! Frame: magic u32, kind u32, payload length u32, FNV-1a over kind, length and payload u32, payload; integers are little
//! endian. A kill can tear the record being written. [`read_records`] skips to the next frame whose sum is right and counts the gap.

use std::{
    ffi::{OsStr, OsString},
    ops::Range,
    os::unix::ffi::{OsStrExt, OsStringExt},
};

use thiserror::Error;

const MAGIC: u32 = 0x4c50_5443;
const HEAD: usize = 16;
const BASELINE: u32 = 12;

/// A frame with a right sum does not hold what its kind promises.
#[derive(Debug, Error)]
pub enum RecordError {
    /// The payload ended inside a field.
    #[error("record {index} of kind {kind} ends inside a field: log and library are of different versions")]
    Short {
        /// Position of the record in the log, from 0.
        index: usize,
        /// Its kind.
        kind: u32,
    },
    /// The kind is not known.
    #[error("record {index} is of the unknown kind {kind}: log and library are of different versions")]
    UnknownKind {
        /// Position of the record in the log, from 0.
        index: usize,
        /// Its kind.
        kind: u32,
    },
}

/// A file, folder or link as the kernel numbers it. Numbers of removed folders are used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Inode {
    pub(crate) device: u64,
    pub(crate) number: u64,
}

/// What an entry names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Folder,
    Symlink,
    /// Sockets, pipes and devices: left out of images.
    Other,
}

impl Kind {
    fn from_code(code: u8) -> Self {
        match code {
            1 => Self::File,
            2 => Self::Folder,
            3 => Self::Symlink,
            _ => Self::Other,
        }
    }

    fn code(self) -> u8 {
        match self {
            Self::File => 1,
            Self::Folder => 2,
            Self::Symlink => 3,
            Self::Other => 4,
        }
    }
}

/// One name in a listed folder.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) inode: Inode,
    pub(crate) kind: Kind,
    pub(crate) name: OsString,
}

/// One thing that happened. `operation` is unique in a log and joins the records of one call.
#[derive(Debug)]
pub(crate) enum Record {
    Start,
    Create {
        folder: Inode,
        entry: Entry,
    },
    Link {
        folder: Inode,
        entry: Entry,
    },
    Unlink {
        folder: Inode,
        entry: Entry,
    },
    Rename {
        from: Inode,
        to: Inode,
        entry: Entry,
        new_name: OsString,
        replaced: Option<(Inode, Kind)>,
    },
    Write {
        inode: Inode,
        operation: u64,
        offset: u64,
        length: u64,
        old_size: u64,
    },
    /// Bytes about to be overwritten; `bytes` is their place in the log.
    Preimage {
        inode: Inode,
        operation: u64,
        offset: u64,
        bytes: Range<usize>,
    },
    Resize {
        inode: Inode,
        operation: u64,
        old_size: u64,
    },
    FileSyncBegin {
        operation: u64,
        inode: Inode,
    },
    FolderSyncBegin {
        operation: u64,
        inode: Inode,
        entries: Vec<Entry>,
    },
    SyncDone {
        operation: u64,
    },
    Baseline {
        inode: Inode,
        entries: Vec<Entry>,
    },
}

/// All whole records of a log, and how many gaps were skipped.
pub(crate) fn read_records(log: &[u8]) -> Result<(Vec<Record>, usize), RecordError> {
    let mut records = Vec::new();
    let (mut at, mut gaps, mut inside_gap) = (0, 0, false);
    while at < log.len() {
        let Some((kind, payload)) = frame(log, at) else {
            gaps += usize::from(!inside_gap);
            inside_gap = true;
            at += 1;
            continue;
        };
        inside_gap = false;
        at = payload.end;
        records.push(decode(log, kind, payload, records.len())?);
    }
    Ok((records, gaps))
}

fn frame(log: &[u8], at: usize) -> Option<(u32, Range<usize>)> {
    let word = |offset: usize| {
        let bytes = log.get(at + offset..at + offset + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    };
    if word(0)? != MAGIC {
        return None;
    }
    let (kind, length, sum) = (word(4)?, word(8)?, word(12)?);
    let payload = at + HEAD..at + HEAD + length as usize;
    (checksum(kind, log.get(payload.clone())?) == sum).then_some((kind, payload))
}

fn checksum(kind: u32, payload: &[u8]) -> u32 {
    let length = payload.len() as u32;
    let head = kind.to_le_bytes().into_iter().chain(length.to_le_bytes());
    head.chain(payload.iter().copied())
        .fold(2_166_136_261, |state, byte| (state ^ u32::from(byte)).wrapping_mul(16_777_619))
}

/// A cursor over one payload.
struct Fields<'a> {
    log: &'a [u8],
    left: Range<usize>,
    index: usize,
    kind: u32,
}

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], RecordError> {
        let short = RecordError::Short { index: self.index, kind: self.kind };
        if self.left.len() < length {
            return Err(short);
        }
        let bytes = self.log.get(self.left.start..self.left.start + length).ok_or(short)?;
        self.left.start += length;
        Ok(bytes)
    }

    fn number(&mut self) -> Result<u64, RecordError> {
        Ok(self.take(8)?.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    fn inode(&mut self) -> Result<Inode, RecordError> {
        Ok(Inode { device: self.number()?, number: self.number()? })
    }

    fn kind(&mut self) -> Result<Kind, RecordError> {
        Ok(Kind::from_code(self.take(1)?.first().copied().unwrap_or(0)))
    }

    fn name(&mut self) -> Result<OsString, RecordError> {
        let length = self.take(2)?.iter().rev().fold(0, |value, byte| value << 8 | usize::from(*byte));
        Ok(OsString::from_vec(self.take(length)?.to_vec()))
    }

    fn entry(&mut self) -> Result<Entry, RecordError> {
        Ok(Entry { inode: self.inode()?, kind: self.kind()?, name: self.name()? })
    }

    fn entries(&mut self) -> Result<Vec<Entry>, RecordError> {
        let mut entries = Vec::new();
        while !self.left.is_empty() {
            entries.push(self.entry()?);
        }
        Ok(entries)
    }
}

fn decode(log: &[u8], kind: u32, payload: Range<usize>, index: usize) -> Result<Record, RecordError> {
    let mut fields = Fields { log, left: payload, index, kind };
    Ok(match kind {
        1 => Record::Start,
        2 => Record::Create { folder: fields.inode()?, entry: fields.entry()? },
        3 => Record::Link { folder: fields.inode()?, entry: fields.entry()? },
        4 => Record::Unlink { folder: fields.inode()?, entry: fields.entry()? },
        5 => {
            let (from, to, inode, kind) = (fields.inode()?, fields.inode()?, fields.inode()?, fields.kind()?);
            let (replaced, replaced_code) = (fields.inode()?, fields.take(1)?.first().copied().unwrap_or(0));
            let replaced = (replaced_code != 0).then(|| (replaced, Kind::from_code(replaced_code)));
            let entry = Entry { inode, kind, name: fields.name()? };
            Record::Rename { from, to, entry, new_name: fields.name()?, replaced }
        }
        6 => Record::Write {
            inode: fields.inode()?,
            operation: fields.number()?,
            offset: fields.number()?,
            length: fields.number()?,
            old_size: fields.number()?,
        },
        7 => Record::Preimage {
            inode: fields.inode()?,
            operation: fields.number()?,
            offset: fields.number()?,
            bytes: fields.left,
        },
        8 => Record::Resize { inode: fields.inode()?, operation: fields.number()?, old_size: fields.number()? },
        9 => Record::FileSyncBegin { operation: fields.number()?, inode: fields.inode()? },
        10 => {
            Record::FolderSyncBegin { operation: fields.number()?, inode: fields.inode()?, entries: fields.entries()? }
        }
        11 => Record::SyncDone { operation: fields.number()? },
        BASELINE => Record::Baseline { inode: fields.inode()?, entries: fields.entries()? },
        _ => return Err(RecordError::UnknownKind { index, kind }),
    })
}

/// The frame that tells what a folder held before the first process started.
pub(crate) fn baseline_frame(folder: Inode, entries: &[Entry]) -> Vec<u8> {
    let mut payload = Vec::new();
    let put_inode = |payload: &mut Vec<u8>, inode: Inode| {
        payload.extend(inode.device.to_le_bytes());
        payload.extend(inode.number.to_le_bytes());
    };
    put_inode(&mut payload, folder);
    for entry in entries {
        let name: &OsStr = &entry.name;
        put_inode(&mut payload, entry.inode);
        payload.push(entry.kind.code());
        // Linux limits names to 255 bytes.
        payload.extend((name.len() as u16).to_le_bytes());
        payload.extend(name.as_bytes());
    }
    let mut frame = Vec::with_capacity(HEAD + payload.len());
    for word in [MAGIC, BASELINE, payload.len() as u32, checksum(BASELINE, &payload)] {
        frame.extend(word.to_le_bytes());
    }
    frame.extend(payload);
    frame
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    fn folder(number: u64) -> Vec<u8> {
        let entry = Entry { inode: Inode { device: 1, number: number + 1 }, kind: Kind::File, name: "a".into() };
        baseline_frame(Inode { device: 1, number }, &[entry])
    }

    #[test]
    fn a_record_torn_at_any_byte_hides_only_itself() {
        for torn in 1..folder(20).len() {
            let mut log = folder(10);
            log.extend(folder(20).get(..torn).unwrap());
            log.extend(folder(30));
            let (records, gaps) = read_records(&log).unwrap();
            let numbers: Vec<u64> = records
                .iter()
                .map(|record| match record {
                    Record::Baseline { inode, .. } => inode.number,
                    other => panic!("unexpected {other:?}"),
                })
                .collect();
            assert_eq!((numbers, gaps), (vec![10, 30], 1), "torn after {torn} bytes");
        }
    }

    #[test]
    fn a_flipped_bit_hides_its_record() {
        let mut log = folder(10);
        *log.last_mut().unwrap() ^= 1;
        assert_eq!(read_records(&log).unwrap().0.len(), 0);
    }
}
