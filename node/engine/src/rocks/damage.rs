//! Damaged table files: which tiers have some that compactions cannot read, and what that stops.
//!
//! A compaction that meets one fails, again and again, and nothing else does: the range answers `Corrupt`, the rest
//! serves. But without its compactions level 0 of the fastest tier fills up until RocksDB stops all writes, and nothing
//! would ever let them go on: they would wait for ever, moves and range operations too. So while the fastest tier is
//! damaged RocksDB's own triggers are off, and from the same number of files on user writes are refused, by name.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;

use super::database::Database;
use super::tuning;
use crate::error::{Result, RocksContext};
use crate::guard::Guard;

/// What RocksDB says when it could not read: all else that fails in a compaction is a write.
const READS: [&str; 7] = [
    "While pread",
    "While prefetching",
    "While reading file sequentially",
    "While open a file for random read:",
    "While opening a file for sequentially reading",
    "While opening file for sequentially read",
    "while mmap file for read",
];

/// Whether an error says that stored bytes cannot be read, not that some could not be written.
pub(crate) fn is_unreadable(error: &rocksdb::Error) -> bool {
    match error.kind() {
        rocksdb::ErrorKind::Corruption => true,
        rocksdb::ErrorKind::IOError if Guard::ReadErrorsPass.on() => {
            READS.iter().any(|read| error.as_ref().contains(read))
        }
        _ => false,
    }
}

/// A damaged file: its column family and name. Without a name: RocksDB did not say which.
type File = (String, Option<String>);

/// The damaged files that compactions met.
#[derive(Debug, Default)]
pub(crate) struct Damage {
    /// How many: mostly none, then nobody looks.
    count: AtomicUsize,
    files: Mutex<BTreeMap<File, String>>,
    /// Whether the stall triggers of the fastest tier are off.
    released: AtomicBool,
    /// Why user writes are refused.
    refusing: ArcSwapOption<String>,
}

impl Damage {
    /// Notes what a failed compaction of a column family met. Whether that is new.
    pub(super) fn note(&self, family: &str, detail: &str) -> bool {
        let mut files = self.files.lock();
        let new = files.insert((family.to_owned(), table_file(detail)), detail.to_owned()).is_none();
        self.count.store(files.len(), Ordering::SeqCst);
        new
    }

    /// Forgets what a compaction of a column family has read after all.
    pub(super) fn healed(&self, family: &str, gone: impl Fn(&str) -> bool) {
        if self.count.load(Ordering::SeqCst) == 0 {
            return;
        }
        let mut files = self.files.lock();
        files.retain(|(of, file), _| of != family || file.as_deref().is_some_and(|file| !gone(file)));
        self.count.store(files.len(), Ordering::SeqCst);
    }

    fn of(&self, family: &str) -> Option<String> {
        if self.count.load(Ordering::SeqCst) == 0 {
            return None;
        }
        let files = self.files.lock();
        files.iter().find(|((of, _), _)| of == family).map(|(_, detail)| detail.clone())
    }
}

/// The name of the table file that an error names last.
fn table_file(detail: &str) -> Option<String> {
    let end = detail.rfind(".sst")?;
    let name = detail[..end].rsplit(|c: char| !c.is_ascii_digit()).next()?;
    (!name.is_empty()).then(|| format!("{name}.sst"))
}

impl Database {
    /// What compactions of a tier could not read; `None`: they go on.
    pub(crate) fn damage(&self, tier: usize) -> Option<String> {
        self.events.damage.of(self.tier_name(tier))
    }

    /// Why user writes are refused: level 0 of the fastest tier is full and its compactions meet damage.
    pub(crate) fn refusing_damage(&self) -> Option<Arc<String>> {
        let damage = &self.events.damage;
        // Asked by every write.
        if damage.count.load(Ordering::Relaxed) == 0 || !Guard::DamageRefuses.on() {
            return None;
        }
        damage.refusing.load_full()
    }

    /// Looks whether the fastest tier is damaged, takes over from RocksDB's stall triggers while it is, and decides
    /// whether user writes are refused. Called again and again: a writer that is held up meanwhile is let go.
    pub(crate) fn watch_damage(&self) {
        let damage = &self.events.damage;
        if damage.count.load(Ordering::SeqCst) == 0 && !damage.released.load(Ordering::SeqCst) {
            return;
        }
        let found = self.damage(0);
        let release = found.is_some() && Guard::DamageRefuses.on();
        if damage.released.load(Ordering::SeqCst) != release {
            match self.set_stall_triggers(!release) {
                Ok(()) => damage.released.store(release, Ordering::SeqCst),
                Err(error) => tracing::warn!(%error, "the stall triggers of the fastest tier could not be changed"),
            }
        }
        let full = self.property(0, "rocksdb.num-files-at-level0") >= u64::from(tuning::LEVEL0_STOP);
        let refusing = found.filter(|_| full);
        let was = damage.refusing.swap(refusing.clone().map(Arc::new));
        match (was, refusing) {
            (None, Some(detail)) => tracing::error!(detail, "writes are refused: the fastest tier cannot be compacted"),
            (Some(_), None) => tracing::info!("the fastest tier is compacted again: writes go on"),
            _ => {}
        }
    }

    /// Lets RocksDB hold writers up for the fastest tier, or not. A store opens without: what opening writes would wait
    /// for compactions that may never succeed.
    pub(crate) fn set_stall_triggers(&self, on: bool) -> Result<()> {
        let triggers = tuning::stall_triggers(on);
        let triggers: Vec<(&str, &str)> = triggers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.raw().set_options_cf(&self.tier(0), &triggers).attempting("set the stall triggers of the fastest tier")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_an_error_is_the_one_it_names_last() {
        let checksum =
            "Corruption: block checksum mismatch: stored = 1, computed = 2 in /a/000001.sst/000012.sst offset 3";
        assert_eq!(table_file(checksum).unwrap(), "000012.sst");
        assert_eq!(table_file("IO error: While pread offset 0 len 9: /b/7.sst: Input/output error").unwrap(), "7.sst");
        assert_eq!(table_file("Corruption: bad"), None);
    }

    #[test]
    fn damage_is_forgotten_with_its_file_alone() {
        let damage = Damage::default();
        assert!(damage.note("hot", "in /x/1.sst offset 3"));
        assert!(!damage.note("hot", "in /x/1.sst offset 9"));
        assert!(damage.note("hot", "somewhere"));
        assert!(damage.note("cold", "in /y/1.sst offset 3"));
        damage.healed("hot", |file| file == "2.sst");
        assert_eq!(damage.of("hot").unwrap(), "in /x/1.sst offset 9");
        damage.healed("hot", |file| file == "1.sst");
        assert_eq!(damage.of("hot"), None);
        assert!(damage.of("cold").is_some());
    }
}
