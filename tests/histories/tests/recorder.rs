//! The whole of recording and judging, on a store in memory: an honest one, and ones that break one promise each.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use thermocline_histories::{Answer, Checker, History, Keys, Mutation, Plan, Request, Store, Verdict, record};

/// Which promise is broken, one time in twenty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lie {
    None,
    StaleRead,
    LostWrite,
    AppliedTwice,
    ForgottenDelete,
    TornBatch,
    IgnoredCondition,
}

/// A version, and the value; `None` where it was deleted.
type Write = (u64, Option<String>);

#[derive(Debug, Default)]
struct Memory {
    writes: HashMap<String, Vec<Write>>,
    version: u64,
    calls: u64,
}

#[derive(Debug, Clone)]
struct MemoryStore {
    memory: Arc<Mutex<Memory>>,
    lie: Lie,
}

impl Memory {
    fn last(&self, key: &str, back: usize) -> Write {
        let writes = self.writes.get(key).map_or(&[][..], Vec::as_slice);
        writes.len().checked_sub(1 + back).map_or((0, None), |place| writes[place].clone())
    }

    fn apply(&mut self, mutations: &[Mutation], version: u64) {
        for Mutation { key, value } in mutations {
            self.writes.entry(key.clone()).or_default().push((version, value.clone()));
        }
    }

    fn answer(&mut self, request: &Request, lie: Lie) -> Answer {
        self.calls += 1;
        let lies = |kind| lie == kind && self.calls.is_multiple_of(20);
        match request {
            Request::Get { key } => match self.last(key, usize::from(lies(Lie::StaleRead))) {
                (version, Some(value)) => Answer::Found { version, value },
                (_, None) => Answer::Absent,
            },
            Request::Write { expected, mutations } => {
                let (version, value) = self.last(&mutations[0].key, 0);
                let actual = if value.is_some() { version } else { 0 };
                if expected.is_some_and(|expected| expected != actual) && !lies(Lie::IgnoredCondition) {
                    return Answer::ConditionFailed { actual };
                }
                let (lost, twice, torn) = (lies(Lie::LostWrite), lies(Lie::AppliedTwice), lies(Lie::TornBatch));
                let forgotten = lies(Lie::ForgottenDelete);
                self.version += 1;
                let version = self.version;
                let kept: Vec<Mutation> = mutations
                    .iter()
                    .take(if torn { 1 } else { mutations.len() })
                    .filter(|mutation| !lost && (mutation.value.is_some() || !forgotten))
                    .cloned()
                    .collect();
                self.apply(&kept, version);
                if twice {
                    self.version += 1;
                    self.apply(&kept, self.version);
                }
                Answer::Written { version }
            }
        }
    }
}

impl Store for MemoryStore {
    async fn call(&self, request: &Request) -> Answer {
        tokio::time::sleep(Duration::from_millis(1)).await;
        let (answer, number) = {
            let mut memory = self.memory.lock().unwrap();
            (memory.answer(request, self.lie), memory.calls)
        };
        tokio::time::sleep(Duration::from_millis(1)).await;
        let write = matches!(request, Request::Write { .. });
        // What happened is not always told.
        if write && number.is_multiple_of(50) { Answer::Unknown } else { answer }
    }
}

fn recorded(lie: Lie) -> History {
    let store = MemoryStore { memory: Arc::default(), lie };
    let plan = Plan {
        seed: 11,
        length: Duration::from_secs(2),
        keys: Keys { prefixes: vec!["k/".to_owned()], each: 3, lifetime: Duration::from_secs(1) },
        pause: Duration::from_millis(1),
        patience: Duration::from_secs(10),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(record(vec![store; 6], &plan)).unwrap()
}

fn verdict(history: &History) -> Verdict {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("history.jsonl");
    history.write(&file).unwrap();
    assert_eq!(&History::read(&file).unwrap(), history);
    Checker::build(Path::new(env!("CARGO_BIN_EXE_histories")).parent().unwrap()).unwrap().judge(&file).unwrap()
}

#[test]
fn an_honest_store_whose_answers_get_lost_is_linearizable() {
    let history = recorded(Lie::None);
    assert!(history.completed() > 1000 && history.open() > 10, "{} and {}", history.completed(), history.open());
    let verdict = verdict(&history);
    assert!(matches!(verdict, Verdict::Linearizable { .. }), "{verdict:?}");
}

#[test]
fn a_store_that_breaks_any_of_its_promises_is_caught() {
    for lie in
        [Lie::StaleRead, Lie::LostWrite, Lie::AppliedTwice, Lie::ForgottenDelete, Lie::TornBatch, Lie::IgnoredCondition]
    {
        let verdict = verdict(&recorded(lie));
        assert!(matches!(verdict, Verdict::Violation { .. }), "{lie:?}: {verdict:?}");
    }
}
