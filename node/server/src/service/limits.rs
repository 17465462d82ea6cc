//! What a request may hold. Each bound is defined once, named in `docs`, and stated in the refusal.

use thermocline_proto::{MAX_KEY_BYTES, MAX_VALUE_BYTES, v1};

use super::rejection::Rejection;
use crate::owned_range::OwnedRange;

/// Keys of one BatchGet.
pub const MAX_BATCH_GET_KEYS: usize = 10_000;
/// Keys and values of one answer to BatchGet, in bytes: beyond it, ask for fewer keys.
pub const MAX_BATCH_GET_BYTES: usize = 64 << 20;
/// Keys and values of one batch of writes, in bytes.
pub const MAX_BATCH_BYTES: usize = 64 << 20;
/// Mutations of one batch.
pub const MAX_MUTATIONS: usize = 250_000;
/// Conditions of one batch.
pub const MAX_CONDITIONS: usize = 10_000;
/// The largest message the node decodes: a batch of the largest size with the framing of its mutations. Over it the
/// transport itself answers OUT_OF_RANGE.
pub const MAX_MESSAGE_BYTES: usize = 72 << 20;

/// A key of 1 byte to 4 KiB; `field` names it in the refusal.
pub fn key(field: &str, key: &[u8]) -> Result<(), Rejection> {
    if key.is_empty() {
        return Err(Rejection::EmptyKey { field: field.to_owned() });
    }
    at_most(field, "bytes of a key", key.len(), MAX_KEY_BYTES)
}

/// A value of up to 8 MiB.
pub fn value(field: &str, value: &[u8]) -> Result<(), Rejection> {
    at_most(field, "bytes of a value", value.len(), MAX_VALUE_BYTES)
}

/// `actual` is not over `limit`.
pub fn at_most(field: &str, what: &'static str, actual: usize, limit: usize) -> Result<(), Rejection> {
    if actual > limit {
        return Err(Rejection::OverLimit { field: field.to_owned(), what, actual, limit });
    }
    Ok(())
}

/// A key that the node owns.
pub fn owned_key(field: &str, bytes: &[u8], range: &OwnedRange) -> Result<(), Rejection> {
    key(field, bytes)?;
    if range.contains(bytes) {
        return Ok(());
    }
    Err(Rejection::OutsideRange { key: bytes.to_vec(), range: range.clone() })
}

/// Keys that the node owns, all of them: where only some are outside, the refusal names where to cut.
pub fn owned_keys<'a>(keys: impl Iterator<Item = &'a [u8]>, range: &OwnedRange) -> Result<(), Rejection> {
    let (mut inside, mut outside) = (false, None);
    for key in keys {
        if range.contains(key) {
            inside = true;
        } else {
            outside = outside.or(Some(key));
        }
        if let (true, Some(key)) = (inside, outside) {
            return Err(Rejection::SpansRange {
                split: range.split_point(key).to_vec(),
                key: key.to_vec(),
                range: range.clone(),
            });
        }
    }
    match outside {
        None => Ok(()),
        Some(key) => Err(Rejection::OutsideRange { key: key.to_vec(), range: range.clone() }),
    }
}

/// The header names a shard and epoch that this node can answer for, and a request id of the right form.
///
/// Until a cluster has shards there is one per node, number 0, whose epoch never changes. An absent header is that.
pub fn header(header: Option<&v1::RequestHeader>) -> Result<(), Rejection> {
    let Some(header) = header else {
        return Ok(());
    };
    if header.shard != 0 {
        return Err(Rejection::UnknownShard { shard: header.shard });
    }
    if header.epoch != 0 {
        return Err(Rejection::UnknownEpoch { epoch: header.epoch });
    }
    match &header.request_id {
        Some(id) if id.client.len() != 16 => Err(Rejection::RequestId { actual: id.client.len() }),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[path = "limits_test.rs"]
mod tests;
