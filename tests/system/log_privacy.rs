//! What the access log does not tell of persons.

use portcullis_testkit::{Authority, Connection, Endpoint, wait_until};
use serde_json::{Value, json};

use super::Setup;
use crate::harness::Edge;

const CLIENT: &str = "203.0.113.77";
const SECRET: &str = "ann-s3cret";

async fn edge(endpoint: &Endpoint, log: Value) -> Edge {
    let setup = Setup::new(&[endpoint]);
    let mut all = json!({ "to": setup.directory().join("access.log") });
    for (key, value) in log.as_object().unwrap() {
        all[key] = value.clone();
    }
    setup
        .set("access_log", all)
        .set("trusted_proxies", json!(["127.0.0.0/8"]))
        .start()
        .await
}

/// A request with something of a person in every place.
async fn ask(edge: &Edge, client: &str) {
    let fields = [
        ("X-Forwarded-For", client),
        ("User-Agent", SECRET),
        ("Cookie", SECRET),
        ("Authorization", SECRET),
        ("Referer", SECRET),
    ];
    let path = format!("/{SECRET}?token={SECRET}");
    let mut connection = edge.connect().await;
    let response = connection.request("GET", &path, &fields, b"").await;
    assert_eq!(response.unwrap().status, 200);
}

/// The line of such a request, the only one.
async fn line(edge: &Edge, client: &str) -> Value {
    ask(edge, client).await;
    edge.wait_for_log(1, |_| true).await.pop().unwrap()
}

fn raw(edge: &Edge) -> String {
    std::fs::read_to_string(edge.directory().join("access.log")).unwrap()
}

#[tokio::test]
async fn addresses_are_cut_to_their_network() {
    let a = Endpoint::start("a").await;
    for (client, expected) in [
        (CLIENT, "203.0.113.0"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1::"),
    ] {
        let edge = edge(&a, json!({ "truncate_addresses": true })).await;
        assert_eq!(line(&edge, client).await["client"], expected);
        assert!(!raw(&edge).contains(client));
    }
}

#[tokio::test]
async fn fields_are_hashed_the_same_for_the_same_value_and_left_out() {
    let a = Endpoint::start("a").await;
    let log = json!({ "hash": ["client", "path", "user_agent"], "drop": ["user_agent", "host"] });
    let edge = edge(&a, log).await;
    for client in [CLIENT, CLIENT, "203.0.113.78"] {
        ask(&edge, client).await;
    }
    let lines = edge.wait_for_log(3, |_| true).await;
    let of = |at: usize, key: &str| lines[at][key].as_str().map(str::to_owned);
    let client = of(0, "client").unwrap();
    assert!(client.len() == 16 && client.bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert_eq!(of(1, "client"), Some(client.clone()));
    assert_ne!(of(2, "client"), Some(client));
    assert_eq!(of(0, "path"), of(2, "path"));
    assert_eq!((of(0, "user_agent"), of(0, "host")), (None, None));
    let raw = raw(&edge);
    assert!(!raw.contains(CLIENT) && !raw.contains(SECRET), "{raw}");
}

#[tokio::test]
async fn salts_differ_between_processes() {
    let a = Endpoint::start("a").await;
    let mut hashes = Vec::new();
    for _ in 0..2 {
        let edge = edge(&a, json!({ "hash": ["client"] })).await;
        hashes.push(line(&edge, CLIENT).await["client"].clone());
    }
    assert_ne!(hashes[0], hashes[1]);
}

#[tokio::test]
async fn a_salt_is_forgotten_after_its_time() {
    let a = Endpoint::start("a").await;
    let edge = edge(&a, json!({ "hash": ["client"], "salt_rotation": "1s" })).await;
    wait_until("another hash of the same client", async || {
        edge.get("/").await;
        let lines = edge.log();
        let differs = lines
            .iter()
            .any(|line| line["client"] != lines[0]["client"]);
        differs.then_some(())
    })
    .await;
}

#[tokio::test]
async fn queries_cookies_and_tokens_are_never_written() {
    let a = Endpoint::start("a").await;
    let edge = edge(&a, json!({ "drop": ["path", "user_agent"] })).await;
    assert_eq!(line(&edge, CLIENT).await["client"], CLIENT);
    assert!(!raw(&edge).contains(SECRET));
}

#[tokio::test]
async fn warnings_name_clients_as_the_access_log_does() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let identity = authority.issue("app", &["app.example"]);
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = closed.local_addr().unwrap().to_string();
    drop(closed);
    let keys = json!({
        "tls": { "certificates": [{ "cert": identity.cert, "key": identity.key }] },
        "passthrough": [{ "sni": "gone.example", "cluster": "gone" }],
    });
    let setup = Setup::new(&[&a]);
    let log = json!({ "to": setup.directory().join("access.log"), "truncate_addresses": true });
    let edge = setup
        .set("access_log", log)
        .set("clusters.gone", json!({ "endpoints": [nobody] }))
        .listener("tls", &keys)
        .start()
        .await;
    let address = edge.listener(1);
    let passed = Connection::open_tls(address, "gone.example", authority.client()).await;
    assert!(passed.is_err());
    let warning = wait_until("the warning", async || {
        let lines = edge.process.stderr();
        let mut lines = lines.into_iter();
        lines.find(|line| line.contains("no endpoint for a passthrough"))
    })
    .await;
    assert!(warning.contains("127.0.0.0"), "{warning}");
    assert!(!warning.contains("127.0.0.1"), "{warning}");
}
