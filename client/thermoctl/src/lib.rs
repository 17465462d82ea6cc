//! The command line of Thermocline, also as `kubectl-thermocline`.
//!
//! Contract: standard output carries the answer alone, in the form that `-o` asks for; remarks, progress and errors
//! go to standard error; the exit code tells programs what happened ([`ExitCode`]). An error says what to do next.
//!
//! The library exists for the binary and for demonstrations, which reuse [`workload`].

mod answers;
pub mod args;
mod command;
mod context;
mod error;
mod exit_code;
mod home;
mod interrupt;
mod output;
mod top;
mod transfer;
pub mod workload;

use std::{ffi::OsString, io::Write, path::Path};

use clap::{CommandFactory, FromArgMatches};

pub use error::CommandError;
pub use exit_code::ExitCode;

/// The binary's own name.
const PROGRAM: &str = "thermoctl";
/// Its name as a plugin of kubectl.
const PLUGIN: &str = "kubectl-thermocline";

/// What to do about an argument that is no text.
const NOT_TEXT: &str = "
Arguments are UTF-8 text. Keys and values of other bytes are given as base64, with --base64.
";

/// Runs a command line, `arguments[0]` being the program's name, and returns how it ended.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    let plugin = is_kubectl_plugin(arguments.first());
    let mut definition = args::Arguments::command();
    if plugin {
        // As the person typed it: kubectl finds the plugin by its file's name.
        definition = definition.name(PLUGIN).bin_name("kubectl thermocline");
    }
    let parsed =
        definition.try_get_matches_from_mut(arguments).and_then(|matches| args::Arguments::from_arg_matches(&matches));
    let arguments = match parsed {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are printed by the same path and are no failure.
            let _ = error.print();
            if error.kind() == clap::error::ErrorKind::InvalidUtf8 {
                let _ = std::io::stderr().lock().write_all(NOT_TEXT.as_bytes());
            }
            return if error.exit_code() == 0 { ExitCode::Success } else { ExitCode::Usage };
        }
    };
    start_log(arguments.global.verbose);
    match command::run(arguments, if plugin { PLUGIN } else { PROGRAM }) {
        Ok(code) => code,
        Err(error) => {
            let _ = std::io::stderr().lock().write_all(error.report().as_bytes());
            error.exit_code()
        }
    }
}

fn is_kubectl_plugin(program: Option<&OsString>) -> bool {
    program
        .and_then(|program| Path::new(program).file_stem())
        .is_some_and(|name| name == PLUGIN || name == "kubectl_thermocline")
}

fn start_log(verbose: u8) {
    let level = match verbose {
        0 => tracing::Level::ERROR,
        1 => tracing::Level::INFO,
        _ => tracing::Level::DEBUG,
    };
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        // A line that cannot be written, such as on a full device, is left out; telling so there would be a panic.
        .log_internal_errors(false)
        .with_ansi(false)
        .without_time()
        .finish();
    // Fails only where an embedding program has a subscriber already, which then stays.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plugin_is_recognised_by_its_name() {
        for (name, expected) in
            [("/usr/bin/kubectl-thermocline", true), ("kubectl-thermocline", true), ("/usr/bin/thermoctl", false)]
        {
            assert_eq!(is_kubectl_plugin(Some(&OsString::from(name))), expected, "{name}");
        }
        assert!(!is_kubectl_plugin(None));
    }
}
