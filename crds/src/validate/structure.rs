//! A generated schema against a value: types, required and unknown fields, enums, patterns, bounds, defaults.
//!
//! Contract: what an API server does with a structural schema, with two differences for the better: an unknown field is
//! refused rather than dropped, and each message says what is allowed. A keyword that is not implemented here is refused when
//! the schema is loaded, so that no promise of a schema is silently kept by nobody.

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use regex::Regex;
use serde_json::{Map, Value};

use super::later;
use super::path::FieldPath;
use super::violation::Violation;

/// The schema of the elements of a list.
pub(super) fn items(schema: &JSONSchemaProps) -> Option<&JSONSchemaProps> {
    match &schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => Some(items),
        _ => None,
    }
}

/// The schema of the values of a map.
pub(super) fn values(schema: &JSONSchemaProps) -> Option<&JSONSchemaProps> {
    match &schema.additional_properties {
        Some(JSONSchemaPropsOrBool::Schema(values)) => Some(values),
        _ => None,
    }
}

/// The keywords of a schema node that [`Structure`] does not implement.
pub(super) fn unsupported(schema: &JSONSchemaProps) -> Vec<&'static str> {
    let used = [
        ("$ref", schema.ref_path.is_some()),
        ("allOf", schema.all_of.is_some()),
        ("anyOf", schema.any_of.is_some()),
        ("oneOf", schema.one_of.is_some()),
        ("not", schema.not.is_some()),
        ("patternProperties", schema.pattern_properties.is_some()),
        ("multipleOf", schema.multiple_of.is_some()),
        ("exclusiveMaximum", schema.exclusive_maximum.is_some()),
        ("exclusiveMinimum", schema.exclusive_minimum.is_some()),
        ("minProperties", schema.min_properties.is_some()),
        ("uniqueItems", schema.unique_items.is_some()),
        ("nullable", schema.nullable.is_some()),
        ("x-kubernetes-int-or-string", schema.x_kubernetes_int_or_string.is_some()),
        ("x-kubernetes-preserve-unknown-fields", schema.x_kubernetes_preserve_unknown_fields.is_some()),
        ("x-kubernetes-embedded-resource", schema.x_kubernetes_embedded_resource.is_some()),
        ("items (a list)", matches!(schema.items, Some(JSONSchemaPropsOrArray::Schemas(_)))),
        ("type (none)", schema.type_.is_none()),
    ];
    used.into_iter().filter(|(_, used)| *used).map(|(keyword, _)| keyword).collect()
}

/// Fills in the defaults of a schema. `null` counts as left out, as an API server has it for fields that are not nullable.
pub(super) fn fill_defaults(schema: &JSONSchemaProps, value: &mut Value) {
    match value {
        Value::Object(object) => {
            object.retain(|_, value| !value.is_null());
            for (name, property) in schema.properties.iter().flatten() {
                if let (None, Some(default)) = (object.get(name), &property.default) {
                    object.insert(name.clone(), default.0.clone());
                }
                if let Some(value) = object.get_mut(name) {
                    fill_defaults(property, value);
                }
            }
            if let Some(values) = values(schema) {
                object.values_mut().for_each(|value| fill_defaults(values, value));
            }
        }
        Value::Array(elements) => {
            if let Some(items) = items(schema) {
                elements.iter_mut().for_each(|element| fill_defaults(items, element));
            }
        }
        _ => {}
    }
}

/// Checks values against schemas whose patterns are compiled.
pub(super) struct Structure<'a> {
    /// The kind of the object, for hints.
    pub(super) kind: &'a str,
    /// The patterns of the schema, compiled.
    pub(super) patterns: &'a BTreeMap<String, Regex>,
    /// What was found so far.
    pub(super) found: Vec<Violation>,
}

impl Structure<'_> {
    fn refuse(&mut self, path: &FieldPath, message: String) {
        self.found.push(Violation::new(path.clone(), message));
    }

    /// Checks a value and everything in it.
    pub(super) fn check(&mut self, schema: &JSONSchemaProps, value: &Value, path: &FieldPath) {
        let wanted = schema.type_.as_deref().unwrap_or_default();
        match (wanted, value) {
            ("object", Value::Object(object)) => self.check_object(schema, object, path),
            ("array", Value::Array(elements)) => self.check_list(schema, elements, path),
            ("string", Value::String(text)) => self.check_text(schema, text, path),
            ("boolean", Value::Bool(_)) => {}
            ("number", Value::Number(number)) => self.check_number(schema, number, path),
            // As in JSON Schema, 3.0 is an integer.
            ("integer", Value::Number(number)) if number.as_f64().is_some_and(|number| number.fract() == 0.0) => {
                self.check_number(schema, number, path);
            }
            _ => self.refuse(path, format!("must be {}, not {}", described(wanted), found(value))),
        }
    }

    fn check_object(&mut self, schema: &JSONSchemaProps, object: &Map<String, Value>, path: &FieldPath) {
        for name in schema.required.iter().flatten().filter(|name| !object.contains_key(*name)) {
            self.refuse(&path.field(name), "is required".to_owned());
        }
        if let Some(most) = schema.max_properties
            && i64::try_from(object.len()).is_ok_and(|entries| entries > most)
        {
            self.refuse(path, format!("must have at most {most} entries"));
        }
        for (name, value) in object {
            let path = path.field(name);
            match schema.properties.as_ref().and_then(|properties| properties.get(name)).or_else(|| values(schema)) {
                Some(property) => self.check(property, value, &path),
                None => {
                    let allowed: Vec<&str> =
                        schema.properties.iter().flat_map(BTreeMap::keys).map(String::as_str).collect();
                    let what = later::field(self.kind, &path).unwrap_or_else(|| "unknown field".to_owned());
                    self.refuse(&path, format!("{what}: allowed are {}", allowed.join(", ")));
                }
            }
        }
    }

    fn check_list(&mut self, schema: &JSONSchemaProps, elements: &[Value], path: &FieldPath) {
        let length = i64::try_from(elements.len()).unwrap_or(i64::MAX);
        if schema.min_items.is_some_and(|least| length < least) || schema.max_items.is_some_and(|most| length > most) {
            self.refuse(path, format!("must have {} entries", bounds(schema.min_items, schema.max_items)));
        }
        for (index, element) in elements.iter().enumerate() {
            if let Some(items) = items(schema) {
                self.check(items, element, &path.index(index));
            }
            let same =
                |other: &&Value| identity(schema, other).is_some_and(|other| Some(other) == identity(schema, element));
            if elements.iter().take(index).any(|other| same(&other)) {
                let keys = schema.x_kubernetes_list_map_keys.iter().flatten().cloned().collect::<Vec<_>>().join(", ");
                let what = if keys.is_empty() {
                    "stands twice: write it once".to_owned()
                } else {
                    format!("{keys} stands twice: write each once")
                };
                self.refuse(&path.index(index), what);
            }
        }
    }

    fn check_text(&mut self, schema: &JSONSchemaProps, text: &str, path: &FieldPath) {
        if let Some(allowed) = &schema.enum_
            && !allowed.iter().any(|allowed| allowed.0 == *text)
        {
            let allowed: Vec<&str> = allowed.iter().filter_map(|allowed| allowed.0.as_str()).collect();
            self.refuse(path, format!("{text:?} is not allowed: it must be one of {}", allowed.join(", ")));
        }
        let length = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
        if schema.min_length.is_some_and(|least| length < least) || schema.max_length.is_some_and(|most| length > most)
        {
            self.refuse(path, format!("must have {} characters", bounds(schema.min_length, schema.max_length)));
        }
        if let Some(pattern) = &schema.pattern
            && self.patterns.get(pattern).is_none_or(|pattern| !pattern.is_match(text))
        {
            self.refuse(path, format!("{text:?} is not allowed: {}", allowed_by(pattern)));
        }
    }

    fn check_number(&mut self, schema: &JSONSchemaProps, number: &serde_json::Number, path: &FieldPath) {
        let value = number.as_f64().unwrap_or(f64::NAN);
        if schema.minimum.is_some_and(|least| value < least) || schema.maximum.is_some_and(|most| value > most) {
            self.refuse(
                path,
                format!("{number} is not allowed: it must be {}", bounds(schema.minimum, schema.maximum)),
            );
        }
    }
}

/// What tells elements of a list apart: its keys, or the whole in a set; `None` where elements may repeat.
pub(super) fn identity(schema: &JSONSchemaProps, element: &Value) -> Option<Vec<Value>> {
    match schema.x_kubernetes_list_type.as_deref() {
        Some("set") => Some(vec![element.clone()]),
        Some("map") => {
            schema.x_kubernetes_list_map_keys.iter().flatten().map(|key| element.get(key).cloned()).collect()
        }
        _ => None,
    }
}

/// A pattern in words, where it is one of ours.
fn allowed_by(pattern: &str) -> String {
    let name = |most: &str| {
        format!("it must be a name: 1 to {most} characters, lower-case letters, digits and '-', the first a letter")
    };
    match pattern {
        crate::quantity::PATTERN => format!("it must be {}", crate::quantity::ALLOWED),
        crate::time_span::PATTERN => format!("it must be {}", crate::time_span::ALLOWED),
        other => [40, 24]
            .into_iter()
            .find(|most| crate::names::pattern(*most) == other)
            .map_or_else(|| format!("it must match {other}"), |most| name(&most.to_string())),
    }
}

fn bounds<T: std::fmt::Display + Copy>(least: Option<T>, most: Option<T>) -> String {
    match (least, most) {
        (Some(least), Some(most)) => format!("{least} to {most}"),
        (Some(least), None) => format!("at least {least}"),
        (None, Some(most)) => format!("at most {most}"),
        (None, None) => "any number of".to_owned(),
    }
}

fn described(type_: &str) -> &str {
    match type_ {
        "object" => "an object",
        "array" => "a list",
        "string" => "text (put quotes around a number)",
        "boolean" => "true or false",
        "integer" => "a whole number",
        "number" => "a number",
        other => other,
    }
}

const fn found(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
