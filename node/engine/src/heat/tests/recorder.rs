use std::collections::HashSet;

use super::key;
use crate::heat::{AccessKind, HeatRecorder, ServedBy};

fn drained(recorder: &HeatRecorder) -> Vec<crate::heat::AccessEvent> {
    let mut events = Vec::new();
    recorder.drain(&mut events);
    events
}

#[test]
fn sampling_is_fair_and_replayable() {
    let sample = |seed| {
        let recorder = HeatRecorder::new(8, 1 << 20, seed);
        for number in 0..80_000 {
            recorder.record_read(&key(number), 100, ServedBy::Cache);
        }
        drained(&recorder)
    };
    let events = sample(1);
    assert!((9_500..10_500).contains(&events.len()), "{}", events.len());
    assert!(events.iter().all(|event| event.weight == 8));
    assert_eq!(events, sample(1));
    assert_ne!(events, sample(2));
}

#[test]
fn a_loop_over_as_many_keys_as_the_gap_samples_all_of_them() {
    let recorder = HeatRecorder::new(8, 1 << 20, 3);
    for step in 0..8000 {
        recorder.record_read(&key(step % 8), 100, ServedBy::Tier(2));
    }
    let seen: HashSet<Box<[u8]>> = drained(&recorder).into_iter().map(|event| event.key).collect();
    assert_eq!(seen.len(), 8);
}

#[test]
fn one_in_one_records_everything_in_order() {
    let recorder = HeatRecorder::new(1, 100, 4);
    recorder.record_read(b"a", 10, ServedBy::Tier(1));
    recorder.record_write(b"b", 20);
    let events = drained(&recorder);
    assert_eq!(events.len(), 2);
    assert_eq!(
        (&*events[0].key, events[0].kind, events[0].bytes),
        (&b"a"[..], AccessKind::Read(ServedBy::Tier(1)), 10)
    );
    assert_eq!((&*events[1].key, events[1].kind, events[1].bytes), (&b"b"[..], AccessKind::Write, 20));
    assert!(drained(&recorder).is_empty());
}

#[test]
fn a_full_ring_drops_and_counts() {
    let recorder = HeatRecorder::new(1, 10, 5);
    for number in 0..25 {
        recorder.record_write(&key(number), 1);
    }
    assert_eq!(recorder.dropped(), 15);
    assert_eq!(drained(&recorder).len(), 10);
}

#[test]
fn threads_and_drains_together_lose_nothing_uncounted() {
    let recorder = HeatRecorder::new(1, 500, 6);
    let mut events = Vec::new();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let recorder = &recorder;
            scope.spawn(move || {
                for number in 0..10_000 {
                    recorder.record_read(&key(thread * 10_000 + number), 1, ServedBy::Tier(0));
                }
            });
        }
        for _ in 0..100 {
            recorder.drain(&mut events);
        }
    });
    recorder.drain(&mut events);
    assert_eq!(events.len() as u64 + recorder.dropped(), 40_000);
}
