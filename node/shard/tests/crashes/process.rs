//! A process with four nodes in it that is really killed, at any moment, over and over; its page cache is what stays.

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use thermocline_shard::host::LogBounds;
use thermocline_shard::job::JobKind;
use thermocline_shard::{NodeId, ReplicaId, Role};

use crate::fleet::Fleet;
use crate::{FOUR, ONE, SHARD, THREE, TWO};

const FOLDER: &str = "KILLED_PROCESS_FOLDER";
const KILLS: usize = 6;
/// Its logs are let go of all the time, so that who comes back late gets a snapshot.
const BOUNDS: LogBounds = LogBounds {
    step_bytes: 64 << 10,
    step_entries: 20,
    lag_bytes: 256 << 10,
    kept_bytes: 512 << 10,
    patience: Duration::from_secs(1),
    stuck: Duration::from_secs(5),
};

/// What the process notes outside of its nodes, in files of one folder.
struct Notes(PathBuf);

impl Notes {
    fn acknowledged(&self) -> Vec<String> {
        let lines = std::fs::read_to_string(self.0.join("acknowledged")).unwrap_or_default();
        lines.lines().map(str::to_owned).collect()
    }

    fn acknowledge(&self, key: &str) {
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.append(true).create(true).open(self.0.join("acknowledged")).unwrap();
        file.write_all(format!("{key}\n").as_bytes()).unwrap();
    }

    /// A number that no run had.
    fn number(&self) -> u64 {
        let path = self.0.join("number");
        let next = std::fs::read_to_string(&path).map_or(100, |text| text.parse::<u64>().unwrap() + 1);
        std::fs::write(&path, next.to_string()).unwrap();
        next
    }
}

async fn begun(folder: &Path, run: u64) -> Fleet {
    let fleet = Fleet::at(folder, &[ONE, TWO, THREE, FOUR], BOUNDS, run * 1_000_000).await;
    if !folder.join("begun").exists() {
        fleet.begin(ONE, ReplicaId(10), SHARD).await;
        let add = |replica, node, role| JobKind::Add { replica: ReplicaId(replica), node, role };
        fleet.job(SHARD, 1, add(11, TWO, Role::Data)).await;
        fleet.job(SHARD, 2, add(12, THREE, Role::Witness)).await;
        std::fs::write(folder.join("begun"), "").unwrap();
    }
    fleet
}

/// Moves the data replica that does not lead to the node that has none, unless a move is under way.
async fn begin_a_move(fleet: &Fleet, notes: &Notes) {
    let (leader, _) = fleet.leader(SHARD).await;
    let resident = fleet.host(leader).of_shard(SHARD).unwrap();
    let (group, view) = (resident.replica().group(), resident.view());
    let data = group.members.iter().find(|(_, member)| member.role == Role::Data && member.node != leader);
    let free = [ONE, TWO, FOUR].into_iter().find(|node| group.members.values().all(|member| member.node != *node));
    let (Some((leaving, member)), Some(node), None) = (data, free, view.jobs.running()) else { return };
    let (number, leaving_node) = (notes.number(), member.node);
    let kind = JobKind::Move { replica: ReplicaId(number), node, role: Role::Data, leaving: *leaving, leaving_node };
    fleet.begin_job(SHARD, number, kind).await;
}

/// Not a test by itself: the process that is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process_that_is_killed() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let notes = Notes(folder.into());
    let run = notes.number();
    let fleet = begun(&notes.0, run).await;
    let acknowledged = notes.acknowledged();
    // A write of now shows that whoever leads has applied all that was acknowledged before.
    fleet.put_value(&format!("run{run:05}"), vec![7; 100].into()).await;
    let leader: NodeId = fleet.leader(SHARD).await.0;
    let store = fleet.host(leader).store().clone();
    let lost: Vec<_> = acknowledged.iter().filter(|key| store.get(key.as_bytes()).unwrap().is_none()).collect();
    assert_eq!(lost, Vec::<&String>::new(), "acknowledged before the kill");
    println!("\nchecked {}", acknowledged.len());
    for written in 0_u64.. {
        if written.is_multiple_of(40) {
            begin_a_move(&fleet, &notes).await;
        }
        let key = format!("key{run:05}-{written:05}");
        fleet.put_value(&key, vec![7; 4 << 10].into()).await;
        notes.acknowledge(&key);
    }
}

/// Starts the process and waits until it has looked for all that was acknowledged; how much that was.
fn checked(folder: &Path) -> (std::process::Child, usize) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "crashes::process::the_process_that_is_killed", "--nocapture"]);
    let mut child = command.env(FOLDER, folder).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
    let found = lines.find_map(|line| line.ok()?.strip_prefix("checked ")?.parse().ok());
    // What it prints later is read, so that it does not wait for a reader.
    std::thread::spawn(move || lines.for_each(drop));
    let Some(found) = found else { panic!("it ended by itself: {}", child.wait().unwrap()) };
    (child, found)
}

#[test]
fn a_process_that_is_killed_at_any_moment_has_all_that_it_acknowledged() {
    let seed = std::env::var("CRASH_SEED").map_or_else(|_| u64::from(std::process::id()), |seed| seed.parse().unwrap());
    println!("CRASH_SEED={seed}");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..KILLS {
        let (mut child, _) = checked(folder.path());
        std::thread::sleep(Duration::from_millis(random.random_range(100..3000)));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let (mut child, found) = checked(folder.path());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(found > 0, "nothing was written between the kills");
}
