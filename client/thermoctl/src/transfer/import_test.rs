//! The pipeline against a store in memory that fails, waits and counts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{collections::BTreeMap, sync::Mutex, time::Duration};

use super::*;
use crate::transfer::FileFormat;

#[derive(Default)]
struct Memory {
    records: Mutex<BTreeMap<Bytes, Bytes>>,
    /// A batch that holds this key is refused.
    refuses: Option<&'static str>,
    /// A batch that holds this key is written late.
    delays: Option<&'static str>,
}

impl BatchSink for Memory {
    async fn write(&self, batch: Vec<(Bytes, Bytes)>) -> Result<(), ClientError> {
        let holds = |key: Option<&str>| batch.iter().any(|(held, _)| key.is_some_and(|key| *held == key));
        if holds(self.delays) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        if holds(self.refuses) {
            return Err(ClientError::OutcomeUnknown { operation: "write", node: "n".into(), source: None });
        }
        self.records.lock().unwrap().extend(batch);
        Ok(())
    }
}

impl Memory {
    fn keys(&self) -> Vec<String> {
        let records = self.records.lock().unwrap();
        records.keys().map(|key| String::from_utf8(key.to_vec()).unwrap()).collect()
    }
}

fn lines(keys: &[&str]) -> String {
    keys.iter().enumerate().map(|(index, key)| format!("{{\"key\":\"{key}\",\"value\":\"{index}\"}}\n")).collect()
}

fn importer<'a>(
    text: &'a str,
    memory: &Arc<Memory>,
    prefix: &'static str,
    from: Option<(Mark, u64)>,
) -> Importer<Memory, &'a [u8]> {
    let mut reader = RecordReader::new(text.as_bytes(), FileFormat::Jsonl).unwrap();
    let records = from.map_or(0, |(mark, records)| {
        assert!(reader.skip_to(mark).unwrap());
        records
    });
    let plan =
        ImportPlan { prefix: prefix.into(), batch_records: 2, concurrency: 3, resume_hint: "run it again".to_owned() };
    Importer::new(Arc::clone(memory), reader, plan, Interrupt::never(), records)
}

#[tokio::test(start_paused = true)]
async fn every_record_is_written_under_the_prefix_and_acknowledged_in_order() {
    let memory = Arc::new(Memory { delays: Some("p/a"), ..Memory::default() });
    let mut steps = Vec::new();
    let summary = importer(&lines(&["a", "b", "c", "d", "e"]), &memory, "p/", None)
        .run(|step| {
            steps.push(step.records);
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!(memory.keys(), ["p/a", "p/b", "p/c", "p/d", "p/e"]);
    assert_eq!((summary.records, steps), (5, vec![2, 4, 5]));
}

#[tokio::test(start_paused = true)]
async fn a_later_line_wins_even_where_the_earlier_batch_is_slow() {
    let memory = Arc::new(Memory { delays: Some("slow"), ..Memory::default() });
    let text = lines(&["x", "slow", "x", "b"]);
    importer(&text, &memory, "", None).run(|_| Ok(())).await.unwrap();
    let value = memory.records.lock().unwrap()[&Bytes::from("x")].clone();
    assert_eq!(value, "2", "line 3 came after line 1");
}

#[tokio::test]
async fn a_bad_line_stops_after_everything_before_it_is_written() {
    let memory = Arc::new(Memory::default());
    let text = format!("{}torn", lines(&["a", "b", "c"]));
    let mut last = None;
    let error = importer(&text, &memory, "", None)
        .run(|step| {
            last = Some(step);
            Ok(())
        })
        .await
        .unwrap_err();
    assert!(matches!(&error, TransferError::Line { source, records: 3, .. } if source.line() == 4), "{error}");
    assert_eq!(error.exit_code(), crate::ExitCode::Partial);
    assert_eq!(memory.keys(), ["a", "b", "c"]);

    // Corrected, the import goes on where it stopped and writes nothing twice.
    let corrected = lines(&["a", "b", "c", "d"]);
    memory.records.lock().unwrap().clear();
    let step = last.unwrap();
    let summary = importer(&corrected, &memory, "", Some((step.mark, step.records))).run(|_| Ok(())).await.unwrap();
    assert_eq!((summary.records, memory.keys()), (4, vec!["d".to_owned()]));
}

#[tokio::test]
async fn a_store_that_fails_stops_the_import_at_the_first_line_not_acknowledged() {
    let memory = Arc::new(Memory { refuses: Some("d"), ..Memory::default() });
    let error = importer(&lines(&["a", "b", "c", "d", "e", "f"]), &memory, "", None).run(|_| Ok(())).await.unwrap_err();
    assert!(matches!(error, TransferError::Store { from_line: 3, records: 2, .. }), "{error}");
}

#[tokio::test]
async fn limits_are_refused_with_their_line() {
    let memory = Arc::new(Memory::default());
    let text = format!("{}{}", lines(&["a"]), lines(&[&"k".repeat(MAX_KEY_BYTES)]));
    let error = importer(&text, &memory, "p", None).run(|_| Ok(())).await.unwrap_err();
    assert!(error.to_string().contains("line 2") && error.to_string().contains("4096"), "{error}");
    let empty = importer(&lines(&[""]), &memory, "", None).run(|_| Ok(())).await.unwrap_err();
    assert!(empty.to_string().contains("1 to 4096"), "{empty}");
}

#[tokio::test]
async fn an_interrupted_import_says_how_far_it_came() {
    let memory = Arc::new(Memory::default());
    let text = lines(&["a", "b", "c", "d"]);
    let mut importer = importer(&text, &memory, "", None);
    let (ask, interrupt) = Interrupt::asked_by();
    ask.send_replace(true);
    importer.interrupt = interrupt;
    let error = importer.run(|_| Ok(())).await.unwrap_err();
    assert!(matches!(error, TransferError::Interrupted { records: 0, .. }));
    assert_eq!(error.exit_code(), crate::ExitCode::Interrupted);
}
