//! `demo`: tiering, rebalancing and the loss of a node before one's eyes, on real data and this machine alone. `make run` calls
//! it. Where the pool keeps its data once (no `replication`), no node is lost.
//!
//! A fleet of its own in a folder of its own, which is removed at the end and by the next demonstration; the supervisor runs
//! inside this process, so that Ctrl-C ends all of it.

mod data_set;
mod disaster;
mod load;
mod proof;
mod shards;
mod summary;
mod written;

use std::{
    io::IsTerminal,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use indicatif::ProgressBar;
use jiff::Timestamp;
use thermocline_client::{Client, Endpoints, Options};
use thermocline_crds::{
    Object, Validated,
    v1alpha1::{ValidatedReplication, ValidatedTier},
};
use thermocline_fleet::local::{HomeSettings, Layout, Purpose, SupervisorError, supervise};
use thermocline_proto::v1::NodeStatus;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use self::{
    data_set::DataSet,
    disaster::Recovery,
    load::DemoTarget,
    proof::Proof,
    shards::{Copies, Spread},
    summary::Summary,
    written::Written,
};
use super::{Ended, fleet, local, progress};
use crate::{
    CommandError, ExitCode,
    args::DemoArguments,
    context::Context,
    home,
    output::{bytes, count, percent, rate},
    workload::{self, KeyDistribution, Live, Mix, Pace, Plan, Report, Stop, Zipf},
};

/// Nodes of a fresh fleet are ready within a second or two; a busy machine takes longer.
const READY: Duration = Duration::from_secs(60);
/// Of the operations, reads.
const READS: f64 = 0.95;
/// A node is destroyed after this part of the load.
const UNTIL_LOSS: u32 = 4;
const WORKERS: u64 = 16;
/// Between two lines of progress where there is no terminal.
const LINE: Duration = Duration::from_secs(5);
const TICK: Duration = Duration::from_secs(1);

pub(super) async fn run(context: &Context, arguments: &DemoArguments) -> Ended {
    let layout = match &context.global.home {
        Some(home) => Layout::new(fleet::absolute(home)?),
        None => Layout::new(home::default_root()?.join("make-run")),
    };
    let objects = local::read_manifests(manifests(&arguments.file)?)?;
    let seed = arguments.seed.unwrap_or_else(rand::random);
    // Everything that can be wrong is found before anything is started or removed.
    context.printer.remark("reading the data ...");
    let data = data_set::read(arguments.data.as_deref(), seed)?;
    clear(&layout).await?;
    let settings = HomeSettings { first_address: arguments.address, purpose: Purpose::Demonstration };
    local::prepare(context, &layout, settings, objects.clone())?;
    let interrupted =
        local::stop_signal().map_err(|source| CommandError::Read { path: "the process's signals".into(), source })?;
    let (mut fleet_task, stop) = start(&layout);
    let shown = show(context, arguments, &layout, &objects, data, seed);
    let outcome = tokio::select! {
        ended = &mut fleet_task => Err(fleet_ended(ended)),
        shown = shown => shown,
        () = interrupted => Ok(ExitCode::Interrupted),
    };
    context.printer.remark("stopping the fleet ...");
    if stop.send(()).is_ok() {
        match fleet_task.await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) if outcome.is_ok() => return Err(local::failed("stopping the fleet")(&error)),
            // The first failure is the one to tell.
            _ => {}
        }
    }
    if outcome.is_ok() {
        layout.destroy().map_err(|error| local::failed("removing the demonstration's folder")(&error))?;
    } else {
        context.printer.remark(&format!("the logs are in {}", layout.nodes().display()));
    }
    outcome
}

/// The manifests, with a hint where the default ones are looked for outside of the repository.
fn manifests(file: &Path) -> Result<&Path, CommandError> {
    if file.exists() {
        return Ok(file);
    }
    Err(CommandError::Usage(format!(
        "there are no manifests at {}; call this in the folder of the repository, or name a folder of manifests with -f DIR",
        file.display()
    )))
}

type FleetTask = JoinHandle<Result<thermocline_fleet::local::Stopped, SupervisorError>>;

fn start(layout: &Layout) -> (FleetTask, oneshot::Sender<()>) {
    let (sender, receiver) = oneshot::channel::<()>();
    let stop = async {
        // A sender that is gone wants no fleet either.
        let _ = receiver.await;
    };
    (tokio::spawn(supervise(layout.clone(), local::node_program(), Timestamp::now, stop)), sender)
}

fn fleet_ended(
    ended: Result<Result<thermocline_fleet::local::Stopped, SupervisorError>, tokio::task::JoinError>,
) -> CommandError {
    match ended {
        Ok(Err(error)) => local::failed("supervising the fleet")(&error),
        Err(error) => local::failed("supervising the fleet")(&error),
        Ok(Ok(_)) => CommandError::Fleet {
            attempted: "supervising the fleet".to_owned(),
            detail: "the supervisor ended by itself".to_owned(),
            code: ExitCode::Failed,
        },
    }
}

/// Removes what an earlier demonstration left, running or not; a person's fleet is never touched.
async fn clear(layout: &Layout) -> Result<(), CommandError> {
    const ATTEMPTED: &str = "starting the demonstration";
    let settings = layout.settings().map_err(|error| local::failed(ATTEMPTED)(&error))?;
    match settings.map(|settings| settings.purpose) {
        None => Ok(()),
        Some(Purpose::Fleet) => Err(CommandError::Fleet {
            attempted: ATTEMPTED.to_owned(),
            detail: format!(
                "{} is the state folder of a fleet; name another one with --home DIR",
                layout.root().display()
            ),
            code: ExitCode::Usage,
        }),
        Some(Purpose::Demonstration) => {
            local::stop(layout).await?;
            layout.destroy().map_err(|error| local::failed(ATTEMPTED)(&error))
        }
    }
}

async fn show(
    context: &Context,
    arguments: &DemoArguments,
    layout: &Layout,
    objects: &[Object],
    data: DataSet,
    seed: u64,
) -> Ended {
    local::wait_until_ready(context, layout, READY, || None).await?;
    let voters = replication(objects).map(|replication| replication.data + usize::from(replication.witness));
    let options = Options { timeout: Duration::from_secs(30), channels_per_node: 2, ..Options::default() };
    let client = Client::connect(Endpoints::read(&layout.endpoints())?, options).await?;
    context.printer.remark(&format!(
        "{} nodes serve. Loading {} records, {} ({}: {} records, {} times)",
        client.nodes().len(),
        count(data.records.len() as u64),
        bytes(data.bytes),
        data.source,
        count(data.distinct as u64),
        data.copies
    ));
    if let Some(voters) = voters {
        until_whole(context, &client, voters).await?;
    }
    let loaded = load(context, &client, &data).await?;
    context.printer.remark(&format!(
        "loaded in {:.1} s ({}/s)",
        loaded.as_secs_f64(),
        bytes((data.bytes as f64 / loaded.as_secs_f64().max(0.001)) as u64)
    ));
    if voters.is_some() {
        tell_spread(context, &client, "the shards after loading").await;
    }
    let distribution = KeyDistribution::Zipf { theta: Zipf::YCSB_THETA };
    context.printer.remark(&format!(
        "{} s of load: {} reads, the rest writes of the same records; zipf with theta {} over the records, shuffled; seed {seed}",
        arguments.seconds,
        percent(READS),
        Zipf::YCSB_THETA
    ));
    let plan = Plan {
        mix: Mix::read_update(READS),
        distribution,
        records: data.records.len() as u64,
        max_scan: 1,
        workers: WORKERS,
        pace: Pace::Closed,
        stop: Stop::After(Duration::from_secs(arguments.seconds)),
        seed,
    };
    let written = Arc::new(Written::loaded(data.records));
    let ((say, told), client_of_loss) = (mpsc::unbounded_channel(), &client);
    let loss = async move {
        let Some(voters) = voters else { return Ok(None) };
        tokio::time::sleep(Duration::from_secs(arguments.seconds) / UNTIL_LOSS).await;
        disaster::play(context, layout, client_of_loss, voters, &say).await.map(Some)
    };
    let replayed = replay(context, &client, Arc::clone(&written), &plan, told);
    let (report, recovery) = tokio::try_join!(replayed, loss)?;
    let proof = prove(context, &client, &written).await?;
    let statuses = statuses(context, &client).await;
    if statuses.len() < client.nodes().len() {
        return Err(CommandError::Fleet {
            attempted: "measuring the fleet".to_owned(),
            detail: format!(
                "{} of {} nodes answer; see {}",
                statuses.len(),
                client.nodes().len(),
                layout.nodes().display()
            ),
            code: ExitCode::Unavailable,
        });
    }
    let summary = Summary::of(&statuses, &declared(objects));
    let spread = voters.map(|_| Spread::of(&statuses));
    let answer = serde_json::json!({
        "load": report, "summary": summary, "shards": spread, "recovery": recovery, "proof": proof
    });
    context.printer.print(&answer, |_| {
        let spread = spread.as_ref().map(|spread| format!("\n{}", spread.text(&context.printer))).unwrap_or_default();
        let end = end_text(recovery.as_ref(), proof);
        format!("{}\n{}{spread}\n{end}", load_text(&report), summary.text(&context.printer))
    })?;
    if !proof.holds() {
        return Err(CommandError::Fleet {
            attempted: "reading everything again".to_owned(),
            detail: format!("{} records are missing and {} are not what was written", proof.missing, proof.different),
            code: ExitCode::Failed,
        });
    }
    if let Some(error) = report.first_error.filter(|_| report.errors > 0) {
        return Err(CommandError::Fleet {
            attempted: "the load".to_owned(),
            detail: format!("{} operations failed; the first: {error}", report.errors),
            code: ExitCode::Failed,
        });
    }
    let terminal = std::io::stdout().is_terminal() && std::io::stdin().is_terminal();
    if !terminal || arguments.exit {
        return Ok(ExitCode::Success);
    }
    let home = layout.root().display();
    context.printer.remark(&format!(
        "\nThe fleet goes on until Ctrl-C. Try in another terminal (target/debug/thermoctl):\n  thermoctl top --home {home}\n  thermoctl heat --home {home}\n  thermoctl scan --home {home} --prefix b1/bash --limit 3\n  thermoctl explain --home {home} b1/bash\n  thermoctl get --home {home} all\n  thermoctl policy pause --home {home}"
    ));
    // Until Ctrl-C, which the caller hears.
    std::future::pending().await
}

async fn load(context: &Context, client: &Client, data: &DataSet) -> Result<Duration, CommandError> {
    let done = AtomicU64::new(0);
    let total = data.records.len() as u64;
    let bar = progress::bar(&context.printer, Some(total), false);
    let begun = Instant::now();
    let import = load::import(client, &data.records, &done);
    tokio::pin!(import);
    let mut ticks = tokio::time::interval(Duration::from_millis(200));
    let mut lines = Lines::new(context);
    loop {
        tokio::select! {
            ended = &mut import => {
                ended?;
                bar.finish_and_clear();
                return Ok(begun.elapsed());
            }
            _ = ticks.tick() => {
                let now = done.load(Ordering::Relaxed);
                bar.set_position(now);
                lines.say(|| format!("loaded {} of {} records", count(now), count(total)));
            }
        }
    }
}

/// Lines of progress where there is no terminal to draw on.
struct Lines<'a> {
    context: &'a Context,
    last: Instant,
}

impl<'a> Lines<'a> {
    fn new(context: &'a Context) -> Self {
        Self { context, last: Instant::now() }
    }

    fn say(&mut self, text: impl FnOnce() -> String) {
        if !self.context.printer.draws_progress() && self.last.elapsed() >= LINE {
            self.last = Instant::now();
            self.context.printer.remark(&text());
        }
    }
}

async fn replay(
    context: &Context,
    client: &Client,
    written: Arc<Written>,
    plan: &Plan,
    mut told: mpsc::UnboundedReceiver<String>,
) -> Result<Report, CommandError> {
    let target = DemoTarget::new(client.clone(), written)
        .ok_or_else(|| CommandError::Usage("latencies cannot be measured".to_owned()))?;
    let (target, live) = (Arc::new(target), Arc::new(Live::default()));
    let running = workload::run(Arc::clone(&target), plan, Arc::clone(&live));
    tokio::pin!(running);
    let bar: ProgressBar = progress::bar(&context.printer, None, false);
    if let Ok(style) = indicatif::ProgressStyle::with_template("{elapsed_precise}  {wide_msg}") {
        bar.set_style(style);
    }
    let mut ticks = tokio::time::interval(TICK);
    let mut lines = Lines::new(context);
    let (mut before, mut since) = (0, Instant::now());
    // What is told goes on after the load.
    let (mut measured, mut telling) = (None, true);
    loop {
        if !telling && let Some(report) = measured.take() {
            bar.finish_and_clear();
            return Ok(report);
        }
        tokio::select! {
            report = &mut running, if measured.is_none() => measured = Some(report),
            news = told.recv(), if telling => match news {
                Some(text) => bar.suspend(|| context.printer.remark(&text)),
                // Whoever tells them has ended.
                None => telling = false,
            },
            _ = ticks.tick() => {
                let (answered, elapsed) = (live.answered(), since.elapsed().as_secs_f64());
                if elapsed < 0.5 {
                    continue;
                }
                let per_second = (answered - before) as f64 / elapsed;
                (before, since) = (answered, Instant::now());
                let text = line(per_second, target.recent(), &statuses(context, client).await);
                bar.set_message(text.clone());
                lines.say(|| text);
            }
        }
    }
}

/// What a person sees every second.
fn line(per_second: f64, (p50, p99): (u64, u64), statuses: &[NodeStatus]) -> String {
    let summary = Summary::of(statuses, &[]);
    let fill = summary.tiers.iter().map(|tier| {
        let full = tier.used_bytes as f64 / (tier.capacity_bytes as f64).max(1.0);
        format!("{} {} ({})", tier.tier, bytes(tier.used_bytes), percent(full))
    });
    let fill: Vec<String> = fill.collect();
    let moved: u64 = summary.moves.iter().map(|line| line.records).sum();
    format!("{}  p50 {p50} us  p99 {p99} us  {}  moved {} records", rate(per_second), fill.join("  "), count(moved))
}

/// What the nodes say; those that do not answer are left out.
async fn statuses(context: &Context, client: &Client) -> Vec<NodeStatus> {
    context.statuses(client).await.into_iter().filter_map(|(_, status)| status.ok()).collect()
}

fn declared(objects: &[Object]) -> Vec<ValidatedTier> {
    let tier = |object: &Object| match object.validated() {
        Ok(Validated::StorageTier(tier)) => Some(*tier),
        _ => None,
    };
    objects.iter().filter_map(tier).collect()
}

/// How often the pool keeps its data; `None` where each node keeps its own.
fn replication(objects: &[Object]) -> Option<ValidatedReplication> {
    objects.iter().find_map(|object| match object.validated() {
        Ok(Validated::StoragePool(pool)) => pool.replication,
        _ => None,
    })
}

/// Waits until every shard is on as many nodes as the pool declares.
async fn until_whole(context: &Context, client: &Client, voters: usize) -> Result<(), CommandError> {
    let begun = Instant::now();
    loop {
        let copies = Copies::of(&statuses(context, client).await, voters);
        if copies.all() {
            return Ok(());
        }
        if begun.elapsed() > READY {
            return Err(CommandError::Fleet {
                attempted: "waiting for the first copies".to_owned(),
                detail: format!(
                    "{} of {} shards have all their copies after {READY:?}; see thermoctl describe",
                    copies.whole, copies.shards
                ),
                code: ExitCode::Unavailable,
            });
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn tell_spread(context: &Context, client: &Client, when: &str) {
    let spread = Spread::of(&statuses(context, client).await);
    context.printer.remark(&format!("{when}:\n{}", spread.text(&context.printer)));
}

async fn prove(context: &Context, client: &Client, written: &Written) -> Result<Proof, CommandError> {
    let done = AtomicU64::new(0);
    let bar = progress::bar(&context.printer, Some(written.records().len() as u64), false);
    let reading = proof::read_all(client, written, &done);
    tokio::pin!(reading);
    let mut ticks = tokio::time::interval(Duration::from_millis(200));
    loop {
        tokio::select! {
            proof = &mut reading => {
                bar.finish_and_clear();
                return Ok(proof?);
            }
            _ = ticks.tick() => bar.set_position(done.load(Ordering::Relaxed)),
        }
    }
}

/// What was lost and what was not.
fn end_text(recovery: Option<&Recovery>, proof: Proof) -> String {
    let lost = recovery.map(|recovery| {
        let Recovery { node, copies_lost, whole_after_seconds } = recovery;
        format!(
            "{node} was killed under load and its disks destroyed: {copies_lost} copies were lost, and all shards had all \
             copies again after {whole_after_seconds:.0} s.\n"
        )
    });
    let Proof { read, missing, different } = proof;
    let lost = lost.unwrap_or_default();
    format!("{lost}Read again and compared: {} records, {missing} missing, {different} different.\n", count(read))
}

fn load_text(report: &Report) -> String {
    let kinds = report.kinds.iter().map(|kind| {
        format!(
            "{}s {} (p50 {} us, p99 {} us)",
            kind.operation.name(),
            count(kind.operations),
            kind.p50_micros,
            kind.p99_micros
        )
    });
    let kinds: Vec<String> = kinds.collect();
    format!(
        "{} operations in {:.0} s, {}: {}; {} failed\n",
        count(report.operations),
        report.elapsed_seconds,
        rate(report.operations_per_second),
        kinds.join(", "),
        report.errors
    )
}
