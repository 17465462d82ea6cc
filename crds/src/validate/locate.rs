//! The line of a field in the text of a manifest.
//!
//! A parsed value no longer knows its line, but the reader does: a probe walks the document along the path and fails on
//! purpose when it has arrived, and the error carries the place.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::path::{FieldPath, Step};

/// The line, from 1, of the field or of the nearest thing around it that stands in the text.
pub(super) fn line(text: &str, document: usize, path: &FieldPath) -> Option<usize> {
    let steps = path.steps();
    (0..=steps.len()).rev().find_map(|length| arrive(text, document, steps.get(..length)?))
}

fn arrive(text: &str, document: usize, steps: &[Step]) -> Option<usize> {
    let reader = serde_yaml::Deserializer::from_str(text).nth(document)?;
    let error = Probe { steps }.deserialize(reader).err()?;
    error.location().map(|location| location.line())
}

const ARRIVED: &str = "arrived";

struct Probe<'a> {
    steps: &'a [Step],
}

impl<'de> DeserializeSeed<'de> for Probe<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Probe<'_> {
    /// What is neither a map nor a list ends the walk: arrived, or there is no such field.
    fn end<E: Error>(&self) -> Result<(), E> {
        if self.steps.is_empty() { Err(E::custom(ARRIVED)) } else { Ok(()) }
    }
}

impl<'de> Visitor<'de> for Probe<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any value")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        self.end()
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        self.end()
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        self.end()
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        self.end()
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        self.end()
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.end()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let Some((step, rest)) = self.steps.split_first() else {
            return Err(A::Error::custom(ARRIVED));
        };
        let mut place = 0;
        loop {
            let here = *step == Step::Index(place);
            let more = if here {
                elements.next_element_seed(Probe { steps: rest })?.is_some()
            } else {
                elements.next_element::<IgnoredAny>()?.is_some()
            };
            if !more {
                return Ok(());
            }
            place += 1;
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let Some((step, rest)) = self.steps.split_first() else {
            return Err(A::Error::custom(ARRIVED));
        };
        let Step::Field(wanted) = step else {
            while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(());
        };
        // A field's place is that of its name: a value in block style begins on the next line.
        while let Some(here) = entries.next_key_seed(Key { wanted, stop: rest.is_empty() })? {
            if here {
                entries.next_value_seed(Probe { steps: rest })?;
            } else {
                entries.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }

    fn visit_none<E: Error>(self) -> Result<(), E> {
        self.end()
    }
}

/// Reads a field's name: whether it is the wanted one, and fails there if that is the goal.
struct Key<'a> {
    wanted: &'a str,
    stop: bool,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = bool;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a field's name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<bool, E> {
        match name == self.wanted {
            true if self.stop => Err(E::custom(ARRIVED)),
            here => Ok(here),
        }
    }
}
