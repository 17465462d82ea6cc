//! All chance of this process. The standard library, `rand` and what builds on them (hash maps, tokio's order of wakers and
//! branches, openraft's election timeouts) ask the C library's `getrandom` for it; the one here comes before that one.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::sync::atomic::{AtomicU64, Ordering};

/// How much was drawn, and from what.
static STATE: AtomicU64 = AtomicU64::new(0);

/// Has everything that is drawn from here on follow from a seed.
pub fn begin(seed: u64) {
    STATE.store(seed.wrapping_mul(0xD134_2543_DE82_EF95) | 1, Ordering::SeqCst);
}

/// The next eight bytes (SplitMix64).
fn next() -> u64 {
    let state = STATE.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::SeqCst);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// In the place of the C library's.
// SAFETY: the name and the signature are the C library's, whose contract this keeps: `length` bytes are written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(buffer: *mut c_void, length: usize, _flags: u32) -> isize {
    let mut written = 0;
    while written < length {
        let word = next().to_ne_bytes();
        let part = word.len().min(length - written);
        // SAFETY: the caller gives `length` bytes at `buffer` to write to, and `written + part` is at most that.
        unsafe { std::ptr::copy_nonoverlapping(word.as_ptr(), buffer.cast::<u8>().add(written), part) };
        written += part;
    }
    isize::try_from(length).unwrap_or(isize::MAX)
}
