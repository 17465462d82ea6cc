//! The keys that a move is about.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// A range of keys: a prefix, or from a start to an end. The fields that end in `Base64` are for keys that are not text.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.prefix), has(self.prefixBase64), has(self.start) || has(self.startBase64) || has(self.end) || has(self.endBase64)].filter(form, form).size() == 1")
    .message("range must be exactly one of prefix, prefixBase64, or start and end (at least one of them; an empty prefix means every key)"))]
#[x_kube(validation = Rule::new("!(has(self.start) && has(self.startBase64)) && !(has(self.end) && has(self.endBase64))")
    .message("a bound of the range must be given as text or in Base64, not both"))]
#[x_kube(validation = Rule::new("!has(self.start) || !has(self.end) || self.start < self.end")
    .message("start must be before end"))]
pub struct KeyRange {
    /// Every key that begins so; empty means every key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub prefix: Option<String>,
    /// As `prefix`, in Base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "base64_bytes")]
    pub prefix_base64: Option<String>,
    /// The first key, inclusive; from the beginning if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub start: Option<String>,
    /// As `start`, in Base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "base64_bytes")]
    pub start_base64: Option<String>,
    /// The end, exclusive; to the end if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub end: Option<String>,
    /// As `end`, in Base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "base64_bytes")]
    pub end_base64: Option<String>,
}

/// Schema of bytes in Base64, enough for the longest key.
pub(super) fn base64_bytes(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "string",
        "maxLength": 5464,
        "pattern": "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{4}|[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)$",
    })
}

/// A range that names no keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// Not Base64.
    #[error("{field} is not Base64: it must be the standard alphabet with padding")]
    Base64 {
        /// The field.
        field: &'static str,
    },
    /// None of the forms, or more than one.
    #[error(
        "the range must be exactly one of prefix, prefixBase64, or start and end (at least one of them; an empty prefix means every key)"
    )]
    Form,
    /// Start not before end.
    #[error("the start of the range must be before its end")]
    Order,
}

/// A half-open range of keys in bytes; `None` at the end means unbounded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidatedKeyRange {
    /// The first key, inclusive; empty means from the beginning.
    pub start: Vec<u8>,
    /// The end, exclusive.
    pub end: Option<Vec<u8>>,
}

impl ValidatedKeyRange {
    /// Every key that begins with `prefix`.
    #[must_use]
    pub fn of_prefix(prefix: &[u8]) -> Self {
        let mut end = prefix.to_vec();
        // The first key after the prefix: its last byte that can grow, grown; a prefix of 0xff bytes has none.
        while let Some(last) = end.pop() {
            if last < u8::MAX {
                end.push(last + 1);
                return Self { start: prefix.to_vec(), end: Some(end) };
            }
        }
        Self { start: prefix.to_vec(), end: None }
    }
}

/// The bytes of a key that is given as text or in Base64.
pub(super) fn bound(
    name: &'static str,
    text: Option<&String>,
    base64: Option<&String>,
) -> Result<Option<Vec<u8>>, RangeError> {
    match (text, base64) {
        (Some(_), Some(_)) => Err(RangeError::Form),
        (Some(text), None) => Ok(Some(text.clone().into_bytes())),
        (None, Some(base64)) => STANDARD.decode(base64).map(Some).map_err(|_| RangeError::Base64 { field: name }),
        (None, None) => Ok(None),
    }
}

/// A key as a spec says it: as text or, where it is none, in Base64.
#[must_use]
pub fn key_fields(key: &[u8]) -> (Option<String>, Option<String>) {
    match std::str::from_utf8(key) {
        Ok(text) => (Some(text.to_owned()), None),
        Err(_) => (None, Some(STANDARD.encode(key))),
    }
}

impl TryFrom<&KeyRange> for ValidatedKeyRange {
    type Error = RangeError;

    fn try_from(range: &KeyRange) -> Result<Self, RangeError> {
        let prefix = bound("prefixBase64", range.prefix.as_ref(), range.prefix_base64.as_ref())?;
        let start = bound("startBase64", range.start.as_ref(), range.start_base64.as_ref())?;
        let end = bound("endBase64", range.end.as_ref(), range.end_base64.as_ref())?;
        match (prefix, start, end) {
            (Some(prefix), None, None) => Ok(Self::of_prefix(&prefix)),
            (None, None, None) | (Some(_), _, _) => Err(RangeError::Form),
            (None, start, end) => {
                let start = start.unwrap_or_default();
                if end.as_ref().is_some_and(|end| *end <= start) {
                    return Err(RangeError::Order);
                }
                Ok(Self { start, end })
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bounds_in_base64_are_compared_as_bytes() {
        let range = KeyRange { start_base64: Some("/w==".into()), end: Some("a".into()), ..KeyRange::default() };
        assert_eq!(ValidatedKeyRange::try_from(&range), Err(RangeError::Order));
    }

    proptest! {
        #[test]
        fn a_key_is_in_the_range_of_a_prefix_exactly_if_it_begins_with_it(
            prefix in prop::collection::vec(prop_oneof![Just(0_u8), Just(254), Just(255)], 0..4),
            key in prop::collection::vec(prop_oneof![Just(0_u8), Just(254), Just(255)], 0..6),
        ) {
            let range = ValidatedKeyRange::of_prefix(&prefix);
            let inside = key >= range.start && range.end.is_none_or(|end| key < end);
            prop_assert_eq!(inside, key.starts_with(&prefix));
        }
    }
}
