//! `local up`: judges the manifests, makes the state folder, starts a supervisor and waits until the fleet is ready.

use std::{
    env, fs, io,
    net::Ipv4Addr,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use thermocline_crds::{Kind, Object, validate};
use thermocline_fleet::{
    desired,
    home::Placement,
    local::{HomeSettings, Layout, NodeProcess, Purpose, SupervisorRecord, taken_addresses},
    revision::Memory,
};

use super::{failed, home_flag, node_program, ready::wait_until_ready, refused, supervise_here};
use crate::{
    CommandError, ExitCode,
    command::{Ended, fleet, manifests},
    context::Context,
    home,
};

/// The manifests, judged by themselves and together.
pub(in crate::command) fn read_manifests(file: &Path) -> Result<Vec<Object>, CommandError> {
    let objects = manifests::read_objects(&[file.to_owned()])?;
    if objects.is_empty() {
        return Err(CommandError::Usage(format!("{} holds no object", file.display())));
    }
    Ok(objects)
}

/// Where a fleet of these manifests lives: the folder that was named, else one with the cluster's name.
fn home_of(context: &Context, objects: &[Object]) -> Result<Layout, CommandError> {
    if let Some(home) = &context.global.home {
        return Ok(Layout::new(fleet::absolute(home)?));
    }
    let cluster = objects.iter().find(|object| object.kind() == Kind::StorageCluster).map(Object::name);
    let Some(cluster) = cluster else {
        return Err(CommandError::Usage(
            "the manifests hold no StorageCluster: add one, or name the state folder of a fleet with --home DIR"
                .to_owned(),
        ));
    };
    Ok(Layout::new(home::default_root()?.join(cluster)))
}

/// Makes or takes up a state folder with these objects in it. Nothing is changed where anything is refused.
pub(in crate::command) fn prepare(
    context: &Context,
    layout: &Layout,
    settings: HomeSettings,
    objects: Vec<Object>,
) -> Result<(), CommandError> {
    const ATTEMPTED: &str = "starting the fleet";
    let known = layout.settings().map_err(|error| failed(ATTEMPTED)(&error))?;
    if known.is_none() {
        // Judged before the folder is made, so that a bad manifest leaves nothing behind.
        let mut wrong: Vec<String> = validate::set(&objects).iter().map(ToString::to_string).collect();
        wrong.extend(desired::refusals(&objects));
        if !wrong.is_empty() {
            return Err(refused(ATTEMPTED, format!("nothing was started:\n  {}", wrong.join("\n  "))));
        }
    }
    let all: Vec<Object> = match known {
        None => objects.clone(),
        Some(_) => {
            let store = fleet::store(layout);
            let planned = store.plan(objects.clone()).map_err(fleet::failure(ATTEMPTED))?;
            let mut all = store.list().map_err(fleet::failure(ATTEMPTED))?;
            for (new, _) in planned {
                all.retain(|old| (old.kind(), old.name()) != (new.kind(), new.name()));
                all.push(new);
            }
            all
        }
    };
    let settings = known.unwrap_or(settings);
    check_addresses(layout, &all, settings.first_address)?;
    layout.create(settings).map_err(|error| failed(ATTEMPTED)(&error))?;
    for (object, change) in fleet::write_to(context, layout, objects)? {
        tracing::info!(object, change = change.as_str());
    }
    Ok(())
}

/// An address that something else uses is told before anything is started.
fn check_addresses(layout: &Layout, objects: &[Object], first_address: Ipv4Addr) -> Result<(), CommandError> {
    let running = NodeProcess::alive(layout);
    let nodes_folder = layout.nodes();
    let placement = Placement { first_address, nodes_folder: &nodes_folder };
    let wanted = desired::desired(objects, placement, &mut Memory::default());
    let absent = wanted.nodes.values().map(|node| &node.run).filter(|run| !running.contains_key(&run.name));
    let taken = taken_addresses(absent);
    let Some(first) = taken.first() else {
        return Ok(());
    };
    if first.reason == std::io::ErrorKind::AddrNotAvailable {
        return Err(refused(
            "starting the fleet",
            format!(
                "this machine does not have the address {} of {}; give one that it has with --address, such as 127.0.0.1",
                first.address.ip(),
                first.node
            ),
        ));
    }
    let list: Vec<String> =
        taken.iter().map(|one| format!("{} ({} of {})", one.address, one.listener, one.node)).collect();
    Err(refused(
        "starting the fleet",
        format!(
            "something else listens on {}; stop it (another fleet? see `thermoctl local status`), change spec.listeners of the StorageCluster, or give the nodes other addresses with --address (now {})",
            list.join(", "),
            first.address.ip()
        ),
    ))
}

pub(super) async fn up(
    context: &Context,
    file: &Path,
    foreground: bool,
    address: Option<Ipv4Addr>,
    wait: Duration,
) -> Ended {
    let objects = read_manifests(file)?;
    let layout = home_of(context, &objects)?;
    if let Some(record) = SupervisorRecord::alive(&layout) {
        return Err(refused(
            "starting the fleet",
            format!(
                "a supervisor already runs for {} (process {}); change its fleet with `thermoctl apply -f {}`, or stop it with `thermoctl local down`",
                layout.root().display(),
                record.process.pid,
                file.display()
            ),
        ));
    }
    let settings = HomeSettings { first_address: address.unwrap_or(Ipv4Addr::LOCALHOST), purpose: Purpose::Fleet };
    prepare(context, &layout, settings, objects)?;
    if foreground {
        context.printer.remark("Ctrl-C stops the fleet; its data stays");
        return supervise_here(&layout).await;
    }
    let mut supervisor = spawn_supervisor(&layout)?;
    wait_until_ready(context, &layout, wait, || match supervisor.try_wait() {
        Ok(None) => None,
        Ok(Some(status)) => Some(format!("the supervisor ended ({status}); see {}", layout.supervisor_log().display())),
        Err(error) => Some(format!("the supervisor cannot be watched: {error}")),
    })
    .await?;
    tell_next_steps(context, &layout)
}

fn spawn_supervisor(layout: &Layout) -> Result<std::process::Child, CommandError> {
    let log_path = layout.supervisor_log();
    let written = |source: io::Error| CommandError::Write { what: log_path.display().to_string(), source };
    let log = fs::OpenOptions::new().create(true).append(true).open(&log_path).map_err(written)?;
    let errors =
        log.try_clone().map_err(|source| CommandError::Write { what: "the supervisor's log".to_owned(), source })?;
    let program = env::current_exe().map_err(|source| CommandError::Read { path: "thermoctl".into(), source })?;
    Command::new(&program)
        .args(["--verbose", "local", "supervise", "--home"])
        .arg(layout.root())
        .env("THERMOCLINE_NODE_BINARY", node_program())
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .spawn()
        .map_err(|source| CommandError::Read { path: program, source })
}

fn tell_next_steps(context: &Context, layout: &Layout) -> Ended {
    let endpoints = thermocline_client::Endpoints::read(&layout.endpoints())?;
    let nodes: Vec<serde_json::Value> = endpoints
        .nodes()
        .iter()
        .map(|node| serde_json::json!({ "name": node.name, "kv": node.kv, "admin": node.admin, "http": node.http }))
        .collect();
    let answer = serde_json::json!({ "home": layout.root(), "nodes": nodes });
    context.printer.print(&answer, |_| {
        let rows = endpoints.nodes().iter().map(|node| {
            let range = node.range.as_ref().map_or_else(String::new, |range| {
                let bound = |key: &[u8], none: &str| {
                    if key.is_empty() { none.to_owned() } else { String::from_utf8_lossy(key).into_owned() }
                };
                format!("{} .. {}", bound(range.start(), "first"), bound(range.end(), "last"))
            });
            vec![node.name.clone(), node.kv.clone(), node.admin.clone(), node.http.clone().unwrap_or_default(), range]
        });
        let table = context.printer.table(&["NODE", "KV", "ADMIN", "HTTP", "KEYS"], rows.collect());
        let flag = home_flag(context, layout);
        format!(
            "{table}\nThe fleet is ready; its state is in {}. Try:\n  thermoctl put{flag} greeting hello\n  thermoctl get{flag} greeting\n  thermoctl get{flag} all\n  thermoctl tiers{flag}\n  thermoctl top{flag}\n  thermoctl local down{flag}\n",
            layout.root().display()
        )
    })?;
    Ok(ExitCode::Success)
}
