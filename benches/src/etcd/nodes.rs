//! Thermocline's nodes as a local fleet, and calls to them through the client library.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use bytes::Bytes;
use thermocline_client::{Batch, Client, Durability, Endpoints, Options};

use super::load::{Pair, Target};

/// Beside the addresses of etcd's members and of a fleet that somebody runs.
const FIRST_ADDRESS: &str = "127.0.7.1";

/// The fleet; ended and removed when it goes.
pub struct Nodes {
    thermoctl: PathBuf,
    home: PathBuf,
}

/// A client of all nodes.
pub struct Thermocline {
    client: Client,
    prefixes: Vec<Bytes>,
}

impl Nodes {
    /// Starts the manifests' nodes and waits until they are ready.
    pub fn start(thermoctl: Option<&Path>, manifests: &Path, folder: &Path) -> anyhow::Result<Self> {
        let beside = std::env::current_exe().context("find this program")?.with_file_name("thermoctl");
        let thermoctl = thermoctl.map_or(beside, Path::to_owned);
        let nodes = Self { thermoctl, home: folder.canonicalize().context("find the folder")?.join("thermocline") };
        let manifests = manifests.canonicalize().with_context(|| format!("find {}", manifests.display()))?;
        let manifests = manifests.to_str().context("the folder of manifests has no text for a name")?.to_owned();
        nodes.run(&["local", "up", "-f", &manifests, "--address", FIRST_ADDRESS])?;
        Ok(nodes)
    }

    /// A client whose writes are answered when they are synced.
    pub async fn client(&self) -> anyhow::Result<Thermocline> {
        let endpoints = Endpoints::read(&self.home.join("endpoints.yaml")).context("find the nodes")?;
        let options = Options { durability: Durability::Sync, ..Options::default() };
        let client = Client::connect(endpoints, options).await.context("connect to the nodes")?;
        // A batch belongs to one node: each prefix lies within one range, right at its start.
        let ranges = client.ranges();
        let prefixes = ranges.iter().map(|(range, _)| [range.start().as_ref(), b"\0bench/"].concat().into()).collect();
        Ok(Thermocline { client, prefixes })
    }

    fn run(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let mut command = Command::new(&self.thermoctl);
        let output = command.args(arguments).arg("--home").arg(&self.home).output();
        let output = output.with_context(|| format!("start {}", self.thermoctl.display()))?;
        if !output.status.success() {
            bail!("thermoctl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        if let Err(error) = self.run(&["local", "down", "--destroy", "--yes"]) {
            eprintln!("the nodes of the comparison were not ended: {error:#}");
        }
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
