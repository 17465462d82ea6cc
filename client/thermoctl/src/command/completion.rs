//! `completion`: prints a script that completes commands and options.

use clap_complete::{Shell, generate};

use super::Ended;
use crate::{ExitCode, context::Context};

pub(super) fn run(context: &Context, shell: Shell, mut definition: clap::Command) -> Ended {
    let name = definition.get_name().to_owned();
    let mut script = Vec::new();
    generate(shell, &mut definition, name, &mut script);
    context.printer.text(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::Success)
}
