//! The generated definitions, ready to be evaluated.
//!
//! Contract: loading refuses a schema that promises what is not implemented here, and a rule that does not compile.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use cel::Program;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{CustomResourceDefinition, JSONSchemaProps};
use regex::Regex;
use serde_json::Value;

use super::metadata;
use super::path::FieldPath;
use super::rules::Rules;
use super::structure::{self, Structure};
use super::violation::Violation;
use crate::Object;
use crate::object::kinds;
use crate::v1alpha1::{API_VERSION, VERSION};

/// A definition that cannot be evaluated.
#[derive(Debug, thiserror::Error)]
pub enum RulebookError {
    /// It has no schema of our version.
    #[error("the definition of {kind} has no schema of version {VERSION}")]
    NoSchema {
        /// The kind.
        kind: String,
    },
    /// It uses a keyword that is not implemented.
    #[error("the schema of {kind} uses {keyword} at {path}, which is not evaluated")]
    Unsupported {
        /// The kind.
        kind: String,
        /// The keyword.
        keyword: &'static str,
        /// Where.
        path: FieldPath,
    },
    /// A pattern does not compile.
    #[error("a pattern of {kind} at {path} does not compile")]
    Pattern {
        /// The kind.
        kind: String,
        /// Where.
        path: FieldPath,
        /// Why.
        #[source]
        source: Box<regex::Error>,
    },
    /// A rule does not compile.
    #[error("the rule {rule:?} of {kind} at {path} does not compile: {reason}")]
    Rule {
        /// The kind.
        kind: String,
        /// Where.
        path: FieldPath,
        /// The rule.
        rule: String,
        /// Why; the compiler's own error cannot be shared between threads.
        reason: String,
    },
}

/// Definitions with their patterns and rules compiled.
pub struct Rulebook {
    schemas: BTreeMap<String, JSONSchemaProps>,
    patterns: BTreeMap<String, Regex>,
    programs: BTreeMap<String, Program>,
}

static BUILTIN: LazyLock<Result<Rulebook, RulebookError>> =
    LazyLock::new(|| Rulebook::new(crate::generate::definitions()));

impl Rulebook {
    /// The definitions of this version of the crate.
    pub fn builtin() -> Result<&'static Self, &'static RulebookError> {
        BUILTIN.as_ref()
    }

    /// Loads definitions.
    pub fn new(definitions: impl IntoIterator<Item = CustomResourceDefinition>) -> Result<Self, RulebookError> {
        let mut book = Self { schemas: BTreeMap::new(), patterns: BTreeMap::new(), programs: BTreeMap::new() };
        for definition in definitions {
            let kind = definition.spec.names.kind;
            let version = definition.spec.versions.into_iter().find(|version| version.name == VERSION);
            let schema = version.and_then(|version| version.schema).and_then(|schema| schema.open_api_v3_schema);
            let mut schema = schema.ok_or_else(|| RulebookError::NoSchema { kind: kind.clone() })?;
            // The status is written by machines and dropped from what people apply: it is no part of a manifest.
            if let Some(properties) = &mut schema.properties {
                properties.remove("status");
            }
            book.load(&kind, &schema, &FieldPath::default())?;
            book.schemas.insert(kind, schema);
        }
        Ok(book)
    }

    fn load(&mut self, kind: &str, schema: &JSONSchemaProps, path: &FieldPath) -> Result<(), RulebookError> {
        let kind_name = || kind.to_owned();
        if let Some(keyword) = structure::unsupported(schema).into_iter().next() {
            return Err(RulebookError::Unsupported { kind: kind_name(), keyword, path: path.clone() });
        }
        if let Some(pattern) = &schema.pattern {
            let compiled = Regex::new(pattern).map_err(|source| RulebookError::Pattern {
                kind: kind_name(),
                path: path.clone(),
                source: Box::new(source),
            })?;
            self.patterns.insert(pattern.clone(), compiled);
        }
        for rule in schema.x_kubernetes_validations.iter().flatten().map(|rule| &rule.rule) {
            let program = Program::compile(rule).map_err(|error| RulebookError::Rule {
                kind: kind_name(),
                path: path.clone(),
                rule: rule.clone(),
                reason: error.to_string(),
            })?;
            self.programs.insert(rule.clone(), program);
        }
        for (name, property) in schema.properties.iter().flatten() {
            self.load(kind, property, &path.field(name))?;
        }
        for (place, below) in [("[]", structure::items(schema)), ("{}", structure::values(schema))] {
            if let Some(below) = below {
                self.load(kind, below, &path.field(place))?;
            }
        }
        Ok(())
    }

    /// The schema of a manifest's kind, or what is wrong with its head.
    fn schema_of(&self, value: &Value) -> Result<&JSONSchemaProps, Violation> {
        let text = |field: &str| value.get(field).and_then(Value::as_str);
        if !value.is_object() {
            return Err(Violation::of_text(
                "a document must be an object with apiVersion, kind, metadata and spec".to_owned(),
            ));
        }
        match text("apiVersion") {
            Some(API_VERSION) => {}
            other => {
                let message = format!("{:?} is not known: it must be {API_VERSION}", other.unwrap_or_default());
                return Err(Violation::new(FieldPath::of(["apiVersion"]), message));
            }
        }
        let kind = text("kind").unwrap_or_default();
        self.schemas.get(kind).ok_or_else(|| {
            Violation::new(FieldPath::of(["kind"]), format!("{kind:?} is not known: it must be one of {}", kinds()))
        })
    }

    /// Fills in defaults and judges a new object by its schema and rules; its status is dropped.
    pub fn judge(&self, mut value: Value) -> Result<Value, Vec<Violation>> {
        let schema = self.schema_of(&value).map_err(|one| vec![one])?;
        let object = named(&value);
        if let Value::Object(fields) = &mut value {
            fields.remove("status");
        }
        structure::fill_defaults(schema, &mut value);
        let mut found = metadata::check(&value);
        found.extend(self.judge_structure(schema, &value));
        if found.is_empty() {
            found = self.judge_rules(schema, &value, None, false);
        }
        if found.is_empty() {
            return Ok(value);
        }
        for violation in &mut found {
            violation.object.clone_from(&object);
        }
        Err(found)
    }

    /// As [`Self::judge`], and parses the object and its texts.
    pub(super) fn read(&self, value: Value) -> Result<Object, Vec<Violation>> {
        let value = self.judge(value)?;
        let named = named(&value);
        let refuse = |path: FieldPath, message: String| {
            vec![Violation { object: named.clone(), ..Violation::new(path, message) }]
        };
        let object = Object::from_json(value).map_err(|error| {
            let source = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
            refuse(FieldPath::default(), format!("{error}{source}"))
        })?;
        match object.validated() {
            Ok(_) => Ok(object),
            Err(error) => Err(refuse(FieldPath::parse(&error.field), error.message)),
        }
    }

    /// Judges a change by the rules over changes.
    pub fn judge_change(&self, old: &Value, new: &Value) -> Vec<Violation> {
        match self.schema_of(new) {
            Ok(schema) => self.judge_rules(schema, new, Some(old), true),
            Err(violation) => vec![violation],
        }
    }

    fn judge_structure(&self, schema: &JSONSchemaProps, value: &Value) -> Vec<Violation> {
        let kind = value.get("kind").and_then(Value::as_str).unwrap_or_default();
        let mut structure = Structure { kind, patterns: &self.patterns, found: Vec::new() };
        let root = FieldPath::default();
        let Value::Object(fields) = value else {
            return structure.found;
        };
        for name in schema.required.iter().flatten().filter(|name| !fields.contains_key(*name)) {
            structure.found.push(Violation::new(root.field(name), "is required".to_owned()));
        }
        for (name, value) in fields {
            let property = schema.properties.as_ref().and_then(|properties| properties.get(name));
            match (name.as_str(), property) {
                // Not in a definition's schema: they are the same for every kind.
                ("apiVersion" | "kind" | "metadata", _) => {}
                (_, Some(property)) => structure.check(property, value, &root.field(name)),
                (_, None) => structure.found.push(Violation::new(
                    root.field(name),
                    "unknown field: allowed are apiVersion, kind, metadata and spec".to_owned(),
                )),
            }
        }
        structure.found
    }

    fn judge_rules(
        &self,
        schema: &JSONSchemaProps,
        value: &Value,
        old: Option<&Value>,
        changes_only: bool,
    ) -> Vec<Violation> {
        let mut rules = Rules { programs: &self.programs, changes_only, found: Vec::new() };
        rules.check(schema, value, old, &FieldPath::default());
        rules.found
    }
}

fn named(value: &Value) -> Option<String> {
    let kind = value.get("kind")?.as_str()?;
    let name = value.get("metadata").and_then(|metadata| metadata.get("name")).and_then(Value::as_str);
    Some(name.map_or_else(|| kind.to_owned(), |name| format!("{kind}/{name}")))
}
