//! The moves that nodes carry out for Migrations: begun, followed, ended.
//!
//! What a node answers lands in its [`Part`]; what to do next is decided in [`crate::migration`]. A migration is known by its
//! uid: one that comes again under its name is another. A move belongs to its node and goes on when its stream breaks or the
//! fleet is started anew, so one whose end was not told is *left*: it is ended before another is begun in its place.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use thermocline_proto::v1;
use tokio::time::Instant;
use tonic::Code;

use crate::migration::Part;
use crate::watch::{self, CALL};

/// The uid of a migration and a node.
pub type Place = (String, String);

/// A move that was held up is begun again after this.
const REST: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
struct State {
    parts: BTreeMap<Place, Part>,
    ids: BTreeMap<Place, u64>,
    left: BTreeMap<Place, u64>,
    rests_until: BTreeMap<Place, Instant>,
}

/// The moves of all migrations.
#[derive(Debug, Clone, Default)]
pub struct Moves {
    state: Arc<Mutex<State>>,
}

impl Moves {
    /// Takes up the moves that an earlier controller began, as [`Self::ids`] gave them.
    #[must_use]
    pub fn taken_up(ids: &BTreeMap<String, BTreeMap<String, u64>>) -> Self {
        let moves = Self::default();
        let places = ids
            .iter()
            .flat_map(|(migration, nodes)| nodes.iter().map(|(node, id)| ((migration.clone(), node.clone()), *id)));
        moves.state.lock().left.extend(places);
        moves
    }

    /// The parts of a migration on these nodes.
    #[must_use]
    pub fn parts(&self, migration: &str, nodes: &[String]) -> BTreeMap<String, Part> {
        let state = self.state.lock();
        let of = |node: &String| {
            let place = (migration.to_owned(), node.clone());
            let rested = state.rests_until.get(&place).is_none_or(|until| *until <= Instant::now());
            match state.parts.get(&place) {
                Some(Part::Held { .. }) if rested => Part::Waiting,
                Some(part) => part.clone(),
                None => Part::Waiting,
            }
        };
        nodes.iter().map(|node| (node.clone(), of(node))).collect()
    }

    /// The ids of moves that were begun and whose end was not told, for whoever takes over.
    #[must_use]
    pub fn ids(&self) -> BTreeMap<String, BTreeMap<String, u64>> {
        let mut ids: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
        let state = self.state.lock();
        for ((migration, node), id) in state.left.iter().chain(&state.ids) {
            ids.entry(migration.clone()).or_default().insert(node.clone(), *id);
        }
        ids
    }

    /// The migrations that have parts.
    #[must_use]
    pub fn known(&self) -> Vec<String> {
        let mut known: Vec<String> = self.state.lock().parts.keys().map(|(migration, _)| migration.clone()).collect();
        known.dedup();
        known
    }

    /// The nodes on which a migration runs.
    #[must_use]
    pub fn running(&self, migration: &str) -> Vec<String> {
        let state = self.state.lock();
        let of = state.parts.iter().filter(|((of, _), part)| of == migration && matches!(part, Part::Running { .. }));
        of.map(|((_, node), _)| node.clone()).collect()
    }

    /// Forgets a migration that is over; a move of it that is left is still to be ended.
    pub fn forget(&self, migration: &str) {
        let mut state = self.state.lock();
        state.parts.retain(|(of, _), _| of != migration);
        state.rests_until.retain(|(of, _), _| of != migration);
    }

    /// The moves that may go on with nobody following them.
    #[must_use]
    pub fn left(&self) -> BTreeMap<Place, u64> {
        self.state.lock().left.clone()
    }

    /// Notes that a move that was left has ended.
    pub fn ended(&self, place: &Place) {
        self.state.lock().left.remove(place);
    }

    /// Begins a move on a node and follows it in the background, unless an earlier one is left there.
    pub fn begin(&self, migration: &str, node: &str, uri: String, request: v1::MoveRangeRequest) {
        let place = (migration.to_owned(), node.to_owned());
        {
            let mut state = self.state.lock();
            if state.left.contains_key(&place) {
                return;
            }
            state.parts.insert(place.clone(), Part::Running { bytes: 0, percent: 0 });
        }
        let moves = self.clone();
        tokio::spawn(async move {
            let end = moves.follow(&place, &uri, request).await;
            let mut state = moves.state.lock();
            if let Some(id) = state.ids.remove(&place) {
                state.left.insert(place.clone(), id);
            }
            if matches!(end, Part::Held { .. }) {
                state.rests_until.insert(place.clone(), Instant::now() + REST);
            }
            // Forgotten meanwhile: nobody asks any more.
            if let Some(part) = state.parts.get_mut(&place) {
                *part = end;
            }
        });
    }

    /// Asks a node to end a move; one that has not told its id yet is asked again later.
    pub async fn cancel(&self, migration: &str, node: &str, uri: &str) -> Result<(), tonic::Status> {
        let id = self.state.lock().ids.get(&(migration.to_owned(), node.to_owned())).copied();
        match id {
            Some(id) => cancel(uri, id).await,
            None => Ok(()),
        }
    }

    /// How a move ended. Its id stays known if the node did not tell the end.
    async fn follow(&self, place: &Place, uri: &str, request: v1::MoveRangeRequest) -> Part {
        let Ok(mut client) = watch::admin(uri) else {
            return Part::Failed { reason: format!("{uri} is no address") };
        };
        let mut stream = match client.move_range(request).await {
            Ok(answer) => answer.into_inner(),
            Err(status) => return refused(&status),
        };
        loop {
            let told = match stream.message().await {
                Ok(Some(told)) => told,
                Ok(None) => return Part::Held { reason: "the node stopped".to_owned() },
                Err(status) => return refused(&status),
            };
            let mut state = self.state.lock();
            if let Some(end) = end(&told) {
                state.ids.remove(place);
                return end;
            }
            state.ids.insert(place.clone(), told.move_id);
            if let Some(part) = state.parts.get_mut(place) {
                *part = Part::Running { bytes: told.bytes, percent: told.percent };
            }
        }
    }
}

/// Ends a move of a node; one that has ended or is not known is no error.
pub async fn cancel(uri: &str, id: u64) -> Result<(), tonic::Status> {
    let mut client = watch::admin(uri).map_err(|error| tonic::Status::invalid_argument(error.to_string()))?;
    let call = client.cancel_move(v1::CancelMoveRequest { move_id: id });
    let answer = tokio::time::timeout(CALL, call).await;
    match answer.unwrap_or_else(|_| Err(tonic::Status::deadline_exceeded(format!("no answer within {CALL:?}")))) {
        Ok(_) => Ok(()),
        Err(status) if status.code() == Code::NotFound => Ok(()),
        Err(status) => Err(status),
    }
}

/// How a move ended that a node tells of; `None` while it runs.
fn end(told: &v1::MoveProgress) -> Option<Part> {
    match told.state.as_str() {
        "completed" => Some(Part::Done { bytes: told.bytes }),
        "cancelled" => Some(Part::Cancelled { bytes: told.bytes }),
        "failed" if told.may_pass => Some(Part::Held { reason: told.message.clone() }),
        "failed" => Some(Part::Failed { reason: told.message.clone() }),
        _ => None,
    }
}

fn refused(status: &tonic::Status) -> Part {
    let reason = status.message().to_owned();
    match status.code() {
        Code::InvalidArgument | Code::NotFound | Code::FailedPrecondition | Code::Unimplemented | Code::OutOfRange => {
            Part::Failed { reason }
        }
        _ => Part::Held { reason },
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
#[path = "moves_test.rs"]
mod tests;
