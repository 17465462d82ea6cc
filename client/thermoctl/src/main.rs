//! The binary: hands the command line to the library.

fn main() -> std::process::ExitCode {
    thermoctl::run(std::env::args_os().collect()).into()
}
