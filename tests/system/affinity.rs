//! Cookie affinity: a client stays with its endpoint, and cannot choose one.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_testkit::{Authority, Endpoint, Health, Response, wait_until};
use serde_json::{Value, json};

use super::Setup;
use crate::harness::{Edge, open_tls};

const SECRET: &str = "a-secret-of-32-characters-or-more!";
const OTHER_SECRET: &str = "another-secret-of-32-characters!!";

/// Three endpoints and an edge before them.
struct Three {
    endpoints: Vec<Endpoint>,
    edge: Edge,
}

async fn endpoints() -> Vec<Endpoint> {
    let mut endpoints = Vec::new();
    for name in ["a", "b", "c"] {
        endpoints.push(Endpoint::start(name).await);
    }
    endpoints
}

async fn edge_before(endpoints: &[Endpoint], affinity: Value) -> Edge {
    let all: Vec<&Endpoint> = endpoints.iter().collect();
    let setup = Setup::new(&all).set("clusters.main.affinity", affinity);
    setup.start().await
}

/// As [`edge_before`], with a health check that all have passed.
async fn probing_edge_before(endpoints: &[Endpoint], affinity: Value) -> Edge {
    let all: Vec<&Endpoint> = endpoints.iter().collect();
    let health = json!({ "interval": "100ms", "timeout": "100ms", "rise": 1, "fall": 1 });
    let setup = Setup::new(&all)
        .set("clusters.main.affinity", affinity)
        .set("clusters.main.health", health);
    let edge = setup.start().await;
    for endpoint in endpoints {
        wait_for_health(&edge, endpoint, true).await;
    }
    edge
}

async fn wait_for_health(edge: &Edge, endpoint: &Endpoint, is_healthy: bool) {
    let address = endpoint.address().to_string();
    let labels = [("endpoint", address.as_str())];
    let value = f64::from(u8::from(is_healthy));
    edge.wait_for_metric("portcullis_edge_endpoint_healthy", &labels, value)
        .await;
}

async fn three(affinity: Value) -> Three {
    let endpoints = endpoints().await;
    let edge = edge_before(&endpoints, affinity).await;
    Three { endpoints, edge }
}

fn cookie_of(response: &Response) -> Option<String> {
    let cookie = response.field("set-cookie")?;
    Some(cookie.split(';').next()?.to_owned())
}

async fn with_cookie(edge: &Edge, cookie: &str) -> Response {
    let mut client = edge.connect().await;
    client
        .request("GET", "/", &[("Cookie", cookie)], b"")
        .await
        .unwrap()
}

#[tokio::test]
async fn without_affinity_no_cookie_is_set() {
    let a = Endpoint::start("a").await;
    let edge = Setup::new(&[&a]).start().await;
    assert_eq!(edge.get("/").await.field("set-cookie"), None);
}

#[tokio::test]
async fn a_cookie_keeps_a_client_with_its_endpoint() {
    let three = three(json!({})).await;
    for _ in 0..3 {
        let first = three.edge.get("/").await;
        let cookie = cookie_of(&first).expect("a cookie");
        assert!(cookie.starts_with("_portcullis_affinity="), "{cookie}");
        for _ in 0..6 {
            let next = with_cookie(&three.edge, &format!("theme=dark; {cookie}; lang=en")).await;
            assert_eq!(next.endpoint(), first.endpoint());
        }
    }
}

#[tokio::test]
async fn the_cookie_is_opaque_and_guarded() {
    let three = three(json!({})).await;
    let response = three.edge.get("/").await;
    let cookie = response.field("set-cookie").unwrap().to_owned();
    for attribute in ["HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=3600"] {
        assert!(cookie.contains(attribute), "{attribute} in {cookie}");
    }
    for endpoint in &three.endpoints {
        let address = endpoint.address();
        assert!(
            !cookie.contains(&address.port().to_string()),
            "{address} in {cookie}"
        );
    }
}

#[tokio::test]
async fn a_forged_cookie_counts_as_none() {
    let three = three(json!({})).await;
    let genuine = cookie_of(&three.edge.get("/").await).unwrap();
    let (name, value) = genuine.split_once('=').unwrap();
    let flipped: String = value
        .char_indices()
        .map(|(at, c)| {
            if at == value.len() / 2 {
                if c == 'A' { 'B' } else { 'A' }
            } else {
                c
            }
        })
        .collect();
    let forgeries = [
        String::new(),
        "127.0.0.1:80".to_owned(),
        flipped,
        format!("{value}A"),
        value[..value.len() - 1].to_owned(),
        "x".repeat(4_000),
    ];
    for forged in forgeries {
        let response = with_cookie(&three.edge, &format!("{name}={forged}")).await;
        assert_eq!(response.status, 200, "{forged:?}");
        assert!(cookie_of(&response).is_some(), "{forged:?} was believed");
    }
}

#[tokio::test]
async fn a_bound_client_moves_when_its_endpoint_is_gone() {
    let mut three = three(json!({})).await;
    let first = three.edge.get("/").await;
    let cookie = cookie_of(&first).unwrap();
    let gone = first.endpoint();
    three.endpoints.retain(|endpoint| endpoint.name() != gone);
    let next = with_cookie(&three.edge, &cookie).await;
    assert_eq!(next.status, 200);
    assert_ne!(next.endpoint(), gone);
    wait_until("a new binding", async || {
        cookie_of(&with_cookie(&three.edge, &cookie).await).filter(|new| *new != cookie)
    })
    .await;
}

#[tokio::test]
async fn the_application_does_not_see_the_cookie_and_keeps_its_own() {
    let three = three(json!({})).await;
    let cookie = cookie_of(&three.edge.get("/").await).unwrap();
    let response = with_cookie(&three.edge, &format!("theme=dark; {cookie}; lang=en")).await;
    assert_eq!(response.echoed("cookie"), ["theme=dark; lang=en"]);
    let response = with_cookie(&three.edge, &cookie).await;
    assert_eq!(response.echoed("cookie"), [""; 0]);
}

#[tokio::test]
async fn two_edges_with_one_secret_honour_each_others_cookies() {
    let endpoints = endpoints().await;
    let start = async |secret: &str| edge_before(&endpoints, json!({ "secret": secret })).await;
    let (one, two) = (start(SECRET).await, start(SECRET).await);
    let stranger = start(OTHER_SECRET).await;
    let first = one.get("/").await;
    let cookie = cookie_of(&first).unwrap();
    for _ in 0..4 {
        let response = with_cookie(&two, &cookie).await;
        assert_eq!(
            (response.endpoint(), cookie_of(&response)),
            (first.endpoint(), None)
        );
    }
    assert!(cookie_of(&with_cookie(&stranger, &cookie).await).is_some());
}

#[tokio::test]
async fn a_cookie_of_a_previous_secret_is_honoured_and_replaced() {
    let endpoints = endpoints().await;
    let before = edge_before(&endpoints, json!({ "secret": OTHER_SECRET })).await;
    let rotated = json!({ "secret": SECRET, "previous_secrets": [OTHER_SECRET] });
    let rotated = edge_before(&endpoints, rotated).await;
    let after = edge_before(&endpoints, json!({ "secret": SECRET })).await;
    let first = before.get("/").await;
    let mut cookie = cookie_of(&first).unwrap();
    let response = with_cookie(&rotated, &cookie).await;
    assert_eq!(response.endpoint(), first.endpoint());
    cookie = cookie_of(&response).expect("under the new secret");
    for edge in [&rotated, &after] {
        let response = with_cookie(edge, &cookie).await;
        assert_eq!(
            (response.endpoint(), cookie_of(&response)),
            (first.endpoint(), None)
        );
    }
}

#[tokio::test]
async fn a_cookie_under_an_accepted_name_is_honoured_and_replaced() {
    let endpoints = endpoints().await;
    let before = json!({ "secret": SECRET, "cookie": "_fly_affinity" });
    let before = edge_before(&endpoints, before).await;
    let after = json!({ "secret": SECRET, "accept": ["_fly_affinity"] });
    let after = edge_before(&endpoints, after).await;
    let first = before.get("/").await;
    let old = cookie_of(&first).unwrap();
    assert!(old.starts_with("_fly_affinity="), "{old}");
    let response = with_cookie(&after, &old).await;
    assert_eq!(response.endpoint(), first.endpoint());
    let new = cookie_of(&response).expect("under its own name");
    assert!(new.starts_with("_portcullis_affinity="), "{new}");
    let foreign = with_cookie(&after, "_fly_affinity=theirs").await;
    assert_eq!(foreign.echoed("cookie"), ["_fly_affinity=theirs"]);
    assert!(cookie_of(&foreign).is_some());
}

#[tokio::test]
async fn a_busy_client_is_placed_anew_at_its_full_age() {
    let three = three(json!({ "ttl": "2s", "max_age": "3s" })).await;
    let first = three.edge.get("/").await;
    let mut cookie = cookie_of(&first).unwrap();
    let mut renewals = 0;
    wait_until("another endpoint", async || {
        let response = with_cookie(&three.edge, &cookie).await;
        if let Some(renewed) = cookie_of(&response) {
            cookie = renewed;
            renewals += 1;
        }
        (response.endpoint() != first.endpoint()).then_some(())
    })
    .await;
    assert!(renewals >= 2, "it was renewed before, and replaced now");
}

#[tokio::test]
async fn attributes_of_the_cookie_are_those_configured() {
    let a = [Endpoint::start("a").await];
    let affinity = json!({
        "cookie": "__Secure-affinity", "secure": "always", "same_site": "none",
        "partitioned": true, "path": "/app", "domain": "example.com",
    });
    let edge = edge_before(&a, affinity).await;
    let response = edge.get("/").await;
    let (pair, attributes) = response
        .field("set-cookie")
        .unwrap()
        .split_once("; ")
        .unwrap();
    assert!(pair.starts_with("__Secure-affinity="), "{pair}");
    assert_eq!(
        attributes,
        "Path=/app; Domain=example.com; Max-Age=3600; HttpOnly; SameSite=None; Partitioned; Secure"
    );
}

#[tokio::test]
async fn the_cookie_is_for_https_alone_if_it_was_asked_for_so() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let identity = authority.issue("app", &["app.example"]);
    let tls = json!({ "certificates": [{ "cert": identity.cert, "key": identity.key }] });
    let edge = Setup::new(&[&a])
        .listener("tls", &json!({ "tls": tls }))
        .set("clusters.main.affinity", json!({}))
        .start()
        .await;
    let plain = edge.get("/").await;
    let mut client = open_tls(edge.listener(1), "app.example", &authority).await;
    let tls = client.get("/").await.unwrap();
    let is_secure = |response: &Response| {
        let cookie = response.field("set-cookie").unwrap();
        cookie.contains("HttpOnly") && cookie.ends_with("; Secure")
    };
    assert!(!is_secure(&plain) && is_secure(&tls));
}

#[tokio::test]
async fn whatever_a_client_sends_is_no_reason_to_fail() {
    let three = three(json!({ "accept": ["_old"] })).await;
    let genuine = cookie_of(&three.edge.get("/").await).unwrap();
    let name = "_portcullis_affinity";
    for cookies in [
        format!("{name}={}; ", "A".repeat(64)).repeat(100),
        format!("{name}={}", "A".repeat(20_000)),
        format!("{};{genuine}\u{fe}", ";".repeat(1_000)),
        format!("{name}=\u{ff}\"; {name}==; {name}; ={name}; _old={genuine}"),
    ] {
        let response = with_cookie(&three.edge, &cookies).await;
        assert_eq!(response.status, 200, "{cookies}");
        assert!(cookie_of(&response).is_some(), "{cookies}");
        let seen = response.echoed("cookie").join("; ");
        // A genuine value may begin with any letter.
        assert!(!seen.contains(&format!("{name}=AAAAAAAA")), "{seen}");
    }
}

/// How a client says who it is.
#[derive(Clone, Copy, Debug)]
enum Way {
    Header,
    Query,
    Claim,
}

const WAYS: [Way; 3] = [Way::Header, Way::Query, Way::Claim];

impl Way {
    fn affinity(self) -> Value {
        let by = match self {
            Way::Header => "header:X-Tenant",
            Way::Query => "query:tenant id",
            Way::Claim => "claim:tenant",
        };
        json!({ "by": by, "secret": SECRET })
    }

    async fn visit(self, edge: &Edge, tenant: usize) -> String {
        let mut client = edge.connect().await;
        let payload = URL_SAFE_NO_PAD.encode(json!({ "tenant": tenant }).to_string());
        let token = format!("Bearer e30.{payload}.bm9ib2R5IHNpZ25lZCB0aGlz");
        let (target, field) = match self {
            Way::Header => ("/".to_owned(), ("x-tenant", tenant.to_string())),
            Way::Query => (format!("/?tenant+id={tenant}"), ("x", String::new())),
            Way::Claim => ("/".to_owned(), ("authorization", token)),
        };
        let response = client
            .request("GET", &target, &[(field.0, &field.1)], b"")
            .await
            .unwrap();
        assert_eq!((response.status, response.field("set-cookie")), (200, None));
        response.endpoint()
    }

    async fn visit_all(self, edge: &Edge) -> Vec<String> {
        let mut endpoints = Vec::new();
        for tenant in 0..TENANTS {
            endpoints.push(self.visit(edge, tenant).await);
        }
        endpoints
    }
}

/// So many that each of three endpoints certainly gets some.
const TENANTS: usize = 40;

#[tokio::test]
async fn a_value_keeps_its_client_with_its_endpoint_on_every_edge() {
    let endpoints = endpoints().await;
    for way in WAYS {
        let one = edge_before(&endpoints, way.affinity()).await;
        let two = edge_before(&endpoints, way.affinity()).await;
        let first = way.visit_all(&one).await;
        let spread: BTreeMap<_, _> = first.iter().map(|endpoint| (endpoint, ())).collect();
        assert_eq!(spread.len(), 3, "{way:?}: {first:?}");
        assert_eq!(way.visit_all(&one).await, first, "{way:?}: they stay");
        assert_eq!(way.visit_all(&two).await, first, "{way:?}: edges agree");
    }
}

#[tokio::test]
async fn without_a_value_requests_are_balanced() {
    let endpoints = endpoints().await;
    for way in WAYS {
        let edge = edge_before(&endpoints, way.affinity()).await;
        let mut seen = BTreeMap::new();
        for _ in 0..9 {
            *seen.entry(edge.get("/").await.endpoint()).or_insert(0) += 1;
        }
        assert_eq!(seen.into_values().collect::<Vec<_>>(), [3, 3, 3], "{way:?}");
    }
}

#[tokio::test]
async fn values_stay_where_they_are_when_endpoints_leave_and_come() {
    let endpoints = endpoints().await;
    for way in WAYS {
        let edge = probing_edge_before(&endpoints, way.affinity()).await;
        let wait_for =
            async |is_healthy: bool| wait_for_health(&edge, &endpoints[0], is_healthy).await;
        let before = way.visit_all(&edge).await;
        endpoints[0].set_health(Health::Failing);
        wait_for(false).await;
        let without = way.visit_all(&edge).await;
        for (before, without) in before.iter().zip(&without) {
            assert!(
                before == without || before == "a",
                "{way:?}: {before} to {without}"
            );
            assert_ne!(without, "a", "{way:?}");
        }
        endpoints[0].set_health(Health::Ok);
        wait_for(true).await;
        assert_eq!(way.visit_all(&edge).await, without, "{way:?}: they stay");
    }
}

/// Waits until somebody without a bond is never sent to the first endpoint.
async fn wait_for_the_first_to_be_left_alone(edge: &Edge) {
    wait_until("newcomers to go elsewhere", async || {
        let mut newcomers = Vec::new();
        for _ in 0..6 {
            newcomers.push(edge.get("/").await.endpoint());
        }
        (!newcomers.iter().any(|endpoint| endpoint == "a")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_draining_endpoint_keeps_its_clients_and_gets_no_others() {
    let endpoints = endpoints().await;
    let edge = probing_edge_before(&endpoints, json!({})).await;
    let cookie = wait_until("a client of the first", async || {
        let response = edge.get("/").await;
        let cookie = cookie_of(&response)?;
        (response.endpoint() == "a").then_some(cookie)
    })
    .await;
    endpoints[0].set_health(Health::Draining);
    wait_for_the_first_to_be_left_alone(&edge).await;
    for _ in 0..6 {
        let response = with_cookie(&edge, &cookie).await;
        assert_eq!(
            (response.endpoint().as_str(), cookie_of(&response)),
            ("a", None)
        );
    }
}

#[tokio::test]
async fn a_draining_endpoint_keeps_its_values_and_gets_no_others() {
    let endpoints = endpoints().await;
    for way in WAYS {
        endpoints[0].set_health(Health::Ok);
        let edge = probing_edge_before(&endpoints, way.affinity()).await;
        let before = way.visit_all(&edge).await;
        endpoints[0].set_health(Health::Draining);
        wait_for_the_first_to_be_left_alone(&edge).await;
        assert_eq!(way.visit_all(&edge).await, before, "{way:?}: they stay");
        for newcomer in TENANTS..2 * TENANTS {
            assert_ne!(way.visit(&edge, newcomer).await, "a", "{way:?}");
        }
    }
}

#[tokio::test]
async fn values_go_to_the_first_tier_while_it_takes_them() {
    let endpoints = endpoints().await;
    let tiers: Vec<Value> = (endpoints.iter().zip([0, 0, 1]))
        .map(|(endpoint, tier)| json!({ "address": endpoint.address(), "priority": tier }))
        .collect();
    let edge = Setup::new(&[])
        .set("clusters.main.endpoints", json!(tiers))
        .set("clusters.main.affinity", Way::Header.affinity())
        .start()
        .await;
    for endpoint in Way::Header.visit_all(&edge).await {
        assert_ne!(endpoint, "c", "it is a spare");
    }
}
