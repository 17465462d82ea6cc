//! Names of objects as they are typed: `KIND`, `KIND NAME`, `KIND/NAME`, `all`.

use thermocline_crds::Kind;

use crate::{CommandError, args::ObjectArguments};

/// Objects that a command names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reference {
    /// Their kind; `None` for all kinds.
    pub(super) kind: Option<Kind>,
    /// The object; `None` for all of the kind.
    pub(super) name: Option<String>,
}

impl std::fmt::Display for Reference {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.kind, &self.name) {
            (Some(kind), Some(name)) => write!(formatter, "{kind}/{name}"),
            (Some(kind), None) => formatter.write_str(kind.plural()),
            (None, _) => formatter.write_str("all objects"),
        }
    }
}

/// Reads `KIND [NAME]`, `KIND/NAME` or `all`; `None` where the text names no kind.
///
/// # Errors
/// Where a name is given to what is no kind.
pub(super) fn reference(text: &str, name: Option<&str>) -> Result<Option<Reference>, CommandError> {
    if text == "all" && name.is_none() {
        return Ok(Some(Reference { kind: None, name: None }));
    }
    if let Some(kind) = Kind::from_argument(text) {
        let name = name.map(ToOwned::to_owned);
        return Ok(Some(Reference { kind: Some(kind), name }));
    }
    if name.is_some() {
        return Err(CommandError::Usage(format!("{text:?} is no kind; {}", kinds_text())));
    }
    Ok(text.split_once('/').and_then(|(kind, name)| {
        Some(Reference {
            kind: Some(Kind::from_argument(kind)?),
            name: Some(name.to_owned()).filter(|name| !name.is_empty()),
        })
    }))
}

fn kinds_text() -> String {
    let kinds: Vec<String> =
        Kind::ALL.iter().map(|kind| format!("{} ({})", kind.plural(), kind.short_name())).collect();
    format!("kinds are {}", kinds.join(", "))
}

/// As [`reference()`], where an object must be named.
pub(super) fn one(arguments: &ObjectArguments) -> Result<(Kind, String), CommandError> {
    match reference(&arguments.kind, arguments.name.as_deref())? {
        Some(Reference { kind: Some(kind), name: Some(name) }) => Ok((kind, name)),
        Some(_) => Err(CommandError::Usage("name the object: KIND NAME or KIND/NAME".to_owned())),
        None => Err(CommandError::Usage(format!("{:?} is no kind; {}", arguments.kind, kinds_text()))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_recognised_in_all_its_names_and_a_key_is_not() {
        let kind = Some(Kind::StorageTier);
        for text in ["tct", "storagetier", "StorageTiers"] {
            assert_eq!(reference(text, None).unwrap(), Some(Reference { kind, name: None }), "{text}");
        }
        let hot = Reference { kind, name: Some("hot".to_owned()) };
        assert_eq!(reference("tct/hot", None).unwrap(), Some(hot.clone()));
        assert_eq!(reference("tct", Some("hot")).unwrap(), Some(hot));
        assert_eq!(reference("users/hot", None).unwrap(), None, "a key");
        assert!(reference("users", Some("hot")).is_err());
    }

    #[test]
    fn one_object_must_be_named_in_full() {
        let named = |kind: &str, name: Option<&str>| {
            one(&ObjectArguments { kind: kind.to_owned(), name: name.map(ToOwned::to_owned) })
        };
        assert_eq!(named("tcp", Some("main")).unwrap(), (Kind::StoragePool, "main".to_owned()));
        assert!(named("tcp", None).unwrap_err().to_string().contains("KIND/NAME"));
        assert!(named("pods", None).unwrap_err().to_string().contains("storagepools (tcp)"));
    }
}
