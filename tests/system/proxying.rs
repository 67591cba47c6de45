//! What passes through the edge unharmed over HTTP/1.1, and what it adds. Faults live elsewhere.

use std::collections::HashSet;

use portcullis_testkit::{Behavior, Connection, Endpoint, Response};
use serde_json::json;

use super::Setup;

#[tokio::test]
async fn a_request_and_its_answer_pass_whole() {
    let a = Endpoint::start("a").await;
    let edge = Setup::new(&[&a]).start().await;
    let mut client = edge.connect().await.with_host("app.example");
    let fields = [
        ("X-Custom", "one"),
        ("X-Custom", "two"),
        ("Accept", "text/plain"),
    ];
    let response = client
        .request("PUT", "/p/a%20th?q=1&r=%2F", &fields, b"body")
        .await
        .unwrap();
    assert_eq!(response.status, 200);
    assert_eq!(response.field("content-type"), Some("application/json"));
    let json = response.json();
    assert_eq!(json["method"], "PUT");
    assert_eq!(json["path"], "/p/a%20th?q=1&r=%2F");
    assert_eq!(json["body"], "body");
    assert_eq!(response.echoed("x-custom"), ["one", "two"]);
    assert_eq!(response.echoed("host"), ["app.example"]);
}

#[tokio::test]
async fn a_connection_carries_many_requests() {
    let a = Endpoint::start("a").await;
    let edge = Setup::new(&[&a]).start().await;
    let mut client = edge.connect().await;
    for number in 0..50 {
        let response = client.get(&format!("/{number}")).await.unwrap();
        assert_eq!(response.json()["path"], format!("/{number}"));
    }
    assert_eq!(a.requests(), 50);
    assert!(
        a.connections() <= 3,
        "the edge reuses connections: {}",
        a.connections()
    );
}

#[tokio::test]
async fn statuses_and_bodiless_answers_pass() {
    let a = Endpoint::start("a").await;
    let edge = Setup::new(&[&a]).start().await;
    let mut client = edge.connect().await;
    for status in [200, 201, 302, 400, 401, 403, 404, 418, 429, 500] {
        a.behave(Behavior::Status(status));
        assert_eq!(client.get("/").await.unwrap().status, status);
    }
    a.behave(Behavior::Echo);
    let head = client.request("HEAD", "/", &[], b"").await.unwrap();
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(client.get("/after-head").await.unwrap().status, 200);
}

#[tokio::test]
async fn bodies_pass_in_both_directions() {
    let a = Endpoint::start("a").await;
    let edge = Setup::new(&[&a]).start().await;
    let mut client = edge.connect().await;
    client
        .send(b"POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(
        client.response().await.unwrap().json()["body"],
        "hello world"
    );
    let large = vec![b'y'; 900_000];
    let response = client.request("POST", "/l", &[], &large).await.unwrap();
    assert_eq!(response.json()["body"].as_str().unwrap().len(), large.len());
    a.behave(Behavior::Bytes(5_000_000));
    assert_eq!(client.get("/big").await.unwrap().body.len(), 5_000_000);
}

#[tokio::test]
async fn a_waiting_client_is_told_to_continue() {
    let a = Endpoint::start("a").await;
    let edge = Setup::new(&[&a]).start().await;
    let mut client = edge.connect().await;
    client
        .send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        .await
        .unwrap();
    let early = client.read_some().await.unwrap();
    assert!(
        early.starts_with(b"HTTP/1.1 100"),
        "{:?}",
        String::from_utf8_lossy(&early)
    );
    client.send(b"ok").await.unwrap();
    assert_eq!(client.response().await.unwrap().json()["body"], "ok");
}

#[tokio::test]
async fn hop_by_hop_fields_end_at_the_edge() {
    let a = Endpoint::start("a").await;
    let edge = Setup::new(&[&a]).start().await;
    let fields = [
        ("Connection", "keep-alive, X-Hop"),
        ("X-Hop", "1"),
        ("Keep-Alive", "timeout=5"),
        ("TE", "gzip"),
        ("Proxy-Authorization", "Basic Zm9vOmJhcg=="),
        ("X-End", "1"),
    ];
    let response = edge
        .connect()
        .await
        .request("GET", "/", &fields, b"")
        .await
        .unwrap();
    for name in ["x-hop", "keep-alive", "proxy-authorization"] {
        assert_eq!(response.echoed(name), [] as [&str; 0], "{name}");
    }
    assert_eq!(response.echoed("x-end"), ["1"]);
}

#[tokio::test]
async fn x_served_by_names_the_endpoint_that_answered() {
    let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
    let edge = Setup::new(&[&a, &b]).start().await;
    let mut client = edge.connect().await;
    let mut pairs = HashSet::new();
    for _ in 0..10 {
        let response = client.get("/").await.unwrap();
        let served_by = response
            .field("x-served-by")
            .expect("X-Served-By")
            .to_owned();
        pairs.insert((response.endpoint(), served_by));
    }
    assert_eq!(pairs.len(), 2, "one value for each endpoint: {pairs:?}");
}

#[tokio::test]
async fn every_request_has_an_id_that_client_endpoint_and_log_share() {
    let a = Endpoint::start("a").await;
    let edge = Setup::new(&[&a]).start().await;
    let mut client = edge.connect().await;
    let mut seen = HashSet::new();
    for path in ["/1", "/2"] {
        let response = client.get(path).await.unwrap();
        let id = response
            .field("x-request-id")
            .expect("X-Request-Id")
            .to_owned();
        assert_eq!(response.echoed("x-request-id"), [id.as_str()]);
        assert_eq!(edge.log_of(path).await["request_id"], id);
        assert!(seen.insert(id));
    }
}

#[tokio::test]
async fn every_answer_says_when_it_was_given() {
    let a = Endpoint::start("a").await;
    let edge = Setup::new(&[&a]).start().await;
    let mut client = edge.connect().await;
    let dates = |response: &Response| {
        let names = response.fields.iter().map(|(name, _)| name);
        names
            .filter(|name| name.eq_ignore_ascii_case("date"))
            .count()
    };
    let added = client.get("/").await.unwrap();
    let added = added.field("date").expect("a date where there was none");
    assert!(added.ends_with(" GMT") && added.len() == 29, "{added}");
    a.behave(Behavior::Garbage);
    let own = client.get("/").await.unwrap();
    assert_eq!((own.status, dates(&own)), (502, 1));
    let mut stranger = edge.connect().await;
    let refused = stranger.request("GET", "/", &[("Host", "b")], b"");
    let refused = refused.await.unwrap();
    assert_eq!((refused.status, dates(&refused)), (400, 1));
}

#[tokio::test]
async fn a_trace_is_continued_and_a_broken_one_is_replaced() {
    let a = Endpoint::start("a").await;
    let edge = Setup::new(&[&a]).start().await;
    let mut client = edge.connect().await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let sent = format!("00-{trace}-00f067aa0ba902b7-01");
    let response = client
        .request("GET", "/t", &[("traceparent", &sent)], b"")
        .await
        .unwrap();
    let forwarded = response.echoed("traceparent");
    assert_eq!(forwarded.len(), 1);
    assert!(
        forwarded[0].starts_with(&format!("00-{trace}-")),
        "{forwarded:?}"
    );
    assert_eq!(edge.log_of("/t").await["trace_id"], trace);

    for broken in [
        "",
        "junk",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
    ] {
        let fields = [("traceparent", broken)];
        let response = client.request("GET", "/b", &fields, b"").await.unwrap();
        let forwarded = response.echoed("traceparent");
        assert_eq!(forwarded.len(), 1, "{broken:?}");
        let parts: Vec<&str> = forwarded[0].split('-').collect();
        assert_eq!(
            parts.iter().map(|p| p.len()).collect::<Vec<_>>(),
            [2, 32, 16, 2]
        );
        assert_ne!(parts[1], "0".repeat(32));
    }
}

#[tokio::test]
async fn the_access_log_has_one_line_for_each_request() {
    let a = Endpoint::start("a").await;
    let edge = Setup::new(&[&a]).start().await;
    let mut client = edge.connect().await.with_host("App.Example:8080");
    let fields = [
        ("Authorization", "Bearer s3cr3t"),
        ("Cookie", "s=c00kie"),
        ("User-Agent", "kit"),
    ];
    client
        .request("POST", "/one?token=s3cr3t", &fields, b"12345")
        .await
        .unwrap();
    let line = edge.log_of("/one").await;
    for (field, value) in [
        ("listener", json!("http")),
        ("scheme", json!("http")),
        ("method", json!("POST")),
        ("status", json!(200)),
        ("outcome", json!("served")),
        ("route", json!("all")),
        ("cluster", json!("main")),
        ("endpoint", json!(a.address().to_string())),
        ("attempts", json!(1)),
        ("request_bytes", json!(5)),
        ("user_agent", json!("kit")),
    ] {
        assert_eq!(line[field], value, "{field} in {line}");
    }
    assert!(
        line["client"].as_str().unwrap().starts_with("127.0.0.1"),
        "{line}"
    );
    assert!(
        line["duration_ms"].is_number() && line["time"].is_string(),
        "{line}"
    );
    let text = line.to_string();
    assert!(
        !text.contains("s3cr3t") && !text.contains("c00kie"),
        "{text}"
    );
    for number in 0..20 {
        client.get(&format!("/n{number}")).await.unwrap();
    }
    assert_eq!(edge.wait_for_log(21, |_| true).await.len(), 21);
    edge.wait_for_outcome("served", 21).await;
}

#[tokio::test]
async fn two_clients_do_not_share_what_they_are_told() {
    let a = Endpoint::start("a").await;
    let edge = Setup::new(&[&a]).start().await;
    let tasks: Vec<_> = (0..32)
        .map(|number| {
            let address = edge.http();
            tokio::spawn(async move {
                let mut client = Connection::open(address).await.unwrap();
                for turn in 0..20 {
                    let path = format!("/{number}/{turn}");
                    assert_eq!(client.get(&path).await.unwrap().json()["path"], path);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(a.requests(), 640);
}

#[tokio::test]
async fn an_old_client_is_served_and_closed() {
    let a = Endpoint::start("a").await;
    let edge = Setup::new(&[&a]).start().await;
    let mut client = edge.connect().await;
    client
        .send(b"GET /old HTTP/1.0\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    let answer = String::from_utf8_lossy(&client.read_to_end().await.unwrap()).into_owned();
    assert!(
        answer.contains(" 200 ") && answer.contains("/old"),
        "{answer}"
    );
    assert_eq!(edge.log_of("/old").await["protocol"], "HTTP/1.0");
}

#[tokio::test]
async fn pipelined_requests_are_never_mixed_up() {
    let a = Endpoint::start("a").await;
    let edge = Setup::new(&[&a]).start().await;
    let mut client = edge.connect().await;
    let requests: String = (0..4)
        .map(|n| format!("GET /p{n} HTTP/1.1\r\nHost: a\r\n\r\n"))
        .collect();
    client.send(requests.as_bytes()).await.unwrap();
    client.finish_sending().await.unwrap();
    // The edge need not answer all of them, but those it answers come in order.
    let mut answered = 0;
    while let Ok(response) = client.response().await {
        if response.status != 200 {
            break;
        }
        assert_eq!(response.json()["path"], format!("/p{answered}"));
        answered += 1;
    }
    let seen: Vec<String> = a
        .received()
        .into_iter()
        .map(|request| request.target)
        .collect();
    let expected: Vec<String> = (0..seen.len()).map(|n| format!("/p{n}")).collect();
    assert_eq!(seen, expected);
}
