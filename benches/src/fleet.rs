//! Thermocline's nodes as a local fleet of processes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use thermocline_client::{Client, Endpoints, Options};

/// Beside the addresses of etcd's members and of a fleet that somebody runs.
const FIRST_ADDRESS: &str = "127.0.7.1";

/// The fleet; ended and removed when it goes.
pub struct Fleet {
    thermoctl: PathBuf,
    home: PathBuf,
}

impl Fleet {
    /// Starts the manifests' nodes and waits until they are ready. `thermoctl`: by default the one beside this program.
    pub fn start(thermoctl: Option<&Path>, manifests: &Path, folder: &Path) -> anyhow::Result<Self> {
        let beside = std::env::current_exe().context("find this program")?.with_file_name("thermoctl");
        let thermoctl = thermoctl.map_or(beside, Path::to_owned);
        let fleet = Self { thermoctl, home: folder.canonicalize().context("find the folder")?.join("thermocline") };
        let manifests = manifests.canonicalize().with_context(|| format!("find {}", manifests.display()))?;
        let manifests = manifests.to_str().context("the folder of manifests has no text for a name")?.to_owned();
        fleet.run(&["local", "up", "-f", &manifests, "--address", FIRST_ADDRESS])?;
        Ok(fleet)
    }

    /// A client of all nodes.
    pub async fn client(&self, options: Options) -> anyhow::Result<Client> {
        let endpoints = Endpoints::read(&self.home.join("endpoints.yaml")).context("find the nodes")?;
        Client::connect(endpoints, options).await.context("connect to the nodes")
    }

    /// The processes of the nodes that run, by name.
    pub fn processes(&self) -> anyhow::Result<BTreeMap<String, u32>> {
        let told: serde_json::Value = serde_json::from_str(&self.run(&["local", "status", "-o", "json"])?)?;
        let nodes = told["nodes"].as_array().context("no nodes are told of")?;
        let process = |node: &serde_json::Value| {
            let id = u32::try_from(node["process"].as_u64()?).ok()?;
            Some((node["name"].as_str()?.to_owned(), id))
        };
        Ok(nodes.iter().filter_map(process).collect())
    }

    /// The folder of a node, with its disks.
    pub fn node_folder(&self, name: &str) -> PathBuf {
        self.home.join("nodes").join(name)
    }

    fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new(&self.thermoctl);
        let output = command.args(arguments).arg("--home").arg(&self.home).output();
        let output = output.with_context(|| format!("start {}", self.thermoctl.display()))?;
        if !output.status.success() {
            bail!("thermoctl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if let Err(error) = self.run(&["local", "down", "--destroy", "--yes"]) {
            eprintln!("the nodes of the measurement were not ended: {error:#}");
        }
    }
}
