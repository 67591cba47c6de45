//! Attacks before a request is understood, and over HTTP/1.1. Limits they run into are the defaults of
//! an edge, or what a test sets.

use std::time::Duration;

use super::{Attack, Door, LARGE, LIMITED, PATH, Reading};

const TRICKLE: Duration = Duration::from_millis(100);

/// All of them.
pub fn over_http1() -> Vec<Attack> {
    vec![
        connection_flood(),
        silent_connections(),
        half_handshakes(),
        dripped_proxy_headers(),
        slow_headers(),
        slow_bodies(),
        slow_readers(),
        huge_headers(),
        oversized_bodies(),
        growing_bodies(),
        pipelined(),
        tiny_chunks(),
        chunk_extensions(),
        flood_of_requests(),
        flood_of_nonsense(),
    ]
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

fn post(framing: &str) -> String {
    format!("POST {PATH} HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n")
}

/// More connections from one address than it may have, each with the begin of a request.
pub fn connection_flood() -> Attack {
    let begin = format!("GET {PATH} HTTP/1.1\r\n");
    Attack::of("connection flood", Door::Crowded, begin).at(250, 400)
}

/// Connections that say nothing.
pub fn silent_connections() -> Attack {
    Attack::of("silent connections", Door::Http1, "").at(250, 200)
}

/// Handshakes that stop within the ClientHello.
pub fn half_handshakes() -> Attack {
    let begin = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    Attack::of("half TLS handshakes", Door::Tls, begin).at(250, 200)
}

/// PROXY headers, byte by byte.
pub fn dripped_proxy_headers() -> Attack {
    Attack::of("PROXY header dripped", Door::Proxied, "PROXY TCP6 ")
        .at(250, 200)
        .with_more("f", TRICKLE)
}

/// Requests, field by field, without end.
pub fn slow_headers() -> Attack {
    let begin = format!("GET {PATH} HTTP/1.1\r\nHost: a\r\n");
    Attack::of("slow headers", Door::Http1, begin)
        .at(250, 200)
        .with_more("X-A: b\r\n", TRICKLE)
}

/// Bodies, byte by byte.
pub fn slow_bodies() -> Attack {
    Attack::of("slow bodies", Door::Http1, post("Content-Length: 8192"))
        .at(250, 200)
        .with_more("x", TRICKLE)
}

/// Requests for much of which nothing is taken.
pub fn slow_readers() -> Attack {
    let mut attack = Attack::of("slow readers", Door::Http1, get(LARGE)).at(100, 100);
    attack.reading = Reading::Nothing;
    attack
}

/// Headers of 64 KB.
pub fn huge_headers() -> Attack {
    let field = format!("X-Filler: {}\r\n", "a".repeat(1_000));
    let huge = format!("GET {PATH} HTTP/1.1\r\nHost: a\r\n{}", field.repeat(64));
    Attack::of("huge headers", Door::Http1, huge).at(100, 100)
}

/// Announced bodies of a terabyte, and the begin of them.
pub fn oversized_bodies() -> Attack {
    let begin = post("Content-Length: 1000000000000") + &"x".repeat(16_000);
    Attack::of("oversized bodies", Door::Http1, begin).at(100, 100)
}

/// Bodies of any length, in chunks of 16 KB.
pub fn growing_bodies() -> Attack {
    let begin = post("Transfer-Encoding: chunked");
    let chunk = format!("4000\r\n{}\r\n", "x".repeat(0x4000));
    Attack::of("growing bodies", Door::Http1, begin)
        .at(25, 20)
        .with_more(chunk, Duration::from_millis(5))
}

/// A hundred requests at once on each connection.
pub fn pipelined() -> Attack {
    let last = get(PATH).replace("Host", "Connection: close\r\nHost");
    Attack::of("pipelining", Door::Http1, get(PATH).repeat(99) + &last).at(10, 20)
}

/// Bodies in chunks of one byte.
pub fn tiny_chunks() -> Attack {
    let body = "1\r\nx\r\n".repeat(10_000) + "0\r\n\r\n";
    let request = post("Connection: close\r\nTransfer-Encoding: chunked") + &body;
    Attack::of("tiny chunks", Door::Http1, request).at(10, 20)
}

/// Bodies that are more extension than chunk.
pub fn chunk_extensions() -> Attack {
    let chunk = format!("1;{}\r\nx\r\n", "a".repeat(250));
    let body = chunk.repeat(1_000) + "0\r\n\r\n";
    let request = post("Connection: close\r\nTransfer-Encoding: chunked") + &body;
    Attack::of("chunk extensions", Door::Http1, request).at(10, 20)
}

/// Requests beyond every rate.
pub fn flood_of_requests() -> Attack {
    Attack::of("request flood", Door::Http1, get(LIMITED))
        .at(20, 20)
        .with_more(get(LIMITED).repeat(5), Duration::from_millis(100))
}

/// Requests that are none.
pub fn flood_of_nonsense() -> Attack {
    Attack::of("invalid requests", Door::Http1, "GET  / HTTP/9.9\r\n\r\n").at(250, 100)
}
