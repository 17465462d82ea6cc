//! A node in this process, on loopback: it keeps records in memory and fails as its script says.

use std::{
    collections::{BTreeMap, VecDeque},
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use prost::Message;
use thermocline_client::{Endpoints, KeyRange, NodeEndpoint, Options};
use thermocline_proto::{
    RANGE_MISMATCH_METADATA,
    v1::{
        self,
        admin_server::{Admin, AdminServer},
        condition::Expected,
        kv_server::{Kv, KvServer},
        mutation::Kind,
    },
};
use tokio::{net::TcpListener, sync::Notify, task::JoinHandle};
use tokio_stream::{Stream, wrappers::TcpListenerStream};
use tonic::{
    Code, Request, Response, Status,
    metadata::{MetadataMap, MetadataValue},
    transport::Server,
};

/// What a node does with the next data call instead of answering it.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Answers with this code and does nothing.
    Refuse(Code),
    /// Does what it is asked, then answers with this code.
    DoAndFail(Code),
    /// Does what it is asked, then never answers.
    DoAndHang,
    /// Does what it is asked, and answers well once it is told to.
    DoAndWait(Arc<Notify>),
}

/// The state behind a node.
#[derive(Debug, Default)]
pub struct State {
    pub records: BTreeMap<Bytes, (Bytes, u64)>,
    pub version: u64,
    pub faults: VecDeque<Fault>,
    /// Data calls that arrived, faulty ones too.
    pub calls: Vec<&'static str>,
    /// The request ids of writes that arrived.
    pub write_ids: Vec<v1::RequestId>,
    pub start: Bytes,
    pub end: Bytes,
    /// After so many records a scan breaks off, once.
    pub scan_breaks_after: Option<usize>,
    /// Whether its control plane does not answer.
    pub silent: bool,
}

/// A running node; it stops when dropped.
pub struct Node {
    pub state: Arc<Mutex<State>>,
    pub endpoint: NodeEndpoint,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Node {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

#[derive(Clone)]
struct Service(Arc<Mutex<State>>);

impl Node {
    /// Starts a node that owns `[start, end)`.
    pub async fn start(name: &str, start: &'static str, end: &'static str) -> Self {
        let state = Arc::new(Mutex::new(State { start: start.into(), end: end.into(), ..State::default() }));
        let service = Service(Arc::clone(&state));
        let kv = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let admin = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = NodeEndpoint {
            name: name.to_owned(),
            kv: kv.local_addr().unwrap().to_string(),
            admin: admin.local_addr().unwrap().to_string(),
            http: None,
            range: None,
        };
        let kv_server = Server::builder().add_service(KvServer::new(service.clone()));
        let admin_server = Server::builder().add_service(AdminServer::new(service));
        let tasks = vec![
            tokio::spawn(async move {
                kv_server.serve_with_incoming(TcpListenerStream::new(kv)).await.unwrap();
            }),
            tokio::spawn(async move {
                admin_server.serve_with_incoming(TcpListenerStream::new(admin)).await.unwrap();
            }),
        ];
        Self { state, endpoint, tasks }
    }

    pub fn fault(&self, fault: Fault) {
        self.state.lock().unwrap().faults.push_back(fault);
    }

    pub fn calls(&self) -> Vec<&'static str> {
        self.state.lock().unwrap().calls.clone()
    }

    pub fn own(&self, start: &'static str, end: &'static str) {
        let mut state = self.state.lock().unwrap();
        state.start = start.into();
        state.end = end.into();
    }

    /// The endpoint with a range that a file would state.
    pub fn with_range(&self, start: &'static str, end: &'static str) -> NodeEndpoint {
        NodeEndpoint { range: Some(KeyRange::new(start, end).unwrap()), ..self.endpoint.clone() }
    }
}

pub fn endpoints(nodes: impl IntoIterator<Item = NodeEndpoint>) -> Endpoints {
    Endpoints::new(None, nodes.into_iter().collect()).unwrap()
}

/// Short pauses, a generous deadline.
pub fn options() -> Options {
    Options {
        timeout: Duration::from_secs(20),
        min_backoff: Duration::from_millis(1),
        max_backoff: Duration::from_millis(5),
        jitter_seed: 1,
        ..Options::default()
    }
}

impl State {
    fn check_owned(&self, key: &[u8]) -> Result<(), Status> {
        if *self.start <= *key && (self.end.is_empty() || *key < *self.end) {
            return Ok(());
        }
        let detail = v1::RangeMismatch { start: self.start.clone(), end: self.end.clone() };
        let mut metadata = MetadataMap::new();
        metadata.insert_bin(RANGE_MISMATCH_METADATA, MetadataValue::from_bytes(&detail.encode_to_vec()));
        Err(Status::with_metadata(Code::FailedPrecondition, "not my key", metadata))
    }

    fn get(&self, key: &Bytes) -> v1::GetResponse {
        let record = self.records.get(key).map(|(value, version)| v1::Record {
            key: key.clone(),
            value: value.clone(),
            version: *version,
        });
        v1::GetResponse { record, staleness_ms: 0 }
    }
}

impl Service {
    /// Counts the call, does it as its script says, and answers.
    async fn answer<T>(
        &self,
        call: &'static str,
        perform: impl FnOnce(&mut State) -> Result<T, Status>,
    ) -> Result<Response<T>, Status> {
        let (fault, result) = {
            let mut state = self.0.lock().unwrap();
            state.calls.push(call);
            let fault = state.faults.pop_front();
            if let Some(Fault::Refuse(code)) = fault {
                return Err(Status::new(code, "scripted"));
            }
            (fault, perform(&mut state))
        };
        match fault {
            Some(Fault::DoAndFail(code)) => Err(Status::new(code, "scripted")),
            Some(Fault::DoAndHang) => std::future::pending().await,
            Some(Fault::DoAndWait(told)) => {
                told.notified().await;
                result.map(Response::new)
            }
            _ => result.map(Response::new),
        }
    }

    async fn apply(
        &self,
        call: &'static str,
        request: v1::WriteRequest,
    ) -> Result<Response<v1::WriteResponse>, Status> {
        let request_id = request.header.as_ref().and_then(|header| header.request_id.clone());
        self.0.lock().unwrap().write_ids.extend(request_id);
        self.answer(call, |state| {
            for (index, condition) in request.conditions.iter().enumerate() {
                state.check_owned(&condition.key)?;
                let actual = state.records.get(&condition.key).map(|(_, version)| *version);
                let holds = match condition.expected {
                    Some(Expected::Absent(_)) => actual.is_none(),
                    Some(Expected::Exists(_)) => actual.is_some(),
                    Some(Expected::VersionEquals(version)) => actual == Some(version),
                    None => return Err(Status::invalid_argument("a condition without expectation")),
                };
                if !holds {
                    let failed = v1::ConditionFailed { index: index as u32, actual_version: actual.unwrap_or(0) };
                    return Ok(v1::WriteResponse { version: 0, condition_failed: Some(failed) });
                }
            }
            state.version += 1;
            let version = state.version;
            for mutation in request.mutations {
                match mutation.kind {
                    Some(Kind::Put(put)) => {
                        state.check_owned(&put.key)?;
                        state.records.insert(put.key, (put.value, version));
                    }
                    Some(Kind::Delete(delete)) => {
                        state.check_owned(&delete.key)?;
                        state.records.remove(&delete.key);
                    }
                    None => return Err(Status::invalid_argument("a mutation without kind")),
                }
            }
            Ok(v1::WriteResponse { version, condition_failed: None })
        })
        .await
    }
}

type Chunks<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Kv for Service {
    type ScanStream = Chunks<v1::ScanResponse>;

    async fn route(&self, _: Request<v1::RouteRequest>) -> Result<Response<v1::RouteResponse>, Status> {
        not_served()
    }

    async fn get(&self, request: Request<v1::GetRequest>) -> Result<Response<v1::GetResponse>, Status> {
        let key = request.into_inner().key;
        self.answer("get", |state| {
            state.check_owned(&key)?;
            Ok(state.get(&key))
        })
        .await
    }

    async fn batch_get(&self, request: Request<v1::BatchGetRequest>) -> Result<Response<v1::BatchGetResponse>, Status> {
        let keys = request.into_inner().keys;
        self.answer("batch_get", |state| {
            for key in &keys {
                state.check_owned(key)?;
            }
            Ok(v1::BatchGetResponse { results: keys.iter().map(|key| state.get(key)).collect(), staleness_ms: 0 })
        })
        .await
    }

    async fn put(&self, request: Request<v1::PutRequest>) -> Result<Response<v1::WriteResponse>, Status> {
        let put = request.into_inner();
        let kind = Kind::Put(v1::mutation::Put { key: put.key, value: put.value });
        let write = v1::WriteRequest {
            header: put.header,
            mutations: vec![v1::Mutation { kind: Some(kind) }],
            ..v1::WriteRequest::default()
        };
        self.apply("put", write).await
    }

    async fn delete(&self, request: Request<v1::DeleteRequest>) -> Result<Response<v1::WriteResponse>, Status> {
        let delete = request.into_inner();
        let kind = Kind::Delete(v1::mutation::Delete { key: delete.key });
        let write = v1::WriteRequest {
            header: delete.header,
            mutations: vec![v1::Mutation { kind: Some(kind) }],
            ..v1::WriteRequest::default()
        };
        self.apply("delete", write).await
    }

    async fn write(&self, request: Request<v1::WriteRequest>) -> Result<Response<v1::WriteResponse>, Status> {
        self.apply("write", request.into_inner()).await
    }

    async fn scan(&self, request: Request<v1::ScanRequest>) -> Result<Response<Self::ScanStream>, Status> {
        let scan = request.into_inner();
        self.answer("scan", |state| {
            state.check_owned(&scan.start)?;
            let inside = |key: &Bytes| *key >= scan.start && (scan.end.is_empty() || *key < scan.end);
            let mut records: Vec<v1::Record> = state
                .records
                .iter()
                .filter(|(key, _)| inside(key))
                .map(|(key, (value, version))| v1::Record { key: key.clone(), value: value.clone(), version: *version })
                .collect();
            if scan.reverse {
                records.reverse();
            }
            if scan.limit > 0 {
                records.truncate(scan.limit as usize);
            }
            let breaks = state.scan_breaks_after.take();
            if let Some(after) = breaks {
                records.truncate(after);
            }
            let mut chunks: Vec<Result<v1::ScanResponse, Status>> = records
                .chunks(2)
                .map(|chunk| Ok(v1::ScanResponse { records: chunk.to_vec(), staleness_ms: 0 }))
                .collect();
            if breaks.is_some() {
                chunks.push(Err(Status::unavailable("scripted break")));
            }
            let stream: Self::ScanStream = Box::pin(tokio_stream::iter(chunks));
            Ok(stream)
        })
        .await
    }
}

impl Service {
    /// Never comes back where the control plane is silent.
    async fn unless_silent(&self) {
        let silent = self.0.lock().unwrap().silent;
        if silent {
            std::future::pending::<()>().await;
        }
    }
}

/// A call that no test of the client makes.
fn not_served<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("this node serves status alone"))
}

#[tonic::async_trait]
impl Admin for Service {
    type StatusStream = Chunks<v1::NodeStatus>;
    type MoveRangeStream = Chunks<v1::MoveProgress>;

    async fn status(&self, _: Request<v1::StatusRequest>) -> Result<Response<Self::StatusStream>, Status> {
        self.unless_silent().await;
        let status = {
            let state = self.0.lock().unwrap();
            let (range_start, range_end) = (state.start.clone(), state.end.clone());
            v1::NodeStatus { range_start, range_end, ..Default::default() }
        };
        Ok(Response::new(Box::pin(tokio_stream::once(Ok(status)))))
    }

    async fn heat(&self, _: Request<v1::HeatRequest>) -> Result<Response<v1::HeatResponse>, Status> {
        self.unless_silent().await;
        let ranges = vec![v1::RangeHeat::default()];
        Ok(Response::new(v1::HeatResponse { ranges, ..Default::default() }))
    }
    async fn explain(&self, _: Request<v1::ExplainRequest>) -> Result<Response<v1::ExplainResponse>, Status> {
        not_served()
    }
    async fn set_policy(&self, _: Request<v1::SetPolicyRequest>) -> Result<Response<v1::SetPolicyResponse>, Status> {
        not_served()
    }
    async fn set_tiers(&self, _: Request<v1::SetTiersRequest>) -> Result<Response<v1::SetTiersResponse>, Status> {
        not_served()
    }
    async fn reclassify(&self, _: Request<v1::ReclassifyRequest>) -> Result<Response<v1::ReclassifyResponse>, Status> {
        not_served()
    }
    async fn move_range(&self, _: Request<v1::MoveRangeRequest>) -> Result<Response<Self::MoveRangeStream>, Status> {
        not_served()
    }
    async fn list_moves(&self, _: Request<v1::ListMovesRequest>) -> Result<Response<v1::ListMovesResponse>, Status> {
        self.unless_silent().await;
        let moves = vec![v1::MoveProgress { move_id: 7, ..Default::default() }];
        Ok(Response::new(v1::ListMovesResponse { moves }))
    }
    async fn cancel_move(&self, _: Request<v1::CancelMoveRequest>) -> Result<Response<v1::CancelMoveResponse>, Status> {
        Ok(Response::new(v1::CancelMoveResponse::default()))
    }
    async fn checkpoint(&self, _: Request<v1::CheckpointRequest>) -> Result<Response<v1::CheckpointResponse>, Status> {
        not_served()
    }
    async fn initialize(&self, _: Request<v1::InitializeRequest>) -> Result<Response<v1::InitializeResponse>, Status> {
        not_served()
    }
    async fn change_shard(
        &self,
        _: Request<v1::ChangeShardRequest>,
    ) -> Result<Response<v1::ChangeShardResponse>, Status> {
        not_served()
    }
    async fn print_stats(&self, _: Request<v1::PrintStatsRequest>) -> Result<Response<v1::PrintStatsResponse>, Status> {
        not_served()
    }
}

/// The nodes as the argument of `--endpoints` names them.
pub fn endpoints_argument(nodes: &[&Node]) -> String {
    let entry = |node: &&Node| {
        let (_, admin_port) = node.endpoint.admin.rsplit_once(':').unwrap();
        format!("{}:{admin_port}", node.endpoint.kv)
    };
    nodes.iter().map(entry).collect::<Vec<_>>().join(",")
}
