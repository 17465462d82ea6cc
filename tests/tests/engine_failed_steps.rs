//! Steps of moves that a device fails: a log that is full for a moment, a folder that cannot be synced.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use anyhow::Result;
use thermocline_engine::{
    Cancel, CrashPoint, Durability, Engine, EngineError, Environment, Health, KeyRange, MoveRequest, Moved, chain,
};
use thermocline_tests::crash::history::value_of;
use thermocline_tests::crash::store;
use thermocline_tests::devices::{Devices, Kind, on_devices};

const DEVICES: [&str; 4] = ["hot", "warm", "cold", "log"];
const KEYS: usize = 300;
const LENGTH: usize = 2000;
/// Far more than any of it takes.
const LIMIT: Duration = Duration::from_secs(60);

fn open(devices: &Devices, environment: Environment) -> Engine {
    let mut options = store::options(devices.base());
    options.root = Some(devices.base().join("log/root"));
    // The test asks for the space itself.
    options.space_interval = Duration::from_secs(3600);
    for tier in &mut options.tiers {
        tier.settings.size_bytes = 1 << 30;
    }
    let environment = Environment { probe: devices.probe(), ..environment };
    Engine::open(options, environment).unwrap_or_else(|error| panic!("{}", chain(&error)))
}

fn key(index: usize) -> String {
    format!("key/{index:04}")
}

fn put(engine: &Engine, index: usize, sequence: u64) -> Result<u64, EngineError> {
    engine.put(key(index).as_bytes(), &value_of(&key(index), sequence, LENGTH), Durability::Wal)
}

fn put_all(engine: &Engine, sequence: u64) {
    for index in 0..KEYS {
        put(engine, index, sequence).unwrap();
    }
}

fn check(engine: &Engine, sequence: u64) {
    for index in 0..KEYS {
        let found = engine.get(key(index).as_bytes()).unwrap().unwrap_or_else(|| panic!("key {index} is lost"));
        assert!(found.value == value_of(&key(index), sequence, LENGTH), "key {index} is not of {sequence}");
    }
    assert_eq!(engine.audit(&KeyRange::all()).unwrap().violations, Vec::<String>::new());
}

fn move_to(engine: &Engine, to: &str) -> Result<Moved, EngineError> {
    engine.move_range(&MoveRequest {
        range: KeyRange::all(),
        to: to.to_owned(),
        bytes_per_second: None,
        cancel: &Cancel::default(),
        progress: &|_| {},
    })
}

fn a_log_that_is_full_for_a_moment(devices: &Devices) -> Result<()> {
    let armed = Arc::new(AtomicBool::new(false));
    let (reached, here) = mpsc::channel();
    let (go, gone) = mpsc::channel();
    let (stop, gone) = (Arc::clone(&armed), Mutex::new(gone));
    let hook = move |point| {
        if point == CrashPoint::DropJournaled && stop.swap(false, Ordering::SeqCst) {
            reached.send(()).unwrap();
            gone.lock().unwrap().recv_timeout(LIMIT).unwrap();
        }
        Ok(())
    };
    let engine = open(devices, Environment { crash_hook: Some(Arc::new(hook)), ..Environment::system(1) });
    put_all(&engine, 1);
    move_to(&engine, "warm")?;
    armed.store(true, Ordering::SeqCst);
    // The journal says that the upper copies go; then the log takes neither their drop nor the end of the entry.
    let moved = std::thread::scope(|scope| -> Result<_> {
        let mover = scope.spawn(|| move_to(&engine, "cold"));
        here.recv_timeout(LIMIT)?;
        devices.fill("log", 0)?;
        go.send(())?;
        Ok(mover.join().unwrap())
    })?;
    assert!(moved.is_err(), "the drop did not fail: {moved:?}");
    devices.free("log")?;
    let start = Instant::now();
    loop {
        engine.refresh_space();
        match put(&engine, 0, 2) {
            Ok(_) => break,
            Err(error) => assert!(start.elapsed() < LIMIT, "writes do not go on: {}", chain(&error)),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    // Newer records come into the range of the entry.
    put_all(&engine, 2);
    move_to(&engine, "warm")?;
    check(&engine, 2);
    engine.close()?;
    let engine = open(devices, Environment::system(2));
    check(&engine, 2);
    engine.close()?;
    Ok(())
}

#[test]
fn what_came_into_a_range_after_its_move_ended_on_a_full_log_is_there_after_an_opening() {
    let name = "what_came_into_a_range_after_its_move_ended_on_a_full_log_is_there_after_an_opening";
    on_devices(name, Kind::Injected, &DEVICES, a_log_that_is_full_for_a_moment).unwrap();
}

fn a_folder_that_cannot_be_synced(devices: &Devices) -> Result<()> {
    let engine = open(devices, Environment::system(1));
    put_all(&engine, 1);
    let folder = devices.base().join("cold/data");
    devices.unsyncable(&folder, true)?;
    assert!(move_to(&engine, "cold").is_err());
    // The next sync may succeed without the name: nothing builds on it.
    assert!(matches!(engine.health(), Health::Failed { .. }), "{:?}", engine.health());
    devices.unsyncable(&folder, false)?;
    assert!(matches!(put(&engine, 0, 2), Err(EngineError::StorageFailed { .. })));
    for to in ["warm", "cold"] {
        let moved = move_to(&engine, to);
        assert!(matches!(moved, Err(EngineError::StorageFailed { .. })), "{moved:?}");
    }
    let emptied = engine.empty_tier("cold", &Cancel::default());
    assert!(matches!(emptied, Err(EngineError::StorageFailed { .. })), "{emptied:?}");
    check(&engine, 1);
    drop(engine);
    let engine = open(devices, Environment::system(2));
    check(&engine, 1);
    assert_eq!(move_to(&engine, "cold")?.records, KEYS as u64);
    check(&engine, 1);
    engine.close()?;
    Ok(())
}

#[test]
fn after_a_folder_could_not_be_synced_nothing_moves_and_nothing_is_written_until_the_store_is_reopened() {
    let name = "after_a_folder_could_not_be_synced_nothing_moves_and_nothing_is_written_until_the_store_is_reopened";
    on_devices(name, Kind::Injected, &DEVICES, a_folder_that_cannot_be_synced).unwrap();
}
