//! What a link does to connections through it, seen from both ends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use thermocline_faults::{Flow, Link, Rule};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Far beyond what anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);
/// Long enough for bytes on the loopback to arrive, if they are let.
const MOMENT: Duration = Duration::from_millis(200);

/// A server that sends back what it gets, and tells of it.
async fn echo() -> (SocketAddr, mpsc::UnboundedReceiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (told, heard) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let told = told.clone();
            tokio::spawn(async move {
                let mut buffer = vec![0; 64 * 1024];
                while let Ok(count) = connection.read(&mut buffer).await {
                    if count == 0 || connection.write_all(&buffer[..count]).await.is_err() {
                        break;
                    }
                    let _ = told.send(buffer[..count].to_vec());
                }
            });
        }
    });
    (address, heard)
}

async fn link_to(target: SocketAddr) -> Link {
    Link::open("127.0.0.1:0".parse().unwrap(), target).await.unwrap()
}

async fn answer(connection: &mut TcpStream, bytes: usize) -> Vec<u8> {
    let mut buffer = vec![0; bytes];
    timeout(PATIENCE, connection.read_exact(&mut buffer)).await.expect("an answer").unwrap();
    buffer
}

async fn silent(connection: &mut TcpStream) -> bool {
    timeout(MOMENT, connection.read_u8()).await.is_err()
}

#[tokio::test]
async fn a_link_carries_bytes_both_ways_and_the_end_of_a_connection() {
    let (target, _heard) = echo().await;
    let link = link_to(target).await;
    let mut connection = TcpStream::connect(link.address()).await.unwrap();
    let sent: Vec<u8> = (0..500_000_u32).map(|number| number as u8).collect();
    let (mut reads, mut writes) = connection.split();
    let mut got = Vec::new();
    let copy = async {
        writes.write_all(&sent).await.unwrap();
        writes.shutdown().await.unwrap();
    };
    timeout(PATIENCE, async { tokio::join!(copy, reads.read_to_end(&mut got)) }).await.unwrap().1.unwrap();
    assert!(got == sent);
}

#[tokio::test]
async fn what_is_held_one_way_arrives_when_packets_pass_again_and_the_other_way_goes_on() {
    let (target, mut heard) = echo().await;
    let link = link_to(target).await;
    let mut connection = TcpStream::connect(link.address()).await.unwrap();
    connection.write_all(b"one").await.unwrap();
    assert_eq!(answer(&mut connection, 3).await, b"one");
    heard.recv().await.unwrap();

    link.set(Rule::BACK_LOST);
    connection.write_all(b"two").await.unwrap();
    assert_eq!(timeout(PATIENCE, heard.recv()).await.unwrap().unwrap(), b"two", "forward it passes");
    assert!(silent(&mut connection).await);

    link.set(Rule::FORWARD_LOST);
    assert_eq!(answer(&mut connection, 3).await, b"two", "what was held back comes");
    connection.write_all(b"three").await.unwrap();
    assert!(timeout(MOMENT, heard.recv()).await.is_err(), "forward nothing passes");

    link.set(Rule::PASS);
    assert_eq!(answer(&mut connection, 5).await, b"three");
}

#[tokio::test]
async fn no_connection_is_made_over_a_cut_link_until_it_is_healed() {
    let (target, mut heard) = echo().await;
    let link = link_to(target).await;
    link.set(Rule::CUT);
    let mut connection = TcpStream::connect(link.address()).await.unwrap();
    connection.write_all(b"x").await.unwrap();
    assert!(timeout(MOMENT, heard.recv()).await.is_err());
    link.set(Rule::PASS);
    assert_eq!(answer(&mut connection, 1).await, b"x");
}

#[tokio::test]
async fn a_delay_comes_on_top_of_both_ways_without_holding_up_what_follows() {
    let (target, _heard) = echo().await;
    let link = link_to(target).await;
    link.set(Rule::both(Flow::Delay(Duration::from_millis(150))));
    let mut connection = TcpStream::connect(link.address()).await.unwrap();
    let begun = Instant::now();
    for _ in 0..20 {
        connection.write_all(b"x").await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    answer(&mut connection, 20).await;
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(300), "{took:?}");
    assert!(took < Duration::from_millis(20 * 300), "each waited for the one before it: {took:?}");
}

#[tokio::test]
async fn a_slow_link_takes_as_long_as_its_bytes_do() {
    let (target, _heard) = echo().await;
    let link = link_to(target).await;
    link.set(Rule::Carry { forward: Flow::Slow { bytes: 50_000 }, back: Flow::Pass });
    let mut connection = TcpStream::connect(link.address()).await.unwrap();
    let begun = Instant::now();
    connection.write_all(&[7; 20_000]).await.unwrap();
    answer(&mut connection, 20_000).await;
    assert!(begun.elapsed() >= Duration::from_millis(400), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_refusing_link_resets_its_connections_takes_none_and_listens_again_later() {
    let (target, _heard) = echo().await;
    let link = link_to(target).await;
    let mut connection = TcpStream::connect(link.address()).await.unwrap();
    connection.write_all(b"x").await.unwrap();
    answer(&mut connection, 1).await;
    link.set(Rule::Refuse);
    let end = timeout(PATIENCE, connection.read_u8()).await.expect("the connection ends").unwrap_err();
    assert_eq!(end.kind(), std::io::ErrorKind::ConnectionReset);
    let refused = async {
        while TcpStream::connect(link.address()).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, refused).await.expect("connections are refused");
    link.set(Rule::PASS);
    let listening = async {
        loop {
            if let Ok(connection) = TcpStream::connect(link.address()).await {
                return connection;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let mut again = timeout(PATIENCE, listening).await.expect("it listens again");
    again.write_all(b"y").await.unwrap();
    assert_eq!(answer(&mut again, 1).await, b"y");
}

#[tokio::test]
async fn a_link_follows_its_target_to_another_address() {
    let ((first, _), (second, mut heard)) = (echo().await, echo().await);
    let link = link_to(first).await;
    link.redirect(second);
    let mut connection = TcpStream::connect(link.address()).await.unwrap();
    connection.write_all(b"x").await.unwrap();
    assert_eq!(answer(&mut connection, 1).await, b"x");
    assert_eq!(heard.recv().await.unwrap(), b"x");
}
