//! Which requests get another attempt when an endpoint fails, and what is sent with it.

use std::time::Duration;

use portcullis_testkit::fault::{Fault, FaultProxy};
use portcullis_testkit::{Behavior, Endpoint, client, free_port, wait_until};
use serde_json::json;
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
async fn a_body_that_is_sent_twice_counts_once() {
    let bad = Endpoint::with("bad", Behavior::ResetBeforeAnswer).await;
    let good = Endpoint::start("good").await;
    let edge = without_ejection(Setup::new(&[&bad, &good]))
        .set("routes.0.idempotency_key", json!(true))
        .set("listeners.0.limits.body_bytes", json!("30KiB"))
        .start()
        .await;
    let (body, key) = ("x".repeat(20_480), ("Idempotency-Key", "4711"));
    for path in ["/0", "/1"] {
        let mut client = edge.connect().await;
        let sent = client.request("POST", path, &[key], body.as_bytes()).await;
        let response = sent.unwrap();
        assert_eq!(response.status, 200, "{}", response.text());
        assert_eq!(edge.log_of(path).await["request_bytes"], 20_480);
    }
    assert_eq!((bad.requests(), good.requests()), (1, 2));
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
