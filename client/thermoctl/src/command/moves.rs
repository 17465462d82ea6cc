//! `moves`: the moves that people asked for, and how to cancel one.

use futures::future::try_join_all;
use thermocline_client::Client;
use thermocline_proto::v1::{CancelMoveRequest, ListMovesRequest};

use super::{
    Ended,
    move_range::{MoveView, table},
};
use crate::{CommandError, ExitCode, args::MovesArguments, context::Context};

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
    let answers =
        try_join_all((0..client.nodes().len()).map(|node| {
            context.admin(&client, node, "list moves", |mut admin| async move {
                admin.list_moves(ListMovesRequest {}).await
            })
        }))
        .await?;
    let moves: Vec<MoveView> = client
        .nodes()
        .iter()
        .zip(answers)
        .flat_map(|(node, answer)| answer.moves.into_iter().map(|entry| MoveView::of(&node.name, entry)))
        .collect();
    context.printer.print(&moves, |moves| table(context, moves))?;
    Ok(ExitCode::Success)
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
