//! The seam to the local fleet: everything that `local`, `get`, `describe`, `apply`, `delete` and `policy` ask of it.
//!
//! The fleet (crate `thermocline-fleet`) owns the state folder, the objects in it and the node processes; the commands
//! own the command line and the form of answers. Until the fleet offers its API every call here is refused and says
//! so; no other file has to change when it does.

use std::path::Path;

use thermocline_crds::{Kind, Object, v1alpha1::Tiering};

use super::{Ended, objects::Reference};
use crate::{CommandError, ExitCode, context::Context};

/// The refusal while there is no fleet to ask.
fn no_fleet(attempted: String) -> CommandError {
    CommandError::Fleet {
        attempted,
        detail: "this build of thermoctl has no local fleet; start nodes with `thermocline-node --config FILE` and name them with --endpoints".to_owned(),
        code: ExitCode::Failed,
    }
}

pub(super) async fn up(_context: &Context, manifests: &Path, _foreground: bool) -> Ended {
    Err(no_fleet(format!("starting the fleet of {}", manifests.display())))
}

pub(super) async fn down(_context: &Context) -> Ended {
    Err(no_fleet("stopping the fleet".to_owned()))
}

pub(super) async fn status(_context: &Context) -> Ended {
    Err(no_fleet("asking the fleet".to_owned()))
}

pub(super) async fn get(_context: &Context, reference: &Reference) -> Ended {
    Err(no_fleet(format!("reading {reference}")))
}

pub(super) async fn describe(_context: &Context, kind: Kind, name: &str) -> Ended {
    Err(no_fleet(format!("reading {kind}/{name}")))
}

pub(super) async fn delete(_context: &Context, kind: Kind, name: &str) -> Ended {
    Err(no_fleet(format!("deleting {kind}/{name}")))
}

pub(super) async fn apply(_context: &Context, objects: Vec<Object>) -> Ended {
    Err(no_fleet(format!("applying {} objects", objects.len())))
}

/// The MigrationPolicies of the fleet, as they are shown.
pub(super) fn policies(_context: &Context) -> Result<Vec<serde_json::Value>, CommandError> {
    Err(no_fleet("reading the policies".to_owned()))
}

/// Sets `tiering` of a MigrationPolicy: of the named one, or of the only one.
pub(super) async fn set_tiering(_context: &Context, name: Option<&str>, tiering: Tiering) -> Ended {
    let policy = name.unwrap_or("the only policy");
    Err(no_fleet(format!("setting tiering of {policy} to {tiering:?}")))
}
