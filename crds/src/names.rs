//! Names of objects: DNS labels, each kind with its own type so that a pool's name is never taken for a tier's.
//!
//! Contract: the limits leave room for what is derived from a name (a node's name is its pool's and a number; the tier's name
//! labels metrics and folders). A name that was parsed needs no further check.

use std::fmt;
use std::str::FromStr;

use kube::core::Rule;

/// A text that is not a name of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a name of a {kind}: it must have 1 to {most} characters, lower-case letters, digits and '-', the first a letter, the last no '-'"
)]
pub struct NameError {
    text: String,
    kind: &'static str,
    most: usize,
}

fn is_label(text: &str, most: usize) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    text.len() <= most
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && !text.ends_with('-')
        && text.bytes().all(plain)
}

/// The pattern of a label of at most `most` (at least 2) characters.
#[must_use]
pub fn pattern(most: usize) -> String {
    format!("^[a-z]([-a-z0-9]{{0,{}}}[a-z0-9])?$", most.saturating_sub(2))
}

/// The rule over `metadata.name` that stands at the root of a kind's schema.
#[must_use]
pub(crate) fn name_rule(most: usize) -> Rule {
    Rule::new(format!("self.metadata.name.matches('{}')", pattern(most))).message(
        format!(
            "metadata.name must have 1 to {most} characters, lower-case letters, digits and '-', the first a letter, the last no '-'"
        )
        .as_str(),
    )
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $kind:literal, $most:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(String);

        impl $type {
            /// The most characters.
            pub const MAX: usize = $most;

            /// As text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                if is_label(text, $most) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(NameError { text: text.to_owned(), kind: $kind, most: $most })
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}

name!(
    /// The name of a StorageCluster.
    ClusterName, "StorageCluster", 40
);
name!(
    /// The name of a StoragePool: short enough that a node's number can follow it.
    PoolName, "StoragePool", 40
);
name!(
    /// The name of a StorageNode.
    NodeName, "StorageNode", 50
);
name!(
    /// The name of a StorageTier; it labels metrics and folders.
    TierName, "StorageTier", 24
);
name!(
    /// The name of a MigrationPolicy.
    PolicyName, "MigrationPolicy", 50
);
name!(
    /// The name of a Migration.
    MigrationName, "Migration", 63
);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_that_is_too_long_says_the_limit_of_its_kind() {
        let error = "a".repeat(25).parse::<TierName>().unwrap_err().to_string();
        assert!(error.contains("1 to 24 characters"), "{error}");
        assert!("a".repeat(25).parse::<PoolName>().is_ok());
    }

    proptest! {
        #[test]
        fn the_pattern_and_the_parser_agree(text in "[a-z0-9.A-]{0,28}") {
            let pattern = regex::Regex::new(&pattern(TierName::MAX)).unwrap();
            prop_assert_eq!(pattern.is_match(&text), text.parse::<TierName>().is_ok(), "{}", text);
        }
    }
}
