//! `local`
use super::Ended;
use crate::{CommandError, ExitCode, args::LocalCommand, context::Context};
pub(super) async fn run(_context: &Context, command: &LocalCommand) -> Ended {
    Err(CommandError::Fleet { attempted: format!("{command:?}"), detail: "no fleet".to_owned(), code: ExitCode::Failed })
}
