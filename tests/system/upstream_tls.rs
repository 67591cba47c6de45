//! TLS towards endpoints: whom the edge trusts, what it shows, and what becomes of those it does not
//! trust.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};

use portcullis_testkit::tls_front::Manner;
use portcullis_testkit::{Authority, Behavior, Endpoint, Identity, TlsFront, wait_until};
use serde_json::{Value, json};

use super::Setup;
use crate::harness::Edge;

fn trusting(authority: &Authority) -> Value {
    json!({ "ca": authority.root_file(), "server_name": "app.internal" })
}

async fn edge_to(address: SocketAddr, tls: Value) -> Edge {
    let setup = Setup::for_addresses(&[address]);
    setup.set("clusters.main.tls", tls).start().await
}

async fn front(identity: &Identity, behind: &Endpoint) -> TlsFront {
    TlsFront::start(&Manner::showing(identity), behind.address()).await
}

#[tokio::test]
async fn requests_go_over_tls_on_connections_that_are_kept() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let identity = authority.issue("app", &["app.internal"]);
    let front = front(&identity, &a).await;
    let edge = edge_to(front.address(), trusting(&authority)).await;
    let mut client = edge.connect().await;
    for number in 0..20 {
        let body = format!("body {number}");
        let sent = client.request("PUT", "/x", &[], body.as_bytes()).await;
        let answer = sent.unwrap();
        assert_eq!((answer.status, &answer.json()["body"]), (200, &json!(body)));
    }
    let handshakes = front.handshakes();
    assert_eq!(handshakes.len(), 1, "{handshakes:?}");
    assert_eq!(handshakes[0].server_name.as_deref(), Some("app.internal"));
    assert_eq!(handshakes[0].protocol, None);
}

#[tokio::test]
async fn a_second_connection_resumes_the_session_of_the_first() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    a.behave(Behavior::CloseAfterAnswer);
    let identity = authority.issue("app", &["app.internal"]);
    let front = front(&identity, &a).await;
    let edge = edge_to(front.address(), trusting(&authority)).await;
    for _ in 0..3 {
        assert_eq!(edge.get("/").await.status, 200);
    }
    let resumed: Vec<bool> = front.handshakes().iter().map(|h| h.is_resumed).collect();
    assert_eq!(resumed, [false, true, true]);
}

#[tokio::test]
async fn the_name_of_an_endpoint_is_asked_for_and_verified() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let ca = json!({ "ca": authority.root_file() });
    for (names, written, outcome) in [
        (["localhost"], "localhost", "served"),
        (["127.0.0.1"], "127.0.0.1", "served"),
        (["app.internal"], "localhost", "failed_tls_name"),
        (["localhost"], "127.0.0.1", "failed_tls_name"),
    ] {
        let identity = authority.issue("app", &names);
        let front = front(&identity, &a).await;
        let address = format!("{written}:{}", front.address().port());
        let edge = Setup::for_addresses(&[])
            .set("clusters.main.endpoints", json!([address]))
            .set("clusters.main.tls", ca.clone())
            .start()
            .await;
        edge.get("/x").await;
        assert_eq!(edge.log_of("/x").await["outcome"], outcome, "{written}");
    }
}

#[tokio::test]
async fn each_reason_not_to_trust_an_endpoint_has_its_own_outcome() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let elsewhere = Authority::new();
    let stranger = elsewhere.issue("app", &["app.internal"]);
    let other = authority.issue("other", &["other.internal"]);
    let expired = authority.issue_expired("expired", &["app.internal"]);
    let good = authority.issue("good", &["app.internal"]);
    let old = Manner {
        is_old: true,
        ..Manner::showing(&good)
    };
    let mut picky = trusting(&authority);
    picky["min_version"] = json!("1.3");
    let fronts = [
        (
            front(&stranger, &a).await,
            trusting(&authority),
            "failed_tls_untrusted",
        ),
        (
            front(&other, &a).await,
            trusting(&authority),
            "failed_tls_name",
        ),
        (
            front(&expired, &a).await,
            trusting(&authority),
            "failed_tls_expired",
        ),
        (front(&good, &a).await, json!({}), "failed_tls_untrusted"),
        (
            TlsFront::start(&old, a.address()).await,
            picky,
            "failed_tls",
        ),
    ];
    for (front, tls, outcome) in fronts {
        let edge = edge_to(front.address(), tls).await;
        let answer = edge.get("/x").await;
        let line = edge.log_of("/x").await;
        assert_eq!((answer.status, &line["outcome"]), (502, &json!(outcome)));
        let title = answer.json()["title"].to_string();
        assert!(!title.contains("internal"), "{title}");
    }
    assert_eq!(a.requests(), 0);
}

#[tokio::test]
async fn an_endpoint_that_speaks_no_tls_is_told_from_one_that_hangs_up() {
    let authority = Authority::new();
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = plain.local_addr().unwrap();
    std::thread::spawn(move || {
        while let Ok((mut client, _)) = plain.accept() {
            let read = client.read(&mut [0; 4096]);
            assert!(read.unwrap() > 0);
            let refusal = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
            client.write_all(refusal).unwrap();
        }
    });
    let edge = edge_to(address, trusting(&authority)).await;
    assert_eq!(edge.get("/x").await.status, 502);
    assert_eq!(edge.log_of("/x").await["outcome"], "failed_tls_plain");
    let rude = Endpoint::with("b", Behavior::CloseAfterAccept).await;
    let edge = edge_to(rude.address(), trusting(&authority)).await;
    assert_eq!(edge.get("/x").await.status, 502);
    assert_eq!(edge.log_of("/x").await["outcome"], "failed_tls");
}

#[tokio::test]
async fn a_handshake_that_hangs_counts_into_the_connect_timeout() {
    // The kernel accepts for it, and nobody reads.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let edge = Setup::for_addresses(&[silent.local_addr().unwrap()])
        .set("clusters.main.tls", json!({ "verify": false }))
        .set("clusters.main.timeouts", json!({ "connect": "200ms" }))
        .start()
        .await;
    assert_eq!(edge.get("/x").await.status, 504);
    let line = edge.log_of("/x").await;
    assert_eq!(line["outcome"], "failed_connect_timeout");
}

#[tokio::test]
async fn an_untrusted_endpoint_is_passed_over_and_ejected_whatever_the_method() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let good = front(&authority.issue("app", &["app.internal"]), &a).await;
    let elsewhere = Authority::new();
    let bad = front(&elsewhere.issue("app", &["app.internal"]), &a).await;
    let edge = Setup::for_addresses(&[good.address(), bad.address()])
        .set("clusters.main.tls", trusting(&authority))
        .start()
        .await;
    for _ in 0..10 {
        let mut client = edge.connect().await;
        let answer = client.request("POST", "/x", &[], b"once").await.unwrap();
        assert_eq!(answer.status, 200);
    }
    let labels = [("reason", "tls")];
    edge.wait_for_metric("portcullis_edge_endpoint_ejections_total", &labels, 1.0)
        .await;
    assert_eq!(a.requests(), 10);
}

#[tokio::test]
async fn an_endpoint_that_asks_for_a_certificate_gets_the_one_of_the_edge() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let identity = authority.issue("app", &["app.internal"]);
    let own = authority.issue("edge", &["edge.internal"]);
    for is_old in [false, true] {
        let manner = Manner {
            clients_of: Some(&authority),
            is_old,
            ..Manner::showing(&identity)
        };
        let front = TlsFront::start(&manner, a.address()).await;
        let mut tls = trusting(&authority);
        let edge = edge_to(front.address(), tls.clone()).await;
        assert_eq!(edge.get("/x").await.status, 502, "without any");
        tls["cert"] = json!(own.cert);
        tls["key"] = json!(own.key);
        let edge = edge_to(front.address(), tls).await;
        assert_eq!(edge.get("/x").await.status, 200);
        let shown = front.handshakes().pop().unwrap().client;
        assert_eq!(shown.as_ref(), Some(&own.leaf));
    }
}

#[tokio::test]
async fn without_verification_any_certificate_will_do() {
    let (a, elsewhere) = (Endpoint::start("a").await, Authority::new());
    let stranger = elsewhere.issue_expired("app", &["app.internal"]);
    let front = front(&stranger, &a).await;
    let edge = edge_to(front.address(), json!({ "verify": false })).await;
    assert_eq!(edge.get("/x").await.status, 200);
    let output = edge.process.output();
    assert!(output.contains("anyone between may read"), "{output}");
}

#[tokio::test]
async fn clusters_that_trust_others_share_no_connection() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let front = front(&authority.issue("app", &["app.internal"]), &a).await;
    let edge = Setup::for_addresses(&[front.address()])
        .set("clusters.main.tls", trusting(&authority))
        .set(
            "clusters.strict.endpoints",
            json!([front.address().to_string()]),
        )
        .set("clusters.strict.tls", trusting(&Authority::new()))
        .set(
            "routes.1",
            json!({ "path": "/strict", "cluster": "strict" }),
        )
        .start()
        .await;
    for _ in 0..3 {
        assert_eq!(edge.get("/").await.status, 200);
        assert_eq!(edge.get("/strict").await.status, 502);
    }
    assert_eq!(a.requests(), 3);
}

#[tokio::test]
async fn a_websocket_goes_over_tls() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let front = front(&authority.issue("app", &["app.internal"]), &a).await;
    let edge = edge_to(front.address(), trusting(&authority)).await;
    let fields = [("Connection", "Upgrade"), ("Upgrade", "websocket")];
    let mut client = edge.connect().await;
    let answer = client.request("GET", "/ws", &fields, b"").await.unwrap();
    assert_eq!(answer.status, 101);
    client.send(b"one").await.unwrap();
    assert_eq!(client.read_some().await.unwrap(), b"one");
    let stranger = edge_to(front.address(), json!({})).await;
    let mut client = stranger.connect().await;
    let answer = client.request("GET", "/ws", &fields, b"").await.unwrap();
    assert_eq!(answer.status, 502);
    let line = stranger.log_of("/ws").await;
    assert_eq!(line["outcome"], "failed_tls_untrusted");
}

#[tokio::test]
async fn checks_go_over_tls_as_requests_do_unless_told_otherwise() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let front = front(&authority.issue("app", &["app.internal"]), &a).await;
    let check = |tls: Value| {
        let mut check = json!({ "interval": "200ms", "timeout": "200ms", "rise": 1, "fall": 1,
            "host": "public.example" });
        if !tls.is_null() {
            check["tls"] = tls;
        }
        check
    };
    for (tls, is_healthy) in [(json!(null), 1.0), (json!("off"), 0.0), (json!({}), 0.0)] {
        let edge = Setup::for_addresses(&[front.address()])
            .set("clusters.main.tls", trusting(&authority))
            .set("clusters.main.health", check(tls))
            .start_unready()
            .await;
        let probes = "portcullis_edge_probes_total";
        wait_until("a probe", async || {
            (edge.metric(probes, &[]).await > 0.0).then_some(())
        })
        .await;
        let healthy = "portcullis_edge_endpoint_healthy";
        edge.wait_for_metric(healthy, &[], is_healthy).await;
    }
}

#[tokio::test]
async fn large_bodies_pass_both_ways_over_tls() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let front = front(&authority.issue("app", &["app.internal"]), &a).await;
    let edge = Setup::for_addresses(&[front.address()])
        .set("clusters.main.tls", trusting(&authority))
        .set("listeners.0.limits.body_bytes", json!("8MiB"))
        .start()
        .await;
    let body = "0123456789abcdef".repeat(256 * 1024);
    let mut client = edge.connect().await;
    let sent = client.request("PUT", "/x", &[], body.as_bytes()).await;
    assert_eq!(sent.unwrap().json()["body"], body);
}

const RELOADS: &str = "portcullis_edge_upstream_tls_reloads_total";

#[tokio::test]
async fn another_certificate_of_the_edge_is_shown_once_its_files_change() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let identity = authority.issue("app", &["app.internal"]);
    let manner = Manner {
        clients_of: Some(&authority),
        ..Manner::showing(&identity)
    };
    let front = TlsFront::start(&manner, a.address()).await;
    let first = authority.issue("edge", &["edge.internal"]);
    let mut tls = trusting(&authority);
    tls["cert"] = json!(first.cert);
    tls["key"] = json!(first.key);
    let edge = edge_to(front.address(), tls).await;
    let mut client = edge.connect().await;
    for _ in 0..2 {
        assert_eq!(client.get("/").await.unwrap().status, 200);
    }
    let second = authority.issue("edge", &["edge.internal"]);
    edge.wait_for_metric(RELOADS, &[("cluster", "main"), ("result", "ok")], 1.0)
        .await;
    for _ in 0..2 {
        assert_eq!(client.get("/").await.unwrap().status, 200);
    }
    let shown = || {
        let handshakes = front.handshakes().into_iter();
        handshakes
            .map(|one| one.client.unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(shown(), [first.leaf.clone(), second.leaf.clone()]);

    std::fs::write(&second.cert, "damaged").unwrap();
    let labels = [("cluster", "main"), ("result", "failed")];
    edge.wait_for_metric(RELOADS, &labels, 1.0).await;
    let output = edge.process.output();
    let line = output
        .lines()
        .find(|line| line.contains("the old one stays"));
    let line = line.unwrap_or_else(|| panic!("{output}"));
    assert!(
        line.contains("edge.pem") && line.contains("no usable certificate"),
        "{line}"
    );
    assert_eq!(client.get("/").await.unwrap().status, 200);
    assert_eq!(shown().len(), 2, "the connection is kept");
}

#[tokio::test]
async fn endpoints_are_trusted_by_the_authorities_that_their_file_holds_now() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let elsewhere = Authority::new();
    let front = front(&authority.issue("app", &["app.internal"]), &a).await;
    let ca = authority.directory().join("ca.pem");
    let trust = |authority: &Authority| std::fs::copy(authority.root_file(), &ca).unwrap();
    trust(&authority);
    let tls = json!({ "ca": ca, "server_name": "app.internal" });
    let check = json!({ "interval": "200ms", "timeout": "200ms", "rise": 1, "fall": 1 });
    let setup = Setup::for_addresses(&[front.address()])
        .set("clusters.main.tls", tls.clone())
        .set(
            "clusters.checked.endpoints",
            json!([front.address().to_string()]),
        )
        .set("clusters.checked.tls", tls)
        .set("clusters.checked.health", check);
    let edge = setup.start().await;
    assert_eq!(edge.get("/").await.status, 200);
    let healthy = "portcullis_edge_endpoint_healthy";
    let checked = [("cluster", "checked")];
    let replaced = |count| edge.wait_for_metric(RELOADS, &[("cluster", "main")], count);
    edge.wait_for_metric(healthy, &checked, 1.0).await;

    trust(&elsewhere);
    replaced(1.0).await;
    assert_eq!(edge.get("/lost").await.status, 502);
    assert_eq!(
        edge.log_of("/lost").await["outcome"],
        "failed_tls_untrusted"
    );
    edge.wait_for_metric(healthy, &checked, 0.0).await;

    trust(&authority);
    replaced(2.0).await;
    edge.wait_for_metric(healthy, &checked, 1.0).await;
    wait_until("trust again", async || {
        (edge.get("/").await.status == 200).then_some(())
    })
    .await;
}
