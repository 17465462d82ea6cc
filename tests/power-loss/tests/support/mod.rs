//! A scratch disk with the probe on it.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use thermocline_power_loss::{Destination, Options, PowerLoss, Report};

/// What a tree holds: a folder is `None`.
pub type Tree = BTreeMap<String, Option<Vec<u8>>>;

/// One root, its log and its graveyard.
pub struct Disk {
    pub folder: tempfile::TempDir,
    pub root: PathBuf,
    pub power: PowerLoss,
}

impl Disk {
    /// A disk whose root durably holds `files`.
    pub fn with(files: &[(&str, Vec<u8>)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        for (name, bytes) in files {
            let path = root.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        let graveyard = folder.path().join("graveyard");
        let power = PowerLoss::new(&folder.path().join("log"), std::slice::from_ref(&root), &[graveyard]).unwrap();
        Self { folder, root, power }
    }

    pub fn empty() -> Self {
        Self::with(&[])
    }

    /// The probe, ready to run in the root.
    pub fn probe(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_power-loss-probe"));
        command.current_dir(&self.root).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        self.power.command(&mut command).unwrap();
        command
    }

    /// Runs the operations, then kills the probe.
    pub fn run(&self, operations: &[&str]) -> Output {
        let output = feed(&mut self.probe(), &[operations, &["kill"]].concat());
        use std::os::unix::process::ExitStatusExt;
        assert_eq!(output.status.signal(), Some(9), "{}", String::from_utf8_lossy(&output.stderr));
        output
    }

    /// The power goes; the root becomes what was durable.
    pub fn lose_power(&self) -> Report {
        let report = self.power.lose_power(Options::default()).unwrap();
        assert_eq!(report.unrecorded, Vec::<PathBuf>::new());
        report
    }

    /// Runs the operations; returns what is left after the power loss. The image made elsewhere must be the same as the one in place.
    pub fn after(&self, operations: &[&str]) -> Tree {
        self.run(operations);
        let elsewhere = self.folder.path().join("elsewhere");
        let copied = self.power.image(Destination::Folder(&elsewhere), Options::default()).unwrap();
        let copy = tree(&copied.roots[0]);
        fs::remove_dir_all(elsewhere).unwrap();
        self.lose_power();
        let in_place = tree(&self.root);
        assert_eq!(copy, in_place, "the copied image differs from the one in place");
        in_place
    }
}

/// Runs a command with these lines as its standard input.
pub fn feed(command: &mut Command, lines: &[&str]) -> Output {
    let mut child = command.spawn().unwrap();
    let text = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    // The probe may end before it has read all.
    let _ = child.stdin.take().unwrap().write_all(text.as_bytes());
    child.wait_with_output().unwrap()
}

pub fn tree(folder: &Path) -> Tree {
    let mut found = Tree::new();
    collect(folder, "", &mut found);
    found
}

fn collect(folder: &Path, prefix: &str, found: &mut Tree) {
    for child in fs::read_dir(folder).unwrap() {
        let child = child.unwrap();
        let name = format!("{prefix}{}", child.file_name().to_str().unwrap());
        if child.file_type().unwrap().is_dir() {
            collect(&child.path(), &format!("{name}/"), found);
            found.insert(name, None);
        } else {
            found.insert(name, Some(fs::read(child.path()).unwrap()));
        }
    }
}

/// The bytes that the probe writes for a seed.
pub fn pattern(seed: usize, length: usize) -> Vec<u8> {
    (0..length).map(|index| (seed * 31 + index * 7 + index / 256) as u8).collect()
}

/// A tree of files and, where the content is `None`, folders.
pub fn expected(entries: &[(&str, Option<Vec<u8>>)]) -> Tree {
    entries.iter().map(|(name, content)| ((*name).to_owned(), content.clone())).collect()
}
