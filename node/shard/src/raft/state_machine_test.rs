#![allow(clippy::unwrap_used)]
use tokio::sync::mpsc;

use super::*;
use crate::machine::{ExportedData, MemoryStore};

fn of(role: Role) -> (SnapshotMeta, SnapshotData<MemoryStore>) {
    let last = LogId::new(LeaderId { term: 1, node_id: ReplicaId(1) }, 7);
    let snapshot = Snapshot {
        role,
        applied: encode_log_id(&last),
        membership: None,
        descriptor: None,
        sessions: Vec::new(),
        jobs: Jobs::default(),
        of: ReplicaId(1),
        data: ExportedData::Records(Vec::new()),
    };
    let meta = SnapshotMeta { last_log_id: Some(last), last_membership: StoredMembership::default() };
    (meta, SnapshotData::Taken(Box::new(snapshot)))
}

#[tokio::test]
async fn a_state_that_was_replaced_is_another_one_and_one_whose_replacing_failed_is_not_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (store, news) = (Arc::<MemoryStore>::default(), mpsc::unbounded_channel().0);
    let staging = folder.path().to_owned();
    let mut machine = ReplicaStateMachine::open(store, ReplicaId(2), Role::Data, staging, news).unwrap();
    let replaced = machine.replaced();
    let before = replaced.whole().unwrap();
    let (meta, whole) = of(Role::Data);
    machine.install_snapshot(&meta, whole).await.unwrap();
    assert_ne!(replaced.whole().unwrap(), before);
    let (meta, none) = of(Role::Witness);
    machine.install_snapshot(&meta, none).await.unwrap_err();
    assert_eq!(replaced.whole(), None, "how much of it is left nobody knows here");
}
