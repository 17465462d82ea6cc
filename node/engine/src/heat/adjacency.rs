//! Whether one key follows another, told from the keys alone.
//!
//! Adjacent are `k` and `k + 1` as a big-endian number, and `...9` and `...10` as decimal text. Other orders are learned
//! as successors.

/// Digits beyond this are not compared as a number.
const LONGEST_NUMBER: usize = 18;

/// Whether `next` comes right after `previous`.
#[must_use]
pub(super) fn is_adjacent(previous: &[u8], next: &[u8]) -> bool {
    follows_as_text(previous, next).unwrap_or_else(|| follows_as_bytes(previous, next))
}

/// Both end in digits after the same text: compares the numbers. `None` where that says nothing.
fn follows_as_text(previous: &[u8], next: &[u8]) -> Option<bool> {
    let (previous_text, previous_digits) = split_number(previous);
    let (next_text, next_digits) = split_number(next);
    if previous_digits.is_empty() || next_digits.is_empty() || previous_text != next_text {
        return None;
    }
    Some(number(next_digits)? == number(previous_digits)? + 1)
}

/// Equal length, the same but for a last part that grew by one, carries included.
fn follows_as_bytes(previous: &[u8], next: &[u8]) -> bool {
    if previous.len() != next.len() {
        return false;
    }
    let tail = previous.iter().rev().take_while(|byte| **byte == u8::MAX).count();
    let Some(last) = (previous.len() - tail).checked_sub(1) else {
        return false;
    };
    previous[..last] == next[..last]
        && previous[last] + 1 == next[last]
        && next[last + 1..].iter().all(|byte| *byte == 0)
}

fn split_number(key: &[u8]) -> (&[u8], &[u8]) {
    let digits = key.iter().rev().take(LONGEST_NUMBER).take_while(|byte| byte.is_ascii_digit()).count();
    key.split_at(key.len() - digits)
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}
