//! Checks a configuration and parses it into [`Settings`]. Pure: touches no disk, so that a home can check what it
//! is about to write.

use std::net::SocketAddr;

use thermocline_node_config::{Listen, NodeConfig};
use thermocline_proto::MAX_KEY_BYTES;

use super::amounts::size;
use super::byte_size::ByteSize;
use super::error::{ConfigError, Problems};
use super::settings::Settings;
use super::{cluster, policy, tier};
use crate::owned_range::{OwnedRange, printable};

/// Less than this cannot hold the write buffers of one tier.
const LEAST_MEMORY: ByteSize = ByteSize::mebibytes(64);
const MOST_TIERS: usize = 4;
const NAME_ALLOWED: &str = "1 to 253 letters, digits, `-`, `_` or `.`, beginning with a letter or digit";

/// The settings, or every field that is not allowed.
pub fn check(config: &NodeConfig) -> Result<Settings, ConfigError> {
    let mut problems = Problems::default();
    name(&mut problems, "node", &config.node);
    name(&mut problems, "cluster", &config.cluster);
    listeners(&mut problems, &config.listen);
    let range = range(&mut problems, &config.range.start, &config.range.end);
    let shards = config.shards.as_ref().map(|shards| cluster::check(&mut problems, shards, config));
    let memory_limit =
        config.memory_limit.as_deref().and_then(|text| size(&mut problems, "memoryLimit", text, LEAST_MEMORY));
    let tiers = tier::check(&mut problems, &config.tiers);
    if config.tiers.is_empty() || config.tiers.len() > MOST_TIERS {
        problems.add("tiers", format!("there are {}", config.tiers.len()), "1 to 4 tiers, fastest first");
    }
    let policy = config.policy.as_ref().map(|policy| policy::check(&mut problems, policy, &config.tiers));
    let root = match (&config.root, config.tiers.first()) {
        (Some(root), _) if root.as_os_str().is_empty() => {
            problems.add("root", "is empty", "a folder, or leave the field out");
            None
        }
        (Some(root), _) => Some(root.clone()),
        (None, Some(fastest)) => Some(fastest.path.join("root")),
        (None, None) => None,
    };
    let settings = (|| {
        Some(Settings {
            node: config.node.clone(),
            cluster: config.cluster.clone(),
            listen_kv: config.listen.kv,
            listen_admin: config.listen.admin,
            listen_http: config.listen.http,
            listen_peer: config.listen.peer,
            range: range?,
            shards: shards.flatten_some()?,
            root: root?,
            durability: config.durability,
            memory_limit,
            tiers: tiers?,
            policy: policy.flatten_some()?,
        })
    })();
    problems.into_result(settings)
}

/// `None` stays absent, `Some(None)` is a part that failed its check.
trait FlattenSome<T> {
    fn flatten_some(self) -> Option<Option<T>>;
}

impl<T> FlattenSome<T> for Option<Option<T>> {
    fn flatten_some(self) -> Self {
        match self {
            None => Some(None),
            Some(None) => None,
            Some(Some(part)) => Some(Some(part)),
        }
    }
}

fn name(problems: &mut Problems, field: &str, value: &str) {
    let good = value.len() <= 253
        && value.starts_with(|first: char| first.is_ascii_alphanumeric())
        && value.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(letter));
    if !good {
        problems.add(field, format!("`{value}` is not a name"), NAME_ALLOWED);
    }
}

fn listeners(problems: &mut Problems, listen: &Listen) {
    let mut all: Vec<(&str, SocketAddr)> =
        vec![("listen.kv", listen.kv), ("listen.admin", listen.admin), ("listen.http", listen.http)];
    all.extend(listen.peer.map(|peer| ("listen.peer", peer)));
    for (later, (field, address)) in all.iter().enumerate() {
        // Port 0 lets the system choose, so two of them never collide.
        let taken = all.iter().take(later).find(|(_, other)| other == address && address.port() != 0);
        if let Some((other, _)) = taken {
            problems.add(
                *field,
                format!("{address} is also {other}"),
                "an address of its own for each listener; port 0 takes a free one",
            );
        }
    }
}

fn range(problems: &mut Problems, start: &str, end: &str) -> Option<OwnedRange> {
    for (field, bound) in [("range.start", start), ("range.end", end)] {
        if bound.len() > MAX_KEY_BYTES {
            problems.add(
                field,
                format!("is {} bytes long", bound.len()),
                format!("up to {MAX_KEY_BYTES} bytes, the longest key"),
            );
            return None;
        }
    }
    let range = OwnedRange::new(start, end);
    if range.is_none() {
        problems.add(
            "range.end",
            format!("`{}` is not after the start `{}`", printable(end.as_bytes()), printable(start.as_bytes())),
            "a key after range.start, or empty for no upper bound",
        );
    }
    range
}
