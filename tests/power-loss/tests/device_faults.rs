//! Slow and full devices, unreadable files.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    process::Output,
    time::{Duration, Instant},
};

use thermocline_power_loss::{DeviceFaults, FaultError};

mod support;
use support::{Disk, feed, pattern};

fn faults(disk: &Disk) -> (DeviceFaults, std::path::PathBuf) {
    let slow = disk.root.join("slow");
    (DeviceFaults::new(&disk.folder.path().join("control"), std::slice::from_ref(&slow)).unwrap(), slow)
}

fn two_devices() -> Disk {
    Disk::with(&[("slow/a", pattern(1, 100_000)), ("fast/a", pattern(1, 100_000))])
}

fn milliseconds(output: &Output) -> Vec<u64> {
    String::from_utf8_lossy(&output.stdout).lines().map(|line| line.parse().unwrap()).collect()
}

#[test]
fn a_throttled_device_takes_at_least_its_bytes_by_its_rate_and_others_do_not_wait() {
    let disk = two_devices();
    let (faults, slow) = faults(&disk);
    faults.throttle(&slow, Some(100_000)).unwrap();
    let mut command = disk.probe();
    faults.command(&mut command);
    let start = Instant::now();
    let operations = [
        "milliseconds append slow/a 1 50000",
        "milliseconds copy slow/a fast/b",
        "milliseconds append fast/a 1 5000000",
    ];
    let output = feed(&mut command, &operations);
    let took = start.elapsed();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let times = milliseconds(&output);
    assert!(times[0] >= 500, "{times:?}");
    // 5 MB at the slow device's rate would be 50 seconds.
    assert!(took < Duration::from_secs(40), "{times:?}");
}

#[test]
fn a_throttle_lifted_while_a_call_waits_lets_it_go_on() {
    let disk = two_devices();
    let (faults, slow) = faults(&disk);
    // A hundred seconds for the append.
    faults.throttle(&slow, Some(1_000)).unwrap();
    let mut command = disk.probe();
    faults.command(&mut command);
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"milliseconds append fast/a 1 1\nmilliseconds append slow/a 1 100000\n").unwrap();
    drop(input);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.next().unwrap().unwrap();
    // Time to begin waiting; where it does not suffice the test shows less but does not fail.
    std::thread::sleep(Duration::from_millis(500));
    assert!(child.try_wait().unwrap().is_none());
    faults.throttle(&slow, None).unwrap();
    let waited: u64 = lines.next().unwrap().unwrap().parse().unwrap();
    assert!(waited < 90_000, "{waited} ms");
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_full_device_refuses_writes_until_space_returns_and_others_go_on() {
    let disk = two_devices();
    let (faults, slow) = faults(&disk);
    faults.fill_up(&slow, true).unwrap();
    let run = |operations: &[&str]| {
        let mut command = disk.probe();
        feed(faults.command(&mut command), operations)
    };
    let output = run(&[
        "-append slow/a 1 10",
        "-fallocate slow/a extend 0 200000",
        "append fast/a 1 10",
        "unlink fast/a",
        "copy slow/a fast/c",
    ]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let refusals = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(refusals.matches("No space left on device").count(), 2, "{refusals}");
    assert_eq!(fs::read(slow.join("a")).unwrap(), pattern(1, 100_000));

    faults.fill_up(&slow, false).unwrap();
    assert!(run(&["append slow/a 2 10"]).status.success());
    assert_eq!(fs::read(slow.join("a")).unwrap(), [pattern(1, 100_000), pattern(2, 10)].concat());
}

#[test]
fn faults_work_without_recording() {
    let disk = two_devices();
    let (faults, slow) = faults(&disk);
    faults.fill_up(&slow, true).unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_power-loss-probe"));
    command.current_dir(&disk.root).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let output = feed(faults.command(&mut command), &["-append slow/a 1 10", "append fast/a 1 10"]);
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).contains("No space left"));
}

#[test]
fn an_unreadable_file_fails_its_reads_alone_until_the_mark_goes() {
    let disk = two_devices();
    let (faults, slow) = faults(&disk);
    let run = |operations: &[&str]| {
        let mut command = disk.probe();
        feed(faults.command(&mut command), operations)
    };
    faults.unreadable(&slow.join("a"), true).unwrap();
    let output = run(&["-copy slow/a fast/b", "append slow/a 2 10", "copy fast/a slow/c", "copy slow/c fast/d"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let refusals = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(refusals.matches("Input/output error").count(), 1, "{refusals}");
    faults.unreadable(&slow.join("a"), false).unwrap();
    assert!(run(&["copy slow/a fast/b"]).status.success());
    assert_eq!(fs::read(disk.root.join("fast/b")).unwrap(), [pattern(1, 100_000), pattern(2, 10)].concat());
}

#[test]
fn an_unsyncable_folder_fails_its_syncs_alone() {
    let disk = two_devices();
    let (faults, slow) = faults(&disk);
    let folder = slow.join("folder");
    fs::create_dir(&folder).unwrap();
    faults.unsyncable(&folder, true).unwrap();
    let mut command = disk.probe();
    let operations = ["-sync slow/folder", "sync slow", "sync slow/a", "sync fast"];
    let output = feed(faults.command(&mut command), &operations);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let refusals = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(refusals.matches("Input/output error").count(), 1, "{refusals}");
}

#[test]
fn an_unknown_prefix_is_refused() {
    let disk = two_devices();
    let (faults, _) = faults(&disk);
    assert!(matches!(faults.throttle(&disk.root, Some(1)), Err(FaultError::UnknownPrefix { .. })));
}
