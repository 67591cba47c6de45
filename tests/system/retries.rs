//! What the edge does when an endpoint fails: another attempt, an answer of its own, ejection.

use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_testkit::fault::{Fault, FaultProxy};
use portcullis_testkit::{Behavior, Connection, Endpoint, Step, client, free_port, wait_until};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::Setup;

/// Ejection would hide what a retry does.
fn without_ejection(setup: Setup) -> Setup {
    setup.set("clusters.main.ejection", json!("off"))
}

#[tokio::test]
async fn a_refused_connection_is_retried_elsewhere_for_every_method() {
    let (refusing, good) = (free_port(), Endpoint::start("good").await);
    let setup = Setup::for_addresses(&[refusing.address(), good.address()]);
    let edge = without_ejection(setup).start().await;
    let mut client = edge.connect().await;
    for method in ["GET", "POST", "PUT", "DELETE", "PATCH"] {
        for _ in 0..4 {
            let response = client.request(method, "/", &[], b"body").await.unwrap();
            assert_eq!(response.status, 200, "{method}: {}", response.text());
            assert_eq!(response.json()["body"], "body");
        }
    }
    let lines = edge.wait_for_log(20, |_| true).await;
    let retried = lines.iter().filter(|line| line["attempts"] == 2).count();
    assert!(
        retried >= 5,
        "half of 20 requests met the refusing port first: {retried}"
    );
}

#[tokio::test]
async fn a_post_is_not_repeated_once_it_was_sent() {
    let bad = Endpoint::with("bad", Behavior::ResetBeforeAnswer).await;
    let good = Endpoint::start("good").await;
    let edge = without_ejection(Setup::new(&[&bad, &good])).start().await;
    let mut failed = 0;
    for _ in 0..8 {
        let response = edge
            .connect()
            .await
            .request("POST", "/", &[], b"pay")
            .await
            .unwrap();
        if response.status == 502 {
            failed += 1;
            assert_eq!(
                response.field("content-type"),
                Some("application/problem+json")
            );
        } else {
            assert_eq!(response.status, 200);
        }
    }
    assert_eq!((failed, bad.requests(), good.requests()), (4, 4, 4));
    edge.wait_for_outcome("failed_endpoint_reset", 4).await;
}

#[tokio::test]
async fn a_post_with_an_idempotency_key_is_repeated_where_its_route_allows_it() {
    for (is_allowed, key, statuses) in [
        (true, ("Idempotency-Key", "4711"), [200, 200]),
        (true, ("X-Other", "4711"), [200, 502]),
        (true, ("Idempotency-Key", "two words"), [200, 502]),
        (false, ("Idempotency-Key", "4711"), [200, 502]),
    ] {
        let bad = Endpoint::with("bad", Behavior::ResetBeforeAnswer).await;
        let good = Endpoint::start("good").await;
        let edge = without_ejection(Setup::new(&[&bad, &good]))
            .set("routes.0.idempotency_key", json!(is_allowed))
            .start()
            .await;
        let mut seen = Vec::new();
        for _ in 0..2 {
            let mut client = edge.connect().await;
            let sent = client.request("POST", "/", &[key], b"").await;
            seen.push(sent.unwrap().status);
        }
        seen.sort_unstable();
        assert_eq!(seen, statuses, "{is_allowed} {key:?}");
    }
}

#[tokio::test]
async fn a_body_is_kept_for_a_repetition_up_to_its_bound() {
    let bound = 64 * 1024;
    for (size, status) in [(3, 200), (bound, 200), (bound + 1, 502)] {
        let bad = Endpoint::with("bad", Behavior::ResetBeforeAnswer).await;
        let good = Endpoint::start("good").await;
        let edge = without_ejection(Setup::new(&[&bad, &good]))
            .set("routes.0.idempotency_key", json!(true))
            .start()
            .await;
        let body: String = ('a'..='z').cycle().take(size).collect();
        for is_chunked in [false, true] {
            // Both times the first attempt goes to the endpoint that fails.
            while (bad.requests() + good.requests()) % 2 != 0 {
                assert_eq!(edge.get("/").await.status, 200);
            }
            let framing = if is_chunked {
                ("Transfer-Encoding", "chunked".to_owned())
            } else {
                ("Content-Length", size.to_string())
            };
            let mut request = format!(
                "POST / HTTP/1.1\r\nHost: a\r\nIdempotency-Key: 4711\r\n{}: {}\r\n\r\n",
                framing.0, framing.1
            );
            if is_chunked {
                let (one, other) = body.split_at(size / 2);
                for chunk in [one, other] {
                    request.push_str(&format!("{:x}\r\n{chunk}\r\n", chunk.len()));
                }
                request.push_str("0\r\n\r\n");
            } else {
                request.push_str(&body);
            }
            let mut client = edge.connect().await;
            client.send(request.as_bytes()).await.unwrap();
            let response = client.response().await.unwrap();
            assert_eq!(response.status, status, "{size} {is_chunked}");
            if status == 200 {
                assert_eq!(response.json()["body"], body, "{size} {is_chunked}");
            }
        }
    }
}

#[tokio::test]
async fn an_idempotent_request_survives_every_failure_before_the_answer() {
    for (behavior, is_post_passed_on) in [
        (Behavior::ResetBeforeAnswer, false),
        (Behavior::CloseAfterAccept, false),
        (Behavior::Garbage, false),
        (Behavior::Status(502), true),
        (Behavior::Status(503), true),
        (Behavior::Status(504), true),
    ] {
        let (bad, good) = (Endpoint::start("bad").await, Endpoint::start("good").await);
        let edge = without_ejection(Setup::new(&[&bad, &good])).start().await;
        bad.behave(behavior.clone());
        let mut client = edge.connect().await;
        for method in ["GET", "HEAD", "OPTIONS"] {
            for _ in 0..4 {
                let response = client.request(method, "/", &[], b"").await.unwrap();
                assert_eq!(
                    response.status,
                    200,
                    "{behavior:?} {method}: {}",
                    response.text()
                );
            }
        }
        if is_post_passed_on {
            let mut statuses = Vec::new();
            for _ in 0..2 {
                statuses.push(client.request("POST", "/", &[], b"x").await.unwrap().status);
            }
            assert!(
                statuses.iter().any(|&s| s != 200),
                "{behavior:?}: {statuses:?}"
            );
        }
    }
}

#[tokio::test]
async fn an_endpoint_that_asks_for_time_gets_it_if_there_is_no_other() {
    let busy = "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n";
    for (max_backoff, requests) in [("2s", 2), ("250ms", 1)] {
        let a = Endpoint::with("a", Behavior::raw(busy)).await;
        let edge = without_ejection(Setup::new(&[&a]))
            .set(
                "clusters.main.retries",
                json!({ "max_backoff": max_backoff }),
            )
            .start()
            .await;
        let begun = Instant::now();
        let response = edge.get("/").await;
        assert_eq!(response.status, 503);
        assert_eq!(
            response.field("retry-after"),
            Some("1"),
            "it is the endpoint's"
        );
        assert_eq!(a.requests(), requests, "{max_backoff}");
        assert_eq!(begun.elapsed() >= Duration::from_secs(1), requests == 2);
    }
}

#[tokio::test]
async fn repetitions_are_spread_over_their_back_off() {
    let bad = Endpoint::with("bad", Behavior::ResetBeforeAnswer).await;
    let good = Endpoint::start("good").await;
    let edge = without_ejection(Setup::new(&[&bad, &good]))
        .set(
            "clusters.main.retries",
            json!({ "count": 1, "backoff": "2s", "max_backoff": "2s", "budget_min": 100 }),
        )
        .start()
        .await;
    let address = edge.http();
    let mut requests = JoinSet::new();
    for _ in 0..24 {
        requests.spawn(async move {
            let begun = Instant::now();
            assert_eq!(client::get(address, "/").await.unwrap().status, 200);
            begun.elapsed()
        });
    }
    let took = requests.join_all().await;
    let late = took.iter().filter(|took| took.as_millis() > 200).count();
    // Half of them are repeated, nine in ten of those later than that.
    assert!((3..=12).contains(&late), "{late}");
}

#[tokio::test]
async fn a_budget_that_is_spent_forbids_a_retry() {
    for (percent, min, status) in [(0, 0, 502), (0, 1, 200), (100, 0, 200)] {
        let bad = Endpoint::with("bad", Behavior::ResetBeforeAnswer).await;
        let good = Endpoint::start("good").await;
        let budget = json!({ "budget_percent": percent, "budget_min": min });
        let edge = without_ejection(Setup::new(&[&bad, &good]))
            .set("clusters.main.retries", budget)
            .start()
            .await;
        assert_eq!(edge.get("/").await.status, status, "{percent} {min}");
        let spent = f64::from(u8::from(status == 502));
        edge.wait_for_metric("portcullis_edge_retry_budget_spent_total", &[], spent)
            .await;
        let retried = [("reason", "reset")];
        edge.wait_for_metric("portcullis_edge_retries_total", &retried, 1.0 - spent)
            .await;
    }
}

#[tokio::test]
async fn a_burst_of_503_beyond_the_budget_is_passed_on_as_it_is() {
    let (bad_gate, good_gate) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let gated = |gate: &Arc<Semaphore>, answer: &str| {
        Behavior::Script(vec![
            Step::Receive,
            Step::Await(Arc::clone(gate)),
            Step::Send(answer.as_bytes().to_vec()),
        ])
    };
    let busy = "HTTP/1.1 503 Busy\r\nretry-after: 9\r\ncontent-length: 4\r\n\r\nbusy";
    let bad = Endpoint::with("bad", gated(&bad_gate, busy)).await;
    let fine = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine";
    let good = Endpoint::with("good", gated(&good_gate, fine)).await;
    let edge = without_ejection(Setup::new(&[&bad, &good]))
        .set(
            "clusters.main.retries",
            json!({ "budget_percent": 0, "budget_min": 1 }),
        )
        .start()
        .await;
    let address = edge.http();
    let mut requests = JoinSet::new();
    for _ in 0..8 {
        requests.spawn(async move { client::get(address, "/").await.unwrap() });
    }
    wait_until("all at their endpoints", async || {
        ((bad.in_flight(), good.in_flight()) == (4, 4)).then_some(())
    })
    .await;
    bad_gate.add_permits(4);
    for _ in 0..3 {
        let passed_on = requests.join_next().await.unwrap().unwrap();
        assert_eq!((passed_on.status, passed_on.text().as_str()), (503, "busy"));
        assert_eq!(passed_on.field("retry-after"), Some("9"));
    }
    good_gate.add_permits(5);
    for response in requests.join_all().await {
        assert_eq!(response.text(), "fine");
    }
    edge.wait_for_metric("portcullis_edge_retry_budget_spent_total", &[], 3.0)
        .await;
    edge.wait_for_outcome("endpoint_error", 3).await;
    assert_eq!((bad.requests(), good.requests()), (4, 5));
}

#[tokio::test]
async fn a_repetition_that_is_answered_at_length_leaves_the_budget_to_others() {
    let bad = Endpoint::with("bad", Behavior::ResetBeforeAnswer).await;
    let gate = Arc::new(Semaphore::new(0));
    let long = Behavior::Script(vec![
        Step::Receive,
        Step::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlo".to_vec()),
        Step::Await(Arc::clone(&gate)),
        Step::Send(b"ng".to_vec()),
    ]);
    let good = Endpoint::with("good", long).await;
    let edge = without_ejection(Setup::new(&[&bad, &good]))
        .set(
            "clusters.main.retries",
            json!({ "budget_percent": 0, "budget_min": 1 }),
        )
        .start()
        .await;
    let mut clients = Vec::new();
    for _ in 0..6 {
        let mut client = edge.connect().await;
        client
            .send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            .await
            .unwrap();
        assert_eq!(client.head().await.unwrap().status, 200);
        clients.push(client);
    }
    assert!(bad.requests() >= 2 && good.in_flight() == 6);
    edge.wait_for_metric(
        "portcullis_edge_retries_total",
        &[("reason", "reset")],
        bad.requests() as f64,
    )
    .await;
    gate.add_permits(6);
}

#[tokio::test]
async fn an_endpoint_that_dies_under_many_requests_fails_none_that_can_be_repeated() {
    let mut all = Vec::new();
    for (name, millis) in [("a", 50), ("b", 50), ("c", 300_000)] {
        let pace = Behavior::Slow(Duration::from_millis(millis));
        all.push(Endpoint::with(name, pace).await);
    }
    let edge = Setup::new(&all.iter().collect::<Vec<_>>()).start().await;
    let address = edge.http();
    let mut requests = JoinSet::new();
    for _ in 0..60 {
        requests.spawn(async move { client::get(address, "/").await.unwrap().status });
    }
    let dies = all.pop().unwrap();
    wait_until("a third of them to be there", async || {
        (dies.in_flight() == 20).then_some(())
    })
    .await;
    drop(dies);
    let statuses = requests.join_all().await;
    assert_eq!(statuses, vec![200; 60]);
    edge.wait_for_metric("portcullis_edge_retry_budget_spent_total", &[], 0.0)
        .await;
}

#[tokio::test]
async fn endpoints_that_refuse_are_passed_by_until_one_answers() {
    let refusing = [free_port(), free_port(), free_port()];
    let good = Endpoint::start("good").await;
    let [one, two, three] = refusing.each_ref().map(|port| port.address());
    let setup = Setup::for_addresses(&[one, two, three, good.address()]);
    let edge = without_ejection(setup).start().await;
    for _ in 0..8 {
        let mut client = edge.connect().await;
        let response = client.request("POST", "/", &[], b"pay").await.unwrap();
        assert_eq!(response.status, 200);
    }
    assert_eq!(good.requests(), 8);
}

#[tokio::test]
async fn a_500_is_passed_on_and_not_repeated() {
    let bad = Endpoint::with("bad", Behavior::Status(500)).await;
    let edge = without_ejection(Setup::new(&[&bad])).start().await;
    assert_eq!(edge.get("/x").await.status, 500);
    assert_eq!(bad.requests(), 1);
    assert_eq!(edge.log_of("/x").await["outcome"], "endpoint_error");
}

#[tokio::test]
async fn attempts_end_where_the_configuration_says() {
    let mut bad = Vec::new();
    for name in ["a", "b", "c", "d"] {
        bad.push(Endpoint::with(name, Behavior::ResetBeforeAnswer).await);
    }
    let all: Vec<&Endpoint> = bad.iter().collect();
    for retries in [0, 1, 3] {
        let before: usize = bad.iter().map(Endpoint::requests).sum();
        let edge = without_ejection(Setup::new(&all))
            .set("clusters.main.retries", json!(retries))
            .start()
            .await;
        assert_eq!(edge.get("/x").await.status, 502);
        let after: usize = bad.iter().map(Endpoint::requests).sum();
        assert_eq!(after - before, retries + 1, "retries: {retries}");
        assert_eq!(edge.log_of("/x").await["attempts"], retries + 1);
    }
}

#[tokio::test]
async fn an_answer_cut_short_is_cut_short_for_the_client_too() {
    for behavior in [Behavior::ResetMidBody, Behavior::TruncatedLength] {
        let bad = Endpoint::with("bad", behavior.clone()).await;
        let edge = without_ejection(Setup::new(&[&bad])).start().await;
        let answer = edge.connect().await.get("/cut").await;
        assert!(answer.is_err(), "{behavior:?}: {answer:?}");
        assert_eq!(
            bad.requests(),
            1,
            "{behavior:?}: bytes reached the client, no second attempt"
        );
        assert_eq!(
            edge.log_of("/cut").await["outcome"],
            "failed_endpoint_truncated"
        );
    }
}

#[tokio::test]
async fn a_silent_endpoint_becomes_504() {
    let silent = Endpoint::with("silent", Behavior::Hang).await;
    let edge = without_ejection(Setup::new(&[&silent]))
        .set("clusters.main.timeouts", json!({ "read": "300ms" }))
        .start()
        .await;
    let response = edge
        .connect()
        .await
        .request("POST", "/x", &[], b"x")
        .await
        .unwrap();
    assert_eq!(response.status, 504);
    assert_eq!(
        edge.log_of("/x").await["outcome"],
        "failed_endpoint_timeout"
    );
}

#[tokio::test]
async fn nobody_listening_becomes_502() {
    let (one, two) = (free_port(), free_port());
    let setup = Setup::for_addresses(&[one.address(), two.address()]);
    let edge = without_ejection(setup).start().await;
    let response = edge.get("/x").await;
    assert_eq!(response.status, 502);
    assert_eq!(
        response.field("content-type"),
        Some("application/problem+json")
    );
    let line = edge.log_of("/x").await;
    assert_eq!(
        (&line["outcome"], &line["attempts"]),
        (&json!("failed_connect_refused"), &json!(2))
    );
}

#[tokio::test]
async fn an_endpoint_that_keeps_failing_is_ejected_and_comes_back() {
    let (bad, good) = (Endpoint::start("bad").await, Endpoint::start("good").await);
    let edge = Setup::new(&[&bad, &good])
        .set(
            "clusters.main.ejection",
            json!({ "failures": 3, "duration": "1s" }),
        )
        .start()
        .await;
    bad.behave(Behavior::ResetBeforeAnswer);
    let address = bad.address().to_string();
    let labels = [("endpoint", address.as_str())];
    let mut client = edge.connect().await;
    wait_until("the ejection", async || {
        assert_eq!(client.get("/").await.unwrap().status, 200);
        (edge
            .metric("portcullis_edge_endpoint_ejected", &labels)
            .await
            == 1.0)
            .then_some(())
    })
    .await;
    assert_eq!(bad.requests(), 3, "three failures in a row eject");
    bad.behave(Behavior::Echo);
    wait_until("the way back", async || {
        let response = edge.get("/").await;
        (response.endpoint() == "bad").then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_last_endpoint_is_never_ejected() {
    let bad = Endpoint::with("bad", Behavior::Status(503)).await;
    let edge = Setup::new(&[&bad])
        .set(
            "clusters.main.ejection",
            json!({ "failures": 1, "max_percent": 100 }),
        )
        .start()
        .await;
    let mut client = edge.connect().await;
    for _ in 0..10 {
        assert_eq!(
            client.request("POST", "/", &[], b"x").await.unwrap().status,
            503
        );
    }
    assert_eq!(bad.requests(), 10);
}

#[tokio::test]
async fn a_client_that_leaves_frees_the_endpoint() {
    let slow = Endpoint::with("slow", Behavior::Slow(Duration::from_mins(5))).await;
    let edge = Setup::new(&[&slow]).start().await;
    let mut client = Connection::open(edge.http()).await.unwrap();
    client
        .send(b"GET /gone HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    wait_until("the request to arrive", async || {
        (slow.in_flight() == 1).then_some(())
    })
    .await;
    drop(client);
    assert_eq!(edge.log_of("/gone").await["outcome"], "client_gone");
    let labels = [("cluster", "main")];
    edge.wait_for_metric("portcullis_edge_endpoint_in_flight", &labels, 0.0)
        .await;
}

#[tokio::test]
async fn a_connection_the_endpoint_has_closed_is_not_used_for_a_post() {
    let a = Endpoint::with("a", Behavior::CloseUnannounced).await;
    let edge = without_ejection(Setup::new(&[&a])).start().await;
    let mut client = edge.connect().await;
    for _ in 0..20 {
        let response = client.request("POST", "/", &[], b"pay").await.unwrap();
        assert_eq!(response.status, 200, "{}", response.text());
        let is_closed = async || (a.open_connections() == 0).then_some(());
        wait_until("the endpoint to close", is_closed).await;
    }
    assert_eq!(a.requests(), 20);
}

#[tokio::test]
async fn a_slow_response_head_is_waited_for() {
    let a = Endpoint::with("a", Behavior::SlowHead(Duration::from_millis(5))).await;
    let edge = without_ejection(Setup::new(&[&a])).start().await;
    assert_eq!(edge.get("/").await.text(), "{}");
}

#[tokio::test]
async fn silence_inside_an_answer_ends_it() {
    let a = Endpoint::with("a", Behavior::HangMidBody).await;
    let edge = without_ejection(Setup::new(&[&a]))
        .set("clusters.main.timeouts", json!({ "read": "300ms" }))
        .start()
        .await;
    assert!(edge.connect().await.get("/half").await.is_err());
    assert_eq!(
        edge.log_of("/half").await["outcome"],
        "failed_endpoint_timeout"
    );
}

#[tokio::test]
async fn a_network_that_swallows_or_cuts_costs_time_and_no_idempotent_request() {
    let (far, near) = (Endpoint::start("far").await, Endpoint::start("near").await);
    let network = FaultProxy::start(far.address()).await;
    let setup = Setup::for_addresses(&[network.address(), near.address()]);
    let edge = without_ejection(setup)
        .set("clusters.main.timeouts", json!({ "read": "500ms" }))
        .start()
        .await;
    let mut client = edge.connect().await;
    for fault in [Fault::None, Fault::Blackhole, Fault::Cut, Fault::None] {
        network.set(fault);
        for _ in 0..4 {
            let response = client.get("/").await.unwrap();
            assert_eq!(response.status, 200, "{fault:?}: {}", response.text());
        }
    }
    assert!(
        far.requests() >= 4,
        "it was used before and after: {}",
        far.requests()
    );
}
