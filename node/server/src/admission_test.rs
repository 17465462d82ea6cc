#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use std::sync::mpsc;
use std::time::Duration;

use super::*;

const SMALL: Limits = Limits { running: 1, waiting: 1, bytes: 100 };

/// Occupies the pool until the returned sender is dropped.
async fn occupy(pool: &AdmissionPool) -> (mpsc::Sender<()>, tokio::task::JoinHandle<()>) {
    let (release, held) = mpsc::channel::<()>();
    let (started, running) = tokio::sync::oneshot::channel();
    let pool = pool.clone();
    let task = tokio::spawn(async move {
        pool.run(10, None, move || {
            let _ = started.send(());
            let _ = held.recv();
        })
        .await
        .unwrap();
    });
    running.await.unwrap();
    (release, task)
}

async fn waits(pool: &AdmissionPool, count: usize) {
    while pool.state().waiting != count {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_call_beyond_the_queue_is_refused_at_once_and_room_admits_again() {
    let pool = AdmissionPool::new(SMALL);
    let (release, running) = occupy(&pool).await;
    let second = tokio::spawn({
        let pool = pool.clone();
        async move { pool.run(10, None, || 2).await }
    });
    waits(&pool, 1).await;
    assert_eq!(pool.run(10, None, || 3).await, Err(AdmissionError::QueueFull { waiting: 1 }));
    assert_eq!(pool.state(), AdmissionState { running: 1, waiting: 1, refused: 1 });
    drop(release);
    running.await.unwrap();
    assert_eq!(second.await.unwrap(), Ok(2));
    assert_eq!(pool.run(10, None, || 4).await, Ok(4));
}

#[tokio::test]
async fn bytes_in_hand_are_bounded_and_given_back() {
    let pool = AdmissionPool::new(SMALL);
    let (release, running) = occupy(&pool).await;
    assert_eq!(
        pool.run(91, None, || ()).await,
        Err(AdmissionError::BytesFull { what: "requests in hand", limit: 100 })
    );
    drop(release);
    running.await.unwrap();
    assert_eq!(pool.run(100, None, || 1).await, Ok(1));
    assert_eq!(pool.run(100, None, || 2).await, Ok(2));
}

#[tokio::test]
async fn a_call_whose_deadline_passes_in_the_queue_never_starts() {
    let pool = AdmissionPool::new(SMALL);
    let (release, running) = occupy(&pool).await;
    let deadline = Instant::now() + Duration::from_millis(20);
    let (ran, seen) = mpsc::channel();
    let outcome = pool.run(10, Some(deadline), move || ran.send(())).await;
    assert_eq!(outcome.unwrap_err(), AdmissionError::ExpiredWaiting);
    drop(release);
    running.await.unwrap();
    assert!(seen.recv().is_err(), "the call was dropped without running");
    assert_eq!(pool.state().waiting, 0);
}

#[tokio::test]
async fn a_call_that_outlives_its_deadline_says_that_its_outcome_is_unknown() {
    let pool = AdmissionPool::new(SMALL);
    let (release, held) = mpsc::channel::<()>();
    let deadline = Instant::now() + Duration::from_millis(20);
    let outcome = pool
        .run(10, Some(deadline), move || {
            let _ = held.recv();
        })
        .await;
    assert_eq!(outcome, Err(AdmissionError::ExpiredRunning));
    assert_eq!(pool.state().running, 1, "the call still holds its place");
    assert!(!pool.drained(Duration::from_millis(20)).await);
    drop(release);
    assert!(pool.drained(Duration::from_secs(30)).await);
}

#[tokio::test]
async fn a_call_that_panics_frees_its_place() {
    let pool = AdmissionPool::new(SMALL);
    let outcome: Result<(), _> = pool.run(10, None, || panic!("deliberate")).await;
    assert!(matches!(outcome, Err(AdmissionError::Lost { .. })));
    assert_eq!(pool.run(100, None, || 1).await, Ok(1));
}
