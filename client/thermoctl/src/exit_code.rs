//! The exit codes of `thermoctl`: a contract with scripts. They are documented in `thermoctl --help`.

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// Done.
    Success = 0,
    /// Failed; the message says why.
    Failed = 1,
    /// The command line or a file given to it is wrong; nothing was attempted.
    Usage = 2,
    /// The key or object does not exist.
    NotFound = 3,
    /// A condition did not hold; nothing was written.
    ConditionFailed = 4,
    /// Not reachable, too busy or not in time; nothing was changed, try again later.
    Unavailable = 5,
    /// An import or export stopped before its end; `--resume` continues it.
    Partial = 6,
    /// A write or another change may or may not have been made, or only a part of it was.
    OutcomeUnknown = 7,
    /// Stopped by Ctrl-C.
    Interrupted = 130,
}

/// The text under `--help`.
pub const EXIT_CODE_HELP: &str = "\
Exit codes:
    0  done
    1  failed
    2  wrong usage: command line, file or manifest
    3  not found
    4  a condition did not hold, nothing was written
    5  unavailable, too busy or out of time; nothing was changed
    6  an import or export stopped before its end; --resume continues it
    7  a change may or may not have been made, or a part of it was; the message says which
  130  interrupted";

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_names_every_code() {
        for code in [
            ExitCode::Success,
            ExitCode::Failed,
            ExitCode::Usage,
            ExitCode::NotFound,
            ExitCode::ConditionFailed,
            ExitCode::Unavailable,
            ExitCode::Partial,
            ExitCode::OutcomeUnknown,
            ExitCode::Interrupted,
        ] {
            let number = format!(" {} ", code as u8);
            assert!(EXIT_CODE_HELP.contains(&number), "{code:?}");
        }
    }
}
