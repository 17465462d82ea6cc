//! How long the way to other nodes and back takes, smoothed.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use thermocline_shard::NodeId;
use tokio::time::Instant;

/// What a new measurement counts for: as TCP has it.
const WEIGHT: f64 = 0.125;

#[derive(Debug, Clone, Copy)]
struct Trip {
    smoothed: Duration,
    heard: Instant,
}

/// The round trips to other nodes.
#[derive(Debug, Default)]
pub struct RoundTrips(Mutex<BTreeMap<NodeId, Trip>>);

impl RoundTrips {
    /// Takes in a measurement.
    pub fn note(&self, node: NodeId, trip: Duration) {
        let mut trips = self.0.lock();
        let smoothed =
            trips.get(&node).map_or(trip, |known| known.smoothed.mul_f64(1.0 - WEIGHT) + trip.mul_f64(WEIGHT));
        trips.insert(node, Trip { smoothed, heard: Instant::now() });
    }

    /// Of each node the round trip, and how long ago it answered last.
    pub fn all(&self) -> Vec<(NodeId, Duration, Duration)> {
        let trips = self.0.lock();
        trips.iter().map(|(node, trip)| (*node, trip.smoothed, trip.heard.elapsed())).collect()
    }
}
