//! The corpus: every good manifest is accepted, every bad one is refused for its reason, and no rule of the schemas is idle.
//!
//! A bad manifest says in its first line what the refusal must contain (`# expect: ...`). A second line `# update` makes the
//! second document a change of the first; `# together` judges all documents as a set.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde::Deserialize;
use serde_json::Value;
use thermocline_crds::validate::{self, Rulebook, Violation};
use thermocline_crds::{Object, generate};

#[derive(Debug, PartialEq)]
enum Mode {
    Plain,
    Update,
    Together,
}

struct Bad {
    path: PathBuf,
    text: String,
    expect: String,
    mode: Mode,
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    paths.sort();
    assert!(!paths.is_empty(), "no manifests in {}", folder.display());
    paths
}

fn corpus(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(name)
}

fn bad_cases() -> Vec<Bad> {
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        let mut lines = text.lines();
        let expect = lines.next().and_then(|line| line.strip_prefix("# expect: "));
        let expect = expect.unwrap_or_else(|| panic!("{} does not say what to expect", path.display())).to_owned();
        let mode = match lines.next() {
            Some("# update") => Mode::Update,
            Some("# together") => Mode::Together,
            _ => Mode::Plain,
        };
        Bad { path, text, expect, mode }
    };
    files(&corpus("bad")).into_iter().map(read).collect()
}

fn objects(text: &str) -> Result<Vec<Object>, Vec<Violation>> {
    validate::manifest(text).map(|located| located.into_iter().map(|located| located.object).collect())
}

fn accepted(path: &Path, text: &str) -> Vec<Object> {
    objects(text).unwrap_or_else(|violations| panic!("{}: {}", path.display(), shown(&violations)))
}

fn shown(violations: &[Violation]) -> String {
    violations.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn violations(case: &Bad) -> Vec<Violation> {
    match case.mode {
        Mode::Plain => objects(&case.text).err().unwrap_or_default(),
        Mode::Together => validate::set(&accepted(&case.path, &case.text)),
        Mode::Update => {
            let objects = accepted(&case.path, &case.text);
            let [old, new] = objects.as_slice() else { panic!("{} must have two documents", case.path.display()) };
            assert!(validate::update(old, old).is_ok(), "{}: no change is always allowed", case.path.display());
            validate::update(old, new).err().unwrap_or_default()
        }
    }
}

#[test]
fn every_good_manifest_is_accepted_alone_and_together() {
    for path in files(&corpus("good")) {
        let text = std::fs::read_to_string(&path).unwrap();
        let together = validate::set(&accepted(&path, &text));
        assert!(together.is_empty(), "{}: {}", path.display(), shown(&together));
    }
}

#[test]
fn every_example_is_accepted_alone_and_together() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    for folder in ["quickstart", "make-run"] {
        let mut all = Vec::new();
        for path in files(&examples.join(folder)) {
            all.extend(accepted(&path, &std::fs::read_to_string(&path).unwrap()));
        }
        let found = validate::set(&all);
        assert!(found.is_empty(), "{folder}: {}", shown(&found));
        for path in files(&examples.join("migrations")) {
            let mut with_migration = all.clone();
            with_migration.extend(accepted(&path, &std::fs::read_to_string(&path).unwrap()));
            let found = validate::set(&with_migration);
            assert!(found.is_empty(), "{folder} with {}: {}", path.display(), shown(&found));
        }
    }
}

#[test]
fn every_bad_manifest_is_refused_for_its_reason_alone() {
    let mut wrong = Vec::new();
    for case in bad_cases() {
        let found = violations(&case);
        // One defect, one complaint: a person is not to read past noise.
        if found.len() != 1 || !shown(&found).contains(&case.expect) {
            wrong.push(format!("{}\n  expected {}\n  found {}", case.path.display(), case.expect, shown(&found)));
        }
        if case.mode == Mode::Plain && found.iter().any(|violation| violation.line.is_none()) {
            wrong.push(format!("{} has no line", case.path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What the schema alone says of a bad manifest: whether a rulebook accepts it.
fn accepts(book: &Rulebook, documents: &[Value], mode: &Mode) -> bool {
    let judged: Result<Vec<Value>, _> = documents.iter().map(|document| book.judge(document.clone())).collect();
    match (judged, mode) {
        (Err(_), _) => false,
        (Ok(documents), Mode::Update) => book.judge_change(&documents[0], &documents[1]).is_empty(),
        (Ok(_), _) => true,
    }
}

/// Every single restriction of a schema node and of everything under it, each as the schema without it.
fn without_each(node: &Value, path: &str, out: &mut Vec<(String, Value)>) {
    const BOUNDS: [&str; 10] = [
        "enum",
        "pattern",
        "minimum",
        "maximum",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "maxProperties",
        "x-kubernetes-list-type",
    ];
    for keyword in BOUNDS.iter().filter(|keyword| node.get(**keyword).is_some()) {
        let mut without = node.clone();
        without.as_object_mut().unwrap().remove(*keyword);
        out.push((format!("{path}: {keyword}"), without));
    }
    for list in ["x-kubernetes-validations", "required"] {
        for index in 0..node.get(list).and_then(Value::as_array).map_or(0, Vec::len) {
            let mut without = node.clone();
            let gone = without[list].as_array_mut().unwrap().remove(index);
            out.push((format!("{path}: {list} {gone}"), without));
        }
    }
    let mut below = |pointer: String, place: String| {
        let mut changed = Vec::new();
        without_each(node.pointer(&pointer).unwrap(), &format!("{path}{place}"), &mut changed);
        for (name, schema) in changed {
            let mut whole = node.clone();
            *whole.pointer_mut(&pointer).unwrap() = schema;
            out.push((name, whole));
        }
    };
    for name in node.get("properties").and_then(Value::as_object).into_iter().flat_map(serde_json::Map::keys) {
        // The status is no part of a manifest.
        if name != "status" {
            below(format!("/properties/{name}"), format!(".{name}"));
        }
    }
    for (keyword, place) in [("items", "[]"), ("additionalProperties", "{}")] {
        if node.get(keyword).is_some_and(Value::is_object) {
            below(format!("/{keyword}"), place.to_owned());
        }
    }
}

#[test]
fn no_restriction_of_a_schema_can_be_dropped_without_a_bad_manifest_being_accepted() {
    const SCHEMA: &str = "/spec/versions/0/schema/openAPIV3Schema";
    let cases: Vec<(Vec<Value>, Mode)> = bad_cases()
        .into_iter()
        .filter_map(|case| {
            let documents: Result<Vec<Value>, _> =
                serde_yaml::Deserializer::from_str(&case.text).map(Value::deserialize).collect();
            documents.ok().map(|documents| (documents, case.mode))
        })
        .collect();
    let (mut idle, mut tried) = (Vec::new(), 0);
    for definition in generate::definitions() {
        let kind = definition.spec.names.kind.clone();
        let whole = serde_json::to_value(&definition).unwrap();
        let of_kind: Vec<&(Vec<Value>, Mode)> = cases
            .iter()
            .filter(|(documents, mode)| *mode != Mode::Together && documents[0]["kind"] == kind.as_str())
            .collect();
        let complete = Rulebook::new([definition]).unwrap();
        let refused: Vec<_> =
            of_kind.into_iter().filter(|(documents, mode)| !accepts(&complete, documents, mode)).collect();
        let mut mutants = Vec::new();
        without_each(whole.pointer(SCHEMA).unwrap(), &kind, &mut mutants);
        for (name, schema) in mutants {
            let mut mutant = whole.clone();
            *mutant.pointer_mut(SCHEMA).unwrap() = schema;
            let mutant: CustomResourceDefinition = serde_json::from_value(mutant).unwrap();
            let book = Rulebook::new([mutant]).unwrap();
            tried += 1;
            if !refused.iter().any(|(documents, mode)| accepts(&book, documents, mode)) {
                idle.push(name);
            }
        }
    }
    assert!(tried > 0, "no restriction was found in the schemas");
    assert!(idle.is_empty(), "{} of {tried} restrictions are hit by no bad manifest:\n{}", idle.len(), idle.join("\n"));
}
