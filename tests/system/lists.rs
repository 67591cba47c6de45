//! Which clients may come in: lists, files of them, and bans made while the edge runs.

use portcullis_testkit::{Authority, Connection, Endpoint, client, wait_until};
use serde_json::{Value, json};

use crate::harness::Edge;
use crate::native::Setup;

/// An edge that believes what the test says of clients, with such lists at a place.
async fn with_lists(endpoint: &Endpoint, place: &str, lists: Value) -> Edge {
    let setup = Setup::new(&[endpoint])
        .set("trusted_proxies", json!(["127.0.0.1/32"]))
        .set(place, lists);
    setup.with_token().start().await
}

/// Status of a request that a trusted proxy passes on for a client.
async fn status(edge: &Edge, address: &str) -> u16 {
    let fields = [("X-Forwarded-For", address)];
    let mut client = edge.connect().await;
    client
        .request("GET", "/", &fields, b"")
        .await
        .unwrap()
        .status
}

async fn statuses<const N: usize>(edge: &Edge, addresses: [&str; N]) -> [u16; N] {
    let mut statuses = [0; N];
    for (status, address) in statuses.iter_mut().zip(addresses) {
        *status = self::status(edge, address).await;
    }
    statuses
}

#[tokio::test]
async fn lists_decide_who_comes_in_at_a_listener_and_on_a_route() {
    for (place, by) in [
        ("listeners.0.clients", "listener"),
        ("routes.0.clients", "route"),
    ] {
        let a = Endpoint::start("a").await;
        let lists = json!({
            "allow": ["192.0.2.0/24", "2001:db8::/32", "198.51.100.7"],
            "deny": [
                "192.0.2.128/25",
                { "network": "2001:db8:1::/48", "until": "2099-01-01T00:00:00Z" },
                { "network": "198.51.100.7", "until": "2001-01-01T00:00:00Z" },
            ],
        });
        let edge = with_lists(&a, place, lists).await;
        let asked = [
            "192.0.2.1",
            "192.0.2.200",
            "2001:db8::1",
            "2001:db8:1::1",
            "198.51.100.7",
        ];
        assert_eq!(
            statuses(&edge, asked).await,
            [200, 403, 200, 403, 200],
            "{place}"
        );
        assert_eq!(status(&edge, "203.0.113.9").await, 403, "not allowed");
        assert_eq!(a.requests(), 3);
        edge.wait_for_outcome("refused_client", 3).await;
        let labels = [("by", by), ("how", "refused")];
        edge.wait_for_metric("portcullis_edge_clients_refused_total", &labels, 3.0)
            .await;
    }
}

#[tokio::test]
async fn an_allowance_ends_when_it_says() {
    for place in ["listeners.0.clients", "routes.0.clients"] {
        let a = Endpoint::start("a").await;
        let lists = json!({ "allow": [
            { "network": "192.0.2.1", "until": "2001-01-01T00:00:00Z" },
            { "network": "192.0.2.2", "until": "2099-01-01T00:00:00Z" },
        ] });
        let edge = with_lists(&a, place, lists).await;
        assert_eq!(
            statuses(&edge, ["192.0.2.1", "192.0.2.2"]).await,
            [403, 200]
        );
    }
}

#[tokio::test]
async fn a_client_that_may_not_come_in_is_told_so_before_it_asks() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let identity = authority.issue("leaf", &["app.example"]);
    let tls = json!({ "certificates": [{ "cert": identity.cert, "key": identity.key }] });
    let deny = json!({ "deny": ["127.0.0.0/8"] });
    let setup = Setup::new(&[&a])
        .set("listeners.0.clients", deny.clone())
        .listener("tls", &json!({ "tls": tls, "clients": deny }));
    let edge = setup.start().await;
    let mut client = edge.connect().await;
    assert_eq!(client.response().await.unwrap().status, 403);
    client.expect_close().await;
    let opened = Connection::open_tls(edge.listener(1), "app.example", authority.client()).await;
    assert!(opened.is_err(), "no handshake for who may not come in");
    let name = "portcullis_edge_connections_refused_total";
    edge.wait_for_metric(name, &[("reason", "client")], 2.0)
        .await;
    edge.wait_for_outcome("refused_client", 2).await;
}

#[tokio::test]
async fn files_of_clients_are_read_again_when_they_change() {
    for place in ["listeners.0.clients", "routes.0.clients"] {
        let a = Endpoint::start("a").await;
        let setup = Setup::new(&[&a]).set("trusted_proxies", json!(["127.0.0.1/32"]));
        let (allowed, denied) = (
            setup.directory().join("allowed.txt"),
            setup.directory().join("denied.txt"),
        );
        std::fs::write(&allowed, "192.0.2.0/24\n").unwrap();
        std::fs::write(&denied, "192.0.2.7 # a nuisance\n").unwrap();
        let lists = json!({ "allow_file": allowed, "deny_file": denied });
        let edge = setup.set(place, lists).start().await;
        let asked = ["192.0.2.1", "192.0.2.7", "203.0.113.9"];
        assert_eq!(statuses(&edge, asked).await, [200, 403, 403], "{place}");
        std::fs::write(&allowed, "192.0.2.0/24\n203.0.113.0/24\n").unwrap();
        std::fs::write(&denied, "192.0.2.1 2099-01-01T00:00:00Z\n").unwrap();
        wait_until("the new lists", async || {
            (statuses(&edge, asked).await == [403, 200, 200]).then_some(())
        })
        .await;
        // What is broken changes nothing, and is shown.
        std::fs::write(&denied, "192.0.2.0/24\n192.0.2.300\n").unwrap();
        let name = "portcullis_edge_client_list_reloads_total";
        edge.wait_for_metric(name, &[("result", "failed")], 1.0)
            .await;
        edge.wait_for_metric(name, &[("result", "ok")], 2.0).await;
        assert_eq!(statuses(&edge, asked).await, [403, 200, 200], "{place}");
        let status = client::get(edge.admin(), "/v1/status")
            .await
            .unwrap()
            .json();
        assert_eq!(status["clients"][0]["allow"], 2);
        assert_eq!(
            status["clients"][0]["stale_files"]
                .as_array()
                .unwrap()
                .len(),
            1
        );
    }
}

#[tokio::test]
async fn a_dry_run_counts_whom_it_would_refuse() {
    for place in ["listeners.0.clients", "routes.0.clients"] {
        let a = Endpoint::start("a").await;
        let lists = json!({ "deny": ["192.0.2.0/24"], "dry_run": true });
        let edge = with_lists(&a, place, lists).await;
        assert_eq!(
            statuses(&edge, ["192.0.2.1", "203.0.113.9"]).await,
            [200, 200]
        );
        let labels = [("how", "would_refuse")];
        edge.wait_for_metric("portcullis_edge_clients_refused_total", &labels, 1.0)
            .await;
    }
}

#[tokio::test]
async fn a_ban_holds_from_the_next_request_until_its_end() {
    let a = Endpoint::start("a").await;
    let setup = Setup::new(&[&a]).with_token();
    let edge = setup.start().await;
    let mut client = edge.connect().await;
    assert_eq!(client.get("/").await.unwrap().status, 200);
    let ban = json!({ "network": "127.0.0.0/8" });
    assert_eq!(edge.change("bans/add", &ban).await.status, 200);
    assert_eq!(client.get("/").await.unwrap().status, 403);
    client.expect_close().await;
    let mut next = edge.connect().await;
    assert_eq!(next.response().await.unwrap().status, 403);
    edge.wait_for_metric("portcullis_edge_bans", &[], 1.0).await;
    let listed = edge.ask("bans").await.json();
    assert_eq!(
        listed["bans"],
        json!([{ "network": "127.0.0.0/8", "until": null }])
    );
    assert_eq!(edge.change("bans/remove", &ban).await.status, 200);
    assert_eq!(edge.get("/").await.status, 200);
    assert_eq!(edge.change("bans/remove", &ban).await.status, 404);

    let short = json!({ "network": "127.0.0.1", "ttl_seconds": 1 });
    assert_eq!(edge.change("bans/add", &short).await.status, 200);
    wait_until("the end of the ban", async || {
        let mut client = edge.connect().await;
        client.get("/").await.ok().filter(|one| one.status == 200)
    })
    .await;
}

#[tokio::test]
async fn a_ban_needs_a_network_and_the_token() {
    let a = Endpoint::start("a").await;
    let edge = Setup::new(&[&a]).with_token().start().await;
    for body in [
        json!({}),
        json!({ "network": "nobody" }),
        json!({ "network": "10.1.2.3/8" }),
        json!({ "network": "10.0.0.1", "ttl_seconds": 0 }),
        json!({ "network": "10.0.0.1", "ttl": "1m" }),
    ] {
        assert_eq!(edge.change("bans/add", &body).await.status, 400, "{body}");
    }
    let mut stranger = Connection::open(edge.admin()).await.unwrap();
    let body = br#"{"network":"10.0.0.1"}"#;
    let asked = stranger.request("POST", "/v1/bans/add", &[], body).await;
    assert_eq!(asked.unwrap().status, 401);
}
