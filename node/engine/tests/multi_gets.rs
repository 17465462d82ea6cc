//! Reading many keys at once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use support::{move_all, open, put};
use thermocline_engine::*;

fn key(number: usize) -> Vec<u8> {
    format!("key{number:05}").into_bytes()
}

#[test]
fn large_multi_gets_answer_in_the_order_asked_however_many_callers_there_are() {
    const KEYS: usize = 4000;
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), 3);
    for number in 0..KEYS {
        put(&engine, &key(number), format!("value {number}").as_bytes());
        // A third lies in the slowest tier, a third in the fastest, a third is gone.
        if number == KEYS / 3 {
            move_all(&engine, "cold");
        }
    }
    for number in (0..KEYS).filter(|number| number % 3 == 0) {
        engine.delete(&key(number), Durability::Wal).unwrap();
    }
    // Each asks for the same keys in an order of its own, more of them than one thread is worth.
    std::thread::scope(|scope| {
        for caller in 0..4 {
            let engine = &engine;
            scope.spawn(move || {
                for round in 0..20 {
                    let asked: Vec<usize> =
                        (0..2000).map(|n| (n * 1999 + caller * 31 + round * 7) % (KEYS + 500)).collect();
                    let keys: Vec<Vec<u8>> = asked.iter().map(|number| key(*number)).collect();
                    for (number, found) in asked.iter().zip(engine.multi_get(&keys).unwrap()) {
                        let there = *number < KEYS && number % 3 != 0;
                        let expected = there.then(|| format!("value {number}").into_bytes());
                        assert_eq!(found.map(|record| record.value.to_vec()), expected, "{number}");
                    }
                }
            });
        }
    });
}

#[test]
fn a_multi_get_with_a_bound_answers_the_first_keys_until_their_values_fill_it() {
    const LARGEST: usize = MAX_VALUE_BYTES;
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), 2);
    let absent: Vec<Vec<u8>> = (0..100).map(|number| format!("absent{number}").into_bytes()).collect();
    let large: Vec<Vec<u8>> = (0..6).map(key).collect();
    for (number, key) in large.iter().enumerate() {
        put(&engine, key, &vec![number as u8; LARGEST]);
    }
    let answered = |keys: &[Vec<u8>], bytes| {
        let records = engine.multi_get_within(keys, bytes).unwrap();
        for (key, record) in keys.iter().zip(&records) {
            let place = large.iter().position(|known| known == key);
            assert_eq!(record.as_ref().map(|record| usize::from(record.value[0])), place);
        }
        records.len()
    };
    assert_eq!(answered(&large, 3 * LARGEST), 3);
    assert_eq!(answered(&large, 3 * LARGEST + 1), 4, "one value more fills it");
    assert_eq!(answered(&large, 0), 1, "at least one, or nobody would come to the end");
    assert_eq!(answered(&large, usize::MAX), large.len());
    assert_eq!(answered(&absent, 1), absent.len(), "what is not there fills nothing");
    let late = [absent, large.clone()].concat();
    assert_eq!(answered(&late, 2 * LARGEST), 102, "nor does it make the bound wider");
    assert_eq!(answered(&[], 1), 0);
}
