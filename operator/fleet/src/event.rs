//! What happened, for a person who asks later.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thermocline_crds::Kind;

/// Whether an event needs attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventType {
    /// As it should be.
    Normal,
    /// Something went wrong.
    Warning,
}

/// One thing that happened to an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub time: Timestamp,
    /// Whether it needs attention.
    #[serde(rename = "type")]
    pub event_type: EventType,
    /// The kind of the object.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// In one word.
    pub reason: String,
    /// In a sentence.
    pub message: String,
}

impl Event {
    /// Something that is as it should be.
    #[must_use]
    pub fn normal(time: Timestamp, kind: Kind, name: &str, reason: &str, message: impl Into<String>) -> Self {
        Self::new(time, EventType::Normal, kind, name, reason, message.into())
    }

    /// Something that went wrong.
    #[must_use]
    pub fn warning(time: Timestamp, kind: Kind, name: &str, reason: &str, message: impl Into<String>) -> Self {
        Self::new(time, EventType::Warning, kind, name, reason, message.into())
    }

    fn new(time: Timestamp, event_type: EventType, kind: Kind, name: &str, reason: &str, message: String) -> Self {
        Self { time, event_type, kind: kind.to_string(), name: name.to_owned(), reason: reason.to_owned(), message }
    }
}
