//! What a store should hold, what is drawn for it, and the comparison of both.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use thermocline_engine::classify::{Policy, Temperature};
use thermocline_engine::*;
use xxhash_rust::xxh3::Xxh3;

use super::KEYS;
use super::support::{audit, names};

pub type Records = BTreeMap<Vec<u8>, (Vec<u8>, u64)>;

/// What the store should hold, and what was done last: told when the test fails.
pub struct Run {
    pub random: ChaCha8Rng,
    pub records: Records,
    pub caller: BTreeMap<Vec<u8>, Vec<u8>>,
    pub highest: u64,
    pub exports: Vec<(PathBuf, KeyRange, Records)>,
    pub folder: PathBuf,
    pub folders: u32,
    pub tiers: usize,
    pub done: VecDeque<String>,
    pub values: u8,
    /// The store moves by itself: nobody can say where a key is.
    pub restless: bool,
}

impl Drop for Run {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("the last operations, newest last: {:#?}", self.done);
        }
    }
}

impl Run {
    pub fn note(&mut self, operation: String) {
        self.done.push_back(operation);
        if self.done.len() > 40 {
            self.done.pop_front();
        }
    }

    pub fn new_folder(&mut self, what: &str) -> PathBuf {
        self.folders += 1;
        self.folder.join(format!("{what}-{}", self.folders))
    }

    pub fn key(&mut self) -> Vec<u8> {
        let number = self.random.random_range(0..KEYS);
        match number % 10 {
            0 => vec![0xff, number as u8],
            1 => vec![number as u8],
            2 => format!("a/{number:03}/{}", "x".repeat(30)).into_bytes(),
            _ => format!("k/{number:03}").into_bytes(),
        }
    }

    /// Values differ from write to write; some are large, so that moves go by file too.
    pub fn value(&mut self) -> Vec<u8> {
        self.values = self.values.wrapping_add(1);
        let length = match self.random.random_range(0..10) {
            0 => 0,
            1..=6 => self.random.random_range(1..200),
            _ => self.random.random_range(4_000..24_000),
        };
        vec![self.values; length]
    }

    pub fn durability(&mut self) -> Durability {
        match self.random.random_range(0..8) {
            0 => Durability::Sync,
            1..=3 => Durability::Buffered,
            _ => Durability::Wal,
        }
    }

    pub fn range(&mut self) -> KeyRange {
        if self.random.random_range(0..4) == 0 {
            return KeyRange::all();
        }
        let (a, b) = (self.key(), self.key());
        match self.random.random_range(0..4) {
            0 => KeyRange::single(&a),
            1 => KeyRange::new(a, Vec::new()).unwrap(),
            _ => KeyRange::new(a.clone().min(b.clone()), a.max(b)).unwrap(),
        }
    }

    pub fn within(&self, range: &KeyRange) -> Records {
        let end = range.end().map_or(Bound::Unbounded, |end| Bound::Excluded(end.to_vec()));
        if range.end().is_some_and(|end| end <= range.start()) {
            return Records::new();
        }
        self.records
            .range((Bound::Included(range.start().to_vec()), end))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect()
    }

    /// A version that the engine gave: above all before.
    pub fn given(&mut self, version: u64) -> u64 {
        assert!(version > self.highest, "version {version} is not above {}", self.highest);
        self.highest = version;
        version
    }

    pub fn tier(&mut self) -> &'static str {
        let tiers = names(self.tiers);
        tiers[self.random.random_range(0..tiers.len())]
    }

    pub fn conditions(&mut self) -> Vec<Condition> {
        (0..self.random.random_range(0..3_u32))
            .map(|_| {
                let key = Bytes::from(self.key());
                let version = self.records.get(key.as_ref()).map(|(_, version)| *version);
                match (self.random.random_range(0..6), version) {
                    (0, _) => Condition::Absent(key),
                    (1, _) => Condition::Exists(key),
                    (2, _) => Condition::VersionEquals(key, 1),
                    (_, None) => Condition::Absent(key),
                    (3, Some(_)) => Condition::Exists(key),
                    (_, Some(version)) => Condition::VersionEquals(key, version),
                }
            })
            .collect()
    }

    pub fn batch(&mut self) -> Batch {
        let mut batch = Batch::with_capacity(4);
        for _ in 0..self.random.random_range(0..6_u32) {
            let key = self.key();
            if self.random.random_range(0..3) == 0 {
                batch.delete(key).unwrap();
            } else {
                let value = self.value();
                batch.put(key, value).unwrap();
            }
        }
        batch
    }

    pub fn change(&mut self, mutations: &[Mutation], version: u64) {
        for mutation in mutations {
            match mutation.value() {
                Some(value) => self.records.insert(mutation.key().to_vec(), (value.to_vec(), version)),
                None => self.records.remove(mutation.key().as_ref()),
            };
        }
    }

    pub fn failing(&self, conditions: &[Condition]) -> Option<WriteOutcome> {
        conditions.iter().enumerate().find_map(|(index, condition)| {
            let actual = self.records.get(condition.key().as_ref()).map(|(_, version)| *version);
            (!condition.holds(actual)).then_some(WriteOutcome::ConditionFailed { index, actual })
        })
    }

    pub fn check_outcome(&mut self, outcome: WriteOutcome, conditions: &[Condition], mutations: &[Mutation]) {
        match (self.failing(conditions), outcome) {
            (Some(expected), outcome) => assert_eq!(outcome, expected),
            (None, WriteOutcome::Written(version)) => {
                self.given(version);
                self.change(mutations, version);
            }
            (None, failed) => panic!("every condition held, yet {failed:?}"),
        }
    }

    /// The whole store against the map: every way of reading it.
    pub fn check(&mut self, engine: &Engine) {
        let all: Records = engine
            .snapshot()
            .unwrap()
            .scan(&KeyRange::all(), ScanOptions::default())
            .map(|item| item.unwrap())
            .map(|(key, record)| (key.to_vec(), (record.value.to_vec(), record.version)))
            .collect();
        assert_same(&all, &self.records);
        assert_eq!(engine.logical_hash(&KeyRange::all()).unwrap(), hash(&self.records));
        let keys: Vec<Vec<u8>> = (0..KEYS).map(|_| self.key()).collect();
        for (key, record) in keys.iter().zip(engine.multi_get(&keys).unwrap()) {
            self.check_record(key, record);
        }
        for (key, value) in &self.caller {
            assert_eq!(engine.caller_meta(key).unwrap().as_ref(), Some(value));
        }
        audit(engine);
    }

    pub fn check_record(&self, key: &[u8], record: Option<Record>) {
        let found = record.map(|r| (r.value.to_vec(), r.version));
        let (found, expected) = (found.as_ref(), self.records.get(key));
        let told =
            |r: Option<&(Vec<u8>, u64)>| r.map(|(value, version)| (value.len(), value.first().copied(), *version));
        assert!(found == expected, "{}: {:?} is not {:?}", printable_key(key), told(found), told(expected));
    }
}

pub fn assert_same(found: &Records, expected: &Records) {
    for (key, (_, version)) in expected {
        let there = found.get(key).map(|(_, version)| *version);
        assert_eq!(there, Some(*version), "the version of {}", printable_key(key));
    }
    for key in found.keys() {
        assert!(expected.contains_key(key), "{} should not be there", printable_key(key));
    }
    assert!(found == expected, "values differ");
}

pub fn hash(records: &Records) -> LogicalHash {
    let (mut hasher, mut bytes) = (Xxh3::new(), 0);
    for (key, (value, version)) in records {
        hasher.update(&(key.len() as u64).to_be_bytes());
        hasher.update(key);
        hasher.update(&version.to_be_bytes());
        hasher.update(&(value.len() as u64).to_be_bytes());
        hasher.update(value);
        bytes += (key.len() + value.len()) as u64;
    }
    LogicalHash { hash: hasher.digest128(), records: records.len() as u64, bytes }
}

/// A policy under which a few reads move data up and their absence moves it down.
pub fn quick_policy(tiers: usize) -> Policy {
    let temperature = |(place, tier): (usize, &&str)| Temperature {
        tier: (*tier).to_owned(),
        reads: if place == 0 { 3.0 } else { 1.0 / place as f64 },
        per: Duration::from_secs(1),
        read_within: Duration::from_secs(1 + place as u64),
    };
    let faster = &names(tiers)[..tiers - 1];
    Policy {
        generation: 1,
        temperatures: faster.iter().enumerate().map(temperature).collect(),
        evaluation_interval: Duration::from_millis(100),
        min_residency: Duration::ZERO,
        ..Policy::for_tiers(names(tiers))
    }
}
