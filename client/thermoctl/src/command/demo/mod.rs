//! `demo`.
use super::Ended;
use crate::{ExitCode, args::DemoArguments, context::Context};
pub(super) async fn run(_context: &Context, _arguments: &DemoArguments) -> Ended {
    Ok(ExitCode::Failed)
}
