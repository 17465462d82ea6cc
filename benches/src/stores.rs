//! The stores that are measured.

use std::path::Path;

use thermocline_engine::{Engine, EngineOptions, Environment, Medium, TierSpec};

/// Three tiers in a new folder, no moves but those asked for.
pub fn engine(folder: &Path, memory: u64, row_cache: u64) -> anyhow::Result<Engine> {
    if folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    let tier = |name: &str, rank, medium| TierSpec::new(name, rank, medium, folder.join(name), 64 << 30);
    let tiers = vec![tier("hot", 0, Medium::Nvme), tier("warm", 10, Medium::Ssd), tier("cold", 20, Medium::Hdd)];
    let mut options = EngineOptions::new(tiers, memory);
    options.background_moves = false;
    options.row_cache_bytes = Some(row_cache);
    Ok(Engine::open(options, Environment::system(1))?)
}
