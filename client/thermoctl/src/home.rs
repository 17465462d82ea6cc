//! Which cluster a command speaks to: `--endpoints`, else the state folder of a local fleet.
//!
//! A fleet keeps `endpoints.yaml` in its state folder. Without `--home` the folder is looked for under
//! `$XDG_STATE_HOME/thermocline` (or `~/.local/state/thermocline`): that folder itself, else its only subfolder that
//! holds a fleet.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use thermocline_client::Endpoints;

use crate::CommandError;

/// The routing file of a fleet, in its state folder.
pub const ENDPOINTS_FILE: &str = "endpoints.yaml";

/// The folder under which fleets keep their state when none is named.
///
/// # Errors
/// That neither `XDG_STATE_HOME` nor `HOME` is set.
pub fn default_root() -> Result<PathBuf, CommandError> {
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
        .map(|state| state.join("thermocline"))
        .ok_or_else(|| {
            CommandError::Usage(
                "no folder for the state of a local fleet is known: name one with --home DIR, or set HOME".to_owned(),
            )
        })
}

/// The state folder of the fleet that a command means.
///
/// # Errors
/// That there is none, or more than one to choose from.
pub fn fleet_folder(home: Option<&Path>, root: &Path) -> Result<PathBuf, CommandError> {
    let has_fleet = |folder: &Path| folder.join(ENDPOINTS_FILE).is_file();
    if let Some(home) = home {
        return if has_fleet(home) { Ok(home.to_owned()) } else { Err(no_cluster(home)) };
    }
    if has_fleet(root) {
        return Ok(root.to_owned());
    }
    let mut found: Vec<PathBuf> = fs::read_dir(root)
        .map(|entries| {
            entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).filter(|path| has_fleet(path)).collect()
        })
        .unwrap_or_default();
    found.sort();
    match found.as_slice() {
        [] => Err(no_cluster(root)),
        [only] => Ok(only.clone()),
        several => Err(CommandError::Usage(format!(
            "there are {} local fleets: {}; name one with --home DIR",
            several.len(),
            several.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
        ))),
    }
}

fn no_cluster(folder: &Path) -> CommandError {
    CommandError::NoCluster { looked_at: folder.join(ENDPOINTS_FILE).display().to_string() }
}

/// The nodes that a command means.
///
/// # Errors
/// Those of the list, or of the fleet's routing file.
pub fn endpoints(list: Option<&str>, home: Option<&Path>) -> Result<Endpoints, CommandError> {
    if let Some(list) = list {
        return Ok(Endpoints::parse_list(list)?);
    }
    let root = match home {
        Some(home) => home.to_owned(),
        None => default_root()?,
    };
    let folder = fleet_folder(home, &root)?;
    Ok(Endpoints::read(&folder.join(ENDPOINTS_FILE))?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn fleet(folder: &Path) {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join(ENDPOINTS_FILE), "nodes: []").unwrap();
    }

    #[test]
    fn the_only_fleet_under_the_root_is_taken() {
        let root = tempfile::tempdir().unwrap();
        fleet(&root.path().join("demo"));
        fs::create_dir(root.path().join("empty")).unwrap();
        assert_eq!(fleet_folder(None, root.path()).unwrap(), root.path().join("demo"));
    }

    #[test]
    fn of_several_fleets_one_must_be_named() {
        let root = tempfile::tempdir().unwrap();
        fleet(&root.path().join("demo"));
        fleet(&root.path().join("other"));
        let error = fleet_folder(None, root.path()).unwrap_err();
        assert!(error.to_string().contains("--home"), "{error}");
        let named = root.path().join("other");
        assert_eq!(fleet_folder(Some(&named), root.path()).unwrap(), named);
    }

    #[test]
    fn no_fleet_says_where_it_was_looked_for_and_how_to_start_one() {
        let root = tempfile::tempdir().unwrap();
        let error = fleet_folder(None, root.path()).unwrap_err();
        assert!(error.to_string().contains("thermoctl local up"), "{error}");
        assert!(fleet_folder(Some(root.path()), root.path()).is_err());
    }
}
