//! Logs: set up once, by the binary.

use thiserror::Error;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use crate::args::LogFormat;

/// Logs that cannot be set up.
#[derive(Debug, Error)]
pub enum TelemetryError {
    /// The filter is not one.
    #[error(
        "`{filter}` is not a log filter; write a level such as info, or levels by module such as info,thermocline_engine=debug"
    )]
    Filter {
        /// As given.
        filter: String,
        /// What is wrong with it.
        #[source]
        source: ParseError,
    },
    /// Somebody set them up before.
    #[error("logs are set up already")]
    Twice,
}

/// Sends logs to standard error in this format.
pub fn init(format: LogFormat, filter: &str) -> Result<(), TelemetryError> {
    let filter =
        EnvFilter::try_new(filter).map_err(|source| TelemetryError::Filter { filter: filter.to_owned(), source })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // A line that cannot be written, such as on a full device, is left out; telling so there would be a panic.
        .log_internal_errors(false);
    match format {
        LogFormat::Text => builder.with_ansi(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    }
    .map_err(|_| TelemetryError::Twice)
}

pub use thermocline_engine::chain;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::config::ConfigError;

    #[test]
    fn a_chain_names_every_cause_once() {
        let error = ConfigError::Read { path: "node.yaml".into(), source: std::io::Error::other("disk on fire") };
        assert_eq!(chain(&error), "cannot read the configuration file node.yaml: disk on fire");
    }

    #[test]
    fn a_filter_that_is_none_is_refused() {
        let outcome = init(LogFormat::Text, "a=b=c");
        assert!(matches!(outcome, Err(TelemetryError::Filter { .. })), "{outcome:?}");
    }
}
