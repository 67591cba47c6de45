//! Endpoints that are found while the edge runs, and sources that fail.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use portcullis_testkit::{Endpoint, client, wait_until};
use serde_json::{Value, json};

use crate::harness::Edge;
use crate::harness::load::{Ask, Load, failures};
use crate::native::Setup;

mod dns;
mod files;
mod registry;
mod reloading;

/// An edge whose only cluster has no endpoint but what these sources find.
fn with_sources(sources: Value) -> Setup {
    let cluster = json!({ "balance": "round_robin", "discover": sources });
    Setup::new(&[]).set("clusters.main", cluster)
}

/// The first source of the first cluster, as the operator sees it.
async fn source(edge: &Edge) -> Value {
    let status = client::get(edge.admin(), "/v1/status").await.unwrap();
    status.json()["clusters"][0]["sources"][0].clone()
}

/// Waits until the endpoints of the first cluster are these, in this order.
async fn wait_for_endpoints(edge: &Edge, endpoints: &[&Endpoint]) {
    let wanted: Vec<String> = endpoints
        .iter()
        .map(|one| one.address().to_string())
        .collect();
    wait_until(&format!("the endpoints {wanted:?}"), async || {
        (shown(edge).await? == wanted).then_some(())
    })
    .await;
}

/// The endpoints of the first cluster, as the operator sees them.
async fn shown(edge: &Edge) -> Option<Vec<String>> {
    let status = client::get(edge.admin(), "/v1/status").await.ok()?.json();
    let shown = status["clusters"][0]["endpoints"].as_array()?.iter();
    let shown = shown.filter_map(|one| Some(one["address"].as_str()?.to_owned()));
    Some(shown.collect())
}

/// In the order in which a source is shown.
fn by_address<const N: usize>(mut endpoints: [&Endpoint; N]) -> [&Endpoint; N] {
    endpoints.sort_by_key(|one| one.address());
    endpoints
}

/// Replaces a file in one step, as careful writers do.
fn replace(file: &Path, text: &str) {
    let next = file.with_extension("next");
    fs::write(&next, text).unwrap();
    fs::rename(&next, file).unwrap();
}

fn list(endpoints: &[&Endpoint]) -> String {
    let addresses = endpoints.iter().map(|one| one.address().to_string());
    json!(addresses.collect::<Vec<_>>()).to_string()
}

fn gently(edge: &Edge) -> Load {
    Load::start(edge.http(), Duration::from_millis(5), vec![Ask::get("/")])
}
