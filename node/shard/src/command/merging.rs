//! The commands of a merge as messages.

use thermocline_proto::replica::v1 as wire;

use super::{Absorb, DecodeError, Freeze, Thaw, known_pairs, pairs};
use crate::{Epoch, NodeId, Role, ShardDescriptor, ShardId};

impl From<&Freeze> for wire::Freeze {
    fn from(freeze: &Freeze) -> Self {
        let place = |(node, role): &(NodeId, Role)| wire::Place { node: node.0, role: wire::Role::from(*role).into() };
        Self {
            into: freeze.into.0,
            job: freeze.job,
            epoch: freeze.epoch.0,
            left_epoch: freeze.left_epoch.0,
            members: freeze.members.iter().map(place).collect(),
        }
    }
}

impl TryFrom<wire::Freeze> for Freeze {
    type Error = DecodeError;

    fn try_from(message: wire::Freeze) -> Result<Self, DecodeError> {
        let unknown = DecodeError::Content("a role that this version does not know");
        let place = |place: &wire::Place| Some((NodeId(place.node), Role::known(place.role())?));
        let members = message.members.iter().map(place).collect::<Option<_>>().ok_or(unknown)?;
        let (epoch, left_epoch) = (Epoch(message.epoch), Epoch(message.left_epoch));
        Ok(Self { into: ShardId(message.into), job: message.job, epoch, left_epoch, members })
    }
}

impl From<&Thaw> for wire::Thaw {
    fn from(thaw: &Thaw) -> Self {
        Self { into: thaw.into.0, job: thaw.job, epoch: thaw.epoch.0 }
    }
}

impl From<wire::Thaw> for Thaw {
    fn from(message: wire::Thaw) -> Self {
        Self { into: ShardId(message.into), job: message.job, epoch: Epoch(message.epoch) }
    }
}

impl From<&Absorb> for wire::Absorb {
    fn from(absorb: &Absorb) -> Self {
        let Absorb { job, at_millis, right, frozen_at, replicas } = absorb;
        Self {
            job: *job,
            at_millis: *at_millis,
            right: Some(right.into()),
            frozen_at: *frozen_at,
            replicas: pairs(replicas),
        }
    }
}

impl TryFrom<wire::Absorb> for Absorb {
    type Error = DecodeError;

    fn try_from(message: wire::Absorb) -> Result<Self, DecodeError> {
        let wire::Absorb { job, at_millis, right, frozen_at, replicas } = message;
        let right = right.ok_or(DecodeError::Content("no neighbour to absorb"))?;
        let right = ShardDescriptor::try_from(right);
        let right = right.map_err(|_| DecodeError::Content("a range that ends before it starts"))?;
        Ok(Self { job, at_millis, right, frozen_at, replicas: known_pairs(&replicas) })
    }
}
