//! Where everything is in the state folder, and what was chosen when it was made.

use std::fs;
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::logs::older;

/// What a state folder is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Purpose {
    /// A person's fleet: its data is kept.
    #[default]
    Fleet,
    /// A demonstration: the next one removes what it left.
    Demonstration,
}

/// What was chosen when the folder was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HomeSettings {
    /// The address of the first node; the others follow.
    pub first_address: Ipv4Addr,
    /// What it is for.
    #[serde(default)]
    pub purpose: Purpose,
}

impl Default for HomeSettings {
    fn default() -> Self {
        Self { first_address: Ipv4Addr::LOCALHOST, purpose: Purpose::Fleet }
    }
}

/// A state folder that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// A file or folder cannot be read, made or removed.
    #[error("cannot {attempt} {}", path.display())]
    Io {
        /// What was attempted.
        attempt: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The settings are not what was once written.
    #[error("{} is not understood; restore it, or name another state folder", path.display())]
    Settings {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_yaml::Error,
    },
    /// The folder holds something else.
    #[error("{} is not empty and holds no fleet; name an empty or new folder", path.display())]
    Foreign {
        /// The folder.
        path: PathBuf,
    },
}

/// The paths in a state folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The folder at this absolute path.
    #[must_use]
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Makes the folder; one that is a fleet's already keeps its settings, which are returned.
    ///
    /// # Errors
    /// That it holds something else, or cannot be made.
    pub fn create(&self, settings: HomeSettings) -> Result<HomeSettings, LayoutError> {
        if let Some(found) = self.settings()? {
            return Ok(found);
        }
        let io = |attempt, path: &Path| {
            let path = path.to_owned();
            move |source| LayoutError::Io { attempt, path, source }
        };
        fs::create_dir_all(&self.root).map_err(io("make", &self.root))?;
        let mut entries = fs::read_dir(&self.root).map_err(io("read", &self.root))?;
        if entries.next().is_some() {
            return Err(LayoutError::Foreign { path: self.root.clone() });
        }
        for folder in [self.objects(), self.nodes(), self.runs()] {
            fs::create_dir_all(&folder).map_err(io("make", &folder))?;
        }
        let path = self.settings_file();
        let text =
            serde_yaml::to_string(&settings).map_err(|source| LayoutError::Settings { path: path.clone(), source })?;
        write_in_one_step(&path, text.as_bytes()).map_err(io("write", &path))?;
        Ok(settings)
    }

    /// The settings; `None` where there is no fleet.
    ///
    /// # Errors
    /// That they cannot be read.
    pub fn settings(&self) -> Result<Option<HomeSettings>, LayoutError> {
        let path = self.settings_file();
        match fs::read_to_string(&path) {
            Ok(text) => serde_yaml::from_str(&text).map(Some).map_err(|source| LayoutError::Settings { path, source }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(LayoutError::Io { attempt: "read", path, source }),
        }
    }

    /// Removes what a fleet has put here, data included, and the folder if nothing else is in it. Nothing may run any more.
    ///
    /// # Errors
    /// That something cannot be removed.
    pub fn destroy(&self) -> Result<(), LayoutError> {
        let gone = |result: io::Result<()>, path: &Path| match result {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(|source| LayoutError::Io { attempt: "remove", path: path.to_owned(), source }),
        };
        // The settings go last: until then a destruction that was interrupted can be repeated.
        for folder in [self.objects(), self.nodes(), self.runs()] {
            gone(fs::remove_dir_all(&folder), &folder)?;
        }
        for file in [
            self.endpoints(),
            self.events(),
            self.memory(),
            self.objects_lock(),
            self.supervisor_lock(),
            self.supervisor_record(),
            self.supervisor_log(),
            older(&self.supervisor_log()),
            self.settings_file(),
        ] {
            gone(fs::remove_file(&file), &file)?;
        }
        // Fails where a person has put something there, which then stays.
        let _ = fs::remove_dir(&self.root);
        Ok(())
    }

    /// The folder itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn settings_file(&self) -> PathBuf {
        self.root.join("home.yaml")
    }

    /// The folder of the objects.
    #[must_use]
    pub fn objects(&self) -> PathBuf {
        self.root.join("objects")
    }

    /// The lock under which objects are written.
    #[must_use]
    pub fn objects_lock(&self) -> PathBuf {
        self.root.join("objects.lock")
    }

    /// The folder of the nodes' folders.
    #[must_use]
    pub fn nodes(&self) -> PathBuf {
        self.root.join("nodes")
    }

    /// A node's folder.
    #[must_use]
    pub fn node(&self, name: &str) -> PathBuf {
        self.nodes().join(name)
    }

    /// A node's log.
    #[must_use]
    pub fn node_log(&self, name: &str) -> PathBuf {
        self.node(name).join("node.log")
    }

    /// The folder of the records of processes.
    #[must_use]
    pub fn runs(&self) -> PathBuf {
        self.root.join("run")
    }

    /// The routing file.
    #[must_use]
    pub fn endpoints(&self) -> PathBuf {
        self.root.join("endpoints.yaml")
    }

    /// The events.
    #[must_use]
    pub fn events(&self) -> PathBuf {
        self.root.join("events.jsonl")
    }

    /// What the fleet remembers.
    #[must_use]
    pub fn memory(&self) -> PathBuf {
        self.root.join("memory.json")
    }

    /// The lock of the supervisor.
    #[must_use]
    pub fn supervisor_lock(&self) -> PathBuf {
        self.root.join("supervisor.lock")
    }

    /// The process of the supervisor.
    #[must_use]
    pub fn supervisor_record(&self) -> PathBuf {
        self.root.join("supervisor.json")
    }

    /// The log of the supervisor.
    #[must_use]
    pub fn supervisor_log(&self) -> PathBuf {
        self.root.join("supervisor.log")
    }
}

/// Replaces a file: a reader sees the old or the new, never a part. A file that holds this already is left as it is, so that
/// nothing needs room on a full device but what changed.
pub(super) fn write_in_one_step(path: &Path, content: &[u8]) -> io::Result<()> {
    if fs::read(path).is_ok_and(|held| held == content) {
        return Ok(());
    }
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.new", std::process::id()));
    let beside = path.with_file_name(name);
    let written = fs::File::create(&beside).and_then(|mut file| {
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    });
    if written.is_err() {
        // On a full device a torn file beside it would take the room that the next attempt needs.
        let _ = fs::remove_file(&beside);
    }
    written
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_keeps_its_settings_and_one_that_holds_something_else_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path().join("fleet"));
        let settings = HomeSettings { first_address: Ipv4Addr::new(127, 0, 9, 1), purpose: Purpose::Fleet };
        assert_eq!(layout.create(settings).unwrap(), settings);
        assert_eq!(layout.create(HomeSettings::default()).unwrap(), settings);
        let other = folder.path().join("other");
        fs::create_dir(&other).unwrap();
        fs::write(other.join("letter.txt"), "dear").unwrap();
        let refused = Layout::new(other).create(settings).unwrap_err();
        assert!(matches!(refused, LayoutError::Foreign { .. }), "{refused}");
    }

    #[test]
    fn a_file_that_cannot_be_replaced_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("object.yaml");
        fs::create_dir_all(path.join("in the way")).unwrap();
        write_in_one_step(&path, b"new").unwrap_err();
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["object.yaml"]);
    }

    #[test]
    fn destroying_a_fleet_leaves_what_is_not_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path().join("fleet"));
        layout.create(HomeSettings::default()).unwrap();
        fs::write(layout.root().join("notes.txt"), "mine").unwrap();
        fs::write(older(&layout.supervisor_log()), "long ago").unwrap();
        fs::create_dir_all(layout.node("main-0").join("tiers/hot")).unwrap();
        layout.destroy().unwrap();
        let left: Vec<_> = fs::read_dir(layout.root()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["notes.txt"]);
        fs::remove_file(layout.root().join("notes.txt")).unwrap();
        layout.destroy().unwrap();
        assert!(!layout.root().exists());
    }
}
