//! Clients and faults beside each other, and the verdict over what the clients saw.

use std::path::{Path, PathBuf};
use std::time::Duration;

use thermocline_client::Client;
use thermocline_faults::{Palette, Surroundings, play, schedule};
use thermocline_histories::{Checker, Counts, Keys, Minimums, Plan, Verdict, record};

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

/// Clients, and the faults around their node.
pub struct Run {
    /// What it is called in what is printed.
    pub name: &'static str,
    /// How long it is, unless `HISTORY_SECONDS` says so.
    pub seconds: u64,
    /// What goes wrong.
    pub palette: Palette,
}

impl Run {
    /// Runs clients and faults beside each other and judges what the clients saw. The folder holds what shows it, but for
    /// `HISTORY_FOLDER`.
    pub async fn judged<A>(self, clients: Vec<Client>, mut around: A) -> (Verdict, tempfile::TempDir)
    where
        A: Surroundings + Send + 'static,
    {
        let Self { name, seconds, palette } = self;
        let seed = setting("HISTORY_SEED", 20_260_101);
        let seconds = setting("HISTORY_SECONDS", seconds);
        println!("{name}: HISTORY_SEED={seed} HISTORY_SECONDS={seconds}");
        let length = Duration::from_secs(seconds);
        let steps = schedule(seed, length.saturating_sub(CALM), &palette);
        assert!(!steps.is_empty(), "{seconds} seconds are too short for a fault");
        let least = Minimums(Counts {
            operations: LEAST_OPERATIONS_PER_SECOND * seconds,
            faults: steps.len() as u64,
            ..Counts::default()
        });
        let faults = tokio::task::spawn_blocking(move || {
            let played = play(&steps, &mut around, |line| println!("{name}: {line}"));
            (around, played)
        });
        let keys = Keys { prefixes: vec!["history/".to_owned()], each: 4, lifetime: Duration::from_secs(5) };
        let plan = Plan { seed, length, keys, pause: PAUSE, patience: Duration::from_secs(60) };
        let recorded = record(clients, &plan).await;
        let (around, played) = faults.await.unwrap();
        let (history, faults) = (recorded.unwrap(), played.unwrap());
        drop(around);
        least.check(&Counts { operations: history.completed() as u64, faults, ..Counts::default() }).unwrap();

        let temporary = tempfile::tempdir().unwrap();
        let folder = std::env::var("HISTORY_FOLDER").map_or_else(|_| temporary.path().to_owned(), PathBuf::from);
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join(format!("{name}.jsonl"));
        history.write(&file).unwrap();
        let checker = Checker::build(Path::new(env!("CARGO_BIN_EXE_histories")).parent().unwrap()).unwrap();
        let verdict = checker.judge(&file).unwrap();
        println!("{name}: {verdict:?}; {faults} faults");
        (verdict, temporary)
    }

    /// As [`Self::judged`], for what must be linearizable.
    pub async fn must_be_linearizable<A>(self, clients: Vec<Client>, around: A)
    where
        A: Surroundings + Send + 'static,
    {
        let (verdict, folder) = self.judged(clients, around).await;
        if !matches!(verdict, Verdict::Linearizable { .. }) {
            // It outlives the test.
            panic!("{verdict:?}; the folder {} is kept", folder.keep().display());
        }
    }
}

/// Nothing yet, for one process.
pub fn palette() -> Palette {
    Palette {
        processes: 1,
        links: 0,
        kills: 0,
        pauses: 0,
        network: 0,
        clocks: 0,
        lasting: (milliseconds(200), milliseconds(2500)),
        quiet: (milliseconds(500), milliseconds(2000)),
    }
}
