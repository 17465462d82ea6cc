//! `moves`: the moves that people asked for, and how to cancel one.

use thermocline_client::Client;
use thermocline_proto::v1::{CancelMoveRequest, ListMovesRequest};

use super::{
    Ended,
    move_range::{MoveView, table},
};
use crate::{
    CommandError, ExitCode,
    answers::{Answers, ended_without},
    args::MovesArguments,
    context::Context,
};

pub(super) async fn run(context: &Context, arguments: &MovesArguments) -> Ended {
    let client = context.connect().await?;
    if let Some(reference) = &arguments.cancel {
        let (node, move_id) = find(&client, reference)?;
        context
            .admin(&client, node, "cancel move", |mut admin| async move {
                admin.cancel_move(CancelMoveRequest { move_id }).await
            })
            .await
            .map_err(|error| error.of_change("`thermoctl moves` shows whether it runs"))?;
        let cancelled = serde_json::json!({ "move": reference, "state": "cancelled" });
        context.printer.print(&cancelled, |_| format!("cancelled {reference}; what has moved stays where it is"))?;
        return Ok(ExitCode::Success);
    }
    let listed = context
        .every_admin(&client, "list moves", |mut admin| async move { admin.list_moves(ListMovesRequest {}).await })
        .await;
    let Answers { told, silent } = Answers::of(listed)?;
    let of_node = told.into_iter().flat_map(|(node, answer)| {
        answer.moves.into_iter().map(move |progress| MoveView::of(&node.name, progress)).collect::<Vec<_>>()
    });
    let moves: Vec<MoveView> = of_node.collect();
    context.printer.print(&moves, |moves| table(context, moves))?;
    Ok(ended_without(&silent, &context.printer))
}

fn find(client: &Client, reference: &str) -> Result<(usize, u64), CommandError> {
    reference
        .rsplit_once('/')
        .and_then(|(node, id)| {
            let place = client.nodes().iter().position(|known| known.name == node)?;
            Some((place, id.parse().ok()?))
        })
        .ok_or_else(|| {
            CommandError::Usage(format!("{reference:?} names no move; write NODE/ID as `thermoctl moves` lists it"))
        })
}
