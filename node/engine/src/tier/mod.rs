//! Tiers: their media, profiles, identities and places on disk.

mod layout;
mod medium;
mod place;
mod profile;
mod specification;
mod state;

pub(crate) mod identity;
pub(crate) mod lock;
pub(crate) use identity::{StoreIdentity, TierIdentity};
pub(crate) use layout::{RootLayout, TierLayout};
pub use medium::Medium;
pub(crate) use place::same_folder;
pub use profile::{Compression, Profile};
pub use specification::{TierSettings, TierSpec};
pub(crate) use state::TierState;

/// What identifies a tier over restarts and renames: random, kept in `meta` and on the tier's device.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct TierId(pub u64);

impl std::fmt::Display for TierId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl std::fmt::Debug for TierId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TierId({self})")
    }
}

impl From<TierId> for String {
    fn from(id: TierId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for TierId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        u64::from_str_radix(&text, 16)
            .map(Self)
            .map_err(|_| format!("{text:?} is no tier id: it has 16 hexadecimal digits"))
    }
}
