//! What the nodes of a cluster answered to one question: who answers is shown, who does not is named.

use thermocline_client::NodeEndpoint;

use crate::{CommandError, ExitCode, output::Printer};

/// The answers, and who gave none.
#[derive(Debug)]
pub struct Answers<T> {
    /// The nodes that answered, in the order of the endpoints.
    pub told: Vec<(NodeEndpoint, T)>,
    /// The names of the others.
    pub silent: Vec<String>,
}

impl<T> Answers<T> {
    /// Divides what came of asking every node.
    ///
    /// # Errors
    /// Why there is no answer, where there is none at all.
    pub fn of(asked: Vec<(NodeEndpoint, Result<T, CommandError>)>) -> Result<Self, CommandError> {
        let (mut told, mut silent, mut failure) = (Vec::new(), Vec::new(), None);
        for (node, answer) in asked {
            match answer {
                Ok(answer) => told.push((node, answer)),
                Err(error) => {
                    silent.push(node.name);
                    failure = Some(error);
                }
            }
        }
        match failure {
            Some(error) if told.is_empty() => Err(error),
            _ => Ok(Self { told, silent }),
        }
    }
}

/// How a command ends that has shown what nodes answered; says who did not.
#[must_use]
pub fn ended_without(silent: &[String], printer: &Printer) -> ExitCode {
    if silent.is_empty() {
        return ExitCode::Success;
    }
    printer.warn(&format!("not answered: {}; see whether these nodes run", silent.join(", ")));
    ExitCode::Unavailable
}
