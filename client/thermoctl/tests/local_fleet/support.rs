//! A fleet and the ways of a person to it.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::atomic::{AtomicU8, Ordering},
    time::{Duration, Instant},
};

use serde_json::Value;
use thermocline_client::{Client, Endpoints, Options};
use thermocline_fleet::local::{Layout, NodeProcess, process};

/// Generous: machines that run tests are busy.
const PATIENCE: Duration = Duration::from_secs(60);
static FLEETS: AtomicU8 = AtomicU8::new(0);

/// A fleet with a state folder and addresses of its own; stopped and removed when it goes.
pub struct Fleet {
    pub folder: tempfile::TempDir,
    pub address: String,
}

impl Fleet {
    pub fn new() -> Self {
        Self::at(tempfile::tempdir().unwrap())
    }

    /// On a device that is never larger than the machine's memory.
    pub fn on_a_small_device() -> Self {
        Self::at(tempfile::tempdir_in("/dev/shm").unwrap())
    }

    fn at(folder: tempfile::TempDir) -> Self {
        let pid = std::process::id();
        let number = FLEETS.fetch_add(1, Ordering::Relaxed);
        let address = format!("127.{}.{}.{}", 64 + pid % 128, (pid / 128) % 250, 1 + number * 8);
        Self { folder, address }
    }

    pub fn home(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    pub fn layout(&self) -> Layout {
        Layout::new(self.home())
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_thermoctl"));
        command.env("THERMOCLINE_NODE_BINARY", node_program()).env("THERMOCLINE_HOME", self.home());
        command.args(arguments).output().unwrap()
    }

    /// Runs a command that must succeed and returns what it printed.
    pub fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}\n{}", text(&output.stderr), self.log());
        text(&output.stdout)
    }

    /// Runs a command that must fail with this exit code and returns what it said.
    pub fn refused(&self, arguments: &[&str], code: i32) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stderr)
    }

    pub fn up(&self) {
        let manifests = examples("quickstart");
        self.ok(&["local", "up", "-f", manifests.to_str().unwrap(), "--address", &self.address]);
    }

    /// The folder of manifests of the quick start with one of them changed.
    pub fn manifests(&self, file: &str, from: &str, to: &str) -> String {
        let folder = self.folder.path().join("manifests");
        std::fs::create_dir_all(&folder).unwrap();
        for entry in std::fs::read_dir(examples("quickstart")).unwrap() {
            let path = entry.unwrap().path();
            std::fs::copy(&path, folder.join(path.file_name().unwrap())).unwrap();
        }
        std::fs::copy(self.edited(file, from, to), folder.join(file)).unwrap();
        folder.to_str().unwrap().to_owned()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.layout().supervisor_log()).unwrap_or_default()
    }

    /// Writes a manifest of one object that was changed as a person would edit it.
    pub fn edited(&self, file: &str, from: &str, to: &str) -> String {
        let text = std::fs::read_to_string(examples("quickstart").join(file)).unwrap();
        assert!(text.contains(from), "{from} stands in {file}");
        let path = self.folder.path().join(file);
        std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    pub fn get(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.ok(&[&["get", "-o", "json"], arguments].concat())).unwrap()
    }

    /// The processes of the nodes, by name.
    pub fn pids(&self) -> Vec<(String, u32)> {
        NodeProcess::alive(&self.layout()).into_iter().map(|(name, record)| (name, record.process.pid)).collect()
    }

    pub async fn client(&self) -> Client {
        Client::connect(Endpoints::read(&self.layout().endpoints()).unwrap(), Options::default()).await.unwrap()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        let output = self.run(&["local", "down", "--destroy", "--yes"]);
        if !output.status.success() && !std::thread::panicking() {
            let _ = output;
        }
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub fn examples(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name)
}

/// The program of the nodes, built where it is missing: a test of one package alone does not build another's. One that is
/// older than its sources is refused, for it would be tested instead of them.
pub fn node_program() -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_thermoctl")).with_file_name("thermocline-node");
    static BUILT: std::sync::Once = std::sync::Once::new();
    BUILT.call_once(|| {
        if !program.is_file() {
            let built = Command::new(env!("CARGO")).args(["build", "--locked", "-p", "thermocline-node"]).status();
            assert!(built.unwrap().success(), "thermocline-node is built");
        }
        if let Some(newer) = newer_source(&program) {
            panic!(
                "{} is older than {}: build it with `cargo build -p thermocline-node`, then run this again",
                program.display(),
                newer.display()
            );
        }
    });
    program
}

/// A source that has changed since a program was built, by the list of them that cargo keeps beside the program.
pub fn newer_source(program: &Path) -> Option<PathBuf> {
    let file = program.with_extension("d");
    let Ok(list) = std::fs::read_to_string(&file) else { panic!("{} is not there", file.display()) };
    // A blank in a path is written with a backslash before it.
    let list = list.replace("\\ ", "\0");
    let Some((_, sources)) = list.split_once(": ") else { panic!("{} is no list of sources", file.display()) };
    let changed = |path: &Path| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    let built = changed(program);
    let sources: Vec<PathBuf> =
        sources.split_ascii_whitespace().map(|path| PathBuf::from(path.replace('\0', " "))).collect();
    assert!(sources.len() > 10, "the list of sources is one: {list}");
    // Only what is compiled: a list may name what a build script has looked at too.
    let is_source = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "rs");
    sources.into_iter().filter(is_source).find(|path| changed(path) > built)
}

/// Waits until something is so.
pub fn until<T>(what: &str, mut so: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(value) = so() {
            return value;
        }
        assert!(begun.elapsed() < PATIENCE, "not so after {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

pub fn kill(pid: u32) {
    let process = process::started(pid).unwrap();
    assert!(process::signal(&process, rustix::process::Signal::KILL).unwrap());
    until("the process has ended", || (!process::is_alive(&process)).then_some(()));
}

pub fn condition<'a>(object: &'a Value, about: &str) -> &'a Value {
    object["status"]["conditions"].as_array().unwrap().iter().find(|one| one["type"] == about).unwrap()
}
