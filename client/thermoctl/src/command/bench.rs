//! `bench`: loads records, runs a built-in workload, prints throughput and latencies, and removes what it
//! loaded and inserted. A run that loads nothing removes nothing: it cannot tell its own records from earlier ones.
//!
//! Ctrl-C ends the phase it comes in; what was loaded is removed all the same, unless it comes while that is done.

mod footprint;

use std::{
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::{StreamExt, stream, stream::FuturesUnordered};
use indicatif::ProgressBar;
use serde::Serialize;

use super::{Ended, progress};
use footprint::Footprint;

use crate::{
    CommandError, ExitCode,
    args::BenchArguments,
    context::Context,
    interrupt::Interrupt,
    output::{count, rate},
    transfer::{BatchSink, StoreSink},
    workload::{KeySource, Live, NumberedKeys, Pace, Plan, Report, Stop, StoreTarget, run as run_load},
};

/// Records of a batch while loading.
const LOAD_BATCH: u64 = 500;
/// Batches in flight while loading.
const LOAD_CONCURRENCY: usize = 8;
/// How long a batch is tried while loading.
const LOAD_PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct BenchView {
    workload: String,
    distribution: String,
    records: u64,
    value_bytes: u64,
    workers: u64,
    /// Operations a second that were asked for; absent of a closed loop.
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<f64>,
    #[serde(flatten)]
    report: Report,
}

pub(super) async fn run(context: &Context, arguments: &BenchArguments) -> Ended {
    if arguments.rate.is_some_and(|rate| !rate.is_finite() || rate <= 0.0) {
        return Err(CommandError::Usage("--rate must be greater than 0".to_owned()));
    }
    let live = Arc::new(Live::default());
    let footprint = Arc::new(Footprint::new(!arguments.keep && !arguments.skip_load, Arc::clone(&live)));
    let interrupt = {
        let (first, second) = (Arc::clone(&footprint), Arc::clone(&footprint));
        Interrupt::listen(move || first.first_words(), move || second.last_words())?
    };
    let client = context.connect_for_load().await?;
    let keys = match &arguments.prefix {
        Some(prefix) => NumberedKeys::under(prefix.clone()),
        None => NumberedKeys::spread("bench/", &client.ranges()),
    };
    let keys: Arc<dyn KeySource> = Arc::new(keys);
    let value_bytes = usize::try_from(arguments.value_size)
        .ok()
        .filter(|bytes| *bytes <= thermocline_proto::MAX_VALUE_BYTES)
        .ok_or_else(|| CommandError::Usage("--value-size must be at most 8Mi".to_owned()))?;
    let seed = arguments.seed.unwrap_or_else(rand::random);
    let target = Arc::new(StoreTarget::new(client.clone(), Arc::clone(&keys), value_bytes));
    let sink = StoreSink::new(client, LOAD_PATIENCE, interrupt.clone());
    if !arguments.skip_load {
        let values = |number: u64| target.value(seed ^ number);
        let (begun, loaded) =
            load(context, &sink, keys.as_ref(), &values, arguments.records, &footprint, &interrupt).await;
        if loaded.is_err() || interrupt.asked() {
            if !arguments.keep && remove(context, &sink, keys.as_ref(), 0..begun, &footprint, &interrupt).await.is_err()
            {
                context
                    .printer
                    .remark(&format!("up to {} records of the load stay: they cannot be removed", count(begun)));
            }
            return if interrupt.asked() { Ok(ExitCode::Interrupted) } else { loaded.map(|()| ExitCode::Success) };
        }
    }
    let plan = plan(arguments, seed);
    let display = tokio::spawn(show(Arc::clone(&live), run_bar(context, arguments)));
    let stopper = tokio::spawn({
        let (live, interrupt) = (Arc::clone(&live), interrupt.clone());
        async move {
            interrupt.wait().await;
            live.cancel();
        }
    });
    let report = run_load(target, &plan, Arc::clone(&live)).await;
    display.abort();
    stopper.abort();
    let failed = report.errors > 0;
    let view = BenchView {
        workload: format!("{:?}", arguments.workload),
        distribution: plan.distribution.to_string(),
        records: arguments.records,
        value_bytes: arguments.value_size,
        workers: arguments.workers,
        rate: arguments.rate,
        report,
    };
    context.printer.print(&view, |view| text(context, view))?;
    let inserted = live.inserted();
    if arguments.skip_load {
        // An earlier run that was kept may have inserted the same numbers.
        if inserted > 0 {
            context.printer.remark(&format!("{} records were inserted and stay", count(inserted)));
        }
    } else if arguments.keep {
        let stay = count(arguments.records + inserted);
        context.printer.remark(&format!("{stay} records stay; --skip-load uses them again"));
    } else {
        remove(context, &sink, keys.as_ref(), 0..arguments.records + inserted, &footprint, &interrupt).await?;
    }
    Ok(match (interrupt.asked(), failed) {
        (true, _) => ExitCode::Interrupted,
        (false, true) => ExitCode::Failed,
        (false, false) => ExitCode::Success,
    })
}

fn plan(arguments: &BenchArguments, seed: u64) -> Plan {
    Plan {
        mix: arguments.workload.mix(),
        distribution: arguments.workload.distribution(),
        records: arguments.records,
        max_scan: arguments.max_scan,
        workers: arguments.workers,
        pace: arguments.rate.map_or(Pace::Closed, |per_second| Pace::Open { per_second }),
        stop: arguments.operations.map_or(Stop::After(arguments.duration), Stop::Operations),
        seed,
    }
}

/// Loads the records; after a failure or an interruption no further ones. Also says up to which number it has begun to.
async fn load(
    context: &Context,
    sink: &StoreSink,
    keys: &dyn KeySource,
    value: &impl Fn(u64) -> Bytes,
    records: u64,
    footprint: &Footprint,
    interrupt: &Interrupt,
) -> (u64, Result<(), CommandError>) {
    let bar = progress::bar(&context.printer, Some(records), false);
    bar.set_message("loading");
    let start = Instant::now();
    let (mut begun, mut failure) = (0, None);
    let mut running = FuturesUnordered::new();
    loop {
        while failure.is_none() && !interrupt.asked() && begun < records && running.len() < LOAD_CONCURRENCY {
            let numbers = begun..records.min(begun + LOAD_BATCH);
            begun = numbers.end;
            footprint.loaded_up_to(begun);
            let bar = &bar;
            running.push(async move {
                let loaded = numbers.end - numbers.start;
                let batch = numbers.map(|number| (keys.key(number), value(number))).collect();
                let written = sink.write(batch).await;
                bar.inc(loaded);
                written
            });
        }
        // What is under way is waited for after a failure too: removed before it was written, it would stay.
        let Some(written) = running.next().await else {
            break;
        };
        failure = failure.or_else(|| written.err());
    }
    bar.finish_and_clear();
    if let Some(failure) = failure {
        return (begun, Err(failure.into()));
    }
    if begun < records {
        return (begun, Ok(()));
    }
    let seconds = start.elapsed().as_secs_f64().max(1e-6);
    context.printer.remark(&format!(
        "loaded {} records in {seconds:.1} s ({})",
        count(records),
        rate(records as f64 / seconds)
    ));
    (begun, Ok(()))
}

/// Deletes the records that the run has written; an interruption that comes meanwhile ends it.
async fn remove(
    context: &Context,
    sink: &StoreSink,
    keys: &dyn KeySource,
    own: Range<u64>,
    footprint: &Footprint,
    interrupt: &Interrupt,
) -> Result<(), CommandError> {
    let asked_before = interrupt.asked();
    footprint.begin_to_remove();
    let bar = progress::bar(&context.printer, Some(own.end - own.start), false);
    bar.set_message("removing");
    let batches = own.clone().step_by(LOAD_BATCH as usize).map(|first| {
        let (bar, numbers) = (&bar, first..own.end.min(first + LOAD_BATCH));
        async move {
            let removed = numbers.end - numbers.start;
            let outcome = sink.delete(numbers.map(|number| keys.key(number)).collect()).await;
            bar.inc(removed);
            if outcome.is_ok() {
                footprint.removed(removed);
            }
            outcome
        }
    });
    let mut running = stream::iter(batches).buffer_unordered(LOAD_CONCURRENCY);
    while let Some(removed) = running.next().await {
        removed?;
        if interrupt.asked() && !asked_before {
            let stays = footprint.last_words();
            if !stays.is_empty() {
                context.printer.warn(&format!("interrupted: {stays}"));
            }
            break;
        }
    }
    bar.finish_and_clear();
    Ok(())
}

fn run_bar(context: &Context, arguments: &BenchArguments) -> ProgressBar {
    progress::bar(&context.printer, arguments.operations, false)
}

async fn show(live: Arc<Live>, bar: ProgressBar) {
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    loop {
        tick.tick().await;
        bar.set_position(live.answered());
        bar.set_message(format!("{} failed", count(live.failed())));
    }
}

fn text(context: &Context, view: &BenchView) -> String {
    let report = &view.report;
    let rows = report.kinds.iter().map(|kind| {
        vec![
            kind.operation.name().to_owned(),
            count(kind.operations),
            count(kind.errors),
            count(kind.not_found),
            micros(kind.mean_micros),
            micros(kind.p50_micros as f64),
            micros(kind.p95_micros as f64),
            micros(kind.p99_micros as f64),
            micros(kind.p999_micros as f64),
            micros(kind.max_micros as f64),
        ]
    });
    let table = context.printer.table(
        &["OPERATION", "DONE", "FAILED", "NOT FOUND", "MEAN", "P50", "P95", "P99", "P99.9", "MAX"],
        rows.collect(),
    );
    let pace = view.rate.map_or_else(|| "closed loop".to_owned(), |asked| format!("open loop at {}", rate(asked)));
    let failure = report.first_error.as_ref().map_or_else(String::new, |error| format!("first failure: {error}\n"));
    format!(
        "{} records of {} B, {}, {} workers, {pace}\n{} operations in {:.1} s: {}, {} failed, seed {}\n{failure}\n{table}",
        count(view.records),
        view.value_bytes,
        view.distribution,
        view.workers,
        count(report.operations),
        report.elapsed_seconds,
        rate(report.operations_per_second),
        count(report.errors),
        report.seed,
    )
}

fn micros(micros: f64) -> String {
    crate::output::nanos((micros * 1000.0) as u64)
}
