//! The arguments of commands about objects.

use std::path::PathBuf;

use clap::Args;

/// Manifests.
#[derive(Debug, Args)]
pub struct ManifestArguments {
    /// A folder of manifests, or one manifest; - reads standard input
    #[arg(short, long, value_name = "FILE", required = true)]
    pub file: Vec<PathBuf>,
}

/// An object.
#[derive(Debug, Args)]
pub struct ObjectArguments {
    /// Its kind, e.g. storagetier or tct; or KIND/NAME
    pub kind: String,
    /// Its name
    pub name: Option<String>,
}

/// `delete`
#[derive(Debug, Args)]
pub struct DeleteArguments {
    /// Which object
    #[command(flatten)]
    pub object: ObjectArguments,
    /// Also a pool that holds data: its nodes stop, their folders stay
    #[arg(long)]
    pub yes: bool,
}

/// `drain`
#[derive(Debug, Args)]
pub struct DrainArguments {
    /// The node, e.g. main-2
    pub node: String,
    /// Take it back: what has moved stays where it is, and a node that stopped is started again
    #[arg(long)]
    pub cancel: bool,
    /// Do not wait until the node is empty
    #[arg(long)]
    pub no_wait: bool,
}
