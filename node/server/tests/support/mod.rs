//! A node as a process of its own: the real binary over a folder that goes when the test ends, listening on free ports
//! of the loopback.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use thermocline_proto::v1::admin_client::AdminClient;
use thermocline_proto::v1::kv_client::KvClient;
use thermocline_proto::{RANGE_MISMATCH_METADATA, v1};
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

/// Far beyond what anything here takes: a bound for hangs, not for speed.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A data folder with a configuration for it.
pub struct Folder {
    temporary: tempfile::TempDir,
}

impl Folder {
    /// A folder with three tiers and nothing in them.
    pub fn new() -> Self {
        Self::at(tempfile::tempdir().unwrap())
    }

    /// As [`Self::new`], on a device that is never larger than the machine's memory.
    pub fn on_a_small_device() -> Self {
        Self::at(tempfile::tempdir_in("/dev/shm").unwrap())
    }

    fn at(temporary: tempfile::TempDir) -> Self {
        let folder = Self { temporary };
        let base = folder.path().display();
        let tier = |name: &str, rank: u32, medium: &str, size: &str| {
            format!("  - {{name: {name}, rank: {rank}, medium: {medium}, path: {base}/{name}, size: {size}}}\n")
        };
        let text = format!(
            "node: node-a\ncluster: test\n\
             listen: {{kv: '127.0.0.1:0', admin: '127.0.0.1:0', http: '127.0.0.1:0'}}\n\
             root: {base}/root\nmemoryLimit: 256Mi\ntiers:\n{}{}{}",
            tier("hot", 0, "NVMe", "1Gi"),
            tier("warm", 10, "SSD", "2Gi"),
            tier("cold", 20, "HDD", "4Gi"),
        );
        std::fs::write(folder.config(), text).unwrap();
        folder
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.temporary.path()
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.path().join("node.yaml")
    }
}

/// The binary, with no setting but those of the test.
pub fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_thermocline-node"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("THERMOCLINE_") {
            command.env_remove(name);
        }
    }
    command
}

/// Runs the binary until it ends by itself.
pub fn run(folder: &Folder, arguments: &[&str]) -> Output {
    command().arg("--config").arg(folder.config()).args(arguments).output().unwrap()
}

/// What a process wrote to standard error.
pub fn standard_error(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A running node; killed when it goes.
pub struct NodeProcess {
    child: Child,
    log: PathBuf,
    kv: SocketAddr,
    admin: SocketAddr,
    http: SocketAddr,
}

impl NodeProcess {
    /// Starts a node over the folder and waits until it serves.
    pub fn start(folder: &Folder, arguments: &[&str]) -> Self {
        let log = std::fs::File::create(folder.path().join("node.log")).unwrap();
        Self::start_logging_to(folder, arguments, log)
    }

    /// As [`Self::start`], with its standard error going to this file.
    pub fn start_logging_to(folder: &Folder, arguments: &[&str], standard_error: std::fs::File) -> Self {
        let ready = folder.path().join("ready.json");
        let _ = std::fs::remove_file(&ready);
        let log = folder.path().join("node.log");
        let mut child = command()
            .arg("--config")
            .arg(folder.config())
            .arg("--ready-file")
            .arg(&ready)
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(standard_error)
            .spawn()
            .unwrap();
        let text = within("the ready file", || {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("the node ended with {status}: {}", std::fs::read_to_string(&log).unwrap_or_default());
            }
            std::fs::read_to_string(&ready).ok()
        });
        let ready: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(ready["pid"], child.id());
        assert_eq!(ready["node"], "node-a");
        let address = |name: &str| ready[name].as_str().unwrap().parse().unwrap();
        Self { log, kv: address("kv"), admin: address("admin"), http: address("http"), child }
    }

    /// A client of the data plane.
    pub async fn kv(&self) -> KvClient<Channel> {
        KvClient::new(channel(self.kv).await).max_decoding_message_size(80 << 20)
    }

    /// A client of the control plane.
    pub async fn admin(&self) -> AdminClient<Channel> {
        AdminClient::new(channel(self.admin).await)
    }

    /// Plain connections to both gRPC ports.
    pub async fn channels(&self) -> [Channel; 2] {
        [channel(self.kv).await, channel(self.admin).await]
    }

    /// Asks the admin HTTP; the status and the body.
    pub fn http(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.http).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, body.to_owned())
    }

    /// The value of one series of `/metrics`, such as `thermocline_reads_total`.
    pub fn metric(&self, series: &str) -> Option<f64> {
        let (_, text) = self.http("/metrics");
        text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
    }

    /// Where the data plane listens.
    pub fn kv_address(&self) -> SocketAddr {
        self.kv
    }

    /// Where the admin HTTP listens.
    pub fn http_address(&self) -> SocketAddr {
        self.http
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        within("the end of the node", || self.child.try_wait().unwrap())
    }

    /// Asks it to stop, waits, and checks that it ended well.
    pub fn stop(mut self) {
        self.signal(Signal::TERM);
        let status = self.wait();
        assert_eq!(status.code(), Some(0), "{}", self.log());
    }

    /// As a crash does: nothing is flushed or said.
    pub fn kill(mut self) {
        self.signal(Signal::KILL);
        self.wait();
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of the node\n{}", self.log());
        }
    }
}

async fn channel(address: SocketAddr) -> Channel {
    Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

/// Asks again and again until there is an answer.
pub fn within<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(started.elapsed() < PATIENCE, "{what} did not come within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Bytes that no compression makes smaller: the same for the same seed.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}

/// A request to put a value, with the node's own durability.
pub fn put(key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> v1::PutRequest {
    v1::PutRequest {
        key: key.as_ref().to_vec().into(),
        value: value.as_ref().to_vec().into(),
        ..v1::PutRequest::default()
    }
}

/// A request to get a key.
pub fn get(key: impl AsRef<[u8]>) -> v1::GetRequest {
    v1::GetRequest { key: key.as_ref().to_vec().into(), ..Default::default() }
}

/// A request to delete a key.
pub fn delete(key: impl AsRef<[u8]>) -> v1::DeleteRequest {
    v1::DeleteRequest { key: key.as_ref().to_vec().into(), ..v1::DeleteRequest::default() }
}

/// The part of a batch that puts a value.
pub fn put_mutation(key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> v1::Mutation {
    let (key, value) = (key.as_ref().to_vec().into(), value.as_ref().to_vec().into());
    v1::Mutation { kind: Some(v1::mutation::Kind::Put(v1::mutation::Put { key, value })) }
}

/// The part of a batch that deletes a key.
pub fn delete_mutation(key: impl AsRef<[u8]>) -> v1::Mutation {
    let key = key.as_ref().to_vec().into();
    v1::Mutation { kind: Some(v1::mutation::Kind::Delete(v1::mutation::Delete { key })) }
}

/// A batch without conditions.
pub fn batch(mutations: Vec<v1::Mutation>) -> v1::WriteRequest {
    v1::WriteRequest { mutations, ..v1::WriteRequest::default() }
}

/// The value of a key, as the node has it.
pub async fn value(kv: &mut KvClient<Channel>, key: impl AsRef<[u8]>) -> Option<Vec<u8>> {
    kv.get(get(key)).await.unwrap().into_inner().record.map(|record| record.value.to_vec())
}

/// Every record of a scan, checked to come in chunks without an empty one.
pub async fn scan(kv: &mut KvClient<Channel>, request: v1::ScanRequest) -> Result<Vec<v1::Record>, Status> {
    let mut stream = kv.scan(request).await?.into_inner();
    let mut records = Vec::new();
    while let Some(chunk) = stream.message().await? {
        assert!(!chunk.records.is_empty());
        records.extend(chunk.records);
    }
    Ok(records)
}

/// The bounds that a refusal names in its trailer.
pub fn range_mismatch(status: &Status) -> Option<(Vec<u8>, Vec<u8>)> {
    use prost::Message;
    let detail = status.metadata().get_bin(RANGE_MISMATCH_METADATA)?.to_bytes().unwrap();
    let detail = v1::RangeMismatch::decode(detail).unwrap();
    Some((detail.start.to_vec(), detail.end.to_vec()))
}

/// Moves a range to a tier and waits for the end; what it told on the way.
pub async fn move_range(
    admin: &mut AdminClient<Channel>,
    start: &str,
    end: &str,
    to_tier: &str,
) -> Vec<v1::MoveProgress> {
    let request = v1::MoveRangeRequest {
        start: start.to_owned().into(),
        end: end.to_owned().into(),
        to_tier: to_tier.to_owned(),
        bytes_per_second: 0,
    };
    let mut stream = admin.move_range(request).await.unwrap().into_inner();
    let mut told = Vec::new();
    while let Some(progress) = stream.message().await.unwrap() {
        told.push(progress);
    }
    told
}

/// A node whose cold tier has one value that takes about two seconds to read; the key.
pub async fn slow_read(folder: &Folder, arguments: &[&str]) -> (NodeProcess, &'static str) {
    let key = "slow/value";
    let node = NodeProcess::start(folder, &[]);
    node.kv().await.put(put(key, noise(7, 128 << 10))).await.unwrap();
    let told = move_range(&mut node.admin().await, "slow/", "slow0", "cold").await;
    assert_eq!(told.last().unwrap().state, "completed", "{told:?}");
    // What was moved is in memory at first; recovery writes it to files.
    node.kill();
    let node = NodeProcess::start(folder, arguments);
    let mut admin = node.admin().await;
    let throttled = v1::TierSetting {
        name: "cold".to_owned(),
        size_bytes: 4 << 30,
        high_watermark: 0.85,
        low_watermark: 0.75,
        throttle_bytes_per_second: 64 << 10,
    };
    admin.set_tiers(v1::SetTiersRequest { generation: 1, tiers: vec![throttled] }).await.unwrap();
    (node, key)
}
