//! Endpoints that stall, leave or break off at each point of an answer: what the client sees, what
//! is held against the endpoint, and that nothing is left.

use std::time::Duration;

use portcullis_testkit::{Behavior, Endpoint, Response, Step, wait_until};
use serde_json::json;

use crate::harness::Edge;
use crate::harness::doors::DOORS;

use super::Setup;

/// Beginnings of an answer whose head is not complete.
const IN_HEAD: [&str; 4] = [
    "H",
    "HTTP/1.1 200",
    "HTTP/1.1 200 OK\r\ncontent-len",
    "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r",
];

/// Beginnings of an answer that end inside its body, whoever closes behind them.
const IN_BODY: [&str; 6] = [
    "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n",
    "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n123",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n12345\r\n",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n12345\r\n0\r\nX: ",
];

/// An answer that only the end of the connection ends.
const UNTIL_CLOSE: &str = "HTTP/1.1 200 OK\r\n\r\n12345";

/// Neither ejected nor asked twice, and impatient with endpoints.
fn strict(endpoint: &Endpoint) -> Setup {
    Setup::new(&[endpoint])
        .set("clusters.main.ejection", json!("off"))
        .set("clusters.main.retries", json!(0))
        .set("clusters.main.timeouts", json!({ "read": "300ms" }))
}

fn answers_with(endpoint: &Endpoint, bytes: &str, then: &[Step]) {
    let mut steps = vec![Step::Receive, Step::Send(bytes.into())];
    steps.extend_from_slice(then);
    endpoint.behave(Behavior::Script(steps));
}

async fn expect_failures(edge: &Edge, endpoint: &Endpoint, count: usize) {
    let count = u32::try_from(count).unwrap();
    let name = "portcullis_edge_endpoint_failures_total";
    edge.wait_for_metric(name, &[], count.into()).await;
    edge.expect_nothing_left().await;
    wait_until("the endpoint's connections to end", async || {
        (endpoint.open_connections() == 0).then_some(())
    })
    .await;
    edge.expect_sockets_at_rest(0).await;
}

#[tokio::test]
async fn silence_before_or_inside_a_head_is_504() {
    let a = Endpoint::start("a").await;
    let house = strict(&a).start_with_both_doors().await;
    for door in DOORS {
        for start in ["", IN_HEAD[0], IN_HEAD[1], IN_HEAD[2], IN_HEAD[3]] {
            answers_with(&a, start, &[Step::AwaitClose]);
            let mut client = house.enter(door).await;
            let response = client.get("/silent").await.unwrap();
            assert_eq!(response.status, 504, "{door:?} {start:?}");
        }
    }
    let edge = &house.edge;
    edge.wait_for_outcome("failed_endpoint_timeout", 10).await;
    expect_failures(edge, &a, 10).await;
}

#[tokio::test]
async fn silence_inside_a_body_cuts_the_answer() {
    let a = Endpoint::start("a").await;
    let house = strict(&a).start_with_both_doors().await;
    for door in DOORS {
        for start in IN_BODY.into_iter().chain([UNTIL_CLOSE]) {
            answers_with(&a, start, &[Step::AwaitClose]);
            let answer = house.enter(door).await.get("/silent").await;
            assert!(answer.is_err(), "{door:?} {start:?}: {answer:?}");
        }
    }
    let edge = &house.edge;
    edge.wait_for_outcome("failed_endpoint_timeout", 14).await;
    expect_failures(edge, &a, 14).await;
}

#[tokio::test]
async fn an_endpoint_that_ends_before_or_inside_its_head_is_502() {
    let a = Endpoint::start("a").await;
    let edge = strict(&a).start().await;
    let mut count = 0;
    for end in [Step::FinishSending, Step::Close, Step::Reset] {
        for start in ["", IN_HEAD[0], IN_HEAD[1], IN_HEAD[2], IN_HEAD[3]] {
            answers_with(&a, start, &[end.clone(), Step::AwaitClose]);
            for (method, body) in [("GET", &b""[..]), ("POST", b"x")] {
                let mut client = edge.connect().await;
                let response = client.request(method, "/cut", &[], body).await.unwrap();
                assert_eq!(response.status, 502, "{method} {end:?} {start:?}");
                count += 1;
            }
        }
    }
    expect_failures(&edge, &a, count).await;
}

#[tokio::test]
async fn an_endpoint_that_ends_inside_its_body_cuts_the_answer() {
    let a = Endpoint::start("a").await;
    let house = strict(&a).start_with_both_doors().await;
    let mut count = 0;
    for door in DOORS {
        for end in [Step::FinishSending, Step::Close, Step::Reset] {
            for start in IN_BODY {
                answers_with(&a, start, &[end.clone(), Step::AwaitClose]);
                let answer = house.enter(door).await.get("/cut").await;
                let is_502 = matches!(&answer, Ok(Response { status: 502, .. }));
                assert!(
                    answer.is_err() || is_502,
                    "{door:?} {end:?} {start:?}: {answer:?}"
                );
                count += 1;
            }
        }
    }
    expect_failures(&house.edge, &a, count).await;
}

#[tokio::test]
async fn an_answer_without_length_that_is_reset_is_incomplete() {
    let a = Endpoint::start("a").await;
    let edge = strict(&a).start().await;
    for _ in 0..5 {
        answers_with(&a, UNTIL_CLOSE, &[Step::Reset]);
        let answer = edge.connect().await.get("/cut").await;
        let is_502 = matches!(&answer, Ok(Response { status: 502, .. }));
        assert!(answer.is_err() || is_502, "{answer:?}");
    }
    expect_failures(&edge, &a, 5).await;
}

#[tokio::test]
async fn answers_that_come_byte_by_byte_are_whole() {
    let a = Endpoint::start("a").await;
    let house = strict(&a).start_with_both_doors().await;
    let pause = Duration::from_millis(1);
    for door in DOORS {
        let mut client = house.enter(door).await;
        for (text, body) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", "hello"),
            (
                "HTTP/1.1 103 Early\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
                "",
            ),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nX-T: 1\r\n\r\n",
                "hello world",
            ),
        ] {
            let steps = vec![Step::Receive, Step::SendBytewise(text.into(), pause)];
            a.behave(Behavior::Script(steps));
            let response = client.get("/slow").await.unwrap();
            assert_eq!((response.status, response.text().as_str()), (200, body));
        }
    }
    let connections = a.connections();
    assert!(
        connections <= 2,
        "none was dropped as broken: {connections}"
    );
    house.edge.wait_for_outcome("served", 6).await;
}

#[tokio::test]
async fn a_whole_answer_before_a_half_close_is_delivered() {
    let a = Endpoint::start("a").await;
    let edge = strict(&a).start().await;
    let mut client = edge.connect().await;
    for text in [
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\nhi",
        "HTTP/1.0 200 OK\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi",
    ] {
        answers_with(&a, text, &[Step::FinishSending, Step::AwaitClose]);
        let response = client.get("/whole").await.unwrap();
        assert_eq!((response.status, response.text()), (200, "hi".to_owned()));
    }
    edge.wait_for_outcome("served", 5).await;
    drop(client);
    expect_failures(&edge, &a, 0).await;
}
