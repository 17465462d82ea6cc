//! A node as a process, which faults are brought about around.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod around;
pub mod run;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::time::{Duration, Instant};

use thermocline_client::{Client, Durability, Endpoints, NodeEndpoint, Options};
use thermocline_faults::{FakeClock, Signal, signal};
use thermocline_power_loss::{DeviceFaults, FaultError};

#[allow(unused_imports)] // some tests bring their faults about by themselves
pub use around::{Around, AroundError};

/// Far beyond what a start takes: a bound for hangs, not for speed.
const PATIENCE: Duration = Duration::from_secs(60);
/// A node that does not say within this whether it serves is asked again later.
const READINESS: Duration = Duration::from_secs(5);

/// The devices of a node, as folders of its own: its logs, its data.
pub const DEVICES: [&str; 2] = ["log", "data"];

/// Where one of several nodes of a cluster with shards is.
pub struct Place<'a> {
    pub name: String,
    /// Where it listens, and where its connections leave from.
    pub host: &'a str,
    /// Where the others find it.
    pub advertise: &'a str,
    /// Where the others are.
    pub seeds: &'a [String],
}

/// What surrounds a process of its own.
struct Surrounding {
    clock: FakeClock,
    devices: DeviceFaults,
}

/// A node over a folder that goes when the test ends, on ports that stay its own over restarts.
pub struct Node {
    folder: tempfile::TempDir,
    pub(crate) child: Child,
    host: String,
    around: Option<Surrounding>,
    starts: u32,
}

impl Node {
    /// Starts a node on three ports of this address, which no other test uses.
    pub fn start(host: &str) -> Self {
        Self::start_in("node-a", host, false, ("", ""))
    }

    /// As [`Self::start`], under a clock that can be made to jump.
    pub fn start_with_a_clock(host: &str) -> Self {
        Self::start_in("node-a", host, true, ("", ""))
    }

    /// Starts one of several nodes of a cluster with shards, with a clock and devices of its own.
    pub fn start_one_of(place: &Place<'_>) -> Self {
        let Place { name, host, advertise, seeds } = place;
        let seeds: Vec<String> = seeds.iter().map(|seed| format!("'{seed}'")).collect();
        let seeds = seeds.join(", ");
        let shards = format!(
            "shards: {{clusterId: histories-1, seeds: [{seeds}], advertise: '{advertise}', source: '{host}'}}\n"
        );
        Self::start_in(name, host, true, (&format!(", peer: '{host}:7403'"), &shards))
    }

    /// `more` stands among the listeners, and behind everything.
    fn start_in(name: &str, host: &str, surrounded: bool, more: (&str, &str)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().display();
        let (listeners, shards) = more;
        let text = format!(
            "node: {name}\ncluster: histories\ndurability: wal\nmemoryLimit: 256Mi\nroot: {base}/log/root\n\
             listen: {{kv: '{host}:7400', admin: '{host}:7401', http: '{host}:7402'{listeners}}}\n{shards}tiers:\n  \
             - {{name: hot, rank: 0, medium: NVMe, path: {base}/data/hot, size: 1Gi}}\n  \
             - {{name: cold, rank: 10, medium: HDD, path: {base}/data/cold, size: 2Gi}}\n"
        );
        std::fs::write(folder.path().join("node.yaml"), text).unwrap();
        let devices = DEVICES.map(|device| folder.path().join(device));
        devices.iter().for_each(|device| std::fs::create_dir(device).unwrap());
        let around = surrounded.then(|| Surrounding {
            clock: FakeClock::new(folder.path()).unwrap(),
            devices: DeviceFaults::new(&folder.path().join("control"), &devices).unwrap(),
        });
        let child = spawn(folder.path(), around.as_ref(), 0);
        let mut node = Self { folder, child, host: host.to_owned(), around, starts: 1 };
        node.wait_until_ready();
        node
    }

    /// Starts it again after its end, and waits until it serves.
    pub fn restart(&mut self) {
        self.child = spawn(self.folder.path(), self.around.as_ref(), self.starts);
        self.starts += 1;
        self.wait_until_ready();
    }

    /// Makes it lose everything: what it must not, to see that it is noticed. It must have ended.
    fn forget(&self) {
        for device in DEVICES.map(|device| self.folder.path().join(device)) {
            std::fs::remove_dir_all(&device).unwrap();
            std::fs::create_dir(&device).unwrap();
        }
    }

    /// As a crash does.
    pub fn kill(&mut self) {
        signal(self.child.id(), Signal::KILL).unwrap();
        self.child.wait().unwrap();
    }

    /// Its clock, where it was started with one.
    pub fn clock(&self) -> &FakeClock {
        &self.around.as_ref().expect("it was started with a clock of its own").clock
    }

    /// Lets one of its devices have no space, or have it again.
    pub fn fill_up(&self, device: usize, full: bool) -> Result<(), FaultError> {
        let around = self.around.as_ref().expect("it was started with devices of its own");
        around.devices.fill_up(&self.folder.path().join(DEVICES[device]), full)
    }

    /// Slows one of its devices down to so many bytes a second.
    pub fn slow_down(&self, device: usize, bytes_per_second: Option<u64>) -> Result<(), FaultError> {
        let around = self.around.as_ref().expect("it was started with devices of its own");
        around.devices.throttle(&self.folder.path().join(DEVICES[device]), bytes_per_second)
    }

    /// Why it should be started again, as whoever watches over it would find: it has ended, or says that it does not serve.
    pub fn is_out(&mut self) -> Option<String> {
        if let Some(status) = self.child.try_wait().unwrap() {
            return Some(format!("it ended with {status}"));
        }
        let said = readiness(&self.host)?;
        said.contains("not_serving").then_some(said)
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
        if let Ok(folder) = std::env::var("HISTORY_FOLDER") {
            for start in 0..self.starts {
                let kept = Path::new(&folder).join(format!("{}-{start}.log", self.host));
                let _ = std::fs::copy(log_file(self.folder.path(), start), kept);
            }
        }
        if std::thread::panicking() {
            eprintln!("--- log of the node since its last start\n{}", self.log());
        }
    }
}

fn log_file(folder: &Path, start: u32) -> PathBuf {
    folder.join(format!("node-{start}.log"))
}

/// What a node answers to those who ask whether traffic should come; `None` where it does not answer.
fn readiness(host: &str) -> Option<String> {
    let address = format!("{host}:7402").parse().ok()?;
    let mut connection = TcpStream::connect_timeout(&address, READINESS).ok()?;
    connection.set_read_timeout(Some(READINESS)).ok()?;
    connection.write_all(b"GET /readyz HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).ok()?;
    answer.lines().last().map(str::to_owned)
}

fn spawn(folder: &Path, around: Option<&Surrounding>, start: u32) -> Child {
    let ready = folder.join("ready.json");
    let _ = std::fs::remove_file(&ready);
    let mut command = Command::new(node_program());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("THERMOCLINE_") {
            command.env_remove(name);
        }
    }
    if let Ok(filter) = std::env::var("HISTORY_LOG") {
        command.arg("--log").arg(filter);
    }
    command.arg("--config").arg(folder.join("node.yaml")).arg("--ready-file").arg(ready);
    command.stdout(Stdio::null()).stderr(std::fs::File::create(log_file(folder, start)).unwrap());
    if let Some(Surrounding { clock, devices }) = around {
        clock.arrange(&mut command);
        devices.command(&mut command);
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
