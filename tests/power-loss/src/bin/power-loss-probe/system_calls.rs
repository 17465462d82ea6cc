//! The calls that RocksDB makes and `std` does not, through libc, as a preloaded shim sees them.
#![allow(unsafe_code)]

use std::{
    ffi::CString,
    fs::{File, OpenOptions},
    io,
    os::fd::{AsRawFd, FromRawFd},
};

use crate::{Outcome, pattern, writer};

fn check(result: i64) -> io::Result<i64> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn whole(result: i64, length: usize) -> io::Result<()> {
    match check(result)? {
        written if written as usize == length => Ok(()),
        _ => Err(io::ErrorKind::WriteZero.into()),
    }
}

fn slice(bytes: &[u8]) -> libc::iovec {
    libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() }
}

pub(crate) fn run(words: &[&str]) -> Outcome {
    match *words {
        ["writev", path, seed, length] => {
            let (file, bytes) = (OpenOptions::new().append(true).open(path)?, pattern(seed, length)?);
            let (head, tail) = bytes.split_at(bytes.len() / 2);
            let parts = [slice(head), slice(tail)];
            // SAFETY: the parts point into `bytes`, which lives past the call, and are only read.
            whole(unsafe { libc::writev(file.as_raw_fd(), parts.as_ptr(), 2) } as i64, bytes.len())?;
        }
        ["pwritev", path, at, seed, length] => {
            let (file, bytes) = (writer(path)?, pattern(seed, length)?);
            let (head, tail) = bytes.split_at(bytes.len() / 2);
            let parts = [slice(head), slice(tail)];
            // SAFETY: as above.
            whole(unsafe { libc::pwritev(file.as_raw_fd(), parts.as_ptr(), 2, at.parse()?) } as i64, bytes.len())?;
        }
        ["fallocate", path, mode, at, length] => {
            let mode = match mode {
                "keep_size" => libc::FALLOC_FL_KEEP_SIZE,
                "punch_hole" => libc::FALLOC_FL_KEEP_SIZE | libc::FALLOC_FL_PUNCH_HOLE,
                "zero_range" => libc::FALLOC_FL_ZERO_RANGE,
                _ => 0,
            };
            let file = writer(path)?;
            // SAFETY: no memory is passed.
            check(unsafe { libc::fallocate(file.as_raw_fd(), mode, at.parse()?, length.parse()?) }.into())?;
        }
        ["sync_file_range", path] => {
            let flags =
                libc::SYNC_FILE_RANGE_WAIT_BEFORE | libc::SYNC_FILE_RANGE_WRITE | libc::SYNC_FILE_RANGE_WAIT_AFTER;
            let file = writer(path)?;
            // SAFETY: no memory is passed.
            check(unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, flags) }.into())?;
        }
        ["copy_file_range", from, to, at, length] => {
            let (from, to, mut at) = (File::open(from)?, writer(to)?, at.parse::<libc::off64_t>()?);
            let (from, to, none) = (from.as_raw_fd(), to.as_raw_fd(), std::ptr::null_mut());
            // SAFETY: `at` lives past the call; the other pointer may be null.
            check(unsafe { libc::copy_file_range(from, none, to, &raw mut at, length.parse()?, 0) } as i64)?;
        }
        ["sendfile", from, to, length] => {
            let (from, to) = (File::open(from)?, writer(to)?);
            // SAFETY: the pointer may be null.
            check(unsafe { libc::sendfile(to.as_raw_fd(), from.as_raw_fd(), std::ptr::null_mut(), length.parse()?) }
                as i64)?;
        }
        ["write_through_dup", path, seed, length] => {
            let (file, bytes) = (writer(path)?, pattern(seed, length)?);
            // SAFETY: the copy is owned by nothing else.
            let copy = unsafe { File::from_raw_fd(check(libc::dup(file.as_raw_fd()).into())? as i32) };
            drop(file);
            io::Write::write_all(&mut &copy, &bytes)?;
        }
        ["open_and_truncate", path] => {
            let path = CString::new(path)?;
            // SAFETY: a string that ends in zero; the descriptor is closed at once.
            check(
                unsafe {
                    libc::close(libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC, 0o644))
                }
                .into(),
            )?;
        }
        ["reuse_descriptor", path, seed, length] => {
            // A watched descriptor's number, closed and given to a pipe: writes to it must not be taken for the file's.
            let (file, bytes) = (writer(path)?, pattern(seed, length)?);
            let number = file.as_raw_fd();
            drop(file);
            let (_reader, mut pipe) = io::pipe()?;
            assert!(pipe.as_raw_fd() == number || _reader.as_raw_fd() == number, "the number was not used again");
            io::Write::write_all(&mut pipe, &bytes)?;
        }
        _ => return Err("unknown operation".into()),
    }
    Ok(())
}

/// Forks; the child appends to `path` and leaves, the parent waits for it.
pub(crate) fn fork_and_append(path: &str) -> io::Result<()> {
    let path = CString::new(path).map_err(io::Error::other)?;
    // SAFETY: the child only makes calls that are safe in a forked child of a threaded process: open, write and _exit.
    unsafe {
        let child = check(libc::fork().into())? as i32;
        if child == 0 {
            let file = libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_APPEND);
            let written = libc::write(file, c"child".as_ptr().cast(), 5);
            libc::_exit(i32::from(written != 5));
        }
        let mut status = 0;
        check(libc::waitpid(child, &raw mut status, 0).into())?;
        if status == 0 { Ok(()) } else { Err(io::Error::other(format!("the child left with {status}"))) }
    }
}
