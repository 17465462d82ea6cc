//! Which writes of which clients were applied: a retry is applied once, and one that nobody remembers is refused
//! (design section 5).
//!
//! Part of a shard's replicated state: every replica makes the same decisions from the same entries, in their order,
//! however they are chunked. Time is what the entries say, never a clock here. Bounded in clients and in writes of each,
//! so an answer can be "no longer known".
//!
//! A client numbers its writes upwards. Write `n` is remembered in slot `n % WINDOW` until a later one takes that slot, so
//! a slot with a later write says that an earlier one was forgotten, and one with an earlier write that a later one was
//! not seen yet.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use thermocline_engine::WriteOutcome;

/// Clients that a shard remembers, at most.
pub const MAX_CLIENTS: usize = 4096;
/// Writes that are remembered of a client. A client keeps the numbers of its writes under way closer than this.
pub const WINDOW: u64 = 64;
/// A client that was silent for so long may be forgotten when there is no room, in milliseconds. Longer than any deadline
/// of a request, so none of its writes is still on its way.
pub const FORGET_AFTER_MILLIS: u64 = 600_000;

/// Who writes: 16 random bytes of the client.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub [u8; 16]);

impl fmt::Debug for ClientId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "client {:032x}", u128::from_be_bytes(self.0))
    }
}

/// Names one write; a retry carries the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestId {
    /// Who writes.
    pub client: ClientId,
    /// The how-manieth write of theirs.
    pub sequence: u64,
    /// Whether it may have been sent before. An unknown client's first sending begins a session; its retry is refused,
    /// since what became of the first sending is forgotten.
    pub retry: bool,
}

/// What is to be done with a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It was not seen before: it is to be applied, and [`Sessions::settle`] told what came of it.
    New,
    /// It was applied; this is what came of it.
    Repeated(WriteOutcome),
    /// It was admitted and what came of it is not told yet.
    Undecided,
    /// Whether it was applied is no longer known.
    Expired,
    /// More clients write at once than can be remembered.
    NoRoom,
}

/// The write in a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Remembered {
    sequence: u64,
    at_millis: u64,
    /// `None` while it is being applied.
    outcome: Option<WriteOutcome>,
}

/// One client's writes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Session {
    slots: BTreeMap<u64, Remembered>,
    last_write_millis: u64,
}

/// All sessions of a shard.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sessions {
    clients: BTreeMap<ClientId, Session>,
    /// By when they wrote last: the first is the first to be forgotten.
    by_age: BTreeSet<(u64, ClientId)>,
}

/// A write of a session as it is stored: one record for each slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredWrite {
    /// Whose it is.
    pub client: ClientId,
    /// The how-manieth of theirs.
    pub sequence: u64,
    /// When it was proposed.
    pub at_millis: u64,
    /// What came of it.
    pub outcome: WriteOutcome,
}

/// What a write did to the sessions beside its own slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// What is to be done with it.
    pub admission: Admission,
    /// Clients that were forgotten to make room, with their slots.
    pub forgotten: Vec<Forgotten>,
}

/// A client that was forgotten, with its slots.
pub type Forgotten = (ClientId, Vec<u64>);

/// What became of the sessions of two shards that are one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Absorbed {
    /// What the other one remembered and this one does now.
    pub taken: Vec<StoredWrite>,
    /// Clients that were forgotten, with their slots.
    pub forgotten: Vec<Forgotten>,
}

/// The slot of a client's write.
#[must_use]
pub const fn slot(sequence: u64) -> u64 {
    sequence % WINDOW
}

impl Sessions {
    /// Decides what is to be done with a write that was proposed at `now_millis`, and takes its slot if it is new.
    pub fn admit(&mut self, request: RequestId, now_millis: u64) -> Admitted {
        let only = |admission| Admitted { admission, forgotten: Vec::new() };
        let known = self.clients.get(&request.client);
        if let Some(there) = known.and_then(|session| session.slots.get(&slot(request.sequence))) {
            if there.sequence == request.sequence {
                return only(there.outcome.map_or(Admission::Undecided, Admission::Repeated));
            }
            if there.sequence > request.sequence {
                return only(Admission::Expired);
            }
        }
        if known.is_none() && request.retry {
            return only(Admission::Expired);
        }
        let mut forgotten = Vec::new();
        if known.is_none() {
            // More than one where two shards became one.
            forgotten = self.forget_down_to(MAX_CLIENTS - 1, now_millis);
            if self.clients.len() >= MAX_CLIENTS {
                return Admitted { admission: Admission::NoRoom, forgotten };
            }
        }
        // Leaders' clocks differ. Time does not run backwards for a client, so its latest write has its latest time, and
        // a replica that reads its sessions back from storage forgets the same clients.
        let last = self.clients.get(&request.client).map_or(0, |session| session.last_write_millis);
        let at_millis = now_millis.max(last);
        self.take_slot(request.client, Remembered { sequence: request.sequence, at_millis, outcome: None });
        Admitted { admission: Admission::New, forgotten }
    }

    /// Notes what came of a write that was admitted; what to store of it. `None` where it was forgotten meanwhile.
    pub fn settle(&mut self, request: RequestId, outcome: WriteOutcome) -> Option<StoredWrite> {
        let session = self.clients.get_mut(&request.client)?;
        let there = session.slots.get_mut(&slot(request.sequence)).filter(|w| w.sequence == request.sequence)?;
        there.outcome = Some(outcome);
        let at_millis = there.at_millis;
        Some(StoredWrite { client: request.client, sequence: request.sequence, at_millis, outcome })
    }

    /// Puts back what was stored.
    pub fn restore(&mut self, write: StoredWrite) {
        let StoredWrite { client, sequence, at_millis, outcome } = write;
        self.take_slot(client, Remembered { sequence, at_millis, outcome: Some(outcome) });
    }

    /// Everything that is remembered and decided, for a shard that splits off or a replica that joins.
    pub fn stored(&self) -> impl Iterator<Item = StoredWrite> + '_ {
        self.clients.iter().flat_map(|(client, session)| {
            session.slots.values().filter_map(move |write| {
                let Remembered { sequence, at_millis, outcome } = *write;
                Some(StoredWrite { client: *client, sequence, at_millis, outcome: outcome? })
            })
        })
    }

    /// Takes in what another shard remembers: of two writes in a slot the later one, which says that the earlier one is over. More
    /// clients than may be are left where they wrote of late.
    pub fn absorb(&mut self, others: impl Iterator<Item = StoredWrite>, now_millis: u64) -> Absorbed {
        let mut taken = Vec::new();
        for write in others {
            let there = self.clients.get(&write.client).and_then(|session| session.slots.get(&slot(write.sequence)));
            if there.is_none_or(|there| there.sequence < write.sequence) {
                self.restore(write);
                taken.push(write);
            }
        }
        for client in taken.iter().map(|write| write.client).collect::<BTreeSet<_>>() {
            self.date_anew(client);
        }
        let forgotten = self.forget_down_to(MAX_CLIENTS, now_millis);
        taken.retain(|write| self.clients.contains_key(&write.client));
        Absorbed { taken, forgotten }
    }

    /// How many clients are remembered.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.clients.len()
    }

    fn take_slot(&mut self, client: ClientId, write: Remembered) {
        let session = self.clients.entry(client).or_default();
        self.by_age.remove(&(session.last_write_millis, client));
        session.last_write_millis = session.last_write_millis.max(write.at_millis);
        self.by_age.insert((session.last_write_millis, client));
        session.slots.insert(slot(write.sequence), write);
    }

    /// Dates a client by the writes that are remembered, as a replica does that reads its sessions back: the latest one may have
    /// lost its slot.
    fn date_anew(&mut self, client: ClientId) {
        let Some(session) = self.clients.get_mut(&client) else { return };
        self.by_age.remove(&(session.last_write_millis, client));
        session.last_write_millis = session.slots.values().map(|write| write.at_millis).max().unwrap_or(0);
        self.by_age.insert((session.last_write_millis, client));
    }

    /// Forgets the clients that were silent for longest, as long as there are more than so many and that is long enough.
    fn forget_down_to(&mut self, clients: usize, now_millis: u64) -> Vec<Forgotten> {
        let mut forgotten = Vec::new();
        while self.clients.len() > clients
            && let Some(one) = self.forget_oldest(now_millis)
        {
            forgotten.push(one);
        }
        forgotten
    }

    /// Forgets the client that was silent for longest, if that is long enough.
    fn forget_oldest(&mut self, now_millis: u64) -> Option<(ClientId, Vec<u64>)> {
        let (last, client) = *self.by_age.first()?;
        if now_millis.saturating_sub(last) < FORGET_AFTER_MILLIS {
            return None;
        }
        self.by_age.pop_first();
        let session = self.clients.remove(&client)?;
        Some((client, session.slots.into_keys().collect()))
    }
}

#[cfg(test)]
#[path = "session_test.rs"]
mod tests;
