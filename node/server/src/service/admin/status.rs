//! The Status stream: the state now, then at every change, at most one message per interval.
//!
//! Figures move with every request, so under load there is one message per interval. What an operator acts on (health,
//! policy, tier settings, moves) wakes the stream at once where the interval has passed. An idle node still speaks
//! every few seconds: silence means that it is lost.

use std::sync::Arc;
use std::time::Duration;

use futures::stream;
use thermocline_proto::v1;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::MessageStream;
use crate::facade::Facade;
use crate::health::NodeHealth;
use crate::service::Rejection;

const LEAST_INTERVAL_MS: u32 = 100;
const DEFAULT_INTERVAL_MS: u32 = 1000;
const MOST_INTERVAL_MS: u32 = 60_000;
/// The longest silence of a node that lives. Well under the time after which silence counts as loss.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Checks the request and begins the stream.
pub(super) fn start(
    facade: Arc<Facade>,
    request: &v1::StatusRequest,
    stop: CancellationToken,
) -> Result<MessageStream<v1::NodeStatus>, Rejection> {
    let watcher = Watcher {
        interval: interval(request.interval_ms)?,
        once: request.once,
        health: facade.health.subscribe(),
        changes: facade.changes.subscribe(),
        facade,
        stop,
        last: None,
        told_the_end: false,
    };
    let messages = stream::unfold(Some(watcher), |watcher| async move {
        let mut watcher = watcher?;
        let message = watcher.next().await?;
        // Of a node that stops the last word is one, though its figures go on changing.
        let ended = watcher.once || watcher.told_the_end || message.is_err();
        Some((message, (!ended).then_some(watcher)))
    });
    Ok(Box::pin(messages))
}

fn interval(milliseconds: u32) -> Result<Duration, Rejection> {
    let milliseconds = match milliseconds {
        0 => DEFAULT_INTERVAL_MS,
        LEAST_INTERVAL_MS..=MOST_INTERVAL_MS => milliseconds,
        other => {
            return Err(Rejection::Unknown {
                field: "interval_ms".to_owned(),
                actual: other.to_string(),
                allowed: format!("{LEAST_INTERVAL_MS} to {MOST_INTERVAL_MS}, or 0 for {DEFAULT_INTERVAL_MS}"),
            });
        }
    };
    Ok(Duration::from_millis(u64::from(milliseconds)))
}

struct Watcher {
    facade: Arc<Facade>,
    interval: Duration,
    once: bool,
    health: watch::Receiver<NodeHealth>,
    changes: watch::Receiver<u64>,
    stop: CancellationToken,
    last: Option<(Instant, v1::NodeStatus)>,
    told_the_end: bool,
}

impl Watcher {
    /// The next message; `None` ends the stream, after the state at the end was told.
    async fn next(&mut self) -> Option<Result<v1::NodeStatus, Status>> {
        loop {
            let stopping = self.stop.is_cancelled();
            if let (Some((sent, _)), false) = (&self.last, stopping) {
                let earliest = *sent + self.interval;
                self.stop.clone().run_until_cancelled(sleep_until(earliest)).await;
            }
            self.health.mark_unchanged();
            self.changes.mark_unchanged();
            let now = Instant::now();
            let status = match self.facade.status().await {
                Ok(status) => status,
                Err(error) => return Some(Err(Status::unavailable(error.to_string()))),
            };
            let due = match &self.last {
                None => true,
                Some((sent, told)) => now.duration_since(*sent) >= HEARTBEAT || !same(told, &status),
            };
            if due {
                self.last = Some((now, status.clone()));
                self.told_the_end = stopping;
                return Some(Ok(status));
            }
            if stopping {
                return None;
            }
            let next_look = now + self.interval;
            tokio::select! {
                () = sleep_until(next_look) => {}
                _ = self.health.changed() => {}
                _ = self.changes.changed() => {}
                () = self.stop.cancelled() => {}
            }
        }
    }
}

/// Whether two states say the same but for the passing of time and the noise of the system's own figures.
fn same(told: &v1::NodeStatus, now: &v1::NodeStatus) -> bool {
    let quiet = |status: &v1::NodeStatus| {
        let mut status = status.clone();
        status.uptime_ms = 0;
        status.load = None;
        status.round_trips.clear();
        if let Some(mover) = &mut status.mover {
            mover.last_classified_ms_ago = 0;
        }
        status
    };
    quiet(told) == quiet(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_out_of_bounds_is_refused_and_zero_is_a_second() {
        assert_eq!(interval(0), Ok(Duration::from_secs(1)));
        assert_eq!(interval(100), Ok(Duration::from_millis(100)));
        for bad in [1, 99, 60_001] {
            assert!(interval(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn time_and_load_alone_are_no_change() {
        let told = v1::NodeStatus::default();
        let round_trips = vec![v1::RoundTrip { node: 2, micros: 90, heard_ms_ago: 700 }];
        let load = Some(v1::DeviceLoad::default());
        let later = v1::NodeStatus { uptime_ms: 5, load, round_trips, ..told.clone() };
        assert!(same(&told, &later));
        let other = v1::NodeStatus { policy_generation: 1, ..told.clone() };
        assert!(!same(&told, &other));
    }
}
