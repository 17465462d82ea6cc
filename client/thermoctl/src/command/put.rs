//! `put`: writes a record, on a condition where asked.

use std::io::Read;

use serde::Serialize;
use thermocline_client::Batch;

use super::Ended;
use crate::{
    CommandError, ExitCode,
    args::PutArguments,
    context::{Context, typed_bytes, typed_durability},
};

/// The answer to a write.
#[derive(Debug, Serialize)]
pub(super) struct Written {
    pub(super) version: u64,
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
    let version = if arguments.if_absent {
        client.write(batch.when_absent(key)).await?
    } else if arguments.if_exists {
        client.write(batch.when_exists(key)).await?
    } else if let Some(version) = arguments.if_version {
        client.write(batch.when_version(key, version)).await?
    } else {
        client.put(key, value).await?
    };
    context.printer.print(&Written { version }, |written| format!("version {}", written.version))?;
    Ok(ExitCode::Success)
}
