#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use std::future::{Ready, poll_fn, ready};

use tonic::Code;

use super::*;
use crate::admission::Limits;

const LIMIT: usize = 100;
const LONG: Duration = Duration::from_secs(60);

fn pool() -> AdmissionPool {
    AdmissionPool::new(Limits { running: 1, waiting: 1, bytes: LIMIT })
}

/// Pieces of a body, one after the other.
struct Pieces(Vec<&'static [u8]>);

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Poll::Ready(self.0.pop().map(|piece| Ok(Frame::data(Bytes::from_static(piece)))))
    }
}

async fn next<B: HttpBody + Unpin>(body: &mut B) -> Option<Result<Frame<B::Data>, B::Error>> {
    poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await
}

/// Answers with one byte that stands for 60.
#[derive(Clone)]
struct LargeAnswers(AdmissionPool);

impl Service<Request<Arriving>> for LargeAnswers {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Outcome>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Arriving>) -> Self::Future {
        let mut held = self.0.answer_bytes();
        self.0.grow(&mut held, 60).unwrap();
        let mut response = Response::new(Body::new(Pieces(vec![b"x"])));
        response.extensions_mut().insert::<AnswerHeld>(Arc::new(held));
        ready(Ok(response))
    }
}

#[tokio::test]
async fn a_request_is_counted_while_it_arrives_and_given_back_once_it_is_decoded() {
    let pool = pool();
    let arriving = |pieces: Vec<&'static [u8]>| Arriving {
        body: Body::new(Pieces(pieces)),
        held: pool.request_bytes(),
        requests: pool.clone(),
        arrival: LONG,
        patience: None,
    };
    let mut first = arriving(vec![&[0; 40], &[0; 40]]);
    for _ in 0..2 {
        next(&mut first).await.unwrap().unwrap();
    }
    let refused = next(&mut arriving(vec![&[0; 21]])).await.unwrap().unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    assert_eq!(pool.state().refused, 1);
    next(&mut arriving(vec![&[0; 20]])).await.unwrap().unwrap();
    assert!(next(&mut first).await.is_none());
    drop(first);
    next(&mut arriving(vec![&[0; LIMIT]])).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_large_answer_is_counted_until_it_has_left() {
    let pool = pool();
    let mut service = Counted::new(LargeAnswers(pool.clone()), pool.clone(), LONG);
    let response = service.call(Request::new(Body::empty())).await.unwrap();
    let mut more = pool.answer_bytes();
    assert!(pool.grow(&mut more, 41).is_err(), "nobody has read it yet");
    assert!(pool.grow(&mut pool.request_bytes(), LIMIT).is_ok(), "requests have room of their own");
    let mut body = response.into_body();
    assert_eq!(next(&mut body).await.unwrap().unwrap().into_data().unwrap(), "x");
    assert!(next(&mut body).await.is_none());
    drop(body);
    assert!(pool.grow(&mut more, LIMIT).is_ok());
}

/// A body that stops in the middle.
struct Stalled(bool);

impl HttpBody for Stalled {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Pending;
        }
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[0; LIMIT])))))
    }
}

#[tokio::test]
async fn a_request_that_stops_in_the_middle_keeps_others_out_for_a_bounded_time() {
    let pool = pool();
    let (body, held, requests) = (Body::new(Stalled(false)), pool.request_bytes(), pool.clone());
    let mut stalled = Arriving { body, held, requests, arrival: Duration::from_millis(50), patience: None };
    next(&mut stalled).await.unwrap().unwrap();
    assert!(pool.grow(&mut pool.request_bytes(), 1).is_err());
    let ended = tokio::time::timeout(LONG, next(&mut stalled)).await.unwrap().unwrap().unwrap_err();
    assert_eq!(ended.code(), Code::DeadlineExceeded, "{ended}");
    drop(stalled);
    assert!(pool.grow(&mut pool.request_bytes(), LIMIT).is_ok());
}
