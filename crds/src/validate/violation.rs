//! What is wrong, where, and what is allowed.

use std::fmt;

use super::path::FieldPath;

/// One thing that is wrong with a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The number of the document in the text, from 1; absent for objects that came from no text.
    pub document: Option<usize>,
    /// The line in the text, from 1, where it could be found.
    pub line: Option<usize>,
    /// `Kind/name`, as far as they are known.
    pub object: Option<String>,
    /// The field; empty means the object as a whole.
    pub path: FieldPath,
    /// What is wrong and what is allowed.
    pub message: String,
}

impl Violation {
    /// One that has a place in an object.
    #[must_use]
    pub const fn new(path: FieldPath, message: String) -> Self {
        Self { document: None, line: None, object: None, path, message }
    }

    /// One that has none.
    pub(super) fn of_text(message: String) -> Self {
        Self::new(FieldPath::default(), message)
    }

    /// A text that is not YAML.
    pub(super) fn of_syntax(document: usize, error: &serde_yaml::Error) -> Self {
        let line = error.location().map(|location| location.line());
        Self { document: Some(document), line, ..Self::of_text(format!("not readable as YAML: {error}")) }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.document, self.line) {
            (Some(document), Some(line)) => write!(formatter, "document {document}, line {line}: ")?,
            (Some(document), None) => write!(formatter, "document {document}: ")?,
            (None, _) => {}
        }
        if let Some(object) = &self.object {
            write!(formatter, "{object}: ")?;
        }
        if !self.path.steps().is_empty() {
            write!(formatter, "{}: ", self.path)?;
        }
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Violation {}
