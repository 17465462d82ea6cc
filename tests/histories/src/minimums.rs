//! What a run must have done at least: one in which nothing happened finds no violation either.

use std::collections::BTreeMap;
use std::fmt;

/// What happened in a run, by what it is called, such as `operations`, `splits` or a kind of fault.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts(BTreeMap<&'static str, u64>);

/// The least that must have happened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Minimums(pub Counts);

/// A run that says nothing, for too little happened in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the run says nothing: {}; let it run longer, or find out what held it up", .0.join(", "))]
pub struct TooFew(Vec<String>);

impl Counts {
    /// These, and nothing else.
    pub fn of(counts: impl IntoIterator<Item = (&'static str, u64)>) -> Self {
        let mut all = Self::default();
        all.extend(counts);
        all
    }

    /// How often this happened.
    #[must_use]
    pub fn get(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or(0)
    }

    /// It happened once more.
    pub fn note(&mut self, what: &'static str) {
        self.extend([(what, 1)]);
    }
}

impl Extend<(&'static str, u64)> for Counts {
    fn extend<T: IntoIterator<Item = (&'static str, u64)>>(&mut self, counts: T) {
        for (what, count) in counts {
            *self.0.entry(what).or_default() += count;
        }
    }
}

impl IntoIterator for Counts {
    type Item = (&'static str, u64);
    type IntoIter = std::collections::btree_map::IntoIter<&'static str, u64>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<String> = self.0.iter().map(|(what, count)| format!("{count} {what}")).collect();
        write!(f, "{}", all.join(", "))
    }
}

impl Minimums {
    /// Whether enough happened.
    ///
    /// # Errors
    /// Everything there was too little of.
    pub fn check(&self, counts: &Counts) -> Result<(), TooFew> {
        let short = self.0.0.iter().map(|(what, least)| (what, counts.get(what), least));
        let short = short.filter(|(_, had, least)| had < least);
        let short: Vec<String> =
            short.map(|(what, had, least)| format!("{had} {what}, at least {least} are needed")).collect();
        if short.is_empty() { Ok(()) } else { Err(TooFew(short)) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_run_with_too_little_of_anything_fails_and_names_it() {
        let minimums = Minimums(Counts::of([("operations", 100), ("splits", 1)]));
        let enough = Counts::of([("operations", 100), ("splits", 1), ("moves", 7)]);
        assert_eq!(minimums.check(&enough), Ok(()));
        let error = minimums.check(&Counts::of([("operations", 99), ("moves", 7)])).unwrap_err().to_string();
        assert!(error.contains("99 operations, at least 100") && error.contains("0 splits, at least 1"), "{error}");
        assert!(!error.contains("moves"), "{error}");
    }

    #[test]
    fn what_happens_again_is_counted_again() {
        let mut counts = Counts::of([("moves", 2)]);
        counts.note("moves");
        counts.extend(Counts::of([("splits", 1)]));
        assert_eq!(counts.to_string(), "3 moves, 1 splits");
    }
}
