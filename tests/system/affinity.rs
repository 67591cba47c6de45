//! Cookie affinity: a client stays with its endpoint, and cannot choose one.

use portcullis_testkit::{Endpoint, Response, wait_until};
use serde_json::{Value, json};

use super::Setup;
use crate::harness::Edge;

struct Three {
    endpoints: Vec<Endpoint>,
    edge: Edge,
}

async fn three(affinity: Value) -> Three {
    let mut endpoints = Vec::new();
    for name in ["a", "b", "c"] {
        endpoints.push(Endpoint::start(name).await);
    }
    let all: Vec<&Endpoint> = endpoints.iter().collect();
    let edge = Setup::new(&all)
        .set("clusters.main.affinity", affinity)
        .start()
        .await;
    Three { endpoints, edge }
}

fn cookie_of(response: &Response) -> Option<String> {
    let cookie = response.field("set-cookie")?;
    Some(cookie.split(';').next()?.to_owned())
}

async fn with_cookie(edge: &Edge, cookie: &str) -> Response {
    let mut client = edge.connect().await;
    client
        .request("GET", "/", &[("Cookie", cookie)], b"")
        .await
        .unwrap()
}

#[tokio::test]
async fn without_affinity_no_cookie_is_set() {
    let a = Endpoint::start("a").await;
    let edge = Setup::new(&[&a]).start().await;
    assert_eq!(edge.get("/").await.field("set-cookie"), None);
}

#[tokio::test]
async fn a_cookie_keeps_a_client_with_its_endpoint() {
    let three = three(json!({})).await;
    for _ in 0..3 {
        let first = three.edge.get("/").await;
        let cookie = cookie_of(&first).expect("a cookie");
        assert!(cookie.starts_with("_portcullis_affinity="), "{cookie}");
        for _ in 0..6 {
            let next = with_cookie(&three.edge, &format!("theme=dark; {cookie}; lang=en")).await;
            assert_eq!(next.endpoint(), first.endpoint());
        }
    }
}

#[tokio::test]
async fn the_cookie_is_opaque_and_guarded() {
    let three = three(json!({})).await;
    let response = three.edge.get("/").await;
    let cookie = response.field("set-cookie").unwrap().to_owned();
    for attribute in ["HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=3600"] {
        assert!(cookie.contains(attribute), "{attribute} in {cookie}");
    }
    for endpoint in &three.endpoints {
        let address = endpoint.address();
        assert!(
            !cookie.contains(&address.port().to_string()),
            "{address} in {cookie}"
        );
    }
}

#[tokio::test]
async fn a_forged_cookie_counts_as_none() {
    let three = three(json!({})).await;
    let genuine = cookie_of(&three.edge.get("/").await).unwrap();
    let (name, value) = genuine.split_once('=').unwrap();
    let flipped: String = value
        .char_indices()
        .map(|(at, c)| {
            if at == value.len() / 2 {
                if c == 'A' { 'B' } else { 'A' }
            } else {
                c
            }
        })
        .collect();
    let forgeries = [
        String::new(),
        "127.0.0.1:80".to_owned(),
        flipped,
        format!("{value}A"),
        value[..value.len() - 1].to_owned(),
        "x".repeat(4_000),
    ];
    for forged in forgeries {
        let response = with_cookie(&three.edge, &format!("{name}={forged}")).await;
        assert_eq!(response.status, 200, "{forged:?}");
        assert!(cookie_of(&response).is_some(), "{forged:?} was believed");
    }
}

#[tokio::test]
async fn a_bound_client_moves_when_its_endpoint_is_gone() {
    let mut three = three(json!({})).await;
    let first = three.edge.get("/").await;
    let cookie = cookie_of(&first).unwrap();
    let gone = first.endpoint();
    three.endpoints.retain(|endpoint| endpoint.name() != gone);
    let next = with_cookie(&three.edge, &cookie).await;
    assert_eq!(next.status, 200);
    assert_ne!(next.endpoint(), gone);
    wait_until("a new binding", async || {
        cookie_of(&with_cookie(&three.edge, &cookie).await).filter(|new| *new != cookie)
    })
    .await;
}

#[tokio::test]
async fn the_application_does_not_see_the_cookie_and_keeps_its_own() {
    let three = three(json!({})).await;
    let cookie = cookie_of(&three.edge.get("/").await).unwrap();
    let response = with_cookie(&three.edge, &format!("theme=dark; {cookie}; lang=en")).await;
    let seen = response.echoed("cookie").join("; ");
    assert!(
        seen.contains("theme=dark") && seen.contains("lang=en"),
        "{seen}"
    );
}

#[tokio::test]
async fn two_edges_with_one_secret_honour_each_others_cookies() {
    let mut endpoints = Vec::new();
    for name in ["a", "b", "c"] {
        endpoints.push(Endpoint::start(name).await);
    }
    let all: Vec<&Endpoint> = endpoints.iter().collect();
    let start = async |secret: &str| {
        let affinity = json!({ "secret": secret });
        Setup::new(&all)
            .set("clusters.main.affinity", affinity)
            .start()
            .await
    };
    let (secret, other) = (
        "a-secret-of-32-characters-or-more!",
        "another-secret-of-32-characters!!",
    );
    let (one, two, stranger) = (start(secret).await, start(secret).await, start(other).await);
    let first = one.get("/").await;
    let cookie = cookie_of(&first).unwrap();
    for _ in 0..4 {
        let response = with_cookie(&two, &cookie).await;
        assert_eq!(
            (response.endpoint(), cookie_of(&response)),
            (first.endpoint(), None)
        );
    }
    assert!(cookie_of(&with_cookie(&stranger, &cookie).await).is_some());
}
