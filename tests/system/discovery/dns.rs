//! Endpoints under names of the DNS, asked of a name server that does what the test says.

use std::net::{IpAddr, Ipv4Addr};

use portcullis_testkit::dns::{DnsAnswer, DnsRecord, DnsServer};

use super::*;

const NAME: &str = "app.test";

/// Endpoints of one name share a port, so that each has an address of its own.
async fn two() -> [Endpoint; 2] {
    let first = Endpoint::start_at("a", SocketAddr::from(([127, 0, 0, 2], 0))).await;
    let port = first.address().port();
    let second = SocketAddr::from(([127, 0, 0, 3], port));
    [first, Endpoint::start_at("b", second).await]
}

fn records(ttl: u32, endpoints: &[&Endpoint]) -> DnsAnswer {
    let addresses = endpoints
        .iter()
        .map(|one| DnsRecord::Address(one.address().ip()));
    DnsAnswer::Records(ttl, addresses.collect())
}

/// An edge whose cluster is under [`NAME`], with further keys of the source.
fn under_name(server: &DnsServer, port: u16, keys: Value) -> Setup {
    let mut place =
        json!({ "dns": format!("{NAME}:{port}"), "resolver": server.address().to_string() });
    for (key, value) in keys.as_object().unwrap() {
        place[key] = value.clone();
    }
    with_sources(json!([place]))
}

async fn wait_for_problem(edge: &Edge, problem: &str) {
    wait_until(problem, async || {
        let told = source(edge).await["problem"].as_str()?.contains(problem);
        told.then_some(())
    })
    .await;
}

#[tokio::test]
async fn endpoints_of_a_name_come_and_go_with_its_ttl_under_load() {
    let (server, [a, b]) = (DnsServer::start().await, two().await);
    server.set(NAME, records(1, &[&a]));
    let edge = under_name(&server, a.address().port(), json!({}))
        .start()
        .await;
    wait_for_endpoints(&edge, &[&a]).await;
    let load = gently(&edge);
    // Turned round at each answer: no change.
    server.set(NAME, records(1, &[&b, &a]));
    wait_for_endpoints(&edge, &[&a, &b]).await;
    load.wait_for_endpoints(2).await;
    server.set(NAME, records(1, &[&b]));
    wait_for_endpoints(&edge, &[&b]).await;
    let alias = DnsRecord::Alias("other.test".to_owned(), vec![a.address().ip()]);
    server.set(NAME, DnsAnswer::Records(1, vec![alias]));
    wait_for_endpoints(&edge, &[&a]).await;
    let shots = load.finish().await;
    assert!(failures(&shots).is_empty(), "{:?}", failures(&shots));
}

#[tokio::test]
async fn a_name_server_that_fails_changes_nothing() {
    let (server, [a, b]) = (DnsServer::start().await, two().await);
    server.set(NAME, records(0, &[&a]));
    let keys = json!({ "max_ttl": "1s" });
    let edge = under_name(&server, a.address().port(), keys).start().await;
    let load = gently(&edge);
    for (answer, problem) in [
        (DnsAnswer::NxDomain, "no endpoint"),
        (DnsAnswer::ServFail, NAME),
        (DnsAnswer::Records(0, Vec::new()), "no endpoint"),
        (DnsAnswer::Garbage, NAME),
        (DnsAnswer::Silence, NAME),
    ] {
        let shown = format!("{answer:?}");
        server.set(NAME, answer);
        wait_for_problem(&edge, problem).await;
        assert_eq!(
            shown_after(&edge).await,
            [a.address().to_string()],
            "{shown}"
        );
        server.set(NAME, records(0, &[&a]));
        wait_until("the name server to be believed again", async || {
            source(&edge).await["problem"].is_null().then_some(())
        })
        .await;
    }
    server.set(NAME, records(0, &[&b]));
    wait_for_endpoints(&edge, &[&b]).await;
    let shots = load.finish().await;
    assert!(failures(&shots).is_empty(), "{:?}", failures(&shots));
    let failed = edge
        .metric(
            "portcullis_edge_discovery_failures_total",
            &[("cluster", "main")],
        )
        .await;
    assert!(failed >= 5.0, "{failed}");
}

async fn shown_after(edge: &Edge) -> Vec<String> {
    shown(edge).await.unwrap()
}

#[tokio::test]
async fn more_addresses_than_fit_a_datagram_are_taken_up_to_the_bound() {
    let server = DnsServer::start().await;
    let addresses = (0..500_u16).map(|number| {
        let [high, low] = number.to_be_bytes();
        DnsRecord::Address(IpAddr::V4(Ipv4Addr::new(127, 1, high, low)))
    });
    server.set(NAME, DnsAnswer::Records(60, addresses.collect()));
    let edge = under_name(&server, 9, json!({ "max_requests": 7 }))
        .set("clusters.main.max_endpoints", json!(300))
        .start()
        .await;
    wait_until("300 of 500 endpoints", async || {
        (shown(&edge).await?.len() == 300).then_some(())
    })
    .await;
    assert_eq!(source(&edge).await["endpoints"], 500);
}

#[tokio::test]
async fn a_name_is_asked_for_no_more_and_no_less_often_than_is_said() {
    let (server, [a, b]) = (DnsServer::start().await, two().await);
    server.set(NAME, records(0, &[&a]));
    server.set("slow.test", records(0, &[&a]));
    server.set("eager.test", records(3600, &[&a]));
    let port = a.address().port();
    let place = |name: &str, keys: Value| {
        let mut place =
            json!({ "dns": format!("{name}:{port}"), "resolver": server.address().to_string() });
        for (key, value) in keys.as_object().unwrap() {
            place[key] = value.clone();
        }
        place
    };
    let sources = json!([
        place("slow.test", json!({ "min_ttl": "1h", "max_ttl": "1h" })),
        place("eager.test", json!({ "max_ttl": "1s" })),
    ]);
    let edge = with_sources(sources).start().await;
    wait_for_endpoints(&edge, &[&a]).await;
    for name in ["slow.test", "eager.test"] {
        server.set(name, records(3600, &[&b]));
    }
    // The eager one sees it; what the slow one said first still holds.
    wait_for_endpoints(&edge, &[&a, &b]).await;
    assert_eq!(
        server.questions("slow.test"),
        2,
        "once for each kind of address"
    );
}

#[tokio::test]
async fn one_family_of_addresses_can_be_chosen() {
    for (family, expected) in [
        ("all", vec!["127.0.0.1:9", "[::1]:9"]),
        ("ipv4", vec!["127.0.0.1:9"]),
        ("ipv6", vec!["[::1]:9"]),
    ] {
        let server = DnsServer::start().await;
        let record = |address: &str| {
            DnsAnswer::Records(1, vec![DnsRecord::Address(address.parse().unwrap())])
        };
        server.set_type(NAME, 1, record("127.0.0.1"));
        server.set_type(NAME, 28, record("::1"));
        let edge = under_name(&server, 9, json!({ "family": family }))
            .start()
            .await;
        wait_until(family, async || {
            (shown(&edge).await? == expected).then_some(())
        })
        .await;
        if family == "all" {
            // One kind that cannot be asked for does not take the other's place, nor lose its own.
            server.set_type(NAME, 28, DnsAnswer::ServFail);
            server.set_type(NAME, 1, record("127.0.0.7"));
            let expected = ["127.0.0.7:9", "[::1]:9"];
            wait_until("both", async || {
                (shown(&edge).await? == expected).then_some(())
            })
            .await;
        }
    }
}

#[tokio::test]
async fn services_have_tiers_weights_and_ports_of_their_own() {
    let server = DnsServer::start().await;
    let [a, b, c] = [
        Endpoint::start("a").await,
        Endpoint::start("b").await,
        Endpoint::start("c").await,
    ];
    let service = |priority, weight, endpoint: &Endpoint, name: &str| {
        let address = DnsRecord::Address(endpoint.address().ip());
        server.set(name, DnsAnswer::Records(1, vec![address]));
        DnsRecord::Service(priority, weight, endpoint.address().port(), name.to_owned())
    };
    let services = vec![
        service(10, 3, &a, "a.test"),
        service(10, 1, &b, "b.test"),
        service(20, 1, &c, "c.test"),
    ];
    server.set_type("_http._tcp.app.test", 33, DnsAnswer::Records(1, services));
    let place = json!({ "srv": "_http._tcp.app.test", "resolver": server.address().to_string() });
    let edge = with_sources(json!([place]))
        .set("clusters.main.slow_start", json!("0s"))
        .start()
        .await;
    wait_for_endpoints(&edge, &by_address([&a, &b, &c])).await;
    for _ in 0..8 {
        assert_eq!(edge.get("/").await.status, 200);
    }
    assert_eq!([a.requests(), b.requests(), c.requests()], [6, 2, 0]);
    server.set_type("_http._tcp.app.test", 33, DnsAnswer::ServFail);
    wait_for_problem(&edge, "").await;
    wait_for_endpoints(&edge, &by_address([&a, &b, &c])).await;
    let only = vec![service(10, 0, &c, "c.test")];
    server.set_type("_http._tcp.app.test", 33, DnsAnswer::Records(1, only));
    wait_for_endpoints(&edge, &[&c]).await;
}
