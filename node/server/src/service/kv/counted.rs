//! Counts the bytes of messages outside of admission: requests while they arrive, before they are decoded, and large
//! answers until the transport has taken them. Without this, connections decide how much memory a node uses.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future::{FutureExt, Map};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Sleep;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{Request, Response};
use tonic::server::NamedService;

use crate::admission::AdmissionPool;
use crate::byte_bound::HeldBytes;
use crate::service::status;

/// A gRPC service whose messages are counted.
#[derive(Debug, Clone)]
pub struct Counted<S> {
    inner: S,
    requests: AdmissionPool,
    arrival: Duration,
}

/// Put into the extensions of an answer, it is held until the answer has left.
pub type AnswerHeld = Arc<HeldBytes>;

impl<S> Counted<S> {
    /// Counts against this pool. A request has so long to arrive: what has come of it holds room that others need, and a
    /// client may stop in the middle without its connection ending.
    pub fn new(inner: S, requests: AdmissionPool, arrival: Duration) -> Self {
        Self { inner, requests, arrival }
    }
}

impl<S: NamedService> NamedService for Counted<S> {
    const NAME: &'static str = S::NAME;
}

type Outcome = Result<Response<Body>, Infallible>;

impl<S> Service<Request<Body>> for Counted<S>
where
    S: Service<Request<Arriving>, Response = Response<Body>, Error = Infallible>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Map<S::Future, fn(Outcome) -> Outcome>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let held = self.requests.request_bytes();
        let (requests, arrival) = (self.requests.clone(), self.arrival);
        let request = request.map(|body| Arriving { body, held, requests, arrival, patience: None });
        let until_left: fn(Outcome) -> Outcome = |outcome| outcome.map(held_until_left);
        self.inner.call(request).map(until_left)
    }
}

fn held_until_left(mut response: Response<Body>) -> Response<Body> {
    match response.extensions_mut().remove::<AnswerHeld>() {
        None => response,
        Some(held) => response.map(|body| Body::new(Leaving { body, _held: held })),
    }
}

/// The body of a request. What has come of it is held until it is decoded.
#[derive(Debug)]
pub struct Arriving {
    body: Body,
    held: HeldBytes,
    requests: AdmissionPool,
    arrival: Duration,
    /// Ends the wait for the rest; from the first time that there was a wait.
    patience: Option<Pin<Box<Sleep>>>,
}

impl Arriving {
    /// Whether the rest took too long.
    fn is_late(&mut self, context: &mut Context<'_>) -> bool {
        let patience = self.patience.get_or_insert_with(|| Box::pin(tokio::time::sleep(self.arrival)));
        patience.as_mut().poll(context).is_ready()
    }
}

impl HttpBody for Arriving {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Poll::Ready(next) = Pin::new(&mut self.body).poll_frame(context) else {
            if self.is_late(context) {
                let late = format!("the request did not arrive within {:?}; it had no effect", self.arrival);
                return Poll::Ready(Some(Err(Status::deadline_exceeded(late))));
            }
            return Poll::Pending;
        };
        let Self { held, requests, .. } = &mut *self;
        Poll::Ready(next.map(|frame| {
            let frame = frame?;
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            requests.grow(held, bytes).map_err(|error| status::of_admission(&error))?;
            Ok(frame)
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of an answer that is held.
struct Leaving {
    body: Body,
    _held: AnswerHeld,
}

impl HttpBody for Leaving {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
#[path = "counted_test.rs"]
mod tests;
