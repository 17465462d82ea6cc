//! Bytes of a heat digest: lengths are checked against what is left, numbers against what they may be.

use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

use super::digest::{DigestError, TravelKey, TravelRange, TravelRate};
use super::event::ServedBy;
use crate::range::KeyRange;

/// No key is longer than 4 KiB; a start made from one may be a byte longer.
const LONGEST_KEY: usize = 4097;
const NO_AGE: u64 = u64::MAX;
/// Where a key was found: a tier's index, or one of these.
const IN_CACHE: u8 = 254;
const UNKNOWN_PLACE: u8 = 255;

pub(super) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(super) fn new() -> Self {
        Self { bytes: Vec::new() }
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    pub(super) fn number(&mut self, number: u64) {
        self.raw(&number.to_le_bytes());
    }

    pub(super) fn count(&mut self, count: usize) {
        self.raw(&u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
    }

    fn key(&mut self, key: &[u8]) {
        self.count(key.len());
        self.raw(key);
    }

    fn age(&mut self, age: Option<Duration>) {
        self.number(age.map_or(NO_AGE, |age| u64::try_from(age.as_millis()).unwrap_or(NO_AGE - 1)));
    }

    fn rate(&mut self, rate: &TravelRate) {
        self.number(rate.per_day.to_bits());
        self.age(rate.age);
    }

    /// Appends the checksum.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let checksum = xxh3_64(&self.bytes);
        self.number(checksum);
        self.bytes
    }
}

pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Checks magic, version and checksum.
    pub(super) fn checked(bytes: &'a [u8], magic: &[u8], version: u8) -> Result<Self, DigestError> {
        let after_magic = bytes.strip_prefix(magic).ok_or(DigestError::NotADigest)?;
        match after_magic.first() {
            None => return Err(DigestError::NotADigest),
            Some(&found) if found != version => return Err(DigestError::UnknownVersion { found }),
            Some(_) => {}
        }
        let (body, checksum) = bytes.split_last_chunk::<8>().ok_or(DigestError::Damaged)?;
        if body.len() < magic.len() + 1 || xxh3_64(body) != u64::from_le_bytes(*checksum) {
            return Err(DigestError::Damaged);
        }
        Ok(Self { rest: &body[magic.len() + 1..] })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], DigestError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(TOO_SHORT)?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(super) fn number(&mut self) -> Result<u64, DigestError> {
        self.take().map(u64::from_le_bytes)
    }

    /// A number of things that follow, each at least a byte long.
    pub(super) fn count(&mut self) -> Result<usize, DigestError> {
        let count = self.take().map(u32::from_le_bytes)? as usize;
        if count > self.rest.len() { Err(TOO_SHORT) } else { Ok(count) }
    }

    fn key(&mut self) -> Result<Vec<u8>, DigestError> {
        let length = self.count()?;
        if length > LONGEST_KEY {
            return Err(DigestError::Malformed { what: "a key is longer than a key may be" });
        }
        let (key, rest) = self.rest.split_at(length);
        self.rest = rest;
        Ok(key.to_vec())
    }

    fn age(&mut self) -> Result<Option<Duration>, DigestError> {
        self.number().map(|age| (age != NO_AGE).then(|| Duration::from_millis(age)))
    }

    fn amount(&mut self) -> Result<f64, DigestError> {
        let amount = f64::from_bits(self.number()?);
        if amount.is_finite() && amount >= 0.0 {
            return Ok(amount);
        }
        Err(DigestError::Malformed { what: "a rate or size is not a finite number of at least zero" })
    }

    fn rate(&mut self) -> Result<TravelRate, DigestError> {
        Ok(TravelRate { per_day: self.amount()?, age: self.age()? })
    }
}

const TOO_SHORT: DigestError = DigestError::Malformed { what: "it ends before its content does" };

impl TravelRange {
    pub(super) fn write(&self, writer: &mut Writer) {
        writer.key(self.range.start());
        writer.key(self.range.end().unwrap_or_default());
        writer.rate(&self.reads);
        writer.rate(&self.writes);
        writer.number(self.written_bytes.to_bits());
        writer.age(self.written_mean);
        writer.age(Some(self.since));
        writer.age(self.moved);
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, DigestError> {
        let start = reader.key()?;
        let end = reader.key()?;
        let range =
            KeyRange::new(start, end).ok_or(DigestError::Malformed { what: "a range ends before it starts" })?;
        Ok(Self {
            range,
            reads: reader.rate()?,
            writes: reader.rate()?,
            written_bytes: reader.amount()?,
            written_mean: reader.age()?,
            since: reader.age()?.unwrap_or_default(),
            moved: reader.age()?,
        })
    }
}

impl TravelKey {
    pub(super) fn write(&self, writer: &mut Writer) {
        writer.key(&self.key);
        writer.rate(&self.reads);
        writer.rate(&self.writes);
        writer.byte(match self.served_by {
            Some(ServedBy::Tier(tier)) => tier.min(IN_CACHE - 1),
            Some(ServedBy::Cache) => IN_CACHE,
            Some(ServedBy::Nothing) | None => UNKNOWN_PLACE,
        });
        writer.count(self.bytes as usize);
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, DigestError> {
        Ok(Self {
            key: reader.key()?,
            reads: reader.rate()?,
            writes: reader.rate()?,
            served_by: match reader.take::<1>()?[0] {
                UNKNOWN_PLACE => None,
                IN_CACHE => Some(ServedBy::Cache),
                tier => Some(ServedBy::Tier(tier)),
            },
            bytes: u32::from_le_bytes(reader.take()?),
        })
    }
}
