//! Scans across shards, or nodes that stand alone, in key order or in reverse.
//!
//! Each shard's part is one snapshot of that shard; a scan that breaks, or meets a shard that has split or moved, goes on
//! after the last key it gave, on a new snapshot. So no key is skipped or given twice, but records of different parts are of
//! different moments. The timeout bounds the wait for each chunk, not the whole scan.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use futures::Stream;
use thermocline_proto::v1::ScanResponse;
use tokio::time::Instant;
use tonic::Streaming;

use crate::{
    Client, Error, Record,
    client::{Part, Tries, record},
    key::key_after,
};

/// What to scan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScanOptions {
    /// The first key, inclusive; empty for the very first.
    pub start: Bytes,
    /// The end, exclusive; empty for no bound.
    pub end: Bytes,
    /// From the end to the start.
    pub reverse: bool,
    /// How many records at most; `None` for all.
    pub limit: Option<u64>,
    /// Without values.
    pub keys_only: bool,
}

impl ScanOptions {
    /// All keys that begin with `prefix`.
    #[must_use]
    pub fn prefix(prefix: impl Into<Bytes>) -> Self {
        let start = prefix.into();
        Self { end: crate::prefix_end(&start), start, ..Self::default() }
    }

    /// Whether nothing can be in it.
    fn is_empty(&self) -> bool {
        self.limit == Some(0) || (!self.end.is_empty() && self.end <= self.start)
    }

    /// What is left after these records came.
    fn advance(&mut self, records: &[Record]) {
        if let Some(last) = records.last() {
            if self.reverse {
                self.end = last.key.clone();
            } else {
                self.start = key_after(&last.key);
            }
        }
        if let Some(limit) = &mut self.limit {
            *limit = limit.saturating_sub(records.len() as u64);
        }
    }

    /// What is left after the part of these keys ended.
    fn pass(&mut self, start: &Bytes, end: &Bytes) {
        if self.reverse {
            self.end = start.clone();
        } else {
            self.start = end.clone();
        }
    }
}

/// A running scan. After an error it may be asked again: it goes on where it was.
#[derive(Debug)]
pub struct Scan {
    client: Client,
    rest: ScanOptions,
    open: Option<(Part, Streaming<ScanResponse>)>,
    buffered: VecDeque<Record>,
    tries: Tries,
    done: bool,
    /// When the part that is open was asked for.
    asked: Instant,
    /// When the oldest part so far was asked for, and how old its snapshot was then.
    oldest: Option<(Instant, Duration)>,
}

impl Scan {
    pub(crate) fn new(client: Client, options: ScanOptions) -> Self {
        Self {
            tries: client.scan_tries(),
            done: options.is_empty(),
            client,
            rest: options,
            open: None,
            buffered: VecDeque::new(),
            asked: Instant::now(),
            oldest: None,
        }
    }

    /// What is still to come, for a scan that goes on in another process. Records that [`Self::next`] holds back in
    /// its buffer count as given.
    #[must_use]
    pub const fn rest(&self) -> &ScanOptions {
        &self.rest
    }

    /// How old what it gave so far is: everything that was acknowledged longer ago is in it. `None` before anything came.
    #[must_use]
    pub fn at_most(&self) -> Option<Duration> {
        self.oldest.map(|(asked, staleness)| asked.elapsed() + staleness)
    }

    /// The next record, in order; `None` at the end.
    ///
    /// # Errors
    /// What the node in turn answered after all attempts.
    pub async fn next(&mut self) -> Result<Option<Record>, Error> {
        while self.buffered.is_empty() {
            match self.next_chunk().await? {
                Some(chunk) => self.buffered.extend(chunk),
                None => return Ok(None),
            }
        }
        Ok(self.buffered.pop_front())
    }

    /// The next records as they came from a node, at least one; `None` at the end.
    ///
    /// # Errors
    /// What the node in turn answered after all attempts.
    pub async fn next_chunk(&mut self) -> Result<Option<Vec<Record>>, Error> {
        if !self.buffered.is_empty() {
            return Ok(Some(self.buffered.drain(..).collect()));
        }
        while !self.done {
            let (part, message) = match self.open.take() {
                Some((part, mut stream)) => {
                    let patience = self.tries.patience(self.client.timeout());
                    let message = tokio::time::timeout(patience, stream.message()).await;
                    if let Ok(Ok(Some(_))) = &message {
                        self.open = Some((part.clone(), stream));
                    }
                    (part, message)
                }
                None => {
                    let part = self.next_part().await?;
                    let patience = self.tries.patience(self.client.timeout());
                    self.asked = Instant::now();
                    match tokio::time::timeout(patience, part.open(&self.rest)).await {
                        Ok(Ok(stream)) => {
                            self.open = Some((part, stream));
                            continue;
                        }
                        Ok(Err(status)) => (part, Ok(Err(status))),
                        Err(elapsed) => (part, Err(elapsed)),
                    }
                }
            };
            let failed = match message {
                Ok(Ok(Some(response))) => {
                    self.tries = self.client.scan_tries();
                    self.note_age(Duration::from_millis(response.staleness_ms));
                    let records: Vec<Record> = response.records.into_iter().map(record).collect();
                    self.check_order(&part, &records)?;
                    self.rest.advance(&records);
                    self.done = self.rest.is_empty();
                    if !records.is_empty() {
                        return Ok(Some(records));
                    }
                    continue;
                }
                Ok(Ok(None)) => {
                    self.tries = self.client.scan_tries();
                    self.rest.pass(&part.start, &part.end);
                    self.done = part.is_last || self.rest.is_empty();
                    continue;
                }
                Ok(Err(status)) => self.client.after_part_failure(&mut self.tries, &part, status).await,
                Err(_elapsed) => self.client.after_part_silence(&mut self.tries, &part).await,
            };
            if failed.is_err() {
                self.tries = self.client.scan_tries();
            }
            failed?;
        }
        self.open = None;
        Ok(None)
    }

    /// The records as a stream that ends after the first error.
    pub fn into_stream(self) -> impl Stream<Item = Result<Record, Error>> + Send {
        futures::stream::try_unfold(self, |mut scan| async move {
            let next = scan.next().await?;
            Ok(next.map(|record| (record, scan)))
        })
    }

    /// Takes in how old the open part is; what comes after its first chunk makes it no older.
    fn note_age(&mut self, staleness: Duration) {
        let age = |(asked, staleness): (Instant, Duration)| asked.elapsed() + staleness;
        let part = (self.asked, staleness);
        if self.oldest.is_none_or(|oldest| age(oldest) < age(part)) {
            self.oldest = Some(part);
        }
    }

    async fn next_part(&mut self) -> Result<Part, Error> {
        let part = self.client.next_part(&mut self.tries, &self.rest).await;
        if part.is_err() {
            self.tries = self.client.scan_tries();
        }
        part
    }

    /// A record out of order would make the scan skip or repeat others when it resumes: refuse it here.
    fn check_order(&self, part: &Part, records: &[Record]) -> Result<(), Error> {
        let inside =
            |record: &Record| record.key >= self.rest.start && (self.rest.end.is_empty() || record.key < self.rest.end);
        let ordered = records
            .windows(2)
            .all(|pair| if self.rest.reverse { pair[0].key > pair[1].key } else { pair[0].key < pair[1].key });
        if ordered && records.iter().all(inside) {
            return Ok(());
        }
        Err(Error::Contract {
            operation: "scan",
            node: self.client.part_name(part),
            detail: "it sent records out of order or outside the range asked for".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record_of(key: &'static str) -> Record {
        Record { key: key.into(), value: Bytes::new(), version: 1 }
    }

    #[test]
    fn a_forward_scan_goes_on_after_the_last_key_and_a_reverse_one_before_it() {
        let mut forward = ScanOptions { limit: Some(5), ..ScanOptions::prefix("a") };
        forward.advance(&[record_of("aa"), record_of("ab")]);
        assert_eq!((forward.start.as_ref(), forward.limit), (b"ab\0".as_slice(), Some(3)));

        let mut reverse = ScanOptions { reverse: true, ..ScanOptions::prefix("a") };
        reverse.advance(&[record_of("ab"), record_of("aa")]);
        assert_eq!((reverse.start.as_ref(), reverse.end.as_ref()), (b"a".as_slice(), b"aa".as_slice()));
    }

    #[test]
    fn a_scan_passes_to_the_next_part() {
        let mut forward = ScanOptions { end: "m".into(), ..ScanOptions::default() };
        forward.pass(&"".into(), &"h".into());
        assert_eq!((forward.start.as_ref(), forward.end.as_ref()), (b"h".as_slice(), b"m".as_slice()));
        forward.pass(&"h".into(), &"m".into());
        assert!(forward.is_empty(), "its own end");

        let mut reverse = ScanOptions { start: "c".into(), reverse: true, ..ScanOptions::default() };
        reverse.pass(&"h".into(), &"".into());
        assert_eq!((reverse.start.as_ref(), reverse.end.as_ref()), (b"c".as_slice(), b"h".as_slice()));
        reverse.pass(&"c".into(), &"h".into());
        assert!(reverse.is_empty(), "its own start");
    }
}
