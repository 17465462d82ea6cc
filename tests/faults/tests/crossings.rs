//! Who connects through a crossing follows the rule of the address it connects from.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use thermocline_faults::{Crossing, Rule};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

/// Far beyond what anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// Long enough for bytes on the loopback to arrive, if they are let.
const MOMENT: Duration = Duration::from_millis(200);
const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 91, 1));
const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 91, 2));

/// A crossing before a server that sends back what it gets.
async fn crossing() -> (Crossing, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut reads, mut writes) = connection.split();
                let _ = tokio::io::copy(&mut reads, &mut writes).await;
            });
        }
    });
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listen = free.local_addr().unwrap();
    drop(free);
    (Crossing::open(listen, target, [ONE, OTHER]).await.unwrap(), listen)
}

async fn connect(from: IpAddr, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(from, 0)).unwrap();
    timeout(PATIENCE, socket.connect(to)).await.unwrap().unwrap()
}

async fn is_answered(connection: &mut TcpStream) {
    connection.write_all(b"x").await.unwrap();
    assert_eq!(timeout(PATIENCE, connection.read_u8()).await.unwrap().unwrap(), b'x');
}

#[tokio::test]
async fn one_that_is_cut_off_waits_until_it_is_not_and_others_do_not() {
    let (crossing, at) = crossing().await;
    let (mut cut, mut other) = (connect(ONE, at).await, connect(OTHER, at).await);
    is_answered(&mut cut).await;
    crossing.set(ONE, Rule::CUT);
    cut.write_all(b"y").await.unwrap();
    assert!(timeout(MOMENT, cut.read_u8()).await.is_err());
    is_answered(&mut other).await;
    let mut stranger = TcpStream::connect(at).await.unwrap();
    is_answered(&mut stranger).await;
    crossing.set(ONE, Rule::PASS);
    assert_eq!(timeout(PATIENCE, cut.read_u8()).await.unwrap().unwrap(), b'y');
}

#[tokio::test]
async fn one_that_is_refused_has_its_connections_reset_and_gets_no_new_one() {
    let (crossing, at) = crossing().await;
    let (mut refused, mut other) = (connect(ONE, at).await, connect(OTHER, at).await);
    is_answered(&mut refused).await;
    crossing.set(ONE, Rule::Refuse);
    assert!(timeout(PATIENCE, refused.read_u8()).await.unwrap().is_err());
    // It may be told when it connects, or when it listens.
    let mut again = connect(ONE, at).await;
    assert!(timeout(PATIENCE, again.read_u8()).await.unwrap().is_err());
    is_answered(&mut other).await;
    crossing.set(ONE, Rule::PASS);
    is_answered(&mut connect(ONE, at).await).await;
}
