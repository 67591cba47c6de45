//! Requests sent without waiting for answers: each is answered, in order, whatever stands between
//! them.

use std::io::ErrorKind;
use std::time::Duration;

use portcullis_testkit::process::peak_resident_kilobytes;
use portcullis_testkit::{Behavior, Endpoint, wait_until};
use serde_json::json;

use super::Setup;
use crate::harness::doors::DOORS;

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: app.example\r\n\r\n")
}

#[tokio::test]
async fn pipelined_requests_are_all_answered_in_order() {
    let a = Endpoint::start("a").await;
    let house = Setup::new(&[&a]).start_with_both_doors().await;
    for door in DOORS {
        let mut client = house.enter(door).await;
        let requests: String = (0..20).map(|number| get(&format!("/{number}"))).collect();
        client.send(requests.as_bytes()).await.unwrap();
        for number in 0..20 {
            let response = client.response().await.unwrap();
            assert_eq!(response.json()["path"], format!("/{number}"), "{door:?}");
        }
        assert_eq!(client.get("/last").await.unwrap().status, 200);
    }
    assert_eq!(a.in_flight_max(), 1, "one after the other");
}

#[tokio::test]
async fn pipelined_bodies_end_where_they_end() {
    let a = Endpoint::start("a").await;
    let house = Setup::new(&[&a]).start_with_both_doors().await;
    let length = "POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: 24\r\n\r\nGET /hidden HTTP/1.1\r\n\r\n";
    let chunked = "POST /chunked HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
                   18\r\nGET /hidden HTTP/1.1\r\n\r\n\r\n0\r\n\r\n";
    for door in DOORS {
        let mut client = house.enter(door).await;
        let all = [
            &get("/1"),
            length,
            &get("/2"),
            chunked,
            &get("/3"),
            chunked,
            length,
        ]
        .concat();
        client.send(all.as_bytes()).await.unwrap();
        for (path, body) in [
            ("/1", 0),
            ("/length", 24),
            ("/2", 0),
            ("/chunked", 24),
            ("/3", 0),
            ("/chunked", 24),
            ("/length", 24),
        ] {
            let response = client.response().await.unwrap();
            assert_eq!(response.json()["path"], path, "{door:?}");
            let seen = response.json()["body"].as_str().unwrap().len();
            assert_eq!(seen, body, "{door:?} {path}");
        }
    }
    assert!(
        a.received()
            .iter()
            .all(|request| request.target != "/hidden")
    );
}

#[tokio::test]
async fn an_error_page_keeps_its_place_in_the_row() {
    let a = Endpoint::start("a").await;
    let house = Setup::new(&[&a])
        .set("routes.0.path", json!("/app"))
        .start_with_both_doors()
        .await;
    for door in DOORS {
        let mut client = house.enter(door).await;
        let requests = [
            get("/app/1"),
            get("/nothing"),
            get("/app/2"),
            get("/nothing"),
        ]
        .concat();
        client.send(requests.as_bytes()).await.unwrap();
        for (status, path) in [
            (200, Some("/app/1")),
            (404, None),
            (200, Some("/app/2")),
            (404, None),
        ] {
            let response = client.response().await.unwrap();
            assert_eq!(response.status, status, "{door:?}");
            if let Some(path) = path {
                assert_eq!(response.json()["path"], path, "{door:?}");
            }
        }
    }
    house.edge.wait_for_outcome("refused_no_route", 4).await;
}

#[tokio::test]
async fn a_failing_endpoint_keeps_its_place_in_the_row() {
    let a = Endpoint::with("a", Behavior::ResetBeforeAnswer).await;
    let edge = Setup::new(&[&a])
        .set("clusters.main.ejection", json!("off"))
        .start()
        .await;
    let mut client = edge.connect().await;
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
    client.send(post.repeat(3).as_bytes()).await.unwrap();
    for _ in 0..3 {
        assert_eq!(client.response().await.unwrap().status, 502);
    }
    a.behave(Behavior::Echo);
    assert_eq!(client.get("/").await.unwrap().status, 200);
}

#[tokio::test]
async fn what_stands_behind_the_last_request_is_ignored() {
    let a = Endpoint::start("a").await;
    let house = Setup::new(&[&a]).start_with_both_doors().await;
    for door in DOORS {
        for last in [
            "GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            "GET /last HTTP/1.0\r\nHost: a\r\n\r\n",
        ] {
            let mut client = house.enter(door).await;
            let requests = format!("{}{last}{}", get("/first"), get("/ignored").repeat(3));
            client.send(requests.as_bytes()).await.unwrap();
            for path in ["/first", "/last"] {
                let response = client.response().await.unwrap();
                assert_eq!(response.json()["path"], path, "{door:?}");
            }
            client.expect_close().await;
        }
    }
    assert!(
        a.received()
            .iter()
            .all(|request| request.target != "/ignored")
    );
    house.edge.wait_for_outcome("served", 8).await;
    house.edge.expect_nothing_left().await;
}

#[tokio::test]
async fn a_malformed_request_in_a_row_ends_it_behind_its_answer() {
    let a = Endpoint::start("a").await;
    let house = Setup::new(&[&a]).start_with_both_doors().await;
    for door in DOORS {
        let mut client = house.enter(door).await;
        let broken = "GET /broken HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n";
        let requests = [get("/1"), get("/2"), broken.to_owned(), get("/hidden")].concat();
        client.send(requests.as_bytes()).await.unwrap();
        for path in ["/1", "/2"] {
            let response = client.response().await.unwrap();
            assert_eq!(response.json()["path"], path, "{door:?}");
        }
        assert_eq!(client.response().await.unwrap().status, 400, "{door:?}");
        client.expect_close().await;
    }
    assert_eq!(a.requests(), 4);
}

#[tokio::test]
async fn a_client_that_leaves_behind_pipelined_requests_is_noticed() {
    let a = Endpoint::with("a", Behavior::Hang).await;
    let house = Setup::new(&[&a]).start_with_both_doors().await;
    for door in DOORS {
        let mut client = house.enter(door).await;
        client.send(get("/row").repeat(5).as_bytes()).await.unwrap();
        wait_until("the first to arrive", async || {
            (a.in_flight() == 1).then_some(())
        })
        .await;
        drop(client);
        wait_until("the endpoint to see the end", async || {
            (a.open_connections() == 0).then_some(())
        })
        .await;
        house.edge.expect_nothing_left().await;
    }
    house.edge.wait_for_outcome("client_gone", 2).await;
}

#[tokio::test]
async fn a_row_ends_at_the_limit_of_its_connection_and_not_before() {
    let a = Endpoint::start("a").await;
    let house = Setup::new(&[&a])
        .set(
            "listeners.0.limits",
            json!({ "requests_per_connection": 3 }),
        )
        .start_with_both_doors()
        .await;
    for door in DOORS {
        for _ in 0..10 {
            let mut client = house.enter(door).await;
            // What is not answered stays unread; its loss must not take answers along.
            let row: String = (1..200).map(|number| get(&format!("/{number}"))).collect();
            client.send(row.as_bytes()).await.unwrap();
            for number in 1..=3 {
                let response = client.response().await.unwrap();
                assert_eq!(response.json()["path"], format!("/{number}"), "{door:?}");
                let is_last = response.field("connection") == Some("close");
                assert_eq!(is_last, number == 3, "{door:?} {number}");
            }
            client.expect_close().await;
        }
    }
    assert_eq!(a.requests(), 60);
    house.edge.expect_nothing_left().await;
}

#[tokio::test]
async fn what_is_sent_ahead_is_read_no_further_than_a_bound() {
    let a = Endpoint::with("a", Behavior::Hang).await;
    // A client that leaves behind bytes nobody reads cannot be noticed before the endpoint's time.
    let house = Setup::new(&[&a])
        .set("clusters.main.timeouts", json!({ "read": "1s" }))
        .set("clusters.main.ejection", json!("off"))
        .start_with_both_doors()
        .await;
    for door in DOORS {
        let before = peak_resident_kilobytes(house.edge.process.id()).unwrap();
        let client = house.enter(door).await;
        // Until the edge reads no more and the buffers between are full.
        let mut client = client.with_deadline(Duration::from_millis(500));
        let row = get("/row").repeat(20_000);
        let is_stuck = async || client.send(row.as_bytes()).await.err();
        let error = wait_until("the edge to stop reading", is_stuck).await;
        assert_eq!(error.kind(), ErrorKind::TimedOut, "{door:?}");
        let after = peak_resident_kilobytes(house.edge.process.id()).unwrap();
        let grown = after.saturating_sub(before);
        assert!(grown < 4 << 10, "{door:?}: by {grown} KiB");
        assert_eq!(a.in_flight_max(), 1, "{door:?}");
        drop(client);
        house.edge.expect_nothing_left().await;
        wait_until("the endpoint to see the end", async || {
            (a.open_connections() == 0).then_some(())
        })
        .await;
    }
}
