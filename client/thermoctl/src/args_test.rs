//! The command line as a contract: its commands, conflicts and help.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use clap::{CommandFactory, error::ErrorKind};

use super::*;

fn parse(line: &str) -> Result<Arguments, clap::Error> {
    Arguments::try_parse_from(line.split(' '))
}

#[test]
fn the_definition_is_consistent() {
    Arguments::command().debug_assert();
}

#[test]
fn the_commands_are_those_that_scripts_rely_on() {
    let command = Arguments::command();
    let names: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
    assert_eq!(
        names,
        [
            "put",
            "get",
            "del",
            "scan",
            "import",
            "export",
            "heat",
            "explain",
            "tiers",
            "shards",
            "policy",
            "move",
            "moves",
            "bench",
            "top",
            "simulate",
            "local",
            "demo",
            "apply",
            "describe",
            "delete",
            "drain",
            "validate",
            "completion"
        ]
    );
}

/// One line per command and option: a change of the command line shows here.
fn outline(command: &clap::Command, path: &str, lines: &mut Vec<String>) {
    for argument in command.get_arguments().filter(|argument| !argument.is_global_set()) {
        let name = argument.get_long().map_or_else(
            || format!("<{}>", argument.get_id()),
            |long| argument.get_short().map_or_else(|| format!("--{long}"), |short| format!("-{short} --{long}")),
        );
        let default: Vec<_> = argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        let default = if default.is_empty() { String::new() } else { format!(" = {}", default.join(",")) };
        lines.push(format!("{path} {name}{default}"));
    }
    for child in command.get_subcommands() {
        outline(child, &format!("{path} {}", child.get_name()), lines);
    }
}

#[test]
fn the_outline_of_the_command_line_is_the_committed_one() {
    let mut lines = Vec::new();
    outline(&Arguments::command(), "thermoctl", &mut lines);
    let actual = lines.join("\n") + "\n";
    if std::env::var_os("THERMOCTL_UPDATE_OUTLINE").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/src/args_outline.txt"), &actual).unwrap();
    }
    let expected = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/args_outline.txt")).unwrap();
    assert_eq!(actual, expected, "set THERMOCTL_UPDATE_OUTLINE=1 to accept the new outline");
}

#[test]
fn global_options_may_stand_before_and_after_the_command() {
    let before = parse("thermoctl -o json --timeout 2s tiers").unwrap();
    let after = parse("thermoctl tiers -o json --timeout 2s").unwrap();
    for arguments in [before, after] {
        assert_eq!(arguments.global.output, Format::Json);
        assert_eq!(arguments.global.timeout, Duration::from_secs(2));
    }
}

#[test]
fn what_does_not_fit_together_is_refused() {
    for line in [
        "thermoctl put a b --if-absent --if-version 3",
        "thermoctl scan --prefix a --start b",
        "thermoctl import f --resume --restart",
        "thermoctl export f --resume --overwrite",
        "thermoctl bench ycsb-a --duration 3s --operations 4",
        "thermoctl simulate --file f --nodes 3",
    ] {
        assert_eq!(parse(line).unwrap_err().kind(), ErrorKind::ArgumentConflict, "{line}");
    }
    assert_eq!(parse("thermoctl import f --batch 0").unwrap_err().kind(), ErrorKind::ValueValidation);
    assert_eq!(parse("thermoctl move --prefix a").unwrap_err().kind(), ErrorKind::MissingRequiredArgument);
}

#[test]
fn usage_errors_have_the_documented_exit_code() {
    assert_eq!(parse("thermoctl nonsense").unwrap_err().exit_code(), crate::ExitCode::Usage as i32);
}

#[test]
fn values_may_begin_with_a_hyphen() {
    let Command::Put(put) = parse("thermoctl put a -5").unwrap().command else {
        panic!("not a put");
    };
    assert_eq!(put.value, "-5");
}

#[test]
fn the_help_documents_the_exit_codes() {
    let help = Arguments::command().render_long_help().to_string();
    assert!(help.contains("Exit codes:"));
}
