//! Counts and times the calls of the data plane.

use std::sync::Arc;

use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts};
use tokio::time::Instant;
use tonic::Code;

use super::{Definition, REQUEST_DURATION, REQUESTS, REQUESTS_IN_FLIGHT};

/// From a row-cache hit (tens of microseconds with the transport) to the longest a client waits; a factor of about 2.5
/// between buckets tells a cache from a device and a device from a queue.
const BUCKETS: [f64; 14] =
    [0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0];

/// A call of the data plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rpc {
    /// One key.
    Get,
    /// Many keys.
    BatchGet,
    /// One value.
    Put,
    /// One key less.
    Delete,
    /// A batch.
    Write,
    /// A range.
    Scan,
}

impl Rpc {
    /// Every call.
    pub const ALL: [Self; 6] = [Self::Get, Self::BatchGet, Self::Put, Self::Delete, Self::Write, Self::Scan];

    /// Its name as a label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::BatchGet => "batch_get",
            Self::Put => "put",
            Self::Delete => "delete",
            Self::Write => "write",
            Self::Scan => "scan",
        }
    }
}

/// The instruments of the data plane.
#[derive(Debug)]
pub struct NodeMetrics {
    ended: IntCounterVec,
    duration: HistogramVec,
    in_flight: IntGauge,
}

impl NodeMetrics {
    /// Instruments at zero, for every call: a rate can be taken from the first scrape on.
    pub fn new() -> Result<Arc<Self>, prometheus::Error> {
        let metrics = Self {
            ended: IntCounterVec::new(options(&REQUESTS), REQUESTS.labels)?,
            duration: HistogramVec::new(
                HistogramOpts::from(options(&REQUEST_DURATION)).buckets(BUCKETS.to_vec()),
                REQUEST_DURATION.labels,
            )?,
            in_flight: IntGauge::with_opts(options(&REQUESTS_IN_FLIGHT))?,
        };
        for rpc in Rpc::ALL {
            metrics.ended.with_label_values(&[rpc.label(), code_label(Code::Ok)]);
            metrics.duration.with_label_values(&[rpc.label()]);
        }
        Ok(Arc::new(metrics))
    }

    /// Begins to time a call.
    pub fn start(self: &Arc<Self>, rpc: Rpc) -> RequestTimer {
        self.in_flight.inc();
        RequestTimer { metrics: Arc::clone(self), rpc, started: Instant::now(), code: Code::Cancelled }
    }

    /// Calls under way.
    pub fn in_flight(&self) -> i64 {
        self.in_flight.get()
    }

    /// What was counted so far.
    pub fn collect(&self) -> Vec<MetricFamily> {
        let mut families = self.ended.collect();
        families.extend(self.duration.collect());
        families.extend(self.in_flight.collect());
        families
    }
}

fn options(definition: &Definition) -> Opts {
    Opts::new(definition.name, definition.help)
}

/// Times one call. Dropped without an outcome, the call was cancelled: its client went, or its time was up.
#[derive(Debug)]
pub struct RequestTimer {
    metrics: Arc<NodeMetrics>,
    rpc: Rpc,
    started: Instant,
    code: Code,
}

impl RequestTimer {
    /// Ends the call with this code; `None`: it succeeded.
    pub fn finish(mut self, code: Option<Code>) {
        self.code = code.unwrap_or(Code::Ok);
    }
}

impl Drop for RequestTimer {
    fn drop(&mut self) {
        let metrics = &self.metrics;
        let rpc = self.rpc.label();
        metrics.in_flight.dec();
        metrics.ended.with_label_values(&[rpc, code_label(self.code)]).inc();
        metrics.duration.with_label_values(&[rpc]).observe(self.started.elapsed().as_secs_f64());
    }
}

/// The code as the gRPC specification spells it.
fn code_label(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn ended(metrics: &NodeMetrics, rpc: Rpc, code: &str) -> u64 {
        metrics.ended.with_label_values(&[rpc.label(), code]).get()
    }

    #[tokio::test]
    async fn a_call_is_counted_once_with_its_outcome() {
        let metrics = NodeMetrics::new().unwrap();
        let timer = metrics.start(Rpc::Get);
        assert_eq!(metrics.in_flight(), 1);
        timer.finish(None);
        metrics.start(Rpc::Get).finish(Some(Code::InvalidArgument));
        drop(metrics.start(Rpc::Scan));
        assert_eq!(metrics.in_flight(), 0);
        assert_eq!(ended(&metrics, Rpc::Get, "OK"), 1);
        assert_eq!(ended(&metrics, Rpc::Get, "INVALID_ARGUMENT"), 1);
        assert_eq!(ended(&metrics, Rpc::Scan, "CANCELLED"), 1);
        let observed = metrics.duration.with_label_values(&["get"]).get_sample_count();
        assert_eq!(observed, 2);
    }
}
