//! `scan`: lists records as they come; nothing is held back until the end.

use thermocline_client::{Record, ScanOptions};

use super::Ended;
use crate::{
    CommandError, ExitCode,
    args::ScanArguments,
    context::{Context, typed_range},
    output::{Format, TextOrBase64, record_view},
};

pub(super) async fn run(context: &Context, arguments: &ScanArguments) -> Ended {
    let range = typed_range(&arguments.range)?;
    let client = context.connect_to_read(arguments.max_staleness).await?;
    let mut scan = client.scan(ScanOptions {
        start: range.start().clone(),
        end: range.end().clone(),
        reverse: arguments.reverse,
        limit: arguments.limit,
        keys_only: arguments.keys_only,
    });
    while let Some(chunk) = scan.next_chunk().await? {
        let mut text = String::new();
        for record in &chunk {
            text.push_str(&line(context.printer.format, record, !arguments.keys_only)?);
        }
        context.printer.text(&text)?;
    }
    context.say_how_old(arguments.max_staleness, scan.at_most());
    Ok(ExitCode::Success)
}

/// JSON is one record a line and YAML one document each, so that a reader may begin before the end.
fn line(format: Format, record: &Record, with_value: bool) -> Result<String, CommandError> {
    let view = record_view(record, with_value, true);
    match format {
        Format::Json => {
            serde_json::to_string(&view).map(|text| text + "\n").map_err(|error| CommandError::Encode(error.into()))
        }
        Format::Yaml => serde_yaml::to_string(&view)
            .map(|text| format!("---\n{text}"))
            .map_err(|error| CommandError::Encode(error.into())),
        Format::Table => {
            let key = shown(&record.key);
            Ok(if with_value { format!("{key}\t{}\n", shown(&record.value)) } else { format!("{key}\n") })
        }
    }
}

/// On one line, whatever the bytes are.
fn shown(bytes: &[u8]) -> String {
    match TextOrBase64::of(bytes) {
        TextOrBase64::Text(text) if text.chars().any(char::is_control) => text.escape_debug().to_string(),
        TextOrBase64::Text(text) => text,
        TextOrBase64::Base64(text) => format!("base64:{text}"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_record_takes_one_line_whatever_its_bytes_are() {
        let record = Record { key: "a\tb".into(), value: vec![0xff].into(), version: 7 };
        assert_eq!(line(Format::Table, &record, true).unwrap(), "a\\tb\tbase64:/w==\n");
        assert_eq!(
            line(Format::Json, &record, true).unwrap(),
            "{\"key\":\"a\\tb\",\"valueBase64\":\"/w==\",\"version\":7}\n"
        );
        assert_eq!(line(Format::Table, &record, false).unwrap(), "a\\tb\n");
    }
}
