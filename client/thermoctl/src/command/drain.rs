//! `drain`: has a node give away everything and stop, and shows how far it is; or takes that back.

use std::time::Duration;

use thermocline_crds::v1alpha1::{NodeState, StorageNode};
use thermocline_crds::{Kind, Object, condition};
use thermocline_fleet::local::SupervisorRecord;

use super::{Ended, fleet, progress};
use crate::{CommandError, ExitCode, args::DrainArguments, context::Context};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);

pub(super) async fn run(context: &Context, arguments: &DrainArguments) -> Ended {
    let DrainArguments { node, cancel, no_wait } = arguments;
    let layout = fleet::layout(context)?;
    let store = fleet::store(&layout);
    let mut object = find(&store.list().map_err(fleet::failure("reading the nodes"))?, node)?;
    object.spec.offline = !cancel;
    let attempted = || format!("draining {node}");
    store.apply(vec![Object::StorageNode(object)]).map_err(fleet::failure(attempted()))?;
    fleet::remind(context, &layout);
    // Without a supervisor it would be waited for in vain.
    if *cancel || *no_wait || SupervisorRecord::alive(&layout).is_none() {
        let does = if *cancel { "is wanted again" } else { "gives away what it holds" };
        let answer = serde_json::json!({ "node": node, "offline": !cancel });
        context
            .printer
            .print(&answer, |_| format!("{node} {does}; `thermoctl describe tcn {node}` shows how far it is\n"))?;
        return Ok(ExitCode::Success);
    }
    let left = |node: &StorageNode| node.status.as_ref().and_then(|status| status.replicas).unwrap_or(0).unsigned_abs();
    let mut bar = None;
    loop {
        let found = find(&store.list().map_err(fleet::failure(attempted()))?, node)?;
        if !found.spec.offline {
            return Err(CommandError::Usage(format!("{node} is wanted again: somebody took the drain back")));
        }
        let status = found.status.clone().unwrap_or_default();
        if status.state == NodeState::Offline {
            break;
        }
        let all = left(&found);
        let bar = bar.get_or_insert_with(|| progress::bar(&context.printer, Some(all), false));
        let told = condition::get(&status.conditions, condition::ConditionType::Progressing);
        bar.set_message(told.map(|told| told.message.clone()).unwrap_or_default());
        bar.set_position(bar.length().unwrap_or(0).saturating_sub(all));
        tokio::time::sleep(LOOK).await;
    }
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let answer = serde_json::json!({ "node": node, "offline": true, "state": NodeState::Offline });
    context.printer.print(&answer, |_| {
        format!("{node} is empty and stopped; `thermoctl drain {node} --cancel` starts it again\n")
    })?;
    Ok(ExitCode::Success)
}

fn find(objects: &[Object], name: &str) -> Result<StorageNode, CommandError> {
    let nodes = objects.iter().filter_map(|object| match object {
        Object::StorageNode(node) => Some(node),
        _ => None,
    });
    let found = nodes.clone().find(|node| node.metadata.name.as_deref() == Some(name)).cloned();
    found.ok_or_else(|| {
        let names: Vec<&str> = nodes.filter_map(|node| node.metadata.name.as_deref()).collect();
        CommandError::NotFound(format!(
            "{}/{name} does not exist; the nodes are {}",
            Kind::StorageNode,
            names.join(", ")
        ))
    })
}
