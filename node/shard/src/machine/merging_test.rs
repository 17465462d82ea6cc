//! Two shards become one.
use super::*;
use crate::command::{Absorb, Freeze, Thaw};
use crate::job::{Job, JobControl, JobKind};

const LEFT: ShardId = ShardId(1);
const RIGHT: ShardId = ShardId(2);
const JOB: u64 = 7;

/// The left and the right shard on one node, with a write of client 1 in each, and the next index of their logs.
struct Neighbours {
    left: Machine<MemoryStore>,
    right: Machine<MemoryStore>,
    index: u64,
}

fn at_epoch(epoch: u64, write: Write) -> Write {
    Write { epoch: Epoch(epoch), ..write }
}

impl Neighbours {
    fn of(role: Role) -> Self {
        let store = Arc::new(MemoryStore::default());
        let mut left = begun(Machine::open(REPLICA, role, Arc::clone(&store)).unwrap());
        left.apply(vec![step(1, &split("m", 1))], &Three).unwrap();
        let right = Machine::open(BESIDE, role, store).unwrap();
        let mut both = Self { left, right, index: 1 };
        both.left(writes(vec![at_epoch(2, put("a", "1", request(1, 1, false)))]));
        both.right(writes(vec![at_epoch(2, put("z", "1", request(1, 2, false)))]));
        both
    }

    fn left(&mut self, command: Command) -> Applied {
        self.index += 1;
        self.left.apply(vec![step(self.index, &command)], &Three).unwrap().remove(0)
    }

    fn right(&mut self, command: Command) -> Applied {
        self.index += 1;
        self.right.apply(vec![step(self.index, &command)], &Three).unwrap().remove(0)
    }

    fn begin(&mut self) -> Applied {
        self.left(merge(Epoch(2)))
    }

    /// What the left one's leader proposes once the right one is frozen.
    fn absorb(&self) -> Command {
        let right = self.right.descriptor().unwrap().clone();
        let frozen_at = self.right.jobs().frozen().map_or(0, |frozen| frozen.index);
        Command::Absorb(Absorb { job: JOB, at_millis: 1000, right, frozen_at, replicas: vec![(REPLICA, BESIDE)] })
    }

    fn merged(role: Role) -> Self {
        let mut both = Self::of(role);
        assert_eq!((both.begin(), both.right(freeze())), (Applied::Nothing, Applied::Nothing));
        let absorb = both.absorb();
        assert!(matches!(both.left(absorb), Applied::Absorbed(_)));
        both
    }
}

fn merge(left_epoch: Epoch) -> Command {
    let kind = JobKind::Merge { right: RIGHT, left_epoch, right_epoch: Epoch(2) };
    let (paused, cancelled, cut_over) = (false, false, false);
    Command::Job(JobChange::Begin(Job {
        id: JOB,
        kind,
        bytes_per_second: 0,
        paused,
        cancelled,
        cut_over,
        begun_at_millis: 1,
    }))
}

fn members() -> Vec<(NodeId, Role)> {
    Three.voters().unwrap().unwrap()
}

fn freeze() -> Command {
    Command::Freeze(Freeze { into: LEFT, job: JOB, epoch: Epoch(2), left_epoch: Epoch(2), members: members() })
}

const fn thaw() -> Command {
    Command::Thaw(Thaw { into: LEFT, job: JOB, epoch: Epoch(2) })
}

fn cancel() -> Command {
    Command::Job(JobChange::Control(JobControl { job: JOB, cancel: true, ..JobControl::default() }))
}

fn refused(applied: &Applied, word: &str) {
    assert!(matches!(applied, Applied::Refused(reason) if reason.contains(word)), "{applied:?}");
}

fn residence(store: &MemoryStore, replica: ReplicaId) -> Option<Residence> {
    let found = store.records(&key(RESIDENT, replica)).unwrap().into_iter().next();
    found.map(|(_, value)| decode_residence(replica, value).unwrap())
}

#[test]
fn a_frozen_shard_takes_no_write_split_or_job_until_it_is_thawed() {
    let mut both = Neighbours::of(Role::Data);
    assert_eq!(both.right(freeze()), Applied::Nothing);
    for (epoch, answer) in [(2, Answer::WrongEpoch { now: Epoch(3) }), (3, Answer::Frozen)] {
        let late = writes(vec![at_epoch(epoch, put("z", "late", None))]);
        assert_eq!(both.right(late), Applied::Writes(vec![answer]));
    }
    let replicas = vec![(BESIDE, ReplicaId(9))];
    let at = Bytes::from_static(b"t");
    let split = Command::Split(Split { at, epoch: Epoch(3), right: ShardId(3), replicas });
    refused(&both.right(split), "merged into shard 1");
    let job = Job { id: 9, kind: JobKind::Remove { leaving: BESIDE, leaving_node: NodeId(1) }, ..running() };
    refused(&both.right(Command::Job(JobChange::Begin(job))), "merged into shard 1");
    assert_eq!(both.right.store().get(b"z").unwrap().unwrap().value, "1");
    assert_eq!(both.right(thaw()), Applied::Nothing);
    assert_eq!(written(&[both.right(writes(vec![at_epoch(4, put("z", "2", None))]))]).len(), 1);
}

fn running() -> Job {
    let kind = JobKind::Merge { right: RIGHT, left_epoch: Epoch(2), right_epoch: Epoch(2) };
    let (paused, cancelled, cut_over) = (false, false, false);
    Job { id: JOB, kind, bytes_per_second: 0, paused, cancelled, cut_over, begun_at_millis: 1 }
}

#[test]
fn a_delayed_freeze_of_a_merge_that_was_given_up_freezes_nothing() {
    for early in [vec![freeze(), thaw()], vec![thaw()], vec![freeze(), freeze(), thaw(), thaw()]] {
        let mut both = Neighbours::of(Role::Data);
        for command in early {
            assert_eq!(both.right(command), Applied::Nothing);
        }
        refused(&both.right(freeze()), "look again");
        assert_eq!(both.right.jobs().frozen(), None);
    }
}

#[test]
fn a_thaw_that_comes_late_leaves_a_shard_frozen_for_a_later_merge() {
    let mut both = Neighbours::of(Role::Data);
    both.right(freeze());
    both.right(thaw());
    let again = Freeze { into: LEFT, job: 8, epoch: Epoch(4), left_epoch: Epoch(2), members: members() };
    assert_eq!(both.right(Command::Freeze(again)), Applied::Nothing);
    both.right(thaw());
    assert!(both.right.jobs().is_frozen_for(LEFT, 8));
    assert_eq!(both.right.descriptor().unwrap().epoch, Epoch(5));
}

#[test]
fn a_shard_with_other_members_another_epoch_or_a_job_of_its_own_is_not_frozen() {
    let mut both = Neighbours::of(Role::Data);
    let members: Vec<_> = members().into_iter().take(2).collect();
    let other = Freeze { into: LEFT, job: JOB, epoch: Epoch(2), left_epoch: Epoch(2), members };
    refused(&both.right(Command::Freeze(other)), "same members");
    let old = Freeze {
        into: LEFT,
        job: JOB,
        epoch: Epoch(1),
        left_epoch: Epoch(2),
        members: Three.voters().unwrap().unwrap(),
    };
    refused(&both.right(Command::Freeze(old)), "look again");
    let job = Job { id: 9, kind: JobKind::Remove { leaving: BESIDE, leaving_node: NodeId(1) }, ..running() };
    both.right(Command::Job(JobChange::Begin(job)));
    refused(&both.right(freeze()), "job 9");
    assert_eq!(both.right.jobs().frozen(), None);
}

#[test]
fn shards_that_become_one_keep_their_records_and_know_the_writes_of_both() {
    let mut both = Neighbours::merged(Role::Data);
    let merged = both.left.descriptor().unwrap().clone();
    assert_eq!((merged.shard, &merged.range, merged.epoch), (LEFT, &KeyRange::all(), Epoch(4)));
    let before = both.left.store().get(b"z").unwrap().unwrap();
    let again = |key, value, sequence| at_epoch(4, put(key, value, request(1, sequence, true)));
    let retries = writes(vec![again("a", "late", 1), again("z", "late", 2)]);
    let versions = written(&[both.left(retries)]);
    assert_eq!(versions[1], before.version);
    assert_eq!(both.left.store().get(b"z").unwrap(), Some(before.clone()));
    let new = written(&[both.left(writes(vec![at_epoch(4, put("z", "2", request(1, 3, false)))]))]);
    assert!(new[0] > before.version, "{new:?} is not above {}", before.version);
    // What was routed by the epoch before is asked again.
    let old = both.left(writes(vec![at_epoch(2, put("a", "3", None))]));
    assert_eq!(old, Applied::Writes(vec![Answer::WrongEpoch { now: Epoch(4) }]));
}

#[test]
fn what_was_absorbed_is_there_when_the_replica_opens_again_and_its_neighbour_leaves_without_its_data() {
    let both = Neighbours::merged(Role::Data);
    let store = Arc::clone(both.left.store());
    let mut again = Machine::open(REPLICA, Role::Data, Arc::clone(&store)).unwrap();
    assert_eq!(again.descriptor(), both.left.descriptor());
    assert_eq!(again.sessions, both.left.sessions);
    assert!(again.jobs().running().unwrap().cut_over);
    let retry = writes(vec![at_epoch(4, put("z", "late", request(1, 2, true)))]);
    again.apply(vec![step(50, &retry)], &Three).unwrap();
    assert_eq!(store.get(b"z").unwrap().unwrap().value, "1");
    let leaving = residence(&store, BESIDE).unwrap();
    assert!(leaving.leaving && leaving.absorbed);
}

#[test]
fn a_cancellation_and_an_absorption_are_ordered_by_the_log_and_the_first_one_holds() {
    let mut both = Neighbours::of(Role::Data);
    both.begin();
    both.right(freeze());
    let absorb = both.absorb();
    both.left(cancel());
    refused(&both.left(absorb), "cancelled");
    assert_eq!(both.left.descriptor().unwrap().epoch, Epoch(2));
    let mut both = Neighbours::merged(Role::Data);
    refused(&both.left(cancel()), "changed the shard already");
    let again = both.absorb();
    refused(&both.left(again), "does not begin where");
    assert_eq!(both.begin(), Applied::Nothing, "asked for again it is no refusal");
}

#[test]
fn a_neighbour_is_absorbed_for_its_own_job_alone() {
    let mut both = Neighbours::of(Role::Data);
    both.right(freeze());
    let absorb = both.absorb();
    refused(&both.left(absorb.clone()), "not under way");
    let job = Job { kind: JobKind::Remove { leaving: REPLICA, leaving_node: NodeId(1) }, ..running() };
    both.left(Command::Job(JobChange::Begin(job)));
    refused(&both.left(absorb), "does not merge");
}

#[test]
fn a_merge_that_was_decided_by_another_epoch_does_not_begin() {
    let mut both = Neighbours::of(Role::Data);
    refused(&both.left(merge(Epoch(1))), "look again");
    let meta =
        Job { kind: JobKind::Merge { right: ShardId::META, left_epoch: Epoch(2), right_epoch: Epoch(1) }, ..running() };
    refused(&both.left(Command::Job(JobChange::Begin(meta))), "stays alone");
    assert_eq!(both.left.jobs().running(), None);
}

/// Nobody proposes it; were it so, the replica must not go on from less than was acknowledged.
#[test]
fn a_data_replica_stops_rather_than_absorb_a_neighbour_that_is_not_frozen_beside_it() {
    let mut both = Neighbours::of(Role::Data);
    both.begin();
    let absorb = both.absorb();
    let applied = both.left.apply(vec![step(50, &absorb)], &Three);
    assert!(matches!(applied, Err(MachineError::NotFrozen { right: RIGHT, .. })), "{applied:?}");
    // As after a snapshot that was installed by half.
    let mut both = Neighbours::of(Role::Data);
    both.begin();
    both.right(freeze());
    let mark = (key(INSTALLING, BESIDE), Some(Bytes::new()));
    both.right.store().apply(&[], &mut |_| vec![mark.clone()]).unwrap();
    let absorb = both.absorb();
    assert!(both.left.apply(vec![step(50, &absorb)], &Three).is_err());
}

#[test]
fn a_witness_absorbs_too_and_one_beside_it_that_was_never_made_is_not_made_any_more() {
    let both = Neighbours::merged(Role::Witness);
    assert_eq!(both.left.descriptor().unwrap().range, KeyRange::all());
    assert!(residence(both.left.store(), BESIDE).unwrap().leaving);
    let mut both = Neighbours::of(Role::Witness);
    let gone = (key(RESIDENT, BESIDE), None);
    both.left.store().apply(&[], &mut |_| vec![gone.clone()]).unwrap();
    both.begin();
    both.right(freeze());
    let absorb = both.absorb();
    both.left(absorb);
    assert_eq!(both.left.store().records(&key(REMOVED, BESIDE)).unwrap().len(), 1);
}

#[test]
fn a_snapshot_of_a_frozen_shard_leaves_the_data_alone_which_may_be_its_neighbours_by_now() {
    let mut elsewhere = Neighbours::of(Role::Data);
    elsewhere.begin();
    elsewhere.right(freeze());
    let folder = tempfile::tempdir().unwrap();
    let snapshot = Snapshot::take(&**elsewhere.right.store(), BESIDE, Role::Data, folder.path()).unwrap();
    let mut both = Neighbours::merged(Role::Data);
    both.left(writes(vec![at_epoch(4, put("z", "of the left one", None))]));
    both.right.install(&snapshot).unwrap();
    assert_eq!(both.left.store().get(b"z").unwrap().unwrap().value, "of the left one");
}

#[test]
fn a_replica_that_was_away_and_gets_a_snapshot_has_its_neighbour_leave_too() {
    let mut elsewhere = Neighbours::merged(Role::Data);
    elsewhere.left(writes(vec![at_epoch(4, put("z", "later", None))]));
    let folder = tempfile::tempdir().unwrap();
    let snapshot = Snapshot::take(&**elsewhere.left.store(), REPLICA, Role::Data, folder.path()).unwrap();
    let mut both = Neighbours::of(Role::Data);
    both.right(freeze());
    assert!(both.left.install(&snapshot).unwrap().absorbed);
    let leaving = residence(both.left.store(), BESIDE).unwrap();
    assert!(leaving.leaving && leaving.absorbed);
    assert_eq!(both.left.store().get(b"z").unwrap().unwrap().value, "later");
    // One of the same shards at another time says nothing of them.
    let mut both = Neighbours::of(Role::Data);
    let own = Snapshot::take(&**both.left.store(), REPLICA, Role::Data, folder.path()).unwrap();
    assert!(!both.left.install(&own).unwrap().absorbed);
    assert!(!residence(both.left.store(), BESIDE).unwrap().leaving);
}
