//! Which fault when: drawn from a seed before the run, so that the same seed gives the same faults.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::fault::Fault;
use crate::rule::{Flow, Rule};

/// One fault of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// When, from the start.
    pub begins: Duration,
    /// For how long.
    pub lasts: Duration,
    /// What.
    pub fault: Fault,
}

/// What may go wrong. Each weight is a share; one of 0 keeps a kind out.
#[derive(Debug, Clone, Default)]
pub struct Palette {
    /// Processes there are.
    pub processes: usize,
    /// Links there are.
    pub links: usize,
    /// Devices that each process has.
    pub devices: usize,
    /// Of kills.
    pub kills: u32,
    /// Of pauses.
    pub pauses: u32,
    /// Of what happens to links.
    pub network: u32,
    /// Of what happens between two processes.
    pub pairs: u32,
    /// Of what happens between one process and all others.
    pub islands: u32,
    /// Of clocks that jump.
    pub clocks: u32,
    /// Of full devices.
    pub full: u32,
    /// Of slow devices.
    pub slow: u32,
    /// The shortest and the longest fault. Most are short.
    pub lasting: (Duration, Duration),
    /// The shortest and the longest time without a fault before each.
    pub quiet: (Duration, Duration),
}

impl Palette {
    /// One of each fault that a round has: as many of a kind as its weight.
    fn round(&self, random: &mut ChaCha8Rng) -> Vec<Fault> {
        let weight = |weight: u32, there: usize, least: usize| if there < least { 0 } else { weight };
        let processes = self.processes;
        let on_devices = |share: u32| if self.devices == 0 { 0 } else { weight(share, processes, 1) };
        let mut faults = Vec::new();
        for _ in 0..weight(self.kills, processes, 1) {
            faults.push(Fault::Kill { process: random.random_range(0..processes) });
        }
        for _ in 0..weight(self.pauses, processes, 1) {
            faults.push(Fault::Pause { process: random.random_range(0..processes) });
        }
        for _ in 0..weight(self.network, self.links, 1) {
            faults.push(Fault::Link { link: random.random_range(0..self.links), rule: draw_rule(random) });
        }
        for _ in 0..weight(self.pairs, processes, 2) {
            let one = random.random_range(0..processes);
            let other = (one + random.random_range(1..processes)) % processes;
            faults.push(Fault::Between { one, other, rule: draw_rule(random) });
        }
        for _ in 0..weight(self.islands, processes, 2) {
            faults.push(Fault::Around { process: random.random_range(0..processes), rule: draw_rule(random) });
        }
        for _ in 0..weight(self.clocks, processes, 1) {
            let (seconds, back) = (random.random_range(1..=3600), random.random_bool(0.5));
            let seconds = if back { -seconds } else { seconds };
            faults.push(Fault::Clock { process: random.random_range(0..processes), seconds });
        }
        for _ in 0..on_devices(self.full) {
            let (process, device) = (random.random_range(0..processes), random.random_range(0..self.devices));
            faults.push(Fault::Full { process, device });
        }
        for _ in 0..on_devices(self.slow) {
            let (process, device) = (random.random_range(0..processes), random.random_range(0..self.devices));
            faults.push(Fault::Slow { process, device, bytes: random.random_range(20_000..=500_000) });
        }
        faults.shuffle(random);
        faults
    }
}

/// Draws faults, one after the other, the last of them over before `length` is. They come in rounds, so that a schedule of
/// some length has every kind.
#[must_use]
pub fn schedule(seed: u64, length: Duration, palette: &Palette) -> Vec<Step> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let (mut steps, mut round) = (Vec::new(), Vec::new());
    let mut now = Duration::ZERO;
    loop {
        if round.is_empty() {
            round = palette.round(&mut random);
        }
        let begins = now + between(&mut random, palette.quiet, 1);
        let lasts = between(&mut random, palette.lasting, 3);
        let Some(fault) = round.pop() else { return steps };
        if begins + lasts > length || lasts.is_zero() {
            return steps;
        }
        steps.push(Step { begins, lasts, fault });
        now = begins + lasts;
    }
}

/// A time between two others. `bend` is 1 where all are as likely; a larger one makes most of them short.
fn between(random: &mut ChaCha8Rng, (least, most): (Duration, Duration), bend: i32) -> Duration {
    let part = random.random::<f64>().powi(bend);
    let drawn = least + most.saturating_sub(least).mul_f64(part);
    // Whole milliseconds: what is printed is what is done.
    Duration::from_millis(drawn.as_millis() as u64)
}

fn draw_rule(random: &mut ChaCha8Rng) -> Rule {
    match random.random_range(0..6) {
        0 => Rule::CUT,
        1 => Rule::FORWARD_LOST,
        2 => Rule::BACK_LOST,
        3 => Rule::both(Flow::Delay(Duration::from_millis(random.random_range(20..=400)))),
        4 => Rule::both(Flow::Slow { bytes: random.random_range(2_000..=50_000) }),
        _ => Rule::Refuse,
    }
}

/// What brings faults about, around the processes of one test.
pub trait Surroundings {
    /// Why it could not.
    type Error: std::error::Error + Send + Sync + 'static;
    /// Brings it about.
    ///
    /// # Errors
    /// Why it could not.
    fn begin(&mut self, fault: &Fault) -> Result<(), Self::Error>;
    /// Puts it right again, which may take as long as a process needs to start.
    ///
    /// # Errors
    /// Why it could not.
    fn end(&mut self, fault: &Fault) -> Result<(), Self::Error>;
}

/// A schedule that could not be played.
#[derive(Debug, thiserror::Error)]
#[error("{what} could not be {}", if *ending { "ended" } else { "brought about" })]
pub struct PlayError<E: std::error::Error + 'static> {
    what: Fault,
    ending: bool,
    #[source]
    source: E,
}

/// Brings about each step at its time, or as soon as the one before it was put right, and prints what it does with `say`.
/// Blocks until the last is over; returns how many there were of each kind.
///
/// # Errors
/// The fault that could not be brought about or ended.
pub fn play<S: Surroundings>(
    steps: &[Step],
    surroundings: &mut S,
    mut say: impl FnMut(&str),
) -> Result<BTreeMap<&'static str, u64>, PlayError<S::Error>> {
    let start = Instant::now();
    let mut played = BTreeMap::new();
    for Step { begins, lasts, fault } in steps {
        std::thread::sleep(begins.saturating_sub(start.elapsed()));
        say(&format!("{:8.3} s: {fault}, for {:.3} s", start.elapsed().as_secs_f64(), lasts.as_secs_f64()));
        surroundings.begin(fault).map_err(|source| PlayError { what: *fault, ending: false, source })?;
        std::thread::sleep(*lasts);
        surroundings.end(fault).map_err(|source| PlayError { what: *fault, ending: true, source })?;
        say(&format!("{:8.3} s: over", start.elapsed().as_secs_f64()));
        *played.entry(fault.kind()).or_default() += 1;
    }
    Ok(played)
}

#[cfg(test)]
#[path = "schedule_test.rs"]
mod tests;
