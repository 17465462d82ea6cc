//! The committed definitions: nothing differs from the types, and every file keeps what was promised of it.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use thermocline_crds::generate;

fn committed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/thermocline/files/crds")
}

#[test]
fn the_committed_definitions_are_what_the_types_say() {
    assert_eq!(generate::drift(&committed()).unwrap(), Vec::<PathBuf>::new(), "run crdgen and commit the result");
}

#[test]
fn a_definition_that_differs_is_missing_or_left_over_is_named_and_fails_the_check() {
    let folder = tempfile::tempdir().unwrap();
    generate::write(folder.path()).unwrap();
    let check = || Command::new(env!("CARGO_BIN_EXE_crdgen")).arg("--check").arg(folder.path()).output().unwrap();
    assert!(check().status.success());

    let changed = folder.path().join("storagetiers.yaml");
    let text = std::fs::read_to_string(&changed).unwrap();
    std::fs::write(&changed, text.replacen("maximum: 1000.0", "maximum: 2000.0", 1)).unwrap();
    std::fs::remove_file(folder.path().join("migrations.yaml")).unwrap();
    std::fs::write(folder.path().join("widgets.yaml"), "").unwrap();
    let output = check();
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).unwrap();
    for name in ["storagetiers.yaml", "migrations.yaml", "widgets.yaml"] {
        assert!(told.contains(name), "{told}");
    }
    assert!(!told.contains("storagepools.yaml"), "{told}");
}

#[test]
fn every_definition_can_be_applied_by_every_client() {
    for (name, content) in generate::files().unwrap() {
        assert!(content.len() < generate::LARGEST, "{name} has {} bytes", content.len());
    }
}

/// Calls `visit` with every node of a schema and its path.
fn each_node(node: &Value, path: &str, visit: &mut impl FnMut(&str, &Value)) {
    visit(path, node);
    for (name, property) in node.get("properties").and_then(Value::as_object).into_iter().flatten() {
        each_node(property, &format!("{path}.{name}"), visit);
    }
    for keyword in ["items", "additionalProperties"] {
        if let Some(below) = node.get(keyword).filter(|below| below.is_object()) {
            each_node(below, &format!("{path}[]"), visit);
        }
    }
}

#[test]
fn every_field_is_described_and_every_schema_is_structural() {
    let mut wrong = Vec::new();
    for definition in generate::definitions() {
        let kind = definition.spec.names.kind.clone();
        let definition = serde_json::to_value(definition).unwrap();
        let schema = definition.pointer("/spec/versions/0/schema/openAPIV3Schema").unwrap();
        each_node(schema, &kind, &mut |path, node| {
            if node.get("type").is_none() {
                wrong.push(format!("{path} has no type"));
            }
            if !path.ends_with("[]") && node.get("description").and_then(Value::as_str).is_none_or(str::is_empty) {
                wrong.push(format!("{path} has no description"));
            }
            let default_of_required =
                |name: &Value| node["properties"][name.as_str().unwrap()].get("default").is_some();
            if node
                .get("required")
                .and_then(Value::as_array)
                .is_some_and(|required| required.iter().any(default_of_required))
            {
                wrong.push(format!("{path} requires a field that has a default"));
            }
            for keyword in ["anyOf", "oneOf", "allOf", "not", "$ref", "nullable"] {
                if node.get(keyword).is_some() {
                    wrong.push(format!("{path} uses {keyword}"));
                }
            }
            for rule in node.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten() {
                if rule.get("message").and_then(Value::as_str).is_none_or(str::is_empty) {
                    wrong.push(format!("{path} has a rule without a message: {rule}"));
                }
            }
        });
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
