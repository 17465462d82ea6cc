//! What the checker makes of small histories: right ones, broken ones, and ones that say nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;
use std::sync::OnceLock;

use thermocline_histories::{Action, Checker, History, Operation, Outcome, Verdict};

/// A history of one key, in the order of calls.
struct Told(Vec<Operation>);

impl Told {
    fn new() -> Self {
        Self(Vec::new())
    }

    fn add(mut self, (call_ns, ret_ns): (u64, u64), action: Action, result: Outcome) -> Self {
        let client = self.0.len() as u32;
        let (result, ret_ns) = (Some(result), Some(ret_ns));
        self.0.push(Operation { client, key: "k".to_owned(), action, result, call_ns, ret_ns, batch: None });
        self
    }

    fn open(mut self, call_ns: u64, action: Action) -> Self {
        let client = self.0.len() as u32;
        self.0.push(Operation {
            client,
            key: "k".to_owned(),
            action,
            result: None,
            call_ns,
            ret_ns: None,
            batch: None,
        });
        self
    }

    /// Makes the last operation a part of a batch, of another key.
    fn of_batch(mut self, batch: u64, key: &str) -> Self {
        let last = self.0.last_mut().unwrap();
        last.batch = Some(batch);
        last.key = key.to_owned();
        self
    }

    fn judged(self) -> Verdict {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("history.jsonl");
        History { operations: self.0 }.write(&file).unwrap();
        let verdict = checker().judge(&file).unwrap();
        if let Verdict::Violation { picture, .. } = &verdict {
            let html = std::fs::read_to_string(picture).unwrap();
            assert!(html.contains("<html"), "a violation is drawn");
        }
        verdict
    }

    fn proves_right(self) {
        let verdict = self.judged();
        assert!(matches!(verdict, Verdict::Linearizable { .. }), "{verdict:?}");
    }

    fn proves_wrong(self) {
        let verdict = self.judged();
        assert!(matches!(verdict, Verdict::Violation { .. }), "{verdict:?}");
    }
}

fn checker() -> &'static Checker {
    static BUILT: OnceLock<Checker> = OnceLock::new();
    BUILT.get_or_init(|| Checker::build(Path::new(env!("CARGO_BIN_EXE_histories")).parent().unwrap()).unwrap())
}

fn put(value: &str) -> Action {
    Action::Put { value: value.to_owned() }
}

fn put_if(expected: u64, value: &str) -> Action {
    Action::PutIf { expected, value: value.to_owned() }
}

const GET: Action = Action::Get {};
const DELETE: Action = Action::Delete {};

fn found(version: u64, value: &str) -> Outcome {
    Outcome::Found { version, value: value.to_owned() }
}

const fn written(version: u64) -> Outcome {
    Outcome::Written { version }
}

const fn failed(actual: u64) -> Outcome {
    Outcome::ConditionFailed { actual }
}

#[test]
fn operations_one_after_the_other_and_at_once_are_right() {
    Told::new()
        .add((0, 1), GET, Outcome::Absent)
        .add((2, 3), put_if(0, "a"), written(5))
        .add((4, 9), put("b"), written(7))
        .add((4, 9), GET, found(5, "a"))
        .add((5, 9), GET, found(7, "b"))
        .add((10, 11), put_if(5, "c"), failed(7))
        .add((12, 13), Action::DeleteIf { expected: 7 }, written(8))
        .add((14, 15), put_if(7, "d"), failed(0))
        .add((16, 17), GET, Outcome::Absent)
        .proves_right();
}

#[test]
fn a_stale_read_is_a_violation() {
    Told::new()
        .add((0, 1), put("a"), written(1))
        .add((2, 3), put("b"), written(2))
        .add((4, 5), GET, found(1, "a"))
        .proves_wrong();
}

#[test]
fn a_read_that_goes_back_behind_another_read_is_a_violation() {
    let history = || Told::new().add((0, 1), put("a"), written(1)).add((2, 20), put("b"), written(2));
    history().add((3, 4), GET, found(2, "b")).add((5, 6), GET, found(1, "a")).proves_wrong();
    history().add((3, 4), GET, found(1, "a")).add((5, 6), GET, found(2, "b")).proves_right();
}

#[test]
fn an_acknowledged_write_that_is_gone_is_a_violation() {
    Told::new().add((0, 1), put("a"), written(1)).add((2, 3), GET, Outcome::Absent).proves_wrong();
    Told::new()
        .add((0, 1), put("a"), written(1))
        .add((2, 3), put("b"), written(2))
        .add((4, 5), put_if(2, "c"), failed(1))
        .proves_wrong();
}

#[test]
fn a_deleted_record_that_comes_back_is_a_violation() {
    Told::new()
        .add((0, 1), put("a"), written(1))
        .add((2, 3), DELETE, written(2))
        .add((4, 5), GET, found(1, "a"))
        .proves_wrong();
}

#[test]
fn a_write_that_was_applied_a_second_time_is_a_violation() {
    let overwritten = || Told::new().add((0, 1), put("a"), written(1)).add((2, 3), put("b"), written(2));
    overwritten().add((4, 5), GET, found(3, "a")).proves_wrong();
    // The same where nobody was told of the first time.
    Told::new()
        .open(0, put("a"))
        .add((1, 2), GET, found(1, "a"))
        .add((3, 4), put("b"), written(2))
        .add((5, 6), GET, found(3, "a"))
        .proves_wrong();
}

#[test]
fn a_conditional_write_that_was_applied_a_second_time_is_a_violation() {
    let first = || Told::new().add((0, 1), put("a"), written(1)).add((2, 3), put_if(1, "b"), written(2));
    first().add((4, 5), put("c"), written(3)).add((6, 7), GET, found(4, "b")).proves_wrong();
    // It answered that its condition failed, for it met its own first.
    Told::new()
        .add((0, 1), put("a"), written(1))
        .add((2, 3), put_if(1, "b"), failed(2))
        .add((4, 5), GET, found(2, "b"))
        .proves_wrong();
}

#[test]
fn two_conditional_writes_at_one_version_that_both_hold_are_a_violation() {
    Told::new()
        .add((0, 1), put("a"), written(1))
        .add((2, 9), put_if(1, "b"), written(2))
        .add((2, 9), put_if(1, "c"), written(3))
        .proves_wrong();
}

#[test]
fn a_read_of_what_is_written_only_later_or_never_is_a_violation() {
    Told::new().add((0, 1), GET, found(1, "a")).add((2, 3), put("a"), written(1)).proves_wrong();
    Told::new().add((0, 1), GET, found(1, "a")).open(2, put("a")).proves_wrong();
    Told::new().add((0, 1), put("b"), written(1)).add((2, 3), GET, found(1, "a")).proves_wrong();
}

#[test]
fn versions_of_a_key_that_do_not_grow_are_a_violation() {
    Told::new().add((0, 1), put("a"), written(2)).add((2, 3), put("b"), written(2)).proves_wrong();
    Told::new().add((0, 1), put("a"), written(2)).add((2, 3), GET, found(3, "a")).proves_wrong();
    // A deletion that nobody was told of has taken a version too.
    let deleted = || Told::new().add((0, 1), put("a"), written(2)).open(2, DELETE).add((3, 4), GET, Outcome::Absent);
    deleted().add((5, 6), put("b"), written(4)).proves_right();
    deleted().add((5, 6), put("b"), written(3)).proves_wrong();
}

#[test]
fn a_write_of_unknown_outcome_may_take_effect_late_or_never() {
    let open = || Told::new().add((0, 1), put("a"), written(1)).open(2, put("b"));
    open().add((5, 6), GET, found(1, "a")).add((50, 60), GET, found(9, "b")).proves_right();
    open().add((5, 6), GET, found(1, "a")).proves_right();
    open().add((5, 6), put_if(1, "c"), failed(3)).proves_right();
    open().add((5, 6), put_if(1, "c"), failed(3)).add((7, 8), GET, found(1, "a")).proves_wrong();
    open().add((5, 6), GET, found(9, "b")).add((7, 8), GET, found(1, "a")).proves_wrong();
}

#[test]
fn a_conditional_write_of_unknown_outcome_takes_effect_only_where_its_condition_holds() {
    let open = |expected| Told::new().add((0, 1), put("a"), written(1)).open(2, put_if(expected, "b"));
    open(1).add((5, 6), GET, found(2, "b")).proves_right();
    open(7).add((5, 6), GET, found(2, "b")).proves_wrong();
    open(1).add((3, 4), put("c"), written(2)).add((5, 6), GET, found(3, "b")).proves_wrong();
}

#[test]
fn a_deletion_of_unknown_outcome_may_take_effect_late_or_never() {
    let open = || Told::new().add((0, 1), put("a"), written(1)).open(2, DELETE);
    open().add((5, 6), GET, found(1, "a")).add((7, 8), GET, Outcome::Absent).proves_right();
    open().add((5, 6), GET, found(1, "a")).proves_right();
    open().add((5, 6), GET, Outcome::Absent).add((7, 8), GET, found(1, "a")).proves_wrong();
}

#[test]
fn a_batch_of_unknown_outcome_takes_effect_in_all_its_parts_or_in_none() {
    let open = || {
        Told::new()
            .add((0, 1), put("a"), written(1))
            .of_batch(1, "other")
            .open(2, put("b"))
            .of_batch(2, "k")
            .open(2, put("c"))
            .of_batch(2, "other")
            .add((5, 6), GET, found(2, "b"))
    };
    let other = |history: Told, outcome| {
        let mut history = history.add((7, 8), GET, outcome);
        history.0.last_mut().unwrap().key = "other".to_owned();
        history
    };
    other(open(), found(2, "c")).proves_right();
    other(open(), found(1, "a")).proves_wrong();
    other(open(), found(3, "c")).proves_wrong();
}

#[test]
fn many_open_writes_do_not_keep_a_history_from_being_judged() {
    let mut history = Told::new().add((0, 1), put("a"), written(1));
    for number in 0..200 {
        history = history.open(2 + number, put(&format!("open {number}")));
    }
    for number in 0..200 {
        history = history.add((300 + number * 10, 301 + number * 10), GET, found(1, "a"));
    }
    history.proves_right();
}

#[test]
fn a_history_that_is_no_history_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |text: &str, why: &str| {
        let file = folder.path().join("history.jsonl");
        std::fs::write(&file, text).unwrap();
        let error = checker().judge(&file).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    };
    refused("", "holds no operation");
    refused("{\"client\":0", "operation 1");
    let line = |op: &str| format!(r#"{{"client":0,"key":"k",{op},"call_ns":5}}"#);
    refused(&line(r#""op":"append","args":{},"result":null,"ret_ns":null"#), "is not known");
    refused(&line(r#""op":"get","args":{},"result":{"kind":"absent"},"ret_ns":4"#), "before call_ns");
    refused(&line(r#""op":"get","args":{},"result":{"kind":"written","version":1},"ret_ns":6"#), "cannot be answered");
    let put = line(r#""op":"put","args":{"value":"a"},"result":null,"ret_ns":null"#);
    refused(&format!("{put}\n{put}\n"), "written twice");
}

#[test]
fn the_checker_can_be_built_by_several_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let build = || Checker::build(folder.path()).map(|_| ());
    std::thread::scope(|scope| {
        let builds: Vec<_> = (0..4).map(|_| scope.spawn(build)).collect();
        for built in builds {
            built.join().unwrap().unwrap();
        }
    });
}
