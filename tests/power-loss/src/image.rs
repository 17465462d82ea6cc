//! Turns a log and the live folders into the image of the disk after the power loss.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ffi::OsString,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use thiserror::Error;

use crate::{
    baseline::{inode_of, kind_of},
    content,
    record::{Inode, Kind, RecordError, read_records},
    state::{NodeId, State},
    survival::{Draw, Survival},
};

/// Why no image could be made. In place, the roots may then be half rebuilt and are of no use.
#[derive(Debug, Error)]
pub enum RebuildError {
    /// The log is not readable.
    #[error("failed to read the log {}", path.display())]
    ReadLog {
        /// The log.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The log is readable but wrong.
    #[error("failed to decode the log")]
    Decode(#[source] RecordError),
    /// The shim wrote nothing, so an image would be the live state and prove nothing.
    #[error("the log names no process: the program was started without the shim, or it is linked statically")]
    NoProcess,
    /// A root is not the folder that was there at the start.
    #[error("the root {} is not in the log: it must exist before the first process starts and must not be replaced", path.display())]
    UnknownRoot {
        /// The root.
        path: PathBuf,
    },
    /// A durable file is neither below a root nor in a graveyard.
    #[error("{} has durable content but is gone: it was removed by a raw system call or by a process without the shim", path.display())]
    Gone {
        /// Where the image needs it.
        path: PathBuf,
    },
    /// A step on the file system failed.
    #[error("failed to {action} {}", path.display())]
    File {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Where the image goes.
#[derive(Debug, Clone, Copy)]
pub enum Destination<'a> {
    /// The roots themselves become the image; graveyards are emptied and the log is cut to nothing. No process may use the roots.
    InPlace,
    /// A new folder, with one folder per root inside, named `0`, `1` and so on. Nothing else changes.
    Folder(&'a Path),
}

/// Choices for one image.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// What survives of that which was not synced.
    pub survival: Survival,
    /// Whether a sync of a new file, or of one with a new link, makes its entry durable too, as on ext4. Off, the entry needs a sync of its folder.
    pub lenient_create: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { survival: Survival::Nothing, lenient_create: false }
    }
}

/// What was done.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Report {
    /// Processes that ran since the last rebuild.
    pub processes: usize,
    /// Content changes that were lost, over the files in the image.
    pub lost_changes: usize,
    /// Changes of names that were lost.
    pub lost_names: usize,
    /// Torn records that were skipped: at most one per killed process.
    pub torn_records: usize,
    /// Files in the image whose creation the shim did not see. Their content counts as durable, so this should be empty.
    pub unrecorded: Vec<PathBuf>,
    /// The image's folder of each root.
    pub roots: Vec<PathBuf>,
}

/// What a disk holds after the power is lost.
#[derive(Debug)]
pub struct DurableImage;

impl DurableImage {
    /// Makes the image of `roots` from the log, the live files and the graveyards, after all recorded processes have ended.
    ///
    /// # Errors
    /// See [`RebuildError`].
    pub fn rebuild(
        log: &Path,
        roots: &[PathBuf],
        graveyards: &[PathBuf],
        destination: Destination<'_>,
        options: Options,
    ) -> Result<Report, RebuildError> {
        let bytes = fs::read(log).map_err(|source| RebuildError::ReadLog { path: log.to_owned(), source })?;
        let (records, torn_records) = read_records(&bytes).map_err(RebuildError::Decode)?;
        let mut state = State::replay(records, options.lenient_create);
        if state.processes == 0 {
            return Err(RebuildError::NoProcess);
        }
        let mut draw = Draw::new(options.survival);
        let lost_names = keep_names(&mut state, &mut draw);

        let mut sources = HashMap::new();
        for folder in roots.iter().chain(graveyards) {
            find_sources(folder, &mut sources)?;
        }
        let report = Report { processes: state.processes, lost_names, torn_records, ..Report::default() };
        let mut builder =
            Builder { state, draw, sources, log: &bytes, made: BTreeMap::new(), folders: BTreeSet::new(), report };
        match destination {
            Destination::Folder(into) => builder.copy(roots, into)?,
            Destination::InPlace => {
                builder.replace(roots, graveyards)?;
                empty(graveyards)?;
                File::create(log).map_err(file("empty", log))?;
            }
        }
        Ok(builder.report)
    }
}

fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RebuildError {
    let path = path.to_owned();
    move |source| RebuildError::File { action, path, source }
}

fn children(folder: &Path) -> Result<Vec<PathBuf>, RebuildError> {
    let children = fs::read_dir(folder).map_err(file("list", folder))?;
    children.map(|child| Ok(child.map_err(file("list", folder))?.path())).collect()
}

/// Some path to every file below `folder`.
fn find_sources(folder: &Path, sources: &mut HashMap<Inode, PathBuf>) -> Result<(), RebuildError> {
    for path in children(folder)? {
        let metadata = fs::symlink_metadata(&path).map_err(file("look at", &path))?;
        match kind_of(&metadata) {
            Kind::Folder => find_sources(&path, sources)?,
            _ => drop(sources.insert(inode_of(&metadata), path)),
        }
    }
    Ok(())
}

/// Applies the surviving name changes to the durable entries: of each folder the first ones, a rename in both folders or in
/// neither. Returns how many are lost.
fn keep_names(state: &mut State, draw: &mut Draw) -> usize {
    let names = std::mem::take(&mut state.names);
    let mut left: BTreeMap<NodeId, usize> = BTreeMap::new();
    for change in &names {
        *left.entry(change.folder).or_default() += 1;
    }
    for limit in left.values_mut() {
        *limit = draw.kept(*limit);
    }
    let mut lost = 0;
    for calls in names.chunk_by(|one, other| one.position == other.position) {
        let mut needed: BTreeMap<NodeId, usize> = BTreeMap::new();
        for change in calls {
            *needed.entry(change.folder).or_default() += 1;
        }
        let survives = needed.iter().all(|(folder, count)| left.get(folder) >= Some(count));
        for (folder, count) in needed {
            let limit = left.entry(folder).or_default();
            *limit = if survives { *limit - count } else { 0 };
        }
        if !survives {
            lost += calls.len();
            continue;
        }
        for change in calls {
            let entries = &mut state.nodes[change.folder].entries;
            match change.to {
                Some(node) => drop(entries.insert(change.name.clone(), node)),
                None => drop(entries.remove(&change.name)),
            }
        }
    }
    lost
}

fn empty(folders: &[PathBuf]) -> Result<(), RebuildError> {
    for folder in folders {
        for path in children(folder)? {
            remove(&path)?;
        }
    }
    Ok(())
}

fn remove(path: &Path) -> Result<(), RebuildError> {
    let metadata = fs::symlink_metadata(path).map_err(file("look at", path))?;
    let removed = if metadata.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    removed.map_err(file("remove", path))
}

/// How a file gets from where it is into the image.
#[derive(Clone, Copy)]
enum Transfer {
    Copy,
    Link,
}

struct Builder<'a> {
    state: State,
    draw: Draw,
    sources: HashMap<Inode, PathBuf>,
    log: &'a [u8],
    /// Files that are in the image already, for their further names.
    made: BTreeMap<NodeId, PathBuf>,
    folders: BTreeSet<NodeId>,
    report: Report,
}

impl Builder<'_> {
    fn root(&self, root: &Path) -> Result<NodeId, RebuildError> {
        let metadata = fs::metadata(root).map_err(file("look at", root))?;
        self.state.node_of(inode_of(&metadata)).ok_or_else(|| RebuildError::UnknownRoot { path: root.to_owned() })
    }

    fn copy(&mut self, roots: &[PathBuf], into: &Path) -> Result<(), RebuildError> {
        fs::create_dir_all(into).map_err(file("create", into))?;
        for (index, root) in roots.iter().enumerate() {
            let target = into.join(index.to_string());
            fs::create_dir(&target).map_err(file("create", &target))?;
            self.fill(self.root(root)?, &target, Transfer::Copy)?;
            self.report.roots.push(target);
        }
        Ok(())
    }

    /// Builds each image beside the graveyard's files, then swaps what is inside the root: the root itself may be a mount point.
    fn replace(&mut self, roots: &[PathBuf], graveyards: &[PathBuf]) -> Result<(), RebuildError> {
        let mut staged = Vec::new();
        for (index, root) in roots.iter().enumerate() {
            let Some(graveyard) = graveyards.get(index).or_else(|| graveyards.first()) else {
                return Err(RebuildError::UnknownRoot { path: root.clone() });
            };
            let staging = graveyard.join(format!("staging-{index}"));
            fs::create_dir(&staging).map_err(file("create", &staging))?;
            self.fill(self.root(root)?, &staging, Transfer::Link)?;
            staged.push((staging, root));
        }
        for (staging, root) in staged {
            empty(std::slice::from_ref(root))?;
            for path in children(&staging)? {
                let target = root.join(path.file_name().unwrap_or_default());
                fs::rename(&path, &target).map_err(file("move into place", &target))?;
            }
            self.report.roots.push(root.clone());
        }
        Ok(())
    }

    fn fill(&mut self, folder: NodeId, target: &Path, transfer: Transfer) -> Result<(), RebuildError> {
        let entries: Vec<(OsString, NodeId)> =
            self.state.nodes[folder].entries.iter().map(|(name, node)| (name.clone(), *node)).collect();
        for (name, id) in entries {
            let path = target.join(name);
            match self.state.nodes[id].kind {
                // Survivors of several renames of one folder could name it twice; it has one place.
                Kind::Folder if !self.folders.insert(id) => {}
                Kind::Folder => {
                    fs::create_dir(&path).map_err(file("create", &path))?;
                    self.fill(id, &path, transfer)?;
                }
                Kind::File | Kind::Symlink => self.place(id, &path, transfer)?,
                Kind::Other => {}
            }
        }
        Ok(())
    }

    fn place(&mut self, id: NodeId, path: &Path, transfer: Transfer) -> Result<(), RebuildError> {
        if let Some(first) = self.made.get(&id) {
            return fs::hard_link(first, path).map_err(file("link", path));
        }
        let node = &self.state.nodes[id];
        let source = self.sources.get(&node.inode).ok_or_else(|| RebuildError::Gone { path: path.to_owned() })?;
        match (transfer, node.kind) {
            (Transfer::Link, _) => fs::hard_link(source, path).map_err(file("link", path))?,
            (Transfer::Copy, Kind::Symlink) => {
                let target = fs::read_link(source).map_err(file("read the link", source))?;
                std::os::unix::fs::symlink(target, path).map_err(file("link", path))?;
            }
            (Transfer::Copy, _) => drop(fs::copy(source, path).map_err(file("copy to", path))?),
        }
        if node.kind == Kind::File && !node.changes.is_empty() {
            let kept = self.draw.kept(node.changes.len());
            let written = node.changes.get(kept).and_then(|change| change.written);
            let torn = self.draw.kept_bytes(written.map_or(0, |(_, length)| length));
            let opened = File::options().read(true).write(true).open(path).map_err(file("open", path))?;
            content::revert(&opened, &node.changes, kept, torn, self.log)
                .map_err(file("take back changes of", path))?;
            self.report.lost_changes += node.changes.len() - kept;
        }
        if !node.recorded {
            self.report.unrecorded.push(path.to_owned());
        }
        self.made.insert(id, path.to_owned());
        Ok(())
    }
}
