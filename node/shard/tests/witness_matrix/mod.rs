//! Leader, other data replica and witness, each crashed, paused and cut off, while the other data replica lacks nothing, some of
//! the log's end, or more than any log has; some of it while a replica moves.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use thermocline_shard::host::LogBounds;
use thermocline_shard::job::{JobKind, JobOutcome};
use thermocline_shard::{NodeId, ReplicaId, Role};

use super::fleet::Fleet;
use super::{FOUR, ONE, SHARD, THREE, TWO, grown_with};

const BOUNDS: LogBounds = LogBounds {
    step_bytes: 32 << 10,
    step_entries: 200,
    lag_bytes: 128 << 10,
    kept_bytes: 256 << 10,
    patience: Duration::from_secs(1),
    stuck: Duration::from_secs(600),
};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    Crash,
    Pause,
    Partition,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Victim {
    Leader,
    Other,
    Witness,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Lag {
    Nothing,
    Entries,
    BeyondTheLog,
}

impl Fault {
    async fn begin(self, fleet: &Fleet, node: NodeId) {
        match self {
            Self::Crash => fleet.end(node).await,
            Self::Pause => fleet.pause(node),
            Self::Partition => fleet.cut(node),
        }
    }

    async fn end(self, fleet: &Fleet, node: NodeId) {
        match self {
            Self::Crash => fleet.run(node).await,
            Self::Pause => fleet.go_on(node),
            Self::Partition => fleet.join(node),
        }
    }
}

/// Keys that were acknowledged.
struct Written(Vec<String>);

impl Written {
    async fn put(&mut self, fleet: &Fleet, key: String, value: Bytes) {
        fleet.put_value(&key, value).await;
        self.0.push(key);
    }
}

/// Lets the other data replica fall behind. It stays cut off.
async fn fall_behind(fleet: &Fleet, leader: NodeId, other: NodeId, lag: Lag, written: &mut Written) {
    let log = |node| fleet.host(node).of_shard(SHARD).unwrap();
    fleet.cut(other);
    match lag {
        Lag::Nothing => {}
        Lag::Entries => {
            for number in 0..100 {
                written.put(fleet, format!("tail{number:03}"), Bytes::from_static(b"value")).await;
            }
        }
        Lag::BeyondTheLog => {
            for number in 0..32 {
                written.put(fleet, format!("large{number:03}"), vec![7; 32 << 10].into()).await;
            }
            let lacks = log(other).replica().group().last;
            for node in [leader, THREE] {
                let gone = async || (log(node).replica().purged() > lacks).then_some(());
                fleet.until("no log has what it lacks", gone).await;
            }
        }
    }
}

/// Nobody who can be reached leads with data, for a while: those who have it are away.
async fn nobody_leads(fleet: &Fleet, nodes: [NodeId; 2]) {
    for _ in 0..60 {
        for node in nodes {
            let resident = fleet.host(node).of_shard(SHARD).unwrap();
            let leads = resident.replica().group().leads() && resident.replica().role() == Role::Data;
            assert!(!leads, "it lacks what was acknowledged");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn case(fault: Fault, victim: Victim, lag: Lag, moving: bool) {
    println!("{fault:?} of {victim:?}, lag {lag:?}, moving {moving}");
    let fleet = grown_with(BOUNDS).await;
    let mut written = Written((0..50).map(|number| format!("key{number:03}")).collect());
    let (leader, leading) = fleet.leader(SHARD).await;
    let other = if leader == ONE { TWO } else { ONE };
    fleet.settled(SHARD).await;
    if lag != Lag::Nothing {
        fall_behind(&fleet, leader, other, lag, &mut written).await;
    }
    let leaving = fleet.host(other).of_shard(SHARD).unwrap().replica().id();
    if moving {
        let (replica, node, role) = (ReplicaId(40), FOUR, Role::Data);
        let kind = JobKind::Move { replica, node, role, leaving, leaving_node: other };
        fleet.begin_job(SHARD, 3, kind).await;
    }
    let node = match victim {
        Victim::Leader => leader,
        Victim::Other => other,
        Victim::Witness => THREE,
    };
    fault.begin(&fleet, node).await;
    if (victim, fault) != (Victim::Other, Fault::Partition) {
        fleet.join(other);
    }
    if victim == Victim::Leader && lag == Lag::BeyondTheLog {
        nobody_leads(&fleet, [other, THREE]).await;
    } else {
        written.put(&fleet, "during".to_owned(), Bytes::from_static(b"value")).await;
    }
    fault.end(&fleet, node).await;
    written.put(&fleet, "after".to_owned(), Bytes::from_static(b"value")).await;
    if moving {
        fleet.ended(SHARD, 3, JobOutcome::Done).await;
    }
    fleet.settled(SHARD).await;
    let data: BTreeSet<NodeId> = [leader, if moving { FOUR } else { other }].into();
    for node in &data {
        let store = fleet.host(*node).store().clone();
        let lost: Vec<_> = written.0.iter().filter(|key| store.get(key.as_bytes()).unwrap().is_none()).collect();
        assert_eq!(lost, Vec::<&String>::new(), "acknowledged, and not on {node} ({leading} led)");
    }
    assert_eq!(data.iter().map(|node| fleet.hash(*node).hash).collect::<BTreeSet<_>>().len(), 1, "they differ");
    assert_eq!(fleet.hash(THREE).records, 0, "a witness stores nothing");
    fleet.stop().await;
}

async fn all_victims(fault: Fault, lag: Lag) {
    for victim in [Victim::Leader, Victim::Other, Victim::Witness] {
        case(fault, victim, lag, false).await;
    }
}

async fn all_victims_of_a_move(fault: Fault) {
    for victim in [Victim::Leader, Victim::Other, Victim::Witness] {
        case(fault, victim, Lag::Nothing, true).await;
    }
}

macro_rules! cases {
    ($($name:ident: $cases:expr;)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                $cases.await;
            }
        )*
    };
}

cases! {
    nothing_is_lost_where_any_of_three_crashes_and_all_are_even: all_victims(Fault::Crash, Lag::Nothing);
    nothing_is_lost_where_any_of_three_crashes_and_a_data_replica_lags: all_victims(Fault::Crash, Lag::Entries);
    nothing_is_lost_where_any_of_three_crashes_and_no_log_has_what_a_data_replica_lacks:
        all_victims(Fault::Crash, Lag::BeyondTheLog);
    nothing_is_lost_where_any_of_three_is_paused_and_all_are_even: all_victims(Fault::Pause, Lag::Nothing);
    nothing_is_lost_where_any_of_three_is_paused_and_a_data_replica_lags: all_victims(Fault::Pause, Lag::Entries);
    nothing_is_lost_where_any_of_three_is_paused_and_no_log_has_what_a_data_replica_lacks:
        all_victims(Fault::Pause, Lag::BeyondTheLog);
    nothing_is_lost_where_any_of_three_is_cut_off_and_all_are_even: all_victims(Fault::Partition, Lag::Nothing);
    nothing_is_lost_where_any_of_three_is_cut_off_and_a_data_replica_lags: all_victims(Fault::Partition, Lag::Entries);
    nothing_is_lost_where_any_of_three_is_cut_off_and_no_log_has_what_a_data_replica_lacks:
        all_victims(Fault::Partition, Lag::BeyondTheLog);
    nothing_is_lost_where_any_of_three_crashes_while_a_replica_moves: all_victims_of_a_move(Fault::Crash);
    nothing_is_lost_where_any_of_three_is_paused_while_a_replica_moves: all_victims_of_a_move(Fault::Pause);
    nothing_is_lost_where_any_of_three_is_cut_off_while_a_replica_moves: all_victims_of_a_move(Fault::Partition);
}
