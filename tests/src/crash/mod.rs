//! Crashes of the engine: a process under load that notes every promise the engine makes, and the check of those promises
//! after the process was killed or its machine lost power.
//!
//! - [`store`]: the small three-tier store that all of these tests use;
//! - [`history`]: what a writer intended and what it was promised, written before it goes on;
//! - [`zone`]: a range that is filled, exported, wiped and installed, and what it may hold after a crash;
//! - [`check`]: the promises against the reopened store;
//! - [`process`]: the writing process as its parent sees it.

pub mod check;
pub mod history;
pub mod process;
pub mod store;
pub mod zone;
