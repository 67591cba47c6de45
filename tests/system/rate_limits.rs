//! How often a client may come, and how many of its requests may run at once. Rates are slow, so that no test
//! depends on the time it takes.

use std::time::Duration;

use portcullis_testkit::{Behavior, Connection, Endpoint, Response, wait_until};
use portcullis_token::Algorithm;
use serde_json::{Value, json};

use super::Setup;
use crate::harness::Edge;
use crate::harness::issuer::{Publisher, Signer};

const COUNTED: &str = "portcullis_edge_rate_limited_total";

/// An edge whose only route has one limit.
async fn limited(endpoint: &Endpoint, limit: Value) -> Edge {
    setup(endpoint, limit).start().await
}

fn setup(endpoint: &Endpoint, limit: Value) -> Setup {
    Setup::new(&[endpoint])
        .set("rate_limits.tested", limit)
        .set("routes.0.rate_limits", json!(["tested"]))
}

async fn ask(edge: &Edge, path: &str, fields: &[(&str, &str)]) -> Response {
    let mut client = edge.connect().await;
    client.request("GET", path, fields, b"").await.unwrap()
}

/// Statuses of as many requests.
async fn statuses(edge: &Edge, path: &str, fields: &[(&str, &str)], count: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..count {
        statuses.push(ask(edge, path, fields).await.status);
    }
    statuses
}

#[tokio::test]
async fn who_comes_too_often_is_told_when_to_come_back() {
    let a = Endpoint::start("a").await;
    let edge = limited(&a, json!({ "rate": "60/h", "burst": 2 })).await;
    let first = edge.get("/x").await;
    assert_eq!(first.status, 200);
    for (name, value) in [
        ("ratelimit-policy", "\"tested\";q=2;w=120"),
        ("ratelimit", "\"tested\";r=1;t=60"),
        ("ratelimit-limit", "2"),
        ("ratelimit-remaining", "1"),
        ("ratelimit-reset", "60"),
    ] {
        assert_eq!(first.field(name), Some(value), "{name}");
    }
    assert_eq!(first.field("retry-after"), None);
    assert_eq!(edge.get("/x").await.status, 200);
    let refused = edge.get("/x").await;
    assert_eq!(refused.status, 429);
    assert_eq!(
        refused.json()["type"],
        "urn:portcullis:problem:refused_rate_limit"
    );
    assert_eq!(refused.field("ratelimit-remaining"), Some("0"));
    let wait: u64 = refused.field("retry-after").unwrap().parse().unwrap();
    assert!((50..=60).contains(&wait), "{wait}");
    assert_eq!(a.requests(), 2);
    edge.wait_for_outcome("refused_rate_limit", 1).await;
    let lines = edge.wait_for_log(3, |line| line["path"] == "/x").await;
    assert_eq!(lines[2]["outcome"], "refused_rate_limit");
    assert_eq!(lines[2]["limited_by"], "tested");
    assert_eq!(lines[0]["limited_by"], Value::Null);
    let of = |result| [("limit", "tested"), ("result", result)];
    edge.wait_for_metric(COUNTED, &of("admitted"), 2.0).await;
    edge.wait_for_metric(COUNTED, &of("refused_rate"), 1.0)
        .await;
}

#[tokio::test]
async fn a_refused_request_keeps_its_connection_and_the_rate_refills() {
    let a = Endpoint::start("a").await;
    let edge = limited(&a, json!({ "rate": "4/s", "burst": 1 })).await;
    let mut client = edge.connect().await;
    let mut seen = Vec::new();
    wait_until("both answers", async || {
        seen.push(client.get("/").await.unwrap().status);
        let refused = seen.iter().position(|status| *status == 429);
        let at = refused?;
        seen[at..].contains(&200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn fields_are_those_that_are_asked_for() {
    let a = Endpoint::start("a").await;
    for (fields, draft, classic) in [
        ("draft", true, false),
        ("classic", false, true),
        ("off", false, false),
    ] {
        let limit = json!({ "rate": "1/h", "fields": fields });
        let edge = limited(&a, limit).await;
        for status in [200, 429] {
            let response = edge.get("/").await;
            assert_eq!(response.status, status);
            assert_eq!(response.field("ratelimit").is_some(), draft, "{fields}");
            let policy = response.field("ratelimit-policy");
            assert_eq!(policy.is_some(), draft, "{fields}");
            let limit = response.field("ratelimit-limit");
            assert_eq!(limit.is_some(), classic, "{fields}");
            assert_eq!(response.field("retry-after").is_some(), status == 429);
        }
    }
}

#[tokio::test]
async fn each_key_has_a_limit_of_its_own() {
    let a = Endpoint::start("a").await;
    for (key, one, other, alike) in [
        (
            json!(["header:X-Api-Key"]),
            ("/", "k1"),
            ("/", "k2"),
            ("/x", "k1"),
        ),
        (json!(["path"]), ("/a", "k"), ("/b", "k"), ("/%61", "l")),
        (
            json!(["query:id"]),
            ("/?id=1", "k"),
            ("/?id=2", "k"),
            ("/x?a=b&id=1", "l"),
        ),
        (
            json!(["header:x-api-key", "path"]),
            ("/a", "k1"),
            ("/b", "k1"),
            ("/a?q", "k1"),
        ),
    ] {
        let edge = limited(&a, json!({ "rate": "1/h", "key": key })).await;
        for ((path, value), status) in [(one, 200), (one, 429), (other, 200), (alike, 429)] {
            let response = ask(&edge, path, &[("X-Api-Key", value)]).await;
            assert_eq!(response.status, status, "{key} {path} {value}");
        }
    }
}

#[tokio::test]
async fn cookie_host_route_and_all_are_keys_too() {
    let a = Endpoint::start("a").await;
    let by = |key: &str| setup(&a, json!({ "rate": "1/h", "key": [key] }));
    let edge = by("cookie:user").start().await;
    for (cookie, status) in [("user=1", 200), ("a=b; user=1", 429), ("user=2", 200)] {
        let response = ask(&edge, "/", &[("Cookie", cookie)]).await;
        assert_eq!(response.status, status, "{cookie}");
    }
    let edge = by("host").start().await;
    for (host, status) in [
        ("a.example", 200),
        ("A.Example:80", 429),
        ("b.example", 200),
    ] {
        let client = Connection::open(edge.http()).await.unwrap();
        let response = client.with_host(host).get("/").await.unwrap();
        assert_eq!(response.status, status, "{host}");
    }
    let other =
        json!({ "name": "other", "path": "/o", "cluster": "main", "rate_limits": ["tested"] });
    for (key, status) in [("route", 200), ("all", 429)] {
        let edge = by(key).set("routes.1", other.clone()).start().await;
        assert_eq!(edge.get("/a").await.status, 200);
        assert_eq!(edge.get("/b").await.status, 429);
        assert_eq!(edge.get("/o").await.status, status, "{key}");
    }
}

#[tokio::test]
async fn a_request_without_its_key_is_known_by_its_address() {
    let a = Endpoint::start("a").await;
    let limit = json!({ "rate": "1/h", "key": ["header:X-Api-Key"] });
    let edge = setup(&a, limit)
        .set("trusted_proxies", json!(["127.0.0.0/8"]))
        .start()
        .await;
    for (client, status) in [
        ("203.0.113.1", 200),
        ("203.0.113.1", 429),
        ("203.0.113.2", 200),
    ] {
        let response = ask(&edge, "/", &[("X-Forwarded-For", client)]).await;
        assert_eq!(response.status, status, "{client}");
    }
}

#[tokio::test]
async fn an_ipv6_network_is_one_client() {
    let a = Endpoint::start("a").await;
    for (prefix, neighbour) in [(64, 429), (128, 200)] {
        let limit = json!({ "rate": "1/h", "ipv6_prefix": prefix });
        let edge = setup(&a, limit)
            .set("trusted_proxies", json!(["127.0.0.0/8"]))
            .start()
            .await;
        for (client, status) in [
            ("2001:db8::1", 200),
            ("2001:db8::1", 429),
            ("2001:db8::2", neighbour),
            ("2001:db8:0:1::1", 200),
            ("203.0.113.1", 200),
        ] {
            let response = ask(&edge, "/", &[("X-Forwarded-For", client)]).await;
            assert_eq!(response.status, status, "{prefix} {client}");
        }
    }
}

#[tokio::test]
async fn a_dry_run_counts_and_refuses_nobody() {
    let a = Endpoint::start("a").await;
    let edge = limited(&a, json!({ "rate": "1/h", "dry_run": true })).await;
    assert_eq!(statuses(&edge, "/x", &[], 3).await, [200; 3]);
    assert_eq!(edge.get("/x").await.field("ratelimit"), None);
    let would = [("limit", "tested"), ("result", "would_refuse_rate")];
    edge.wait_for_metric(COUNTED, &would, 3.0).await;
    let lines = edge.wait_for_log(4, |line| line["path"] == "/x").await;
    assert_eq!(lines[3]["outcome"], "served");
    assert_eq!(lines[3]["limited_by"], "tested");
}

#[tokio::test]
async fn exempt_networks_and_health_checks_are_not_limited() {
    let a = Endpoint::start("a").await;
    let edge = limited(&a, json!({ "rate": "1/h", "exempt": ["127.0.0.0/8"] })).await;
    assert_eq!(statuses(&edge, "/", &[], 3).await, [200; 3]);
    for (exempt, second) in [(true, 200), (false, 429)] {
        let limit = json!({ "rate": "1/h", "exempt_health_checks": exempt });
        let edge = setup(&a, limit)
            .set("clusters.main.health", json!({ "path": "/health" }))
            .start()
            .await;
        assert_eq!(statuses(&edge, "/health", &[], 2).await, [200, second]);
        let mut client = edge.connect().await;
        let mut posts = Vec::new();
        for _ in 0..2 {
            let response = client.request("POST", "/health", &[], b"").await;
            posts.push(response.unwrap().status);
        }
        assert_eq!(posts[1], 429, "no health check posts");
    }
}

#[tokio::test]
async fn of_several_limits_the_strictest_answers_and_the_others_count_nothing() {
    let a = Endpoint::start("a").await;
    let edge = setup(&a, json!({ "rate": "9/h", "key": ["path"] }))
        .set("rate_limits.wide", json!({ "rate": "3/h" }))
        .set("listeners.0.rate_limits", json!(["wide"]))
        .start()
        .await;
    let first = edge.get("/a").await;
    assert_eq!(first.field("ratelimit"), Some("\"wide\";r=2;t=1200"));
    let policies = first.field("ratelimit-policy").unwrap();
    assert_eq!(policies, "\"wide\";q=3;w=3600, \"tested\";q=9;w=3600");
    assert_eq!(statuses(&edge, "/a", &[], 4).await, [200, 200, 429, 429]);
    let admitted = [("limit", "tested"), ("result", "admitted")];
    edge.wait_for_metric(COUNTED, &admitted, 3.0).await;
}

#[tokio::test]
async fn requests_may_count_as_several() {
    let a = Endpoint::start("a").await;
    let costs = json!([{ "path": "/search", "cost": 5 }, { "methods": ["POST"], "cost": 3 }]);
    let edge = limited(&a, json!({ "rate": "10/h", "costs": costs })).await;
    let mut client = edge.connect().await;
    for (method, path, left) in [
        ("GET", "/search/x", "5"),
        ("POST", "/", "2"),
        ("GET", "/searching", "1"),
    ] {
        let response = client.request(method, path, &[], b"").await.unwrap();
        let remaining = response.field("ratelimit-remaining");
        assert_eq!(remaining, Some(left), "{method} {path}");
    }
    assert_eq!(client.get("/search").await.unwrap().status, 429);
    assert_eq!(client.get("/").await.unwrap().status, 200);
}

#[tokio::test]
async fn what_is_reserved_is_left_for_critical_routes() {
    let a = Endpoint::start("a").await;
    let route = |name: &str| {
        json!({ "name": name, "path": format!("/{name}"), "cluster": "main",
            "rate_limits": ["tested"], "criticality": name })
    };
    let limit = json!({ "rate": "10/h", "key": ["all"], "reserve": 30, "concurrent": 100 });
    let edge = setup(&a, limit)
        .set("routes.1", route("critical"))
        .set("routes.2", route("low"))
        .start()
        .await;
    let admitted = async |path: &str| {
        let statuses = statuses(&edge, path, &[], 8).await;
        statuses.iter().filter(|status| **status == 200).count()
    };
    assert_eq!(admitted("/low").await, 4, "60 percent are left");
    assert_eq!(admitted("/").await, 3, "30 percent are left");
    assert_eq!(admitted("/critical").await, 3, "nothing is left");
}

#[tokio::test]
async fn keys_are_forgotten_for_want_of_room_and_that_is_counted() {
    let a = Endpoint::start("a").await;
    let limit = json!({ "rate": "1/h", "key": ["header:X-Api-Key"], "max_keys": 16 });
    let edge = limited(&a, limit).await;
    let mut client = edge.connect().await;
    for number in 0..500 {
        let key = format!("key-{number}");
        let response = client
            .request("GET", "/", &[("X-Api-Key", &key)], b"")
            .await;
        assert_eq!(response.unwrap().status, 200);
    }
    let evictions = "portcullis_edge_rate_limit_evictions_total";
    let evicted = edge.metric(evictions, &[("limit", "tested")]).await;
    // Sixteen shards of at least two buckets with eight places.
    assert!((200.0..=500.0).contains(&evicted), "{evicted}");
    let log = std::fs::read_to_string(edge.directory().join("access.log")).unwrap();
    assert!(!log.contains("key-1"), "keys are never logged");
}

#[tokio::test]
async fn as_many_run_at_once_as_a_limit_allows_and_places_come_back() {
    let a = Endpoint::start("a").await;
    let limit = json!({ "concurrent": 2, "key": ["header:X-User"] });
    let edge = limited(&a, limit).await;
    a.behave(Behavior::Hang);
    let mut hanging = Vec::new();
    for _ in 0..2 {
        let mut client = edge.connect().await;
        let request = b"GET /hang HTTP/1.1\r\nHost: a\r\nX-User: ann\r\n\r\n";
        client.send(request).await.unwrap();
        hanging.push(client);
    }
    wait_until("both run", async || (a.requests() == 2).then_some(())).await;
    a.behave(Behavior::Echo);
    let refused = ask(&edge, "/", &[("X-User", "ann")]).await;
    assert_eq!(refused.status, 429);
    assert_eq!(refused.field("retry-after"), Some("1"));
    assert_eq!(
        refused.json()["type"],
        "urn:portcullis:problem:refused_concurrency_limit"
    );
    assert_eq!(ask(&edge, "/", &[("X-User", "bob")]).await.status, 200);
    // However a request ends: these clients leave.
    drop(hanging);
    edge.wait_for_outcome("client_gone", 2).await;
    let again = statuses(&edge, "/", &[("X-User", "ann")], 5).await;
    assert_eq!(again, [200; 5], "one after the other");
    a.behave(Behavior::ResetBeforeAnswer);
    for _ in 0..3 {
        assert_eq!(ask(&edge, "/", &[("X-User", "ann")]).await.status, 502);
    }
    edge.wait_for_outcome("refused_concurrency_limit", 1).await;
    let of = |result| [("limit", "tested"), ("result", result)];
    edge.wait_for_metric(COUNTED, &of("refused_concurrency"), 1.0)
        .await;
}

#[tokio::test]
async fn places_come_back_when_a_request_runs_into_a_timeout() {
    let a = Endpoint::with("a", Behavior::Hang).await;
    let edge = setup(&a, json!({ "concurrent": 1 }))
        .set("clusters.main.timeouts", json!({ "read": "200ms" }))
        .set("clusters.main.retries", json!(0))
        .set("clusters.main.ejection", json!("off"))
        .start()
        .await;
    for _ in 0..3 {
        assert_eq!(edge.get("/").await.status, 504);
    }
    a.behave(Behavior::Slow(Duration::from_millis(10)));
    assert_eq!(edge.get("/").await.status, 200);
}

#[tokio::test]
async fn claims_are_keys_and_choose_the_tier() {
    let a = Endpoint::start("a").await;
    let signer = Signer::new(Algorithm::EdDsa);
    let publisher = Publisher::start(&[&signer]).await;
    let limit = json!({
        "rate": "1/h", "key": ["claim:sub"], "tier": "claim:tenant", "tiers": { "gold": "3/h" },
    });
    let edge = setup(&a, limit)
        .set("issuers.main", publisher.keys())
        .set("routes.0.auth", json!({ "issuer": "main" }))
        .start()
        .await;
    for (sub, tenant, expected) in [
        ("ann", "blue", [200, 429, 429, 429]),
        ("bob", "blue", [200, 429, 429, 429]),
        ("eve", "gold", [200, 200, 200, 429]),
    ] {
        let token = signer.token(&json!({ "sub": sub, "tenant": tenant }));
        let bearer = format!("Bearer {token}");
        let statuses = statuses(&edge, "/", &[("Authorization", &bearer)], 4).await;
        assert_eq!(statuses, expected, "{sub}");
    }
    let log = std::fs::read_to_string(edge.directory().join("access.log")).unwrap();
    assert!(!log.contains("ann"), "keys are never logged");
}

#[tokio::test]
async fn a_header_may_choose_the_tier() {
    let a = Endpoint::start("a").await;
    let limit =
        json!({ "rate": "1/h", "burst": 2, "tier": "header:X-Plan", "tiers": { "gold": "2/h" } });
    let edge = limited(&a, limit).await;
    let gold = ask(&edge, "/", &[("X-Plan", "gold")]).await;
    assert_eq!(gold.field("ratelimit-limit"), Some("4"));
    let other = ask(&edge, "/", &[("X-Plan", "tin")]).await;
    assert_eq!(other.field("ratelimit-limit"), Some("2"));
}

#[tokio::test]
async fn bad_tokens_count_against_the_address_they_come_from() {
    let a = Endpoint::start("a").await;
    let signer = Signer::new(Algorithm::EdDsa);
    let publisher = Publisher::start(&[&signer]).await;
    let edge = setup(&a, json!({ "rate": "2/h" }))
        .set("issuers.main", publisher.keys())
        .set("routes.0.auth", json!({ "issuer": "main" }))
        .start()
        .await;
    let bad = [("Authorization", "Bearer x.y.z")];
    assert_eq!(statuses(&edge, "/", &bad, 3).await, [401, 401, 429]);
}
