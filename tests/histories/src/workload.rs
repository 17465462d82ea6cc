//! What a recorded client does: drawn from a seed, on few keys so that clients meet, and on new ones after a while so that
//! the history of each stays short enough to be judged.

use std::collections::HashMap;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::store::{Answer, Mutation, Request};

/// The keys of a run: a few in use at a time under each prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// Batches stay within one prefix, and a prefix within one shard or node. No other run may have used them.
    pub prefixes: Vec<String>,
    /// Keys in use at a time under each prefix.
    pub each: u32,
    /// After this long others are used.
    pub lifetime: Duration,
}

impl Keys {
    fn generation(&self, at: Duration) -> u64 {
        (at.as_millis() / self.lifetime.as_millis().max(1)) as u64
    }

    fn key(prefix: &str, generation: u64, index: u32) -> String {
        format!("{prefix}{generation:05}/{index}")
    }

    /// Every key that a run of this length may have used.
    #[must_use]
    pub fn until(&self, length: Duration) -> Vec<String> {
        let of_prefix = |prefix: &String| -> Vec<String> {
            let generations = 0..=self.generation(length);
            generations
                .flat_map(|generation| (0..self.each).map(move |index| (generation, index)))
                .map(|(generation, index)| Self::key(prefix, generation, index))
                .collect()
        };
        self.prefixes.iter().flat_map(of_prefix).collect()
    }
}

/// The calls of one client.
#[derive(Debug)]
pub struct Workload {
    client: u32,
    keys: Keys,
    random: ChaCha8Rng,
    /// The version each key had when this client last heard of it; 0: no record.
    known: HashMap<String, u64>,
    values: u64,
}

impl Workload {
    /// The calls of `client`; the same for the same seed, times and answers.
    #[must_use]
    pub fn new(seed: u64, client: u32, keys: Keys) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(u64::from(client));
        Self { client, keys, random, known: HashMap::new(), values: 0 }
    }

    /// The call to make at this time of the run.
    pub fn next_call(&mut self, at: Duration) -> Request {
        let generation = self.keys.generation(at);
        let prefix = self.random.random_range(0..self.keys.prefixes.len());
        let first = self.random.random_range(0..self.keys.each);
        let key_at = |index: u32| Keys::key(&self.keys.prefixes[prefix], generation, index % self.keys.each);
        let key = key_at(first);
        // Of a hundred: 40 reads, 30 plain writes, 30 conditional ones; a quarter of the writes are batches.
        let draw = self.random.random_range(0..100);
        if draw < 40 {
            return Request::Get { key };
        }
        let expected = (draw >= 70).then(|| self.known.get(&key).copied().unwrap_or(0));
        let others = if self.random.random_bool(0.25) && self.keys.each > 1 {
            self.random.random_range(1..self.keys.each.min(4))
        } else {
            0
        };
        let keys: Vec<String> = (0..=others).map(|step| key_at(first + step)).collect();
        let mutations = keys.into_iter().map(|key| Mutation { key, value: self.value() }).collect();
        Request::Write { expected, mutations }
    }

    /// How long the client waits before its next call, at most `longest`.
    pub fn pause(&mut self, longest: Duration) -> Duration {
        longest.mul_f64(self.random.random::<f64>())
    }

    /// Takes in what a call was told, for conditions to come.
    pub fn heard(&mut self, request: &Request, answer: &Answer) {
        match (request, answer) {
            (Request::Get { key }, Answer::Found { version, .. }) => self.known.insert(key.clone(), *version),
            (Request::Get { key }, Answer::Absent) => self.known.insert(key.clone(), 0),
            (Request::Write { mutations, .. }, Answer::ConditionFailed { actual }) => {
                mutations.first().and_then(|first| self.known.insert(first.key.clone(), *actual))
            }
            (Request::Write { mutations, .. }, Answer::Written { version }) => {
                for Mutation { key, value } in mutations {
                    self.known.insert(key.clone(), if value.is_some() { *version } else { 0 });
                }
                None
            }
            _ => None,
        };
    }

    /// A value that nobody else writes, or a deletion one time in five.
    fn value(&mut self) -> Option<String> {
        self.values += 1;
        self.random.random_bool(0.8).then(|| format!("{}-{}", self.client, self.values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Keys {
        Keys { prefixes: vec!["a/".to_owned(), "z/".to_owned()], each: 3, lifetime: Duration::from_secs(5) }
    }

    fn calls(seed: u64, client: u32) -> Vec<Request> {
        let mut workload = Workload::new(seed, client, keys());
        (0..2000).map(|number| workload.next_call(Duration::from_millis(number * 10))).collect()
    }

    #[test]
    fn a_seed_gives_the_same_calls_again_and_clients_differ() {
        assert_eq!(calls(7, 1), calls(7, 1));
        assert_ne!(calls(7, 1), calls(7, 2));
        assert_ne!(calls(7, 1), calls(8, 1));
    }

    #[test]
    fn batches_stay_within_a_prefix_and_name_no_key_twice() {
        for call in calls(1, 0) {
            let Request::Write { mutations, .. } = call else { continue };
            let mut named: Vec<&str> = mutations.iter().map(|mutation| mutation.key.as_str()).collect();
            assert!(named.iter().all(|key| key[..2] == named[0][..2]), "{named:?}");
            named.sort_unstable();
            named.dedup();
            assert_eq!(named.len(), mutations.len());
        }
    }

    #[test]
    fn no_value_is_written_twice_and_every_kind_of_call_is_made() {
        let all: Vec<Request> = calls(3, 0).into_iter().chain(calls(3, 1)).collect();
        let mut values: Vec<&str> = Vec::new();
        let mut kinds = [0; 5];
        for call in &all {
            match call {
                Request::Get { .. } => kinds[0] += 1,
                Request::Write { expected, mutations } => {
                    kinds[1 + usize::from(expected.is_some()) * 2 + usize::from(mutations.len() > 1)] += 1;
                    values.extend(mutations.iter().filter_map(|mutation| mutation.value.as_deref()));
                }
            }
        }
        let count = values.len();
        values.sort_unstable();
        values.dedup();
        assert_eq!(values.len(), count);
        assert!(kinds.iter().all(|count| *count > 50), "{kinds:?}");
    }

    #[test]
    fn every_key_that_was_used_is_among_those_read_at_the_end() {
        let all = keys().until(Duration::from_secs(20));
        for call in calls(5, 0) {
            match call {
                Request::Get { key } => assert!(all.contains(&key), "{key}"),
                Request::Write { mutations, .. } => assert!(mutations.iter().all(|one| all.contains(&one.key))),
            }
        }
    }
}
