//! Random operations against a model that copies what a sync covers, where the crate undoes what none covered.
//!
//! A failure prints the seed; `POWER_LOSS_SEED=<seed>` runs that case alone. `POWER_LOSS_CASES` sets how many cases run.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)] // a seed of the day, printed

use std::{
    collections::BTreeMap,
    env,
    time::{SystemTime, UNIX_EPOCH},
};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

mod support;
use support::{Disk, Tree, pattern, tree};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Object {
    File(usize),
    Folder(usize),
}

#[derive(Default, Clone)]
struct Content {
    live: Vec<u8>,
    durable: Vec<u8>,
}

#[derive(Default, Clone)]
struct Folder {
    live: BTreeMap<String, Object>,
    durable: BTreeMap<String, Object>,
}

/// A rename between folders whose new folder was not synced since.
struct Crossing {
    from: usize,
    name: String,
    to: usize,
    object: Object,
    from_synced: bool,
}

struct Model {
    files: Vec<Content>,
    folders: Vec<Folder>,
    crossings: Vec<Crossing>,
    random: ChaCha8Rng,
}

/// The root is folder 0.
const ROOT: usize = 0;

impl Model {
    fn new(seed: u64) -> Self {
        let (files, folders, crossings) = (Vec::new(), vec![Folder::default()], Vec::new());
        Self { files, folders, crossings, random: ChaCha8Rng::seed_from_u64(seed) }
    }

    fn below(&mut self, limit: usize) -> usize {
        self.random.random_range(0..limit)
    }

    /// A folder that exists, and its path with a slash at the end unless it is the root.
    fn folder(&mut self) -> (usize, String) {
        let mut found = vec![(ROOT, String::new())];
        for (name, object) in &self.folders[ROOT].live {
            if let Object::Folder(index) = object {
                found.push((*index, format!("{name}/")));
            }
        }
        let chosen = self.below(found.len());
        found.swap_remove(chosen)
    }

    /// A name in some folder, and what it names now.
    fn place(&mut self) -> (usize, String, String, Option<Object>) {
        let (folder, prefix) = self.folder();
        let name = format!("f{}", self.below(4));
        let object = self.folders[folder].live.get(&name).copied();
        (folder, name.clone(), format!("{prefix}{name}"), object)
    }

    fn add_file(&mut self, folder: usize, name: String) {
        self.files.push(Content::default());
        self.folders[folder].live.insert(name, Object::File(self.files.len() - 1));
    }

    fn put(&mut self, file: usize, at: usize, bytes: &[u8]) {
        let live = &mut self.files[file].live;
        live.resize(live.len().max(at + bytes.len()), 0);
        live[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn sync_folder(&mut self, index: usize) {
        let mut durable = self.folders[index].live.clone();
        for crossing in std::mem::take(&mut self.crossings) {
            if crossing.to == index {
                let old = &mut self.folders[crossing.from].durable;
                if crossing.from_synced && old.get(&crossing.name) == Some(&crossing.object) {
                    old.remove(&crossing.name);
                }
                continue;
            }
            let synced = crossing.from == index;
            if synced {
                durable.entry(crossing.name.clone()).or_insert(crossing.object);
            }
            self.crossings.push(Crossing { from_synced: crossing.from_synced || synced, ..crossing });
        }
        self.folders[index].durable = durable;
    }

    /// One operation as the probe's line, done in the model too; none where the chosen one does not apply.
    fn operation(&mut self) -> Option<String> {
        let kind = self.below(20);
        if kind == 0 {
            let (name, folder) = (format!("d{}", self.below(2)), self.folders.len());
            return match self.folders[ROOT].live.get(&name).copied() {
                None => {
                    self.folders.push(Folder::default());
                    self.folders[ROOT].live.insert(name.clone(), Object::Folder(folder));
                    Some(format!("mkdir {name}"))
                }
                Some(Object::Folder(index)) if self.folders[index].live.is_empty() => {
                    self.folders[ROOT].live.remove(&name);
                    Some(format!("rmdir {name}"))
                }
                Some(_) => None,
            };
        }
        if kind <= 3 {
            let (index, prefix) = self.folder();
            self.sync_folder(index);
            return Some(format!("sync ./{prefix}"));
        }
        let (folder, name, path, object) = self.place();
        let Some(Object::File(file)) = object else {
            self.add_file(folder, name);
            return Some(if self.below(2) == 0 {
                format!("create {path}")
            } else {
                format!("open_and_truncate {path}")
            });
        };
        let size = self.files[file].live.len();
        let (seed, length, at) = (self.below(256), self.below(200), self.below(size + 60));
        Some(match kind {
            4..=6 => {
                let sync = if kind == 4 { "sync" } else { "sync_data" };
                self.files[file].durable = self.files[file].live.clone();
                format!("{sync} {path}")
            }
            7 | 8 => {
                self.put(file, size, &pattern(seed, length));
                format!("{} {path} {seed} {length}", if kind == 7 { "append" } else { "writev" })
            }
            9..=11 => {
                // A write of no bytes does not move the end.
                let length = length.max(1);
                self.put(file, at, &pattern(seed, length));
                format!("{} {path} {at} {seed} {length}", if kind == 9 { "pwritev" } else { "write" })
            }
            12 => {
                self.files[file].live.resize(at, 0);
                format!("truncate {path} {at}")
            }
            13 => {
                self.files[file].live.clear();
                format!("{} {path}", if seed % 2 == 0 { "overwrite" } else { "open_and_truncate" })
            }
            14 => {
                let end = at + length + 1;
                let (mode, live) =
                    (["extend", "keep_size", "punch_hole", "zero_range"][seed % 4], &mut self.files[file].live);
                if matches!(mode, "extend" | "zero_range") {
                    live.resize(size.max(end), 0);
                }
                if matches!(mode, "punch_hole" | "zero_range") {
                    let end = end.min(live.len());
                    live[at.min(end)..end].fill(0);
                }
                format!("fallocate {path} {mode} {at} {}", length + 1)
            }
            15 => {
                self.folders[folder].live.remove(&name);
                format!("unlink {path}")
            }
            16 => {
                let (to, new_name, new_path, taken) = self.place();
                if taken.is_some() {
                    return None;
                }
                self.folders[to].live.insert(new_name, Object::File(file));
                format!("link {path} {new_path}")
            }
            _ => {
                let (to, new_name, new_path, taken) = self.place();
                // Two names of one file: the system does nothing.
                if taken != object {
                    self.folders[folder].live.remove(&name);
                    self.folders[to].live.insert(new_name, Object::File(file));
                    if folder != to {
                        self.crossings.push(Crossing {
                            from: folder,
                            name,
                            to,
                            object: Object::File(file),
                            from_synced: false,
                        });
                    }
                }
                format!("rename {path} {new_path}")
            }
        })
    }

    fn lose_power(&mut self) {
        self.crossings.clear();
        for file in &mut self.files {
            file.live.clone_from(&file.durable);
        }
        for folder in &mut self.folders {
            folder.live.clone_from(&folder.durable);
        }
    }

    fn durable(&self, folder: usize, prefix: &str, into: &mut Tree) {
        for (name, object) in &self.folders[folder].durable {
            let path = format!("{prefix}{name}");
            match object {
                Object::File(file) => drop(into.insert(path, Some(self.files[*file].durable.clone()))),
                Object::Folder(index) => {
                    self.durable(*index, &format!("{path}/"), into);
                    into.insert(path, None);
                }
            }
        }
    }
}

fn run(seed: u64) {
    let (disk, mut model) = (Disk::empty(), Model::new(seed));
    for loss in 0..3 {
        let mut script = Vec::new();
        for _process in 0..1 + model.below(3) {
            let operations: Vec<String> = (0..model.below(120)).filter_map(|_| model.operation()).collect();
            disk.run(&operations.iter().map(String::as_str).collect::<Vec<_>>());
            script.extend(operations);
            script.push("kill".to_owned());
        }
        disk.lose_power();
        let mut wanted = Tree::new();
        model.durable(ROOT, "", &mut wanted);
        let left = tree(&disk.root);
        assert!(
            left == wanted,
            "seed {seed}, loss {loss}: left {left:?}\nwanted {wanted:?}\nafter\n{}",
            script.join("\n")
        );
        model.lose_power();
    }
}

#[test]
fn random_operations_leave_what_the_model_says_is_durable() {
    if let Ok(seed) = env::var("POWER_LOSS_SEED") {
        return run(seed.parse().expect("POWER_LOSS_SEED is a number"));
    }
    let cases: u64 =
        env::var("POWER_LOSS_CASES").map_or(40, |cases| cases.parse().expect("POWER_LOSS_CASES is a number"));
    let first = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    println!("seeds from {first}");
    (first..first + cases).for_each(run);
}
