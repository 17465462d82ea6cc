//! The real data of the demonstration: records of Debian's package index, or of a file that a person names.
//!
//! Keys begin with a letter and the number of the copy (`b2/bash`), so that the cuts of the key space give each node a share
//! and the copies of a record, where the source is small, do not lie beside each other and compress as one.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use bytes::Bytes;
use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use thermocline_client::DisplayKey;
use thermocline_proto::MAX_VALUE_BYTES;

use crate::{CommandError, workload::fnv1a_64};

/// At least so many bytes of keys and values are loaded.
pub(super) const LEAST_BYTES: u64 = 100_000_000;
/// A source that is smaller than this would be copies of next to nothing.
const LEAST_SOURCE: u64 = 100_000;
const LISTS: &str = "/var/lib/apt/lists";
const HELPER: &str = "/usr/lib/apt/apt-helper";
const LONGEST_NAME: usize = 200;

/// What is loaded.
#[derive(Debug)]
pub(super) struct DataSet {
    /// Where it comes from, in words.
    pub(super) source: String,
    /// Records of the source.
    pub(super) distinct: usize,
    /// How many times each was taken.
    pub(super) copies: usize,
    /// Bytes of all keys and values.
    pub(super) bytes: u64,
    /// Keys and values, the most popular of the load first.
    pub(super) records: Vec<(Bytes, Bytes)>,
}

/// A record of the source: its name, where it has one, and its text.
type Source = Vec<(Option<String>, Bytes)>;

/// Reads the data; `seed` decides which records will be popular.
pub(super) fn read(file: Option<&Path>, seed: u64) -> Result<DataSet, CommandError> {
    let (source, records) = match file {
        Some(path) => (path.display().to_string(), of_file(path)?),
        None => ("Debian's package index".to_owned(), packages(&package_index()?)),
    };
    build(source, records, seed)
}

/// The package index that apt has on this machine.
fn package_index() -> Result<String, CommandError> {
    const NAME_A_FILE: &str = "name a file of at least 100 kB with --data FILE (`make run ARGS='--data FILE'`): each line or paragraph is a record";
    let lists: Vec<PathBuf> = fs::read_dir(LISTS).map_or_else(
        |_| Vec::new(),
        |entries| {
            let paths = entries.flatten().map(|entry| entry.path());
            let is_index =
                |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().contains("_Packages"));
            paths.filter(is_index).collect()
        },
    );
    if lists.is_empty() {
        return Err(CommandError::Usage(format!(
            "{LISTS} holds no package index of apt: run `apt-get update` as root, or {NAME_A_FILE}"
        )));
    }
    // The helper unpacks whatever apt packed them with; where it is missing, apt-cache tells the same.
    let helper = Command::new(HELPER).arg("cat-file").args(&lists).output();
    let output = match helper {
        Ok(output) if output.status.success() => output,
        _ => Command::new("apt-cache").arg("dumpavail").output().map_err(|error| {
            CommandError::Usage(format!("neither {HELPER} nor apt-cache can be run ({error}): {NAME_A_FILE}"))
        })?,
    };
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(CommandError::Usage(format!("apt-cache failed ({}): {NAME_A_FILE}", said.trim())));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// One record for each package, by its name.
fn packages(index: &str) -> Source {
    let name = |paragraph: &str| {
        let name = paragraph.lines().find_map(|line| line.strip_prefix("Package: "))?;
        Some(name.trim().chars().take(LONGEST_NAME).collect())
    };
    let paragraphs = index.split("\n\n").map(str::trim).filter(|paragraph| !paragraph.is_empty());
    paragraphs.map(|paragraph| (name(paragraph), Bytes::copy_from_slice(paragraph.as_bytes()))).collect()
}

fn of_file(path: &Path) -> Result<Source, CommandError> {
    let read = |source: io::Error| CommandError::Read { path: path.to_owned(), source };
    let bytes = fs::read(path).map_err(read)?;
    let text = String::from_utf8_lossy(&bytes);
    let records: Vec<&str> =
        if text.trim().contains("\n\n") { text.split("\n\n").collect() } else { text.lines().collect() };
    let records: Source = records
        .into_iter()
        .filter(|record| !record.trim().is_empty())
        .map(|record| (None, Bytes::copy_from_slice(record.as_bytes())))
        .collect();
    if let Some(index) = records.iter().position(|(_, value)| value.len() > MAX_VALUE_BYTES) {
        return Err(CommandError::Usage(format!(
            "record {} of {} is longer than {MAX_VALUE_BYTES} bytes, the longest value; name another file",
            index + 1,
            path.display()
        )));
    }
    Ok(records)
}

fn build(source: String, mut records: Source, seed: u64) -> Result<DataSet, CommandError> {
    // A package that stands in two indexes is one record: the last wins, as in any import.
    let mut last = std::collections::HashMap::new();
    for (index, (name, _)) in records.iter().enumerate() {
        if let Some(name) = name {
            last.insert(name.clone(), index);
        }
    }
    let mut index = 0;
    records.retain(|(name, _)| {
        let kept = name.as_ref().is_none_or(|name| last.get(name) == Some(&index));
        index += 1;
        kept
    });
    let once: u64 =
        records.iter().map(|(name, value)| (name.as_ref().map_or(8, String::len) + value.len()) as u64).sum();
    if once < LEAST_SOURCE {
        return Err(CommandError::Usage(format!(
            "{source} holds {once} bytes in {} records, the demonstration needs at least {LEAST_SOURCE} bytes; name a larger file with --data FILE",
            records.len()
        )));
    }
    let copies = usize::try_from(LEAST_BYTES.div_ceil(once)).unwrap_or(1);
    let mut all = Vec::with_capacity(records.len() * copies);
    for copy in 1..=copies {
        for (number, (name, value)) in records.iter().enumerate() {
            all.push((key(name.as_deref(), number, copy), value.clone()));
        }
    }
    let bytes = all.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum();
    all.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    tracing::debug!(first = %all.first().map_or_else(String::new, |(key, _)| DisplayKey(key).to_string()), "most popular");
    Ok(DataSet { source, distinct: records.len(), copies, bytes, records: all })
}

/// A name begins with its own letter; what has none is spread over the alphabet by its number.
fn key(name: Option<&str>, number: usize, copy: usize) -> Bytes {
    match name {
        Some(name) => {
            let first = name.chars().next().filter(char::is_ascii_alphanumeric).unwrap_or('0').to_ascii_lowercase();
            format!("{first}{copy}/{name}").into()
        }
        None => {
            let letter = b'a' + u8::try_from(fnv1a_64(number as u64) % 26).unwrap_or(0);
            format!("{}{copy}/{number:08}", char::from(letter)).into()
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_small_source_is_copied_under_several_prefixes_until_it_is_large_enough() {
        let mut index: String =
            (0..500).map(|number| format!("Package: p{number}\nDescription: {}\n\n", "x".repeat(300))).collect();
        index.push_str("Package: p7\nDescription: newer\n\n");
        let set = build("test".to_owned(), packages(&index), 1).unwrap();
        assert_eq!(set.distinct, 500, "the package that stands twice is one");
        assert!(set.bytes >= LEAST_BYTES, "{}", set.bytes);
        let keys: BTreeSet<&Bytes> = set.records.iter().map(|(key, _)| key).collect();
        assert_eq!(keys.len(), 500 * set.copies);
        assert!(keys.contains(&Bytes::from("p1/p7")) && keys.contains(&Bytes::from("p2/p7")));
    }

    #[test]
    fn the_same_seed_makes_the_same_records_popular() {
        let index: String = (0..300).map(|number| format!("Package: p{number}\n{}\n\n", "y".repeat(400))).collect();
        let order = |seed| build("test".to_owned(), packages(&index), seed).unwrap().records;
        assert_eq!(order(1), order(1));
        assert_ne!(order(1), order(2));
    }

    #[test]
    fn lines_or_paragraphs_are_records_and_spread_over_the_alphabet() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("data");
        fs::write(&file, "one\ntwo\nthree\n").unwrap();
        assert_eq!(of_file(&file).unwrap().len(), 3);
        fs::write(&file, "one\ntwo\n\nthree\n").unwrap();
        assert_eq!(of_file(&file).unwrap().len(), 2);
        let letters: BTreeSet<u8> = (0..2000).map(|number| key(None, number, 1)[0]).collect();
        assert_eq!(letters.len(), 26);
    }

    #[test]
    fn a_source_that_is_too_small_says_what_to_name() {
        let error = build("tiny".to_owned(), vec![(None, Bytes::from("x"))], 0).unwrap_err();
        assert!(error.to_string().contains("--data FILE"), "{error}");
    }
}
