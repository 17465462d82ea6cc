//! What a link does to what passes through it.

use std::time::Duration;

/// What happens to the bytes of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// They pass.
    Pass,
    /// They pass, this much later, in order.
    Delay(Duration),
    /// They pass at this many bytes a second.
    Slow {
        /// Bytes a second.
        bytes: u64,
    },
    /// They wait until the rule changes: what TCP makes of lost packets, once packets pass again.
    Hold,
}

/// What a link does. Forward is from who connects to who listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Connections are made, and carry bytes.
    Carry {
        /// From who connects.
        forward: Flow,
        /// To who connects.
        back: Flow,
    },
    /// Connections are reset and no new one is taken: what a process that is gone does.
    Refuse,
}

impl Rule {
    /// Nothing happens.
    pub const PASS: Self = Self::both(Flow::Pass);
    /// Nothing passes either way.
    pub const CUT: Self = Self::both(Flow::Hold);
    /// Nothing passes from who connects.
    pub const FORWARD_LOST: Self = Self::Carry { forward: Flow::Hold, back: Flow::Pass };
    /// Nothing passes to who connects.
    pub const BACK_LOST: Self = Self::Carry { forward: Flow::Pass, back: Flow::Hold };

    /// The same both ways.
    #[must_use]
    pub const fn both(flow: Flow) -> Self {
        Self::Carry { forward: flow, back: flow }
    }

    /// The same for a connection that the other end made.
    #[must_use]
    pub const fn reversed(self) -> Self {
        match self {
            Self::Carry { forward, back } => Self::Carry { forward: back, back: forward },
            Self::Refuse => Self::Refuse,
        }
    }

    /// Whether a connection can be made: its packets go both ways.
    pub(crate) const fn connects(self) -> bool {
        matches!(self, Self::Carry { forward, back } if !matches!(forward, Flow::Hold) && !matches!(back, Flow::Hold))
    }
}
