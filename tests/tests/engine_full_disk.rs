//! Full devices: each tier's and the log's. Under the reserve writes are refused before anything is started; without a
//! reserve RocksDB itself runs into the end of the device. Nothing acknowledged is lost, and when space returns writes go on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::Result;
use thermocline_engine::{
    Batch, Cancel, Durability, Engine, EngineError, Environment, Health, KeyRange, MoveRequest, Moved, chain,
};
use thermocline_tests::crash::history::value_of;
use thermocline_tests::crash::store;
use thermocline_tests::devices::{Devices, Kind, on_devices};

const DEVICES: [&str; 4] = ["hot", "warm", "cold", "log"];
const LENGTH: usize = 2000;
const RESERVE: u64 = 6 << 20;
/// Far more than any of it takes.
const LIMIT: Duration = Duration::from_secs(60);

fn open(devices: &Devices, reserve: u64) -> Engine {
    let mut options = store::options(devices.base());
    options.root = Some(devices.base().join("log/root"));
    // The test asks for the space itself.
    options.space_interval = Duration::from_secs(3600);
    for tier in &mut options.tiers {
        tier.settings.size_bytes = 1 << 30;
        tier.settings.reserve_bytes = reserve;
    }
    let environment = Environment { probe: devices.probe(), ..Environment::system(1) };
    Engine::open(options, environment).unwrap_or_else(|error| panic!("{}", chain(&error)))
}

fn move_to(engine: &Engine, prefix: &str, to: &str) -> Result<Moved, EngineError> {
    let range = KeyRange::prefix(prefix.as_bytes());
    let cancel = Cancel::default();
    engine.move_range(&MoveRequest {
        range,
        to: to.to_owned(),
        bytes_per_second: None,
        cancel: &cancel,
        progress: &|_| {},
    })
}

/// What was acknowledged: key and the sequence of its value.
type Acknowledged = BTreeMap<String, u64>;

fn put(engine: &Engine, key: &str, sequence: u64) -> Result<u64, EngineError> {
    engine.put(key.as_bytes(), &value_of(key, sequence, LENGTH), Durability::Wal)
}

fn put_all(engine: &Engine, prefix: &str, count: usize, sequence: u64, acknowledged: &mut Acknowledged) {
    for index in 0..count {
        let key = format!("{prefix}{index:04}");
        put(engine, &key, sequence).unwrap();
        acknowledged.insert(key, sequence);
    }
}

fn check(engine: &Engine, acknowledged: &Acknowledged) {
    for (key, sequence) in acknowledged {
        let found = engine.get(key.as_bytes()).unwrap().unwrap_or_else(|| panic!("{key} is lost"));
        assert_eq!(found.value, value_of(key, *sequence, LENGTH), "{key}");
    }
}

fn refused<T: std::fmt::Debug>(result: Result<T, EngineError>, expected: &str) {
    match result {
        Err(EngineError::OutOfSpace { device, free, reserve, needed }) => {
            assert_eq!(device, expected);
            assert!(free < reserve + needed);
        }
        other => panic!("{other:?}"),
    }
}

fn a_reserve(devices: &Devices) -> Result<()> {
    let engine = open(devices, RESERVE);
    let mut acknowledged = Acknowledged::new();
    for (device, named) in [("hot", "tier hot"), ("log", "log")] {
        put_all(&engine, &format!("{device}/"), 300, 1, &mut acknowledged);
        devices.fill(device, 2 << 20)?;
        engine.refresh_space();
        let key = format!("{device}/0000");
        refused(put(&engine, &key, 2), named);
        refused(engine.put(key.as_bytes(), b"queued", Durability::Buffered), named);
        refused(engine.delete(key.as_bytes(), Durability::Sync), named);
        let mut batch = Batch::default();
        batch.delete(key.clone())?;
        refused(engine.write(&batch, &[], Durability::Wal), named);
        assert_eq!(engine.health(), Health::ReadOnly { device: named.to_owned() });
        assert!(engine.stats().refused >= 4);
        // Nothing was started: reads go on and find what was there.
        check(&engine, &acknowledged);
        // Moves are what frees space.
        assert!(move_to(&engine, &format!("{device}/"), "cold")?.records >= 300);
        check(&engine, &acknowledged);
        devices.free(device)?;
        engine.refresh_space();
        assert_eq!(engine.health(), Health::Serving);
        put_all(&engine, &format!("{device}/"), 10, 3, &mut acknowledged);
    }
    for device in ["warm", "cold"] {
        put_all(&engine, &format!("{device}/"), 300, 1, &mut acknowledged);
        devices.fill(device, 2 << 20)?;
        engine.refresh_space();
        // Writes need the fastest tier and the log only; a full slower tier takes no more.
        put_all(&engine, &format!("{device}/"), 300, 2, &mut acknowledged);
        assert_eq!(engine.health(), Health::Serving);
        assert!(engine.stats().tiers.iter().any(|tier| tier.name == device && tier.under_reserve));
        // A move into it is refused by name, not ended early as if it were done.
        refused(move_to(&engine, &format!("{device}/"), device), &format!("tier {device}"));
        engine.reclassify()?;
        check(&engine, &acknowledged);
        devices.free(device)?;
        engine.refresh_space();
        assert!(move_to(&engine, &format!("{device}/"), device)?.records >= 300);
        check(&engine, &acknowledged);
    }
    engine.close()?;
    check(&open(devices, RESERVE), &acknowledged);
    Ok(())
}

/// Puts until the engine refuses or holds the writer up, or `count` were acknowledged. Space is given back while a writer
/// is held up: it must then go on.
fn put_until_refused(devices: &Devices, engine: &Engine, device: &str, acknowledged: &mut Acknowledged) -> Result<()> {
    let (sender, receiver) = mpsc::channel();
    let writer = engine.clone();
    let prefix = format!("{device}/full/");
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for index in 0..6000 {
                let key = format!("{prefix}{index:05}");
                let written = put(&writer, &key, 1);
                let ended = written.is_err();
                if sender.send((key, written)).is_err() || ended {
                    return;
                }
            }
        });
        let mut freed = false;
        let start = Instant::now();
        loop {
            match receiver.recv_timeout(Duration::from_secs(2)) {
                Ok((key, Ok(_))) => {
                    acknowledged.insert(key, 1);
                }
                Ok((_, Err(error))) => {
                    println!("{device}: after {} writes: {}", acknowledged.len(), chain(&error));
                    break;
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    if !freed {
                        println!("{device}: the writer is held up after {} writes", acknowledged.len());
                        devices.free(device)?;
                        freed = true;
                    }
                    engine.refresh_space();
                    assert!(start.elapsed() < LIMIT, "space is back and the writer is still held up");
                }
            }
        }
        if !freed {
            devices.free(device)?;
        }
        Ok(())
    })
}

/// Writes go on after a while, or the store says that it must be reopened. Returns the store that takes writes.
fn resumed(devices: &Devices, engine: Engine, acknowledged: &mut Acknowledged) -> Engine {
    let start = Instant::now();
    loop {
        engine.refresh_space();
        match put(&engine, "resumed", 1) {
            Ok(_) => {
                acknowledged.insert("resumed".to_owned(), 1);
                return engine;
            }
            Err(EngineError::StorageFailed { reason }) => {
                println!("reopened: {reason}");
                check(&engine, acknowledged);
                drop(engine);
                return open(devices, 0);
            }
            Err(error) => assert!(start.elapsed() < LIMIT, "writes do not go on: {}", chain(&error)),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn no_reserve(devices: &Devices) -> Result<()> {
    let mut engine = open(devices, 0);
    let mut acknowledged = Acknowledged::new();
    for device in DEVICES {
        put_all(&engine, &format!("{device}/before/"), 300, 1, &mut acknowledged);
        devices.fill(device, 0)?;
        if matches!(device, "warm" | "cold") {
            // The move fails or finds nothing to do; what it was to move stays readable.
            let moved = move_to(&engine, &format!("{device}/"), device);
            println!("{device}: {}", moved.map_or_else(|error| chain(&error), |moved| format!("{moved:?}")));
        }
        check(&engine, &acknowledged);
        put_until_refused(devices, &engine, device, &mut acknowledged)?;
        engine = resumed(devices, engine, &mut acknowledged);
        check(&engine, &acknowledged);
        // Enough for a few flushes: the store really goes on.
        put_all(&engine, &format!("{device}/after/"), 3000, 1, &mut acknowledged);
        check(&engine, &acknowledged);
        engine.close()?;
        engine = open(devices, 0);
        check(&engine, &acknowledged);
        // Room for the next device.
        for key in std::mem::take(&mut acknowledged).into_keys() {
            engine.delete(key.as_bytes(), Durability::Wal)?;
        }
        engine.wipe(&engine.lease_range(&KeyRange::all())?)?;
    }
    Ok(())
}

#[test]
fn under_its_reserve_a_small_file_system_refuses_writes_and_nothing_else() {
    let name = "under_its_reserve_a_small_file_system_refuses_writes_and_nothing_else";
    on_devices(name, Kind::Mounted, &DEVICES, a_reserve).unwrap();
}

#[test]
fn under_its_reserve_an_injected_device_refuses_writes_and_nothing_else() {
    let name = "under_its_reserve_an_injected_device_refuses_writes_and_nothing_else";
    on_devices(name, Kind::Injected, &DEVICES, a_reserve).unwrap();
}

#[test]
fn a_small_file_system_that_fills_up_loses_nothing_and_goes_on() {
    let name = "a_small_file_system_that_fills_up_loses_nothing_and_goes_on";
    on_devices(name, Kind::Mounted, &DEVICES, no_reserve).unwrap();
}

#[test]
fn an_injected_device_that_fills_up_loses_nothing_and_goes_on() {
    let name = "an_injected_device_that_fills_up_loses_nothing_and_goes_on";
    on_devices(name, Kind::Injected, &DEVICES, no_reserve).unwrap();
}
