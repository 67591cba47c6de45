//! Deployments without a flaw: no check complains, however often it is asked.

use portcullis_testkit::{Deployment, Endpoint};
use serde_json::json;

use super::{EVERYTHING, Visit, start, visit, visit_while};
use crate::harness::up::Place;
use crate::native::Setup;

const PASSWORD: &str = "correct horse battery staple";

fn expect_all_passed(visit: &Visit) {
    let document = visit.document();
    for verdict in ["fail", "warn", "skipped"] {
        let none: [&str; 0] = [];
        assert_eq!(visit.with_verdict(verdict), none, "{document:#}");
    }
    assert_eq!(visit.code, 0);
}

/// Three endpoints behind a real edge that binds clients.
async fn edge_with_affinity(balance: &str) -> (Vec<Endpoint>, crate::harness::Edge) {
    let mut endpoints = Vec::new();
    for name in ["a", "b", "c"] {
        endpoints.push(Endpoint::start(name).await);
    }
    let all: Vec<&Endpoint> = endpoints.iter().collect();
    let setup = Setup::new(&all)
        .set("clusters.main.affinity", json!({}))
        .set("clusters.main.balance", json!(balance));
    let edge = setup.start().await;
    (endpoints, edge)
}

#[tokio::test]
async fn a_flawless_deployment_passes_every_check_over_http_and_https() {
    let plain = Deployment::start(None).await;
    expect_all_passed(&visit(&plain).await);
    let tls = Deployment::start_with_tls(None).await;
    let visit = visit(&tls).await;
    expect_all_passed(&visit);
    assert_eq!(visit.check("tls")["figures"]["refuses_tls_1_1"], true);
    let (url, password) = (plain.url(), Deployment::PASSWORD);
    // Guesses were refused before, and still are.
    let more: Vec<&str> = EVERYTHING
        .into_iter()
        .filter(|f| *f != "--limits")
        .collect();
    let stop = || plain.stop_an_instance();
    expect_all_passed(&visit_while(&url, &more, password, "4", stop).await);
}

#[tokio::test]
async fn a_whole_up_passes_every_check_that_concerns_it() {
    let place = Place::new();
    let up = place.start().await;
    up.register("ada@example.com", PASSWORD).await;
    let url = format!("http://{}", up.http);
    let arguments = [
        "--health-only",
        "--load-distribution",
        "--headers",
        "--revocation",
        "--user",
        "ada@example.com",
        "--instances",
        "3",
        &url,
    ];
    // Its endpoints do not echo: that check is asked for below, with endpoints that do.
    let visit = Visit::end(start(&arguments, PASSWORD)).await;
    assert_eq!(
        visit.with_verdict("fail"),
        ["forwarding"],
        "{:#}",
        visit.document()
    );
    let passed = ["health", "distribution", "errors", "logout"];
    assert_eq!(visit.with_verdict("pass"), passed);
    assert_eq!(visit.check("logout")["figures"]["instances"], 3);
    let certificate = place.data().join("cert.pem");
    let https = format!("https://localhost:{}", up.https.port());
    let tls = Visit::json(&["--tls", &https, "--cacert", certificate.to_str().unwrap()]).await;
    expect_all_passed(&tls);
    assert_eq!(tls.check("tls")["figures"]["refuses_tls_1_1"], true);
    let limits = Visit::json(&["--limits", &url]).await;
    expect_all_passed(&limits);
}

#[tokio::test]
async fn a_real_edge_passes_while_an_endpoint_dies() {
    let (mut endpoints, edge) = edge_with_affinity("round_robin").await;
    let url = format!("http://{}", edge.http());
    let more = [
        "--health-only",
        "--load-distribution",
        "--affinity",
        "--headers",
        "--echo-path=/",
        "--instances=3",
    ];
    let dies = || drop(endpoints.remove(1));
    let visit = visit_while(&url, &more, "", "6", dies).await;
    expect_all_passed(&visit);
    assert_eq!(visit.check("failover")["figures"]["failed"], 0);
}

#[tokio::test]
async fn a_hundred_clean_visits_raise_no_false_alarm() {
    for (balance, rounds) in [("round_robin", 13), ("least_conn", 12)] {
        let (_endpoints, edge) = edge_with_affinity(balance).await;
        let url = format!("http://{}", edge.http());
        for _ in 0..rounds {
            four_visits_at_once_raise_no_alarm(&url).await;
        }
    }
}

/// They take turns with each other, which is where a verdict could go wrong.
async fn four_visits_at_once_raise_no_alarm(url: &str) {
    let arguments = [url, "--echo-path=/", "--instances=3", "--requests=60"];
    let visits = [(); 4].map(|()| start(&arguments, ""));
    for process in visits {
        let visit = Visit::end(process).await;
        let document = visit.document();
        let none: [&str; 0] = [];
        assert_eq!(visit.with_verdict("fail"), none, "{document:#}");
        assert_eq!(visit.with_verdict("warn"), none, "{document:#}");
        assert_eq!(visit.code, 0);
    }
}
