//! `move`: moves a range of keys to a tier on every node that owns a part of it, and follows it to its end.
//!
//! The nodes own the move: when this command is stopped they go on, and `thermoctl moves` shows them.

use futures::future::join_all;
use indicatif::ProgressBar;
use serde::Serialize;
use thermocline_client::{Client, Segment};
use thermocline_proto::v1::{MoveProgress, MoveRangeRequest};

use super::{Ended, progress};
use crate::{
    CommandError, ExitCode,
    args::MoveArguments,
    context::{Context, typed_range},
    output::{bytes, count},
};

/// How a move stands on one node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MoveView {
    pub(super) node: String,
    pub(super) id: u64,
    pub(super) state: String,
    pub(super) percent: u32,
    pub(super) records: u64,
    pub(super) bytes: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) message: String,
}

impl MoveView {
    pub(super) fn of(node: &str, progress: MoveProgress) -> Self {
        Self {
            node: node.to_owned(),
            id: progress.move_id,
            state: progress.state,
            percent: progress.percent,
            records: progress.records,
            bytes: progress.bytes,
            message: progress.message,
        }
    }
}

pub(super) fn table(context: &Context, moves: &[MoveView]) -> String {
    let rows = moves.iter().map(|entry| {
        vec![
            format!("{}/{}", entry.node, entry.id),
            entry.state.clone(),
            format!("{} %", entry.percent),
            count(entry.records),
            bytes(entry.bytes),
            entry.message.clone(),
        ]
    });
    context.printer.table(&["MOVE", "STATE", "DONE", "RECORDS", "BYTES", "MESSAGE"], rows.collect())
}

pub(super) async fn run(context: &Context, arguments: &MoveArguments) -> Ended {
    let range = typed_range(&arguments.range)?;
    if arguments.range.prefix.is_none() && arguments.range.start.is_none() && arguments.range.end.is_none() {
        return Err(CommandError::Usage(
            "say which keys move: --prefix P, or --start A and --end B (--start \"\" for all keys)".to_owned(),
        ));
    }
    let client = context.connect().await?;
    let mut parts = Vec::new();
    let mut start = range.start().clone();
    loop {
        let segment = client.ranges().first_segment(&start, range.end());
        let over = segment.end.is_empty() || segment.end == *range.end();
        start = segment.end.clone();
        parts.push(segment);
        if over {
            break;
        }
    }
    let bar = progress::bar(&context.printer, Some(100 * parts.len() as u64), false);
    let outcomes = join_all(parts.iter().map(|part| follow(context, &client, part, arguments, &bar))).await;
    bar.finish_and_clear();
    let (mut moves, mut failures) = (Vec::new(), Vec::new());
    for outcome in outcomes {
        match outcome {
            Ok(view) => moves.push(view),
            Err(error) => failures.push(error),
        }
    }
    let ended = moves.iter().map(|part: &MoveView| format!("the part of node {} ended as {}", part.node, part.state));
    CommandError::unless_all(&ended.collect::<Vec<_>>(), failures)?;
    context.printer.print(&moves, |moves| table(context, moves))?;
    match moves.iter().find(|entry| entry.state != "completed") {
        None => Ok(ExitCode::Success),
        Some(entry) => Err(CommandError::Move(format!(
            "the move at node {} ended as {}: {}",
            entry.node, entry.state, entry.message
        ))),
    }
}

async fn follow(
    context: &Context,
    client: &Client,
    part: &Segment,
    arguments: &MoveArguments,
    bar: &ProgressBar,
) -> Result<MoveView, CommandError> {
    let node = &client.nodes()[part.node].name;
    let request = MoveRangeRequest {
        start: part.start.clone(),
        end: part.end.clone(),
        to_tier: arguments.to.clone(),
        bytes_per_second: arguments.rate.unwrap_or(0),
    };
    // The node goes on with a move that it has taken, whoever hears of it.
    let may_run = |error: CommandError| error.of_change("`thermoctl moves` shows whether it runs");
    let mut stream = context
        .admin(client, part.node, "move", |mut admin| async move { admin.move_range(request).await })
        .await
        .map_err(may_run)?;
    let mut latest = MoveProgress::default();
    // A move may take hours: only its begin is bound by the timeout.
    while let Some(step) = stream.message().await.map_err(|status| {
        may_run(CommandError::Admin { operation: "move", node: node.clone(), source: Box::new(status) })
    })? {
        bar.inc(u64::from(step.percent.saturating_sub(latest.percent)));
        bar.set_message(format!("{} moved on {node}", bytes(step.bytes)));
        latest = step;
    }
    Ok(MoveView::of(node, latest))
}
