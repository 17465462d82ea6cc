//! What every command is given: its options, its output and a way to the cluster.

use std::{future::Future, io::IsTerminal, time::Duration};

use futures::future::join_all;
use thermocline_client::{AdminClient, Client, Consistency, Durability, KeyRange, NodeEndpoint, Options, prefix_end};
use thermocline_proto::v1::{NodeStatus, StatusRequest};
use tonic::{Response, Status};

use crate::{
    CommandError,
    args::{DurabilityChoice, Global, RangeArguments},
    home,
    output::{Printer, decode_base64},
};

/// What every command is given.
#[derive(Debug, Clone)]
pub struct Context {
    /// Options of every command.
    pub global: Global,
    /// Where answers go.
    pub printer: Printer,
}

impl Context {
    /// Decides on colours from the environment.
    #[must_use]
    pub fn new(global: Global) -> Self {
        // An empty NO_COLOR counts as not set (no-color.org).
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let styled = global.color.styled(std::io::stdout().is_terminal(), no_color);
        let printer = Printer { format: global.output, styled };
        Self { global, printer }
    }

    /// The options of the client.
    fn options(&self) -> Options {
        Options {
            timeout: self.global.timeout,
            connect_timeout: self.global.timeout.min(Duration::from_secs(2)),
            ..Options::default()
        }
    }

    /// Connects to the cluster the command means.
    ///
    /// # Errors
    /// That none is found, or that it does not answer.
    pub async fn connect(&self) -> Result<Client, CommandError> {
        self.connect_with(self.options()).await
    }

    /// As [`Self::connect`], to read; with a staleness of any replica that is no further behind.
    ///
    /// # Errors
    /// As there.
    pub async fn connect_to_read(&self, max_staleness: Option<Duration>) -> Result<Client, CommandError> {
        let consistency = max_staleness.map_or(Consistency::Leader, Consistency::Stale);
        self.connect_with(Options { consistency, ..self.options() }).await
    }

    /// Says how old what was read is, where it may be older than the request.
    pub fn say_how_old(&self, max_staleness: Option<Duration>, at_most: Option<Duration>) {
        if let (Some(_), Some(at_most)) = (max_staleness, at_most) {
            self.printer
                .remark(&format!("nothing is missing that was written more than {} ms ago", at_most.as_millis() + 1));
        }
    }

    /// As [`Self::connect`], with several connections to each node, for load.
    ///
    /// # Errors
    /// That none is found, or that it does not answer.
    pub async fn connect_for_load(&self) -> Result<Client, CommandError> {
        self.connect_with(Options { channels_per_node: 4, ..self.options() }).await
    }

    async fn connect_with(&self, options: Options) -> Result<Client, CommandError> {
        let endpoints = home::endpoints(self.global.endpoints.as_deref(), self.global.home.as_deref())?;
        Ok(Client::connect(endpoints, options).await?)
    }

    /// Calls one node's control plane within the timeout.
    ///
    /// # Errors
    /// The node's answer, or that none came.
    pub async fn admin<T, F, Answer>(
        &self,
        client: &Client,
        node: usize,
        operation: &'static str,
        call: F,
    ) -> Result<T, CommandError>
    where
        F: FnOnce(AdminClient) -> Answer,
        Answer: Future<Output = Result<Response<T>, Status>>,
    {
        let (Some(admin), Some(endpoint)) = (client.admin(node), client.nodes().get(node)) else {
            return Err(CommandError::Usage(format!("there is no node {node}")));
        };
        match tokio::time::timeout(self.global.timeout, call(admin)).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => {
                Err(CommandError::Admin { operation, node: endpoint.name.clone(), source: Box::new(status) })
            }
            Err(_elapsed) => Err(CommandError::AdminDeadline {
                operation,
                node: endpoint.name.clone(),
                timeout: self.global.timeout,
            }),
        }
    }

    /// One node's state.
    ///
    /// # Errors
    /// The node's answer, or that none came.
    pub async fn status(&self, client: &Client, node: usize) -> Result<NodeStatus, CommandError> {
        self.admin(client, node, "status", |mut admin| async move {
            let request = StatusRequest { interval_ms: 0, once: true };
            let mut stream = admin.status(request).await?.into_inner();
            let status = stream.message().await?;
            status.map(Response::new).ok_or_else(|| Status::internal("the status stream ended without a message"))
        })
        .await
    }

    /// Every node's state, in the order of the endpoints.
    pub async fn statuses(&self, client: &Client) -> Vec<(NodeEndpoint, Result<NodeStatus, CommandError>)> {
        ask_every(client, |node| self.status(client, node)).await
    }

    /// Calls every node's control plane within the timeout, all at once; what came of it, in the order of the endpoints.
    pub async fn every_admin<T, F, Answer>(
        &self,
        client: &Client,
        operation: &'static str,
        call: F,
    ) -> Vec<(NodeEndpoint, Result<T, CommandError>)>
    where
        F: Fn(AdminClient) -> Answer,
        Answer: Future<Output = Result<Response<T>, Status>>,
    {
        ask_every(client, |node| self.admin(client, node, operation, &call)).await
    }
}

async fn ask_every<T, Asked: Future<Output = T>>(
    client: &Client,
    ask: impl FnMut(usize) -> Asked,
) -> Vec<(NodeEndpoint, T)> {
    let answers = join_all((0..client.nodes().len()).map(ask)).await;
    client.nodes().iter().cloned().zip(answers).collect()
}

/// A key as it was typed.
///
/// # Errors
/// That it is not base64 though it was said to be.
pub fn typed_bytes(text: &str, base64: bool, what: &str) -> Result<Vec<u8>, CommandError> {
    if !base64 {
        return Ok(text.as_bytes().to_vec());
    }
    decode_base64(text)
        .map_err(|error| CommandError::Usage(format!("the {what} is not base64 (standard alphabet, padded): {error}")))
}

/// The range that options name; all keys without any.
///
/// # Errors
/// That its end is not after its start.
pub fn typed_range(range: &RangeArguments) -> Result<KeyRange, CommandError> {
    let built = match (&range.prefix, &range.start, &range.end) {
        (Some(prefix), _, _) => KeyRange::new(prefix.clone(), prefix_end(prefix.as_bytes())),
        (None, start, end) => KeyRange::new(start.clone().unwrap_or_default(), end.clone().unwrap_or_default()),
    };
    built.map_err(|error| CommandError::Usage(error.to_string()))
}

/// The durability that was asked for.
#[must_use]
pub const fn typed_durability(choice: Option<DurabilityChoice>) -> Durability {
    match choice {
        None => Durability::NodeDefault,
        Some(DurabilityChoice::Sync) => Durability::Sync,
        Some(DurabilityChoice::Wal) => Durability::Wal,
        Some(DurabilityChoice::Buffered) => Durability::Buffered,
    }
}
