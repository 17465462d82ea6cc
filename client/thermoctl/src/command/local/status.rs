//! `local status`: the processes of a fleet, and why one does not serve.

use std::path::Path;

use thermocline_crds::{Object, condition, v1alpha1::StorageNodeStatus};
use thermocline_fleet::local::{Layout, NodeProcess, SupervisorRecord, last_words};

use crate::{
    ExitCode,
    command::{Ended, fleet},
    context::Context,
    output::{bytes, estimate},
};

/// With less the files of a fleet cannot be kept.
const LEAST_FREE: u64 = 1 << 20;

pub(super) async fn status(context: &Context) -> Ended {
    let layout = fleet::layout(context)?;
    let objects = fleet::store(&layout).list().map_err(fleet::failure("reading the fleet"))?;
    let supervisor = SupervisorRecord::alive(&layout).map(|record| record.process.pid);
    let processes = NodeProcess::alive(&layout);
    let mut nodes = Vec::new();
    let mut rows = Vec::new();
    let mut reasons = Vec::new();
    for object in &objects {
        let Object::StorageNode(node) = object else {
            continue;
        };
        let told = node.status.clone().unwrap_or_default();
        let process = processes.get(object.name()).map(|process| process.process.pid);
        // Without a supervisor nobody keeps the status: the process is what is known.
        let state = match (supervisor, process) {
            (None, None) => "Stopped".to_owned(),
            (None, Some(_)) => "Unsupervised".to_owned(),
            (Some(_), _) => format!("{:?}", told.state),
        };
        let tiers = told.tiers.iter().map(|tier| {
            let (used, keys) = (tier.used_bytes.unsigned_abs(), tier.keys.unsigned_abs());
            format!("{} {} ({} keys)", tier.name, bytes(used), estimate(keys))
        });
        let tiers: Vec<String> = tiers.collect();
        rows.push(vec![
            object.name().to_owned(),
            state.clone(),
            process.map_or_else(|| "-".to_owned(), |pid| pid.to_string()),
            told.kv_address.clone().unwrap_or_default(),
            told.restarts.unwrap_or(0).to_string(),
            tiers.join(", "),
        ]);
        let reason = supervisor.and_then(|_| why(&layout, object.name(), &told, process.is_some()));
        nodes.push(serde_json::json!({
            "name": object.name(), "state": state, "process": process, "reason": reason, "status": told,
        }));
        reasons.extend(reason.map(|reason| format!("{}: {reason}\n", object.name())));
    }
    let answer = serde_json::json!({ "home": layout.root(), "supervisor": supervisor, "nodes": nodes });
    context.printer.print(&answer, |_| {
        let who = supervisor.map_or_else(
            || "no supervisor runs; start one with `thermoctl local up -f DIR`".to_owned(),
            |pid| format!("supervisor: process {pid}"),
        );
        let table = context.printer.table(&["NODE", "STATE", "PROCESS", "KV", "RESTARTS", "TIERS"], rows);
        format!("{who}\nstate: {}\n{table}{}", layout.root().display(), reasons.concat())
    })?;
    if let Some(free) = free(layout.root()).filter(|free| *free < LEAST_FREE) {
        context.printer.remark(&format!(
            "the device of {} is full ({} free): free space there; until then nodes may not start and what is shown may be old",
            layout.root().display(),
            bytes(free)
        ));
    }
    Ok(ExitCode::Success)
}

/// Why a node does not do what it is for; `None` where it does.
fn why(layout: &Layout, name: &str, told: &StorageNodeStatus, runs: bool) -> Option<String> {
    let ready = condition::get(&told.conditions, condition::ConditionType::Ready);
    match ready.filter(|ready| ready.status != "True") {
        Some(ready) => Some(ready.message.clone()),
        None if runs => None,
        // It could not be told in the object, such as on a full device: its log is what is left to ask.
        None => last_words(&layout.node_log(name))
            .map(|words| format!("it does not run; the last words of its log: {words}")),
    }
}

/// What is free where a folder is.
fn free(folder: &Path) -> Option<u64> {
    let told = rustix::fs::statvfs(folder).ok()?;
    Some(told.f_bavail.saturating_mul(told.f_frsize))
}
