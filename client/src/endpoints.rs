//! Where the nodes of a cluster are: a list on the command line, or the routing file that a local fleet keeps.
//!
//! The file is `endpoints.yaml` in the fleet's state folder:
//! ```yaml
//! cluster: demo
//! nodes:
//!   - {name: demo-main-0, kv: "127.0.0.1:7400", admin: "127.0.0.1:7401", http: "127.0.0.1:7402", range: {start: "", end: h}}
//! ```

use std::{fs, io, path::Path, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::routing::{KeyRange, RangeError};

/// Why endpoints could not be used.
#[derive(Debug, thiserror::Error)]
pub enum EndpointsError {
    /// An entry of a list that is not `host:kvport:adminport`.
    #[error(
        "the endpoint {text:?} is not understood; write host:kvport:adminport, e.g. 127.0.0.1:7400:7401, several separated by commas"
    )]
    Entry {
        /// The entry.
        text: String,
    },
    /// No endpoint at all.
    #[error("no endpoint is given; write host:kvport:adminport, several separated by commas")]
    Empty,
    /// Two nodes of one name.
    #[error("two nodes are named {name:?}; each node needs a name of its own")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// A file that cannot be read.
    #[error("reading the routing file {path:?} failed")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file that is not a routing file.
    #[error(
        "the routing file is not understood; it needs `nodes`, each with `name`, `kv` and `admin` (host:port) and optionally `range` {{start, end}}"
    )]
    Parse {
        /// Why, with the line.
        #[source]
        source: serde_yaml::Error,
    },
    /// A range in the file that holds no key.
    #[error("the range of node {name:?} is not usable")]
    Range {
        /// The node.
        name: String,
        /// Why.
        #[source]
        source: RangeError,
    },
    /// An address that is no `host:port`.
    #[error("the {port} address {address:?} of node {name:?} is not usable; write host:port")]
    Address {
        /// The node.
        name: String,
        /// Which listener.
        port: &'static str,
        /// The address.
        address: String,
    },
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeEndpoint {
    /// Its name; of a list, its `host:kvport` until it has told its own.
    pub name: String,
    /// `host:port` of the data plane.
    pub kv: String,
    /// `host:port` of the control plane.
    pub admin: String,
    /// `host:port` of the admin HTTP listener, where known.
    pub http: Option<String>,
    /// The keys it owns, where the file says so; else it is asked.
    pub range: Option<KeyRange>,
}

/// The nodes of one cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    /// The cluster's name, where known.
    pub cluster: Option<String>,
    nodes: Vec<NodeEndpoint>,
}

#[derive(Debug, Serialize, Deserialize)]
struct RoutingFile {
    #[serde(default)]
    cluster: Option<String>,
    nodes: Vec<RoutingNode>,
}

#[derive(Debug, Serialize, Deserialize)]
struct RoutingNode {
    name: String,
    kv: String,
    admin: String,
    #[serde(default)]
    http: Option<String>,
    #[serde(default)]
    range: Option<RoutingRange>,
}

#[derive(Debug, Serialize, Deserialize)]
struct RoutingRange {
    #[serde(default)]
    start: String,
    #[serde(default)]
    end: String,
}

impl Endpoints {
    /// Checks that there is at least one node, that names differ and addresses are `host:port`.
    ///
    /// # Errors
    /// What is wrong, and what is allowed.
    pub fn new(cluster: Option<String>, nodes: Vec<NodeEndpoint>) -> Result<Self, EndpointsError> {
        if nodes.is_empty() {
            return Err(EndpointsError::Empty);
        }
        for (index, node) in nodes.iter().enumerate() {
            if nodes[..index].iter().any(|other| other.name == node.name) {
                return Err(EndpointsError::Duplicate { name: node.name.clone() });
            }
            for (port, address) in [("kv", &node.kv), ("admin", &node.admin)] {
                if !is_host_and_port(address) {
                    return Err(EndpointsError::Address { name: node.name.clone(), port, address: address.clone() });
                }
            }
        }
        Ok(Self { cluster, nodes })
    }

    /// Parses `host:kvport:adminport,...`; an IPv6 host stands in brackets.
    ///
    /// # Errors
    /// The entry that is not understood.
    pub fn parse_list(text: &str) -> Result<Self, EndpointsError> {
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        let nodes = entries.map(parse_entry).collect::<Result<Vec<_>, _>>()?;
        Self::new(None, nodes)
    }

    /// Parses the text of a routing file.
    ///
    /// # Errors
    /// The field that is not understood.
    pub fn parse_yaml(text: &str) -> Result<Self, EndpointsError> {
        let file: RoutingFile = serde_yaml::from_str(text).map_err(|source| EndpointsError::Parse { source })?;
        let nodes = file.nodes.into_iter().map(RoutingNode::into_endpoint).collect::<Result<Vec<_>, _>>()?;
        Self::new(file.cluster, nodes)
    }

    /// Reads a routing file.
    ///
    /// # Errors
    /// That it cannot be read, or the field that is not understood.
    pub fn read(path: &Path) -> Result<Self, EndpointsError> {
        let text = fs::read_to_string(path).map_err(|source| EndpointsError::Read { path: path.to_owned(), source })?;
        Self::parse_yaml(&text)
    }

    /// The nodes, at least one.
    #[must_use]
    pub fn nodes(&self) -> &[NodeEndpoint] {
        &self.nodes
    }
}

impl RoutingNode {
    fn into_endpoint(self) -> Result<NodeEndpoint, EndpointsError> {
        let range = self
            .range
            .map(|range| KeyRange::new(range.start, range.end))
            .transpose()
            .map_err(|source| EndpointsError::Range { name: self.name.clone(), source })?;
        Ok(NodeEndpoint { name: self.name, kv: self.kv, admin: self.admin, http: self.http, range })
    }
}

fn is_host_and_port(address: &str) -> bool {
    address.rsplit_once(':').is_some_and(|(host, port)| {
        let bracketed = host.starts_with('[') && host.ends_with(']');
        !host.is_empty()
            && (bracketed || !host.contains(':'))
            && !host.contains(['/', ' ', '@'])
            && port.parse::<u16>().is_ok_and(|port| port != 0)
    })
}

fn parse_entry(entry: &str) -> Result<NodeEndpoint, EndpointsError> {
    let understood = entry.rsplit_once(':').and_then(|(kv, admin_port)| {
        let (host, _) = kv.rsplit_once(':')?;
        let admin = format!("{host}:{admin_port}");
        (is_host_and_port(kv) && is_host_and_port(&admin)).then(|| NodeEndpoint {
            name: kv.to_owned(),
            kv: kv.to_owned(),
            admin,
            http: None,
            range: None,
        })
    });
    understood.ok_or_else(|| EndpointsError::Entry { text: entry.to_owned() })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn a_list_names_hosts_with_two_ports_each() {
        let endpoints = Endpoints::parse_list("127.0.0.1:7400:7401, [::1]:1:2").unwrap();
        let [first, second] = endpoints.nodes() else { unreachable!("two nodes") };
        assert_eq!((first.kv.as_str(), first.admin.as_str()), ("127.0.0.1:7400", "127.0.0.1:7401"));
        assert_eq!((second.kv.as_str(), second.admin.as_str()), ("[::1]:1", "[::1]:2"));
    }

    #[test]
    fn a_bad_entry_is_named_and_says_what_is_allowed() {
        for bad in ["localhost", "localhost:7400", "h:1:x", "h:0:1", ":1:2", "a:b:1:2", "h:1:70000"] {
            let error = Endpoints::parse_list(bad).unwrap_err();
            assert!(matches!(&error, EndpointsError::Entry { text } if text == bad), "{bad}: {error}");
            assert!(error.to_string().contains("host:kvport:adminport"));
        }
        assert!(matches!(Endpoints::parse_list(" ,"), Err(EndpointsError::Empty)));
    }

    #[test]
    fn a_routing_file_carries_names_addresses_and_ranges() {
        let endpoints = Endpoints::parse_yaml(
            r#"{cluster: demo, nodes: [
                {name: demo-main-0, kv: "127.0.0.1:7400", admin: "127.0.0.1:7401", http: "127.0.0.1:7402", range: {start: "", end: "h"}},
                {name: demo-main-1, kv: "127.0.0.2:7400", admin: "127.0.0.2:7401", range: {start: "h", end: ""}}]}"#,
        )
        .unwrap();
        assert_eq!(endpoints.cluster.as_deref(), Some("demo"));
        assert_eq!(endpoints.nodes()[0].range, Some(KeyRange::new("", "h").unwrap()));
        assert_eq!(endpoints.nodes()[1].http, None);
    }

    #[test]
    fn a_routing_file_with_a_bad_field_is_refused() {
        let twice = r#"{nodes: [{name: a, kv: "h:1", admin: "h:2"}, {name: a, kv: "h:3", admin: "h:4"}]}"#;
        assert!(matches!(Endpoints::parse_yaml(twice), Err(EndpointsError::Duplicate { .. })));
        let address = r#"{nodes: [{name: a, kv: "h", admin: "h:2"}]}"#;
        assert!(matches!(Endpoints::parse_yaml(address), Err(EndpointsError::Address { port: "kv", .. })));
        let reversed = r#"{nodes: [{name: a, kv: "h:1", admin: "h:2", range: {start: b, end: a}}]}"#;
        assert!(matches!(Endpoints::parse_yaml(reversed), Err(EndpointsError::Range { .. })));
        assert!(matches!(Endpoints::parse_yaml("nodes: 3"), Err(EndpointsError::Parse { .. })));
    }
}
