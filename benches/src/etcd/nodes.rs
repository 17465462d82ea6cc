//! Calls to Thermocline's nodes through the client library.

use anyhow::Context;
use bytes::Bytes;
use thermocline_client::{Batch, Client, Durability, Options};
use thermocline_proto::FIRST_OWN_KEY;

use super::load::{Pair, Target};
use crate::fleet::Fleet;

/// A client of all nodes.
pub struct Thermocline {
    client: Client,
    prefixes: Vec<Bytes>,
}

impl Thermocline {
    /// A client whose writes are answered when they are synced; of a replicated shard, by a majority.
    pub async fn of(fleet: &Fleet) -> anyhow::Result<Self> {
        let options = Options { durability: Durability::Sync, ..Options::default() };
        let client = fleet.client(options).await?;
        client.route(b"").await.context("ask for the first shard")?;
        // A batch belongs to one owner: each prefix lies within one range, right at its start.
        let mut starts: Vec<Bytes> = client.routes().iter().map(|route| route.range.start().clone()).collect();
        // From there on the keys are the cluster's own.
        starts.retain(|start| start.as_ref() < FIRST_OWN_KEY);
        if starts.is_empty() {
            starts = client.ranges().iter().map(|(range, _)| range.start().clone()).collect();
        }
        let prefixes = starts.iter().map(|start| [start.as_ref(), b"\0bench/"].concat().into()).collect();
        Ok(Self { client, prefixes })
    }
}

impl Target for Thermocline {
    const NAME: &'static str = "Thermocline";

    fn prefixes(&self) -> &[Bytes] {
        &self.prefixes
    }

    async fn write(&self, mut pairs: Vec<Pair>) -> anyhow::Result<()> {
        if pairs.len() == 1
            && let Some((key, value)) = pairs.pop()
        {
            self.client.put(key, value).await?;
            return Ok(());
        }
        let mut batch = Batch::with_capacity(pairs.len());
        for (key, value) in pairs {
            batch.push_put(key, value);
        }
        self.client.write(batch).await?;
        Ok(())
    }
}
