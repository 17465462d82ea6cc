//! The keys behind record numbers.

use bytes::Bytes;
use thermocline_client::RangeTable;
use thermocline_proto::FIRST_OWN_KEY;

/// Gives the key of a record number.
pub trait KeySource: Send + Sync {
    /// The key of record `number`; numbers beyond the loaded records name new keys.
    fn key(&self, number: u64) -> Bytes;
}

/// Numbered keys under one prefix per node, so that every node takes its part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberedKeys {
    prefixes: Vec<Bytes>,
}

impl NumberedKeys {
    /// All keys under one prefix.
    #[must_use]
    pub fn under(prefix: impl Into<Bytes>) -> Self {
        Self { prefixes: vec![prefix.into()] }
    }

    /// Keys under `name`, spread over all ranges of the table: each range's start followed by `name`, where that lies
    /// in the range. Record numbers go around the ranges.
    #[must_use]
    pub fn spread(name: &str, ranges: &RangeTable) -> Self {
        let prefixes: Vec<Bytes> = ranges
            .iter()
            // Those behind are the cluster's own.
            .filter(|(range, _)| range.start().as_ref() < FIRST_OWN_KEY)
            .filter_map(|(range, _)| {
                let prefix: Bytes = [range.start(), name.as_bytes()].concat().into();
                let after = thermocline_client::prefix_end(&prefix);
                let inside =
                    range.contains(&prefix) && (range.end().is_empty() || (!after.is_empty() && after <= *range.end()));
                inside.then_some(prefix)
            })
            .collect();
        if prefixes.is_empty() {
            return Self::under(name.to_owned());
        }
        Self { prefixes }
    }

    /// The prefixes in use.
    #[must_use]
    pub fn prefixes(&self) -> &[Bytes] {
        &self.prefixes
    }
}

impl KeySource for NumberedKeys {
    fn key(&self, number: u64) -> Bytes {
        let count = self.prefixes.len() as u64;
        let prefix = &self.prefixes[(number % count) as usize];
        let digits = format!("{:012}", number / count);
        [prefix, digits.as_bytes()].concat().into()
    }
}

/// Keys of a data set that is loaded already.
#[derive(Debug, Clone)]
pub struct ListedKeys {
    keys: Vec<Bytes>,
}

impl ListedKeys {
    /// The keys, in the order of record numbers; `None` where there are none.
    #[must_use]
    pub fn new(keys: Vec<Bytes>) -> Option<Self> {
        (!keys.is_empty()).then_some(Self { keys })
    }

    /// How many there are.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.keys.len() as u64
    }
}

impl KeySource for ListedKeys {
    fn key(&self, number: u64) -> Bytes {
        let count = self.count();
        let listed = &self.keys[(number % count) as usize];
        if number < count {
            return listed.clone();
        }
        // A new key sorts next to a listed one, so it belongs to the same range.
        [listed, format!("+{}", number / count).as_bytes()].concat().into()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use thermocline_client::KeyRange;

    use super::*;

    #[test]
    fn spread_keys_reach_every_node_and_differ() {
        let table = RangeTable::new(vec![
            (KeyRange::new("", "h").unwrap(), 0),
            (KeyRange::new("h", "p").unwrap(), 1),
            (KeyRange::new("p", "").unwrap(), 2),
        ])
        .unwrap();
        let keys = NumberedKeys::spread("bench/", &table);
        let owners: BTreeSet<usize> = (0..9).map(|number| table.owner(&keys.key(number))).collect();
        assert_eq!(owners, BTreeSet::from([0, 1, 2]));
        let distinct: BTreeSet<Bytes> = (0..1000).map(|number| keys.key(number)).collect();
        assert_eq!(distinct.len(), 1000);
    }

    #[test]
    fn no_key_is_one_of_the_clusters_own() {
        let own = Bytes::from_static(FIRST_OWN_KEY);
        let table =
            RangeTable::new(vec![(KeyRange::new("", own.clone()).unwrap(), 0), (KeyRange::new(own, "").unwrap(), 1)])
                .unwrap();
        assert_eq!(NumberedKeys::spread("bench/", &table).prefixes(), ["bench/"]);
    }

    #[test]
    fn a_range_too_narrow_for_the_prefix_is_left_out() {
        let table =
            RangeTable::new(vec![(KeyRange::new("", "a").unwrap(), 0), (KeyRange::new("a", "").unwrap(), 1)]).unwrap();
        let keys = NumberedKeys::spread("bench/", &table);
        assert_eq!(keys.prefixes(), ["abench/"]);
    }

    #[test]
    fn new_keys_of_a_listed_set_are_new() {
        let keys = ListedKeys::new(vec!["a".into(), "b".into()]).unwrap();
        assert_eq!(keys.key(1), "b");
        assert_eq!(keys.key(3), "b+1");
        assert!(ListedKeys::new(Vec::new()).is_none());
    }
}
