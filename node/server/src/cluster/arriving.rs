//! Receiving a snapshot: its files gather in a folder of their own until all are there, then they are checked and installed.
//! What has arrived stays where the connection breaks or the node restarts.

use std::io::Write;
use std::path::{Component, Path, PathBuf};

use thermocline_proto::replica::v1 as wire;

use super::sending::checksum;

/// A snapshot that is not taken in.
#[derive(Debug, thiserror::Error)]
pub enum ArrivalError {
    /// A file or folder cannot be read or written.
    #[error("{attempt} {}", path.display())]
    Io {
        /// What was attempted.
        attempt: &'static str,
        /// Which.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A name that is no plain file name.
    #[error("a snapshot names {name:?}, which is no file name")]
    Name {
        /// The name.
        name: String,
    },
    /// A part that does not follow what has arrived.
    #[error("a part of {file} begins at {offset}, but {have} bytes of it are here")]
    Gap {
        /// Of which file.
        file: String,
        /// Where it begins.
        offset: u64,
        /// What is here.
        have: u64,
    },
    /// A file is not what was offered.
    #[error("{file} has {found_bytes} bytes with checksum {found:016x}, {bytes} with {expected:016x} were offered")]
    Damaged {
        /// Which.
        file: String,
        /// What was offered.
        bytes: u64,
        /// What was offered.
        expected: u64,
        /// What is here.
        found_bytes: u64,
        /// What is here.
        found: u64,
    },
}

fn io(attempt: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> ArrivalError {
    let path = path.to_owned();
    move |source| ArrivalError::Io { attempt, path, source }
}

fn plain(name: &str) -> Result<&str, ArrivalError> {
    let mut parts = Path::new(name).components();
    match (parts.next(), parts.next()) {
        (Some(Component::Normal(_)), None) => Ok(name),
        _ => Err(ArrivalError::Name { name: name.to_owned() }),
    }
}

/// Where a snapshot gathers: `arriving/<replica>/<id>`.
pub fn folder(arriving: &Path, to: u64, id: &str) -> Result<PathBuf, ArrivalError> {
    Ok(arriving.join(to.to_string()).join(plain(id)?))
}

/// Makes room for a snapshot, and forgets another one for the same replica; how much of each file is here.
pub fn offered(arriving: &Path, offer: &wire::SnapshotOffer) -> Result<Vec<u64>, ArrivalError> {
    let folder = folder(arriving, offer.to, &offer.id)?;
    let of_replica = arriving.join(offer.to.to_string());
    std::fs::create_dir_all(&folder).map_err(io("create", &folder))?;
    for other in std::fs::read_dir(&of_replica).map_err(io("list", &of_replica))? {
        let path = other.map_err(io("list", &of_replica))?.path();
        if path != folder {
            std::fs::remove_dir_all(&path).map_err(io("remove", &path))?;
        }
    }
    offer.files.iter().map(|file| have(&folder.join(plain(&file.name)?))).collect()
}

fn have(path: &Path) -> Result<u64, ArrivalError> {
    match std::fs::metadata(path) {
        Ok(found) => Ok(found.len()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(io("look at", path)(error)),
    }
}

/// Adds a part to its file.
pub fn part(arriving: &Path, part: &wire::SnapshotPart) -> Result<(), ArrivalError> {
    let path = folder(arriving, part.to, &part.id)?.join(plain(&part.file)?);
    let have = have(&path)?;
    if have != part.offset {
        return Err(ArrivalError::Gap { file: part.file.clone(), offset: part.offset, have });
    }
    let mut file = std::fs::OpenOptions::new().append(true).create(true).open(&path).map_err(io("open", &path))?;
    file.write_all(&part.content).map_err(io("write", &path))
}

/// Checks that all files are what was offered, and syncs them. A damaged one is removed, so that it is sent again.
pub fn checked(arriving: &Path, offer: &wire::SnapshotOffer) -> Result<PathBuf, ArrivalError> {
    let folder = folder(arriving, offer.to, &offer.id)?;
    for file in &offer.files {
        let path = folder.join(plain(&file.name)?);
        let (found_bytes, found) = checksum(&path).map_err(io("read", &path))?;
        if (found_bytes, found) != (file.bytes, file.checksum) {
            std::fs::remove_file(&path).map_err(io("remove", &path))?;
            let (file, bytes, expected) = (file.name.clone(), file.bytes, file.checksum);
            return Err(ArrivalError::Damaged { file, bytes, expected, found_bytes, found });
        }
        std::fs::File::open(&path).and_then(|file| file.sync_all()).map_err(io("sync", &path))?;
    }
    Ok(folder)
}

/// Removes what has arrived for a replica.
pub fn forget(arriving: &Path, to: u64) {
    let of_replica = arriving.join(to.to_string());
    if let Err(error) = std::fs::remove_dir_all(&of_replica)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(folder = %of_replica.display(), %error, "a snapshot that was installed is still there");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn offer(content: &[u8]) -> wire::SnapshotOffer {
        let file = wire::SnapshotFile {
            name: "a.sst".to_owned(),
            bytes: content.len() as u64,
            checksum: xxhash_rust::xxh3::xxh3_64(content),
        };
        wire::SnapshotOffer { to: 7, id: "s1".to_owned(), files: vec![file] }
    }

    fn send(offset: u64, content: &'static [u8]) -> wire::SnapshotPart {
        let (id, file) = ("s1".to_owned(), "a.sst".to_owned());
        wire::SnapshotPart { to: 7, id, file, offset, content: content.into() }
    }

    #[test]
    fn what_has_arrived_is_not_sent_again_and_a_part_that_does_not_follow_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let offer = offer(b"abcdef");
        assert_eq!(offered(folder.path(), &offer).unwrap(), [0]);
        part(folder.path(), &send(0, b"abc")).unwrap();
        assert_eq!(offered(folder.path(), &offer).unwrap(), [3]);
        assert!(matches!(part(folder.path(), &send(4, b"ef")), Err(ArrivalError::Gap { have: 3, .. })));
        part(folder.path(), &send(3, b"def")).unwrap();
        assert!(checked(folder.path(), &offer).is_ok());
    }

    #[test]
    fn a_damaged_file_is_not_installed_and_is_sent_anew() {
        let folder = tempfile::tempdir().unwrap();
        let offer = offer(b"abcdef");
        offered(folder.path(), &offer).unwrap();
        part(folder.path(), &send(0, b"abcdeX")).unwrap();
        assert!(matches!(checked(folder.path(), &offer), Err(ArrivalError::Damaged { .. })));
        assert_eq!(offered(folder.path(), &offer).unwrap(), [0]);
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in ["../x", "/etc/x", "a/b", "", ".."] {
            assert!(matches!(plain(name), Err(ArrivalError::Name { .. })), "{name}");
        }
        assert!(plain("0010-000000000001.sst").is_ok());
    }
}
