//! The figures of the README: puts, cached reads, batches, multi-gets, reads of data larger than memory.

use std::hint::black_box;
use std::path::Path;

use rocksdb::{DB, WriteBatch};
use thermocline_engine::{Batch, Durability, Engine};

use crate::baseline::{rocksdb, rocksdb_without_timers};
use crate::load::{Bench, Draw, in_turn, key, milliseconds, rate, value};
use crate::report::Report;
use crate::stores::engine;

/// Memory of both sides.
const MEMORY: u64 = 512 << 20;

/// The groups of figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Figure {
    /// Single puts.
    Puts,
    /// Hits of the row cache.
    CachedReads,
    /// Batches and multi-gets.
    Batches,
    /// Reads of more data than memory.
    Reads,
}

/// Measures the figures named; all, if none is.
pub fn run(bench: &Bench, report: &mut Report, only: &[Figure]) -> anyhow::Result<()> {
    let wanted = |figure| only.is_empty() || only.contains(&figure);
    if wanted(Figure::Puts) {
        for bytes in [100, 1000] {
            puts(bench, report, bytes, "", rocksdb)?;
            puts(bench, report, bytes, ", raw without its timers", rocksdb_without_timers)?;
        }
    }
    if wanted(Figure::CachedReads) {
        cached_reads(bench, report)?;
    }
    if wanted(Figure::Batches) {
        batches(bench, report)?;
    }
    if wanted(Figure::Reads) {
        for draw in [Draw::Zipf, Draw::Uniform] {
            larger_than_memory(bench, report, draw)?;
        }
    }
    Ok(())
}

/// Single puts of random keys, acknowledged from the page cache (`Wal`).
fn puts(
    bench: &Bench,
    report: &mut Report,
    bytes: usize,
    against: &str,
    baseline: impl Fn(&Path, u64) -> anyhow::Result<DB>,
) -> anyhow::Result<()> {
    const COUNT: usize = 200_000;
    const TURN: usize = 10_000;
    let value = value(&mut bench.random(), bytes);
    let draws = bench.draws(Draw::Uniform, 10_000_000, COUNT)?;
    let mut pairs = Vec::new();
    for round in 0..bench.rounds {
        let engine = engine(&bench.folder.join("ours"), MEMORY, 8 << 20)?;
        let raw = baseline(&bench.folder.join("raw"), MEMORY)?;
        // In short turns, so that flushes, compactions and what else runs on the machine fall on both sides alike.
        for (turn, draws) in draws.chunks_exact(TURN).enumerate() {
            let ours = || {
                rate(TURN, || {
                    draws.iter().try_for_each(|n| engine.put(&key(*n), &value, Durability::Wal).map(|_| ()))?;
                    Ok(())
                })
            };
            let raw = || rate(TURN, || Ok(draws.iter().try_for_each(|n| raw.put(key(*n), &value))?));
            pairs.push(in_turn(round + turn, ours, raw)?);
        }
    }
    let name = format!("single puts, {bytes} B, uniform, durability Wal, 1 thread{against}");
    report.pair(&name, "puts/s", &pairs, ">= 0.95 x", |ratio| ratio >= 0.95);
    Ok(())
}

/// The same hot keys again and again: from the row cache, and from RocksDB's block cache.
fn cached_reads(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    const KEYS: u64 = 50_000;
    const COUNT: usize = 1_000_000;
    let value = value(&mut bench.random(), 1000);
    let draws = bench.draws(Draw::Zipf, KEYS, COUNT)?;
    let engine = engine(&bench.folder.join("ours"), MEMORY, 128 << 20)?;
    let raw = rocksdb(&bench.folder.join("raw"), MEMORY)?;
    for number in 0..KEYS {
        engine.put(&key(number), &value, Durability::Wal)?;
        raw.put(key(number), &value)?;
    }
    // From files, as data of a store is, not from the write buffer.
    engine.flush()?;
    raw.flush()?;
    for number in &draws {
        black_box((engine.get(&key(*number))?, raw.get(key(*number))?));
    }
    let mut pairs = Vec::new();
    for _ in 0..bench.rounds {
        // In short turns: what else runs on the machine then spoils some pairs, not all, and the median is of the rest.
        for turn in draws.chunks_exact(COUNT / 50) {
            let keys: Vec<[u8; 16]> = turn.iter().map(|n| key(*n)).collect();
            let ours = rate(keys.len(), || {
                Ok(keys.iter().try_for_each(|key| engine.get(key).map(|r| drop(black_box(r))))?)
            })?;
            let fewer = &keys[..keys.len() / 5];
            let cached =
                rate(fewer.len(), || Ok(fewer.iter().try_for_each(|key| raw.get(key).map(|r| drop(black_box(r))))?))?;
            pairs.push((ours, cached));
        }
    }
    let stats = engine.stats();
    anyhow::ensure!(stats.row_cache_hits > stats.row_cache_misses, "the row cache did not answer");
    report.pair(
        "row-cache hit against a RocksDB cached get, 1000 B, zipf(N) 0.99, 1 thread",
        "reads/s",
        &pairs,
        ">= 15 x",
        |ratio| ratio >= 15.0,
    );
    Ok(())
}

/// Large batches, and a multi-get of 1000 keys.
fn batches(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    const LARGE: u64 = 100_000;
    const GROUP: usize = 1000;
    let value = value(&mut bench.random(), 100);
    let draws = bench.draws(Draw::Uniform, 10_000_000, 500_000)?;
    let (mut large, mut grouped, mut multi) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.rounds {
        let engine = engine(&bench.folder.join("ours"), MEMORY, 8 << 20)?;
        let mut batch = Batch::with_capacity(LARGE as usize);
        for number in 0..LARGE {
            batch.put(key(number).to_vec(), value.clone())?;
        }
        let ours = milliseconds(|| Ok(engine.write(&batch, &[], Durability::Wal).map(|_| ())?))?;
        let raw = rocksdb(&bench.folder.join("raw"), MEMORY)?;
        let mut plain = WriteBatch::default();
        for number in 0..LARGE {
            plain.put(key(number), &value);
        }
        large.push((ours, milliseconds(|| Ok(raw.write(&plain)?))?));

        let ours = rate(draws.len(), || write_in_groups(&engine, &draws, &value, GROUP))?;
        let theirs = rate(draws.len(), || {
            for group in draws.chunks(GROUP) {
                let mut batch = WriteBatch::default();
                for number in group {
                    batch.put(key(*number), &value);
                }
                raw.write(&batch)?;
            }
            Ok(())
        })?;
        grouped.push((ours, theirs));
        // Flushes and compactions of what was just written would be measured instead.
        engine.flush()?;
        raw.flush()?;
        std::thread::sleep(std::time::Duration::from_secs(2));
        multi.extend(multi_gets(&engine, &raw, &draws)?);
    }
    report.pair("one batch of 100,000 records, 100 B, Wal", "ms", &large, "< 500 ms", |_| {
        crate::report::median(&large.iter().map(|(a, _)| *a).collect::<Vec<_>>()) < 500.0
    });
    let ours: Vec<f64> = grouped.iter().map(|(a, _)| *a).collect();
    report.pair("batches of 1000, 100 B, uniform, Wal, 1 thread", "records/s", &grouped, ">= 200K/s", |_| {
        crate::report::median(&ours) >= 200_000.0
    });
    let ours: Vec<f64> = multi.iter().map(|(a, _)| *a).collect();
    report.pair("multi_get of 1000 keys, 100 B, uniform, cold row cache", "ms", &multi, "<= 2 ms", |_| {
        crate::report::median(&ours) <= 2.0
    });
    Ok(())
}

fn write_in_groups(engine: &Engine, draws: &[u64], value: &[u8], group: usize) -> anyhow::Result<()> {
    let value = bytes::Bytes::copy_from_slice(value);
    for group in draws.chunks(group) {
        let mut batch = Batch::with_capacity(group.len());
        for number in group {
            batch.put(key(*number).to_vec(), value.clone())?;
        }
        engine.write(&batch, &[], Durability::Wal)?;
    }
    Ok(())
}

fn multi_gets(engine: &Engine, raw: &rocksdb::DB, draws: &[u64]) -> anyhow::Result<Vec<(f64, f64)>> {
    draws
        .chunks_exact(1000)
        .take(60)
        .enumerate()
        .map(|(number, group)| {
            let keys: Vec<[u8; 16]> = group.iter().map(|n| key(*n)).collect();
            let ours = || {
                milliseconds(|| {
                    black_box(engine.multi_get(&keys)?);
                    Ok(())
                })
            };
            let theirs = || {
                milliseconds(|| {
                    black_box(raw.multi_get(&keys));
                    Ok(())
                })
            };
            if number.is_multiple_of(2) {
                let first = ours()?;
                return Ok((first, theirs()?));
            }
            let first = theirs()?;
            Ok((ours()?, first))
        })
        .collect()
}

/// Random reads by two threads of data that is four times the memory of either side.
fn larger_than_memory(bench: &Bench, report: &mut Report, draw: Draw) -> anyhow::Result<()> {
    const SMALL_MEMORY: u64 = 64 << 20;
    const KEYS: u64 = 256 * 1024;
    const COUNT: usize = 200_000;
    let mut random = bench.random();
    let engine = engine(&bench.folder.join("ours"), SMALL_MEMORY, SMALL_MEMORY / 10)?;
    let raw = rocksdb(&bench.folder.join("raw"), SMALL_MEMORY)?;
    for number in 0..KEYS {
        let value = value(&mut random, 1000);
        engine.put(&key(number), &value, Durability::Wal)?;
        raw.put(key(number), &value)?;
    }
    raw.flush()?;
    let draws = bench.draws(draw, KEYS, COUNT)?;
    let (first, second) = draws.split_at(COUNT / 2);
    let mut pairs = Vec::new();
    for _ in 0..bench.rounds {
        let ours = rate(COUNT, || {
            both(first, second, |n| engine.get(&key(n)).map(|r| drop(black_box(r))).map_err(Into::into))
        })?;
        let theirs =
            rate(COUNT, || both(first, second, |n| raw.get(key(n)).map(|r| drop(black_box(r))).map_err(Into::into)))?;
        pairs.push((ours, theirs));
    }
    let ours: Vec<f64> = pairs.iter().map(|(a, _)| *a).collect();
    let name = format!("random reads, 1000 B, {draw:?}, data 4 x memory (files in the page cache), 2 threads");
    report.pair(&name, "reads/s", &pairs, ">= 100K/s", |_| crate::report::median(&ours) >= 100_000.0);
    Ok(())
}

fn both(first: &[u64], second: &[u64], read: impl Fn(u64) -> anyhow::Result<()> + Sync) -> anyhow::Result<()> {
    std::thread::scope(|scope| {
        let other = scope.spawn(|| second.iter().try_for_each(|n| read(*n)));
        first.iter().try_for_each(|n| read(*n))?;
        other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
