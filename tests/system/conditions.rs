//! Which route a request takes by more than host and path. Never looks at what happens there.

use portcullis_testkit::{Connection, Endpoint};
use serde_json::{Value, json};

use super::Setup;
use crate::harness::Edge;

type Sent<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);

/// An edge whose routes answer with their own name: `keys` by name, and `else` for all others.
async fn edge(routes: &[(&str, Value)]) -> (Edge, Endpoint) {
    let unused = Endpoint::start("unused").await;
    let respond = |name: &str, keys: &Value| {
        let mut route = keys.clone();
        route["name"] = json!(name);
        route["respond"] = json!({ "body": name });
        route
    };
    let mut all: Vec<Value> = vec![json!({ "path": "/unused", "cluster": "main" })];
    all.push(respond("else", &json!({})));
    all.extend(routes.iter().map(|(name, keys)| respond(name, keys)));
    let setup = Setup::new(&[&unused]).set("routes", json!(all));
    (setup.start().await, unused)
}

async fn taken(edge: &Edge, (method, path, fields): Sent<'_>) -> String {
    let mut client = edge.connect().await;
    let response = client.request(method, path, fields, b"").await.unwrap();
    assert_eq!(response.status, 200);
    response.text()
}

async fn expect(edge: &Edge, sent: &[(Sent<'_>, &str)]) {
    for (sent, expected) in sent {
        assert_eq!(taken(edge, *sent).await, *expected, "{sent:?}");
    }
}

#[tokio::test]
async fn methods_headers_parameters_and_cookies_choose_a_route() {
    let (edge, _unused) = edge(&[
        ("post", json!({ "methods": ["POST", "PUT"] })),
        ("present", json!({ "headers": ["X-Debug"] })),
        (
            "exact",
            json!({ "headers": [{ "name": "X-Version", "value": "green" }] }),
        ),
        (
            "regex",
            json!({ "headers": [{ "name": "X-Version", "regex": "v[0-9]+" }] }),
        ),
        (
            "query",
            json!({ "query": [{ "name": "v", "value": "a b" }] }),
        ),
        (
            "cookie",
            json!({ "cookies": [{ "name": "beta", "value": "yes" }] }),
        ),
        (
            "both",
            json!({ "headers": [{ "name": "X-Version", "value": "green" }], "query": ["v"] }),
        ),
    ])
    .await;
    expect(
        &edge,
        &[
            (("GET", "/", &[]), "else"),
            (("POST", "/", &[]), "post"),
            (("PUT", "/", &[]), "post"),
            (("GET", "/", &[("x-debug", "")]), "present"),
            (("GET", "/", &[("X-Version", "green")]), "exact"),
            (("GET", "/", &[("X-Version", "Green")]), "else"),
            (
                ("GET", "/", &[("X-Version", "blue"), ("x-version", "green")]),
                "exact",
            ),
            (("GET", "/", &[("X-Version", "v12")]), "regex"),
            (("GET", "/", &[("X-Version", "v12x")]), "else"),
            (("GET", "/?v=a%20b", &[]), "query"),
            (("GET", "/?x=1&v=a+b", &[]), "query"),
            (("GET", "/?v=ab", &[]), "else"),
            (("GET", "/", &[("Cookie", "a=1; beta=yes")]), "cookie"),
            (("GET", "/", &[("Cookie", "beta=no")]), "else"),
            (("GET", "/?v", &[("X-Version", "green")]), "both"),
            (("POST", "/", &[("X-Version", "green")]), "exact"),
        ],
    )
    .await;
}

#[tokio::test]
async fn expressions_stand_between_exact_paths_and_prefixes() {
    let (edge, _unused) = edge(&[
        ("prefix", json!({ "path": "/users" })),
        ("regex", json!({ "regex": "/users/[0-9]+(/.*)?" })),
        ("exact", json!({ "exact": "/users/7" })),
    ])
    .await;
    expect(
        &edge,
        &[
            (("GET", "/users/7", &[]), "exact"),
            (("GET", "/users/8", &[]), "regex"),
            (("GET", "/users/7/x", &[]), "regex"),
            (("GET", "/users/ann", &[]), "prefix"),
            (("GET", "/x/users/8", &[]), "else"),
        ],
    )
    .await;
}

#[tokio::test]
async fn sources_are_the_clients_behind_trusted_proxies() {
    let a = Endpoint::start("a").await;
    let edge = Setup::new(&[&a])
        .set("trusted_proxies", json!(["127.0.0.2/32"]))
        .set(
            "routes.1",
            json!({ "name": "inside", "source": ["10.0.0.0/8"], "respond": { "body": "inside" } }),
        )
        .start()
        .await;
    let claim = [("X-Forwarded-For", "10.1.2.3")];
    for (source, is_believed) in [("127.0.0.2", true), ("127.0.0.1", false)] {
        let source = source.parse().unwrap();
        let mut client = Connection::open_from(source, edge.http()).await.unwrap();
        let response = client.request("GET", "/", &claim, b"").await.unwrap();
        assert_eq!(response.text() == "inside", is_believed);
    }
}

#[tokio::test]
async fn a_header_leads_to_the_preview() {
    let (blue, green) = (
        Endpoint::start("blue").await,
        Endpoint::start("green").await,
    );
    let edge = Setup::new(&[&blue])
        .cluster("green", &[&green])
        .set(
            "routes.1",
            json!({ "name": "preview", "headers": [{ "name": "X-Preview", "value": "green" }], "cluster": "green" }),
        )
        .start()
        .await;
    let mut client = edge.connect().await;
    let preview = [("X-Preview", "green")];
    let seen = client.request("GET", "/", &preview, b"").await.unwrap();
    assert_eq!(seen.endpoint(), "green");
    assert_eq!(client.get("/").await.unwrap().endpoint(), "blue");
}
