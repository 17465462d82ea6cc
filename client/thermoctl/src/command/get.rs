//! `get`: reads a record, or lists objects as kubectl does.
//!
//! One word serves both: what reads like a kind of object is one, unless `--key-only` says otherwise.

use std::io::Write;

use thermocline_client::DisplayKey;

use super::{Ended, objects, reference::reference};
use crate::{
    CommandError, ExitCode,
    args::GetArguments,
    context::{Context, typed_bytes},
    output::{TextOrBase64, record_view},
};

pub(super) async fn run(context: &Context, arguments: &GetArguments) -> Ended {
    let is_key = arguments.key_only || arguments.base64 || arguments.raw || arguments.max_staleness.is_some();
    if !is_key && let Some(reference) = reference(&arguments.key, arguments.name.as_deref())? {
        return objects::get(context, &reference).await;
    }
    let key = typed_bytes(&arguments.key, arguments.base64, "key")?;
    let client = context.connect_to_read(arguments.max_staleness).await?;
    let answer = client.get_aged(key.clone()).await?;
    context.say_how_old(arguments.max_staleness, Some(answer.at_most));
    let Some(record) = answer.found else {
        return Err(CommandError::NotFound(format!("the key {} has no record", DisplayKey(&key))));
    };
    if arguments.raw {
        let mut output = std::io::stdout().lock();
        output.write_all(&record.value).and_then(|()| output.flush()).map_err(CommandError::output)?;
        return Ok(ExitCode::Success);
    }
    context.printer.print(&record_view(&record, true, true), |_| match TextOrBase64::of(&record.value) {
        TextOrBase64::Text(text) => text,
        TextOrBase64::Base64(text) => format!("base64:{text}"),
    })?;
    Ok(ExitCode::Success)
}
