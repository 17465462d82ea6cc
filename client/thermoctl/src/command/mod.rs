//! The commands, one file each. Each takes the context and its own options and returns how it ended.

mod bench;
mod columns;
mod completion;
mod del;
mod delete;
mod demo;
mod drain;
mod explain;
mod export;
mod fleet;
mod get;
mod heat;
mod import;
mod local;
mod manifests;
mod move_range;
mod moves;
mod objects;
mod policy;
mod progress;
mod put;
mod reference;
mod scan;
mod shards;
mod simulate;
mod tiers;
mod top;

use crate::{
    CommandError, ExitCode,
    args::{Arguments, Command},
    context::Context,
};

/// How a command ends.
type Ended = Result<ExitCode, CommandError>;

/// Runs a command on a runtime of its own; `program` is the binary's name, for completion scripts.
///
/// # Errors
/// What the command met.
pub fn run(arguments: Arguments, program: &'static str) -> Ended {
    let context = Context::new(arguments.global);
    let command = match arguments.command {
        Command::Completion { shell } => return completion::run(&context, shell, program),
        Command::Simulate(arguments) => return simulate::run(&context, &arguments),
        command => command,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|source| CommandError::Write { what: "the runtime's threads".to_owned(), source })?;
    runtime.block_on(dispatch(&context, command))
}

async fn dispatch(context: &Context, command: Command) -> Ended {
    match command {
        Command::Put(arguments) => put::run(context, &arguments).await,
        Command::Get(arguments) => get::run(context, &arguments).await,
        Command::Del(arguments) => del::run(context, &arguments).await,
        Command::Scan(arguments) => scan::run(context, &arguments).await,
        Command::Import(arguments) => Box::pin(import::run(context, &arguments)).await,
        Command::Export(arguments) => export::run(context, &arguments).await,
        Command::Heat(arguments) => heat::run(context, &arguments).await,
        Command::Explain(arguments) => explain::run(context, &arguments).await,
        Command::Tiers => tiers::run(context).await,
        Command::Shards => shards::run(context).await,
        Command::Policy(arguments) => policy::run(context, &arguments.command).await,
        Command::Move(arguments) => move_range::run(context, &arguments).await,
        Command::Moves(arguments) => moves::run(context, &arguments).await,
        Command::Bench(arguments) => Box::pin(bench::run(context, &arguments)).await,
        Command::Top(arguments) => top::run(context, &arguments).await,
        Command::Local(arguments) => Box::pin(local::run(context, &arguments.command)).await,
        Command::Demo(arguments) => Box::pin(demo::run(context, &arguments)).await,
        Command::Apply(arguments) => objects::apply(context, &arguments.file).await,
        Command::Describe(arguments) => objects::describe(context, &arguments).await,
        Command::Delete(arguments) => objects::delete(context, &arguments).await,
        Command::Drain(arguments) => drain::run(context, &arguments).await,
        Command::Validate(arguments) => objects::validate(context, &arguments),
        // Handled before a runtime is needed.
        Command::Completion { .. } | Command::Simulate(_) => Ok(ExitCode::Success),
    }
}
