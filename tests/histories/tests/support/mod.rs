//! A node as a process, which faults are brought about around.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod run;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::time::{Duration, Instant};

use thermocline_client::{Client, Durability, Endpoints, NodeEndpoint, Options};
use thermocline_faults::{ClockError, FakeClock, Fault, Link, ProcessError, Signal, Surroundings, signal};

/// Far beyond what a start takes: a bound for hangs, not for speed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A node over a folder that goes when the test ends, on ports that stay its own over restarts.
pub struct Node {
    folder: tempfile::TempDir,
    pub(crate) child: Child,
    clock: Option<FakeClock>,
    starts: u32,
}

impl Node {
    /// Starts a node on three ports of this address, which no other test uses.
    pub fn start(host: &str) -> Self {
        Self::start_under(host, None)
    }

    /// As [`Self::start`], under a clock that can be made to jump.
    pub fn start_with_a_clock(host: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = FakeClock::new(folder.path()).unwrap();
        Self::start_in(folder, host, Some(clock))
    }

    /// Starts one of several nodes of a cluster with shards, each with an address of its own.
    pub fn start_one_of(hosts: &[String], number: usize) -> Self {
        let seeds: Vec<String> = hosts.iter().map(|host| format!("'{host}:7403'")).collect();
        let host = &hosts[number];
        let text = format!("shards: {{clusterId: histories-1, seeds: [{}]}}\n", seeds.join(", "));
        let folder = tempfile::tempdir().unwrap();
        let clock = FakeClock::new(folder.path()).unwrap();
        Self::start_as(folder, &format!("node-{number}"), host, Some(clock), (&format!(", peer: '{host}:7403'"), &text))
    }

    fn start_under(host: &str, clock: Option<FakeClock>) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), host, clock)
    }

    fn start_in(folder: tempfile::TempDir, host: &str, clock: Option<FakeClock>) -> Self {
        Self::start_as(folder, "node-a", host, clock, ("", ""))
    }

    /// `more` stands among the listeners, and behind everything.
    fn start_as(
        folder: tempfile::TempDir,
        name: &str,
        host: &str,
        clock: Option<FakeClock>,
        more: (&str, &str),
    ) -> Self {
        let base = folder.path().display();
        let (listeners, shards) = more;
        let text = format!(
            "node: {name}\ncluster: histories\ndurability: wal\nmemoryLimit: 256Mi\nroot: {base}/root\n\
             listen: {{kv: '{host}:7400', admin: '{host}:7401', http: '{host}:7402'{listeners}}}\n{shards}tiers:\n  \
             - {{name: hot, rank: 0, medium: NVMe, path: {base}/hot, size: 1Gi}}\n  \
             - {{name: cold, rank: 10, medium: HDD, path: {base}/cold, size: 2Gi}}\n"
        );
        std::fs::write(folder.path().join("node.yaml"), text).unwrap();
        let child = spawn(folder.path(), clock.as_ref(), 0);
        let mut node = Self { folder, child, clock, starts: 1 };
        node.wait_until_ready();
        node
    }

    /// Starts it again after its end, and waits until it serves.
    pub fn restart(&mut self) {
        self.child = spawn(self.folder.path(), self.clock.as_ref(), self.starts);
        self.starts += 1;
        self.wait_until_ready();
    }

    /// Makes it lose everything: what it must not, to see that it is noticed. It must have ended.
    fn forget(&self) {
        for part in ["root", "hot", "cold"] {
            std::fs::remove_dir_all(self.folder.path().join(part)).unwrap();
        }
    }

    /// As a crash does.
    pub fn kill(&mut self) {
        signal(self.child.id(), Signal::KILL).unwrap();
        self.child.wait().unwrap();
    }

    /// Its clock, where it was started with one.
    pub fn clock(&self) -> &FakeClock {
        self.clock.as_ref().expect("it was started with a clock of its own")
    }

    fn wait_until_ready(&mut self) {
        let ready = self.folder.path().join("ready.json");
        let begun = Instant::now();
        while !ready.is_file() {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the node ended with {status}:\n{}", self.log());
            }
            assert!(begun.elapsed() < PATIENCE, "the node is not ready:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// What it logged since its last start.
    pub fn log(&self) -> String {
        std::fs::read_to_string(log_file(self.folder.path(), self.starts.saturating_sub(1))).unwrap_or_default()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // A stopped process ends by this signal too. Errors mean that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of the node since its last start\n{}", self.log());
        }
    }
}

fn log_file(folder: &Path, start: u32) -> PathBuf {
    folder.join(format!("node-{start}.log"))
}

fn spawn(folder: &Path, clock: Option<&FakeClock>, start: u32) -> Child {
    let ready = folder.join("ready.json");
    let _ = std::fs::remove_file(&ready);
    let mut command = Command::new(node_program());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("THERMOCLINE_") {
            command.env_remove(name);
        }
    }
    command.arg("--config").arg(folder.join("node.yaml")).arg("--ready-file").arg(ready);
    command.stdout(Stdio::null()).stderr(std::fs::File::create(log_file(folder, start)).unwrap());
    if let Some(clock) = clock {
        clock.arrange(&mut command);
    }
    command.spawn().unwrap()
}

/// The program of the nodes beside this test, built where it is missing. One that is older than its sources is refused, for
/// it would be tested instead of them.
fn node_program() -> PathBuf {
    static CHECKED: Once = Once::new();
    let program = Path::new(env!("CARGO_BIN_EXE_histories")).with_file_name("thermocline-node");
    CHECKED.call_once(|| {
        if !program.is_file() {
            let built = Command::new(env!("CARGO")).args(["build", "--locked", "-p", "thermocline-node"]).status();
            assert!(built.unwrap().success(), "thermocline-node is built");
        }
        let changed = |path: &Path| path.metadata().and_then(|metadata| metadata.modified()).ok();
        let sources = std::fs::read_to_string(program.with_extension("d")).unwrap().replace("\\ ", "\0");
        let newer = sources.split_ascii_whitespace().map(|path| PathBuf::from(path.replace('\0', " "))).find(|path| {
            path.extension().is_some_and(|extension| extension == "rs") && changed(path) > changed(&program)
        });
        if let Some(newer) = newer {
            panic!("{} is newer than {}: `cargo build -p thermocline-node`", newer.display(), program.display());
        }
    });
    program
}

/// Clients with connections of their own, to one node at these addresses. Calls end soon, so that faults meet many of them.
pub async fn clients(count: usize, kv: SocketAddr, admin: SocketAddr) -> Vec<Client> {
    let node = NodeEndpoint {
        name: "node-a".to_owned(),
        kv: kv.to_string(),
        admin: admin.to_string(),
        http: None,
        range: None,
    };
    let endpoints = Endpoints::new(None, vec![node]).unwrap();
    let mut clients = Vec::new();
    for _ in 0..count {
        let options = Options { timeout: Duration::from_secs(2), durability: Durability::Wal, ..Options::default() };
        clients.push(Client::connect(endpoints.clone(), options).await.unwrap());
    }
    clients
}

/// One node with what is around it: faults of process 0 are its own.
pub struct Around {
    pub node: Node,
    pub links: Vec<Link>,
    /// Whether a killed node comes back empty.
    pub forgets: bool,
}

impl Around {
    /// A node whose clients know its own address.
    pub fn of(node: Node) -> Self {
        Self { node, links: Vec::new(), forgets: false }
    }
}

/// A fault that could not be brought about.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub enum AroundError {
    /// A signal.
    Signal(#[from] ProcessError),
    /// A jump of the clock.
    Clock(#[from] ClockError),
}

impl Surroundings for Around {
    type Error = AroundError;

    fn begin(&mut self, fault: &Fault) -> Result<(), AroundError> {
        match fault {
            Fault::Kill { .. } => self.node.kill(),
            Fault::Pause { .. } => signal(self.node.child.id(), Signal::STOP)?,
            Fault::Link { link, rule } => self.links[*link].set(*rule),
            Fault::Clock { seconds, .. } => self.node.clock().jump(*seconds)?,
        }
        Ok(())
    }

    fn end(&mut self, fault: &Fault) -> Result<(), AroundError> {
        match fault {
            Fault::Kill { .. } => {
                if self.forgets {
                    self.node.forget();
                }
                self.node.restart();
            }
            Fault::Pause { .. } => signal(self.node.child.id(), Signal::CONT)?,
            Fault::Link { link, .. } => self.links[*link].set(thermocline_faults::Rule::PASS),
            Fault::Clock { .. } => self.node.clock().jump(0)?,
        }
        Ok(())
    }
}

/// An address of the loopback that no other test of this machine has, by this process's id and a number of the test's.
pub fn host(number: u8) -> String {
    let pid = std::process::id();
    format!("127.{}.{}.{number}", 192 + pid % 60, (pid / 60) % 250)
}

/// A number from the environment, or another one.
pub fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name)
        .map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}, not a number")))
}
