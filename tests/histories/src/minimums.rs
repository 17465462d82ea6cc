//! What a run must have done at least: one in which nothing happened finds no violation either.

/// What happened in a run. What a cluster does not tell yet, or cannot do, stays 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Operations with an answer.
    pub operations: u64,
    /// Faults that were brought about.
    pub faults: u64,
    /// Elections won.
    pub elections: u64,
    /// Moves of data that ended.
    pub moves: u64,
    /// Splits of shards that ended.
    pub splits: u64,
}

/// The least that must have happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Minimums(pub Counts);

/// A run that says nothing, for too little happened in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the run says nothing: {}; let it run longer, or find out what held it up", .0.join(", "))]
pub struct TooFew(Vec<String>);

impl Counts {
    /// What happened since `earlier`, where a cluster counts from its own start.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self {
            operations: self.operations.saturating_sub(earlier.operations),
            faults: self.faults.saturating_sub(earlier.faults),
            elections: self.elections.saturating_sub(earlier.elections),
            moves: self.moves.saturating_sub(earlier.moves),
            splits: self.splits.saturating_sub(earlier.splits),
        }
    }

    const fn named(&self) -> [(&'static str, u64); 5] {
        [
            ("operations", self.operations),
            ("faults", self.faults),
            ("elections", self.elections),
            ("moves", self.moves),
            ("splits", self.splits),
        ]
    }
}

impl Minimums {
    /// Whether enough happened.
    ///
    /// # Errors
    /// Everything there was too little of.
    pub fn check(&self, counts: &Counts) -> Result<(), TooFew> {
        let least = self.0.named();
        let short = counts.named().into_iter().zip(least).filter(|((_, had), (_, least))| had < least);
        let short: Vec<String> =
            short.map(|((name, had), (_, least))| format!("{had} {name}, at least {least} are needed")).collect();
        if short.is_empty() { Ok(()) } else { Err(TooFew(short)) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_run_with_too_little_of_anything_fails_and_names_it() {
        let minimums = Minimums(Counts { operations: 100, splits: 1, ..Counts::default() });
        let enough = Counts { operations: 100, splits: 1, moves: 7, ..Counts::default() };
        assert_eq!(minimums.check(&enough), Ok(()));
        let error = minimums.check(&Counts { operations: 99, splits: 0, ..enough }).unwrap_err().to_string();
        assert!(error.contains("99 operations, at least 100") && error.contains("0 splits, at least 1"), "{error}");
        assert!(!error.contains("moves"), "{error}");
    }

    #[test]
    fn what_a_cluster_counted_before_the_run_is_not_of_the_run() {
        let before = Counts { elections: 3, ..Counts::default() };
        let after = Counts { elections: 5, moves: 1, ..Counts::default() };
        assert_eq!(after.since(before), Counts { elections: 2, moves: 1, ..Counts::default() });
    }
}
