//! Which fault when: drawn from a seed before the run, so that the same seed gives the same faults.

use std::fmt;
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::rule::{Flow, Rule};

/// Something that goes wrong, and is put right later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A process is killed, and started again in the end.
    Kill {
        /// Which.
        process: usize,
    },
    /// A process is stopped, and continued in the end.
    Pause {
        /// Which.
        process: usize,
    },
    /// A link follows another rule, and passes everything in the end.
    Link {
        /// Which.
        link: usize,
        /// How.
        rule: Rule,
    },
    /// A process's wall clock is off, and right in the end.
    Clock {
        /// Which.
        process: usize,
        /// By how much.
        seconds: i64,
    },
}

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
#[derive(Debug, Clone)]
pub struct Palette {
    /// Processes there are.
    pub processes: usize,
    /// Links there are.
    pub links: usize,
    /// Of kills.
    pub kills: u32,
    /// Of pauses.
    pub pauses: u32,
    /// Of what happens to links.
    pub network: u32,
    /// Of clocks that jump.
    pub clocks: u32,
    /// The shortest and the longest fault.
    pub lasting: (Duration, Duration),
    /// The shortest and the longest time without a fault before each.
    pub quiet: (Duration, Duration),
}

/// Draws faults, one after the other, the last of them over before `length` is.
#[must_use]
pub fn schedule(seed: u64, length: Duration, palette: &Palette) -> Vec<Step> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut steps = Vec::new();
    let mut now = Duration::ZERO;
    loop {
        let begins = now + between(&mut random, palette.quiet);
        let lasts = between(&mut random, palette.lasting);
        let Some(fault) = draw(&mut random, palette) else { return steps };
        if begins + lasts > length || lasts.is_zero() {
            return steps;
        }
        steps.push(Step { begins, lasts, fault });
        now = begins + lasts;
    }
}

fn between(random: &mut ChaCha8Rng, (least, most): (Duration, Duration)) -> Duration {
    // Whole milliseconds: what is printed is what is done.
    let range = least.as_millis() as u64..=most.max(least).as_millis() as u64;
    Duration::from_millis(random.random_range(range))
}

fn draw(random: &mut ChaCha8Rng, palette: &Palette) -> Option<Fault> {
    let weight = |weight: u32, there: usize| if there == 0 { 0 } else { weight };
    let weights = [
        weight(palette.kills, palette.processes),
        weight(palette.pauses, palette.processes),
        weight(palette.network, palette.links),
        weight(palette.clocks, palette.processes),
    ];
    let total: u32 = weights.iter().sum();
    if total == 0 {
        return None;
    }
    let mut place = random.random_range(0..total);
    let kind = weights.iter().position(|weight| {
        let here = place < *weight;
        place = place.saturating_sub(*weight);
        here
    })?;
    Some(match kind {
        0 => Fault::Kill { process: random.random_range(0..palette.processes) },
        1 => Fault::Pause { process: random.random_range(0..palette.processes) },
        2 => Fault::Link { link: random.random_range(0..palette.links), rule: draw_rule(random) },
        _ => {
            let seconds = random.random_range(1..=3600);
            let back = random.random_bool(0.5);
            Fault::Clock {
                process: random.random_range(0..palette.processes),
                seconds: if back { -seconds } else { seconds },
            }
        }
    })
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
/// Blocks until the last is over; returns how many there were.
///
/// # Errors
/// The fault that could not be brought about or ended.
pub fn play<S: Surroundings>(
    steps: &[Step],
    surroundings: &mut S,
    mut say: impl FnMut(&str),
) -> Result<u64, PlayError<S::Error>> {
    let start = Instant::now();
    let mut played = 0;
    for Step { begins, lasts, fault } in steps {
        std::thread::sleep(begins.saturating_sub(start.elapsed()));
        say(&format!("{:8.3} s: {fault}, for {:.3} s", start.elapsed().as_secs_f64(), lasts.as_secs_f64()));
        surroundings.begin(fault).map_err(|source| PlayError { what: *fault, ending: false, source })?;
        std::thread::sleep(*lasts);
        surroundings.end(fault).map_err(|source| PlayError { what: *fault, ending: true, source })?;
        say(&format!("{:8.3} s: over", start.elapsed().as_secs_f64()));
        played += 1;
    }
    Ok(played)
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill { process } => write!(f, "kill of process {process}"),
            Self::Pause { process } => write!(f, "pause of process {process}"),
            Self::Link { link, rule } => write!(f, "{rule} on link {link}"),
            Self::Clock { process, seconds } => write!(f, "clock of process {process} off by {seconds} s"),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refuse => write!(f, "refusal"),
            Self::Carry { forward, back } if forward == back => write!(f, "{forward} both ways"),
            Self::Carry { forward, back } => write!(f, "{forward} forward and {back} back"),
        }
    }
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pass => write!(f, "passing"),
            Self::Delay(delay) => write!(f, "delay of {} ms", delay.as_millis()),
            Self::Slow { bytes } => write!(f, "{bytes} bytes a second"),
            Self::Hold => write!(f, "holding"),
        }
    }
}

#[cfg(test)]
#[path = "schedule_test.rs"]
mod tests;
