//! The routing file that the client library reads: where the nodes are and which keys they own.

use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::layout::write_in_one_step;
use crate::home::NodeRun;

/// A routing file that cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum EndpointsError {
    /// It cannot be written.
    #[error("cannot write the routing file {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It cannot be written as YAML.
    #[error("cannot write the endpoints as YAML")]
    Yaml(#[source] serde_yaml::Error),
}

#[derive(Serialize)]
struct File<'a> {
    cluster: Option<&'a str>,
    nodes: Vec<Node<'a>>,
}

#[derive(Serialize)]
struct Node<'a> {
    name: &'a str,
    kv: String,
    admin: String,
    http: String,
    /// Of a node that stands alone; the others are asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    range: Option<Range<'a>>,
}

#[derive(Serialize)]
struct Range<'a> {
    start: &'a str,
    end: &'a str,
}

/// The text of the file.
pub(super) fn text(runs: &[NodeRun]) -> Result<String, EndpointsError> {
    let nodes = runs.iter().map(|run| {
        let config = &run.config;
        Node {
            name: &run.name,
            kv: config.listen.kv.to_string(),
            admin: config.listen.admin.to_string(),
            http: config.listen.http.to_string(),
            range: config.shards.is_none().then_some(Range { start: &config.range.start, end: &config.range.end }),
        }
    });
    let file = File { cluster: runs.first().map(|run| run.config.cluster.as_str()), nodes: nodes.collect() };
    serde_yaml::to_string(&file).map_err(EndpointsError::Yaml)
}

pub(super) fn write(path: &Path, runs: &[NodeRun]) -> Result<(), EndpointsError> {
    write_in_one_step(path, text(runs)?.as_bytes())
        .map_err(|source| EndpointsError::Io { path: path.to_owned(), source })
}
