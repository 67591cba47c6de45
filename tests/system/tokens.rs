//! Access tokens at the edge: who gets in, who is told what, and what endpoints learn of it.

use portcullis_testkit::{Authority, Endpoint, Response};
use portcullis_token::Algorithm;
use serde_json::{Value, json};

use super::Setup;
use crate::harness::Edge;
use crate::harness::doors::DOORS;
use crate::harness::issuer::{Publisher, Signer};

/// An edge whose only route asks for tokens of one issuer, and what belongs to it.
struct Site {
    edge: Edge,
    endpoint: Endpoint,
    signer: Signer,
    publisher: Publisher,
}

impl Site {
    /// `auth`: what the route asks beside the issuer.
    async fn new(auth: &Value) -> Site {
        Site::with(auth, &json!({}), |setup| setup).await
    }

    async fn with(auth: &Value, issuer: &Value, change: impl FnOnce(Setup) -> Setup) -> Site {
        let signer = Signer::new(Algorithm::EdDsa);
        let publisher = Publisher::start(&[&signer]).await;
        let endpoint = Endpoint::start("app").await;
        let setup = setup(&endpoint, &publisher, auth, issuer);
        Site {
            edge: change(setup).start().await,
            endpoint,
            signer,
            publisher,
        }
    }

    async fn get(&self, path: &str, token: &str) -> Response {
        ask(&self.edge, path, &[("Authorization", &bearer(token))]).await
    }
}

fn setup(endpoint: &Endpoint, publisher: &Publisher, auth: &Value, issuer: &Value) -> Setup {
    let merge = |mut base: Value, more: &Value| {
        for (key, value) in more.as_object().unwrap() {
            base[key] = value.clone();
        }
        base
    };
    Setup::new(&[endpoint])
        .set("issuers.main", merge(publisher.keys(), issuer))
        .set("routes.0.auth", merge(json!({ "issuer": "main" }), auth))
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

async fn ask(edge: &Edge, path: &str, fields: &[(&str, &str)]) -> Response {
    let mut client = edge.connect().await;
    client.request("GET", path, fields, b"").await.unwrap()
}

#[tokio::test]
async fn a_valid_token_opens_a_route_and_says_who_it_is() {
    let site = Site::new(&json!({})).await;
    let token = site.signer.token(&json!({}));
    // Read anew the first time, from memory the second.
    for _ in 0..2 {
        let authorization = bearer(&token);
        let fields = [
            ("Authorization", authorization.as_str()),
            ("X-Auth-Subject", "root"),
            ("X_Auth_Roles", "root"),
            ("X-Auth-Anything", "root"),
        ];
        let response = ask(&site.edge, "/orders", &fields).await;
        assert_eq!(response.status, 200);
        for (name, value) in [
            ("x-auth-subject", "ann"),
            ("x-auth-roles", "admin,auditor"),
            ("x-auth-session", "session-1"),
            ("x-auth-client", "web"),
            ("x-auth-scope", "orders:read orders:write"),
            ("authorization", &authorization),
        ] {
            assert_eq!(response.echoed(name), [value], "{name}");
        }
        for name in ["x_auth_roles", "x-auth-anything"] {
            assert_eq!(response.echoed(name), [] as [&str; 0], "{name}");
        }
    }
    let cached = |result| [("issuer", "main"), ("result", result)];
    let cache = "portcullis_edge_token_cache_total";
    site.edge.wait_for_metric(cache, &cached("hit"), 1.0).await;
    site.edge.wait_for_metric(cache, &cached("miss"), 1.0).await;
    let tokens = "portcullis_edge_tokens_total";
    let verified = cached("verified");
    site.edge.wait_for_metric(tokens, &verified, 2.0).await;
    let lines = site.edge.wait_for_log(2, |line| line["path"] == "/orders");
    assert_eq!(lines.await[0]["outcome"], "served");
}

#[tokio::test]
async fn no_token_and_a_bad_one_are_challenged_and_reach_no_endpoint() {
    let site = Site::new(&json!({})).await;
    let missing = ask(&site.edge, "/none", &[]).await;
    assert_eq!(missing.status, 401);
    assert_eq!(
        missing.field("www-authenticate"),
        Some("Bearer realm=\"portcullis\"")
    );
    assert_eq!(
        missing.json()["type"],
        "urn:portcullis:problem:refused_no_token"
    );
    let basic = ask(&site.edge, "/none", &[("Authorization", "Basic YTpi")]).await;
    assert_eq!(basic.status, 401);
    let expired = site.signer.token(&json!({ "exp": 1 }));
    let mut told = Vec::new();
    let valid = site.signer.token(&json!({}));
    for token in [expired.as_str(), "x", "a.b.c", "", &format!("{valid}.")] {
        let response = site.get("/bad", token).await;
        assert_eq!(response.status, 401, "{token}");
        assert_eq!(
            response.field("www-authenticate"),
            Some("Bearer realm=\"portcullis\", error=\"invalid_token\"")
        );
        assert_eq!(response.field("cache-control"), Some("no-store"));
        let mut body = response.json();
        body.as_object_mut().unwrap().remove("request_id");
        told.push(body);
    }
    told.dedup();
    assert_eq!(told.len(), 1, "nothing tells them apart: {told:?}");
    let twice = [
        ("Authorization", bearer(&valid)),
        ("Authorization", bearer(&valid)),
    ];
    let twice: Vec<_> = twice.iter().map(|(n, v)| (*n, v.as_str())).collect();
    assert_eq!(ask(&site.edge, "/twice", &twice).await.status, 401);
    assert_eq!(site.endpoint.requests(), 0);
    site.edge.wait_for_outcome("refused_no_token", 2).await;
    site.edge.wait_for_outcome("refused_token", 6).await;
}

#[tokio::test]
async fn schemes_are_read_in_any_case() {
    let site = Site::new(&json!({})).await;
    let token = site.signer.token(&json!({}));
    for scheme in ["bearer", "BEARER", "Bearer"] {
        let value = format!("{scheme} {token}");
        let response = ask(&site.edge, "/", &[("Authorization", &value)]).await;
        assert_eq!(response.status, 200, "{scheme}");
    }
    let glued = format!("Bearer{token}");
    let response = ask(&site.edge, "/", &[("Authorization", &glued)]).await;
    assert_eq!(response.status, 401);
}

#[tokio::test]
async fn an_audience_of_the_route_replaces_that_of_the_issuer() {
    let site = Site::new(&json!({ "audience": "orders" })).await;
    let token = |aud: Value| site.signer.token(&json!({ "aud": aud }));
    for (aud, status) in [
        (json!("orders"), 200),
        (json!(["x", "orders"]), 200),
        (json!("https://api.example.com"), 401),
        (json!("orders2"), 401),
    ] {
        let response = site.get("/", &token(aud.clone())).await;
        assert_eq!(response.status, status, "{aud}");
    }
}

#[tokio::test]
async fn a_route_asks_for_one_of_its_roles() {
    let site = Site::new(&json!({ "roles": ["clerk", "admin"] })).await;
    let token = |roles: Value| site.signer.token(&json!({ "roles": roles }));
    assert_eq!(site.get("/", &token(json!(["admin"]))).await.status, 200);
    for roles in [json!([]), json!(["Admin"]), json!(["adm", "clerk2"])] {
        let response = site.get("/", &token(roles)).await;
        assert_eq!(response.status, 403);
        assert_eq!(
            response.field("www-authenticate"),
            Some("Bearer realm=\"portcullis\", error=\"insufficient_scope\"")
        );
        let kind = "urn:portcullis:problem:refused_forbidden";
        assert_eq!(response.json()["type"], kind);
    }
    let label = [("result", "missing_role")];
    let tokens = "portcullis_edge_tokens_total";
    site.edge.wait_for_metric(tokens, &label, 3.0).await;
}

#[tokio::test]
async fn a_route_asks_for_all_of_its_scopes() {
    let site = Site::new(&json!({ "scopes": ["orders:read", "orders:write"] })).await;
    let token = |scope: Value| site.signer.token(&json!({ "scope": scope }));
    let all = token(json!("x orders:write orders:read"));
    assert_eq!(site.get("/", &all).await.status, 200);
    for scope in [
        json!(null),
        json!("orders:read"),
        json!("orders:readorders:write"),
    ] {
        assert_eq!(site.get("/", &token(scope)).await.status, 403);
    }
}

#[tokio::test]
async fn claims_go_to_the_endpoint_and_nobody_can_forge_them_on_any_route() {
    let claims = json!({ "X-Tenant": "tenant", "X-Org": "org.id", "X-Missing": "missing" });
    let auth = json!({ "claims": claims, "optional": true });
    let open = json!({ "name": "open", "path": "/open", "cluster": "main" });
    let site = Site::with(&auth, &json!({}), |setup| setup.set("routes.1", open)).await;
    let forged = [
        ("X-Tenant", "red"),
        ("x_tenant", "red"),
        ("X-Org", "1"),
        ("X-Missing", "1"),
    ];
    let token = bearer(&site.signer.token(&json!({ "org": { "id": 7 } })));
    let mut fields = forged.to_vec();
    fields.push(("Authorization", &token));
    let told = ask(&site.edge, "/", &fields).await;
    assert_eq!(told.echoed("x-tenant"), ["blue"]);
    assert_eq!(told.echoed("x-org"), ["7"]);
    for (path, fields) in [
        ("/", &forged[..]),
        ("/open", &forged[..]),
        ("/open", &fields),
    ] {
        let response = ask(&site.edge, path, fields).await;
        assert_eq!(response.status, 200);
        for name in [
            "x-tenant",
            "x_tenant",
            "x-org",
            "x-missing",
            "x-auth-subject",
        ] {
            assert_eq!(response.echoed(name), [] as [&str; 0], "{path} {name}");
        }
    }
    assert_eq!(told.echoed("x_tenant"), [] as [&str; 0]);
    assert_eq!(told.echoed("x-missing"), [] as [&str; 0]);
}

#[tokio::test]
async fn values_that_could_break_a_field_are_encoded() {
    let auth = json!({ "claims": { "X-Name": "name" } });
    let site = Site::new(&auth).await;
    let token = site
        .signer
        .token(&json!({ "name": "Ann\r\nX-Admin: 1 100% \u{e4}" }));
    let response = site.get("/", &token).await;
    assert_eq!(
        response.echoed("x-name"),
        ["Ann%0D%0AX-Admin:%201%20100%25%20%C3%A4"]
    );
    assert_eq!(response.echoed("x-admin"), [] as [&str; 0]);
}

#[tokio::test]
async fn an_optional_token_may_be_missing_but_not_bad() {
    let site = Site::new(&json!({ "optional": true })).await;
    let nobody = ask(&site.edge, "/", &[("X-Auth-Subject", "root")]).await;
    assert_eq!(nobody.status, 200);
    assert_eq!(nobody.echoed("x-auth-subject"), [] as [&str; 0]);
    let ann = site.get("/", &site.signer.token(&json!({}))).await;
    assert_eq!(ann.echoed("x-auth-subject"), ["ann"]);
    let expired = site.signer.token(&json!({ "exp": 1 }));
    assert_eq!(site.get("/", &expired).await.status, 401);
    let absent = [("result", "absent")];
    let tokens = "portcullis_edge_tokens_total";
    site.edge.wait_for_metric(tokens, &absent, 1.0).await;
}

#[tokio::test]
async fn an_endpoint_need_not_get_the_token() {
    let site = Site::new(&json!({ "forward_token": false })).await;
    let response = site.get("/", &site.signer.token(&json!({}))).await;
    assert_eq!(response.echoed("authorization"), [] as [&str; 0]);
    assert_eq!(response.echoed("x-auth-subject"), ["ann"]);
}

#[tokio::test]
async fn routes_that_ask_no_endpoint_ask_for_tokens_too() {
    let respond = json!({ "name": "r", "path": "/r", "respond": { "body": "in" }, "auth": "main" });
    let redirect =
        json!({ "name": "to", "path": "/to", "redirect": { "to": "/r" }, "auth": "main" });
    let change = |setup: Setup| setup.set("routes.1", respond).set("routes.2", redirect);
    let site = Site::with(&json!({}), &json!({}), change).await;
    let token = site.signer.token(&json!({}));
    for (path, status) in [("/r", 200), ("/to", 307)] {
        assert_eq!(ask(&site.edge, path, &[]).await.status, 401, "{path}");
        assert_eq!(site.get(path, &token).await.status, status, "{path}");
    }
}

#[tokio::test]
async fn a_tunnel_needs_a_token_too() {
    let site = Site::new(&json!({})).await;
    let upgrade = [("Connection", "Upgrade"), ("Upgrade", "websocket")];
    assert_eq!(ask(&site.edge, "/ws", &upgrade).await.status, 401);
    let token = bearer(&site.signer.token(&json!({})));
    let mut fields = upgrade.to_vec();
    fields.push(("Authorization", &token));
    let mut client = site.edge.connect().await;
    let response = client.request("GET", "/ws", &fields, b"").await.unwrap();
    assert_eq!(response.status, 101);
    client.send(b"hello").await.unwrap();
    assert_eq!(client.read_some().await.unwrap(), b"hello");
    assert_eq!(site.endpoint.requests(), 1);
}

#[tokio::test]
async fn tokens_are_asked_for_over_http2_and_tls_alike() {
    let (signer, authority) = (Signer::new(Algorithm::Es256), Authority::new());
    let publisher = Publisher::start(&[&signer]).await;
    let endpoint = Endpoint::start("app").await;
    let identity = authority.issue("app", &["app.example"]);
    let certificates = json!([{ "cert": identity.cert, "key": identity.key }]);
    let edge = setup(&endpoint, &publisher, &json!({}), &json!({}))
        .listener("tls", &json!({ "tls": { "certificates": certificates } }))
        .start()
        .await;
    let client = portcullis_testkit::client::Http2Connection::open(
        edge.listener(1),
        "app.example",
        authority.client(),
    );
    let client = client.await.unwrap();
    let refused = client.get("/").await.unwrap();
    assert_eq!(refused.status, 401);
    assert!(refused.field("www-authenticate").is_some());
    let token = bearer(&signer.token(&json!({})));
    let fields = [("authorization", token.as_str()), ("x-auth-roles", "root")];
    let response = client.request("GET", "/", &fields, b"").await.unwrap();
    assert_eq!(response.status, 200);
    assert_eq!(response.echoed("x-auth-roles"), ["admin,auditor"]);
}

#[tokio::test]
async fn a_refused_request_leaves_its_connection_usable() {
    let signer = Signer::new(Algorithm::EdDsa);
    let publisher = Publisher::start(&[&signer]).await;
    let endpoint = Endpoint::start("app").await;
    let house = setup(&endpoint, &publisher, &json!({}), &json!({}))
        .start_with_both_doors()
        .await;
    let token = bearer(&signer.token(&json!({})));
    for door in DOORS {
        let mut client = house.enter(door).await;
        for _ in 0..3 {
            assert_eq!(client.get("/").await.unwrap().status, 401, "{door:?}");
            let fields = [("Authorization", token.as_str())];
            let response = client.request("POST", "/", &fields, b"body").await.unwrap();
            assert_eq!(response.status, 200, "{door:?}");
            assert_eq!(response.json()["body"], "body");
        }
    }
}

#[tokio::test]
async fn a_token_and_its_subject_stay_out_of_the_logs() {
    let site = Site::new(&json!({})).await;
    let token = site.signer.token(&json!({ "sub": "secretive-ann" }));
    assert_eq!(site.get("/quiet", &token).await.status, 200);
    let line = site.edge.log_of("/quiet").await.to_string();
    assert!(!line.contains("secretive-ann") && !line.contains(&token));
    assert!(site.publisher.requests() > 0);
    let metrics = portcullis_testkit::client::get(site.edge.admin(), "/metrics").await;
    assert!(!metrics.unwrap().text().contains("secretive-ann"));
}
