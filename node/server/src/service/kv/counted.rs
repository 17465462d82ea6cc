//! Counts the bytes of messages outside of admission: requests while they arrive, before they are decoded, and large
//! answers until the transport has taken them. Without this, connections decide how much memory a node uses.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::{FutureExt, Map};
use http_body::{Body as HttpBody, Frame, SizeHint};
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
}

/// Put into the extensions of an answer, it is held until the answer has left.
pub type AnswerHeld = Arc<HeldBytes>;

impl<S> Counted<S> {
    /// Counts against this pool.
    pub fn new(inner: S, requests: AdmissionPool) -> Self {
        Self { inner, requests }
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
        let request = request.map(|body| Arriving { body, held, requests: self.requests.clone() });
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
}

impl HttpBody for Arriving {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Self { body, held, requests } = &mut *self;
        Pin::new(body).poll_frame(context).map(|next| {
            let frame = next?;
            Some(frame.and_then(|frame| {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                requests.grow(held, bytes).map_err(|error| status::of_admission(&error))?;
                Ok(frame)
            }))
        })
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
