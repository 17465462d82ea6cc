//! The objects of a local fleet: `get`, `describe`, `apply`, `delete` and `policy` over its state folder.
//!
//! No supervisor is asked: it sees a change of the objects by itself, and tells what came of it in their status.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::Value;
use thermocline_crds::{Kind, Object, v1alpha1::Tiering, validate};
use thermocline_fleet::chain;
use thermocline_fleet::desired;
use thermocline_fleet::event::EventType;
use thermocline_fleet::home::Change;
use thermocline_fleet::local::{EventLog, Layout, ObjectStore, StoreError, SupervisorRecord};

use super::{Ended, columns, manifests::violations_text, reference::Reference};
use crate::{CommandError, ExitCode, context::Context, home};

/// Events that `describe` shows.
const EVENTS_SHOWN: usize = 20;

/// The state folder that a command means.
pub(super) fn layout(context: &Context) -> Result<Layout, CommandError> {
    let root = match &context.global.home {
        Some(home) => home.clone(),
        None => home::default_root()?,
    };
    Ok(Layout::new(absolute(&home::fleet_folder(context.global.home.as_deref(), &root)?)?))
}

/// A path that stays right for processes that work elsewhere.
pub(super) fn absolute(path: &std::path::Path) -> Result<std::path::PathBuf, CommandError> {
    std::path::absolute(path).map_err(|source| CommandError::Read { path: path.to_owned(), source })
}

pub(super) fn store(layout: &Layout) -> ObjectStore {
    ObjectStore::new(layout.clone(), Timestamp::now)
}

/// How a refusal or failure of the store is told.
pub(super) fn failure(attempted: impl Into<String>) -> impl FnOnce(StoreError) -> CommandError {
    let attempted = attempted.into();
    move |error| {
        let code = if matches!(error, StoreError::Refused(_)) { ExitCode::Usage } else { ExitCode::Failed };
        CommandError::Fleet { attempted, detail: chain(&error), code }
    }
}

fn json(object: &Object) -> Result<Value, CommandError> {
    object.to_json().map_err(|error| CommandError::Encode(error.into()))
}

pub(super) async fn get(context: &Context, reference: &Reference) -> Ended {
    let layout = layout(context)?;
    let all = store(&layout).list().map_err(failure(format!("reading {reference}")))?;
    let meant = |object: &&Object| {
        reference.kind.is_none_or(|kind| object.kind() == kind)
            && reference.name.as_ref().is_none_or(|name| object.name() == name)
    };
    let found: Vec<&Object> = all.iter().filter(meant).collect();
    if let (Some(name), [only]) = (&reference.name, found.as_slice()) {
        let value = json(only)?;
        tracing::debug!(name, "found");
        context.printer.print(&value, |value| table(context, only.kind(), std::slice::from_ref(value)))?;
        return Ok(ExitCode::Success);
    }
    if reference.name.is_some() {
        return Err(CommandError::NotFound(format!("{reference} does not exist")));
    }
    let values = found.iter().map(|object| json(object)).collect::<Result<Vec<_>, _>>()?;
    context.printer.print(&values, |values| {
        let mut text = String::new();
        for kind in Kind::ALL {
            let of_kind: Vec<Value> = values.iter().filter(|value| value["kind"] == kind.as_str()).cloned().collect();
            if !of_kind.is_empty() {
                if !text.is_empty() {
                    text.push('\n');
                }
                text.push_str(&table(context, kind, &of_kind));
            }
        }
        if text.is_empty() { format!("no {reference}\n") } else { text }
    })?;
    Ok(ExitCode::Success)
}

fn table(context: &Context, kind: Kind, values: &[Value]) -> String {
    let columns = columns::columns(kind);
    let now = Timestamp::now();
    let titles: Vec<&str> = columns.iter().map(|column| column.title.as_str()).collect();
    let rows = values.iter().map(|value| columns.iter().map(|column| column.cell(value, now)).collect());
    context.printer.table(&titles, rows.collect())
}

pub(super) async fn describe(context: &Context, kind: Kind, name: &str) -> Ended {
    let layout = layout(context)?;
    let reading = || format!("reading {kind}/{name}");
    let Some(object) = store(&layout).get(kind, name).map_err(failure(reading()))? else {
        return Err(CommandError::NotFound(format!("{kind}/{name} does not exist")));
    };
    let events = EventLog::new(layout.events()).read().map_err(|error| CommandError::Fleet {
        attempted: reading(),
        detail: chain(&error),
        code: ExitCode::Failed,
    })?;
    let own: Vec<_> = events.into_iter().filter(|event| event.kind == kind.as_str() && event.name == name).collect();
    let shown = &own[own.len().saturating_sub(EVENTS_SHOWN)..];
    let answer = serde_json::json!({ "object": json(&object)?, "events": shown });
    let text = object.to_yaml().map_err(|error| CommandError::Encode(error.into()))?;
    context.printer.print(&answer, |_| {
        let mut told = text;
        told.push_str("\nEvents:\n");
        for event in shown {
            let mark = if event.event_type == EventType::Warning { "Warning" } else { "Normal " };
            let _ = writeln!(told, "  {:.0}  {mark}  {}  {}", event.time, event.reason, event.message);
        }
        if shown.is_empty() {
            told.push_str("  none\n");
        }
        told
    })?;
    Ok(ExitCode::Success)
}

pub(super) async fn apply(context: &Context, objects: Vec<Object>) -> Ended {
    if objects.is_empty() {
        return Err(CommandError::Usage("the manifests hold no object".to_owned()));
    }
    let layout = layout(context)?;
    apply_to(context, &layout, objects)?;
    remind(context, &layout);
    Ok(ExitCode::Success)
}

/// Applies objects to a state folder and says what came of each.
fn apply_to(context: &Context, layout: &Layout, objects: Vec<Object>) -> Result<(), CommandError> {
    let changes = write_to(context, layout, objects)?;
    let answer: Vec<Value> = changes
        .iter()
        .map(|(object, change)| {
            let (kind, name) = object.split_once('/').unwrap_or_default();
            serde_json::json!({ "kind": kind, "name": name, "change": change.as_str() })
        })
        .collect();
    context
        .printer
        .print(&answer, |_| changes.iter().map(|(object, change)| format!("{object} {}\n", change.as_str())).collect())
}

/// Applies objects to a state folder: `Kind/name` of each and what came of it.
pub(super) fn write_to(
    context: &Context,
    layout: &Layout,
    objects: Vec<Object>,
) -> Result<Vec<(String, Change)>, CommandError> {
    for remark in objects.iter().flat_map(desired::ignored) {
        context.printer.remark(&remark);
    }
    let names: Vec<String> = objects.iter().map(|object| format!("{}/{}", object.kind(), object.name())).collect();
    let changes = store(layout).apply(objects).map_err(failure(format!("applying {} objects", names.len())))?;
    Ok(names.into_iter().zip(changes).collect())
}

/// Without a supervisor nothing follows the objects.
pub(super) fn remind(context: &Context, layout: &Layout) {
    if SupervisorRecord::alive(layout).is_none() {
        context.printer.remark("no supervisor runs: this takes effect with the next `thermoctl local up`");
    }
}

/// The MigrationPolicies of the fleet, as they are shown.
pub(super) fn policies(context: &Context) -> Result<Vec<Value>, CommandError> {
    let all = store(&layout(context)?).list().map_err(failure("reading the policies"))?;
    all.iter().filter(|object| object.kind() == Kind::MigrationPolicy).map(json).collect()
}

/// Sets `tiering` of a MigrationPolicy: of the named one, or of the only one.
pub(super) async fn set_tiering(context: &Context, name: Option<&str>, tiering: Tiering) -> Ended {
    let layout = layout(context)?;
    let all = store(&layout).list().map_err(failure("reading the policies"))?;
    let policies = all.into_iter().filter(|object| object.kind() == Kind::MigrationPolicy);
    let found: Vec<Object> = policies.filter(|object| name.is_none_or(|name| object.name() == name)).collect();
    let policy = match (<[Object; 1]>::try_from(found), name) {
        (Ok([policy]), _) => policy,
        (Err(_), Some(name)) => return Err(CommandError::NotFound(format!("MigrationPolicy/{name} does not exist"))),
        (Err(none), None) if none.is_empty() => {
            return Err(CommandError::NotFound(
                "there is no MigrationPolicy: apply one; until then the defaults are in force".to_owned(),
            ));
        }
        (Err(several), None) => {
            let names: Vec<&str> = several.iter().map(Object::name).collect();
            return Err(CommandError::Usage(format!("there are several policies, name one: {}", names.join(", "))));
        }
    };
    let mut policy = policy;
    if let Object::MigrationPolicy(policy) = &mut policy {
        policy.spec.tiering = tiering;
    }
    let policy = validate::with_defaults(&policy).map_err(|violations| CommandError::Manifest {
        what: "the policy".to_owned(),
        detail: violations_text(&violations),
    })?;
    apply_to(context, &layout, vec![policy])?;
    remind(context, &layout);
    Ok(ExitCode::Success)
}
