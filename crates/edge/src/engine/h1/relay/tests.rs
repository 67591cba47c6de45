//! Attempts that end while a piece of the request body is on its way.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream, duplex};

use super::*;
use crate::pipeline::fake;
use crate::state::Edge;

/// More than is copied, so that it stays where it was received until it is written.
const BODY_BYTES: usize = 3000;
/// What an endpoint that does not read lets through.
const PIPE_BYTES: usize = 512;

struct Bench {
    relay: Relay,
    client: Peer<BufReader<DuplexStream>>,
    endpoint: Peer<BufReader<DuplexStream>>,
    exchange: Exchange,
    deadline: Deadline,
    body: RequestBody,
    connection: Arc<crate::connection::Connection>,
}

impl Bench {
    /// A POST whose whole body was received, and looks like a request. Returns the far ends too.
    async fn new() -> (Self, DuplexStream, DuplexStream) {
        let (near_client, mut far_client) = duplex(1 << 16);
        let (near_endpoint, far_endpoint) = duplex(PIPE_BYTES);
        let mut client = Peer::new(BufReader::new(near_client));
        let body = b"GET /admin HTTP/1.1\r\nHost: a\r\n\r\n".repeat(100);
        far_client.write_all(&body[..BODY_BYTES]).await.unwrap();
        poll_fn(|cx| client.poll_fill(cx, Buffer::large))
            .await
            .unwrap();
        assert_eq!(client.received().len(), BODY_BYTES);

        let edge = Edge::build(&fake::config(fake::cluster(&["127.0.0.1:9"]))).unwrap();
        let connection = fake::connection("203.0.113.9:5000");
        let now = Instant::now();
        let mut head = Outgoing::with_room_for_head();
        head.text()
            .extend_from_slice(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3000\r\n\r\n");
        let asked = Asked {
            is_head: false,
            is_http10: false,
            keeps_alive: true,
            expects_continue: false,
            asks_for_upgrade: false,
        };
        let framing = Framing::Length(BODY_BYTES as u64);
        let body = RequestBody::new(framing, false);
        let bench = Self {
            relay: Relay::new(head, framing, &body, asked, now),
            body,
            client,
            endpoint: Peer::new(BufReader::new(near_endpoint)),
            exchange: Exchange::new(Arc::new(edge), Arc::clone(&connection), now),
            deadline: Deadline::default(),
            connection,
        };
        (bench, far_client, far_endpoint)
    }

    async fn run(&mut self) -> Result<Answered, Cause> {
        let endpoint = fake::cluster(&["127.0.0.1:9"]).timeouts;
        let ends = Ends {
            client: &mut self.client,
            endpoint: &mut self.endpoint,
            body: &mut self.body,
            exchange: &mut self.exchange,
            deadline: &mut self.deadline,
        };
        let timeouts = Timeouts {
            client: &self.connection.listener.timeouts,
            endpoint: &endpoint,
        };
        self.relay.run(ends, timeouts).await
    }
}

#[tokio::test]
async fn body_that_a_broken_endpoint_did_not_take_is_not_the_next_request() {
    let (mut bench, _client, endpoint) = Bench::new().await;
    drop(endpoint);
    assert_eq!(bench.run().await, Err(Cause::EndpointReset));
    assert_eq!(bench.client.received(), b"");
}

#[tokio::test]
async fn body_that_an_early_answer_left_behind_is_not_the_next_request() {
    let (mut bench, mut client, mut endpoint) = Bench::new().await;
    let answer = b"HTTP/1.1 413 Payload Too Large\r\ncontent-length: 0\r\n\r\n";
    endpoint.write_all(answer).await.unwrap();
    assert_eq!(bench.run().await, Ok(Answered::Whole));
    assert_eq!(bench.client.received(), b"");
    assert!(!bench.relay.leaves_endpoint_reusable());
    let mut status = [0; 12];
    client.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 413");
}
