//! Learned successors: after which key which key is read next, in a bounded, direct-mapped table.

use xxhash_rust::xxh3::xxh3_64;

/// Sightings in a row after which a successor is believed.
const BELIEVED: u8 = 2;
const MOST_SIGHTINGS: u8 = 3;
/// Longer keys are not learned: the table's memory is `slots` times this.
const LONGEST_KEY: usize = 256;

#[derive(Debug, Clone)]
struct Learned {
    /// Hash of the key before.
    after: u64,
    successor: Box<[u8]>,
    sightings: u8,
}

/// Key hash -> the key read after it.
#[derive(Debug)]
pub(super) struct Successors {
    slots: Box<[Option<Learned>]>,
}

impl Successors {
    pub(super) fn new(slots: usize) -> Self {
        Self { slots: vec![None; slots.max(1)].into_boxed_slice() }
    }

    /// `next` was read right after `previous`. A pair that no longer comes true is forgotten step by step.
    pub(super) fn learn(&mut self, previous: &[u8], next: &[u8]) {
        if next.len() > LONGEST_KEY {
            return;
        }
        let after = xxh3_64(previous);
        let Some(slot) = self.slot_mut(after) else { return };
        match slot {
            Some(known) if known.after == after && *known.successor == *next => {
                known.sightings = (known.sightings + 1).min(MOST_SIGHTINGS);
            }
            Some(known) if known.sightings > 1 => known.sightings -= 1,
            _ => *slot = Some(Learned { after, successor: next.into(), sightings: 1 }),
        }
    }

    /// The key believed to be read after `key`.
    pub(super) fn after(&self, key: &[u8]) -> Option<&[u8]> {
        let after = xxh3_64(key);
        let slot = self.slots.get((after % self.slots.len() as u64) as usize)?;
        slot.as_ref().filter(|known| known.after == after && known.sightings >= BELIEVED).map(|known| &*known.successor)
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let keys: usize = self.slots.iter().flatten().map(|known| known.successor.len()).sum();
        self.slots.len() * size_of::<Option<Learned>>() + keys
    }

    fn slot_mut(&mut self, after: u64) -> Option<&mut Option<Learned>> {
        let slot = (after % self.slots.len() as u64) as usize;
        self.slots.get_mut(slot)
    }
}
