//! How far a call is: whom it asked in vain, how much time it has, and whether it may have been applied.

use std::{sync::Arc, sync::atomic::Ordering, time::Duration};

use backon::ExponentialBackoff;
use thermocline_proto::v1;
use tokio::time::Instant;
use tonic::{Code, Status};

use super::{super::KvClient, ShardRouting};
use crate::{
    Error, ShardRoute,
    retry::{CallKind, Failure, InShards, decide_in_shards, misrouted},
};

/// Misrouted answers that are followed at once; then there is a pause.
const HOPS: u32 = 3;
/// A route without a leader that is older than this is asked for again before it is used.
const LEADERLESS: Duration = Duration::from_secs(1);
/// So long may it take to learn anew what is known after a fashion.
const ASKED_AGAIN: Duration = Duration::from_secs(2);

/// A call that is not answered yet.
#[derive(Debug)]
pub(crate) struct Sending {
    operation: &'static str,
    kind: CallKind,
    timeout: Duration,
    deadline: Instant,
    attempt_timeout: Duration,
    /// Whether somebody used up that time since the last round began.
    was_slow: bool,
    pauses: ExponentialBackoff,
    least_pause: Duration,
    /// Who was asked in vain since the last round began: (shard, epoch, node).
    in_vain: Vec<(u64, u64, u64)>,
    hops: u32,
    unsure: bool,
    /// A replica that is near is asked rather than the leader.
    near: bool,
    /// Which of several that are near.
    turn: u64,
    /// The last node that failed, and how.
    last: Option<(String, Box<Status>)>,
}

/// Where a call is sent.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) route: Arc<ShardRoute>,
    pub(crate) node: u64,
    pub(crate) name: String,
    pub(crate) address: String,
    pub(crate) kv: KvClient,
}

impl Target {
    /// A header that says by which route a request came.
    pub(crate) fn header(&self) -> v1::RequestHeader {
        v1::RequestHeader { shard: self.route.shard, epoch: self.route.epoch, ..v1::RequestHeader::default() }
    }
}

impl Sending {
    pub(super) const fn deadline(&self) -> Instant {
        self.deadline
    }

    pub(super) const fn kind(&self) -> CallKind {
        self.kind
    }

    pub(super) const fn is_near(&self) -> bool {
        self.near
    }

    /// So many writes are under way that this one found no place in its time.
    pub(super) const fn crowded(&self, writes: usize) -> Error {
        Error::Crowded { operation: self.operation, writes, timeout: self.timeout }
    }

    /// Whether an earlier sending of a write may have been applied.
    pub(super) const fn is_unsure(&self) -> bool {
        self.unsure
    }

    /// How long the next attempt may take.
    pub(crate) fn time_of_attempt(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now()).min(self.attempt_timeout)
    }

    /// An error that says that nothing was changed, unless an earlier sending may have been applied.
    pub(super) fn refused_as(&mut self, error: Error) -> Error {
        match self.last.take() {
            Some((node, source)) if self.unsure => self.unknown(node, source),
            _ => error,
        }
    }

    const fn unknown(&self, node: String, source: Box<Status>) -> Error {
        Error::OutcomeUnknown { operation: self.operation, node, source: Some(source) }
    }

    /// The error of a call whose time is up.
    fn late(&mut self, unrouted: Option<Status>) -> Error {
        let (operation, timeout) = (self.operation, self.timeout);
        match self.last.take() {
            Some((node, source)) if self.unsure => self.unknown(node, source),
            Some((node, source)) => Error::Deadline { operation, node, timeout, source: Some(source) },
            None => Error::Unrouted { operation, timeout, source: unrouted.map(Box::new) },
        }
    }

    /// Waits before the next attempt.
    ///
    /// # Errors
    /// Where the time is up, or so nearly that a sending could but leave its outcome unknown.
    async fn pause(&mut self, why: Option<Status>) -> Result<(), Error> {
        self.hops = 0;
        let left = self.deadline.saturating_duration_since(Instant::now());
        let pause = self.pauses.next().unwrap_or_default();
        if left <= self.least_pause * 2 {
            return Err(self.late(why));
        }
        tokio::time::sleep(pause.min(left / 2)).await;
        Ok(())
    }
}

impl ShardRouting {
    /// With `near` a replica that is near is asked rather than the leader.
    pub(crate) fn begin(&self, operation: &'static str, kind: CallKind, timeout: Duration, near: bool) -> Sending {
        let turn = self.calls.fetch_add(1, Ordering::Relaxed);
        Sending {
            operation,
            kind,
            timeout,
            deadline: Instant::now() + timeout,
            attempt_timeout: self.options.attempt_timeout,
            was_slow: false,
            least_pause: self.options.min_backoff,
            pauses: self.options.endless_backoff(turn),
            in_vain: Vec::new(),
            hops: 0,
            unsure: false,
            near,
            turn,
            last: None,
        }
    }

    /// Who is asked next for the shard of a key.
    ///
    /// # Errors
    /// Where the time is up before anybody is known.
    pub(crate) async fn target(&self, sending: &mut Sending, key: &[u8]) -> Result<Target, Error> {
        loop {
            let mut route = self.route_of(sending, key).await?;
            if !sending.near && route.leader.is_none() && route.learned.elapsed() >= LEADERLESS {
                self.ask_again(sending, &route, key).await;
                route = self.route_of(sending, key).await?;
            }
            let in_vain = |node| sending.in_vain.contains(&(route.shard, route.epoch, node));
            let next = if sending.near {
                let left = route.data_replicas().filter(|replica| !in_vain(replica.node));
                self.distances.nearest(left, self.options.zone.as_deref(), sending.turn)
            } else {
                route.next_replica(in_vain)
            };
            if let Some(replica) = next {
                match self.lines.to(&replica.kv) {
                    Ok(line) => {
                        let name = format!("{} at {}", replica.node, replica.kv);
                        let (node, address) = (replica.node, replica.kv.clone());
                        return Ok(Target { node, name, address, kv: line.kv(), route: Arc::clone(&route) });
                    }
                    Err(error) => {
                        tracing::debug!(%error, "a route names an address that cannot be used");
                        let node = replica.node;
                        sending.in_vain.push((route.shard, route.epoch, node));
                        continue;
                    }
                }
            }
            // Everybody was asked in vain: a new round. What takes long wherever it is asked is given more time.
            sending.in_vain.clear();
            if std::mem::take(&mut sending.was_slow) {
                sending.attempt_timeout = sending.attempt_timeout.saturating_mul(2);
            }
            sending.pause(None).await?;
            self.ask_again(sending, &route, key).await;
        }
    }

    /// The route of a key, asked for until it is known.
    pub(super) async fn route_of(&self, sending: &mut Sending, key: &[u8]) -> Result<Arc<ShardRoute>, Error> {
        loop {
            if let Some(route) = self.routes.read().owner(key) {
                return Ok(Arc::clone(route));
            }
            if let Err(status) = self.ask(key, None, sending.deadline).await {
                sending.pause(Some(status)).await?;
            }
        }
    }

    /// Learns anew where a shard is; what is known stays where nobody answers.
    async fn ask_again(&self, sending: &Sending, route: &Arc<ShardRoute>, key: &[u8]) {
        // The other half is for sending the call.
        let left = sending.deadline.saturating_duration_since(Instant::now());
        let until = Instant::now() + (left / 2).min(ASKED_AGAIN);
        if let Err(status) = self.ask(key, Some(route), until).await {
            tracing::debug!(shard = route.shard, %status, "a shard's route could not be learned anew");
        }
    }

    /// Follows the retry table: returns when the call may be sent again, else the error for the caller.
    pub(crate) async fn after_failure(
        &self,
        sending: &mut Sending,
        target: &Target,
        status: Status,
    ) -> Result<(), Error> {
        let failure = Failure::of(&status);
        let (operation, node) = (sending.operation, target.name.clone());
        let decision = decide_in_shards(sending.kind, failure, sending.unsure);
        tracing::debug!(operation, node, ?failure, ?decision, "a sending failed");
        let asked = (target.route.shard, target.route.epoch, target.node);
        if sending.near && status.code() != Code::FailedPrecondition {
            // Not near, for a while.
            self.distances.note(&target.address, self.options.attempt_timeout);
        }
        match decision {
            InShards::Refuse => return Err(Error::Refused { operation, node, source: Box::new(status) }),
            InShards::OutcomeUnknown => return Err(sending.unknown(node, Box::new(status))),
            InShards::Follow => {
                self.take_in(target, &status);
                sending.in_vain.push(asked);
                sending.last = Some((node, Box::new(status)));
                if sending.hops < HOPS {
                    sending.hops += 1;
                } else {
                    sending.pause(None).await?;
                }
            }
            InShards::Wait => {
                sending.last = Some((node, Box::new(status)));
                sending.pause(None).await?;
            }
            InShards::Elsewhere { unsure } => {
                sending.unsure |= unsure;
                sending.was_slow |= status.code() == Code::DeadlineExceeded;
                sending.in_vain.push(asked);
                sending.last = Some((node, Box::new(status)));
                sending.pause(None).await?;
                let start = target.route.range.start().clone();
                self.ask_again(sending, &target.route, &start).await;
            }
        }
        Ok(())
    }

    /// Learns from a node that a request was routed wrongly.
    fn take_in(&self, target: &Target, status: &Status) {
        if status.code() == Code::FailedPrecondition {
            self.routes.write().forget(&target.route);
        }
        let told = misrouted(status).map(|misrouted| misrouted.shards).unwrap_or_default();
        self.learn(told, Some(target.node));
    }
}
