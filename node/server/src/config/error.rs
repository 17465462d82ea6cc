//! What can be wrong with a configuration, worded for the person who has to mend it.

use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

/// A configuration that cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read the configuration file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// It is not YAML, has an unknown field, or lacks one. The parser's text, which names field, line and column, is part
    /// of the message because it is the only thing that helps.
    #[error("the configuration {origin} is not usable: {problem}")]
    Syntax {
        /// Where the text came from.
        origin: String,
        /// What the parser says.
        problem: serde_yaml::Error,
    },
    /// An override on the command line or in the environment names no field.
    #[error("cannot override `{field}`: {problem}; write a path such as tiers[0].size=1Gi")]
    Override {
        /// The path as given.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The configuration was understood, but has values that are not allowed: all of them, not just the first.
    #[error("{}", list(problems))]
    Invalid {
        /// One entry per field.
        problems: Vec<FieldProblem>,
    },
}

/// One field with a value that is not allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldProblem {
    /// The path of the field, such as `tiers[1].size`.
    pub field: String,
    /// What is wrong, with the value.
    pub problem: String,
    /// What is allowed instead.
    pub allowed: String,
}

impl fmt::Display for FieldProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}; allowed: {}", self.field, self.problem, self.allowed)
    }
}

fn list(problems: &[FieldProblem]) -> String {
    let mut text = String::from("the configuration has values that are not allowed");
    for problem in problems {
        text.push_str("\n  ");
        text.push_str(&problem.to_string());
    }
    text
}

/// Collects the problems of a configuration while it is parsed, so that a person sees all of them at once.
#[derive(Debug, Default)]
pub struct Problems {
    found: Vec<FieldProblem>,
}

impl Problems {
    /// Notes that `field` has a problem.
    pub fn add(&mut self, field: impl Into<String>, problem: impl Into<String>, allowed: impl Into<String>) {
        self.found.push(FieldProblem { field: field.into(), problem: problem.into(), allowed: allowed.into() });
    }

    /// How many were noted.
    pub fn count(&self) -> usize {
        self.found.len()
    }

    /// `value` if nothing was noted.
    pub fn into_result<T>(self, value: Option<T>) -> Result<T, ConfigError> {
        match value {
            Some(value) if self.found.is_empty() => Ok(value),
            _ => Err(ConfigError::Invalid { problems: self.found }),
        }
    }
}
