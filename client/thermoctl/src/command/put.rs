//! `put`: writes a record, on a condition where asked.

use std::io::Read;

use serde::Serialize;
use thermocline_client::{Batch, DisplayKey, Error};

use super::Ended;
use crate::{
    CommandError, ExitCode,
    args::PutArguments,
    context::{Context, typed_bytes, typed_durability},
};

/// The answer to a write.
#[derive(Debug, Serialize)]
struct Written {
    version: u64,
}

pub(super) async fn run(context: &Context, arguments: &PutArguments) -> Ended {
    let key = typed_bytes(&arguments.key, arguments.base64, "key")?;
    let value = if arguments.value == "-" {
        let mut value = Vec::new();
        std::io::stdin().read_to_end(&mut value).map_err(|source| CommandError::Read { path: "-".into(), source })?;
        value
    } else {
        typed_bytes(&arguments.value, arguments.base64, "value")?
    };
    let client = context.connect().await?.with_durability(typed_durability(arguments.durability));
    let batch = Batch::new().put(key.clone(), value.clone());
    let written = if arguments.if_absent {
        client.write(batch.when_absent(key.clone())).await
    } else if arguments.if_exists {
        client.write(batch.when_exists(key.clone())).await
    } else if let Some(version) = arguments.if_version {
        client.write(batch.when_version(key.clone(), version)).await
    } else {
        client.put(key.clone(), value).await
    };
    let version = written.map_err(|error| told(error, &key, arguments.if_version))?;
    context.printer.print(&Written { version }, |written| format!("version {}", written.version))?;
    Ok(ExitCode::Success)
}

/// A write of one key whose condition did not hold is told by that key; `wanted` is the version that was asked for.
pub(super) fn told(error: Error, key: &[u8], wanted: Option<u64>) -> CommandError {
    let Error::ConditionFailed { actual_version, .. } = error else {
        return error.into();
    };
    let key = DisplayKey(key);
    CommandError::Condition(match (actual_version, wanted) {
        (None, _) => format!("the key {key} has no record"),
        (Some(actual), Some(wanted)) => format!("the key {key} has version {actual}, not {wanted}"),
        (Some(actual), None) => format!("the key {key} exists already, with version {actual}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_that_did_not_hold_is_told_by_its_key() {
        let failed = |actual_version| Error::ConditionFailed { index: 0, actual_version };
        let text = |error, wanted| told(error, b"k", wanted).to_string();
        assert_eq!(text(failed(Some(7)), None), "the key \"k\" exists already, with version 7; nothing was written");
        assert_eq!(text(failed(Some(7)), Some(6)), "the key \"k\" has version 7, not 6; nothing was written");
        assert_eq!(text(failed(None), Some(6)), "the key \"k\" has no record; nothing was written");
        assert_eq!(told(failed(None), b"k", None).exit_code(), ExitCode::ConditionFailed);
        assert_eq!(told(Error::EmptyBatch, b"k", None).exit_code(), ExitCode::Usage, "another failure is itself");
    }
}
