//! Known sequences of operations, and byte for byte what a power loss leaves of each.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
};

use thermocline_power_loss::{Destination, Options, RebuildError, Survival};

mod support;
use support::{Disk, expected, feed, pattern, tree};

/// A durable file `a` of 100 bytes of pattern 1.
fn disk() -> Disk {
    Disk::with(&[("a", pattern(1, 100))])
}

fn only_a(bytes: Vec<u8>) -> support::Tree {
    expected(&[("a", Some(bytes))])
}

fn joined(parts: &[Vec<u8>]) -> Vec<u8> {
    parts.concat()
}

#[test]
fn an_unsynced_append_is_lost() {
    assert_eq!(disk().after(&["append a 2 50"]), only_a(pattern(1, 100)));
}

#[test]
fn a_synced_append_is_kept_and_what_follows_is_lost() {
    for sync in ["sync a", "sync_data a"] {
        let left = disk().after(&["append a 2 50", sync, "append a 3 50"]);
        assert_eq!(left, only_a(joined(&[pattern(1, 100), pattern(2, 50)])), "{sync}");
    }
}

#[test]
fn sync_file_range_makes_nothing_durable() {
    assert_eq!(disk().after(&["append a 2 50", "sync_file_range a"]), only_a(pattern(1, 100)));
}

#[test]
fn an_unsynced_create_is_lost_even_if_its_content_was_synced() {
    assert_eq!(disk().after(&["create b", "append b 2 10", "sync b"]), only_a(pattern(1, 100)));
}

#[test]
fn a_lenient_image_keeps_a_created_file_that_was_synced_itself() {
    let disk = Disk::empty();
    disk.run(&["create b", "append b 2 10", "sync b", "create c", "append c 3 10", "append b 4 10"]);
    let options = Options { lenient_create: true, ..Options::default() };
    disk.power.lose_power(options).unwrap();
    assert_eq!(tree(&disk.root), expected(&[("b", Some(pattern(2, 10)))]));
}

#[test]
fn a_lenient_image_keeps_a_link_whose_file_was_synced_after_it() {
    let disk = Disk::with(&[("a", pattern(1, 10)), ("b", pattern(2, 10))]);
    disk.run(&["link a c", "sync a", "sync b", "link b d"]);
    let options = Options { lenient_create: true, ..Options::default() };
    disk.power.lose_power(options).unwrap();
    let (a, b) = (Some(pattern(1, 10)), Some(pattern(2, 10)));
    assert_eq!(tree(&disk.root), expected(&[("a", a.clone()), ("b", b), ("c", a)]));
}

#[test]
fn a_create_with_folder_sync_is_kept_with_only_its_synced_content() {
    let left = Disk::empty().after(&[
        "create b",
        "append b 2 10",
        "sync .",
        "create c",
        "append c 3 10",
        "sync c",
        "sync .",
        "append c 4 9",
    ]);
    assert_eq!(left, expected(&[("b", Some(vec![])), ("c", Some(pattern(3, 10)))]));
}

#[test]
fn a_rename_without_folder_sync_is_undone() {
    assert_eq!(disk().after(&["rename a b"]), only_a(pattern(1, 100)));
}

#[test]
fn a_replacing_rename_without_folder_sync_brings_the_replaced_file_back() {
    let left = disk().after(&["create t", "append t 2 20", "sync t", "sync .", "rename t a"]);
    assert_eq!(left, expected(&[("a", Some(pattern(1, 100))), ("t", Some(pattern(2, 20)))]));
}

#[test]
fn a_replacing_rename_with_folder_sync_is_kept() {
    let left = disk().after(&["create t", "append t 2 20", "sync t", "rename t a", "sync ."]);
    assert_eq!(left, only_a(pattern(2, 20)));
}

#[test]
fn a_synced_rename_of_an_unsynced_file_leaves_it_empty() {
    assert_eq!(disk().after(&["create t", "append t 2 20", "rename t a", "sync ."]), only_a(vec![]));
}

#[test]
fn an_unlink_without_folder_sync_is_undone_and_so_are_unsynced_bytes_in_the_file() {
    assert_eq!(disk().after(&["append a 2 10", "unlink a"]), only_a(pattern(1, 100)));
}

#[test]
fn an_unlink_with_folder_sync_is_kept() {
    assert_eq!(disk().after(&["unlink a", "sync ."]), expected(&[]));
}

#[test]
fn an_unlinked_name_used_again_is_the_old_file_after_the_loss() {
    let left = disk().after(&["unlink a", "create a", "append a 5 30", "sync a"]);
    assert_eq!(left, only_a(pattern(1, 100)));
}

#[test]
fn an_overwrite_after_the_sync_is_reverted() {
    for write in ["write a 10 2 30", "pwritev a 10 2 30"] {
        assert_eq!(disk().after(&[write]), only_a(pattern(1, 100)), "{write}");
    }
}

#[test]
fn an_overwrite_over_the_end_is_reverted_to_the_synced_end() {
    let left = disk().after(&["append a 2 20", "sync a", "write a 90 3 200", "write a 400 4 10"]);
    assert_eq!(left, only_a(joined(&[pattern(1, 100), pattern(2, 20)])));
}

#[test]
fn a_synced_overwrite_is_kept() {
    let left = disk().after(&["write a 10 2 30", "sync a", "write a 0 3 100"]);
    let mut bytes = pattern(1, 100);
    bytes.splice(10..40, pattern(2, 30));
    assert_eq!(left, only_a(bytes));
}

#[test]
fn every_way_to_shorten_a_file_is_reverted() {
    for shorten in ["truncate a 7", "overwrite a", "open_and_truncate a"] {
        assert_eq!(disk().after(&[shorten, "append a 9 3"]), only_a(pattern(1, 100)), "{shorten}");
    }
}

#[test]
fn more_than_one_record_of_overwritten_bytes_comes_back() {
    let disk = Disk::with(&[("a", pattern(1, 3_000_000))]);
    assert_eq!(disk.after(&["write a 5 2 2500000", "truncate a 10"]), only_a(pattern(1, 3_000_000)));
}

#[test]
fn every_way_to_lengthen_a_file_is_reverted() {
    let ways =
        ["truncate a 500", "fallocate a extend 0 500", "writev a 3 40", "sendfile s a 50", "copy_file_range s a 60 50"];
    for lengthen in ways.into_iter().chain(["write_through_dup a 4 300", "fallocate a zero_range 50 100", "copy s a"]) {
        let disk = Disk::with(&[("a", pattern(1, 100)), ("s", pattern(7, 200))]);
        let left = disk.after(&[lengthen]);
        assert_eq!(left, expected(&[("a", Some(pattern(1, 100))), ("s", Some(pattern(7, 200)))]), "{lengthen}");
    }
}

#[test]
fn a_punched_hole_is_filled_again() {
    assert_eq!(disk().after(&["fallocate a punch_hole 0 4096"]), only_a(pattern(1, 100)));
}

#[test]
fn blocks_reserved_beyond_the_end_change_nothing() {
    let left = disk().after(&["fallocate a keep_size 0 4096", "append a 2 10", "sync_data a"]);
    assert_eq!(left, only_a(joined(&[pattern(1, 100), pattern(2, 10)])));
}

#[test]
fn a_link_without_folder_sync_is_lost_and_with_it_is_kept() {
    let left = disk().after(&["link a b", "sync .", "link a c"]);
    assert_eq!(left, expected(&[("a", Some(pattern(1, 100))), ("b", Some(pattern(1, 100)))]));
}

#[test]
fn linked_names_stay_one_file_after_the_loss() {
    let disk = disk();
    disk.after(&["link a b", "sync ."]);
    disk.run(&["append b 2 10", "sync b"]);
    disk.lose_power();
    assert_eq!(fs::read(disk.root.join("a")).unwrap(), joined(&[pattern(1, 100), pattern(2, 10)]));
}

#[test]
fn a_folder_needs_its_parents_sync_and_its_own() {
    let make = ["mkdir d", "create d/x", "append d/x 2 10", "sync d/x"];
    let none = Disk::empty().after(&[&make[..], &["sync d"]].concat());
    let parent = Disk::empty().after(&[&make[..], &["sync ."]].concat());
    let both = Disk::empty().after(&[&make[..], &["sync d", "sync ."]].concat());
    assert_eq!(none, expected(&[]));
    assert_eq!(parent, expected(&[("d", None)]));
    assert_eq!(both, expected(&[("d", None), ("d/x", Some(pattern(2, 10)))]));
}

#[test]
fn a_removed_tree_is_back_even_if_its_folders_number_was_used_again() {
    let disk = Disk::with(&[("d/x", pattern(1, 10)), ("d/e/y", pattern(2, 10))]);
    let before = tree(&disk.root);
    let left = disk.after(&["remove_all d", "mkdir n", "mkdir m", "create n/z"]);
    assert_eq!(left, before);
}

#[test]
fn a_rename_between_folders_never_loses_the_file() {
    let start = || Disk::with(&[("p/x", pattern(1, 10)), ("q/o", pattern(2, 10))]);
    let has = |left: &support::Tree| (left.contains_key("p/x"), left.contains_key("q/x"));
    assert_eq!(has(&start().after(&["rename p/x q/x"])), (true, false));
    assert_eq!(has(&start().after(&["rename p/x q/x", "sync p"])), (true, false));
    assert_eq!(has(&start().after(&["rename p/x q/x", "sync q"])), (true, true));
    assert_eq!(has(&start().after(&["rename p/x q/x", "sync q", "sync p"])), (false, true));
    assert_eq!(has(&start().after(&["rename p/x q/x", "sync p", "sync q"])), (false, true));
}

#[test]
fn a_renamed_folder_keeps_what_it_durably_held() {
    let disk = Disk::with(&[("p/d/x", pattern(1, 10)), ("q/o", pattern(2, 10))]);
    let left = disk.after(&["rename p/d q/d", "create q/d/y", "sync q"]);
    let wanted =
        [("p", None), ("q", None), ("q/d", None), ("q/d/x", Some(pattern(1, 10))), ("q/o", Some(pattern(2, 10)))];
    assert_eq!(left, expected(&wanted));
}

#[test]
fn a_number_taken_over_by_a_pipe_is_not_taken_for_the_file() {
    assert_eq!(
        disk().after(&["reuse_descriptor a 2 50", "append a 3 10", "sync a"]),
        only_a(joined(&[pattern(1, 100), pattern(3, 10)]))
    );
}

#[test]
fn what_one_process_left_unsynced_the_next_may_sync_or_lose() {
    let disk = disk();
    disk.run(&["append a 2 10", "create b"]);
    disk.run(&["append a 3 10", "create c"]);
    disk.run(&["sync a", "append a 4 10", "sync .", "unlink b"]);
    let report = disk.lose_power();
    assert_eq!(report.processes, 3);
    let a = joined(&[pattern(1, 100), pattern(2, 10), pattern(3, 10)]);
    assert_eq!(tree(&disk.root), expected(&[("a", Some(a)), ("b", Some(vec![])), ("c", Some(vec![]))]));
}

#[test]
fn power_can_be_lost_again_and_again() {
    let disk = Disk::empty();
    let mut wanted = Vec::new();
    disk.after(&["create log", "sync ."]);
    for round in 0..5 {
        let left = disk.after(&[&format!("append log {round} 10"), "sync log", "append log 99 10", "create junk"]);
        wanted.extend(pattern(round, 10));
        assert_eq!(left, expected(&[("log", Some(wanted.clone()))]));
    }
}

#[test]
fn several_roots_share_one_log() {
    let folder = tempfile::tempdir().unwrap();
    let roots = [folder.path().join("fast"), folder.path().join("slow")];
    let power =
        thermocline_power_loss::PowerLoss::new(&folder.path().join("log"), &roots, &[folder.path().join("graveyard")])
            .unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_power-loss-probe"));
    command.current_dir(folder.path()).stdin(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    power.command(&mut command).unwrap();
    feed(
        &mut command,
        &[
            "create fast/a",
            "append fast/a 1 10",
            "sync fast/a",
            "sync fast",
            "link fast/a slow/a",
            "create slow/b",
            "sync slow",
            "unlink slow/b",
            "create outside",
            "kill",
        ],
    );
    power.lose_power(Options::default()).unwrap();
    assert_eq!(tree(&roots[0]), expected(&[("a", Some(pattern(1, 10)))]));
    assert_eq!(tree(&roots[1]), expected(&[("a", Some(pattern(1, 10))), ("b", Some(vec![]))]));
    assert!(folder.path().join("outside").exists());
}

/// Threads append until the process is killed; returns what was acknowledged per thread, and the records left of each.
fn killed_while_appending(sync: &str) -> (BTreeMap<u64, u64>, BTreeMap<u64, Vec<u64>>) {
    let disk = Disk::empty();
    disk.after(&["create a", "sync ."]);
    let mut child = disk.probe().spawn().unwrap();
    writeln!(child.stdin.as_mut().unwrap(), "append_for_ever a 4 {sync}").unwrap();
    let mut acknowledged = BTreeMap::new();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut note = |line: String| {
        // The kill may cut the last line.
        if let Some((thread, sequence)) = line.split_once(' ')
            && let (Ok(thread), Ok(sequence)) = (thread.parse::<u64>(), sequence.parse::<u64>())
        {
            let last = acknowledged.entry(thread).or_insert(0);
            *last = sequence.max(*last);
        }
    };
    drop(child.stdin.take());
    for line in lines.by_ref().take(200) {
        note(line.unwrap());
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let mut rest: Vec<String> = lines.map_while(Result::ok).collect();
    // "1 12" cut from "1 129" would claim less than was said, never more; but a cut thread number would mislead.
    rest.pop();
    rest.into_iter().for_each(&mut note);

    let live = fs::read(disk.root.join("a")).unwrap();
    disk.lose_power();
    let left = fs::read(disk.root.join("a")).unwrap();
    assert_eq!(live.get(..left.len()), Some(&left[..]), "the image of appends is a prefix of them");
    let mut records: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for record in left.chunks_exact(16) {
        let (thread, sequence) = record.split_at(8);
        let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
        records.entry(number(thread)).or_default().push(number(sequence));
    }
    assert_eq!(left.len() % 16, 0);
    (acknowledged, records)
}

#[test]
fn threads_that_append_to_one_file_find_everything_acknowledged() {
    let (acknowledged, records) = killed_while_appending("synced");
    assert!(!acknowledged.is_empty());
    for (thread, last) in acknowledged {
        let wanted: Vec<u64> = (0..=last).collect();
        assert_eq!(
            records.get(&thread).and_then(|found| found.get(..wanted.len())),
            Some(&wanted[..]),
            "thread {thread}"
        );
    }
}

#[test]
fn threads_that_acknowledge_without_a_sync_find_nothing() {
    let (acknowledged, records) = killed_while_appending("unsynced");
    assert!(!acknowledged.is_empty());
    assert_eq!(records, BTreeMap::new());
}

#[test]
fn a_child_forked_while_locks_are_held_can_write() {
    let disk = disk();
    disk.run(&["fork_while_writing a 200"]);
    disk.lose_power();
    assert_eq!(tree(&disk.root), only_a(pattern(1, 100)));
}

#[test]
fn random_survival_keeps_a_prefix_of_each_files_writes_and_is_replayable() {
    let disk = disk();
    let appends: Vec<String> = (0..20).map(|seed| format!("append a {seed} 10")).collect();
    disk.run(&appends.iter().map(String::as_str).collect::<Vec<_>>());
    let live = fs::read(disk.root.join("a")).unwrap();
    let mut lengths = BTreeMap::new();
    for seed in 0..40 {
        let image = |number: u32| {
            let into = disk.folder.path().join(format!("image-{seed}-{number}"));
            let options = Options { survival: Survival::Random(seed), ..Options::default() };
            let report = disk.power.image(Destination::Folder(&into), options).unwrap();
            fs::read(report.roots[0].join("a")).unwrap()
        };
        let left = image(0);
        assert_eq!(left, image(1), "seed {seed}");
        assert!(left.len() >= 100 && live.starts_with(&left), "seed {seed}");
        *lengths.entry(left.len()).or_insert(0) += 1;
    }
    assert!(lengths.len() > 10, "{lengths:?}");
    assert!(lengths.keys().any(|length| length % 10 != 0), "no write was torn: {lengths:?}");
}

#[test]
fn random_survival_keeps_both_halves_of_a_rename_or_neither() {
    let disk = Disk::with(&[("p/x", pattern(1, 10)), ("q/o", pattern(2, 10))]);
    disk.run(&["create p/y", "create q/z", "rename p/x q/x", "unlink q/o"]);
    let mut seen = BTreeMap::new();
    for seed in 0..60 {
        let into = disk.folder.path().join(seed.to_string());
        let options = Options { survival: Survival::Random(seed), ..Options::default() };
        let report = disk.power.image(Destination::Folder(&into), options).unwrap();
        let left = tree(&report.roots[0]);
        assert_ne!(left.contains_key("p/x"), left.contains_key("q/x"), "seed {seed}: {left:?}");
        assert!(!left.contains_key("q/x") || left.contains_key("p/y"), "seed {seed}: not a prefix: {left:?}");
        *seen.entry(left.contains_key("q/x")).or_insert(0) += 1;
    }
    assert_eq!(seen.len(), 2, "{seen:?}");
}

#[test]
fn a_program_without_the_shim_is_refused() {
    let disk = disk();
    let mut command = disk.probe();
    command.env_remove("LD_PRELOAD");
    feed(&mut command, &["append a 2 10", "kill"]);
    assert!(matches!(disk.power.lose_power(Options::default()), Err(RebuildError::NoProcess)));
}
