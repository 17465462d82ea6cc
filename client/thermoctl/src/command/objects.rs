//! `get`, `describe`, `apply`, `delete` of objects, and `validate`.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use thermocline_crds::{
    Kind, Object,
    validate::{self, Violation},
};

use super::{Ended, fleet};
use crate::{
    CommandError, ExitCode,
    args::{ManifestArguments, ObjectArguments},
    context::Context,
};

/// Objects that a command names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reference {
    /// Their kind; `None` for all kinds.
    pub(super) kind: Option<Kind>,
    /// The object; `None` for all of the kind.
    pub(super) name: Option<String>,
}

impl std::fmt::Display for Reference {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.kind, &self.name) {
            (Some(kind), Some(name)) => write!(formatter, "{kind}/{name}"),
            (Some(kind), None) => formatter.write_str(kind.plural()),
            (None, _) => formatter.write_str("all objects"),
        }
    }
}

/// Reads `KIND [NAME]`, `KIND/NAME` or `all`; `None` where the text names no kind.
///
/// # Errors
/// Where a name is given to what is no kind.
pub(super) fn reference(text: &str, name: Option<&str>) -> Result<Option<Reference>, CommandError> {
    if text == "all" && name.is_none() {
        return Ok(Some(Reference { kind: None, name: None }));
    }
    if let Some(kind) = Kind::from_argument(text) {
        let name = name.map(ToOwned::to_owned);
        return Ok(Some(Reference { kind: Some(kind), name }));
    }
    if name.is_some() {
        return Err(CommandError::Usage(format!("{text:?} is no kind; {}", kinds_text())));
    }
    Ok(text.split_once('/').and_then(|(kind, name)| {
        Some(Reference {
            kind: Some(Kind::from_argument(kind)?),
            name: Some(name.to_owned()).filter(|name| !name.is_empty()),
        })
    }))
}

fn kinds_text() -> String {
    let kinds: Vec<String> =
        Kind::ALL.iter().map(|kind| format!("{} ({})", kind.plural(), kind.short_name())).collect();
    format!("kinds are {}", kinds.join(", "))
}

/// As [`reference()`], where an object must be named.
fn one(arguments: &ObjectArguments) -> Result<(Kind, String), CommandError> {
    match reference(&arguments.kind, arguments.name.as_deref())? {
        Some(Reference { kind: Some(kind), name: Some(name) }) => Ok((kind, name)),
        Some(_) => Err(CommandError::Usage("name the object: KIND NAME or KIND/NAME".to_owned())),
        None => Err(CommandError::Usage(format!("{:?} is no kind; {}", arguments.kind, kinds_text()))),
    }
}

/// Violations, one a line.
pub(super) fn violations_text(violations: &[Violation]) -> String {
    let lines: Vec<String> = violations.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// The texts behind `-f`: files, the `.yaml` and `.yml` files of folders in the order of their names, standard input.
fn manifest_texts(paths: &[PathBuf]) -> Result<Vec<(String, String)>, CommandError> {
    let mut texts = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map_err(|source| failed(path, source))?;
            texts.push(("standard input".to_owned(), text));
            continue;
        }
        for file in files(path)? {
            let text = fs::read_to_string(&file).map_err(|source| failed(&file, source))?;
            texts.push((file.display().to_string(), text));
        }
    }
    Ok(texts)
}

fn failed(path: &Path, source: std::io::Error) -> CommandError {
    CommandError::Read { path: path.to_owned(), source }
}

fn files(path: &Path) -> Result<Vec<PathBuf>, CommandError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = fs::read_dir(path).map_err(|source| failed(path, source))?;
    let mut files = Vec::new();
    for entry in entries {
        let file = entry.map_err(|source| failed(path, source))?.path();
        if file.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
            files.push(file);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(CommandError::Usage(format!(
            "{} holds no manifest; its .yaml and .yml files are read",
            path.display()
        )));
    }
    Ok(files)
}

/// Every object of the manifests, each judged by itself.
pub(super) fn read_objects(paths: &[PathBuf]) -> Result<Vec<Object>, CommandError> {
    let mut objects = Vec::new();
    let mut wrong = Vec::new();
    for (what, text) in manifest_texts(paths)? {
        match validate::manifest(&text) {
            Ok(located) => objects.extend(located.into_iter().map(|one| one.object)),
            Err(violations) => wrong.extend(violations.iter().map(|violation| format!("\n  {what}: {violation}"))),
        }
    }
    if wrong.is_empty() {
        return Ok(objects);
    }
    Err(CommandError::Manifest { what: "a manifest".to_owned(), detail: wrong.concat() })
}

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
    let (kind, name) = one(arguments)?;
    fleet::describe(context, kind, &name).await
}

/// `delete`.
pub(super) async fn delete(context: &Context, arguments: &ObjectArguments) -> Ended {
    let (kind, name) = one(arguments)?;
    fleet::delete(context, kind, &name).await
}

/// `apply`: every manifest is judged before the first object is changed.
pub(super) async fn apply(context: &Context, files: &[PathBuf]) -> Ended {
    fleet::apply(context, read_objects(files)?).await
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_recognised_in_all_its_names_and_a_key_is_not() {
        let kind = Some(Kind::StorageTier);
        for text in ["tct", "storagetier", "StorageTiers"] {
            assert_eq!(reference(text, None).unwrap(), Some(Reference { kind, name: None }), "{text}");
        }
        let hot = Reference { kind, name: Some("hot".to_owned()) };
        assert_eq!(reference("tct/hot", None).unwrap(), Some(hot.clone()));
        assert_eq!(reference("tct", Some("hot")).unwrap(), Some(hot));
        assert_eq!(reference("users/hot", None).unwrap(), None, "a key");
        assert!(reference("users", Some("hot")).is_err());
    }

    #[test]
    fn one_object_must_be_named_in_full() {
        let named = |kind: &str, name: Option<&str>| {
            one(&ObjectArguments { kind: kind.to_owned(), name: name.map(ToOwned::to_owned) })
        };
        assert_eq!(named("tcp", Some("main")).unwrap(), (Kind::StoragePool, "main".to_owned()));
        assert!(named("tcp", None).unwrap_err().to_string().contains("KIND/NAME"));
        assert!(named("pods", None).unwrap_err().to_string().contains("storagepools (tcp)"));
    }

    #[test]
    fn a_folder_gives_its_manifests_in_the_order_of_their_names() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.yaml", "a.yml", "notes.txt"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let found = files(folder.path()).unwrap();
        assert_eq!(found, [folder.path().join("a.yml"), folder.path().join("b.yaml")]);
        assert!(files(tempfile::tempdir().unwrap().path()).is_err(), "an empty folder");
    }

    #[test]
    fn everything_wrong_is_told_at_once_with_its_file() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.yaml"), "kind: Nothing").unwrap();
        fs::write(folder.path().join("b.yaml"), "[").unwrap();
        let error = read_objects(&[folder.path().to_owned()]).unwrap_err();
        assert_eq!(error.exit_code(), ExitCode::Usage);
        let text = error.to_string();
        assert!(text.contains("a.yaml") && text.contains("b.yaml"), "{text}");
    }
}
