#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use thermocline_engine::{
    Batch, Clock, Durability, EngineOptions, Environment, MAX_VALUE_BYTES, Medium, SystemClock, TierSpec,
};

use super::*;
use crate::admission::{AdmissionPool, Limits};
use crate::metrics::{NodeMetrics, Rpc};
use crate::owned_range::OwnedRange;

/// A clock that counts, and takes its time once it is told to: what looks at it goes slowly.
#[derive(Default)]
struct SlowClock {
    system: SystemClock,
    slow: AtomicBool,
    looked: AtomicUsize,
}

impl Clock for SlowClock {
    fn wall(&self) -> Duration {
        self.system.wall()
    }

    fn monotonic(&self) -> Duration {
        if self.slow.load(Ordering::Relaxed) {
            self.looked.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(1));
        }
        self.system.monotonic()
    }

    fn sleep(&self, duration: Duration) {
        self.system.sleep(duration);
    }
}

fn open(folder: &Path, clock: Arc<SlowClock>) -> Engine {
    // Two of them: in the last tier nothing is kept of what was deleted.
    let tiers = [("hot", 0, Medium::Nvme), ("cold", 10, Medium::Hdd)].map(|(name, rank, medium)| {
        let mut tier = TierSpec::new(name, rank, medium, folder.join(name), 1 << 30);
        tier.settings.reserve_bytes = 1 << 20;
        tier
    });
    let mut options = EngineOptions::new(tiers.to_vec(), 64 << 20);
    options.background_moves = false;
    Engine::open(options, Environment { clock, ..Environment::system(7) }).unwrap()
}

#[test]
fn a_scan_ends_at_its_deadline_and_at_its_bound_whichever_is_first() {
    let now = Instant::now();
    assert_eq!(ends_at(now, None), now + LONGEST);
    assert_eq!(ends_at(now, Some(now + LONGEST * 2)), now + LONGEST);
    let soon = now + Duration::from_secs(1);
    assert_eq!(ends_at(now, Some(soon)), soon);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_among_what_was_deleted_ends_when_its_reader_goes_and_at_its_deadline() {
    const DELETED: usize = 20_000;
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(SlowClock::default());
    let engine = open(folder.path(), Arc::clone(&clock));
    let mut batch = Batch::default();
    for number in 0..DELETED {
        batch.delete(format!("gone/{number:05}")).unwrap();
    }
    engine.write(&batch, &[], Durability::Wal).unwrap();
    let limits = Limits { running: 1, waiting: 1, bytes: 1 << 30 };
    let plane = Arc::new(DataPlane {
        engine,
        range: OwnedRange::all(),
        durability: Durability::Wal,
        requests: AdmissionPool::new(limits),
        scans: AdmissionPool::new(limits),
        metrics: NodeMetrics::new().unwrap(),
    });
    clock.slow.store(true, Ordering::Relaxed);
    let scan = |request| start(Arc::clone(&plane), request, plane.metrics.start(Rpc::Scan));
    let walked = async || {
        assert!(plane.scans.drained(Duration::from_secs(120)).await);
        clock.looked.swap(0, Ordering::Relaxed)
    };

    let begun = Duration::from_millis(50);
    let gave_up = tokio::time::timeout(begun, scan(Request::new(v1::ScanRequest::default()))).await;
    assert!(gave_up.is_err(), "it has found nothing yet");
    assert!(walked().await < DELETED, "it went on for nobody");

    let mut hasty = Request::new(v1::ScanRequest::default());
    hasty.set_timeout(begun);
    let ended = scan(hasty).await.err().unwrap();
    assert_eq!(ended.code(), tonic::Code::DeadlineExceeded);
    assert!(walked().await < DELETED, "it went on after its deadline");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_values_that_nobody_takes_wait_in_the_store_and_not_in_memory() {
    let (chunks, mut receiver) = mpsc::channel(CHUNKS_AHEAD);
    let reader = Reader {
        chunks,
        room: Arc::new(Semaphore::new(BYTES_AHEAD)),
        until: Instant::now() + Duration::from_millis(300),
        deadline: None,
        runtime: Handle::current(),
    };
    let sent = tokio::task::spawn_blocking(move || {
        [0; 2].map(|_| reader.send((v1::ScanResponse::default(), MAX_VALUE_BYTES)).is_ok())
    });
    assert_eq!(sent.await.unwrap(), [true, false], "one is ahead; the second waited until the scan's time was over");
    assert!(receiver.recv().await.is_some() && receiver.recv().await.is_none());
}
