//! Frames that are work without being requests: each kind has a limit, a name and a goodbye.

use portcullis_testkit::{Authority, Behavior, Endpoint};
use serde_json::{Value, json};

use super::frames::*;
use crate::harness::Edge;
use crate::native::Setup;

async fn edge(endpoint: &Endpoint, limits: &Value) -> Edge {
    let mut http2 = limits.clone();
    http2["cleartext"] = json!(true);
    Setup::new(&[endpoint])
        .set("listeners.0.http2", http2)
        .start()
        .await
}

/// What is sent over and over, for each number.
type Flood = fn(u32) -> Vec<u8>;

/// Key, default, name in metrics, one piece of the flood.
const FLOODS: [(&str, u32, &str, Flood); 8] = [
    ("max_resets", 100, "resets", |n| {
        [post(2 * n + 1, "/"), reset(2 * n + 1, CANCEL)].concat()
    }),
    ("max_stream_errors", 100, "stream_errors", |n| {
        [post(2 * n + 1, "/"), window(2 * n + 1, 0x7fff_ffff)].concat()
    }),
    ("max_pings", 100, "pings", |_| {
        frame(PING, 0, 0, b"12345678")
    }),
    ("max_settings", 50, "settings", |_| settings(&[(4, 65_535)])),
    ("max_continuations", 5, "continuations", |n| match n {
        0 => frame(HEADERS, END_STREAM, 1, &block(&request("GET", "/"))),
        _ => frame(CONTINUATION, 0, 1, b""),
    }),
    ("max_idle_frames", 1_000, "idle_frames", |_| {
        frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 9])
    }),
    ("max_idle_frames", 1_000, "idle_frames", |_| {
        frame(0xbe, 0, 0, b"unknown")
    }),
    ("max_idle_frames", 1_000, "idle_frames", |_| window(0, 1)),
];

/// Sends pieces until the edge has had enough; says how many it took, and with which code it ended.
async fn flood(edge: &Edge, authority: &Authority, piece: Flood, most: u32) -> (u32, Option<u32>) {
    let mut raw = Raw::open(edge, authority, Way::Clear).await;
    for number in 0..most {
        raw.send(&piece(number)).await;
        if number % 10 == 9 && raw.seen.iter().all(|frame| frame.kind != GOAWAY) {
            // Answers are read, as an ordinary client would.
            raw.drain().await;
        }
        if raw.seen.iter().any(|frame| frame.kind == GOAWAY) {
            return (number, raw.farewell().await);
        }
    }
    (most, raw.farewell().await)
}

#[tokio::test]
async fn each_flood_ends_with_a_goodbye_a_line_and_a_count() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    a.behave(Behavior::Hang);
    let edge = edge(&a, &json!({})).await;
    let mut ended = std::collections::HashMap::new();
    for (index, (key, limit, why, piece)) in FLOODS.into_iter().enumerate() {
        let (_, code) = flood(&edge, &authority, piece, limit + 60).await;
        assert_eq!(code, Some(ENHANCE_YOUR_CALM), "{index} {key}");
        let count = ended.entry(why).or_insert(0.0);
        *count += 1.0;
        let labels = [("listener", "http"), ("why", why)];
        edge.wait_for_metric("portcullis_edge_http2_goaways_total", &labels, *count)
            .await;
        edge.wait_for_outcome("refused_http2_abuse", index as u32 + 1)
            .await;
    }
    edge.expect_nothing_left().await;
}

#[tokio::test]
async fn a_client_that_falls_silent_behind_its_flood_hears_the_goodbye_too() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    a.behave(Behavior::Hang);
    let edge = edge(&a, &json!({})).await;
    let mut raw = Raw::open(&edge, &authority, Way::Clear).await;
    let piece = FLOODS[1].3;
    let flood: Vec<u8> = (0..110).flat_map(piece).collect();
    raw.send(&flood).await;
    assert_eq!(raw.farewell().await, Some(ENHANCE_YOUR_CALM));
    edge.wait_for_outcome("refused_http2_abuse", 1).await;
}

#[tokio::test]
async fn header_lists_beyond_the_limit_end_the_connection_soon() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let edge = edge(&a, &json!({})).await;
    let mut raw = Raw::open(&edge, &authority, Way::Clear).await;
    let lists = (0..20).flat_map(|n| {
        let mut fields = block(&request("GET", "/"));
        fields.extend(b"\x60\x03a=1");
        fields.extend(vec![0xbe; 2_000]);
        frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, &fields)
    });
    raw.send(&lists.collect::<Vec<u8>>()).await;
    assert_eq!(raw.farewell().await, Some(ENHANCE_YOUR_CALM));
    edge.wait_for_outcome("refused_http2_abuse", 1).await;
    assert_eq!(a.requests(), 0);
}

#[tokio::test]
async fn each_limit_of_frames_is_the_one_in_the_configuration() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    a.behave(Behavior::Hang);
    for (key, _, _, piece) in FLOODS {
        let edge = edge(&a, &json!({ key: 4 })).await;
        let (sent, code) = flood(&edge, &authority, piece, 40).await;
        assert_eq!(code, Some(ENHANCE_YOUR_CALM), "{key}");
        assert!((4..40).contains(&sent), "{key}: {sent}");
    }
}

#[tokio::test]
async fn requests_that_come_with_their_reset_reach_no_endpoint() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let edge = edge(&a, &json!({})).await;
    let mut raw = Raw::open(&edge, &authority, Way::Clear).await;
    // Few enough for one read.
    let pairs = (0..10).flat_map(FLOODS[0].3);
    raw.send(&pairs.collect::<Vec<u8>>()).await;
    edge.wait_for_outcome("client_gone", 10).await;
    assert_eq!(a.connections(), 0);
    drop(raw);
    edge.expect_nothing_left().await;
}
