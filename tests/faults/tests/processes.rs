//! Signals and clocks, on programs of the machine.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use thermocline_faults::{FakeClock, ProcessError, Signal, signal};

const PATIENCE: Duration = Duration::from_secs(20);

/// The letter by which the system names what a process does.
fn state(child: &Child) -> String {
    let text = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
    let (_, after) = text.rsplit_once(") ").unwrap();
    after[..1].to_owned()
}

fn until(child: &Child, wanted: &str) {
    let begun = Instant::now();
    while state(child) != wanted {
        assert!(begun.elapsed() < PATIENCE, "{} and not {wanted}", state(child));
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_process_stops_goes_on_and_is_killed() {
    let mut child = Command::new("sleep").arg("60").stdout(Stdio::null()).spawn().unwrap();
    signal(child.id(), Signal::STOP).unwrap();
    until(&child, "T");
    signal(child.id(), Signal::CONT).unwrap();
    until(&child, "S");
    signal(child.id(), Signal::KILL).unwrap();
    assert!(!child.wait().unwrap().success());
}

#[test]
fn an_id_that_names_no_process_or_every_process_is_refused() {
    for id in [0, 1, u32::MAX] {
        assert!(matches!(signal(id, Signal::CONT), Err(ProcessError::NoId(_))), "{id}");
    }
}

#[test]
fn a_fake_clock_jumps_both_ways_in_a_running_process_and_leaves_the_monotonic_one_alone() {
    let folder = tempfile::tempdir().unwrap();
    let clock = FakeClock::new(folder.path()).unwrap();
    // The shell reads the wall clock itself; `sleep` and `timeout` wait by the monotonic one.
    let mut command = Command::new("timeout");
    command.args(["3", "bash", "-c", "while :; do printf '%(%s)T\\n' -1; sleep 0.05; done"]).stdout(Stdio::piped());
    clock.arrange(&mut command);
    let begun = Instant::now();
    let child = command.spawn().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    clock.jump(3600).unwrap();
    std::thread::sleep(Duration::from_millis(500));
    clock.jump(-3600).unwrap();
    let output = child.wait_with_output().unwrap();
    let took = begun.elapsed();
    assert!(took >= Duration::from_secs(2) && took < PATIENCE, "the monotonic clock goes on: {took:?}");
    let times: Vec<i64> = String::from_utf8(output.stdout).unwrap().lines().map(|line| line.parse().unwrap()).collect();
    let jumps = |far: fn(i64) -> bool| times.windows(2).filter(|pair| far(pair[1] - pair[0])).count();
    assert_eq!(jumps(|by| by > 3000), 1, "{times:?}");
    assert_eq!(jumps(|by| by < -6000), 1, "{times:?}");
}
