//! The objects behind `-f`: files, the `.yaml` and `.yml` files of folders in the order of their names, standard input.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use thermocline_crds::{
    Object,
    validate::{self, Violation},
};

use crate::CommandError;

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
            io::stdin().read_to_string(&mut text).map_err(|error| unusable(path, &error))?;
            texts.push(("standard input".to_owned(), text));
            continue;
        }
        for file in files(path)? {
            texts.push((file.display().to_string(), text_of(&file)?));
        }
    }
    Ok(texts)
}

/// The text of one manifest.
pub(super) fn text_of(file: &Path) -> Result<String, CommandError> {
    fs::read_to_string(file).map_err(|error| unusable(file, &error))
}

/// A manifest that cannot be read is wrong usage: nothing was attempted.
fn unusable(path: &Path, error: &io::Error) -> CommandError {
    let why = match error.kind() {
        io::ErrorKind::InvalidData => "it is not UTF-8 text; a manifest is YAML in UTF-8".to_owned(),
        io::ErrorKind::NotFound => "it does not exist; name a manifest or a folder of manifests".to_owned(),
        _ => error.to_string(),
    };
    CommandError::Usage(format!("the manifest {} cannot be read: {why}", path.display()))
}

fn files(path: &Path) -> Result<Vec<PathBuf>, CommandError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = fs::read_dir(path).map_err(|error| unusable(path, &error))?;
    let mut files = Vec::new();
    for entry in entries {
        let file = entry.map_err(|error| unusable(path, &error))?.path();
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::ExitCode;

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

    #[test]
    fn a_manifest_that_is_missing_or_no_text_is_wrong_usage() {
        let folder = tempfile::tempdir().unwrap();
        let latin = folder.path().join("latin.yaml");
        fs::write(&latin, b"name: caf\xe9").unwrap();
        for (path, says) in [(folder.path().join("missing.yaml"), "does not exist"), (latin, "UTF-8")] {
            let error = read_objects(std::slice::from_ref(&path)).unwrap_err();
            assert_eq!(error.exit_code(), ExitCode::Usage);
            let text = error.to_string();
            assert!(text.contains(says) && text.contains(path.to_str().unwrap()), "{text}");
        }
    }
}
