//! The CEL rules of a generated schema over a value, as an API server evaluates them.
//!
//! Contract: a rule sees its node as `self` and, if it names `oldSelf`, runs only where the node existed before (elements of
//! a list are matched by the list's keys). A rule that cannot be evaluated counts as broken.

use std::collections::{BTreeMap, HashMap};

use cel::{Context, Program};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use serde_json::Value;

use super::path::FieldPath;
use super::structure::{identity, items, values};
use super::violation::Violation;

/// Evaluates the rules of schemas whose rules are compiled.
pub(super) struct Rules<'a> {
    /// The rules of the schema, compiled, by their text.
    pub(super) programs: &'a BTreeMap<String, Program>,
    /// Whether only rules over changes are of interest.
    pub(super) changes_only: bool,
    /// What was found so far.
    pub(super) found: Vec<Violation>,
}

impl Rules<'_> {
    /// Evaluates the rules of a value and of everything in it.
    pub(super) fn check(&mut self, schema: &JSONSchemaProps, value: &Value, old: Option<&Value>, path: &FieldPath) {
        for rule in schema.x_kubernetes_validations.iter().flatten() {
            let message = || rule.message.clone().unwrap_or_else(|| format!("failed rule: {}", rule.rule));
            match self.evaluate(&rule.rule, schema, value, old) {
                Ok(true) => {}
                Ok(false) => self.found.push(Violation::new(path.clone(), message())),
                Err(reason) => {
                    self.found.push(Violation::new(
                        path.clone(),
                        format!("{} (the rule cannot be evaluated: {reason})", message()),
                    ));
                }
            }
        }
        match value {
            Value::Object(object) => {
                for (name, value) in object {
                    let property = schema
                        .properties
                        .as_ref()
                        .and_then(|properties| properties.get(name))
                        .or_else(|| values(schema));
                    if let Some(property) = property {
                        self.check(property, value, old.and_then(|old| old.get(name)), &path.field(name));
                    }
                }
            }
            Value::Array(elements) => {
                let Some(items) = items(schema) else { return };
                for (index, element) in elements.iter().enumerate() {
                    // Only a list with keys says which element was which.
                    let keyed = schema.x_kubernetes_list_type.as_deref() == Some("map");
                    let before = old.filter(|_| keyed).and_then(Value::as_array);
                    let before = before
                        .and_then(|all| all.iter().find(|other| identity(schema, other) == identity(schema, element)));
                    self.check(items, element, before, &path.index(index));
                }
            }
            _ => {}
        }
    }

    fn evaluate(
        &self,
        rule: &str,
        schema: &JSONSchemaProps,
        value: &Value,
        old: Option<&Value>,
    ) -> Result<bool, String> {
        let program = self.programs.get(rule).ok_or("it is not compiled")?;
        let over_change = program.references().has_variable("oldSelf");
        if self.changes_only && !over_change {
            return Ok(true);
        }
        let mut context = Context::default();
        if over_change {
            let Some(old) = old else { return Ok(true) };
            context.add_variable_from_value("oldSelf", to_cel(schema, old));
        }
        context.add_variable_from_value("self", to_cel(schema, value));
        match program.execute(&context) {
            Ok(cel::Value::Bool(kept)) => Ok(kept),
            Ok(other) => Err(format!("it yields {other:?}, not true or false")),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// A value as CEL sees it: the schema, not the notation, says whether a number is whole.
fn to_cel(schema: &JSONSchemaProps, value: &Value) -> cel::Value {
    match value {
        Value::Null => cel::Value::Null,
        Value::Bool(value) => cel::Value::Bool(*value),
        Value::String(text) => cel::Value::from(text.as_str()),
        Value::Number(number) if schema.type_.as_deref() == Some("number") => {
            cel::Value::Float(number.as_f64().unwrap_or(f64::NAN))
        }
        Value::Number(number) => {
            number.as_i64().map_or_else(|| cel::Value::Float(number.as_f64().unwrap_or(f64::NAN)), cel::Value::Int)
        }
        Value::Array(elements) => {
            let fallback = JSONSchemaProps::default();
            let items = items(schema).unwrap_or(&fallback);
            cel::Value::from(elements.iter().map(|element| to_cel(items, element)).collect::<Vec<_>>())
        }
        Value::Object(object) => {
            let fallback = JSONSchemaProps::default();
            let entry = |(name, value): (&String, &Value)| {
                let property = schema.properties.as_ref().and_then(|properties| properties.get(name));
                (name.clone(), to_cel(property.or_else(|| values(schema)).unwrap_or(&fallback), value))
            };
            cel::Value::from(object.iter().map(entry).collect::<HashMap<String, cel::Value>>())
        }
    }
}
