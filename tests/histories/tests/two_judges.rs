//! The fast judge and the plain one agree about small histories, right and wrong ones.
//!
//! `HISTORY_SEED` begins elsewhere, `HISTORY_CASES` tries more.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use thermocline_histories::{Action, Checker, History, Operation, Outcome, Verdict, linearizable};

fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap())
}

/// A history of one key that is right, but for one answer changed in half of them.
fn drawn(random: &mut ChaCha8Rng) -> Vec<Operation> {
    let (mut version, mut value) = (0, None::<String>);
    let mut operations = Vec::new();
    for number in 0..random.random_range(3..9_u64) {
        // Each takes effect at its own moment; the times around it overlap those of its neighbours.
        let moment = 100 + number * 10;
        let (call_ns, ret_ns) = (moment - random.random_range(0..25), moment + random.random_range(0..25));
        let actual = if value.is_some() { version } else { 0 };
        let expected = if random.random_bool(0.7) { actual } else { random.random_range(0..=version + 1) };
        let new = format!("v{number}");
        let action = match random.random_range(0..6) {
            0 | 1 => Action::Get {},
            2 => Action::Put { value: new },
            3 => Action::Delete {},
            4 => Action::PutIf { expected, value: new },
            _ => Action::DeleteIf { expected },
        };
        let open = random.random_bool(0.3);
        let happened = !open || random.random_bool(0.6);
        let result = match &action {
            Action::Get {} => value.clone().map_or(Outcome::Absent, |value| Outcome::Found { version, value }),
            Action::PutIf { expected, .. } | Action::DeleteIf { expected } if *expected != actual => {
                Outcome::ConditionFailed { actual }
            }
            Action::Put { value: new } | Action::PutIf { value: new, .. } => {
                if happened {
                    (version, value) = (version + random.random_range(1..3), Some(new.clone()));
                }
                Outcome::Written { version }
            }
            Action::Delete {} | Action::DeleteIf { .. } => {
                if happened {
                    (version, value) = (version + random.random_range(1..3), None);
                }
                Outcome::Written { version }
            }
        };
        let open = open && action != Action::Get {};
        let (result, ret_ns) = if open { (None, None) } else { (Some(result), Some(ret_ns)) };
        operations.push(Operation {
            client: number as u32,
            key: "k".to_owned(),
            action,
            result,
            call_ns,
            ret_ns,
            batch: None,
        });
    }
    if random.random_bool(0.5) {
        let place = random.random_range(0..operations.len());
        operations[place].result = operations[place].result.take().map(|result| changed(result, random));
    }
    operations
}

fn changed(result: Outcome, random: &mut ChaCha8Rng) -> Outcome {
    let by = random.random_range(1..3);
    match result {
        Outcome::Found { version, .. } if random.random_bool(0.5) => {
            Outcome::Found { version, value: format!("v{}", random.random_range(0..9)) }
        }
        Outcome::Found { version, value } => Outcome::Found { version: version + by, value },
        Outcome::Absent => Outcome::Found { version: by, value: format!("v{}", random.random_range(0..9)) },
        Outcome::Written { version } => Outcome::Written { version: version + by },
        Outcome::ConditionFailed { actual } => Outcome::ConditionFailed { actual: actual + by },
    }
}

#[test]
fn two_judges_that_were_written_differently_agree() {
    let (seed, cases) = (setting("HISTORY_SEED", 1), setting("HISTORY_CASES", 300));
    println!("HISTORY_SEED={seed} HISTORY_CASES={cases}");
    let checker = Checker::build(Path::new(env!("CARGO_BIN_EXE_histories")).parent().unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("history.jsonl");
    let (mut right, mut wrong, mut open) = (0, 0, 0);
    for case in 0..cases {
        let mut random = ChaCha8Rng::seed_from_u64(seed.wrapping_add(case));
        let history = History { operations: drawn(&mut random) };
        history.write(&file).unwrap();
        let plain = linearizable(&history.operations).unwrap();
        let fast = match checker.judge(&file) {
            Ok(verdict) => matches!(verdict, Verdict::Linearizable { .. }),
            // Only open reads, of which there are none, would leave nothing.
            Err(error) => panic!("case {case}: {error}"),
        };
        let text = std::fs::read_to_string(&file).unwrap();
        assert_eq!(plain, fast, "case {case} of seed {seed}: plain, then fast:\n{text}");
        right += u32::from(plain);
        wrong += u32::from(!plain);
        open += history.open();
    }
    println!("{right} right, {wrong} wrong, {open} open operations");
    let least = cases / 10;
    assert!(u64::from(right) > least && u64::from(wrong) > least && open as u64 > least);
}
