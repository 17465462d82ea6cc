//! `local`: a cluster of node processes on this machine.

use super::{Ended, fleet};
use crate::{args::LocalCommand, context::Context};

pub(super) async fn run(context: &Context, command: &LocalCommand) -> Ended {
    match command {
        LocalCommand::Up { file, foreground } => fleet::up(context, file, *foreground).await,
        LocalCommand::Down => fleet::down(context).await,
        LocalCommand::Status => fleet::status(context).await,
    }
}
