//! Replays the log into what is durable and what else happened since.
//!
//! Durable entries of a folder are those it had when its last returned sync began, read from the folder itself by the shim, so a
//! record that a kill cut off cannot falsify them. Changes since then are kept in order for images in which some of them survive.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::OsString,
};

use crate::{
    content,
    record::{Entry, Inode, Kind, Record},
};

/// Index into [`State::nodes`], which never shrinks: one life of an inode, whose number may be used again.
pub(crate) type NodeId = usize;

/// A file, folder or link.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) inode: Inode,
    pub(crate) kind: Kind,
    /// Whether its creation was seen, or it was there before the first process.
    pub(crate) recorded: bool,
    /// Changes of the content that are not durable, oldest first.
    pub(crate) changes: Vec<content::Change>,
    /// Durable entries of a folder.
    pub(crate) entries: BTreeMap<OsString, NodeId>,
    /// Index of the record with which a folder's last returned sync began.
    synced: Option<usize>,
}

/// One name set or cleared in one folder, not durable.
#[derive(Debug)]
pub(crate) struct NameChange {
    /// Index of the record. Both halves of a rename share it.
    pub(crate) position: usize,
    pub(crate) folder: NodeId,
    pub(crate) name: OsString,
    pub(crate) to: Option<NodeId>,
    /// A new file or link, whose name a lenient image keeps once the file itself is synced.
    creates: bool,
}

/// A rename between folders whose new name is not durable yet.
#[derive(Debug)]
struct Crossing {
    position: usize,
    from: NodeId,
    old_name: OsString,
    to: NodeId,
    node: NodeId,
}

/// A sync that began.
#[derive(Debug)]
struct Sync {
    position: usize,
    node: NodeId,
    listing: Option<BTreeMap<OsString, NodeId>>,
}

/// Everything the log says.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) nodes: Vec<Node>,
    pub(crate) names: Vec<NameChange>,
    pub(crate) processes: usize,
    by_inode: HashMap<Inode, NodeId>,
    syncs: HashMap<u64, Sync>,
    crossings: Vec<Crossing>,
    lenient_create: bool,
}

impl State {
    /// Replays `records`, which come in the order in which they were logged.
    pub(crate) fn replay(records: Vec<Record>, lenient_create: bool) -> Self {
        let mut state = Self { lenient_create, ..Self::default() };
        for (position, record) in records.into_iter().enumerate() {
            state.apply(position, record);
        }
        state
    }

    /// The present life of an inode.
    pub(crate) fn node_of(&self, inode: Inode) -> Option<NodeId> {
        self.by_inode.get(&inode).copied()
    }

    fn apply(&mut self, position: usize, record: Record) {
        match record {
            Record::Start => self.processes += 1,
            Record::Create { folder, entry } => {
                let node = self.born(entry.inode, entry.kind);
                self.change_name(position, folder, entry.name, Some(node), true);
            }
            Record::Link { folder, entry } => {
                let node = self.seen(entry.inode, entry.kind);
                self.change_name(position, folder, entry.name, Some(node), true);
            }
            Record::Unlink { folder, entry } => {
                self.removed(entry.inode, entry.kind);
                self.change_name(position, folder, entry.name, None, false);
            }
            Record::Rename { from, to, entry, new_name, replaced } => {
                if let Some((inode, kind)) = replaced {
                    self.removed(inode, kind);
                }
                let node = self.seen(entry.inode, entry.kind);
                if from != to {
                    let (from, to) = (self.seen(from, Kind::Folder), self.seen(to, Kind::Folder));
                    self.crossings.push(Crossing { position, from, old_name: entry.name.clone(), to, node });
                }
                self.change_name(position, from, entry.name, None, false);
                self.change_name(position, to, new_name, Some(node), false);
            }
            Record::Preimage { inode, operation, offset, bytes } => {
                self.change_of(inode, operation, position).overwritten.push((offset, bytes));
            }
            Record::Write { inode, operation, offset, length, old_size } => {
                let change = self.change_of(inode, operation, position);
                change.old_size = Some(old_size);
                change.written = Some((offset, length));
            }
            Record::Resize { inode, operation, old_size } => {
                self.change_of(inode, operation, position).old_size = Some(old_size);
            }
            Record::FileSyncBegin { operation, inode } => {
                let node = self.seen(inode, Kind::File);
                self.syncs.insert(operation, Sync { position, node, listing: None });
            }
            Record::FolderSyncBegin { operation, inode, entries } => {
                let node = self.seen(inode, Kind::Folder);
                let listing = Some(self.listing(entries));
                self.syncs.insert(operation, Sync { position, node, listing });
            }
            Record::SyncDone { operation } => match self.syncs.remove(&operation) {
                Some(Sync { position, node, listing: Some(listing) }) => self.folder_synced(position, node, listing),
                Some(Sync { position, node, listing: None }) => self.file_synced(position, node),
                None => {}
            },
            Record::Baseline { inode, entries } => {
                let folder = self.seen(inode, Kind::Folder);
                let entries = self.listing(entries);
                for id in entries.values().copied().chain([folder]) {
                    self.nodes[id].recorded = true;
                }
                self.nodes[folder].entries = entries;
            }
        }
    }

    fn born(&mut self, inode: Inode, kind: Kind) -> NodeId {
        let node = Node { inode, kind, recorded: true, changes: Vec::new(), entries: BTreeMap::new(), synced: None };
        self.nodes.push(node);
        self.by_inode.insert(inode, self.nodes.len() - 1);
        self.nodes.len() - 1
    }

    fn seen(&mut self, inode: Inode, kind: Kind) -> NodeId {
        if let Some(id) = self.by_inode.get(&inode) {
            return *id;
        }
        let id = self.born(inode, kind);
        self.nodes[id].recorded = false;
        id
    }

    /// The graveyard keeps the numbers of files taken; those of folders are free again.
    fn removed(&mut self, inode: Inode, kind: Kind) {
        if kind == Kind::Folder {
            self.by_inode.remove(&inode);
        }
    }

    fn listing(&mut self, entries: Vec<Entry>) -> BTreeMap<OsString, NodeId> {
        entries.into_iter().map(|entry| (entry.name, self.seen(entry.inode, entry.kind))).collect()
    }

    fn change_name(&mut self, position: usize, folder: Inode, name: OsString, to: Option<NodeId>, creates: bool) {
        let folder = self.seen(folder, Kind::Folder);
        self.names.push(NameChange { position, folder, name, to, creates });
    }

    /// The records of one call on one file are neighbours among the file's records.
    fn change_of(&mut self, inode: Inode, operation: u64, position: usize) -> &mut content::Change {
        let id = self.seen(inode, Kind::File);
        let changes = &mut self.nodes[id].changes;
        if changes.last().is_none_or(|last| last.operation != operation) {
            let (old_size, overwritten, written) = (None, Vec::new(), None);
            changes.push(content::Change { position, operation, old_size, overwritten, written });
        }
        let last = changes.len() - 1;
        let change = &mut changes[last];
        change.position = position;
        change
    }

    fn file_synced(&mut self, began: usize, id: NodeId) {
        self.nodes[id].changes.retain(|change| change.position > began);
        if self.lenient_create {
            let (durable, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.names)
                .into_iter()
                .partition(|change| change.creates && change.to == Some(id) && change.position < began);
            self.names = rest;
            for change in durable {
                self.nodes[change.folder].entries.insert(change.name, id);
            }
        }
    }

    fn folder_synced(&mut self, began: usize, id: NodeId, mut listing: BTreeMap<OsString, NodeId>) {
        // Two syncs may overlap and return in the other order: the later picture stays.
        if self.nodes[id].synced.is_some_and(|synced| synced > began) {
            return;
        }
        self.nodes[id].synced = Some(began);
        self.names.retain(|change| change.folder != id || change.position > began);
        let (arrived, open): (Vec<_>, Vec<_>) = std::mem::take(&mut self.crossings)
            .into_iter()
            .partition(|crossing| crossing.to == id && crossing.position < began);
        self.crossings = open;
        for crossing in arrived {
            let gone =
                !self.names.iter().any(|change| change.position == crossing.position && change.folder == crossing.from);
            let is_folder = self.nodes[crossing.node].kind == Kind::Folder;
            // A file may have both names until the old folder is synced; a folder has one place.
            let from = &mut self.nodes[crossing.from].entries;
            if (gone || is_folder) && from.get(&crossing.old_name) == Some(&crossing.node) {
                from.remove(&crossing.old_name);
            }
        }
        for crossing in self.crossings.iter().filter(|crossing| crossing.from == id && crossing.position < began) {
            listing.entry(crossing.old_name.clone()).or_insert(crossing.node);
        }
        self.nodes[id].entries = listing;
    }
}

#[cfg(test)]
mod tests;
