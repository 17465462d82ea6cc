//! Clients and faults beside each other, and the verdict over what the clients saw.

use std::path::{Path, PathBuf};
use std::time::Duration;

use thermocline_faults::{Palette, Surroundings, play, schedule};
use thermocline_histories::{Checker, Counts, Keys, Minimums, Plan, Store, Verdict, record};

use super::setting;

pub const CLIENTS: usize = 8;
/// Without a fault before the first and after the last.
const CALM: Duration = Duration::from_secs(2);
/// The longest a client waits between two calls.
const PAUSE: Duration = milliseconds(8);
/// What a run does in a second at the very least, on a machine that is busy with much else.
const LEAST_OPERATIONS_PER_SECOND: u64 = 50;

pub const fn milliseconds(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// The seed of everything that is drawn.
pub fn seed() -> u64 {
    setting("HISTORY_SEED", 20_260_101)
}

/// Clients, and the faults around their nodes.
pub struct Run {
    /// What it is called in what is printed.
    pub name: &'static str,
    /// How long it is, unless `HISTORY_SECONDS` says so.
    pub seconds: u64,
    /// What goes wrong.
    pub palette: Palette,
    /// Where the keys are.
    pub prefixes: Vec<String>,
}

/// What a run came to.
pub struct Ran<A> {
    pub verdict: Verdict,
    /// Operations, and faults of each kind.
    pub counts: Counts,
    /// In which no client was answered.
    pub longest_silence: Duration,
    /// What is around the nodes, and they themselves.
    pub around: A,
    /// What shows the verdict, but for `HISTORY_FOLDER`.
    folder: tempfile::TempDir,
}

impl Run {
    /// Keys under one prefix.
    pub fn new(name: &'static str, seconds: u64, palette: Palette) -> Self {
        Self { name, seconds, palette, prefixes: vec!["history/".to_owned()] }
    }

    /// Runs clients and faults beside each other and judges what the clients saw.
    pub async fn judged<S, A>(self, clients: Vec<S>, mut around: A) -> Ran<A>
    where
        S: Store,
        A: Surroundings + Send + 'static,
    {
        let Self { name, seconds, palette, prefixes } = self;
        let (seed, seconds) = (seed(), setting("HISTORY_SECONDS", seconds));
        println!("{name}: HISTORY_SEED={seed} HISTORY_SECONDS={seconds}");
        let length = Duration::from_secs(seconds);
        let steps = schedule(seed, length.saturating_sub(CALM), &palette);
        let mut least = Counts::of([("operations", LEAST_OPERATIONS_PER_SECOND * seconds)]);
        steps.iter().for_each(|step| least.note(step.fault.kind()));
        let faults = tokio::task::spawn_blocking(move || {
            let played = play(&steps, &mut around, |line| println!("{name}: {line}"));
            (around, played)
        });
        let keys = Keys { prefixes, each: 4, lifetime: Duration::from_secs(5) };
        let plan = Plan { seed, length, keys, pause: PAUSE, patience: Duration::from_secs(60) };
        let recorded = record(clients, &plan).await;
        let (around, played) = faults.await.unwrap();
        let (history, played) = (recorded.unwrap(), played.unwrap());
        let mut counts = Counts::of([("operations", history.completed() as u64)]);
        counts.extend(played);
        Minimums(least).check(&counts).unwrap();

        let longest_silence = Duration::from_nanos(history.longest_silence_ns());
        let folder = tempfile::tempdir().unwrap();
        let kept = std::env::var("HISTORY_FOLDER").map_or_else(|_| folder.path().to_owned(), PathBuf::from);
        std::fs::create_dir_all(&kept).unwrap();
        let file = kept.join(format!("{name}.jsonl"));
        history.write(&file).unwrap();
        let checker = Checker::build(Path::new(env!("CARGO_BIN_EXE_histories")).parent().unwrap()).unwrap();
        let verdict = checker.judge(&file).unwrap();
        println!("{name}: {verdict:?}; {counts}; no answer for {longest_silence:?} at most");
        Ran { verdict, counts, longest_silence, around, folder }
    }

    /// As [`Self::judged`], for what must be linearizable, and must have had faults.
    pub async fn must_be_linearizable<S, A>(self, clients: Vec<S>, around: A) -> (Counts, Duration, A)
    where
        S: Store,
        A: Surroundings + Send + 'static,
    {
        let Ran { verdict, counts, longest_silence, around, folder } = self.judged(clients, around).await;
        if !matches!(verdict, Verdict::Linearizable { .. }) {
            // It outlives the test.
            panic!("{verdict:?}; the folder {} is kept", folder.keep().display());
        }
        assert!(counts.clone().into_iter().count() > 1, "the run was too short for a fault");
        (counts, longest_silence, around)
    }
}

/// Nothing yet, for one process.
pub fn palette() -> Palette {
    Palette {
        processes: 1,
        lasting: (milliseconds(200), milliseconds(2500)),
        quiet: (milliseconds(500), milliseconds(2000)),
        ..Palette::default()
    }
}
