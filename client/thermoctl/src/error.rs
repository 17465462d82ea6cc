//! Why a command failed, which exit code that is, and how a person reads it.

use std::{error::Error as StdError, fmt::Write as _, io, path::PathBuf};

use thermocline_client::{
    EndpointsError, Error as ClientError, ErrorKind,
    retry::{CallKind, Decision, Failure, decide},
};

use crate::{ExitCode, transfer::TransferError};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The command line does not fit together; the text says what is allowed.
    #[error("{0}")]
    Usage(String),
    /// No cluster was named and none was found.
    #[error(
        "no cluster is found: {looked_at} does not exist; start one with `thermoctl local up -f DIR`, or name one with --home DIR or --endpoints host:kvport:adminport"
    )]
    NoCluster {
        /// Where it was looked for.
        looked_at: String,
    },
    /// The endpoints cannot be used.
    #[error("the nodes of the cluster are not known")]
    Endpoints(#[from] EndpointsError),
    /// A data call failed.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A control call failed.
    #[error("{operation} at node {node} failed: {}{}", status_text(source), next_step(source))]
    Admin {
        /// The call.
        operation: &'static str,
        /// The node.
        node: String,
        /// Its answer.
        source: Box<tonic::Status>,
    },
    /// A control call was not answered.
    #[error(
        "{operation} at node {node} was not answered within {timeout:?}; see whether it runs, or allow more with --timeout"
    )]
    AdminDeadline {
        /// The call.
        operation: &'static str,
        /// The node.
        node: String,
        /// The time it had.
        timeout: std::time::Duration,
    },
    /// A control call that changes something and was not answered as if it had been refused.
    #[error("{source}; the change may or may not have been made, {look}")]
    ChangeUnknown {
        /// The failure.
        source: Box<Self>,
        /// Where to see.
        look: &'static str,
    },
    /// A command that did a part of what it was asked.
    #[error("{source}; but this was done: {done}")]
    PartlyDone {
        /// What was done.
        done: String,
        /// What stopped it.
        source: Box<Self>,
    },
    /// A condition on one key did not hold.
    #[error("{0}; nothing was written")]
    Condition(String),
    /// A key or object that does not exist.
    #[error("{0}")]
    NotFound(String),
    /// A move that did not complete.
    #[error("{0}")]
    Move(String),
    /// A file that cannot be read.
    #[error("reading {path:?} failed")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Something that cannot be written.
    #[error("writing {what} failed")]
    Write {
        /// A path, or the output.
        what: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A manifest that is not understood or not allowed.
    #[error("{what} is wrong:{}{detail}", if detail.starts_with('\n') { "" } else { " " })]
    Manifest {
        /// Which file or object.
        what: String,
        /// What is wrong and what is allowed.
        detail: String,
    },
    /// An answer that cannot be shown.
    #[error("encoding the answer failed")]
    Encode(#[source] Box<dyn StdError + Send + Sync>),
    /// An import or export that stopped.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// The local fleet refused or failed.
    #[error("{attempted} failed: {detail}")]
    Fleet {
        /// What was asked of it.
        attempted: String,
        /// Why, and what is allowed.
        detail: String,
        /// What kind of failure it was.
        code: ExitCode,
    },
}

fn status_text(status: &tonic::Status) -> String {
    if status.message().is_empty() { status.code().description().to_owned() } else { status.message().to_owned() }
}

/// What to do about a node that cannot be reached.
fn next_step(status: &tonic::Status) -> &'static str {
    match status.code() {
        tonic::Code::Unavailable => {
            "; see whether it runs (`thermoctl local status`), start a local fleet with `thermoctl local up -f DIR`"
        }
        _ => "",
    }
}

/// A status among causes, which errors hold in a box because of its size.
fn status_of<'a>(cause: &'a (dyn StdError + 'static)) -> Option<&'a tonic::Status> {
    let boxed = cause.downcast_ref::<Box<tonic::Status>>().map(AsRef::as_ref);
    boxed.or_else(|| cause.downcast_ref())
}

impl CommandError {
    /// Where writing to the output failed.
    pub(crate) fn output(source: io::Error) -> Self {
        Self::Write { what: "the output".to_owned(), source }
    }

    /// The failure of a control call that changes something: what may have been done is told so. `look` says where to see.
    #[must_use]
    pub(crate) fn of_change(self, look: &'static str) -> Self {
        let unknown = match &self {
            Self::Admin { source, .. } => decide(CallKind::Write, Failure::of(source)) == Decision::OutcomeUnknown,
            Self::AdminDeadline { .. } => true,
            _ => false,
        };
        if unknown { Self::ChangeUnknown { source: Box::new(self), look } } else { self }
    }

    /// How a command of several steps ended that has `done` some of them and failed at others.
    ///
    /// # Errors
    /// The failure to tell, with what was done; none where nothing failed.
    pub(crate) fn unless_all(done: &[String], failures: Vec<Self>) -> Result<(), Self> {
        // One that may have changed something weighs more than one that has not.
        match failures.into_iter().max_by_key(|failure| failure.exit_code() == ExitCode::OutcomeUnknown) {
            None => Ok(()),
            Some(failure) if done.is_empty() => Err(failure),
            Some(failure) => Err(Self::PartlyDone { done: done.join(", "), source: Box::new(failure) }),
        }
    }

    /// The exit code of this failure.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage(_) | Self::NoCluster { .. } | Self::Endpoints(_) | Self::Manifest { .. } => ExitCode::Usage,
            Self::Client(error) => client_code(error),
            Self::Admin { source, .. } => admin_code(source.code()),
            Self::AdminDeadline { .. } => ExitCode::Unavailable,
            Self::ChangeUnknown { .. } | Self::PartlyDone { .. } => ExitCode::OutcomeUnknown,
            Self::Condition(_) => ExitCode::ConditionFailed,
            Self::NotFound(_) => ExitCode::NotFound,
            // A file that was named and is not there: the command line is wrong.
            Self::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => ExitCode::Usage,
            Self::Move(_) | Self::Read { .. } | Self::Encode(_) => ExitCode::Failed,
            // A reader that has seen enough (`thermoctl scan | head`) is no failure.
            Self::Write { source, .. } if source.kind() == io::ErrorKind::BrokenPipe => ExitCode::Success,
            Self::Write { .. } => ExitCode::Failed,
            Self::Transfer(error) => error.exit_code(),
            Self::Fleet { code, .. } => *code,
        }
    }

    /// What a person reads: the failure, then each cause on a line of its own. Empty where nothing needs to be said.
    #[must_use]
    pub fn report(&self) -> String {
        let mut text = String::new();
        if self.exit_code() == ExitCode::Success {
            return text;
        }
        let mut last = self.to_string();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "error: {last}");
        let mut source = self.source();
        while let Some(cause) = source {
            // The text of a status names its code and its source in the notation of the program; both follow anyway.
            let shown = status_of(cause).map_or_else(|| cause.to_string(), status_text);
            // A transparent error repeats its source's text, and so does a status whose message is already shown.
            if !last.contains(&shown) {
                let _ = writeln!(text, "  because: {shown}");
                last = shown;
            }
            source = cause.source();
        }
        text
    }
}

const fn admin_code(code: tonic::Code) -> ExitCode {
    match code {
        tonic::Code::InvalidArgument => ExitCode::Usage,
        tonic::Code::NotFound => ExitCode::NotFound,
        tonic::Code::Unavailable
        | tonic::Code::DeadlineExceeded
        | tonic::Code::Cancelled
        | tonic::Code::ResourceExhausted => ExitCode::Unavailable,
        _ => ExitCode::Failed,
    }
}

pub(crate) fn client_code(error: &ClientError) -> ExitCode {
    match error.kind() {
        ErrorKind::InvalidInput => ExitCode::Usage,
        ErrorKind::ConditionFailed => ExitCode::ConditionFailed,
        ErrorKind::Unavailable => ExitCode::Unavailable,
        ErrorKind::OutcomeUnknown => ExitCode::OutcomeUnknown,
        ErrorKind::Failed => ExitCode::Failed,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_client_failure_has_its_exit_code() {
        let status = || Box::new(tonic::Status::unavailable("gone"));
        let cases = [
            (ClientError::EmptyBatch, ExitCode::Usage),
            (ClientError::ConditionFailed { index: 0, actual_version: None }, ExitCode::ConditionFailed),
            (
                ClientError::Unavailable { operation: "get", node: "a".into(), attempts: 2, source: status() },
                ExitCode::Unavailable,
            ),
            (
                ClientError::OutcomeUnknown { operation: "put", node: "a".into(), source: None },
                ExitCode::OutcomeUnknown,
            ),
            (
                ClientError::Refused {
                    operation: "get",
                    node: "a".into(),
                    source: Box::new(tonic::Status::data_loss("bad block")),
                },
                ExitCode::Failed,
            ),
            (
                ClientError::Refused {
                    operation: "get",
                    node: "a".into(),
                    source: Box::new(tonic::Status::invalid_argument("too long")),
                },
                ExitCode::Usage,
            ),
        ];
        for (error, code) in cases {
            let error = CommandError::from(error);
            assert_eq!(error.exit_code(), code, "{error}");
        }
    }

    #[test]
    fn a_control_call_that_may_have_changed_something_is_not_told_as_having_changed_nothing() {
        let answered = |code: tonic::Code| CommandError::Admin {
            operation: "set policy",
            node: "a".into(),
            source: Box::new(tonic::Status::new(code, "no")),
        };
        let late = || CommandError::AdminDeadline {
            operation: "set policy",
            node: "a".into(),
            timeout: std::time::Duration::from_secs(1),
        };
        assert_eq!(late().exit_code(), ExitCode::Unavailable, "of a call that only reads");
        for error in [late(), answered(tonic::Code::Unavailable), answered(tonic::Code::DeadlineExceeded)] {
            let error = error.of_change("see there");
            assert_eq!(error.exit_code(), ExitCode::OutcomeUnknown, "{error}");
            assert!(error.report().contains("may or may not") && error.report().contains("see there"), "{error}");
        }
        for (code, exit) in [
            (tonic::Code::NotFound, ExitCode::NotFound),
            (tonic::Code::InvalidArgument, ExitCode::Usage),
            (tonic::Code::ResourceExhausted, ExitCode::Unavailable),
        ] {
            assert_eq!(answered(code).of_change("see there").exit_code(), exit, "it was refused");
        }
        let refused = tonic::Status::from_error(Box::new(tonic::ConnectError("refused".into())));
        let not_sent = CommandError::Admin { operation: "set policy", node: "a".into(), source: Box::new(refused) };
        assert_eq!(not_sent.of_change("see there").exit_code(), ExitCode::Unavailable);
    }

    #[test]
    fn what_was_done_beside_a_failure_is_named_and_has_its_exit_code() {
        let gone = || CommandError::NotFound("gone".to_owned());
        assert!(CommandError::unless_all(&["a was deleted".to_owned()], Vec::new()).is_ok());
        let nothing = CommandError::unless_all(&[], vec![gone()]).unwrap_err();
        assert_eq!(nothing.exit_code(), ExitCode::NotFound);
        let partly = CommandError::unless_all(&["a was deleted".to_owned()], vec![gone()]).unwrap_err();
        assert_eq!(partly.exit_code(), ExitCode::OutcomeUnknown);
        assert!(partly.report().contains("gone") && partly.report().contains("a was deleted"), "{partly}");
        let unknown = CommandError::ChangeUnknown { source: Box::new(gone()), look: "see there" };
        let both = CommandError::unless_all(&[], vec![unknown, gone()]).unwrap_err();
        assert_eq!(both.exit_code(), ExitCode::OutcomeUnknown, "one of them may have changed something");
    }

    #[test]
    fn a_reader_that_went_away_is_no_failure_and_not_reported() {
        let error = CommandError::output(io::ErrorKind::BrokenPipe.into());
        assert_eq!(error.exit_code(), ExitCode::Success);
        assert_eq!(error.report(), "");
    }

    #[test]
    fn a_report_names_the_causes_once_each() {
        let error = CommandError::Read { path: "/x".into(), source: io::Error::other("disk on fire") };
        assert_eq!(error.report(), "error: reading \"/x\" failed\n  because: disk on fire\n");
    }

    #[test]
    fn a_status_among_the_causes_is_told_by_its_message_alone() {
        let error = CommandError::from(ClientError::Unavailable {
            operation: "get",
            node: "a".into(),
            attempts: 2,
            source: Box::new(tonic::Status::unavailable("tcp connect error")),
        });
        let report = error.report();
        assert!(report.ends_with("\n  because: tcp connect error\n"), "{report}");
    }
}
