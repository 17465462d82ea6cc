//! Scans across nodes, in key order or in reverse.
//!
//! Each node's part is one snapshot of that node; a scan that breaks goes on after the last key it gave, on a new
//! snapshot. The timeout bounds the wait for each chunk, not the whole scan.

use std::collections::VecDeque;

use backon::ExponentialBackoff;
use bytes::Bytes;
use futures::Stream;
use thermocline_proto::v1::{ScanRequest, ScanResponse};
use tonic::{Status, Streaming};

use crate::{
    Client, Error, Record,
    client::{Attempt, record},
    key::key_after,
    retry::CallKind,
    routing::Segment,
};

const OPERATION: &str = "scan";

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

    /// What is left after a node's part ended; `false` where nothing is.
    fn pass(&mut self, segment: &Segment) -> bool {
        if self.reverse {
            let done = segment.start <= self.start;
            self.end = segment.start.clone();
            !done
        } else {
            let done = segment.end.is_empty() || segment.end == self.end;
            self.start = segment.end.clone();
            !done
        }
    }
}

/// A running scan. After an error it may be asked again: it goes on where it was.
#[derive(Debug)]
pub struct Scan {
    client: Client,
    rest: ScanOptions,
    open: Option<(Segment, Streaming<ScanResponse>)>,
    buffered: VecDeque<Record>,
    attempt: Attempt<ExponentialBackoff>,
    done: bool,
}

impl Scan {
    pub(crate) fn new(client: Client, options: ScanOptions) -> Self {
        Self {
            attempt: client.attempts(OPERATION, CallKind::Read, 0),
            done: options.is_empty(),
            client,
            rest: options,
            open: None,
            buffered: VecDeque::new(),
        }
    }

    /// What is still to come, for a scan that goes on in another process. Records that [`Self::next`] holds back in
    /// its buffer count as given.
    #[must_use]
    pub const fn rest(&self) -> &ScanOptions {
        &self.rest
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
            let (segment, message) = match self.open.take() {
                Some((segment, mut stream)) => {
                    let message = tokio::time::timeout(self.client.timeout(), stream.message()).await;
                    if let Ok(Ok(Some(_))) = &message {
                        self.open = Some((segment.clone(), stream));
                    }
                    (segment, message)
                }
                None => {
                    let segment = self.next_segment();
                    match tokio::time::timeout(self.client.timeout(), self.start(&segment)).await {
                        Ok(Ok(stream)) => {
                            self.open = Some((segment, stream));
                            continue;
                        }
                        Ok(Err(status)) => (segment, Ok(Err(status))),
                        Err(elapsed) => (segment, Err(elapsed)),
                    }
                }
            };
            match message {
                Ok(Ok(Some(response))) => {
                    self.attempt = self.client.attempts(OPERATION, CallKind::Read, 0);
                    let records: Vec<Record> = response.records.into_iter().map(record).collect();
                    self.check_order(&segment, &records)?;
                    self.rest.advance(&records);
                    self.done = self.rest.is_empty();
                    if !records.is_empty() {
                        return Ok(Some(records));
                    }
                }
                Ok(Ok(None)) => {
                    self.done = !self.rest.pass(&segment) || self.rest.is_empty();
                }
                Ok(Err(status)) => {
                    let decided = self.client.after_failure(&mut self.attempt, segment.node, status).await;
                    if decided.is_err() {
                        self.attempt = self.client.attempts(OPERATION, CallKind::Read, 0);
                    }
                    decided?;
                }
                Err(_elapsed) => {
                    return Err(Error::Deadline {
                        operation: OPERATION,
                        node: self.client.node_name(segment.node),
                        timeout: self.client.timeout(),
                        source: None,
                    });
                }
            }
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

    fn next_segment(&mut self) -> Segment {
        self.client.note_generation(&mut self.attempt);
        let ranges = self.client.ranges();
        if self.rest.reverse {
            ranges.last_segment(&self.rest.start, &self.rest.end)
        } else {
            ranges.first_segment(&self.rest.start, &self.rest.end)
        }
    }

    async fn start(&self, segment: &Segment) -> Result<Streaming<ScanResponse>, Status> {
        let request = ScanRequest {
            header: Some(self.client.header()),
            start: segment.start.clone(),
            end: segment.end.clone(),
            reverse: self.rest.reverse,
            limit: self.rest.limit.unwrap_or(0),
            keys_only: self.rest.keys_only,
        };
        let mut kv = self.client.kv(segment.node);
        Ok(kv.scan(request).await?.into_inner())
    }

    /// A record out of order would make the scan skip or repeat others when it resumes: refuse it here.
    fn check_order(&self, segment: &Segment, records: &[Record]) -> Result<(), Error> {
        let inside =
            |record: &Record| record.key >= self.rest.start && (self.rest.end.is_empty() || record.key < self.rest.end);
        let ordered = records
            .windows(2)
            .all(|pair| if self.rest.reverse { pair[0].key > pair[1].key } else { pair[0].key < pair[1].key });
        if ordered && records.iter().all(inside) {
            return Ok(());
        }
        Err(Error::Contract {
            operation: OPERATION,
            node: self.client.node_name(segment.node),
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
    fn a_scan_passes_to_the_next_node_until_its_own_end() {
        let segment =
            |start: &'static str, end: &'static str| Segment { node: 0, start: start.into(), end: end.into() };
        let mut forward = ScanOptions { end: "m".into(), ..ScanOptions::default() };
        assert!(forward.pass(&segment("", "h")));
        assert_eq!(forward.start, "h");
        assert!(!forward.pass(&segment("h", "m")), "its own end");

        let mut reverse = ScanOptions { start: "c".into(), reverse: true, ..ScanOptions::default() };
        assert!(reverse.pass(&segment("h", "")));
        assert_eq!(reverse.end, "h");
        assert!(!reverse.pass(&segment("c", "h")), "its own start");
    }
}
