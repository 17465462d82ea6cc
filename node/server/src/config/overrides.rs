//! Values from flags and the environment that replace those of the file.
//!
//! They are laid over the parsed document before it is checked, so that an override is held to the same rules as the
//! file and may also supply a field that the file leaves out (a pod's name, say).

use serde_yaml::{Mapping, Value};

use super::error::ConfigError;

/// One value for one field.
#[derive(Debug, Clone, PartialEq)]
pub struct Override {
    /// A path such as `tiers[0].size`.
    pub field: String,
    /// What it becomes.
    pub value: Value,
}

impl Override {
    /// An override whose value is text, whatever it looks like.
    pub fn text(field: &str, value: &str) -> Self {
        Self { field: field.to_owned(), value: Value::String(value.to_owned()) }
    }

    /// Parses `path=value`; the value is read as YAML, so that numbers and booleans keep their type.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let problem = |problem: &str| ConfigError::Override { field: text.to_owned(), problem: problem.to_owned() };
        let (field, value) = text.split_once('=').ok_or_else(|| problem("there is no `=`"))?;
        let value = serde_yaml::from_str(value).map_err(|_| problem("the value is not valid YAML"))?;
        Ok(Self { field: field.trim().to_owned(), value })
    }

    /// Puts the value into the document; objects on the way are made, list entries must exist.
    pub fn apply(&self, document: &mut Value) -> Result<(), ConfigError> {
        let problem = |problem: String| ConfigError::Override { field: self.field.clone(), problem };
        let mut place = document;
        for step in steps(&self.field).map_err(problem)? {
            place = match step {
                Step::Name(name) => {
                    if place.is_null() {
                        *place = Value::Mapping(Mapping::new());
                    }
                    place
                        .as_mapping_mut()
                        .ok_or_else(|| problem(format!("`{name}` is looked up in something that has no fields")))?
                        .entry(Value::String(name))
                        .or_insert(Value::Null)
                }
                Step::Index(index) => {
                    let list = place
                        .as_sequence_mut()
                        .ok_or_else(|| problem(format!("[{index}] is looked up in something that is no list")))?;
                    let length = list.len();
                    list.get_mut(index)
                        .ok_or_else(|| problem(format!("the list has {length} entries, there is no [{index}]")))?
                }
            };
        }
        *place = self.value.clone();
        Ok(())
    }
}

enum Step {
    Name(String),
    Index(usize),
}

fn steps(path: &str) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    for part in path.split('.') {
        let mut pieces = part.split('[');
        let name = pieces.next().unwrap_or_default();
        if name.is_empty() {
            return Err("a field name is empty".to_owned());
        }
        steps.push(Step::Name(name.to_owned()));
        for piece in pieces {
            let index = piece
                .strip_suffix(']')
                .and_then(|digits| digits.parse().ok())
                .ok_or_else(|| format!("`[{piece}` is no list index"))?;
            steps.push(Step::Index(index));
        }
    }
    Ok(steps)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unwrap_in_result)]
    use super::*;

    fn applied(document: &str, set: &str) -> Result<String, ConfigError> {
        let mut document: Value = serde_yaml::from_str(document).unwrap();
        Override::parse(set)?.apply(&mut document)?;
        Ok(serde_yaml::to_string(&document).unwrap())
    }

    #[test]
    fn a_value_replaces_what_the_file_says() {
        let text = applied("tiers: [{size: 1Gi}, {size: 2Gi}]", "tiers[1].size=3Gi").unwrap();
        assert_eq!(text, "tiers:\n- size: 1Gi\n- size: 3Gi\n");
    }

    #[test]
    fn objects_on_the_way_are_made_and_numbers_stay_numbers() {
        assert_eq!(applied("node: a", "policy.generation=7").unwrap(), "node: a\npolicy:\n  generation: 7\n");
    }

    #[test]
    fn a_path_that_leads_nowhere_is_refused() {
        for set in ["node", "=1", "tiers[5].size=1", "tiers[x].size=1", "node.name=1", "node[0]=1", "a..b=1", "a=[1"] {
            let outcome = applied("{node: a, tiers: [{size: 1Gi}]}", set);
            assert!(matches!(outcome, Err(ConfigError::Override { .. })), "{set}: {outcome:?}");
        }
    }
}
