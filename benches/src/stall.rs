//! Design rule 5 asks, before the format is frozen: does a stalled cold tier hold up writes to the fast one when it is a
//! column family of the same database, and when it is a database of its own? ADR 0006 decides by this figure.
//!
//! Plain RocksDB, no engine: four set-ups, the same puts to the fast side, a writer that pushes the cold side into its
//! stall triggers (compaction and flush of it held to 1 MB/s by a rate limiter).

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rocksdb::{ColumnFamilyDescriptor, DB, DBCompressionType, Options};

use crate::load::{Bench, Draw, key, rate, value};
use crate::report::Report;

/// Puts measured.
const COUNT: usize = 60_000;

/// How the cold side is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cold {
    /// A column family with RocksDB's stall triggers.
    ColumnFamily,
    /// A column family whose triggers are out of reach, as the engine sets it up.
    FencedColumnFamily,
    /// A database of its own.
    OwnDatabase,
    /// None: what the fast side does alone.
    None,
}

pub fn run(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    for cold in [Cold::ColumnFamily, Cold::FencedColumnFamily, Cold::OwnDatabase] {
        let mut pairs = Vec::new();
        for _ in 0..bench.rounds.min(3) {
            pairs.push((puts(bench, cold)?, puts(bench, Cold::None)?));
        }
        let name = format!("puts beside a stalled cold side ({cold:?}), against none, 1000 B");
        report.pair(&name, "puts/s", &pairs, "decides ADR 0006", |_| true);
    }
    Ok(())
}

fn options(slow: bool, fenced: bool) -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_compression_type(DBCompressionType::None);
    options.set_max_background_jobs(8);
    if slow {
        // As at a device of 1 MB/s: level 0 fills faster than it drains.
        options.set_write_buffer_size(1 << 20);
        options.set_level_zero_file_num_compaction_trigger(2);
        options.set_level_zero_slowdown_writes_trigger(4);
        options.set_level_zero_stop_writes_trigger(8);
    }
    if fenced {
        options.set_level_zero_slowdown_writes_trigger(1 << 20);
        options.set_level_zero_stop_writes_trigger(1 << 20);
        options.set_soft_pending_compaction_bytes_limit(0);
        options.set_hard_pending_compaction_bytes_limit(0);
        options.set_max_write_buffer_number(64);
    }
    options
}

fn limited(mut options: Options) -> Options {
    options.set_ratelimiter(1 << 20, 100_000, 10);
    options
}

fn puts(bench: &Bench, cold: Cold) -> anyhow::Result<f64> {
    let folder = bench.folder.join("stall");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    let value = value(&mut bench.random(), 1000);
    let draws = bench.draws(Draw::Uniform, 1_000_000, COUNT)?;
    match cold {
        Cold::None => {
            let fast = DB::open(&options(false, false), folder.join("fast"))?;
            rate(COUNT, || Ok(draws.iter().try_for_each(|n| fast.put(key(*n), &value))?))
        }
        Cold::OwnDatabase => {
            let fast = DB::open(&options(false, false), folder.join("fast"))?;
            let slow = DB::open(&limited(options(true, false)), folder.join("slow"))?;
            beside(
                |n| Ok(slow.put(key(n), &value)?),
                || rate(COUNT, || Ok(draws.iter().try_for_each(|n| fast.put(key(*n), &value))?)),
            )
        }
        Cold::ColumnFamily | Cold::FencedColumnFamily => {
            let both = one_database(&folder, cold == Cold::FencedColumnFamily)?;
            let slow = both.cf_handle("cold").ok_or_else(|| anyhow::anyhow!("the cold column family is missing"))?;
            beside(
                |n| Ok(both.put_cf(slow, key(n), &value)?),
                || rate(COUNT, || Ok(draws.iter().try_for_each(|n| both.put(key(*n), &value))?)),
            )
        }
    }
}

fn one_database(folder: &Path, fenced: bool) -> anyhow::Result<DB> {
    let families = [
        ColumnFamilyDescriptor::new("default", options(false, false)),
        ColumnFamilyDescriptor::new("cold", options(true, fenced)),
    ];
    Ok(DB::open_cf_descriptors(&limited(options(false, false)), folder.join("both"), families)?)
}

/// Measures while another thread fills the cold side, after it has had two seconds to reach its triggers.
fn beside(
    fill: impl Fn(u64) -> anyhow::Result<()> + Sync,
    measure: impl FnOnce() -> anyhow::Result<f64>,
) -> anyhow::Result<f64> {
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // 8 MB/s, eight times what the cold side can take.
            for number in 0.. {
                if ended.load(Ordering::SeqCst) || fill(number).is_err() {
                    break;
                }
                if number % 80 == 0 {
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
        });
        std::thread::sleep(Duration::from_secs(2));
        let measured = measure();
        ended.store(true, Ordering::SeqCst);
        measured
    })
}
