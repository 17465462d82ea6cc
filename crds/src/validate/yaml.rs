//! From YAML to the JSON that schemas speak of.
//!
//! Contract: only what JSON can say passes; the reader has already refused keys that stand twice.

use serde_json::{Map, Number, Value};

use super::path::FieldPath;
use super::violation::Violation;

/// The same value in JSON, or what JSON cannot say.
pub(super) fn to_json(value: serde_yaml::Value) -> Result<Value, Violation> {
    convert(value, &FieldPath::default())
}

fn convert(value: serde_yaml::Value, path: &FieldPath) -> Result<Value, Violation> {
    Ok(match value {
        serde_yaml::Value::Null => Value::Null,
        serde_yaml::Value::Bool(value) => Value::Bool(value),
        serde_yaml::Value::String(text) => Value::String(text),
        serde_yaml::Value::Number(number) => Value::Number(convert_number(&number, path)?),
        serde_yaml::Value::Sequence(elements) => {
            let elements =
                elements.into_iter().enumerate().map(|(index, element)| convert(element, &path.index(index)));
            Value::Array(elements.collect::<Result<_, _>>()?)
        }
        serde_yaml::Value::Mapping(entries) => {
            let mut object = Map::new();
            for (key, value) in entries {
                let serde_yaml::Value::String(key) = key else {
                    return Err(Violation::new(
                        path.clone(),
                        "field names must be text: put quotes around numbers and true or false".to_owned(),
                    ));
                };
                let value = convert(value, &path.field(&key))?;
                object.insert(key, value);
            }
            Value::Object(object)
        }
        serde_yaml::Value::Tagged(tagged) => {
            return Err(Violation::new(
                path.clone(),
                format!("the tag {} is not allowed: write the plain value", tagged.tag),
            ));
        }
    })
}

fn convert_number(number: &serde_yaml::Number, path: &FieldPath) -> Result<Number, Violation> {
    let whole = number.as_i64().map(Number::from).or_else(|| number.as_u64().map(Number::from));
    whole
        .or_else(|| number.as_f64().and_then(Number::from_f64))
        .ok_or_else(|| Violation::new(path.clone(), format!("{number} is not allowed: numbers must be finite")))
}
