//! Writes to a log store and says what was acknowledged, for tests that kill it; then checks that all of it is there.
//!
//! ```text
//! log_writer write  FOLDER [GROUPS]    runs until killed, a line per acknowledgement on standard output
//! log_writer verify FOLDER             reads such lines from standard input and compares
//! ```
//! Lines, each written in whole, in order within a group:
//! ```text
//! append GROUP INDEX TERM     the entry is durable; its bytes follow from these three numbers
//! cut GROUP INDEX             entries from INDEX on are about to be replaced: no longer promised
//! purge GROUP INDEX           everything up to INDEX is gone for good
//! vote GROUP TERM             the vote of TERM is durable
//! ```
//! The check fails where a line promises something that is not there, where bytes differ, or where a log has a gap.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{BufRead as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::thread;

use bytes::Bytes;
use thermocline_engine::log::{Completion, LogError, LogOptions, LogStore, StateKey};

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

const USAGE: &str = "usage: log_writer write FOLDER [GROUPS] | log_writer verify FOLDER";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments[..] {
        ["write", folder] => write(Path::new(folder), 8),
        ["write", folder, groups] => {
            groups.parse().map_err(Into::into).and_then(|groups| write(Path::new(folder), groups))
        }
        ["verify", folder] => verify(Path::new(folder)),
        _ => Err(USAGE.into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut message = error.to_string();
            let mut source = error.source();
            while let Some(cause) = source {
                message = format!("{message}: {cause}");
                source = cause.source();
            }
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

/// The bytes of an entry: between 24 and some 4000, all of them following from where it is.
fn payload(group: u64, index: u64, term: u64) -> Bytes {
    let mut bytes: Vec<u8> = [group, index, term].iter().flat_map(|number| number.to_be_bytes()).collect();
    let mixed = (group ^ index.rotate_left(17) ^ term.rotate_left(43)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let filling = mixed.to_be_bytes();
    let length = usize::from(filling[0]) * 16;
    bytes.extend(filling.iter().cycle().take(length));
    Bytes::from(bytes)
}

fn term_of(payload: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(payload.get(16..24)?.try_into().ok()?))
}

fn ask(request: impl FnOnce(Completion)) -> Result<(), LogError> {
    let (done, pending) = Completion::channel();
    request(done);
    pending.wait()
}

/// One line, in one write: a kill leaves whole lines and at most one part of a line.
fn say(line: &str) -> Outcome {
    let mut output = std::io::stdout().lock();
    output.write_all(format!("{line}\n").as_bytes())?;
    Ok(output.flush()?)
}

fn write(folder: &Path, groups: u64) -> Outcome {
    let store = LogStore::open(
        folder,
        LogOptions { write_buffer_bytes: 1 << 20, reclaim_bytes: 1 << 20, ..LogOptions::default() },
    )?;
    thread::scope(|scope| {
        let writers: Vec<_> = (0..groups)
            .map(|group| {
                scope.spawn({
                    let store = &store;
                    move || write_group(store, group)
                })
            })
            .collect();
        for writer in writers {
            writer.join().map_err(|_| "a writer panicked")??;
        }
        Ok(())
    })
}

/// Appends three entries at a time; each 7th round cuts five off and writes a new term, each 11th purges, each 5th votes.
fn write_group(store: &LogStore, group: u64) -> Outcome {
    let last = store.last_index(group);
    let mut next = last.or_else(|| store.purged(group).map(|purged| purged.index)).map_or(1, |index| index + 1);
    let vote = store.read_state(group, StateKey::Vote);
    let mut term = vote.as_deref().and_then(|vote| Some(u64::from_be_bytes(vote.try_into().ok()?))).unwrap_or(0) + 1;
    for round in 1_u64.. {
        if round.is_multiple_of(5) {
            ask(|done| store.save_state(group, StateKey::Vote, Bytes::copy_from_slice(&term.to_be_bytes()), done))?;
            say(&format!("vote {group} {term}"))?;
        }
        if round.is_multiple_of(7) {
            let purged = store.purged(group).map_or(0, |purged| purged.index);
            let from = next.saturating_sub(5).max(purged + 1);
            term += 1;
            say(&format!("cut {group} {from}"))?;
            ask(|done| store.truncate_from(group, from, done))?;
            next = from;
        }
        if round.is_multiple_of(11) {
            let index = next.saturating_sub(20);
            ask(|done| store.purge_to(group, index, Bytes::copy_from_slice(&index.to_be_bytes()), done))?;
            say(&format!("purge {group} {index}"))?;
        }
        let entries = (next..next + 3).map(|index| (index, payload(group, index, term))).collect();
        ask(|done| store.append(group, entries, done))?;
        for index in next..next + 3 {
            say(&format!("append {group} {index} {term}"))?;
        }
        next += 3;
    }
    Ok(())
}

/// What the lines promise of one group.
#[derive(Default)]
struct Promised {
    entries: BTreeMap<u64, u64>,
    purged: Option<u64>,
    vote: u64,
}

fn verify(folder: &Path) -> Outcome {
    let mut groups: BTreeMap<u64, Promised> = BTreeMap::new();
    let mut promises: u64 = 0;
    let mut input = std::io::stdin().lock();
    let mut line = String::new();
    // A last line without its end was cut by the kill: it promises nothing.
    while input.read_line(&mut line)? > 0 && line.ends_with('\n') {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let number = |at: usize| {
            fields.get(at).ok_or("a line is too short")?.parse::<u64>().map_err(|_| "a field is not a number")
        };
        let promised = groups.entry(number(1)?).or_default();
        match fields[0] {
            "append" => drop(promised.entries.insert(number(2)?, number(3)?)),
            "cut" => drop(promised.entries.split_off(&number(2)?)),
            "purge" => {
                let index = number(2)?;
                promised.purged = promised.purged.max(Some(index));
                promised.entries = promised.entries.split_off(&(index + 1));
            }
            "vote" => promised.vote = promised.vote.max(number(2)?),
            other => return Err(format!("a line begins with {other:?}; append, cut, purge and vote are known").into()),
        }
        promises += 1;
        line.clear();
    }
    let store = LogStore::open(folder, LogOptions::default())?;
    for (&group, promised) in &groups {
        verify_group(&store, group, promised).map_err(|what| format!("group {group}: {what}"))?;
    }
    println!("{promises} promises kept in {} groups", groups.len());
    Ok(())
}

fn verify_group(store: &LogStore, group: u64, promised: &Promised) -> Outcome {
    let entries = store.read(group, 0..u64::MAX, usize::MAX)?;
    if let Some(gap) = entries.windows(2).find(|pair| pair[0].0 + 1 != pair[1].0) {
        return Err(format!("nothing between {} and {}", gap[0].0, gap[1].0).into());
    }
    let found: BTreeMap<u64, Bytes> = entries.into_iter().collect();
    for (&index, bytes) in &found {
        let whole = term_of(bytes).is_some_and(|term| payload(group, index, term) == *bytes);
        if !whole {
            return Err(format!("entry {index} has other bytes than were written").into());
        }
    }
    // The purge of a round may be durable while its line is missing; it is never ahead by more than that.
    let purged = store.purged(group).map(|purged| purged.index);
    if purged < promised.purged {
        return Err(format!("purged up to {:?}, {purged:?} is left", promised.purged).into());
    }
    for (&index, &term) in promised.entries.iter().filter(|&(&index, _)| Some(index) > purged) {
        let kept = found.get(&index).and_then(|bytes| term_of(bytes));
        if kept != Some(term) {
            return Err(format!("entry {index} of term {term} was acknowledged, {kept:?} is there").into());
        }
    }
    let vote =
        store.read_state(group, StateKey::Vote).and_then(|vote| Some(u64::from_be_bytes(vote[..].try_into().ok()?)));
    if vote.unwrap_or(0) < promised.vote {
        return Err(format!("the vote of term {} was acknowledged, {vote:?} is there", promised.vote).into());
    }
    Ok(())
}
