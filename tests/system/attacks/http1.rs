//! Attacks before a request is understood, and over HTTP/1.1.

use portcullis_testkit::attack;

use super::Ends::Requests;
use super::{ends, harms_nobody_else};

#[tokio::test]
async fn alone_a_connection_flood_harms_nobody_else() {
    let bounds = ends(Requests("refused_address_connections"), 100.0);
    harms_nobody_else(attack::connection_flood(), bounds).await;
}

#[tokio::test]
async fn alone_silent_connections_harm_nobody_else() {
    let bounds = ends(Requests("client_head_timeout"), 100.0);
    harms_nobody_else(attack::silent_connections(), bounds).await;
}

#[tokio::test]
async fn alone_half_handshakes_harm_nobody_else() {
    let bounds = ends(Requests("client_handshake_timeout"), 100.0);
    harms_nobody_else(attack::half_handshakes(), bounds).await;
}

#[tokio::test]
async fn alone_dripped_proxy_headers_harm_nobody_else() {
    let bounds = ends(Requests("refused_proxy_header"), 100.0);
    harms_nobody_else(attack::dripped_proxy_headers(), bounds).await;
}

#[tokio::test]
async fn alone_slow_headers_harm_nobody_else() {
    let bounds = ends(Requests("client_head_timeout"), 100.0);
    harms_nobody_else(attack::slow_headers(), bounds).await;
}

#[tokio::test]
async fn alone_slow_bodies_harm_nobody_else() {
    let bounds = ends(Requests("client_body_timeout"), 100.0);
    harms_nobody_else(attack::slow_bodies(), bounds).await;
}

#[tokio::test]
async fn alone_slow_readers_harm_nobody_else() {
    let bounds = ends(Requests("client_gone"), 50.0);
    harms_nobody_else(attack::slow_readers(), bounds).await;
}

#[tokio::test]
async fn alone_huge_headers_harm_nobody_else() {
    let bounds = ends(Requests("client_head_too_large"), 50.0);
    harms_nobody_else(attack::huge_headers(), bounds).await;
}

#[tokio::test]
async fn alone_oversized_bodies_harm_nobody_else() {
    let bounds = ends(Requests("client_body_too_large"), 50.0);
    harms_nobody_else(attack::oversized_bodies(), bounds).await;
}

#[tokio::test]
async fn alone_growing_bodies_harm_nobody_else() {
    let bounds = ends(Requests("client_body_too_large"), 20.0);
    harms_nobody_else(attack::growing_bodies(), bounds).await;
}

#[tokio::test]
async fn alone_pipelined_requests_harm_nobody_else() {
    let bounds = ends(Requests("served"), 400.0);
    harms_nobody_else(attack::pipelined(), bounds).await;
}

#[tokio::test]
async fn alone_tiny_chunks_harm_nobody_else() {
    let bounds = ends(Requests("served"), 160.0);
    harms_nobody_else(attack::tiny_chunks(), bounds).await;
}

#[tokio::test]
async fn alone_chunk_extensions_harm_nobody_else() {
    let bounds = ends(Requests("served"), 160.0);
    harms_nobody_else(attack::chunk_extensions(), bounds).await;
}

#[tokio::test]
async fn alone_a_flood_of_requests_harms_nobody_else() {
    let bounds = ends(Requests("refused_rate_limit"), 200.0);
    harms_nobody_else(attack::flood_of_requests(), bounds).await;
}

#[tokio::test]
async fn alone_a_flood_of_nonsense_harms_nobody_else() {
    let bounds = ends(Requests("client_malformed"), 100.0);
    harms_nobody_else(attack::flood_of_nonsense(), bounds).await;
}
