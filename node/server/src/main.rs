//! The storage node's process: command line in, exit code out. See [`thermocline_node`] for what is in between.

use std::process::ExitCode;

use clap::Parser;
use thermocline_node::args::Args;
use thermocline_node::process;

fn main() -> ExitCode {
    process::run(&Args::parse()).into()
}
