//! How far away nodes are, and which of several replicas is near.

use std::{collections::BTreeMap, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::ReplicaRoute;

/// What a new measurement counts for: as TCP has it.
const WEIGHT: f64 = 0.125;
/// A measurement that is older says nothing any more: the node is tried again.
const OUTDATED: Duration = Duration::from_secs(30);
/// Nodes that are remembered, at most.
const REMEMBERED: usize = 1024;
/// Round trips differ by so much for no reason of distance.
const NOISE: Duration = Duration::from_millis(1);

/// Round trips to nodes, by address, smoothed.
#[derive(Debug, Default)]
pub(crate) struct Distances(Mutex<BTreeMap<String, (Duration, Instant)>>);

impl Distances {
    /// A node answered a read within this.
    pub(crate) fn note(&self, address: &str, trip: Duration) {
        let now = Instant::now();
        let mut known = self.0.lock();
        if known.len() >= REMEMBERED {
            known.retain(|_, (_, heard)| now.duration_since(*heard) < OUTDATED);
        }
        let before = known.get(address).filter(|(_, heard)| now.duration_since(*heard) < OUTDATED);
        let smoothed = before.map_or(trip, |(before, _)| before.mul_f64(1.0 - WEIGHT) + trip.mul_f64(WEIGHT));
        known.insert(address.to_owned(), (smoothed, now));
    }

    /// The round trip to a node; `None` where nothing is known any more.
    fn of(&self, address: &str) -> Option<Duration> {
        let known = self.0.lock();
        known.get(address).filter(|(_, heard)| heard.elapsed() < OUTDATED).map(|(trip, _)| *trip)
    }

    /// One of the replicas that are near; by `turn` another one each time.
    pub(crate) fn nearest<'a>(
        &self,
        replicas: impl Iterator<Item = &'a ReplicaRoute>,
        zone: Option<&str>,
        turn: u64,
    ) -> Option<&'a ReplicaRoute> {
        let measured = replicas.map(|replica| (replica, self.of(&replica.kv))).collect();
        let near = near(measured, zone);
        let at = turn.checked_rem(near.len() as u64)?;
        near.get(usize::try_from(at).ok()?).copied()
    }
}

/// Those in the zone, where there are any; of these the ones that are hardly further away than the nearest, and those of which it
/// is not known.
fn near<'a>(mut replicas: Vec<(&'a ReplicaRoute, Option<Duration>)>, zone: Option<&str>) -> Vec<&'a ReplicaRoute> {
    let here = |replica: &ReplicaRoute| zone.is_some_and(|zone| replica.zone == zone);
    if replicas.iter().any(|(replica, _)| here(replica)) {
        replicas.retain(|(replica, _)| here(replica));
    }
    let shortest = replicas.iter().filter_map(|(_, trip)| *trip).min().unwrap_or_default();
    replicas.retain(|(_, trip)| trip.is_none_or(|trip| trip <= shortest * 2 + NOISE));
    replicas.into_iter().map(|(replica, _)| replica).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replica(node: u64, zone: &str) -> ReplicaRoute {
        ReplicaRoute { node, kv: format!("h:{node}"), witness: false, zone: zone.to_owned() }
    }

    fn nodes(near: &[&ReplicaRoute]) -> Vec<u64> {
        near.iter().map(|replica| replica.node).collect()
    }

    fn millis(millis: u64) -> Option<Duration> {
        Some(Duration::from_millis(millis))
    }

    #[test]
    fn replicas_of_the_clients_zone_are_near_and_without_any_those_with_the_shortest_way() {
        let (one, two, three) = (replica(1, "a"), replica(2, "b"), replica(3, "b"));
        let all = || vec![(&one, millis(1)), (&two, millis(80)), (&three, millis(90))];
        assert_eq!(nodes(&near(all(), Some("b"))), [2, 3]);
        assert_eq!(nodes(&near(all(), Some("elsewhere"))), [1]);
        assert_eq!(nodes(&near(all(), None)), [1]);
    }

    #[test]
    fn a_replica_whose_way_nobody_knows_is_tried_and_one_that_is_hardly_further_is_near_too() {
        let (one, two, three) = (replica(1, ""), replica(2, ""), replica(3, ""));
        assert_eq!(nodes(&near(vec![(&one, millis(10)), (&two, None), (&three, millis(22))], None)), [1, 2]);
        assert_eq!(nodes(&near(vec![(&one, millis(0)), (&two, millis(1))], None)), [1, 2]);
        assert_eq!(nodes(&near(Vec::new(), None)), Vec::<u64>::new());
    }

    #[tokio::test(start_paused = true)]
    async fn near_replicas_take_turns_and_what_was_measured_long_ago_is_forgotten() {
        let distances = Distances::default();
        let both = [replica(1, ""), replica(2, "")];
        let asked = |turn| distances.nearest(both.iter(), None, turn).map(|replica| replica.node);
        assert_eq!([0, 1, 2].map(asked), [Some(1), Some(2), Some(1)]);
        distances.note("h:1", Duration::from_millis(1));
        distances.note("h:2", Duration::from_millis(100));
        assert_eq!([0, 1, 2].map(asked), [Some(1); 3]);
        tokio::time::advance(OUTDATED).await;
        assert_eq!([0, 1, 2].map(asked), [Some(1), Some(2), Some(1)]);
        assert_eq!(distances.nearest(both[..0].iter(), None, 3), None);
    }
}
