//! The reasons that conditions carry: one list, documented, for people and for alerts.
//!
//! Contract: a reason is never reused with another meaning; an unknown state is a reason of its own.

/// Why a condition is as it is. The text form is the variant's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// Everything the object asks for is in place.
    AsDeclared,
    /// Nodes are being started or given new configuration.
    Reconciling,
    /// Some nodes do not answer; the message names them.
    NodesNotReady,
    /// No node answers.
    NoNodeReady,
    /// A process keeps ending; the message says with which exit status and where its log is.
    CrashLooping,
    /// A process refuses what it is started with and starting it again changes nothing; the message is its own and says what
    /// to correct.
    Refused,
    /// A process cannot be started at all; the message says why.
    CannotStart,
    /// A device is under its reserve: reads go on, writes are refused until space returns; the message says where to free it.
    OutOfSpace,
    /// Damaged files keep the fastest tier from being compacted and it is full: reads go on, writes are refused; the message is
    /// the node's and names the tier.
    TierDamaged,
    /// A process was stopped on request.
    Stopped,
    /// A node gives away what it holds; the message says how many replicas are left.
    Draining,
    /// A node is empty and does not run, as `spec.offline` asks.
    Offline,
    /// Reconciliation is switched off by `spec.pause`.
    Paused,
    /// Something the object names does not exist yet; the message says what.
    ReferenceNotFound,
    /// The object was accepted by the schema but cannot be followed; the message says why and what is allowed.
    InvalidSpec,
    /// Another object governs the same thing; the message names it.
    Conflict,
    /// The nodes follow this policy.
    InForce,
    /// A tier is over its high watermark and data moves down.
    OverWatermark,
    /// A device reports errors; the message says which node and tier.
    MediaErrors,
    /// A move is waiting for its nodes.
    Waiting,
    /// A move is under way.
    Moving,
    /// A move is held by `desired: Pause`.
    PausedByRequest,
    /// A move was proposed and waits for `approved: true`; the message says until when.
    NeedsApproval,
    /// What was copied is compared with what it was copied from.
    Verifying,
    /// A move was never begun: nobody approved it in time, or what it was for is no longer so; the message says which.
    Expired,
    /// A move ended with everything in place.
    Completed,
    /// A move was cancelled by `desired: Cancel`.
    Cancelled,
    /// A move ended without reaching its goal; the message says why.
    Failed,
    /// The state could not be found out.
    Unknown,
}

impl Reason {
    /// As it stands in a condition.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AsDeclared => "AsDeclared",
            Self::Reconciling => "Reconciling",
            Self::NodesNotReady => "NodesNotReady",
            Self::NoNodeReady => "NoNodeReady",
            Self::CrashLooping => "CrashLooping",
            Self::Refused => "Refused",
            Self::CannotStart => "CannotStart",
            Self::OutOfSpace => "OutOfSpace",
            Self::TierDamaged => "TierDamaged",
            Self::Stopped => "Stopped",
            Self::Draining => "Draining",
            Self::Offline => "Offline",
            Self::Paused => "Paused",
            Self::ReferenceNotFound => "ReferenceNotFound",
            Self::InvalidSpec => "InvalidSpec",
            Self::Conflict => "Conflict",
            Self::InForce => "InForce",
            Self::OverWatermark => "OverWatermark",
            Self::MediaErrors => "MediaErrors",
            Self::Waiting => "Waiting",
            Self::Moving => "Moving",
            Self::PausedByRequest => "PausedByRequest",
            Self::NeedsApproval => "NeedsApproval",
            Self::Verifying => "Verifying",
            Self::Expired => "Expired",
            Self::Completed => "Completed",
            Self::Cancelled => "Cancelled",
            Self::Failed => "Failed",
            Self::Unknown => "Unknown",
        }
    }
}
