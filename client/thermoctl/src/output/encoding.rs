//! Keys and values as text where they are UTF-8, else as base64 under a field of another name.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Serialize;
use thermocline_client::{DisplayKey, Record};

/// Bytes as they are shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextOrBase64 {
    /// They are UTF-8.
    Text(String),
    /// They are not.
    Base64(String),
}

impl TextOrBase64 {
    /// Chooses by content.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        std::str::from_utf8(bytes)
            .map_or_else(|_| Self::Base64(BASE64_STANDARD.encode(bytes)), |text| Self::Text(text.to_owned()))
    }

    /// `(text, base64)`, one of them set: for a pair of optional fields.
    #[must_use]
    pub fn fields(self) -> (Option<String>, Option<String>) {
        match self {
            Self::Text(text) => (Some(text), None),
            Self::Base64(text) => (None, Some(text)),
        }
    }
}

/// Decodes what [`TextOrBase64`] encodes.
///
/// # Errors
/// Where the text is not standard base64 with padding.
pub fn decode_base64(text: &str) -> Result<Vec<u8>, base64::DecodeError> {
    BASE64_STANDARD.decode(text)
}

/// A bound of a range for programs: text, or an object with base64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum TextField {
    /// It is UTF-8.
    Text(String),
    /// It is not.
    #[serde(rename_all = "camelCase")]
    Base64 {
        /// The bytes.
        base64: String,
    },
}

impl TextField {
    /// Chooses by content.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        match TextOrBase64::of(bytes) {
            TextOrBase64::Text(text) => Self::Text(text),
            TextOrBase64::Base64(base64) => Self::Base64 { base64 },
        }
    }
}

/// A bound of a range for people; `open` where it has none.
#[must_use]
pub fn bound(key: &[u8], open: &str) -> String {
    if key.is_empty() { open.to_owned() } else { DisplayKey(key).to_string() }
}

/// A record for programs; the same fields that an import reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordView {
    /// The key, where it is UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The key, where it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_base64: Option<String>,
    /// The value, where it is UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The value, where it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_base64: Option<String>,
    /// The version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
}

/// A record as it is shown; without its value in a scan of keys only.
#[must_use]
pub fn record_view(record: &Record, with_value: bool, with_version: bool) -> RecordView {
    let (key, key_base64) = TextOrBase64::of(&record.key).fields();
    let (value, value_base64) = if with_value { TextOrBase64::of(&record.value).fields() } else { (None, None) };
    RecordView { key, key_base64, value, value_base64, version: with_version.then_some(record.version) }
}
