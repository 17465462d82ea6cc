//! `metadata`, which has no schema in a definition: an API server checks it by rules of its own.

use serde_json::Value;

use super::path::FieldPath;
use super::violation::Violation;

/// Fields of metadata that a manifest may carry, be it only because it was read from an API server.
const KNOWN: [&str; 15] = [
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// What is wrong with an object's metadata.
pub(super) fn check(object: &Value) -> Vec<Violation> {
    let path = FieldPath::of(["metadata"]);
    let Some(metadata) = object.get("metadata").and_then(Value::as_object) else {
        return vec![Violation::new(path, "is required: it must hold at least the name".to_owned())];
    };
    let mut found = Vec::new();
    for field in metadata.keys().filter(|field| !KNOWN.contains(&field.as_str())) {
        found.push(Violation::new(
            path.field(field),
            "unknown field: write name, namespace, labels or annotations".to_owned(),
        ));
    }
    if !metadata.get("name").is_some_and(Value::is_string) {
        found.push(Violation::new(path.field("name"), "is required: it must be text".to_owned()));
    }
    if metadata.get("namespace").is_some_and(|namespace| !namespace.is_string()) {
        found.push(Violation::new(path.field("namespace"), "must be text".to_owned()));
    }
    for field in ["labels", "annotations"] {
        match metadata.get(field) {
            None | Some(Value::Null) => {}
            Some(Value::Object(entries)) => {
                for name in entries.iter().filter(|(_, value)| !value.is_string()).map(|(name, _)| name) {
                    found.push(Violation::new(
                        path.field(field).field(name),
                        "must be text: put quotes around it".to_owned(),
                    ));
                }
            }
            Some(_) => found.push(Violation::new(path.field(field), "must be an object of texts".to_owned())),
        }
    }
    found
}
