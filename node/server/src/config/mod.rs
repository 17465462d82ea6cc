//! From a file, the environment and flags to [`Settings`].
//!
//! The file's types are in `thermocline-node-config`, shared with what writes it. Here overrides are laid over it and
//! everything is checked at once: an error names each field and says what is allowed. Flags win over the environment,
//! the environment over the file.

mod amounts;
mod byte_size;
mod check;
mod cluster;
mod engine_options;
mod error;
mod overrides;
mod policy;
mod settings;
mod tier;

#[cfg(test)]
mod tests;

use std::path::Path;

use thermocline_node_config::NodeConfig;

pub use amounts::LENGTHS_OF_TIME;
pub use byte_size::{ByteSize, ByteSizeError};
pub use check::check;
pub use error::{ConfigError, FieldProblem};
pub use overrides::Override;
pub use settings::{Compression, Medium, PolicySettings, ProfileSettings, Settings, TemperatureSettings, TierSettings};

/// Reads the file, lays the overrides over it (the last wins) and checks the outcome.
pub fn load(path: &Path, overrides: &[Override]) -> Result<Settings, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    parse(&text, &path.display().to_string(), overrides)
}

/// As [`load`], from text; `origin` names it in errors.
pub fn parse(text: &str, origin: &str, overrides: &[Override]) -> Result<Settings, ConfigError> {
    let syntax = |origin: String| move |problem| ConfigError::Syntax { origin, problem };
    let config: NodeConfig = if overrides.is_empty() {
        serde_yaml::from_str(text).map_err(syntax(origin.to_owned()))?
    } else {
        let mut document: serde_yaml::Value = serde_yaml::from_str(text).map_err(syntax(origin.to_owned()))?;
        for entry in overrides {
            entry.apply(&mut document)?;
        }
        // Through text again: only the text parser's errors name the path of the field.
        let merged = format!("{origin} with overrides applied");
        let text = serde_yaml::to_string(&document).map_err(syntax(merged.clone()))?;
        serde_yaml::from_str(&text).map_err(syntax(merged))?
    };
    check(&config)
}
