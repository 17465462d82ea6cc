//! Runs processes whose power can be lost.

use std::{
    env,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use thiserror::Error;

use crate::{
    Destination, DurableImage, Options, RebuildError, Report, SHIM_LIBRARY,
    baseline::{frames_below, inode_of},
};

/// Why a process cannot be prepared.
#[derive(Debug, Error)]
pub enum PowerLossError {
    /// A folder cannot be made or listed.
    #[error("failed to prepare {}", path.display())]
    Prepare {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The graveyard must keep hard links to the roots' files.
    #[error("the graveyard {} is not on the file system of the root {}: name one graveyard per root, each beside its root", graveyard.display(), root.display())]
    OtherFileSystem {
        /// The graveyard.
        graveyard: PathBuf,
        /// The root.
        root: PathBuf,
    },
    /// Links and images in the graveyard would be recorded themselves.
    #[error("the log or graveyard {} is inside the root {}: put it beside the root", path.display(), root.display())]
    InsideRoot {
        /// The log or graveyard.
        path: PathBuf,
        /// The root.
        root: PathBuf,
    },
    /// No root, or not one graveyard per root.
    #[error(
        "{roots} roots and {graveyards} graveyards were given: allowed are 1 to 16 roots and one graveyard, or one per root"
    )]
    Count {
        /// Roots given.
        roots: usize,
        /// Graveyards given.
        graveyards: usize,
    },
    /// The list in the environment is separated by colons.
    #[error("{} holds a colon, which separates paths: choose another folder", path.display())]
    Colon {
        /// The path.
        path: PathBuf,
    },
}

/// Folders on devices that can lose their power.
#[derive(Debug, Clone)]
pub struct PowerLoss {
    log: PathBuf,
    roots: Vec<PathBuf>,
    graveyards: Vec<PathBuf>,
}

impl PowerLoss {
    /// Watches `roots`. `log` is a file; `graveyards` are folders beside the roots, one for all or one per root. All are made where missing.
    ///
    /// # Errors
    /// See [`PowerLossError`].
    pub fn new(log: &Path, roots: &[PathBuf], graveyards: &[PathBuf]) -> Result<Self, PowerLossError> {
        if !(1..=16).contains(&roots.len()) || ![1, roots.len()].contains(&graveyards.len()) {
            return Err(PowerLossError::Count { roots: roots.len(), graveyards: graveyards.len() });
        }
        let prepare = |path: &Path| {
            if path.as_os_str().as_encoded_bytes().contains(&b':') {
                return Err(PowerLossError::Colon { path: path.to_owned() });
            }
            let made = fs::create_dir_all(path).and_then(|()| fs::canonicalize(path));
            made.map_err(|source| PowerLossError::Prepare { path: path.to_owned(), source })
        };
        let roots = roots.iter().map(|path| prepare(path)).collect::<Result<Vec<_>, _>>()?;
        let graveyards = graveyards.iter().map(|path| prepare(path)).collect::<Result<Vec<_>, _>>()?;
        let folder = log.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = prepare(folder.unwrap_or_else(|| Path::new(".")))?;
        let log = folder.join(log.file_name().unwrap_or_default());
        for (index, root) in roots.iter().enumerate() {
            let graveyard = graveyards.get(index).unwrap_or(&graveyards[0]);
            let device = |path: &Path| match fs::metadata(path) {
                Ok(metadata) => Ok(inode_of(&metadata).device),
                Err(source) => Err(PowerLossError::Prepare { path: path.to_owned(), source }),
            };
            if device(root)? != device(graveyard)? {
                return Err(PowerLossError::OtherFileSystem { graveyard: graveyard.clone(), root: root.clone() });
            }
            if let Some(path) = graveyards.iter().chain([&log]).find(|path| path.starts_with(root)) {
                return Err(PowerLossError::InsideRoot { path: path.clone(), root: root.clone() });
            }
        }
        Ok(Self { log, roots, graveyards })
    }

    /// Lets `command` and all its children run recorded. Before the first process, what the roots hold is noted as durable; so they
    /// must not change between this call and the start of the process.
    ///
    /// # Errors
    /// The roots cannot be listed or the log cannot be written.
    pub fn command<'a>(&self, command: &'a mut Command) -> Result<&'a mut Command, PowerLossError> {
        if fs::metadata(&self.log).map_or(0, |metadata| metadata.len()) == 0 {
            let mut frames = Vec::new();
            for root in &self.roots {
                frames_below(root, &mut frames)
                    .map_err(|source| PowerLossError::Prepare { path: root.clone(), source })?;
            }
            fs::write(&self.log, frames)
                .map_err(|source| PowerLossError::Prepare { path: self.log.clone(), source })?;
        }
        command.env("THERMOCLINE_POWER_LOSS_LOG", &self.log);
        command.env("THERMOCLINE_POWER_LOSS_ROOTS", joined(&self.roots));
        command.env("THERMOCLINE_POWER_LOSS_GRAVEYARD", joined(&self.graveyards));
        Ok(preload(command, SHIM_LIBRARY))
    }

    /// The power goes: the roots become what their devices hold. All recorded processes must have ended. Afterwards a next
    /// process may start.
    ///
    /// # Errors
    /// See [`RebuildError`].
    pub fn lose_power(&self, options: Options) -> Result<Report, RebuildError> {
        self.image(Destination::InPlace, options)
    }

    /// The image that [`Self::lose_power`] would make, made at `destination`.
    ///
    /// # Errors
    /// See [`RebuildError`].
    pub fn image(&self, destination: Destination<'_>, options: Options) -> Result<Report, RebuildError> {
        DurableImage::rebuild(&self.log, &self.roots, &self.graveyards, destination, options)
    }
}

fn joined(paths: &[PathBuf]) -> OsString {
    let parts: Vec<&std::ffi::OsStr> = paths.iter().map(|path| path.as_os_str()).collect();
    parts.join(std::ffi::OsStr::new(":"))
}

/// Adds the shim to what `command`, or else this process, preloads already.
pub(crate) fn preload<'a>(command: &'a mut Command, library: &str) -> &'a mut Command {
    let own = command.get_envs().find(|(name, _)| *name == "LD_PRELOAD").map(|(_, value)| value.map(OsString::from));
    let present = own.unwrap_or_else(|| env::var_os("LD_PRELOAD")).unwrap_or_default();
    if present.as_encoded_bytes().split(|byte| matches!(byte, b':' | b' ')).any(|part| part == library.as_bytes()) {
        return command;
    }
    let mut all = OsString::from(library);
    if !present.is_empty() {
        all.push(":");
        all.push(present);
    }
    command.env("LD_PRELOAD", all)
}
