//! The part of a round that begins a cluster with shards.

use std::collections::BTreeMap;

use thermocline_crds::{Kind, Object};
use thermocline_proto::v1;

use super::Controller;
use crate::begin::{self, Begin};
use crate::desired::Desired;
use crate::home::Home;
use crate::watch::{self, CALL};

/// Beginning makes two groups, each of which elects a leader.
const PATIENCE: std::time::Duration = CALL.saturating_mul(6);

impl<H: Home> Controller<H> {
    /// Whether the cluster object was written.
    pub(super) async fn begin(&mut self, objects: &[Object], desired: &Desired) -> Result<bool, H::Error> {
        if desired.paused {
            return Ok(false);
        }
        let mut pools: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, node) in desired.nodes.iter().filter(|(_, node)| node.replication.is_some()) {
            pools.entry(&node.pool).or_default().push(name);
        }
        let cluster = objects.iter().find_map(|object| match object {
            Object::StorageCluster(cluster) => Some(cluster),
            _ => None,
        });
        let Some(cluster) = cluster else { return Ok(false) };
        let name = cluster.metadata.name.clone().unwrap_or_default();
        let begun_on = cluster.status.as_ref().and_then(|status| status.begun_on.clone());
        for nodes in pools.values() {
            match begin::next(nodes, begun_on.as_deref(), &self.watches.latest()) {
                Begin::Nothing => {}
                Begin::Claim(node) => {
                    self.home.claim_beginning(&name, &node).await?;
                    return Ok(true);
                }
                Begin::Initialize(node) => {
                    let id = cluster.metadata.uid.clone().unwrap_or_default();
                    match self.initialize(&node, id).await {
                        Ok(()) => self.note(Kind::StorageCluster, &name, "Begun", &format!("on {node}")).await,
                        Err(reason) => self.failed(Kind::StorageCluster, &name, "BeginRefused", &reason).await,
                    }
                }
            }
        }
        Ok(false)
    }

    async fn initialize(&self, node: &str, cluster_id: String) -> Result<(), String> {
        let uri = self.watches.heard_at(node).ok_or_else(|| format!("{node} is not heard"))?;
        let mut client = watch::admin(&uri).map_err(|error| error.to_string())?;
        match tokio::time::timeout(PATIENCE, client.initialize(v1::InitializeRequest { cluster_id })).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(status)) => Err(status.message().to_owned()),
            Err(_) => Err(format!("no answer within {PATIENCE:?}")),
        }
    }
}
