//! One connection that is carried to its target by a rule, which may change under way.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use crate::rule::{Flow, Rule};

/// What one read takes from a connection.
const CHUNK_BYTES: usize = 16 * 1024;
/// Chunks that a connection holds for each direction; then its sender waits, as for a full window.
const CHUNKS_HELD: usize = 64;

/// Where connections go, and what happens to them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) rule: Rule,
    pub(crate) target: SocketAddr,
}

#[derive(Debug, Clone, Copy)]
enum Direction {
    Forward,
    Back,
}

impl Settings {
    const fn flow(&self, direction: Direction) -> Flow {
        match (self.rule, direction) {
            (Rule::Carry { forward, .. }, Direction::Forward) => forward,
            (Rule::Carry { back, .. }, Direction::Back) => back,
            (Rule::Refuse, _) => Flow::Hold,
        }
    }
}

/// Completes when connections are to be refused, or the link is gone.
pub(crate) async fn refusal(settings: &mut watch::Receiver<Settings>) {
    let _ = settings.wait_for(|settings| settings.rule == Rule::Refuse).await;
}

/// Carries one connection until its ends close it, or it is to be refused.
pub(crate) async fn carry(mut near: TcpStream, mut settings: watch::Receiver<Settings>) {
    let _ = near.set_nodelay(true);
    let mut refusing = settings.clone();
    let target = tokio::select! {
        () = refusal(&mut refusing) => None,
        target = target(&mut settings) => target,
    };
    let far = match target {
        Some(target) => TcpStream::connect(target).await.ok(),
        None => None,
    };
    let Some(mut far) = far else {
        let _ = near.set_zero_linger();
        return;
    };
    let _ = far.set_nodelay(true);
    let closed = {
        let (near_reads, near_writes) = near.split();
        let (far_reads, far_writes) = far.split();
        let forward = pass(near_reads, far_writes, Direction::Forward, settings.clone());
        let back = pass(far_reads, near_writes, Direction::Back, settings);
        tokio::select! {
            () = refusal(&mut refusing) => false,
            // One direction that breaks ends both.
            ended = async { tokio::try_join!(forward, back) } => ended.is_ok(),
        }
    };
    if !closed {
        // Dropped so, a connection is reset: nobody takes it for one that was closed.
        let _ = near.set_zero_linger();
        let _ = far.set_zero_linger();
    }
}

/// Where a connection goes, once one can be made.
async fn target(settings: &mut watch::Receiver<Settings>) -> Option<SocketAddr> {
    settings.wait_for(|settings| settings.rule.connects()).await.ok().map(|settings| settings.target)
}

struct Chunk {
    bytes: Vec<u8>,
    due: Instant,
}

/// Carries one direction until its end.
async fn pass(
    from: ReadHalf<'_>,
    to: WriteHalf<'_>,
    direction: Direction,
    settings: watch::Receiver<Settings>,
) -> io::Result<()> {
    let (sender, receiver) = mpsc::channel(CHUNKS_HELD);
    tokio::try_join!(read(from, sender, direction, settings.clone()), write(to, receiver, direction, settings))?;
    Ok(())
}

async fn read(
    mut from: ReadHalf<'_>,
    sender: mpsc::Sender<Chunk>,
    direction: Direction,
    settings: watch::Receiver<Settings>,
) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        let later = match settings.borrow().flow(direction) {
            Flow::Delay(delay) => delay,
            Flow::Pass | Flow::Slow { .. } | Flow::Hold => Duration::ZERO,
        };
        let chunk = Chunk { bytes: buffer[..count].to_vec(), due: Instant::now() + later };
        if sender.send(chunk).await.is_err() {
            return Ok(());
        }
    }
}

async fn write(
    mut to: WriteHalf<'_>,
    mut receiver: mpsc::Receiver<Chunk>,
    direction: Direction,
    mut settings: watch::Receiver<Settings>,
) -> io::Result<()> {
    while let Some(chunk) = receiver.recv().await {
        sleep_until(chunk.due).await;
        passable(&mut settings, direction).await?;
        let flow = settings.borrow().flow(direction);
        if let Flow::Slow { bytes } = flow {
            sleep(Duration::from_secs_f64(chunk.bytes.len() as f64 / bytes.max(1) as f64)).await;
        }
        to.write_all(&chunk.bytes).await?;
    }
    // The end of a direction is a packet too.
    passable(&mut settings, direction).await?;
    to.shutdown().await
}

async fn passable(settings: &mut watch::Receiver<Settings>, direction: Direction) -> io::Result<()> {
    let held = |settings: &Settings| settings.flow(direction) == Flow::Hold;
    settings.wait_for(|settings| !held(settings)).await.map_err(io::Error::other)?;
    Ok(())
}
