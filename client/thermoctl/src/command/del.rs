//! `del`: deletes records, each on its own.

use thermocline_client::Batch;

use super::{
    Ended,
    put::{Written, told},
};
use crate::{
    CommandError, ExitCode,
    args::DelArguments,
    context::{Context, typed_bytes, typed_durability},
};

pub(super) async fn run(context: &Context, arguments: &DelArguments) -> Ended {
    if arguments.if_version.is_some() && arguments.keys.len() > 1 {
        return Err(CommandError::Usage("--if-version is for one key; give one key, or leave it out".to_owned()));
    }
    let keys =
        arguments.keys.iter().map(|key| typed_bytes(key, arguments.base64, "key")).collect::<Result<Vec<_>, _>>()?;
    let client = context.connect().await?.with_durability(typed_durability(arguments.durability));
    for key in keys {
        let version = match arguments.if_version {
            Some(version) => {
                let batch = Batch::new().delete(key.clone()).when_version(key.clone(), version);
                client.write(batch).await.map_err(|error| told(error, &key, Some(version)))?
            }
            None => client.delete(key).await?,
        };
        context.printer.print(&Written { version }, |written| format!("version {}", written.version))?;
    }
    Ok(ExitCode::Success)
}
