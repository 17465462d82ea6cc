//! The state machine alone: every kill, and the state it leaves, compared with one that was never killed.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use thermocline_engine::{KeyRange, LogicalHash, Mutation};
use thermocline_shard::command::{Command, Split, Write, Writes};
use thermocline_shard::job::{Job, JobChange, JobKind};
use thermocline_shard::machine::{Beginning, Group, Machine, MachineError, MemoryStore, ShardStore, Snapshot, Step};
use thermocline_shard::session::{ClientId, RequestId};
use thermocline_shard::{Epoch, NodeId, ReplicaId, Role, ShardDescriptor, ShardId};

use super::stopping::{Left, Stopping};

const REPLICA: ReplicaId = ReplicaId(5);
const BESIDE: ReplicaId = ReplicaId(6);

/// A log with everything that a machine does: writes and retries of them, a job, a split, a change of members.
fn log(seed: u64) -> Vec<Command> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let shard = ShardDescriptor { shard: ShardId(1), range: KeyRange::all(), epoch: Epoch(1), version_base: 0 };
    let mut commands = vec![Command::Begin(shard)];
    let mut epoch = Epoch(1);
    for index in 1..40 {
        commands.push(match index {
            15 => {
                let kind = JobKind::Add { replica: ReplicaId(9), node: NodeId(3), role: Role::Data };
                let (paused, cancelled, cut_over) = (false, false, false);
                let job = Job { id: 1, kind, bytes_per_second: 0, paused, cancelled, cut_over, begun_at_millis: 1 };
                Command::Job(JobChange::Begin(job))
            }
            16 => Command::Job(JobChange::CutOver(1)),
            17 => Command::Job(JobChange::End(thermocline_shard::job::JobEnd {
                job: 1,
                outcome: thermocline_shard::job::JobOutcome::Done,
                message: String::new(),
                at_millis: 2,
            })),
            25 => {
                let replicas = vec![(REPLICA, BESIDE)];
                let split = Split { at: Bytes::from_static(b"key5"), epoch, right: ShardId(2), replicas };
                epoch = epoch.next();
                Command::Split(split)
            }
            _ => {
                let writes = (0..random.random_range(1..4)).map(|_| write(&mut random, epoch)).collect();
                Command::Writes(Writes { at_millis: 1000 + index, writes })
            }
        });
    }
    commands
}

fn write(random: &mut ChaCha8Rng, epoch: Epoch) -> Write {
    let key = Bytes::from(format!("key{}", random.random_range(0..10)));
    let value = Bytes::from(random.random_range(0..1000_u32).to_string());
    let put = if random.random_bool(0.8) { Mutation::Put { key, value } } else { Mutation::Delete { key } };
    let (sequence, retry) = (random.random_range(1..30), random.random_bool(0.5));
    let request = Some(RequestId { client: ClientId([random.random_range(0..3); 16]), sequence, retry });
    Write { request, epoch, conditions: Vec::new(), mutations: vec![put] }
}

fn step(index: usize, command: &Command) -> Step {
    let membership = index.is_multiple_of(7).then(|| Bytes::from(format!("members {index}")));
    Step {
        index: index as u64,
        command: Some(command.encode()),
        applied: (index as u64).to_be_bytes().to_vec().into(),
        membership,
    }
}

/// The group of the replicas here.
struct Three;

impl Group for Three {
    fn beginning(&self, _: &Split) -> Result<Option<Beginning>, MachineError> {
        Ok(Some(Beginning { applied: Bytes::from_static(b"begin"), membership: Bytes::from_static(b"members") }))
    }

    fn voters(&self) -> Result<Option<Vec<(NodeId, Role)>>, MachineError> {
        Ok(Some(vec![(NodeId(1), Role::Data), (NodeId(2), Role::Data), (NodeId(3), Role::Witness)]))
    }
}

/// The entry that a machine applies next.
fn next<S: ShardStore>(machine: &Machine<S>) -> usize {
    let mark = [&[1][..], &REPLICA.0.to_be_bytes()].concat();
    let applied = machine.store().records(&mark).unwrap().into_iter().next();
    applied.map_or(0, |(_, at)| u64::from_be_bytes(at.as_ref().try_into().unwrap()) as usize + 1)
}

/// Applies what a machine has not applied yet, some entries at a time, until it fails.
fn apply<S: ShardStore>(machine: &mut Machine<S>, log: &[Command], upto: usize) -> Result<(), MachineError> {
    let steps: Vec<usize> = (next(machine)..upto).collect();
    for some in steps.chunks(3) {
        machine.apply(some.iter().map(|index| step(*index, &log[*index])).collect(), &Three)?;
    }
    Ok(())
}

fn open(store: &Arc<MemoryStore>, left: Left) -> Machine<Stopping> {
    Machine::open(REPLICA, Role::Data, Arc::new(Stopping::new(Arc::clone(store), left))).unwrap()
}

type State = (Vec<(Bytes, Bytes)>, LogicalHash);

/// All that a store holds.
fn state(store: &MemoryStore) -> State {
    (store.records(&[]).unwrap(), store.logical_hash(&KeyRange::all()).unwrap())
}

fn applied(log: &[Command], upto: usize) -> Arc<MemoryStore> {
    let store = Arc::default();
    apply(&mut open(&store, Left::all()), log, upto).unwrap();
    store
}

#[test]
fn a_machine_that_is_killed_before_any_write_comes_to_the_same_state_from_the_log() {
    for seed in 0..20 {
        let log = log(seed);
        let never_killed = state(&applied(&log, log.len()));
        let mut kills = 0;
        for count in 0.. {
            let (store, left) = (Arc::default(), Left::writes(count));
            let ended = apply(&mut open(&store, left), &log, log.len());
            kills += u64::from(ended.is_err());
            apply(&mut open(&store, Left::all()), &log, log.len()).unwrap();
            assert_eq!(state(&store), never_killed, "seed {seed}, killed before write {count}");
            if ended.is_ok() {
                break;
            }
        }
        assert!(kills >= 10, "seed {seed}: {kills}");
    }
}

#[test]
fn a_machine_that_is_killed_before_any_write_of_an_install_has_the_old_state_or_the_new_one_or_says_that_it_has_none() {
    for seed in 0..20 {
        let log = log(seed);
        let (source, upto) = (applied(&log, 35), 10);
        let snapshot = || Snapshot::take(&*source, REPLICA, Role::Data, Path::new("")).unwrap();
        let old = state(&applied(&log, upto));
        let new = {
            let store = applied(&log, upto);
            open(&store, Left::all()).install(&snapshot()).unwrap();
            state(&store)
        };
        let mut without_data = 0;
        for count in 0.. {
            let store = applied(&log, upto);
            let ended = open(&store, Left::writes(count)).install(&snapshot());
            let mut again = open(&store, Left::all());
            if again.awaits_snapshot() {
                without_data += 1;
                let before = state(&store);
                again.apply(vec![step(upto, &log[upto])], &Three).unwrap();
                assert_eq!(state(&store), before, "nothing is applied to what is not there");
                Snapshot::take(&*store, REPLICA, Role::Data, Path::new("")).unwrap_err();
            } else {
                let now = state(&store);
                assert!(now == old || now == new, "seed {seed}, killed before write {count}: half of each");
            }
            again.install(&snapshot()).unwrap();
            assert!(!again.awaits_snapshot());
            assert_eq!(state(&store), new, "seed {seed}, killed before write {count}");
            apply(&mut again, &log, log.len()).unwrap();
            if ended.is_ok() {
                break;
            }
        }
        assert!(without_data >= 2, "seed {seed}: {without_data}");
    }
}
