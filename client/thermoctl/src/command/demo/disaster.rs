//! The worst that happens to one node, done to the demonstration's own: its process is killed, and its disks are gone. The fleet
//! runs the node again, on empty disks, so as another one; what is told is how the copies come back.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use thermocline_client::Client;
use thermocline_fleet::local::{Layout, NodeProcess, process};
use tokio::sync::mpsc;

use super::shards::{Copies, Spread};
use super::statuses;
use crate::{CommandError, ExitCode, context::Context};

/// A node counts as lost after 30 s; after so long something is wrong.
const PATIENCE: Duration = Duration::from_secs(240);
const LOOK: Duration = Duration::from_millis(500);

/// What became of it.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Recovery {
    /// The node whose disks were destroyed.
    pub(super) node: String,
    /// Copies that were lost with it.
    pub(super) copies_lost: u64,
    /// From the kill until all shards had all copies again.
    pub(super) whole_after_seconds: f64,
}

/// Destroys the node that holds most, and waits until all shards have all copies again; `say` is told what happens.
pub(super) async fn play(
    context: &Context,
    layout: &Layout,
    client: &Client,
    voters: usize,
    say: &mpsc::UnboundedSender<String>,
) -> Result<Recovery, CommandError> {
    let spread = Spread::of(&statuses(context, client).await);
    let Some(victim) = spread.fullest() else {
        return Err(failed("no node answers".to_owned()));
    };
    let begun = Instant::now();
    destroy(layout, &victim.node).map_err(|error| failed(error.to_string()))?;
    let tell = |text: String| drop(say.send(text));
    tell(format!(
        "killed {} and destroyed its disks: {} copies of shards are gone, {} of them led",
        victim.node, victim.data, victim.leads
    ));
    let mut last = None;
    loop {
        tokio::time::sleep(LOOK).await;
        let told = statuses(context, client).await;
        // Until its successor speaks, nobody can tell what is there.
        let copies = Some(Copies::of(&told, voters)).filter(|_| told.len() == spread.nodes.len());
        if copies != last
            && let Some(now) = copies
        {
            tell(format!("{} of {} shards have all their copies", now.whole, now.shards));
        }
        last = copies;
        if copies.is_some_and(Copies::all) {
            let whole_after_seconds = begun.elapsed().as_secs_f64();
            return Ok(Recovery { node: victim.node.clone(), copies_lost: victim.data, whole_after_seconds });
        }
        if begun.elapsed() > PATIENCE {
            return Err(failed(format!("the shards do not have all their copies {PATIENCE:?} after the loss")));
        }
    }
}

fn destroy(layout: &Layout, node: &str) -> std::io::Result<()> {
    let gone = layout.root().join(format!("destroyed-{node}"));
    // Away before it ends, so that it cannot be started from them again.
    std::fs::rename(layout.node(node), &gone)?;
    if let Some(running) = NodeProcess::alive(layout).get(node) {
        process::signal(&running.process, Signal::KILL)?;
    }
    std::fs::remove_dir_all(gone)
}

fn failed(detail: String) -> CommandError {
    CommandError::Fleet { attempted: "replacing a node".to_owned(), detail, code: ExitCode::Failed }
}
