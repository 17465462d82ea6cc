//! Files as people and crashes leave them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;

fn read(text: impl AsRef<[u8]>, format: FileFormat) -> Result<Vec<(String, String)>, LineError> {
    let mut reader = RecordReader::new(text.as_ref(), format)?;
    let mut records = Vec::new();
    while let Some(record) = reader.next_record()? {
        records.push((
            String::from_utf8_lossy(&record.key).into_owned(),
            String::from_utf8_lossy(&record.value).into_owned(),
        ));
    }
    Ok(records)
}

fn jsonl(text: impl AsRef<[u8]>) -> Result<Vec<(String, String)>, LineError> {
    read(text, FileFormat::Jsonl)
}

fn csv(text: impl AsRef<[u8]>) -> Result<Vec<(String, String)>, LineError> {
    read(text, FileFormat::Csv)
}

fn pair(key: &str, value: &str) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

#[test]
fn json_lines_hold_text_or_base64_and_blank_lines_are_passed_over() {
    let text = "{\"key\":\"a\",\"value\":\"1\"}\n\n{\"keyBase64\":\"Yg==\",\"valueBase64\":\"Mg==\",\"version\":9}\r\n";
    assert_eq!(jsonl(text).unwrap(), [pair("a", "1"), pair("b", "2")]);
    assert_eq!(jsonl("").unwrap(), []);
}

#[test]
fn a_torn_json_line_is_named() {
    let error = jsonl("{\"key\":\"a\",\"value\":\"1\"}\n{\"key\":\"b\",\"va").unwrap_err();
    assert!(matches!(error, LineError::Torn { line: 2 }), "{error:?}");
    let whole_without_newline = jsonl("{\"key\":\"a\",\"value\":\"1\"}").unwrap();
    assert_eq!(whole_without_newline, [pair("a", "1")]);
}

#[test]
fn a_json_line_that_is_no_record_is_named_and_says_what_is_allowed() {
    let good = "{\"key\":\"a\",\"value\":\"1\"}\n";
    for (bad_line, expected) in [
        ("nonsense\n", "one object such as"),
        ("{\"key\":\"a\"}\n", "either value or valueBase64"),
        ("{\"key\":\"a\",\"keyBase64\":\"Yg==\",\"value\":\"\"}\n", "either key or keyBase64"),
        ("{\"keyBase64\":\"!\",\"value\":\"\"}\n", "not base64"),
        ("{\"key\":\"a\",\"value\":\"1\",\"ttl\":3}\n", "unknown field `ttl`"),
    ] {
        let error = jsonl(format!("{good}{bad_line}{good}")).unwrap_err();
        assert_eq!(error.line(), 2, "{bad_line}");
        assert!(error.to_string().contains(expected), "{bad_line}: {error}");
    }
    let not_utf8 = jsonl(b"{\"key\":\"\xff\",\"value\":\"1\"}\n").unwrap_err();
    assert_eq!(not_utf8.line(), 1);
}

#[test]
fn csv_fields_may_be_quoted_over_lines_and_columns_may_be_swapped() {
    assert_eq!(csv("key,value\na,\"x,\n\"\"y\"\"\"\r\nb,2\n").unwrap(), [pair("a", "x,\n\"y\""), pair("b", "2")]);
    assert_eq!(csv("value,key\n1,a\n").unwrap(), [pair("a", "1")]);
    assert_eq!(csv("keyBase64,value\nYQ==,1\n").unwrap(), [pair("a", "1")]);
    assert_eq!(csv("").unwrap(), []);
}

#[test]
fn a_line_after_a_quoted_newline_has_its_true_number() {
    let error = csv("key,value\na,\"1\n2\"\nb\n").unwrap_err();
    assert_eq!(error.line(), 4, "{error}");
}

#[test]
fn a_torn_csv_file_is_named() {
    let in_a_quote = csv("key,value\na,1\nb,\"2\n").unwrap_err();
    assert!(matches!(in_a_quote, LineError::Torn { line: 3 }), "{in_a_quote:?}");
    // "2" may be what is left of "25": without its newline the record is not trusted.
    let without_newline = csv("key,value\na,1\nb,2").unwrap_err();
    assert!(matches!(without_newline, LineError::Torn { line: 3 }), "{without_newline:?}");
}

#[test]
fn a_csv_line_that_is_no_record_is_named() {
    assert!(csv("a,1\n").unwrap_err().to_string().contains("key,value"));
    assert!(csv("key,value\na,1,2\n").unwrap_err().to_string().contains("3 fields"));
    assert!(csv(b"key,value\n\xff,1\n").unwrap_err().to_string().contains("keyBase64"));
}

#[test]
fn a_reader_goes_on_where_another_stopped() {
    for (format, text) in [
        (FileFormat::Jsonl, "{\"key\":\"a\",\"value\":\"1\"}\n{\"key\":\"b\",\"value\":\"2\"}\n"),
        (FileFormat::Csv, "key,value\na,\"1\n\"\nb,2\n"),
    ] {
        let mut first = RecordReader::new(text.as_bytes(), format).unwrap();
        let mark = first.next_record().unwrap().unwrap().end;
        let rest = first.next_record().unwrap().unwrap();

        let mut second = RecordReader::new(text.as_bytes(), format).unwrap();
        assert!(second.skip_to(mark).unwrap());
        assert_eq!(second.next_record().unwrap().unwrap(), rest, "same line, same end");

        let changed = text.replace("\"1", "\"9");
        let mut other = RecordReader::new(changed.as_bytes(), format).unwrap();
        assert!(!other.skip_to(mark).unwrap(), "a changed file is noticed");
        let mut shorter = RecordReader::new(&text.as_bytes()[..12], format).unwrap();
        assert!(!shorter.skip_to(mark).unwrap(), "a shorter file is noticed");
    }
}

#[test]
fn a_byte_order_mark_before_the_first_record_is_passed_over() {
    let text = "\u{feff}{\"key\":\"a\",\"value\":\"1\"}\n\u{feff}{}\n";
    let mut reader = RecordReader::new(text.as_bytes(), FileFormat::Jsonl).unwrap();
    assert_eq!(reader.next_record().unwrap().unwrap().key, "a");
    let error = reader.next_record().unwrap_err();
    assert_eq!(error.line(), 2);
    assert!(error.to_string().contains("at column 1"), "{error}");
}
