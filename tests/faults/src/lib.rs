//! Faults around processes, and schedules of them that a seed replays.
//!
//! - [`Link`]: a TCP proxy for one pair of addresses, whose [`Rule`] delays, holds, slows or refuses what passes.
//! - [`Crossing`]: a TCP proxy before one process, with a [`Rule`] for each address that connects.
//! - [`signal`]: stops, continues and kills a process by its id.
//! - [`FakeClock`]: a process whose wall clock jumps, by Debian's `faketime`.
//! - [`schedule()`]: which fault when, drawn from a seed; [`play`] brings it about and ends it, and says so.
//!
//! A pause, a held link and a jumped clock are faults of what surrounds a process; faults of its devices are in
//! `thermocline-power-loss`.

mod carry;
mod clock;
mod crossing;
mod fault;
mod link;
mod process;
mod rule;
mod schedule;

pub use clock::{ClockError, FakeClock};
pub use crossing::Crossing;
pub use fault::Fault;
pub use link::Link;
pub use process::{ProcessError, signal};
pub use rule::{Flow, Rule};
pub use rustix::process::Signal;
pub use schedule::{Palette, PlayError, Step, Surroundings, play, schedule};
