//! Connections that are slow, idle, too many, or open while the process leaves.

use std::time::Duration;

use axum::routing::{get, post};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use super::*;
use crate::lifecycle::Lifecycle;

/// No test waits longer than this for what must happen.
const DEADLINE: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(150);
const LONG: Duration = Duration::from_secs(60);
const REQUEST: &[u8] = b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n";

struct Server {
    addr: SocketAddr,
    lifecycle: Lifecycle,
    serving: tokio::task::JoinHandle<()>,
}

async fn start(connections: usize, idle: Duration, header: Duration) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (lifecycle, phase) = Lifecycle::new();
    let router = Router::new()
        .route("/hello", get(async || "hello"))
        .route("/echo", post(async |body: String| body));
    let metrics = Arc::new(Metrics::new("0", "test").unwrap());
    let limits = Limits {
        connections,
        timeouts: Timeouts {
            idle,
            header,
            write: LONG,
        },
    };
    let serving = tokio::spawn(serve(listener, router, phase, metrics, limits));
    Server {
        addr,
        lifecycle,
        serving,
    }
}

async fn connect(server: &Server) -> TcpStream {
    TcpStream::connect(server.addr).await.unwrap()
}

async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    // A reset counts as an end too.
    let _ = timeout(DEADLINE, stream.read_to_end(&mut bytes))
        .await
        .expect("closed in time");
    String::from_utf8(bytes).unwrap()
}

async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = String::new();
    while !text.ends_with(end) {
        let mut byte = [0];
        let read = timeout(DEADLINE, stream.read(&mut byte))
            .await
            .expect("an answer in time");
        assert_eq!(read.unwrap(), 1, "closed after {text:?}");
        text.push(char::from(byte[0]));
    }
    text
}

#[tokio::test]
async fn sec_h04_a_head_that_trickles_is_cut_off() {
    let server = start(9, LONG, SHORT).await;
    let mut stream = connect(&server).await;
    let begun = Instant::now();
    stream.write_all(b"GET /hello HTTP/1.1\r\n").await.unwrap();
    assert_eq!(read_to_end(&mut stream).await, "");
    assert!(begun.elapsed() >= SHORT);
}

#[tokio::test]
async fn a_second_head_that_trickles_is_cut_off_too() {
    let server = start(9, LONG, SHORT).await;
    let mut stream = connect(&server).await;
    stream.write_all(REQUEST).await.unwrap();
    read_until(&mut stream, "hello").await;
    stream.write_all(b"GET /hel").await.unwrap();
    assert_eq!(read_to_end(&mut stream).await, "");
}

#[tokio::test]
async fn an_idle_connection_outlives_the_header_timeout() {
    let server = start(9, LONG, Duration::ZERO).await;
    let mut stream = connect(&server).await;
    for _ in 0..3 {
        stream.write_all(REQUEST).await.unwrap();
        read_until(&mut stream, "hello").await;
        // Had the header timeout run since the last answer, it would be over already.
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_idle_connection_ends_at_its_own_timeout() {
    let server = start(9, SHORT, LONG).await;
    let mut fresh = connect(&server).await;
    let mut used = connect(&server).await;
    used.write_all(REQUEST).await.unwrap();
    read_until(&mut used, "hello").await;
    assert_eq!(read_to_end(&mut fresh).await, "");
    assert_eq!(read_to_end(&mut used).await, "");
}

#[tokio::test]
async fn pipelined_requests_are_all_answered() {
    let server = start(9, LONG, LONG).await;
    let mut stream = connect(&server).await;
    stream.write_all(&REQUEST.repeat(3)).await.unwrap();
    for _ in 0..3 {
        read_until(&mut stream, "\r\n\r\nhello").await;
    }
}

#[tokio::test]
async fn sec_h04_a_header_beyond_the_limit_is_answered_431() {
    let server = start(9, LONG, LONG).await;
    let mut stream = connect(&server).await;
    let huge = format!(
        "GET /hello HTTP/1.1\r\nHost: a\r\nX: {}\r\n",
        "x".repeat(HEADER_BYTES)
    );
    // The server may close while we still write.
    let _ = stream.write_all(huge.as_bytes()).await;
    assert!(read_until(&mut stream, "\r\n").await.contains(" 431 "));
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_a_free_slot() {
    let server = start(1, LONG, LONG).await;
    let mut first = connect(&server).await;
    first.write_all(REQUEST).await.unwrap();
    read_until(&mut first, "hello").await;
    let mut second = connect(&server).await;
    second.write_all(REQUEST).await.unwrap();
    let mut byte = [0];
    assert!(
        timeout(SHORT, second.read(&mut byte)).await.is_err(),
        "served beyond the limit"
    );
    drop(first);
    read_until(&mut second, "hello").await;
}

#[tokio::test]
async fn stopping_ends_idle_connections_and_finishes_begun_requests() {
    let server = start(9, LONG, LONG).await;
    let mut idle = connect(&server).await;
    idle.write_all(REQUEST).await.unwrap();
    read_until(&mut idle, "hello").await;
    let mut untouched = connect(&server).await;
    let mut begun = connect(&server).await;
    let head =
        b"POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
    begun.write_all(head).await.unwrap();
    // Proves that the request has reached its handler.
    read_until(&mut begun, "100 Continue\r\n\r\n").await;

    server.lifecycle.advance(Phase::Stopping);
    assert_eq!(read_to_end(&mut idle).await, "");
    begun.write_all(b"body").await.unwrap();
    assert!(read_to_end(&mut begun).await.ends_with("body"));
    assert_eq!(read_to_end(&mut untouched).await, "");
    timeout(DEADLINE, server.serving)
        .await
        .expect("everything has ended")
        .unwrap();
    assert!(
        TcpStream::connect(server.addr).await.is_err(),
        "nothing listens any more"
    );
}
