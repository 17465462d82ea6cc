//! A node of the scripted cluster: it answers by the world, unless its script says otherwise.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use thermocline_proto::v1::{
    self,
    kv_server::{Kv, KvServer},
    mutation::Kind,
};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_stream::{Stream, StreamExt, wrappers::TcpListenerStream};
use tonic::{Code, Request, Response, Status, transport::Server};

use crate::{
    cuttable::{Cut, Cuttable},
    world::{World, misrouted},
};

/// What a node does with a data call instead of answering it.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Answers with this code and does nothing; no word of routes.
    Refuse(Code),
    /// Does what it is asked, then answers with this code.
    DoAndFail(Code),
    /// Does what it is asked, then breaks the connection.
    DoAndBreak,
    /// Breaks the connection and does nothing.
    Break,
    /// Never answers, and does nothing.
    Hang,
    /// Does what it is asked, then never answers.
    DoAndHang,
    /// Says that the node with this number leads, whoever does.
    PointTo(u64),
    /// Changes the world first, then answers by it.
    Meanwhile(fn(&mut World)),
    /// Of a scan: breaks off after so many records, with this change of the world.
    BreakScan(usize, fn(&mut World)),
}

/// A data call that arrived.
#[derive(Debug, Clone, PartialEq)]
pub struct Arrived {
    pub call: &'static str,
    pub header: v1::RequestHeader,
}

#[derive(Debug, Default)]
pub struct State {
    pub faults: VecDeque<Fault>,
    /// What it does where no fault is scripted.
    pub always: Option<Fault>,
    pub arrived: Vec<Arrived>,
    /// Keys that it was asked the routes from.
    pub asked: Vec<Bytes>,
    /// What it answers who asks for routes, instead of them.
    pub knows_no_routes: Option<Code>,
    /// Whether it does not even answer who asks for routes.
    pub silent: bool,
    /// Calls under way now, and the most at once.
    pub under_way: (usize, usize),
}

/// A running node; it stops when dropped.
pub struct Node {
    pub address: String,
    pub state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Clone)]
struct Service {
    number: u64,
    world: Arc<Mutex<World>>,
    state: Arc<Mutex<State>>,
}

impl Node {
    pub async fn start(number: u64, world: &Arc<Mutex<World>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::<Mutex<State>>::default();
        let service = Service { number, world: Arc::clone(world), state: Arc::clone(&state) };
        let incoming = TcpListenerStream::new(listener).map(|stream| stream.map(Cuttable::new));
        let server = Server::builder().add_service(KvServer::new(service));
        let task = tokio::spawn(async move { server.serve_with_incoming(incoming).await.unwrap() });
        Self { address, state, task }
    }

    pub fn fault(&self, fault: Fault) {
        self.state.lock().unwrap().faults.push_back(fault);
    }

    pub fn always(&self, fault: Fault) {
        self.state.lock().unwrap().always = Some(fault);
    }

    pub fn arrived(&self) -> Vec<Arrived> {
        self.state.lock().unwrap().arrived.clone()
    }
}

impl Service {
    /// Notes the call, does it as its script says, and answers.
    async fn answer<R, T>(
        &self,
        call: &'static str,
        request: Request<R>,
        header: impl FnOnce(&R) -> Option<v1::RequestHeader>,
        key: impl FnOnce(&R) -> Bytes,
        perform: impl FnOnce(&mut World, &R) -> Result<T, Status>,
    ) -> Result<Response<T>, Status> {
        let cut = request.extensions().get::<Cut>().cloned().unwrap();
        let message = request.into_inner();
        let _under_way = UnderWay::begin(&self.state);
        let fault = {
            let mut state = self.state.lock().unwrap();
            state.arrived.push(Arrived { call, header: header(&message).unwrap_or_default() });
            state.faults.pop_front().or_else(|| state.always.clone())
        };
        // Calls that came together are under way together.
        tokio::task::yield_now().await;
        let perform = |fault: Option<&Fault>| {
            let mut world = self.world.lock().unwrap();
            if let Some(Fault::Meanwhile(change)) = fault {
                change(&mut world);
            }
            perform(&mut world, &message)
        };
        match fault {
            Some(Fault::Refuse(code)) => Err(Status::new(code, "scripted")),
            Some(Fault::Break) => {
                cut.now();
                Err(Status::internal("never arrives"))
            }
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::PointTo(node)) => {
                let world = self.world.lock().unwrap();
                let mut told = world.routes(&key(&message), 1);
                told[0].leader = node;
                Err(misrouted(Code::Unavailable, told))
            }
            Some(Fault::DoAndFail(code)) => {
                perform(None)?;
                Err(Status::new(code, "scripted"))
            }
            Some(Fault::DoAndBreak) => {
                perform(None)?;
                cut.now();
                Err(Status::internal("never arrives"))
            }
            Some(Fault::DoAndHang) => {
                perform(None)?;
                std::future::pending().await
            }
            fault @ (None | Some(Fault::Meanwhile(_) | Fault::BreakScan(..))) => {
                perform(fault.as_ref()).map(Response::new)
            }
        }
    }

    async fn write_of(
        &self,
        call: &'static str,
        request: Request<v1::WriteRequest>,
    ) -> Result<Response<v1::WriteResponse>, Status> {
        let number = self.number;
        let key = |write: &v1::WriteRequest| match write.mutations[0].kind.clone().unwrap() {
            Kind::Put(put) => put.key,
            Kind::Delete(delete) => delete.key,
        };
        self.answer(call, request, |write| write.header.clone(), key, |world, write| world.write(number, write)).await
    }
}

/// Counts a call as long as it is under way.
struct UnderWay(Arc<Mutex<State>>);

impl UnderWay {
    fn begin(state: &Arc<Mutex<State>>) -> Self {
        let (now, most) = &mut state.lock().unwrap().under_way;
        *now += 1;
        *most = (*most).max(*now);
        Self(Arc::clone(state))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.lock().unwrap().under_way.0 -= 1;
    }
}

type Chunks<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn as_write<R>(
    request: Request<R>,
    write: impl FnOnce(R) -> (Option<v1::RequestHeader>, Kind),
) -> Request<v1::WriteRequest> {
    let (metadata, extensions, message) = request.into_parts();
    let (header, kind) = write(message);
    let mutations = vec![v1::Mutation { kind: Some(kind) }];
    Request::from_parts(metadata, extensions, v1::WriteRequest { header, mutations, ..v1::WriteRequest::default() })
}

#[tonic::async_trait]
impl Kv for Service {
    type ScanStream = Chunks<v1::ScanResponse>;

    async fn route(&self, request: Request<v1::RouteRequest>) -> Result<Response<v1::RouteResponse>, Status> {
        let v1::RouteRequest { key, limit } = request.into_inner();
        let (silent, code) = {
            let mut state = self.state.lock().unwrap();
            state.asked.push(key.clone());
            (state.silent, state.knows_no_routes)
        };
        if silent {
            std::future::pending::<()>().await;
        }
        if let Some(code) = code {
            return Err(Status::new(code, "scripted"));
        }
        let limit = if limit == 0 { 64 } else { limit as usize };
        Ok(Response::new(v1::RouteResponse { shards: self.world.lock().unwrap().routes(&key, limit) }))
    }

    async fn get(&self, request: Request<v1::GetRequest>) -> Result<Response<v1::GetResponse>, Status> {
        let number = self.number;
        self.answer(
            "get",
            request,
            |get| get.header.clone(),
            |get| get.key.clone(),
            |world, get| {
                let header = get.header.clone().unwrap_or_default();
                let staleness_ms = world.place_read(number, &header, get.read, &get.key, &get.key)?;
                Ok(v1::GetResponse { staleness_ms, ..world.read(&get.key) })
            },
        )
        .await
    }

    async fn batch_get(&self, request: Request<v1::BatchGetRequest>) -> Result<Response<v1::BatchGetResponse>, Status> {
        let number = self.number;
        self.answer(
            "batch_get",
            request,
            |get| get.header.clone(),
            |get| get.keys[0].clone(),
            |world, get| {
                let (low, high) = (get.keys.iter().min().unwrap(), get.keys.iter().max().unwrap());
                let header = get.header.clone().unwrap_or_default();
                let staleness_ms = world.place_read(number, &header, get.read, low, high)?;
                let results = get.keys.iter().map(|key| world.read(key)).collect();
                Ok(v1::BatchGetResponse { results, staleness_ms })
            },
        )
        .await
    }

    async fn put(&self, request: Request<v1::PutRequest>) -> Result<Response<v1::WriteResponse>, Status> {
        let put = |put: v1::PutRequest| (put.header, Kind::Put(v1::mutation::Put { key: put.key, value: put.value }));
        self.write_of("put", as_write(request, put)).await
    }

    async fn delete(&self, request: Request<v1::DeleteRequest>) -> Result<Response<v1::WriteResponse>, Status> {
        let delete =
            |delete: v1::DeleteRequest| (delete.header, Kind::Delete(v1::mutation::Delete { key: delete.key }));
        self.write_of("delete", as_write(request, delete)).await
    }

    async fn write(&self, request: Request<v1::WriteRequest>) -> Result<Response<v1::WriteResponse>, Status> {
        self.write_of("write", request).await
    }

    async fn scan(&self, request: Request<v1::ScanRequest>) -> Result<Response<Self::ScanStream>, Status> {
        let number = self.number;
        let break_off = {
            let state = self.state.lock().unwrap();
            match state.faults.front() {
                Some(Fault::BreakScan(after, change)) => Some((*after, *change)),
                _ => None,
            }
        };
        let header = |scan: &v1::ScanRequest| scan.header.clone();
        self.answer(
            "scan",
            request,
            header,
            |scan| scan.start.clone(),
            |world, scan| {
                let header = scan.header.clone().unwrap_or_default();
                let mut staleness_ms = world.place_read(number, &header, scan.read, &scan.start, &scan.start)?;
                let shard = world.routes(&scan.start, 1).remove(0);
                assert!(!scan.end.is_empty() && scan.end <= shard.end, "a scan stays within its shard: {scan:?}");
                let found = world.records.range(scan.start.clone()..scan.end.clone());
                let mut records: Vec<v1::Record> = found
                    .map(|(key, (value, version))| v1::Record {
                        key: key.clone(),
                        value: value.clone(),
                        version: *version,
                    })
                    .collect();
                if scan.reverse {
                    records.reverse();
                }
                if scan.limit > 0 {
                    records.truncate(scan.limit as usize);
                }
                records.truncate(break_off.map_or(usize::MAX, |(after, _)| after));
                // The first one says how old all are.
                let chunk = |records: &[v1::Record]| {
                    let staleness_ms = std::mem::take(&mut staleness_ms);
                    Ok(v1::ScanResponse { records: records.to_vec(), staleness_ms })
                };
                let mut chunks: Vec<Result<v1::ScanResponse, Status>> = records.chunks(2).map(chunk).collect();
                if let Some((_, change)) = break_off {
                    change(world);
                    chunks.push(Err(Status::unavailable("scripted break")));
                }
                let stream: Self::ScanStream = Box::pin(tokio_stream::iter(chunks));
                Ok(stream)
            },
        )
        .await
    }
}
