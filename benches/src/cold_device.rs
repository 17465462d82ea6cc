//! Rule 5 measured: puts while data moves to a cold tier of 1 MB/s, against puts while it moves to one without a limit.
//!
//! The tier's throttle emulates the medium on the mover's side; `tests` throttle below RocksDB as well.

use std::sync::atomic::{AtomicBool, Ordering};

use thermocline_engine::{Cancel, Durability, Engine, KeyRange, MoveRequest, TierSettings};

use crate::load::{Bench, Draw, key, rate, value};
use crate::report::Report;
use crate::stores::engine;

pub fn run(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let mut pairs = Vec::new();
    let mut stalls = 0;
    for _ in 0..bench.rounds {
        let (slow, stalled) = puts_while_demoting(bench, Some(1 << 20))?;
        let (fast, _) = puts_while_demoting(bench, None)?;
        stalls += stalled;
        pairs.push((slow, fast));
    }
    report.pair(
        "puts while demoting to a cold tier of 1 MB/s, against one without a limit, 1000 B, Wal",
        "puts/s",
        &pairs,
        ">= 0.8 x",
        |ratio| ratio >= 0.8,
    );
    report.single("RocksDB write stalls meanwhile", "us", &[stalls as f64], "0", |us| us == 0.0);
    Ok(())
}

fn puts_while_demoting(bench: &Bench, limit: Option<u64>) -> anyhow::Result<(f64, u64)> {
    const COUNT: usize = 150_000;
    let engine = engine(&bench.folder.join("ours"), 256 << 20, 8 << 20)?;
    let settings = TierSettings { throttle_bytes_per_second: limit, ..TierSettings::of_size(64 << 30) };
    engine.set_tier_settings("cold", settings)?;
    let value = value(&mut bench.random(), 1000);
    for number in 0..60_000 {
        engine.put(&key(number), &value, Durability::Wal)?;
    }
    let draws = bench.draws(Draw::Uniform, 1_000_000, COUNT)?;
    let (cancel, ended) = (Cancel::default(), AtomicBool::new(false));
    let measured = std::thread::scope(|scope| {
        scope.spawn(|| demote_again_and_again(&engine, &cancel, &ended));
        let measured = rate(COUNT, || {
            draws.iter().try_for_each(|n| engine.put(&key(*n), &value, Durability::Wal).map(|_| ()))?;
            Ok(())
        });
        ended.store(true, Ordering::SeqCst);
        cancel.cancel();
        measured
    })?;
    Ok((measured, u64::try_from(engine.stats().stall.as_micros()).unwrap_or(u64::MAX)))
}

fn demote_again_and_again(engine: &Engine, cancel: &Cancel, ended: &AtomicBool) {
    while !ended.load(Ordering::SeqCst) {
        let request = MoveRequest {
            range: KeyRange::all(),
            to: "cold".to_owned(),
            bytes_per_second: None,
            cancel,
            progress: &|_| {},
        };
        // A cancelled move is how this ends.
        let _ = engine.move_range(&request);
    }
}
