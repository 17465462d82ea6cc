#![allow(clippy::unwrap_used, clippy::panic)]
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use thermocline_engine::{Engine, EngineOptions, Environment, KeyRange, Medium, TierSpec};

use super::*;
use crate::session::ClientId;
use crate::{Epoch, ShardId};

const REPLICA: ReplicaId = ReplicaId(5);
const BESIDE: ReplicaId = ReplicaId(6);

fn shard() -> ShardDescriptor {
    ShardDescriptor { shard: ShardId(1), range: KeyRange::all(), epoch: Epoch(1), version_base: 0 }
}

fn machine<S: ShardStore>(store: S) -> Machine<S> {
    begun(Machine::open(REPLICA, Role::Data, Arc::new(store)).unwrap())
}

fn begun<S: ShardStore>(mut machine: Machine<S>) -> Machine<S> {
    machine.apply(vec![step(0, &Command::Begin(shard()))], &Three).unwrap();
    machine
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

/// A group with other members than a split names.
struct Others;

impl Group for Others {
    fn beginning(&self, _: &Split) -> Result<Option<Beginning>, MachineError> {
        Ok(None)
    }

    fn voters(&self) -> Result<Option<Vec<(NodeId, Role)>>, MachineError> {
        Ok(None)
    }
}

fn step(index: u64, command: &Command) -> Step {
    Step { index, command: Some(command.encode()), applied: index.to_be_bytes().to_vec().into(), membership: None }
}

fn request(client: u8, sequence: u64, retry: bool) -> Option<RequestId> {
    Some(RequestId { client: ClientId([client; 16]), sequence, retry })
}

fn put(key: &str, value: &str, request: Option<RequestId>) -> Write {
    let put =
        Mutation::Put { key: Bytes::copy_from_slice(key.as_bytes()), value: Bytes::copy_from_slice(value.as_bytes()) };
    Write { request, epoch: Epoch(1), conditions: Vec::new(), mutations: vec![put] }
}

fn writes(writes: Vec<Write>) -> Command {
    Command::Writes(Writes { at_millis: 1000, writes })
}

fn split(at: &'static str, epoch: u64) -> Command {
    let replicas = vec![(REPLICA, BESIDE)];
    Command::Split(Split { at: Bytes::from_static(at.as_bytes()), epoch: Epoch(epoch), right: ShardId(2), replicas })
}

fn written(applied: &[Applied]) -> Vec<u64> {
    let answers = applied.iter().flat_map(|one| match one {
        Applied::Writes(answers) => answers.clone(),
        other => panic!("{other:?}"),
    });
    let version = |answer| match answer {
        Answer::Written { version } => version,
        other => panic!("{other:?}"),
    };
    answers.map(version).collect()
}

fn record<S: ShardStore>(machine: &Machine<S>, kind: u8) -> Option<Bytes> {
    let found = machine.store().records(&key(kind, machine.replica())).unwrap();
    found.into_iter().next().map(|(_, value)| value)
}

fn engine(folder: &std::path::Path) -> Engine {
    let tier = |name: &str, rank, medium| TierSpec::new(name, rank, medium, folder.join(name), 1 << 30);
    let tiers = vec![tier("hot", 0, Medium::Nvme), tier("cold", 20, Medium::Hdd)];
    let options = EngineOptions { background_moves: false, ..EngineOptions::new(tiers, 64 << 20) };
    Engine::open(options, Environment::system(1)).unwrap()
}

#[test]
fn a_retry_is_applied_once_also_beside_its_first_sending_in_one_entry_or_batch() {
    let mut machine = machine(MemoryStore::default());
    let first = put("k", "1", request(1, 1, false));
    let other = put("k", "2", None);
    let again = put("k", "1", request(1, 1, true));
    let entry = writes(vec![first, other, again.clone()]);
    let applied = machine.apply(vec![step(1, &entry), step(2, &writes(vec![again.clone()]))], &Three).unwrap();
    assert_eq!(written(&applied), [1 << 10, (1 << 10) + 1, 1 << 10, 1 << 10]);
    let later = machine.apply(vec![step(3, &writes(vec![again]))], &Three).unwrap();
    assert_eq!(written(&later), [1 << 10]);
    assert_eq!(machine.store().get(b"k").unwrap().unwrap().value, "2");
}

#[test]
fn what_a_replica_remembers_is_there_when_it_opens_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut before = machine(engine(folder.path()));
    before.apply(vec![step(1, &writes(vec![put("k", "1", request(1, 1, false))]))], &Three).unwrap();
    drop(before);
    let mut after = Machine::open(REPLICA, Role::Data, Arc::new(engine(folder.path()))).unwrap();
    assert_eq!(record(&after, APPLIED).unwrap(), 1_u64.to_be_bytes().as_slice());
    let applied = after.apply(vec![step(2, &writes(vec![put("k", "1", request(1, 1, true))]))], &Three).unwrap();
    assert_eq!(written(&applied), [1 << 10]);
}

#[test]
fn a_shard_begins_once_and_takes_no_write_before() {
    let mut machine = Machine::open(REPLICA, Role::Data, Arc::new(MemoryStore::default())).unwrap();
    let other = Command::Begin(ShardDescriptor { epoch: Epoch(9), ..shard() });
    let early = writes(vec![put("k", "1", None)]);
    let steps = vec![step(1, &early), step(2, &Command::Begin(shard())), step(3, &other)];
    let applied = machine.apply(steps, &Three).unwrap();
    assert_eq!(applied[0], Applied::Writes(vec![Answer::WrongEpoch { now: Epoch(0) }]));
    assert_eq!(applied[1], Applied::Nothing);
    assert!(matches!(&applied[2], Applied::Refused(reason) if reason.contains("begun")), "{:?}", applied[2]);
    assert_eq!(machine.descriptor(), Some(&shard()));
}

#[test]
fn a_write_that_was_logged_behind_a_split_lands_in_neither_half() {
    let mut machine = machine(MemoryStore::default());
    let late = |key| writes(vec![put(key, "late", request(1, 9, false))]);
    let steps = vec![step(1, &split("m", 1)), step(2, &late("a")), step(3, &late("z"))];
    let applied = machine.apply(steps, &Three).unwrap();
    let refused = Applied::Writes(vec![Answer::WrongEpoch { now: Epoch(2) }]);
    assert_eq!(applied[1..], [refused.clone(), refused]);
    for key in [b"a", b"z"] {
        assert_eq!(machine.store().get(key).unwrap(), None);
    }
    // It may come again by the new epoch: nothing of it is remembered.
    let mut routed_anew = put("a", "late", request(1, 9, true));
    routed_anew.epoch = Epoch(2);
    let mut first = put("b", "x", request(1, 8, false));
    first.epoch = Epoch(2);
    assert_eq!(written(&machine.apply(vec![step(4, &writes(vec![first, routed_anew]))], &Three).unwrap()).len(), 2);
}

#[test]
fn keys_of_another_shard_are_refused_by_the_right_epoch_too() {
    let mut machine = machine(MemoryStore::default());
    machine.apply(vec![step(1, &split("m", 1))], &Three).unwrap();
    let mut foreign = put("z", "1", None);
    foreign.epoch = Epoch(2);
    let mut looked_at = put("a", "1", None);
    looked_at.epoch = Epoch(2);
    looked_at.conditions = vec![Condition::Absent(Bytes::from_static(b"z"))];
    let applied = machine.apply(vec![step(2, &writes(vec![foreign, looked_at]))], &Three).unwrap();
    assert_eq!(applied, [Applied::Writes(vec![Answer::OutOfRange, Answer::OutOfRange])]);
}

#[test]
fn a_shard_that_splits_off_knows_the_writes_that_were_applied_before() {
    let mut left = machine(MemoryStore::default());
    let before = writes(vec![put("z", "1", request(1, 1, false))]);
    left.apply(vec![step(1, &before), step(2, &split("m", 1))], &Three).unwrap();
    let mut right = Machine::open(BESIDE, Role::Data, Arc::clone(left.store())).unwrap();
    assert_eq!(right.descriptor().map(|known| (known.shard, known.range.start())), Some((ShardId(2), &b"m"[..])));
    assert_eq!(record(&right, APPLIED).unwrap(), "begin");
    assert_eq!(record(&right, MEMBERSHIP).unwrap(), "members");
    let mut again = put("z", "1", request(1, 1, true));
    again.epoch = Epoch(2);
    assert_eq!(written(&right.apply(vec![step(1, &writes(vec![again]))], &Three).unwrap()), [1 << 10]);
    let mut new = put("z", "2", request(1, 2, false));
    new.epoch = Epoch(2);
    let version = written(&right.apply(vec![step(2, &writes(vec![new]))], &Three).unwrap())[0];
    assert!(version > 3 << 10, "{version} is above all of the shard it came from");
}

#[test]
fn a_split_that_comes_twice_or_is_not_possible_changes_nothing() {
    let mut machine = machine(MemoryStore::default());
    let applied =
        machine.apply(vec![step(1, &split("m", 1)), step(2, &split("m", 1)), step(3, &split("z", 2))], &Three);
    let applied = applied.unwrap();
    assert!(matches!(&applied[0], Applied::Split { .. }));
    assert!(matches!(&applied[1], Applied::Refused(reason) if reason.contains("epoch 1")), "{:?}", applied[1]);
    assert!(matches!(&applied[2], Applied::Refused(reason) if reason.contains("inside of it")), "{:?}", applied[2]);
    assert_eq!(machine.descriptor().unwrap().epoch, Epoch(2));
}

#[test]
fn a_witness_applies_what_changes_the_shard_and_stores_no_data() {
    let store = Arc::new(MemoryStore::default());
    let mut witness = begun(Machine::open(REPLICA, Role::Witness, Arc::clone(&store)).unwrap());
    let steps = vec![step(1, &writes(vec![put("a", "1", request(1, 1, false))])), step(2, &split("m", 1))];
    let applied = witness.apply(steps, &Three).unwrap();
    assert_eq!(applied[0], Applied::Nothing);
    assert_eq!(witness.descriptor().unwrap().epoch, Epoch(2));
    assert_eq!(store.get(b"a").unwrap(), None);
    assert_eq!(record(&witness, APPLIED).unwrap(), 2_u64.to_be_bytes().as_slice());
}

#[test]
fn a_replica_that_joined_after_a_split_is_told_of_it_by_the_log_like_the_others() {
    let mut joined = begun(Machine::open(ReplicaId(9), Role::Data, Arc::new(MemoryStore::default())).unwrap());
    let applied = joined.apply(vec![step(1, &split("m", 1))], &Three).unwrap();
    assert!(matches!(&applied[0], Applied::Split { .. }), "{applied:?}");
    assert_eq!(joined.descriptor().unwrap().epoch, Epoch(2));
    assert!(joined.store().records(&[RESIDENT]).unwrap().is_empty(), "nobody begins beside it");
}

#[test]
fn a_split_for_other_members_than_the_shard_has_is_refused_by_all_of_them() {
    let mut machine = machine(MemoryStore::default());
    let applied = machine.apply(vec![step(1, &split("m", 1))], &Others).unwrap();
    assert!(matches!(&applied[0], Applied::Refused(reason) if reason.contains("other members")), "{applied:?}");
    assert_eq!(machine.descriptor().unwrap().epoch, Epoch(1));
}

#[test]
fn a_split_that_is_applied_late_leaves_a_neighbour_alone_that_has_gone_on_since() {
    let store = Arc::new(MemoryStore::default());
    let mut witness = begun(Machine::open(REPLICA, Role::Witness, Arc::clone(&store)).unwrap());
    let far = (key(APPLIED, BESIDE), Some(Bytes::from_static(b"far")));
    store.apply(&[], &mut |_| vec![far.clone()]).unwrap();
    witness.apply(vec![step(1, &split("m", 1))], &Three).unwrap();
    assert_eq!(store.records(&key(APPLIED, BESIDE)).unwrap(), [(far.0, far.1.unwrap())]);
    assert_eq!(witness.descriptor().unwrap().epoch, Epoch(2));
}

#[test]
fn an_entry_of_a_later_version_ends_the_replica_instead_of_being_passed_over() {
    let mut machine = machine(MemoryStore::default());
    let unknown =
        Step { index: 7, command: Some(Bytes::from_static(b"\xfa\x3e\x00")), applied: Bytes::new(), membership: None };
    let error = machine.apply(vec![unknown], &Three).unwrap_err();
    assert_eq!(error.to_string(), "read entry 7 of the log of replica 5");
}

/// The rule of replication: equal logs, equal state and equal answers, whatever is applied together.
#[test]
fn the_same_log_leads_to_the_same_state_and_answers_in_any_chunks_and_stores() {
    let seed = std::env::var("SHARD_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20);
    println!("SHARD_SEED={seed}");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut commands = Vec::new();
    let mut epoch = 1;
    for _ in 0..400 {
        if random.random_range(0..80_u32) == 0 {
            let at = ["t", "q", "n", "k"][random.random_range(0..4_usize)];
            commands.push(split(at, epoch));
            // Some splits are refused, some writes come by an epoch that is gone or not there yet.
            epoch += u64::from(random.random_range(0..2_u32));
        }
        let write = |random: &mut ChaCha8Rng| {
            let key = Bytes::from(format!("{}", char::from(b'a' + random.random_range(0..26_u8))));
            let mut write = put("", "", None);
            write.epoch = Epoch(epoch);
            if random.random_range(0..4_u32) > 0 {
                write.request = request(random.random_range(0..4), random.random_range(0..300), random.random());
            }
            if random.random_range(0..3_u32) == 0 {
                write.conditions = vec![Condition::Absent(key.clone())];
            }
            let value = Bytes::from(random.random_range(0..1000_u32).to_string());
            write.mutations =
                vec![if random.random() { Mutation::Put { key, value } } else { Mutation::Delete { key } }];
            write
        };
        let count = random.random_range(1..6_usize);
        commands.push(writes((0..count).map(|_| write(&mut random)).collect()));
    }
    let folder = tempfile::tempdir().unwrap();
    let in_memory: Vec<_> = (0..2).map(|_| run(MemoryStore::default(), &commands, &mut random)).collect();
    let in_engine = run(engine(folder.path()), &commands, &mut random);
    assert_eq!(in_memory[0], in_memory[1]);
    assert_eq!(in_memory[0], in_engine);
}

type State = (Vec<Applied>, thermocline_engine::LogicalHash, Vec<(Bytes, Bytes)>);

fn run<S: ShardStore>(store: S, commands: &[Command], random: &mut ChaCha8Rng) -> State {
    let mut machine = machine(store);
    let mut answers = Vec::new();
    let mut next = 0;
    while next < commands.len() {
        let length = random.random_range(1..40_usize).min(commands.len() - next);
        let chunk = &commands[next..next + length];
        let steps = chunk.iter().zip(next as u64 + 1..).map(|(command, index)| step(index, command)).collect();
        answers.extend(machine.apply(steps, &Three).unwrap());
        next += length;
        if random.random_range(0..5_u32) == 0 {
            // As after a crash.
            machine = Machine::open(REPLICA, Role::Data, Arc::clone(machine.store())).unwrap();
        }
    }
    let store = machine.store();
    let hash = store.logical_hash(&KeyRange::all()).unwrap();
    (answers, hash, store.records(&[]).unwrap())
}

#[path = "merging_test.rs"]
mod merging;
