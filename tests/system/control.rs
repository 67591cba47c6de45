//! Several operators at one edge: who may do what, who is told of whose change, and what is written
//! of it.

use portcullis_testkit::{Connection, Endpoint, Response, wait_until};
use serde_json::{Value, json};

use crate::harness::{ADMIN_TOKEN, Edge};
use crate::native::Setup;

const READER: &str = "fedcba9876543210fedcba9876543210";
const OPERATOR: &str = "00112233445566778899aabbccddeeff";

/// One cluster, an operator `ada`, and a reader `bob` whose token lies in a file.
fn two_operators(endpoints: &[&Endpoint]) -> Setup {
    let setup = Setup::new(endpoints);
    std::fs::write(setup.directory().join("bob.token"), format!("{READER}\n")).unwrap();
    let audit = setup.directory().join("audit.log");
    let tokens = json!([
        { "name": "ada", "role": "operate", "token": OPERATOR },
        { "name": "bob", "role": "read", "token_file": "bob.token" },
    ]);
    setup
        .set("admin.tokens", tokens)
        .set("audit_log", json!(audit))
}

/// One request to the operator's listener.
async fn ask(edge: &Edge, verb: &str, path: &str, fields: &[(&str, &str)], body: &str) -> Response {
    let mut operator = Connection::open(edge.admin()).await.unwrap();
    let (hosts, fields): (Vec<_>, Vec<_>) = fields.iter().partition(|(name, _)| *name == "Host");
    if let Some((_, host)) = hosts.first() {
        operator = operator.with_host(host);
    }
    let asked = operator.request(verb, path, &fields, body.as_bytes());
    asked.await.unwrap()
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

fn drain(endpoint: &Endpoint) -> String {
    format!("/v1/clusters/main/endpoints/{}/drain", endpoint.address())
}

/// All lines of the audit so far.
fn audit(edge: &Edge) -> Vec<Value> {
    let text = std::fs::read_to_string(edge.directory().join("audit.log")).unwrap_or_default();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

#[tokio::test]
async fn a_reader_sees_everything_and_changes_nothing() {
    let endpoint = Endpoint::start("a").await;
    let edge = two_operators(&[&endpoint]).start().await;
    let (reader, operator) = (bearer(READER), bearer(OPERATOR));
    for path in [
        "/v1/status",
        "/v1/bans",
        "/v1/audit",
        "/v1/openapi.json",
        "/api/v1/load-balancer/health",
        "/api/v1/load-balancer/metrics",
        "/api/v1/load-balancer/instances",
    ] {
        assert_eq!(ask(&edge, "GET", path, &[], "").await.status, 401, "{path}");
        for token in [&reader, &operator] {
            let fields = [("Authorization", token.as_str())];
            let shown = ask(&edge, "GET", path, &fields, "").await;
            assert_eq!(shown.status, 200, "{path}: {}", shown.text());
        }
    }
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(ask(&edge, "GET", path, &[], "").await.status, 200, "{path}");
    }
    let refused = ask(
        &edge,
        "POST",
        &drain(&endpoint),
        &[("Authorization", &reader)],
        "",
    )
    .await;
    assert_eq!(refused.status, 403);
    assert!(
        refused.text().contains("`bob` may only read"),
        "{}",
        refused.text()
    );
    assert_eq!(edge.get("/").await.status, 200, "nothing was drained");
    let unknown = ask(&edge, "GET", "/v1/x", &[], "").await;
    assert_eq!(unknown.status, 401, "not even what exists is told");
}

#[tokio::test]
async fn metrics_can_be_closed() {
    let endpoint = Endpoint::start("a").await;
    let edge = two_operators(&[&endpoint])
        .set("admin.open_metrics", json!(false))
        .start()
        .await;
    assert_eq!(ask(&edge, "GET", "/metrics", &[], "").await.status, 401);
    let reader = bearer(READER);
    let shown = ask(&edge, "GET", "/metrics", &[("Authorization", &reader)], "").await;
    assert_eq!(shown.status, 200);
    assert!(shown.text().contains("portcullis_edge_revision 1\n"));
}

#[tokio::test]
async fn pages_of_strangers_are_kept_out() {
    let endpoint = Endpoint::start("a").await;
    let edge = Setup::new(&[&endpoint])
        .with_token()
        .set("admin.hosts", json!(["edge.example.com"]))
        .start()
        .await;
    let (token, own) = (bearer(ADMIN_TOKEN), format!("http://{}", edge.admin()));
    for (field, value, status) in [
        ("Origin", own.as_str(), 200),
        ("Origin", "http://evil.example", 403),
        ("Origin", "null", 403),
        ("Sec-Fetch-Site", "same-origin", 200),
        ("Sec-Fetch-Site", "cross-site", 403),
        ("Host", "edge.example.com:2019", 200),
        ("Host", "localhost", 200),
        ("Host", "evil.example:2019", 403),
    ] {
        let fields = [("Authorization", token.as_str()), (field, value)];
        for (verb, path) in [("GET", "/v1/status".to_owned()), ("POST", drain(&endpoint))] {
            let answered = ask(&edge, verb, &path, &fields, "").await;
            assert_eq!(answered.status, status, "{verb} {field}: {value}");
        }
    }
}

#[tokio::test]
async fn the_later_of_two_operators_is_told_what_the_first_one_did() {
    let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
    let edge = two_operators(&[&a, &b]).start().await;
    let token = bearer(OPERATOR);
    let auth = ("Authorization", token.as_str());
    let status = ask(&edge, "GET", "/v1/status", &[auth], "").await;
    let seen = status.field("etag").unwrap().to_owned();
    assert_eq!(seen, format!("\"r{}\"", status.json()["revision"]));
    let conditional = [auth, ("If-Match", seen.as_str())];
    let first = ask(&edge, "POST", &drain(&a), &conditional, "").await;
    assert_eq!(first.status, 200, "{}", first.text());
    let next = first.field("etag").unwrap().to_owned();
    assert_ne!(next, seen);
    let second = ask(&edge, "POST", &drain(&b), &conditional, "").await;
    assert_eq!(second.status, 412, "{}", second.text());
    assert_eq!(second.field("etag"), Some(next.as_str()));
    let told = second.json();
    assert_eq!(told["revision"], first.json()["revision"]);
    let since = told["changed_since"].as_array().unwrap();
    assert_eq!(since.len(), 1);
    assert_eq!(since[0]["who"], "ada");
    assert!(drain(&a).ends_with(since[0]["what"].as_str().unwrap()));
    assert_eq!(edge.get("/").await.endpoint(), "b", "b was not drained");
    let again = ask(&edge, "POST", &drain(&b), &[auth, ("If-Match", &next)], "").await;
    assert_eq!(again.status, 200, "{}", again.text());
}

#[tokio::test]
async fn the_audit_tells_who_changed_what_and_what_was_refused() {
    let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
    let edge = two_operators(&[&a, &b]).start().await;
    let (operator, reader) = (bearer(OPERATOR), bearer(READER));
    let ada = [("Authorization", operator.as_str())];
    let weight = format!("/v1/clusters/main/endpoints/{}/weight", a.address());
    let body = r#"{"weight": 7}"#;
    assert_eq!(ask(&edge, "POST", &weight, &ada, body).await.status, 200);
    let bob = [("Authorization", reader.as_str())];
    assert_eq!(ask(&edge, "POST", &drain(&a), &bob, "").await.status, 403);
    assert_eq!(ask(&edge, "POST", &drain(&a), &[], "").await.status, 401);
    let unknown = ask(
        &edge,
        "POST",
        "/v1/routes/al/switch",
        &ada,
        r#"{"cluster": "main"}"#,
    )
    .await;
    assert!(
        unknown.text().contains("Did you mean `all`?"),
        "{}",
        unknown.text()
    );
    let lines = wait_until("four lines of the audit", async || {
        Some(audit(&edge)).filter(|lines| lines.len() >= 4)
    })
    .await;
    let told = |line: &Value| {
        let text = |key: &str| line[key].as_str().unwrap_or("-").to_owned();
        [text("who"), text("role"), text("outcome")].join(" ")
    };
    let told: Vec<String> = lines.iter().map(told).collect();
    assert_eq!(
        told,
        [
            "ada operate done",
            "bob read refused",
            "unknown - refused",
            "ada operate refused",
        ]
    );
    assert_eq!(lines[0]["before"], json!({ "state": "in", "weight": 1 }));
    assert_eq!(lines[0]["after"], json!({ "state": "in", "weight": 7 }));
    assert_eq!(lines[0]["revision"], 2);
    assert!(
        lines[0]["address"]
            .as_str()
            .unwrap()
            .starts_with("127.0.0.1:")
    );
    assert!(lines[0]["time"].as_str().unwrap().ends_with('Z'));
    assert!(lines[3]["why"].as_str().unwrap().contains("no route `al`"));
    let shown = ask(&edge, "GET", "/v1/audit", &bob, "").await.json();
    let who: Vec<_> = shown["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| &e["who"])
        .collect();
    assert_eq!(
        who,
        ["ada", "bob", "ada"],
        "newest first, without strangers"
    );
    let everything = format!("{lines:?}{shown}{}", edge.process.output());
    for token in [OPERATOR, READER] {
        assert!(!everything.contains(token));
    }
}

#[tokio::test]
async fn an_audit_that_cannot_be_written_is_counted_and_told_in_the_log() {
    let endpoint = Endpoint::start("a").await;
    let edge = two_operators(&[&endpoint])
        .set("audit_log", json!("/dev/full"))
        .start()
        .await;
    let operator = bearer(OPERATOR);
    let drained = ask(
        &edge,
        "POST",
        &drain(&endpoint),
        &[("Authorization", &operator)],
        "",
    )
    .await;
    assert_eq!(drained.status, 200);
    edge.wait_for_metric("portcullis_edge_audit_lines_dropped_total", &[], 1.0)
        .await;
    wait_until("the line in the log", async || {
        let log = edge.process.output();
        (log.contains("audit log cannot be written") && log.contains("ada")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_the_document_promises_is_served() {
    let endpoint = Endpoint::start("a").await;
    let edge = two_operators(&[&endpoint]).start().await;
    let operator = bearer(OPERATOR);
    let ada = [("Authorization", operator.as_str())];
    let document = ask(&edge, "GET", "/v1/openapi.json", &ada, "").await.json();
    assert_eq!(document["openapi"], "3.1.0");
    for (path, verbs) in document["paths"].as_object().unwrap() {
        let path = path
            .replace("{cluster}", "main")
            .replace("{endpoint}", &endpoint.address().to_string())
            .replace("{route}", "all");
        for (verb, operation) in verbs.as_object().unwrap() {
            let verb = verb.to_uppercase();
            // An unknown member: whatever takes a body reads it, and nothing is changed.
            let body = if verb == "POST" { r#"{"x": 1}"# } else { "" };
            let answered = ask(&edge, &verb, &path, &ada, body).await;
            let expected = if verb == "POST" { 400 } else { 200 };
            assert_eq!(
                answered.status,
                expected,
                "{verb} {path}: {}",
                answered.text()
            );
            let stranger = ask(&edge, &verb, &path, &[], body).await;
            let is_open = operation["x-role"].is_null();
            let expected = if is_open { 200 } else { 401 };
            assert_eq!(stranger.status, expected, "{verb} {path}");
            let other = if verb == "POST" { "GET" } else { "POST" };
            let refused = ask(&edge, other, &path, &ada, "").await;
            assert_eq!(refused.status, 405, "{other} {path}");
        }
    }
}

#[tokio::test]
async fn a_path_with_a_slip_is_understood() {
    let endpoint = Endpoint::start("a").await;
    let edge = Setup::new(&[&endpoint]).with_token().start().await;
    for (path, word) in [
        ("staus", "Did you mean /v1/status?"),
        ("bans/ad", "Did you mean /v1/bans/add?"),
        (
            "clusters/main/chek",
            "Did you mean /v1/clusters/{cluster}/check?",
        ),
    ] {
        let unknown = edge.ask(path).await;
        assert_eq!(unknown.status, 404);
        assert!(unknown.text().contains(word), "{}", unknown.text());
    }
    let unknown = edge.change("clusters/mian/check", &json!({})).await;
    assert!(
        unknown.text().contains("Did you mean `main`?"),
        "{}",
        unknown.text()
    );
}
