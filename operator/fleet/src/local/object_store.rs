//! Objects as files: KIND.NAME.yaml in one folder.
//!
//! Contract: what is in the folder is valid, by itself and together. A change is judged completely before the first file is
//! written, under a lock that every writer takes; each file is replaced in one step, what is named before what names it. Who
//! reads all of them shares the lock and sees no change by half; who reads one takes none.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use parking_lot::Mutex;
use thermocline_crds::v1alpha1::SPLIT_POINTS_ANNOTATION;
use thermocline_crds::validate::{self, Violation};
use thermocline_crds::{Kind, Object, ObjectError, Validated};

use super::kept_data;
use super::layout::{Layout, write_in_one_step};
use crate::home::Change;
use crate::{desired, held_tiers};

/// A change that was refused, or files that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The objects are not allowed; nothing was changed.
    #[error("nothing was changed:{}", listed(.0))]
    Refused(Vec<String>),
    /// A file cannot be read or written.
    #[error("cannot {attempt} {}", path.display())]
    Io {
        /// What was attempted.
        attempt: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file does not hold an object.
    #[error("{} is not an object of this version", path.display())]
    Object {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<ObjectError>,
    },
}

fn listed(lines: &[String]) -> String {
    lines.iter().map(|line| format!("\n  {line}")).collect()
}

/// What tells one state of a file from another: a file that was replaced has another inode or time.
type Stamp = (Option<SystemTime>, u64, u64);

/// The objects of a home.
#[derive(Debug)]
pub struct ObjectStore {
    layout: Layout,
    clock: fn() -> Timestamp,
    parsed: Mutex<BTreeMap<PathBuf, (Stamp, Object)>>,
}

impl ObjectStore {
    /// The objects in a state folder; `clock` gives their times.
    #[must_use]
    pub fn new(layout: Layout, clock: fn() -> Timestamp) -> Self {
        Self { layout, clock, parsed: Mutex::default() }
    }

    fn path(&self, kind: Kind, name: &str) -> PathBuf {
        self.layout.objects().join(format!("{}.{name}.yaml", kind.as_str().to_lowercase()))
    }

    /// Every object, by kind and name; none of a change that is being written.
    ///
    /// # Errors
    /// That a file cannot be read or holds no object.
    pub fn list(&self) -> Result<Vec<Object>, StoreError> {
        let _lock = self.lock_shared()?;
        self.list_locked()
    }

    fn list_locked(&self) -> Result<Vec<Object>, StoreError> {
        let folder = self.layout.objects();
        let failed = |source| StoreError::Io { attempt: "read", path: folder.clone(), source };
        let mut parsed = self.parsed.lock();
        let mut still = BTreeMap::new();
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            if hidden || path.extension().is_none_or(|extension| extension != "yaml") {
                continue;
            }
            let Some(stamp) = stamp(&path) else {
                continue;
            };
            let known = parsed.remove(&path).filter(|(known, _)| *known == stamp);
            let object = match known {
                Some((_, object)) => object,
                None => match read(&path)? {
                    Some(object) => object,
                    None => continue,
                },
            };
            still.insert(path, (stamp, object));
        }
        *parsed = still;
        let mut objects: Vec<Object> = parsed.values().map(|(_, object)| object.clone()).collect();
        drop(parsed);
        objects.sort_by(|one, other| (one.kind(), one.name()).cmp(&(other.kind(), other.name())));
        Ok(objects)
    }

    /// One object.
    ///
    /// # Errors
    /// That it cannot be read.
    pub fn get(&self, kind: Kind, name: &str) -> Result<Option<Object>, StoreError> {
        read(&self.path(kind, name))
    }

    /// What [`Self::apply`] would write: `None` for an object that stays as it is.
    ///
    /// # Errors
    /// Everything that is wrong with the objects.
    pub fn plan(&self, objects: Vec<Object>) -> Result<Vec<(Object, Change)>, StoreError> {
        let _lock = self.lock_shared()?;
        self.plan_locked(objects)
    }

    fn plan_locked(&self, objects: Vec<Object>) -> Result<Vec<(Object, Change)>, StoreError> {
        let existing = self.list_locked()?;
        let mut wrong = Vec::new();
        let mut planned: Vec<(Object, Change)> = Vec::new();
        for new in objects {
            let (kind, name) = (new.kind(), new.name().to_owned());
            let exists = existing.iter().any(|old| old.kind() == kind && old.name() == name);
            if kind == Kind::StorageNode && !exists {
                let why = "nodes are made from their pool; apply the StoragePool with more `replicas` instead";
                wrong.push(format!("{kind}/{name}: {why}"));
                continue;
            }
            if planned.iter().any(|(other, _)| other.kind() == kind && other.name() == name) {
                wrong.push(format!("{kind}/{name}: stands twice in the manifests; give it once"));
                continue;
            }
            let old = existing.iter().find(|old| old.kind() == kind && old.name() == name);
            if let Some(old) = old
                && let Err(violations) = validate::update(old, &new)
            {
                wrong.extend(texts(&violations));
                continue;
            }
            planned.push(self.merge(old, new)?);
        }
        let mut all: Vec<Object> = existing;
        for (new, _) in &planned {
            all.retain(|old| (old.kind(), old.name()) != (new.kind(), new.name()));
            all.push(new.clone());
        }
        wrong.extend(texts(&validate::set(&all)));
        wrong.extend(desired::refusals(&all));
        for (new, change) in &planned {
            match new.validated() {
                Ok(Validated::StoragePool(pool)) if *change != Change::Unchanged => {
                    wrong.extend(held_tiers::refusals(&pool, &all));
                    if *change == Change::Created {
                        let refusals = kept_data::refusals(&self.layout, &pool);
                        let failed = |(path, source)| StoreError::Io { attempt: "read", path, source };
                        wrong.extend(refusals.map_err(failed)?);
                    }
                }
                Ok(_) => {}
                Err(error) => wrong.push(format!("{}/{}: {error}", new.kind(), new.name())),
            }
        }
        if wrong.is_empty() { Ok(planned) } else { Err(StoreError::Refused(wrong)) }
    }

    /// Creates or changes objects: all of them or, where one is refused, none. Their status is not theirs to set.
    ///
    /// # Errors
    /// Everything that is wrong with the objects.
    pub fn apply(&self, objects: Vec<Object>) -> Result<Vec<Change>, StoreError> {
        let _lock = self.lock()?;
        let planned = self.plan_locked(objects)?;
        let changes = planned.iter().map(|(_, change)| *change).collect();
        let mut changed: Vec<Object> =
            planned.into_iter().filter(|(_, change)| *change != Change::Unchanged).map(|(object, _)| object).collect();
        // Kinds stand in the order in which they name each other: what is left by a write that fails names nothing missing.
        changed.sort_by_key(Object::kind);
        changed.iter().try_for_each(|object| self.write(object))?;
        Ok(changes)
    }

    /// The object as it will stand: spec, labels and annotations as given, the rest as it was.
    fn merge(&self, old: Option<&Object>, mut new: Object) -> Result<(Object, Change), StoreError> {
        clear_status(&mut new);
        let name = new.name().to_owned();
        let Some(old) = old else {
            let now = (self.clock)();
            let uid = uid(new.kind(), &name, now);
            let metadata = new.metadata_mut();
            metadata.generation = Some(1);
            metadata.creation_timestamp = Some(Time(now));
            metadata.uid = Some(uid);
            return Ok((new, Change::Created));
        };
        let generation = old.metadata().generation.unwrap_or(1);
        let cuts = |object: &Object| {
            object.metadata().annotations.as_ref().and_then(|all| all.get(SPLIT_POINTS_ANNOTATION)).cloned()
        };
        let same_spec = spec(old)? == spec(&new)? && cuts(old) == cuts(&new);
        copy_status(old, &mut new);
        let before = old.metadata().clone();
        let metadata = new.metadata_mut();
        let same_labels = metadata.labels == before.labels && metadata.annotations == before.annotations;
        metadata.generation = Some(if same_spec { generation } else { generation + 1 });
        metadata.creation_timestamp = before.creation_timestamp;
        metadata.uid = before.uid;
        Ok((new, if same_spec && same_labels { Change::Unchanged } else { Change::Configured }))
    }

    /// Deletes an object; whether there was one. What others name stays, and so do nodes, which are their pool's.
    ///
    /// # Errors
    /// That it is refused, or cannot be removed.
    pub fn delete(&self, kind: Kind, name: &str) -> Result<bool, StoreError> {
        let _lock = self.lock()?;
        let objects = self.list_locked()?;
        if !objects.iter().any(|object| object.kind() == kind && object.name() == name) {
            return Ok(false);
        }
        if kind == Kind::StorageNode {
            return Err(StoreError::Refused(vec![format!(
                "{kind}/{name}: nodes are made from their pool; delete the StoragePool instead"
            )]));
        }
        let left: Vec<Object> = objects
            .into_iter()
            .filter(|object| !(object.kind() == kind && object.name() == name))
            // The fleet removes the nodes of a pool that is gone.
            .filter(|object| object.kind() != Kind::StorageNode)
            .collect();
        let wrong = validate::set(&left);
        if !wrong.is_empty() {
            let missing = format!("no {kind} {name:?}");
            let needs = |one: &Violation| match &one.object {
                // It is there as long as they are asked about.
                Some(other) if one.message.starts_with(&missing) => format!("{other}: {} names it", one.path),
                _ => one.to_string(),
            };
            let mut lines: Vec<String> = wrong.iter().map(needs).collect();
            lines.insert(0, format!("{kind}/{name} is needed by other objects; delete or change them first:"));
            return Err(StoreError::Refused(lines));
        }
        self.remove(kind, name)?;
        Ok(true)
    }

    /// Replaces the status of an object and leaves the rest as it is now; a StorageNode that is missing is made.
    pub(super) fn write_status(&self, mut object: Object) -> Result<(), StoreError> {
        let _lock = self.lock()?;
        let Some(mut current) = self.get(object.kind(), object.name())? else {
            if object.kind() != Kind::StorageNode {
                // Deleted meanwhile.
                return Ok(());
            }
            let now = (self.clock)();
            let uid = uid(object.kind(), object.name(), now);
            let metadata = object.metadata_mut();
            metadata.generation = Some(1);
            metadata.creation_timestamp = Some(Time(now));
            metadata.uid = Some(uid);
            return self.write(&object);
        };
        copy_status(&object, &mut current);
        self.write(&current)
    }

    /// Writes on a cluster object on which node it begins, once; the node that stands there then.
    pub(super) fn claim_beginning(&self, cluster: &str, node: &str) -> Result<Option<String>, StoreError> {
        let _lock = self.lock()?;
        let Some(Object::StorageCluster(mut found)) = self.get(Kind::StorageCluster, cluster)? else {
            return Ok(None);
        };
        let status = found.status.get_or_insert_default();
        if let Some(begun_on) = &status.begun_on {
            return Ok(Some(begun_on.clone()));
        }
        status.begun_on = Some(node.to_owned());
        self.write(&Object::StorageCluster(found))?;
        Ok(Some(node.to_owned()))
    }

    /// Removes a StorageNode object, for the fleet.
    pub(super) fn forget(&self, name: &str) -> Result<(), StoreError> {
        let _lock = self.lock()?;
        self.remove(Kind::StorageNode, name)
    }

    fn remove(&self, kind: Kind, name: &str) -> Result<(), StoreError> {
        let path = self.path(kind, name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StoreError::Io { attempt: "remove", path, source: error })
            }
            _ => Ok(()),
        }
    }

    fn write(&self, object: &Object) -> Result<(), StoreError> {
        let path = self.path(object.kind(), object.name());
        let text =
            object.to_yaml().map_err(|source| StoreError::Object { path: path.clone(), source: Box::new(source) })?;
        write_in_one_step(&path, text.as_bytes()).map_err(|source| StoreError::Io { attempt: "write", path, source })
    }

    fn lock(&self) -> Result<File, StoreError> {
        let path = self.layout.objects_lock();
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        file.and_then(|file| file.lock().map(|()| file)).map_err(|source| StoreError::Io {
            attempt: "lock",
            path,
            source,
        })
    }

    /// `None` where nobody has written yet.
    fn lock_shared(&self) -> Result<Option<File>, StoreError> {
        let path = self.layout.objects_lock();
        match File::open(&path).and_then(|file| file.lock_shared().map(|()| file)) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StoreError::Io { attempt: "lock", path, source }),
        }
    }
}

fn texts(violations: &[Violation]) -> Vec<String> {
    violations.iter().map(ToString::to_string).collect()
}

fn stamp(path: &Path) -> Option<Stamp> {
    use std::os::unix::fs::MetadataExt;
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok(), metadata.len(), metadata.ino()))
}

fn read(path: &Path) -> Result<Option<Object>, StoreError> {
    match fs::read_to_string(path) {
        Ok(text) => Object::from_yaml(&text)
            .map(Some)
            .map_err(|source| StoreError::Object { path: path.to_owned(), source: Box::new(source) }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StoreError::Io { attempt: "read", path: path.to_owned(), source }),
    }
}

fn spec(object: &Object) -> Result<serde_json::Value, StoreError> {
    let json = object
        .to_json()
        .map_err(|source| StoreError::Object { path: PathBuf::from(object.name()), source: Box::new(source) })?;
    Ok(json.get("spec").cloned().unwrap_or_default())
}

/// An id of its own for every object that was ever made: a name that comes again has another.
fn uid(kind: Kind, name: &str, now: Timestamp) -> String {
    format!("{}-{name}-{:x}", kind.short_name(), now.as_nanosecond())
}

fn clear_status(object: &mut Object) {
    match object {
        Object::StorageCluster(object) => object.status = None,
        Object::StorageTier(object) => object.status = None,
        Object::StoragePool(object) => object.status = None,
        Object::StorageNode(object) => object.status = None,
        Object::MigrationPolicy(object) => object.status = None,
        Object::Migration(object) => object.status = None,
    }
}

fn copy_status(from: &Object, to: &mut Object) {
    match (from, to) {
        (Object::StorageCluster(from), Object::StorageCluster(to)) => to.status.clone_from(&from.status),
        (Object::StorageTier(from), Object::StorageTier(to)) => to.status.clone_from(&from.status),
        (Object::StoragePool(from), Object::StoragePool(to)) => to.status.clone_from(&from.status),
        (Object::StorageNode(from), Object::StorageNode(to)) => to.status.clone_from(&from.status),
        (Object::MigrationPolicy(from), Object::MigrationPolicy(to)) => to.status.clone_from(&from.status),
        (Object::Migration(from), Object::Migration(to)) => to.status.clone_from(&from.status),
        _ => {}
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
#[path = "object_store_test.rs"]
mod tests;
