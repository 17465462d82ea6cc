//! `del`: deletes records, each on its own.

use bytes::Bytes;
use thermocline_client::{Batch, Client, DisplayKey, Record};

use super::{Ended, put::told};
use crate::{
    CommandError, ExitCode,
    args::DelArguments,
    context::{Context, typed_bytes, typed_durability},
    output::record_view,
};

pub(super) async fn run(context: &Context, arguments: &DelArguments) -> Ended {
    if arguments.if_version.is_some() && arguments.keys.len() > 1 {
        return Err(CommandError::Usage("--if-version is for one key; give one key, or leave it out".to_owned()));
    }
    let keys =
        arguments.keys.iter().map(|key| typed_bytes(key, arguments.base64, "key")).collect::<Result<Vec<_>, _>>()?;
    let client = context.connect().await?.with_durability(typed_durability(arguments.durability));
    let (mut deleted, mut failures) = (Vec::new(), Vec::new());
    for key in keys {
        match delete(&client, &key, arguments.if_version).await {
            Ok(version) => deleted.push(Record { key: key.into(), value: Bytes::new(), version }),
            Err(error) => {
                failures.push(error);
                break;
            }
        }
    }
    if !deleted.is_empty() {
        let views: Vec<_> = deleted.iter().map(|record| record_view(record, false, true)).collect();
        context
            .printer
            .print(&views, |_| deleted.iter().map(|record| format!("version {}\n", record.version)).collect())?;
    }
    let done: Vec<_> = deleted.iter().map(|record| format!("{} was deleted", DisplayKey(&record.key))).collect();
    CommandError::unless_all(&done, failures)?;
    Ok(ExitCode::Success)
}

async fn delete(client: &Client, key: &[u8], if_version: Option<u64>) -> Result<u64, CommandError> {
    let Some(version) = if_version else {
        return Ok(client.delete(key.to_vec()).await?);
    };
    let batch = Batch::new().delete(key.to_vec()).when_version(key.to_vec(), version);
    client.write(batch).await.map_err(|error| told(error, key, Some(version)))
}
