//! Bugs that a run can be given, to see that the invariants find them.

/// A bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Flaw {
    /// Entries of a log are acknowledged before they are synced.
    EntriesNotSynced,
    /// A vote is acknowledged and never saved.
    VoteNotSaved,
    /// The state machine says that it is synced and is not: the log is let go too early.
    StateNotSynced,
    /// Reads do not ask a quorum whether the replica still leads.
    ReadsWithoutQuorum,
    /// A retry is taken for a new write.
    RetriesForgotten,
}

impl Flaw {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::EntriesNotSynced,
        Self::VoteNotSaved,
        Self::StateNotSynced,
        Self::ReadsWithoutQuorum,
        Self::RetriesForgotten,
    ];

    /// As the command line has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::EntriesNotSynced => "entries-not-synced",
            Self::VoteNotSaved => "vote-not-saved",
            Self::StateNotSynced => "state-not-synced",
            Self::ReadsWithoutQuorum => "reads-without-quorum",
            Self::RetriesForgotten => "retries-forgotten",
        }
    }
}
