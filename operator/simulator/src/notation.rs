//! Sizes and time spans as manifests write them.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error};
use thermocline_crds::{quantity::ByteSize, time_span::TimeSpan};

pub(crate) fn size<'de, D: Deserializer<'de>>(input: D) -> Result<u64, D::Error> {
    String::deserialize(input)?.parse::<ByteSize>().map(ByteSize::bytes).map_err(D::Error::custom)
}

pub(crate) fn some_size<'de, D: Deserializer<'de>>(input: D) -> Result<Option<u64>, D::Error> {
    size(input).map(Some)
}

pub(crate) fn span<'de, D: Deserializer<'de>>(input: D) -> Result<Duration, D::Error> {
    String::deserialize(input)?.parse::<TimeSpan>().map(TimeSpan::as_duration).map_err(D::Error::custom)
}

pub(crate) fn some_span<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Duration>, D::Error> {
    span(input).map(Some)
}
