//! What the roots hold before the first process starts: all of it is durable.

use std::{fs, io, os::unix::fs::MetadataExt, path::Path};

use crate::record::{Entry, Inode, Kind, baseline_frame};

/// The inode behind an entry itself, not behind what a symbolic link points to.
pub(crate) fn inode_of(metadata: &fs::Metadata) -> Inode {
    Inode { device: metadata.dev(), number: metadata.ino() }
}

/// What an entry names.
pub(crate) fn kind_of(metadata: &fs::Metadata) -> Kind {
    let kind = metadata.file_type();
    if kind.is_file() {
        Kind::File
    } else if kind.is_dir() {
        Kind::Folder
    } else if kind.is_symlink() {
        Kind::Symlink
    } else {
        Kind::Other
    }
}

/// Frames for `folder` and every folder below it.
pub(crate) fn frames_below(folder: &Path, frames: &mut Vec<u8>) -> io::Result<()> {
    let mut entries = Vec::new();
    for child in fs::read_dir(folder)? {
        let child = child?;
        let metadata = child.metadata()?;
        let entry = Entry { inode: inode_of(&metadata), kind: kind_of(&metadata), name: child.file_name() };
        if entry.kind == Kind::Folder {
            frames_below(&child.path(), frames)?;
        }
        entries.push(entry);
    }
    frames.extend(baseline_frame(inode_of(&fs::metadata(folder)?), &entries));
    Ok(())
}
