//! TLS at the edge beyond what every engine shows: sessions, names, plain requests and bad bytes.

mod clients;
mod names;
mod passing;
mod plain;
mod reload;
mod sessions;
mod staple;

use portcullis_testkit::certificates::Identity;
use portcullis_testkit::{Authority, Connection, Endpoint};
use serde_json::{Value, json};

use crate::harness::Edge;
use crate::native::Setup;

/// Handshakes that came to nothing.
const FAILURES: &str = "portcullis_edge_tls_handshake_failures_total";

fn certificates(identities: &[&Identity]) -> Value {
    let entry = |identity: &&Identity| json!({ "cert": identity.cert, "key": identity.key });
    identities.iter().map(entry).collect()
}

/// An edge whose second listener speaks TLS for `app.example` and has these further keys of `tls`.
async fn edge_with(endpoint: &Endpoint, authority: &Authority, tls: &Value) -> Edge {
    let identity = authority.issue("app", &["app.example"]);
    let mut keys = json!({ "tls": { "certificates": certificates(&[&identity]) } });
    for (key, value) in tls.as_object().unwrap() {
        keys["tls"][key] = value.clone();
    }
    let setup = Setup::new(&[endpoint]);
    setup.listener("tls", &keys).start().await
}

/// A second listener that speaks TLS and has these further keys.
async fn listener_with(endpoint: &Endpoint, authority: &Authority, keys: &Value) -> Edge {
    let identity = authority.issue("app", &["app.example"]);
    let mut listener = json!({ "tls": { "certificates": certificates(&[&identity]) } });
    for (key, value) in keys.as_object().unwrap() {
        listener[key] = value.clone();
    }
    let setup = Setup::new(&[endpoint]);
    setup.listener("tls", &listener).start().await
}

/// One request over a new connection; whether its session was resumed.
async fn visit(edge: &Edge, config: &rustls::ClientConfig) -> bool {
    let opened = Connection::open_tls(edge.listener(1), "app.example", config.clone());
    let mut client = opened.await.unwrap();
    let is_resumed = client.tls().unwrap().is_resumed;
    // Tickets of TLS 1.3 come with the first bytes.
    assert_eq!(client.get("/").await.unwrap().status, 200);
    is_resumed
}

/// Everything the edge answers to bytes in clear text on its TLS port.
async fn answer_to(edge: &Edge, bytes: &[u8]) -> Vec<u8> {
    let mut client = Connection::open(edge.listener(1)).await.unwrap();
    client.send(bytes).await.unwrap();
    client.finish_sending().await.unwrap();
    client.read_to_end().await.unwrap()
}
