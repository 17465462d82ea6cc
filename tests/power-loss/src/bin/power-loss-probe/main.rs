//! Runs a script of file operations, one per line of standard input, for the tests of the shim.
//!
//! Paths are relative to the working folder. `kill` ends the process as `kill -9` does; at the end of the script it exits normally.
//! The first operation that fails ends it with status 1, unless the line starts with `-`.

use std::{
    error::Error,
    fs::{self, File, OpenOptions},
    io::{self, BufRead, Write},
    os::unix::fs::FileExt,
    sync::Arc,
    thread,
    time::Instant,
};

mod system_calls;

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

fn main() -> Outcome {
    for line in io::stdin().lock().lines() {
        let line = line?;
        let (tolerated, operation) = line.strip_prefix('-').map_or((false, line.as_str()), |rest| (true, rest));
        let words: Vec<&str> = operation.split_whitespace().collect();
        let outcome = run(&words);
        match outcome {
            Err(error) if tolerated => println!("failed: {error}"),
            Err(error) => return Err(format!("{operation}: {error}").into()),
            Ok(()) => {}
        }
    }
    Ok(())
}

/// The bytes that `seed` stands for: different at every offset, so that a misplaced byte shows.
fn pattern(seed: &str, length: &str) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>> {
    let (seed, length): (usize, usize) = (seed.parse()?, length.parse()?);
    Ok((0..length).map(|index| (seed * 31 + index * 7 + index / 256) as u8).collect())
}

fn writer(path: &str) -> io::Result<File> {
    OpenOptions::new().write(true).open(path)
}

fn run(words: &[&str]) -> Outcome {
    match *words {
        [] => {}
        ["create", path] => drop(File::create_new(path)?),
        ["overwrite", path] => drop(File::create(path)?),
        ["write", path, at, seed, length] => writer(path)?.write_all_at(&pattern(seed, length)?, at.parse()?)?,
        ["append", path, seed, length] => {
            OpenOptions::new().append(true).open(path)?.write_all(&pattern(seed, length)?)?;
        }
        ["sync", path] => File::open(path)?.sync_all()?,
        ["sync_data", path] => File::open(path)?.sync_data()?,
        ["truncate", path, length] => writer(path)?.set_len(length.parse()?)?,
        ["rename", from, to] => fs::rename(from, to)?,
        ["unlink", path] => fs::remove_file(path)?,
        ["link", from, to] => fs::hard_link(from, to)?,
        ["symlink", target, path] => std::os::unix::fs::symlink(target, path)?,
        ["mkdir", path] => fs::create_dir(path)?,
        ["rmdir", path] => fs::remove_dir(path)?,
        ["remove_all", path] => fs::remove_dir_all(path)?,
        ["copy", from, to] => drop(fs::copy(from, to)?),
        ["append_for_ever", path, threads, sync] => append_for_ever(path, threads.parse()?, sync == "synced")?,
        ["fork_while_writing", path, times] => fork_while_writing(path, times.parse()?)?,
        ["milliseconds", ref timed @ ..] => {
            let start = Instant::now();
            run(timed)?;
            println!("{}", start.elapsed().as_millis());
        }
        ["kill"] => rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)?,
        _ => return system_calls::run(words),
    }
    Ok(())
}

/// Threads append 16-byte records (thread, sequence) to one file and report `thread sequence` once a sync covered them, until the
/// process is killed.
fn append_for_ever(path: &str, threads: u64, synced: bool) -> Outcome {
    let path: Arc<str> = path.into();
    let workers: Vec<_> = (0..threads)
        .map(|thread| {
            let path = Arc::clone(&path);
            thread::spawn(move || -> io::Result<()> {
                let mut file = OpenOptions::new().append(true).open(&*path)?;
                for sequence in 0_u64.. {
                    file.write_all(&[thread.to_le_bytes(), sequence.to_le_bytes()].concat())?;
                    if sequence % 5 == 4 {
                        if synced {
                            file.sync_data()?;
                        }
                        // One call per line: std locks and flushes it.
                        println!("{thread} {sequence}");
                    }
                }
                Ok(())
            })
        })
        .collect();
    for worker in workers {
        worker.join().map_err(|_| "a writer panicked")??;
    }
    Ok(())
}

/// Forks while other threads hold the shim's locks; every child writes to a watched file and must come back.
fn fork_while_writing(path: &str, times: u32) -> Outcome {
    let path: Arc<str> = path.into();
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let worker = {
        let (path, stop) = (Arc::clone(&path), Arc::clone(&stop));
        thread::spawn(move || -> io::Result<()> {
            let mut file = OpenOptions::new().append(true).open(&*path)?;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                file.write_all(b"parent")?;
                drop(File::create(format!("{path}.scratch"))?);
            }
            Ok(())
        })
    };
    let forked = (0..times).try_for_each(|_| system_calls::fork_and_append(&path));
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    worker.join().map_err(|_| "the writer panicked")??;
    Ok(forked?)
}
