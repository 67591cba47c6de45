//! What of a message only this engine passes on as RFC 9112 has it: trailers, interim answers by
//! the client's version, framing where the endpoint gave none.

use portcullis_testkit::{Behavior, Endpoint, Step, wait_until};
use serde_json::json;

use super::Setup;
use crate::harness::doors::DOORS;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";

#[tokio::test]
async fn a_final_answer_instead_of_continue_reaches_the_client() {
    let a = Endpoint::start("a").await;
    let refusal = "HTTP/1.1 417 No\r\ncontent-length: 2\r\n\r\nno";
    let steps = vec![Step::Send(refusal.into()), Step::AwaitClose];
    a.behave(Behavior::Script(steps));
    let house = Setup::new(&[&a]).start_with_both_doors().await;
    for door in DOORS {
        let mut client = house.enter(door).await;
        client
            .send(
                b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n",
            )
            .await
            .unwrap();
        let response = client.head().await.unwrap();
        assert_eq!(response.status, 417, "without a 100 before it");
        assert_eq!(client.read_some().await.unwrap(), b"no");
    }
    assert_eq!(a.received()[0].values("expect"), ["100-continue"]);
    house.edge.wait_for_outcome("served", 2).await;
}

#[tokio::test]
async fn the_date_of_an_endpoint_passes() {
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    let a = Endpoint::with("a", Behavior::Fields(vec![("Date".into(), date.into())])).await;
    let house = Setup::new(&[&a]).start_with_both_doors().await;
    for door in DOORS {
        let response = house.enter(door).await.get("/").await.unwrap();
        let is_date = |(name, _): &&(String, String)| name.eq_ignore_ascii_case("date");
        let dates: Vec<_> = response.fields.iter().filter(is_date).collect();
        assert_eq!(dates.len(), 1, "{door:?}");
        assert_eq!(dates[0].1, date, "{door:?}");
    }
}

#[tokio::test]
async fn early_hints_pass_to_those_who_know_them() {
    let hints = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n";
    let a = Endpoint::with("a", Behavior::raw(format!("{hints}{hints}{OK}"))).await;
    let house = Setup::new(&[&a]).start_with_both_doors().await;
    for door in DOORS {
        let mut client = house.enter(door).await;
        client
            .send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .unwrap();
        for _ in 0..2 {
            let interim = client.head().await.unwrap();
            assert_eq!(interim.status, 103);
            assert_eq!(interim.field("link"), Some("</a.css>; rel=preload"));
        }
        assert_eq!(client.response().await.unwrap().text(), "hi");
    }
    // RFC 9110, 15.2: not to a client of HTTP/1.0.
    let mut old = house.edge.connect().await;
    old.send(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(old.head().await.unwrap().status, 200);
}

#[tokio::test]
async fn an_answer_that_lasts_until_the_close_is_framed_for_the_client() {
    let a = Endpoint::start("a").await;
    let edge = Setup::new(&[&a]).start().await;
    for version in ["1.0", "1.1"] {
        let answer = format!("HTTP/{version} 200 OK\r\n\r\nuntil the close");
        a.behave(Behavior::raw_then_close(answer));
        let mut client = edge.connect().await;
        for _ in 0..2 {
            let response = client.get("/").await.unwrap();
            assert_eq!(response.text(), "until the close");
            let coding = response.field("transfer-encoding");
            assert_eq!(coding, Some("chunked"), "so that it can be told from a cut");
        }
        let mut old = edge.connect().await;
        let request = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
        old.send(request).await.unwrap();
        let response = old.response().await.unwrap();
        assert_eq!(response.text(), "until the close");
        assert_eq!(response.field("transfer-encoding"), None);
        old.expect_close().await;
    }
}

#[tokio::test]
async fn trailers_pass_both_ways_but_for_those_that_come_too_late() {
    let trailers = "X-Sum: 42\r\nContent-Length: 9\r\nHost: evil\r\nAuthorization: x\r\nX-Forwarded-For: 6.6.6.6\r\nX-Last: z\r\n";
    let answer = format!(
        "HTTP/1.1 200 OK\r\ntrailer: X-Sum\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n{trailers}Set-Cookie: a=b\r\n\r\n"
    );
    let a = Endpoint::with("a", Behavior::raw(answer)).await;
    let house = Setup::new(&[&a]).start_with_both_doors().await;
    for door in DOORS {
        let mut client = house.enter(door).await;
        let head =
            "POST / HTTP/1.1\r\nHost: a\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n";
        client
            .send(format!("{head}2\r\nhi\r\n0\r\n{trailers}\r\n").as_bytes())
            .await
            .unwrap();
        let response = client.response().await.unwrap();
        assert_eq!(response.text(), "hi");
        assert_eq!(response.field("trailer"), Some("X-Sum"));
        let request = a.received().pop().expect("the request");
        assert_eq!(request.body, b"hi");
        for seen in [response.trailers, request.trailers] {
            let kept = ["X-Sum", "X-Last"].map(str::to_owned);
            let names: Vec<String> = seen.into_iter().map(|(name, _)| name).collect();
            assert_eq!(names, kept, "{door:?}");
        }
    }
}

#[tokio::test]
async fn an_answer_without_a_body_never_gets_one() {
    let a = Endpoint::start("a").await;
    let edge = Setup::new(&[&a]).start().await;
    let mut client = edge.connect().await;
    // RFC 9110, 8.6: a 204 has no length either.
    a.behave(Behavior::raw(
        "HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\n",
    ));
    let response = client.get("/").await.unwrap();
    assert_eq!(
        (response.status, response.field("content-length")),
        (204, None)
    );
    let framed = "HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n";
    a.behave(Behavior::raw(framed));
    let response = client.get("/").await.unwrap();
    assert_eq!(
        (response.status, response.field("transfer-encoding")),
        (204, None)
    );
    a.behave(Behavior::Echo);
    assert_eq!(client.get("/after").await.unwrap().json()["path"], "/after");
}

#[tokio::test]
async fn an_old_endpoint_is_answered_for_in_the_words_of_the_edge() {
    let a = Endpoint::start("a").await;
    let edge = Setup::new(&[&a]).start().await;
    let mut client = edge.connect().await;
    a.behave(Behavior::raw(
        "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nhi",
    ));
    for count in 1..=3 {
        assert_eq!(client.get("/").await.unwrap().text(), "hi");
        assert_eq!(a.connections(), count, "it did not offer to keep them");
    }
    wait_until("the edge to close them", async || {
        (a.open_connections() == 0).then_some(())
    })
    .await;
    let kept = "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nhi";
    a.behave(Behavior::raw(kept));
    for _ in 0..3 {
        assert_eq!(client.get("/").await.unwrap().text(), "hi");
    }
}

#[tokio::test]
async fn a_target_in_absolute_form_is_forwarded_in_origin_form() {
    let a = Endpoint::start("a").await;
    let edge = Setup::new(&[&a])
        .set("routes.0.host", json!("app.example"))
        .start()
        .await;
    let mut client = edge.connect().await;
    for (target, path) in [
        ("http://app.example/p?q=1", "/p?q=1"),
        ("http://app.example", "/"),
        ("http://app.example?q=1", "/?q=1"),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: app.example\r\n\r\n");
        client.send(request.as_bytes()).await.unwrap();
        let response = client.response().await.unwrap();
        assert_eq!(response.json()["path"], path, "{target}");
        assert_eq!(response.echoed("host"), ["app.example"], "{target}");
    }
}
