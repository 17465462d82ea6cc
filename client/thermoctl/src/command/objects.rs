//! `get`, `describe`, `apply`, `delete` of objects, and `validate`.

use std::path::PathBuf;

use thermocline_crds::validate;

use super::{
    Ended, delete, fleet,
    manifests::{read_objects, violations_text},
    reference::{self, Reference},
};
use crate::{
    CommandError, ExitCode,
    args::{DeleteArguments, ManifestArguments, ObjectArguments},
    context::Context,
};

/// `validate`: each object by itself, then what the objects of all files say about each other.
pub(super) fn validate(context: &Context, arguments: &ManifestArguments) -> Ended {
    let objects = read_objects(&arguments.file)?;
    if objects.is_empty() {
        return Err(CommandError::Usage("the manifests hold no object".to_owned()));
    }
    let violations = validate::set(&objects);
    if !violations.is_empty() {
        return Err(CommandError::Manifest {
            what: "what the manifests say about each other".to_owned(),
            detail: format!("\n{}", violations_text(&violations)),
        });
    }
    let names: Vec<String> = objects.iter().map(|object| format!("{}/{}", object.kind(), object.name())).collect();
    context.printer.print(&names, |names| names.iter().map(|name| format!("{name} is valid\n")).collect())?;
    Ok(ExitCode::Success)
}

/// `get KIND [NAME]`.
pub(super) async fn get(context: &Context, reference: &Reference) -> Ended {
    fleet::get(context, reference).await
}

/// `describe`.
pub(super) async fn describe(context: &Context, arguments: &ObjectArguments) -> Ended {
    let (kind, name) = reference::one(arguments)?;
    fleet::describe(context, kind, &name).await
}

/// `delete`.
pub(super) async fn delete(context: &Context, arguments: &DeleteArguments) -> Ended {
    let (kind, name) = reference::one(&arguments.object)?;
    delete::run(context, kind, &name, arguments.yes)
}

/// `apply`: every manifest is judged before the first object is changed.
pub(super) async fn apply(context: &Context, files: &[PathBuf]) -> Ended {
    fleet::apply(context, read_objects(files)?).await
}
