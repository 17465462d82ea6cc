//! `completion`: prints a script that completes commands and options.

use clap::CommandFactory;
use clap_complete::{Shell, generate};

use super::Ended;
use crate::{ExitCode, args::Arguments, context::Context};

/// `program` is the name under which a shell runs the binary.
pub(super) fn run(context: &Context, shell: Shell, program: &'static str) -> Ended {
    // A definition that has parsed carries the name it was called by, two words as a plugin, and cannot be generated from.
    let mut definition = Arguments::command().name(program);
    let mut script = Vec::new();
    generate(shell, &mut definition, program, &mut script);
    context.printer.text(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::Success)
}
