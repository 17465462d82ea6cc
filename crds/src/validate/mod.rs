//! Validation without an API server.
//!
//! Contract: what is judged is the generated schema, never the Rust types: types, required and unknown fields, enums,
//! patterns, bounds, defaults, and the very CEL expressions in `x-kubernetes-validations`, in the order in which an API
//! server takes them (schema first; rules only over what has the right shape; rules over changes only on changes). Three
//! layers follow that an API server cannot take: texts are parsed, changes of what rules cannot see are judged, and objects
//! are compared with each other. Every function is pure.

mod later;
mod locate;
mod metadata;
mod path;
mod rulebook;
mod rules;
mod structure;
mod together;
mod violation;
mod yaml;

use serde::Deserialize;

pub use path::{FieldPath, Step};
pub use rulebook::{Rulebook, RulebookError};
pub use together::set;
pub use violation::Violation;

use crate::Object;
use crate::v1alpha1::SPLIT_POINTS_ANNOTATION;

/// An object with defaults filled in, and where it stands in the text.
#[derive(Debug, Clone, PartialEq)]
pub struct Located {
    /// The object.
    pub object: Object,
    /// The number of its document, from 1.
    pub document: usize,
    /// The line on which its content begins, from 1.
    pub line: Option<usize>,
}

/// Reads the YAML documents of a manifest, fills in defaults and judges each by itself.
///
/// Empty documents are skipped. The violations of all documents are returned together, in the order of the text.
pub fn manifest(text: &str) -> Result<Vec<Located>, Vec<Violation>> {
    let rulebook = match Rulebook::builtin() {
        Ok(rulebook) => rulebook,
        Err(error) => return Err(vec![Violation::of_text(error.to_string())]),
    };
    let mut objects = Vec::new();
    let mut violations = Vec::new();
    for (index, document) in serde_yaml::Deserializer::from_str(text).enumerate() {
        let number = index + 1;
        let value = match serde_yaml::Value::deserialize(document) {
            Ok(serde_yaml::Value::Null) => continue,
            Ok(value) => value,
            Err(error) => {
                // The reader is lost after a syntax error: what follows would be noise.
                violations.push(Violation::of_syntax(number, &error));
                break;
            }
        };
        let judged = yaml::to_json(value).map_err(|one| vec![one]).and_then(|value| rulebook.read(value));
        match judged {
            Ok(object) => objects.push(Located {
                object,
                document: number,
                line: locate::line(text, index, &FieldPath::default()),
            }),
            Err(found) => violations.extend(found.into_iter().map(|mut violation| {
                violation.document = Some(number);
                violation.line = locate::line(text, index, &violation.path);
                violation
            })),
        }
    }
    if violations.is_empty() { Ok(objects) } else { Err(violations) }
}

/// Judges the change from `old` to `new`, both of which are valid by themselves.
pub fn update(old: &Object, new: &Object) -> Result<(), Vec<Violation>> {
    let rulebook = Rulebook::builtin().map_err(|error| vec![Violation::of_text(error.to_string())])?;
    let json = |object: &Object| object.to_json().map_err(|error| vec![Violation::of_text(error.to_string())]);
    let mut violations = rulebook.judge_change(&json(old)?, &json(new)?);
    if let (Object::StoragePool(before), Object::StoragePool(after)) = (old, new) {
        // Rules see no annotations, so that this change is judged here.
        let cuts = |pool: &crate::v1alpha1::StoragePool| {
            pool.metadata.annotations.as_ref().and_then(|all| all.get(SPLIT_POINTS_ANNOTATION)).cloned()
        };
        if cuts(before) != cuts(after) {
            violations.push(Violation::new(
                FieldPath::of(["metadata", "annotations", SPLIT_POINTS_ANNOTATION]),
                "split points cannot be changed: data does not follow; make another pool".to_owned(),
            ));
        }
    }
    for violation in &mut violations {
        violation.object = Some(format!("{}/{}", new.kind(), new.name()));
    }
    if violations.is_empty() { Ok(()) } else { Err(violations) }
}

/// The object with every default of its schema filled in; for objects that were made in code.
pub fn with_defaults(object: &Object) -> Result<Object, Vec<Violation>> {
    let rulebook = Rulebook::builtin().map_err(|error| vec![Violation::of_text(error.to_string())])?;
    let value = object.to_json().map_err(|error| vec![Violation::of_text(error.to_string())])?;
    rulebook.read(value)
}
