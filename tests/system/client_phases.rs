//! Clients that stall, leave or break off at each point of an exchange: what they are told, how it
//! is logged, and that nothing of them is left.

use std::time::{Duration, Instant};

use portcullis_testkit::{Behavior, Connection, Endpoint, Step, wait_until};
use serde_json::json;

use crate::harness::doors::{DOORS, Door, House};

use super::Setup;

/// Where a client may stop within the head of a request.
const HEAD_STOPS: [&str; 6] = [
    "G",
    "GET /stop",
    "GET /stop HTTP/1.1\r",
    "GET /stop HTTP/1.1\r\nHo",
    "GET /stop HTTP/1.1\r\nHost: a\r\nX: y\r\n",
    "GET /stop HTTP/1.1\r\nHost: a\r\n\r",
];

/// Where a client may stop within a request body.
const BODY_STOPS: [&str; 6] = [
    "Content-Length: 10\r\n\r\n",
    "Content-Length: 10\r\n\r\n12345",
    "Transfer-Encoding: chunked\r\n\r\n",
    "Transfer-Encoding: chunked\r\n\r\n5\r\n123",
    "Transfer-Encoding: chunked\r\n\r\n5\r\n12345",
    "Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n0\r\nX: ",
];

fn up_to(body_stop: &str) -> String {
    format!("POST /stop HTTP/1.1\r\nHost: app.example\r\n{body_stop}")
}

async fn rest_as_text(client: &mut Connection) -> String {
    String::from_utf8_lossy(&client.read_to_end().await.unwrap()).into_owned()
}

/// Waits until the endpoint and the edge have let go of everything.
async fn expect_nothing_left(house: &House, endpoint: &Endpoint) {
    house.edge.expect_nothing_left().await;
    wait_until("the endpoint's connections to end", async || {
        (endpoint.in_flight() == 0).then_some(())
    })
    .await;
    let idle = endpoint.open_connections();
    house.edge.expect_sockets_at_rest(idle).await;
}

#[tokio::test]
async fn a_client_that_never_begins_is_closed_and_counted_as_no_request() {
    let a = Endpoint::start("a").await;
    let house = Setup::new(&[&a])
        .set("listeners.0.timeouts", json!({ "header": "300ms" }))
        .start_with_both_doors()
        .await;
    for door in DOORS {
        let mut client = house.enter(door).await;
        let started = Instant::now();
        let answer = rest_as_text(&mut client).await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 408 "),
            "{door:?}: {answer}"
        );
        assert!(
            started.elapsed() < Duration::from_secs(8),
            "10 s by default"
        );
    }
    expect_nothing_left(&house, &a).await;
    assert_eq!(a.connections(), 0);
}

#[tokio::test]
async fn a_head_that_stops_is_408() {
    let a = Endpoint::start("a").await;
    let house = Setup::new(&[&a])
        .set("listeners.0.timeouts", json!({ "header": "300ms" }))
        .start_with_both_doors()
        .await;
    for door in DOORS {
        for stop in HEAD_STOPS {
            let mut client = house.enter(door).await;
            client.send(stop.as_bytes()).await.unwrap();
            let answer = rest_as_text(&mut client).await;
            assert!(
                answer.starts_with("HTTP/1.1 408 "),
                "{door:?} {stop:?}: {answer:?}"
            );
        }
    }
    house.edge.wait_for_outcome("client_head_timeout", 12).await;
    expect_nothing_left(&house, &a).await;
    assert_eq!(a.connections(), 0);
}

#[tokio::test]
async fn bytes_one_by_one_do_not_extend_the_deadline_of_a_head() {
    let a = Endpoint::start("a").await;
    let house = Setup::new(&[&a])
        .set("listeners.0.timeouts", json!({ "header": "600ms" }))
        .start_with_both_doors()
        .await;
    for door in DOORS {
        let mut client = house.enter(door).await;
        let started = Instant::now();
        let head = "GET /slow HTTP/1.1\r\nHost: a\r\nX-Long: ".to_owned() + &"x".repeat(400);
        let pause = Duration::from_millis(50);
        // It ends early: the edge closes, and writing fails.
        let _ = client.send_bytewise(head.as_bytes(), pause).await;
        let answer = rest_as_text(&mut client).await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 408 "),
            "{door:?}: {answer:?}"
        );
        let took = started.elapsed();
        assert!(
            took >= Duration::from_millis(500) && took < Duration::from_secs(8),
            "{door:?}: {took:?}"
        );
    }
    house.edge.wait_for_outcome("client_head_timeout", 2).await;
    expect_nothing_left(&house, &a).await;
}

#[tokio::test]
async fn a_client_that_ends_inside_a_head_is_gone() {
    let a = Endpoint::start("a").await;
    let house = Setup::new(&[&a]).start_with_both_doors().await;
    for door in DOORS {
        for stop in HEAD_STOPS {
            let mut client = house.enter(door).await;
            client.send(stop.as_bytes()).await.unwrap();
            client.finish_sending().await.unwrap();
            assert_eq!(rest_as_text(&mut client).await, "", "{door:?} {stop:?}");
        }
    }
    house.edge.wait_for_outcome("client_gone", 12).await;
    // What a reset takes with it was perhaps never read; it leaves nothing either way.
    for door in DOORS {
        for stop in HEAD_STOPS {
            let mut client = house.enter(door).await;
            client.send(stop.as_bytes()).await.unwrap();
            client.reset().unwrap();
        }
    }
    expect_nothing_left(&house, &a).await;
    assert_eq!(a.connections(), 0);
}

#[tokio::test]
async fn a_body_that_stops_is_408_and_leaves_the_endpoint() {
    let a = Endpoint::start("a").await;
    let house = Setup::new(&[&a])
        .set("listeners.0.timeouts", json!({ "body": "300ms" }))
        .start_with_both_doors()
        .await;
    for door in DOORS {
        for stop in BODY_STOPS {
            let mut client = house.enter(door).await;
            client.send(up_to(stop).as_bytes()).await.unwrap();
            let answer = rest_as_text(&mut client).await;
            assert!(
                answer.starts_with("HTTP/1.1 408 "),
                "{door:?} {stop:?}: {answer:?}"
            );
        }
    }
    house.edge.wait_for_outcome("client_body_timeout", 12).await;
    expect_nothing_left(&house, &a).await;
    wait_until("the endpoint to see the end of each", async || {
        (a.open_connections() == 0).then_some(())
    })
    .await;
    assert_eq!(a.requests(), 0, "none was ever whole");
}

#[tokio::test]
async fn a_client_that_ends_inside_a_body_is_gone_and_leaves_the_endpoint() {
    let a = Endpoint::start("a").await;
    let house = Setup::new(&[&a]).start_with_both_doors().await;
    for door in DOORS {
        for (position, stop) in BODY_STOPS.into_iter().enumerate() {
            let mut client = house.enter(door).await;
            client.send(up_to(stop).as_bytes()).await.unwrap();
            if position % 2 == 0 {
                client.finish_sending().await.unwrap();
                let answer = rest_as_text(&mut client).await;
                assert!(
                    answer.is_empty() || answer.starts_with("HTTP/1.1 400 "),
                    "{door:?} {stop:?}: {answer:?}"
                );
            } else {
                wait_until("the endpoint to be asked", async || {
                    (a.open_connections() == 1).then_some(())
                })
                .await;
                client.reset().unwrap();
            }
            wait_until("the endpoint to see the end", async || {
                (a.open_connections() == 0).then_some(())
            })
            .await;
        }
    }
    house.edge.wait_for_outcome("client_gone", 12).await;
    expect_nothing_left(&house, &a).await;
    assert_eq!(a.requests(), 0, "none was ever whole");
}

#[tokio::test]
async fn a_client_that_stops_reading_is_given_up() {
    let a = Endpoint::with("a", Behavior::Bytes(64 << 20)).await;
    let house = Setup::new(&[&a])
        .set("listeners.0.timeouts", json!({ "write": "300ms" }))
        .start_with_both_doors()
        .await;
    for door in DOORS {
        let mut client = match door {
            Door::Plain => Connection::open_narrow(house.edge.http(), 4_096)
                .await
                .unwrap(),
            Door::Tls => house.enter(door).await,
        };
        client
            .send(b"GET /stall HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .unwrap();
        assert_eq!(client.head().await.unwrap().status, 200);
        wait_until("the endpoint to see the end", async || {
            (a.requests() > 0 && a.open_connections() == 0).then_some(())
        })
        .await;
        expect_nothing_left(&house, &a).await;
        let received = client.read_to_end().await.unwrap().len();
        assert!(received < 64 << 20, "{door:?}: {received}");
    }
    house.edge.wait_for_outcome("client_gone", 2).await;
}

#[tokio::test]
async fn a_client_that_reads_slowly_but_steadily_is_served() {
    let size = 32 << 20;
    let a = Endpoint::with("a", Behavior::Bytes(size)).await;
    let house = Setup::new(&[&a])
        .set("listeners.0.timeouts", json!({ "write": "1s" }))
        .start_with_both_doors()
        .await;
    for door in DOORS {
        let mut client = house.enter(door).await;
        client
            .send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .unwrap();
        assert_eq!(client.head().await.unwrap().status, 200);
        let mut turn = tokio::time::interval(Duration::from_millis(10));
        let (started, mut received) = (Instant::now(), 0);
        while received < size {
            // Leisurely for longer than any one write may stall.
            if started.elapsed() < Duration::from_secs(2) {
                turn.tick().await;
            }
            let bytes = client.read_some().await.unwrap();
            assert!(!bytes.is_empty(), "{door:?}: cut after {received} bytes");
            received += bytes.len();
        }
        drop(client);
        expect_nothing_left(&house, &a).await;
    }
    house.edge.wait_for_outcome("served", 2).await;
}

#[tokio::test]
async fn a_client_that_resets_inside_an_answer_frees_the_endpoint() {
    let a = Endpoint::with("a", Behavior::Bytes(64 << 20)).await;
    let house = Setup::new(&[&a]).start_with_both_doors().await;
    for door in DOORS {
        let mut client = house.enter(door).await;
        client
            .send(b"GET /cut HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .unwrap();
        assert_eq!(client.head().await.unwrap().status, 200);
        client.reset().unwrap();
        wait_until("the endpoint to see the end", async || {
            (a.open_connections() == 0).then_some(())
        })
        .await;
        expect_nothing_left(&house, &a).await;
    }
    house.edge.wait_for_outcome("client_gone", 2).await;
}

#[tokio::test]
async fn a_client_that_leaves_while_the_endpoint_thinks_frees_it_at_once() {
    let a = Endpoint::with("a", Behavior::Hang).await;
    let house = Setup::new(&[&a]).start_with_both_doors().await;
    for door in DOORS {
        for is_reset in [false, true] {
            let mut client = house.enter(door).await;
            client
                .send(b"POST /think HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")
                .await
                .unwrap();
            wait_until("the request to arrive", async || {
                (a.in_flight() == 1).then_some(())
            })
            .await;
            let left = Instant::now();
            if is_reset {
                client.reset().unwrap();
            } else {
                drop(client);
            }
            wait_until("the endpoint to see the end", async || {
                (a.open_connections() == 0).then_some(())
            })
            .await;
            let took = left.elapsed();
            assert!(took < Duration::from_secs(2), "{door:?}: {took:?}");
            expect_nothing_left(&house, &a).await;
        }
    }
    house.edge.wait_for_outcome("client_gone", 4).await;
}

#[tokio::test]
async fn a_client_that_leaves_inside_a_stream_without_bytes_frees_the_endpoint() {
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n";
    let steps = vec![Step::Receive, Step::Send(head.into()), Step::AwaitClose];
    let a = Endpoint::with("a", Behavior::Script(steps)).await;
    let house = Setup::new(&[&a]).start_with_both_doors().await;
    for door in DOORS {
        let mut client = house.enter(door).await;
        client
            .send(b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .unwrap();
        assert_eq!(client.head().await.unwrap().status, 200);
        drop(client);
        wait_until("the endpoint to see the end", async || {
            (a.open_connections() == 0).then_some(())
        })
        .await;
        expect_nothing_left(&house, &a).await;
    }
    house.edge.wait_for_outcome("client_gone", 2).await;
}
