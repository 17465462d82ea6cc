//! A node that is killed before each of its writes in turn: of its log, of what is applied, of a snapshot that is installed.

mod hosts;
mod machines;
mod process;
pub mod stopping;
