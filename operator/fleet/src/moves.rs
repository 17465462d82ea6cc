//! The moves that nodes carry out for Migrations: begun, followed, ended.
//!
//! What a node answers lands in its [`Part`]; what to do next is decided in [`crate::migration`]. A move whose stream breaks goes
//! back to waiting: the node may have gone, and beginning again does no harm.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use thermocline_proto::v1;
use tonic::Code;

use crate::migration::Part;
use crate::watch;

/// A migration and a node.
type Place = (String, String);

#[derive(Debug, Default)]
struct State {
    parts: BTreeMap<Place, Part>,
    ids: BTreeMap<Place, u64>,
}

/// The moves of all migrations.
#[derive(Debug, Clone, Default)]
pub struct Moves {
    state: Arc<Mutex<State>>,
}

impl Moves {
    /// The parts of a migration on these nodes.
    #[must_use]
    pub fn parts(&self, migration: &str, nodes: &[String]) -> BTreeMap<String, Part> {
        let state = self.state.lock();
        let of =
            |node: &String| state.parts.get(&(migration.to_owned(), node.clone())).cloned().unwrap_or(Part::Waiting);
        nodes.iter().map(|node| (node.clone(), of(node))).collect()
    }

    /// The ids of moves that were begun and have not ended, for whoever takes over.
    #[must_use]
    pub fn ids(&self) -> BTreeMap<String, BTreeMap<String, u64>> {
        let mut ids: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
        for ((migration, node), id) in &self.state.lock().ids {
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

    /// Forgets a migration that is over.
    pub fn forget(&self, migration: &str) {
        let mut state = self.state.lock();
        state.parts.retain(|(of, _), _| of != migration);
        state.ids.retain(|(of, _), _| of != migration);
    }

    /// Begins a move on a node and follows it in the background.
    pub fn begin(&self, migration: &str, node: &str, uri: String, request: v1::MoveRangeRequest) {
        let place = (migration.to_owned(), node.to_owned());
        self.state.lock().parts.insert(place.clone(), Part::Running { bytes: 0, percent: 0 });
        let moves = self.clone();
        tokio::spawn(async move {
            let end = moves.follow(&place, &uri, request).await;
            let mut state = moves.state.lock();
            state.ids.remove(&place);
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
                Ok(None) => return Part::Waiting,
                Err(status) => return refused(&status),
            };
            match told.state.as_str() {
                "completed" => return Part::Done { bytes: told.bytes },
                "cancelled" => return Part::Cancelled { bytes: told.bytes },
                "failed" => return Part::Failed { reason: told.message },
                _ => {
                    let mut state = self.state.lock();
                    state.ids.insert(place.clone(), told.move_id);
                    if let Some(part) = state.parts.get_mut(place) {
                        *part = Part::Running { bytes: told.bytes, percent: told.percent };
                    }
                }
            }
        }
    }
}

/// Ends a move of a node; one that has ended or is not known is no error.
pub async fn cancel(uri: &str, id: u64) -> Result<(), tonic::Status> {
    let mut client = watch::admin(uri).map_err(|error| tonic::Status::invalid_argument(error.to_string()))?;
    match client.cancel_move(v1::CancelMoveRequest { move_id: id }).await {
        Ok(_) => Ok(()),
        Err(status) if status.code() == Code::NotFound => Ok(()),
        Err(status) => Err(status),
    }
}

fn refused(status: &tonic::Status) -> Part {
    match status.code() {
        Code::InvalidArgument | Code::NotFound | Code::FailedPrecondition | Code::Unimplemented | Code::OutOfRange => {
            Part::Failed { reason: status.message().to_owned() }
        }
        _ => Part::Waiting,
    }
}
