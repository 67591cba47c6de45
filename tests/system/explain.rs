//! `portcullis explain` and `POST /v1/explain` against a running edge, and beside real requests.

use std::process::Stdio;

use portcullis_testkit::{Connection, Endpoint, client};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::harness::{ADMIN_TOKEN, Edge, PORTCULLIS};
use crate::native::Setup;

async fn run(edge: &Edge, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(PORTCULLIS);
    command
        .arg("explain")
        .args(arguments)
        .env("PORTCULLIS_ADMIN", edge.admin().to_string())
        .env("PORTCULLIS_ADMIN_TOKEN", ADMIN_TOKEN)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = command.output().await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let code = output.status.code();
    (code, text(output.stdout), text(output.stderr))
}

async fn explained(edge: &Edge, arguments: &[&str]) -> Value {
    let (code, answer, complaint) = run(edge, &[arguments, &["--json"]].concat()).await;
    assert_eq!(code, Some(0), "{arguments:?}: {complaint}");
    serde_json::from_str(&answer).unwrap()
}

/// Status and document.
async fn asked(edge: &Edge, token: Option<&str>, body: &str) -> (u16, Value) {
    let fields: Vec<_> = token
        .iter()
        .map(|token| format!("Bearer {token}"))
        .collect();
    let fields: Vec<_> = fields
        .iter()
        .map(|value| ("Authorization", value.as_str()))
        .collect();
    let mut connection = Connection::open(edge.admin()).await.unwrap();
    let answer = connection.request("POST", "/v1/explain", &fields, body.as_bytes());
    let answer = answer.await.unwrap();
    (answer.status, answer.json())
}

#[tokio::test]
async fn the_endpoint_that_is_explained_is_the_one_that_answers() {
    let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
    let c = Endpoint::start("c").await;
    let edge = Setup::new(&[&a, &b, &c]).with_token().start().await;
    let name = |address: &str| {
        let all = [("a", &a), ("b", &b), ("c", &c)];
        let found = all
            .iter()
            .find(|(_, one)| one.address().to_string() == address);
        found.unwrap().0
    };
    for _ in 0..7 {
        let first = explained(&edge, &["/x"]).await;
        let again = explained(&edge, &["GET /x"]).await;
        let endpoint = first["ends"]["endpoint"].as_str().unwrap();
        assert_eq!(again["ends"]["endpoint"], endpoint, "no turn was moved");
        assert_eq!(edge.get("/x").await.endpoint(), name(endpoint));
    }
    let all = [&a, &b, &c].map(|one| one.requests()).iter().sum::<usize>();
    assert_eq!(all, 7, "nothing but real requests came");
    let shown = run(&edge, &["POST /x", "-H", "Content-Length: 0"]).await.1;
    assert!(shown.starts_with("goes to 127.0.0.1:"), "{shown}");
    assert!(shown.contains("as the balance rule says"), "{shown}");
}

#[tokio::test]
async fn what_the_edge_answers_by_itself_is_explained_with_its_reason() {
    let endpoint = Endpoint::start("a").await;
    let routes = json!([
        { "name": "api", "path": "/api", "methods": ["GET"], "cluster": "main" },
        { "name": "away", "path": "/away", "redirect": { "to": "https://example.com/" } },
        { "name": "tight", "path": "/tight", "cluster": "main", "rate_limits": ["few"] },
    ]);
    let edge = Setup::new(&[&endpoint])
        .with_token()
        .set("routes", routes)
        .set("rate_limits", json!({ "few": { "rate": "1/h" } }))
        .start()
        .await;
    let ends = async |request: &str| {
        let ends = explained(&edge, &[request]).await["ends"].clone();
        let (method, path) = request.split_once(' ').unwrap();
        let mut connection = edge.connect().await;
        let answer = connection.request(method, path, &[], b"").await.unwrap();
        assert_eq!(ends["status"], answer.status, "{request}: {ends}");
        ends["outcome"].as_str().unwrap().to_owned()
    };
    assert_eq!(ends("GET /none").await, "refused_no_route");
    assert_eq!(ends("POST /api").await, "refused_no_route");
    assert_eq!(ends("GET /away").await, "redirected");
    assert_eq!(ends("TRACE /api").await, "client_method");
    assert_eq!(ends("GET /a/../b").await, "client_malformed");
    let near = explained(&edge, &["POST /api"]).await;
    let listed = near["other_routes"]["listed"].as_array().unwrap();
    assert_eq!(listed[0]["name"], "api");
    assert_eq!(listed[0]["why_not"], "asks for method: GET");
    assert_eq!(
        explained(&edge, &["/tight"]).await["limits"][0]["result"],
        "admits"
    );
    assert_eq!(edge.get("/tight").await.status, 200);
    assert_eq!(ends("GET /tight").await, "refused_rate_limit");
}

#[tokio::test]
async fn endpoints_that_take_nothing_are_listed_with_their_reasons() {
    let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
    let edge = Setup::new(&[&a, &b]).with_token().start().await;
    let drain = format!("clusters/main/endpoints/{}/drain", a.address());
    assert_eq!(edge.change(&drain, &json!({})).await.status, 200);
    let answer = explained(&edge, &["/"]).await;
    let endpoints = answer["endpoints"].as_array().unwrap();
    let of = |one: &Endpoint| {
        let address = one.address().to_string();
        endpoints
            .iter()
            .find(|told| told["address"] == address.as_str())
            .unwrap()
    };
    assert_eq!(of(&a)["skipped"], "draining");
    assert_eq!(of(&a)["why"][0], "drained by the operator");
    assert_eq!(of(&b)["chosen"], true);
    let shown = run(&edge, &["/", "--tried", &b.address().to_string()])
        .await
        .1;
    assert!(
        shown.contains(&format!("goes to {}", b.address())),
        "nobody else: {shown}"
    );
}

#[tokio::test]
async fn questions_are_answered_to_readers_only_and_mistakes_are_named() {
    let endpoint = Endpoint::start("a").await;
    let edge = Setup::new(&[&endpoint]).with_token().start().await;
    let good = r#"{"method": "GET", "target": "/", "seed": "ff"}"#;
    assert_eq!(asked(&edge, None, good).await.0, 401);
    let (status, answer) = asked(&edge, Some(ADMIN_TOKEN), good).await;
    assert_eq!((status, &answer["seed"]), (200, &json!("00000000000000ff")));
    assert_eq!(answer["revision"], 1);
    for (body, word) in [
        ("", "JSON object"),
        ("[1]", "JSON object"),
        (r#"{"method": "GET"}"#, "`target` is missing"),
        (
            r#"{"method": "GET", "target": "/", "target": "/"}"#,
            "twice",
        ),
        (
            r#"{"method": "GET", "target": "/", "headers": [["a", "b"], ["c"]]}"#,
            "headers[1]",
        ),
        (
            r#"{"method": "GET", "target": "/", "headers": [["a", "b\r\nc: d"]]}"#,
            "headers[0]",
        ),
        (r#"{"method": "GET\r\nX: y", "target": "/"}"#, "`method`"),
        (
            r#"{"method": "GET", "target": "/", "client": "me"}"#,
            "`client`",
        ),
    ] {
        let (status, answer) = asked(&edge, Some(ADMIN_TOKEN), body).await;
        let detail = answer["detail"].as_str().unwrap();
        assert_eq!(status, 400, "{body}: {detail}");
        assert!(detail.contains(word), "{body}: {detail}");
    }
    let huge = json!({ "method": "GET", "target": "/x".repeat(40_000) }).to_string();
    assert_eq!(asked(&edge, Some(ADMIN_TOKEN), &huge).await.0, 413);
    for (target, outcome) in [
        ("/x".repeat(10_000), "client_target_too_long"),
        ("/%ff%00".to_owned(), "client_malformed"),
        ("/a b".to_owned(), "client_malformed"),
    ] {
        let body = json!({ "method": "GET", "target": target }).to_string();
        let (status, answer) = asked(&edge, Some(ADMIN_TOKEN), &body).await;
        assert_eq!(
            (status, &answer["ends"]["outcome"]),
            (200, &json!(outcome)),
            "{answer}"
        );
    }
    let (code, _, complaint) = run(&edge, &["/", "--listener", "htp"]).await;
    assert_eq!(code, Some(1));
    assert!(complaint.contains("Did you mean `http`?"), "{complaint}");
    let metrics = client::get(edge.admin(), "/metrics").await.unwrap().text();
    let counted = |line: &&str| line.contains("client_malformed") && !line.ends_with(" 0");
    assert_eq!(metrics.lines().find(counted), None, "nothing is counted");
}

#[tokio::test]
async fn a_file_is_explained_without_an_edge() {
    let endpoint = Endpoint::start("a").await;
    let health = json!([{ "path": "/health" }]);
    let edge = Setup::new(&[&endpoint])
        .with_token()
        .set("clusters.main.health", health)
        .start()
        .await;
    let file = edge.directory().join("edge.yaml");
    let file = file.to_str().unwrap();
    let answer = explained(&edge, &["/x", "--config", file, "--offline"]).await;
    assert_eq!(
        answer["ends"]["endpoint"],
        endpoint.address().to_string().as_str()
    );
    let wrong = ["/x", "--config", file, "--offline", "--from", "me"];
    let (code, _, complaint) = run(&edge, &wrong).await;
    assert_eq!(code, Some(1));
    assert!(complaint.contains("`client`"), "{complaint}");
}
