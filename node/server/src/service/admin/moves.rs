//! Moves that somebody asked for: started, watched, listed, cancelled.
//!
//! A move belongs to the node, not to the call that began it: a caller that goes away leaves it running, and CancelMove
//! ends it. A few run at once, the last ended ones are remembered. Ids begin at the milliseconds of the clock when the node
//! starts, so that whoever kept one over a restart finds no other move under it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use parking_lot::Mutex;
use thermocline_engine::{Cancel, Engine, EngineError, KeyRange, MoveRequest, MoveStep, Moved};
use thermocline_proto::{MAX_KEY_BYTES, v1};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Status;

use super::MessageStream;
use crate::facade::Facade;
use crate::owned_range::OwnedRange;
use crate::service::{Rejection, limits};
use crate::telemetry::chain;

const MOST_RUNNING: usize = 8;
const ENDED_REMEMBERED: usize = 100;
/// Between two messages of one stream.
const INTERVAL: Duration = Duration::from_millis(100);
const RUNNING: &str = "running";

/// A move as asked for.
#[derive(Debug)]
pub(super) struct Order {
    range: KeyRange,
    to: String,
    bytes_per_second: Option<u64>,
}

impl Order {
    /// The range is clipped to what the node owns: a move between media of what is not here is nothing to do.
    pub(super) fn parse(request: v1::MoveRangeRequest, owned: &OwnedRange) -> Result<Self, Rejection> {
        for (field, bound) in [("start", &request.start), ("end", &request.end)] {
            limits::at_most(field, "bytes of a key", bound.len(), MAX_KEY_BYTES)?;
        }
        if request.to_tier.is_empty() {
            return Err(Rejection::Missing { field: "to_tier".to_owned(), allowed: "name the tier" });
        }
        let whole = KeyRange::new(owned.start(), owned.end()).unwrap_or_else(KeyRange::all);
        let asked = KeyRange::new(request.start.to_vec(), request.end.to_vec());
        let asked = asked.ok_or_else(|| Rejection::Unknown {
            field: "end".to_owned(),
            actual: "before start".to_owned(),
            allowed: "a key after start, or empty for no upper bound".to_owned(),
        })?;
        let range = asked.intersection(&whole).ok_or_else(|| Rejection::ScanOutsideRange { range: owned.clone() })?;
        Ok(Self {
            range,
            to: request.to_tier,
            bytes_per_second: (request.bytes_per_second > 0).then_some(request.bytes_per_second),
        })
    }
}

/// The moves of this process.
pub struct MoveBoard {
    state: Mutex<Board>,
    tasks: TaskTracker,
}

struct Board {
    last_id: u64,
    moves: BTreeMap<u64, Entry>,
}

struct Entry {
    cancel: Arc<Cancel>,
    progress: watch::Sender<v1::MoveProgress>,
}

impl Entry {
    fn is_running(&self) -> bool {
        self.progress.borrow().state == RUNNING
    }
}

impl MoveBoard {
    /// A board of a node that starts at this time since the Unix epoch.
    pub fn of_start(time: Duration) -> Self {
        let last_id = u64::try_from(time.as_millis()).unwrap_or_default();
        Self { state: Mutex::new(Board { last_id, moves: BTreeMap::new() }), tasks: TaskTracker::new() }
    }

    /// Starts a move in the background.
    pub(super) fn start(
        self: &Arc<Self>,
        facade: &Arc<Facade>,
        order: Order,
    ) -> Result<watch::Receiver<v1::MoveProgress>, Status> {
        let (cancel, progress) = self.enter()?;
        let receiver = progress.subscribe();
        let facade = Arc::clone(facade);
        self.tasks.spawn_blocking(move || {
            let outcome = run(&facade.engine, &order, &cancel, &progress);
            progress.send_modify(|told| end(told, outcome));
            facade.changed();
        });
        Ok(receiver)
    }

    fn enter(&self) -> Result<(Arc<Cancel>, watch::Sender<v1::MoveProgress>), Status> {
        let mut board = self.state.lock();
        let running = board.moves.values().filter(|entry| entry.is_running()).count();
        if running >= MOST_RUNNING {
            return Err(Status::resource_exhausted(format!(
                "{running} moves run already; wait for one to end or cancel one"
            )));
        }
        let ended: Vec<u64> = board.moves.iter().filter(|(_, entry)| !entry.is_running()).map(|(id, _)| *id).collect();
        for id in ended.iter().rev().skip(ENDED_REMEMBERED) {
            board.moves.remove(id);
        }
        board.last_id += 1;
        let id = board.last_id;
        let cancel = Arc::new(Cancel::default());
        let progress = watch::Sender::new(v1::MoveProgress {
            move_id: id,
            state: RUNNING.to_owned(),
            ..v1::MoveProgress::default()
        });
        let entry = Entry { cancel: Arc::clone(&cancel), progress: progress.clone() };
        board.moves.insert(id, entry);
        Ok((cancel, progress))
    }

    /// Every move that is remembered, oldest first.
    pub(super) fn list(&self) -> Vec<v1::MoveProgress> {
        let board = self.state.lock();
        board.moves.values().map(|entry| entry.progress.borrow().clone()).collect()
    }

    /// Asks a move to end at its next step. Asking one that has ended is no error.
    pub(super) fn cancel(&self, id: u64) -> Result<(), Status> {
        let board = self.state.lock();
        let entry =
            board.moves.get(&id).ok_or_else(|| Status::not_found(format!("there is no move {id}; see ListMoves")))?;
        entry.cancel.cancel();
        Ok(())
    }

    /// Asks all to end: the node stops. What was moved stays moved, the rest stays where it is.
    pub fn cancel_all(&self) {
        for entry in self.state.lock().moves.values() {
            entry.cancel.cancel();
        }
        self.tasks.close();
    }

    /// Waits for the end of all, after [`Self::cancel_all`].
    pub async fn drained(&self) {
        self.tasks.wait().await;
    }
}

fn run(
    engine: &Engine,
    order: &Order,
    cancel: &Cancel,
    progress: &watch::Sender<v1::MoveProgress>,
) -> Result<Moved, EngineError> {
    engine.move_range(&MoveRequest {
        range: order.range.clone(),
        to: order.to.clone(),
        bytes_per_second: order.bytes_per_second,
        cancel,
        progress: &|step| progress.send_modify(|told| advance(told, step)),
    })
}

fn advance(told: &mut v1::MoveProgress, step: MoveStep) {
    told.records += step.moved.records;
    told.bytes += step.moved.bytes;
    // What others write into the range meanwhile makes it longer; nothing that was done is taken back for it.
    told.percent = told.percent.max(step.percent.into());
}

fn end(told: &mut v1::MoveProgress, outcome: Result<Moved, EngineError>) {
    match outcome {
        Ok(moved) => {
            told.records = moved.records;
            told.bytes = moved.bytes;
            told.percent = 100;
            "completed".clone_into(&mut told.state);
        }
        Err(error) => {
            let state = match error {
                EngineError::Cancelled => "cancelled",
                _ => "failed",
            };
            state.clone_into(&mut told.state);
            told.may_pass = may_pass(&error);
            told.message = chain(&error);
        }
    }
}

/// Whether a move failed for what the background mover leaves to its next round.
const fn may_pass(error: &EngineError) -> bool {
    matches!(error, EngineError::RangeHeld { .. } | EngineError::LeaseLost { .. } | EngineError::OutOfSpace { .. })
}

/// The progress of a move until it has ended, or the node stops: now, then at every change, but not at every chunk.
pub(super) fn stream(
    progress: watch::Receiver<v1::MoveProgress>,
    stop: CancellationToken,
) -> MessageStream<v1::MoveProgress> {
    let told = stream::unfold((Some(progress), false), |(progress, again)| async move {
        let mut progress = progress?;
        if again {
            tokio::time::sleep(INTERVAL).await;
            // An error means that the sender is gone, and it goes only after the end was told.
            let _ = progress.changed().await;
        }
        let now = progress.borrow_and_update().clone();
        let more = (now.state == RUNNING).then_some(progress);
        Some((Ok(now), (more, true)))
    });
    Box::pin(told.take_until(stop.cancelled_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn as_many_moves_run_as_may_and_ended_ones_are_forgotten_in_time() {
        let board = MoveBoard::of_start(Duration::ZERO);
        let mut running: Vec<_> = (0..MOST_RUNNING).map(|_| board.enter().unwrap()).collect();
        assert_eq!(board.enter().err().map(|status| status.code()), Some(tonic::Code::ResourceExhausted));
        for _ in 0..ENDED_REMEMBERED + 20 {
            let (_, progress) = running.pop().unwrap();
            progress.send_modify(|told| end(told, Ok(Moved::default())));
            running.push(board.enter().unwrap());
        }
        assert!(board.list().len() <= ENDED_REMEMBERED + MOST_RUNNING + 1);
    }

    #[test]
    fn an_id_of_an_earlier_run_of_the_node_names_no_move_of_this_one() {
        let id_after = |start| {
            let board = MoveBoard::of_start(Duration::from_millis(start));
            let (_cancel, progress) = board.enter().unwrap();
            let id = progress.borrow().move_id;
            (board, id)
        };
        let (_, before) = id_after(1_800_000_000_000);
        let (board, id) = id_after(1_800_000_000_250);
        assert_ne!(id, before);
        assert_eq!(board.cancel(before).unwrap_err().code(), tonic::Code::NotFound);
        board.cancel(id).unwrap();
    }

    #[test]
    fn a_move_says_how_it_ended() {
        let mut told = v1::MoveProgress::default();
        end(&mut told, Err(EngineError::Cancelled));
        assert_eq!(told.state, "cancelled");
        end(&mut told, Ok(Moved { records: 3, bytes: 9 }));
        assert_eq!((told.state.as_str(), told.percent, told.records), ("completed", 100, 3));
    }

    #[test]
    fn a_move_that_failed_for_what_passes_says_so() {
        let ended = |error| {
            let mut told = v1::MoveProgress::default();
            end(&mut told, Err(error));
            (told.state, told.may_pass)
        };
        assert_eq!(ended(EngineError::RangeHeld { holder: "the mover".to_owned() }), ("failed".to_owned(), true));
        assert_eq!(ended(EngineError::StorageFailed { reason: String::new() }), ("failed".to_owned(), false));
        assert_eq!(ended(EngineError::Cancelled), ("cancelled".to_owned(), false));
    }

    #[test]
    fn a_move_says_how_far_it_is_and_never_goes_back() {
        let mut told = v1::MoveProgress::default();
        let moved = Moved { records: 2, bytes: 10 };
        for (percent, expected) in [(20, 20), (15, 20), (60, 60)] {
            advance(&mut told, MoveStep { moved, percent });
            assert_eq!(told.percent, expected);
        }
        assert_eq!((told.records, told.bytes), (6, 30));
    }

    #[test]
    fn an_order_is_clipped_to_what_the_node_owns() {
        let owned = OwnedRange::new("b", "d").unwrap();
        let request = |start: &'static str, end: &'static str| v1::MoveRangeRequest {
            start: start.into(),
            end: end.into(),
            to_tier: "cold".to_owned(),
            bytes_per_second: 0,
        };
        let order = Order::parse(request("", "c"), &owned).unwrap();
        assert_eq!(order.range, KeyRange::new("b", "c").unwrap());
        assert!(Order::parse(request("x", ""), &owned).is_err());
        assert!(Order::parse(request("c", "b"), &owned).is_err());
    }
}
