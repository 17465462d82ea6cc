//! `local`: a cluster of node processes on this machine.
//!
//! `up` judges the manifests, makes the state folder and starts a supervisor in the background, which is this program again
//! (`local supervise`). Everything after that goes through the state folder.

use std::{
    env, fs, io,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget};
use jiff::Timestamp;
use rustix::process::Signal;
use thermocline_crds::{Kind, Object, condition, validate};
use thermocline_fleet::{
    desired::{self, Placement},
    local::{
        HomeSettings, Layout, NodeProcess, Purpose, SupervisorError, SupervisorLock, SupervisorRecord, process,
        stop_leftovers, supervise, taken_addresses,
    },
    revision::Memory,
};

use super::{Ended, fleet, objects};
use crate::{
    CommandError, ExitCode,
    args::LocalCommand,
    context::Context,
    home,
    output::{bytes, count},
};

/// Between two looks at a state folder.
const LOOK: Duration = Duration::from_millis(100);
/// Nodes drain within 25 s; two rounds of that for a fleet that is stopped while a node is replaced.
const DOWN: Duration = Duration::from_secs(60);

pub(super) async fn run(context: &Context, command: &LocalCommand) -> Ended {
    match command {
        LocalCommand::Up { file, foreground, address, wait } => up(context, file, *foreground, *address, *wait).await,
        LocalCommand::Down { destroy, yes } => down(context, *destroy, *yes).await,
        LocalCommand::Status => status(context).await,
        LocalCommand::Supervise => run_supervisor(context).await,
    }
}

/// How a failure of the fleet is told.
pub(super) fn failed(attempted: &str) -> impl FnOnce(&dyn std::error::Error) -> CommandError {
    let attempted = attempted.to_owned();
    move |error| CommandError::Fleet { attempted, detail: fleet::chain(error), code: ExitCode::Failed }
}

fn refused(attempted: &str, detail: String) -> CommandError {
    CommandError::Fleet { attempted: attempted.to_owned(), detail, code: ExitCode::Usage }
}

/// The program of the nodes: named by THERMOCLINE_NODE_BINARY, else beside this program, else on the path.
pub(super) fn node_program() -> PathBuf {
    const NAME: &str = "thermocline-node";
    if let Some(named) = env::var_os("THERMOCLINE_NODE_BINARY") {
        return named.into();
    }
    let beside = env::current_exe().ok().map(|program| program.with_file_name(NAME)).filter(|path| path.is_file());
    beside.unwrap_or_else(|| PathBuf::from(NAME))
}

/// The manifests, judged by themselves and together.
pub(super) fn read_manifests(file: &Path) -> Result<Vec<Object>, CommandError> {
    let objects = objects::read_objects(&[file.to_owned()])?;
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
pub(super) fn prepare(
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

async fn up(context: &Context, file: &Path, foreground: bool, address: Option<Ipv4Addr>, wait: Duration) -> Ended {
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

/// The supervisor itself, in a session of its own so that it outlives the terminal.
async fn run_supervisor(context: &Context) -> Ended {
    let Some(home) = &context.global.home else {
        return Err(CommandError::Usage("name the state folder with --home DIR".to_owned()));
    };
    // Fails for who leads a process group already, and is then not needed.
    let _ = rustix::process::setsid();
    supervise_here(&Layout::new(fleet::absolute(home)?)).await
}

/// Supervises until SIGTERM or Ctrl-C.
pub(super) async fn supervise_here(layout: &Layout) -> Ended {
    let stop = stop_signal().map_err(|source| CommandError::Read { path: "the process's signals".into(), source })?;
    match supervise(layout.clone(), node_program(), Timestamp::now, stop).await {
        Ok(_) => Ok(ExitCode::Success),
        Err(SupervisorError::Lock(error)) => Err(refused("starting the supervisor", fleet::chain(&error))),
        Err(error) => Err(failed("supervising the fleet")(&error)),
    }
}

/// Completes at SIGTERM or SIGINT.
pub(super) fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Waits until every node serves as declared; `ended` says why nothing more will come.
pub(super) async fn wait_until_ready(
    context: &Context,
    layout: &Layout,
    wait: Duration,
    mut ended: impl FnMut() -> Option<String>,
) -> Result<(), CommandError> {
    let store = fleet::store(layout);
    let target =
        if context.printer.draws_progress() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let spinner = ProgressBar::with_draw_target(None, target);
    spinner.enable_steady_tick(LOOK);
    let begun = Instant::now();
    loop {
        let told = SupervisorRecord::alive(layout).is_some_and(|record| record.told);
        let objects = store.list().map_err(fleet::failure("reading the fleet"))?;
        let state = Readiness::of(&objects);
        if told && state.ready {
            spinner.finish_and_clear();
            return Ok(());
        }
        spinner.set_message(state.line());
        let reason = ended().or_else(|| {
            (begun.elapsed() >= wait).then(|| format!("not ready after {wait:?}; it goes on in the background"))
        });
        if let Some(reason) = reason {
            spinner.finish_and_clear();
            let detail = format!("{reason}: {}", state.line());
            return Err(CommandError::Fleet {
                attempted: "starting the fleet".to_owned(),
                detail,
                code: ExitCode::Unavailable,
            });
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// How far a fleet is, from its objects.
struct Readiness {
    ready: bool,
    nodes: Vec<String>,
    message: String,
}

impl Readiness {
    fn of(objects: &[Object]) -> Self {
        let mut state = Self { ready: true, nodes: Vec::new(), message: String::new() };
        for object in objects {
            match object {
                Object::StorageNode(node) => {
                    let told = node.status.as_ref().map(|status| status.state).unwrap_or_default();
                    state.nodes.push(format!("{} {told:?}", object.name()));
                }
                Object::StorageCluster(cluster) => {
                    let conditions =
                        cluster.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
                    use condition::ConditionType::{Degraded, Ready};
                    state.ready &= condition::is_true(conditions, Ready, cluster.metadata.generation);
                    // What needs attention says more than that something is not ready.
                    let shown = [Degraded, Ready].into_iter().filter_map(|about| condition::get(conditions, about));
                    let mut shown = shown.filter(|one| (one.type_ == "Degraded") == (one.status == "True"));
                    if let Some(told) = shown.next() {
                        state.message.clone_from(&told.message);
                    }
                }
                _ => {}
            }
        }
        state
    }

    fn line(&self) -> String {
        format!("{}{}{}", self.nodes.join(", "), if self.nodes.is_empty() { "" } else { "; " }, self.message)
    }
}

/// How the same fleet is named in the next command.
pub(super) fn home_flag(context: &Context, layout: &Layout) -> String {
    if context.global.home.is_some() { format!(" --home {}", layout.root().display()) } else { String::new() }
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

async fn down(context: &Context, destroy: bool, yes: bool) -> Ended {
    if destroy && !yes {
        return Err(CommandError::Usage(
            "--destroy removes the state folder with all data of the fleet for ever: say --yes as well if that is meant"
                .to_owned(),
        ));
    }
    let layout = match fleet::layout(context) {
        Ok(layout) => layout,
        // A folder that never got as far as its endpoints can still be removed.
        Err(error) => match &context.global.home {
            Some(home) => {
                let layout = Layout::new(fleet::absolute(home)?);
                let known = layout.settings().map_err(|error| failed("stopping the fleet")(&error))?;
                known.map(|_| layout).ok_or(error)?
            }
            None => return Err(error),
        },
    };
    stop(&layout).await?;
    if destroy {
        layout.destroy().map_err(|error| failed("removing the fleet")(&error))?;
    }
    let text = if destroy { "stopped and removed" } else { "stopped; its data stays" };
    let answer = serde_json::json!({ "home": layout.root(), "change": text });
    context.printer.print(&answer, |_| format!("the fleet of {} is {text}\n", layout.root().display()))?;
    Ok(ExitCode::Success)
}

/// Stops the supervisor and its nodes, or the nodes alone where there is no supervisor.
pub(super) async fn stop(layout: &Layout) -> Result<(), CommandError> {
    const ATTEMPTED: &str = "stopping the fleet";
    let Some(record) = SupervisorRecord::alive(layout) else {
        return stop_leftovers(layout.clone(), node_program(), Timestamp::now)
            .await
            .map_err(|error| failed(ATTEMPTED)(&error));
    };
    process::signal(&record.process, Signal::TERM).map_err(|error| failed(ATTEMPTED)(&error))?;
    let begun = Instant::now();
    while process::is_alive(&record.process) {
        if begun.elapsed() > DOWN {
            return Err(CommandError::Fleet {
                attempted: ATTEMPTED.to_owned(),
                detail: format!(
                    "the supervisor (process {}) has not ended after {DOWN:?}; see {}",
                    record.process.pid,
                    layout.supervisor_log().display()
                ),
                code: ExitCode::Unavailable,
            });
        }
        tokio::time::sleep(LOOK).await;
    }
    // It may have been ended by something else before its nodes were.
    if NodeProcess::alive(layout).is_empty() {
        return Ok(());
    }
    let lock = SupervisorLock::take(layout).map_err(|error| failed(ATTEMPTED)(&error))?;
    drop(lock);
    stop_leftovers(layout.clone(), node_program(), Timestamp::now).await.map_err(|error| failed(ATTEMPTED)(&error))
}

async fn status(context: &Context) -> Ended {
    let layout = fleet::layout(context)?;
    let objects = fleet::store(&layout).list().map_err(fleet::failure("reading the fleet"))?;
    let supervisor = SupervisorRecord::alive(&layout).map(|record| record.process.pid);
    let processes = NodeProcess::alive(&layout);
    let mut nodes = Vec::new();
    let mut rows = Vec::new();
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
            format!("{} {} ({} keys)", tier.name, bytes(used), count(keys))
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
        nodes.push(serde_json::json!({
            "name": object.name(), "state": state, "process": process, "status": told,
        }));
    }
    let answer = serde_json::json!({ "home": layout.root(), "supervisor": supervisor, "nodes": nodes });
    context.printer.print(&answer, |_| {
        let who = supervisor.map_or_else(
            || "no supervisor runs; start one with `thermoctl local up -f DIR`".to_owned(),
            |pid| format!("supervisor: process {pid}"),
        );
        let table = context.printer.table(&["NODE", "STATE", "PROCESS", "KV", "RESTARTS", "TIERS"], rows);
        format!("{who}\nstate: {}\n{table}", layout.root().display())
    })?;
    Ok(ExitCode::Success)
}
