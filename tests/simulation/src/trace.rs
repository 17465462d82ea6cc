//! Everything that happened, in its order, as one hash. Two runs are the same run where their hashes are equal.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use parking_lot::Mutex;
use xxhash_rust::xxh3::Xxh3;

/// The trace of a run. Kept as a hash; written out as lines where somebody wants to see where two runs part.
pub struct Trace(Mutex<Kept>);

struct Kept {
    hasher: Xxh3,
    events: u64,
    lines: Option<BufWriter<File>>,
}

impl Trace {
    /// An empty trace; with a file, its lines go there too.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn new(file: Option<&Path>) -> io::Result<Self> {
        let lines = file.map(File::create).transpose()?.map(BufWriter::new);
        Ok(Self(Mutex::new(Kept { hasher: Xxh3::new(), events: 0, lines })))
    }

    /// Something happened at a millisecond of the simulated time. `bytes` is what a message carries.
    pub fn note(&self, at_millis: u64, what: &str, bytes: &[u8]) {
        let mut kept = self.0.lock();
        kept.events += 1;
        kept.hasher.update(&at_millis.to_be_bytes());
        kept.hasher.update(what.as_bytes());
        kept.hasher.update(&(bytes.len() as u64).to_be_bytes());
        kept.hasher.update(bytes);
        let so_far = kept.hasher.digest128();
        if let Some(lines) = &mut kept.lines {
            // A trace that cannot be written is noticed by whoever reads it: the run itself is not changed by it.
            let text =
                std::str::from_utf8(bytes).ok().filter(|text| !text.contains(char::is_control)).unwrap_or_default();
            let _ = writeln!(lines, "{at_millis:>7} {what} [{} bytes] {text} {so_far:032x}", bytes.len());
        }
    }

    /// The hash of all so far, and how many events it is of.
    pub fn hash(&self) -> (u128, u64) {
        let mut kept = self.0.lock();
        if let Some(lines) = &mut kept.lines {
            let _ = lines.flush();
        }
        (kept.hasher.digest128(), kept.events)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn hash(events: &[(u64, &str, &[u8])]) -> u128 {
        let trace = Trace::new(None).unwrap();
        events.iter().for_each(|(at, what, bytes)| trace.note(*at, what, bytes));
        trace.hash().0
    }

    #[test]
    fn time_kind_content_and_order_of_what_happened_all_change_the_hash() {
        let one: (u64, &str, &[u8]) = (1, "sent", b"a");
        let two: (u64, &str, &[u8]) = (2, "arrived", b"b");
        let whole = hash(&[one, two]);
        assert_eq!(whole, hash(&[one, two]));
        for other in [
            &[two, one][..],
            &[one],
            &[(2, "sent", b"a"), two],
            &[(1, "lost", b"a"), two],
            &[(1, "sent", b"c"), two],
            &[(1, "sent", b"ab"), (2, "arrived", b"")],
        ] {
            assert_ne!(whole, hash(other), "{other:?}");
        }
    }
}
