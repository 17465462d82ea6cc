//! The columns in which objects are listed: those that the generated definitions name, as kubectl shows them.

use jiff::Timestamp;
use serde_json::Value;
use thermocline_crds::{Kind, generate};

/// One column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) title: String,
    path: String,
    is_date: bool,
}

/// The columns of a kind: the name, then what its definition names with priority 0.
pub(super) fn columns(kind: Kind) -> Vec<Column> {
    let mut columns = vec![Column { title: "NAME".to_owned(), path: ".metadata.name".to_owned(), is_date: false }];
    for definition in generate::definitions().into_iter().filter(|one| one.spec.names.kind == kind.as_str()) {
        let declared = definition.spec.versions.into_iter().flat_map(|version| version.additional_printer_columns);
        for column in declared.flatten().filter(|column| column.priority.unwrap_or(0) == 0) {
            columns.push(Column {
                title: column.name.to_uppercase(),
                path: column.json_path,
                is_date: column.type_ == "date",
            });
        }
    }
    columns
}

impl Column {
    /// What stands in the column for an object.
    pub(super) fn cell(&self, object: &Value, now: Timestamp) -> String {
        let Some(value) = find(object, &self.path) else {
            return String::new();
        };
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            other => other.to_string(),
        };
        if self.is_date { text.parse::<Timestamp>().map_or(text, |since| age(since, now)) } else { text }
    }
}

/// The value at a path of the forms that our definitions use: `.a.b` and `.a[?(@.type=="X")].b`.
fn find<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    let mut value = value;
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(filter) = rest.strip_prefix("[?(@.type==\"") {
            let (wanted, after) = filter.split_once("\")]")?;
            value = value.as_array()?.iter().find(|one| one.get("type").and_then(Value::as_str) == Some(wanted))?;
            rest = after;
            continue;
        }
        let name = rest.strip_prefix('.')?;
        let end = name.find(['.', '[']).unwrap_or(name.len());
        value = value.get(&name[..end])?;
        rest = &name[end..];
    }
    Some(value)
}

/// How long ago, in the largest unit that gives at least two.
fn age(since: Timestamp, now: Timestamp) -> String {
    let seconds = (now.as_second() - since.as_second()).max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_of_every_definition_has_a_path_that_is_understood() {
        for kind in Kind::ALL {
            let columns = columns(kind);
            assert!(columns.len() > 2, "{kind}");
            for column in columns {
                let plain = column.path.replace("[?(@.type==\"", "").replace("\")]", "");
                assert!(plain.starts_with('.') && !plain.contains(['[', '?', '*']), "{kind}: {}", column.path);
            }
        }
    }

    #[test]
    fn conditions_are_found_by_their_type() {
        let object = serde_json::json!({"status": {"conditions": [
            {"type": "Ready", "status": "True"}, {"type": "Degraded", "status": "False"}]}});
        let path = ".status.conditions[?(@.type==\"Degraded\")].status";
        assert_eq!(find(&object, path), Some(&Value::String("False".to_owned())));
        assert_eq!(find(&object, ".status.missing"), None);
    }

    #[test]
    fn an_age_has_one_unit() {
        let at = |second| Timestamp::from_second(second).unwrap_or_default();
        let ages = [(0, "0s"), (119, "119s"), (120, "2m"), (7_200, "2h"), (200_000, "2d")];
        for (seconds, text) in ages {
            assert_eq!(age(at(0), at(seconds)), text);
        }
    }
}
