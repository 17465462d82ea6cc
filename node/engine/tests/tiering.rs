//! Data finds its tier by measured heat.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::path::Path;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use thermocline_engine::classify::{Policy, Temperature};
use thermocline_engine::*;

const RECORDS: u32 = 40_000;

fn open(folder: &Path, hot_bytes: u64) -> Engine {
    let tier = |name: &str, rank, medium, size| TierSpec::new(name, rank, medium, folder.join(name), size);
    let tiers = vec![
        tier("hot", 0, Medium::Nvme, hot_bytes),
        tier("warm", 10, Medium::Ssd, 64 << 20),
        tier("cold", 20, Medium::Hdd, 4 << 30),
    ];
    let mut options = EngineOptions::new(tiers, 64 << 20);
    options.background_moves = false;
    options.row_cache_bytes = Some(64 << 10);
    options.heat_sampling = 1;
    let temperature = |tier: &str, reads, within| Temperature {
        tier: tier.to_owned(),
        reads,
        per: Duration::from_secs(10),
        read_within: Duration::from_secs(within),
    };
    options.policy = Policy {
        temperatures: vec![temperature("hot", 3.0, 5), temperature("warm", 0.5, 10)],
        evaluation_interval: Duration::from_secs(1),
        min_residency: Duration::ZERO,
        ..Policy::default()
    };
    Engine::open(options, Environment::system(7)).unwrap()
}

fn key(i: u32) -> String {
    format!("key{i:06}")
}

#[test]
fn a_full_fast_tier_is_relieved_and_hot_keys_come_back_up() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), 8 << 20);
    let mut random = ChaCha8Rng::seed_from_u64(11);
    let mut value = vec![0; 500];
    for i in 0..RECORDS {
        random.fill(&mut value[..]);
        engine.put(key(i).as_bytes(), &value, Durability::Wal).unwrap();
        if i % 4000 == 3999 {
            engine.reclassify().unwrap();
        }
    }
    let hash = engine.logical_hash(&KeyRange::all()).unwrap();
    let hot = &engine.stats().tiers[0];
    assert!(hot.used_bytes < hot.capacity_bytes, "{hot:?}");

    // A few keys all over the key space are read again and again.
    let favourites: Vec<u32> = (0..200).map(|_| random.random_range(0..RECORDS)).collect();
    for _ in 0..6 {
        for _ in 0..20 {
            for i in &favourites {
                assert!(engine.get(key(*i).as_bytes()).unwrap().is_some());
            }
        }
        engine.reclassify().unwrap();
    }
    let up = favourites.iter().filter(|i| engine.explain(key(**i).as_bytes()).unwrap().copies[0].tier == "hot").count();
    let explanation = engine.explain(key(favourites[0]).as_bytes()).unwrap();
    assert!(up > favourites.len() * 8 / 10, "{up} of {}; {explanation:#?} {:#?}", favourites.len(), engine.stats());
    assert_eq!(engine.logical_hash(&KeyRange::all()).unwrap(), hash);
}

#[test]
fn heat_takes_no_more_than_its_share_of_memory_however_large_a_tier_is() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), 1 << 60);
    engine.put(b"k", b"v", Durability::Wal).unwrap();
    let memory = 64 << 20;
    assert!(engine.heat(1, 1).unwrap().tracked_bytes <= memory / 16);
}
