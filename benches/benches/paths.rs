//! The hot paths one by one, for finding what a change costs: `cargo bench -p thermocline-benches`.
#![allow(missing_docs, clippy::unwrap_used)]

use criterion::{Criterion, criterion_group, criterion_main};
use thermocline_engine::{Durability, Engine, EngineOptions, Environment, Medium, TierSpec};

fn store(folder: &std::path::Path) -> Engine {
    let tiers = vec![
        TierSpec::new("hot", 0, Medium::Nvme, folder.join("hot"), 8 << 30),
        TierSpec::new("cold", 20, Medium::Hdd, folder.join("cold"), 8 << 30),
    ];
    let mut options = EngineOptions::new(tiers, 256 << 20);
    options.background_moves = false;
    Engine::open(options, Environment::system(1)).unwrap()
}

fn paths(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let engine = store(folder.path());
    let keys: Vec<[u8; 8]> = (0..10_000_u64).map(u64::to_be_bytes).collect();
    for key in &keys {
        engine.put(key, &[7; 1000], Durability::Wal).unwrap();
    }
    let mut next = keys.iter().cycle();
    criterion.bench_function("put, 1000 B, Wal", |b| {
        b.iter(|| engine.put(next.next().unwrap(), &[8; 1000], Durability::Wal).unwrap());
    });
    criterion.bench_function("put, 1000 B, Buffered", |b| {
        b.iter(|| engine.put(next.next().unwrap(), &[9; 1000], Durability::Buffered).unwrap());
    });
    engine.get(&keys[0]).unwrap();
    criterion.bench_function("get from the row cache", |b| b.iter(|| engine.get(&keys[0]).unwrap()));
    criterion.bench_function("get of no such key", |b| b.iter(|| engine.get(b"absent").unwrap()));
}

criterion_group!(benches, paths);
criterion_main!(benches);
