//! Fields that make browsers careful, and the way from plain HTTP to TLS.

use portcullis_testkit::{Behavior, Connection, Endpoint, Response};
use serde_json::json;

use super::Setup;
use crate::harness::doors::Door;

const HSTS: &str = "strict-transport-security";

#[tokio::test]
async fn a_preset_is_added_to_what_endpoints_say() {
    let a = Endpoint::start("a").await;
    let own = [("X-Frame-Options", "DENY"), ("X-Powered-By", "PHP/5.3")];
    let own = own.map(|(name, value)| (name.to_owned(), value.to_owned()));
    a.behave(Behavior::Fields(own.to_vec()));
    for (preset, policy, frame) in [
        (json!("strict"), "default-src 'self'", "DENY"),
        (json!("api"), "default-src 'none'", "DENY"),
        (
            json!({ "preset": "strict", "overwrite": true }),
            "default-src 'self'",
            "SAMEORIGIN",
        ),
    ] {
        let edge = Setup::new(&[&a])
            .set("routes.0.security_headers", preset.clone())
            .start()
            .await;
        let response = edge.get("/").await;
        let field = |name| response.field(name);
        let csp = field("content-security-policy").unwrap();
        assert!(csp.starts_with(policy), "{preset}: {csp}");
        assert_eq!(field("x-frame-options"), Some(frame), "{preset}");
        assert_eq!(field("x-content-type-options"), Some("nosniff"));
        assert_eq!(field("referrer-policy"), Some("no-referrer"));
        assert_eq!(field("x-powered-by"), None, "{preset}");
        assert_eq!(field(HSTS), None, "not over plain HTTP");
        let frames = response.fields.iter();
        let frames = frames.filter(|(name, _)| name.eq_ignore_ascii_case("x-frame-options"));
        assert_eq!(frames.count(), 1);
    }
}

#[tokio::test]
async fn answers_of_the_edge_have_them_too() {
    let a = Endpoint::with("a", Behavior::ResetBeforeAnswer).await;
    let edge = Setup::new(&[&a])
        .set("listeners.0.security_headers", json!("api"))
        .set("routes.0.path", json!("/app"))
        .set(
            "routes.1",
            json!({ "path": "/hi", "respond": { "body": "hi" } }),
        )
        .start()
        .await;
    for (path, status) in [("/missing", 404), ("/hi", 200), ("/app", 502)] {
        let response = edge.get(path).await;
        assert_eq!(response.status, status);
        let nosniff = response.field("x-content-type-options");
        assert_eq!(nosniff, Some("nosniff"), "{path}");
    }
}

#[tokio::test]
async fn the_operators_page_has_what_the_endpoint_had() {
    let a = Endpoint::start("a").await;
    let own = ("x-frame-options".to_owned(), "DENY".to_owned());
    a.behave(Behavior::raw(format!(
        "HTTP/1.1 500 Broken\r\ncontent-length: 0\r\n{}: {}\r\n\r\n",
        own.0, own.1
    )));
    let page = json!([{ "body": "sorry", "also_from_endpoints": true }]);
    let edge = Setup::new(&[&a])
        .set("routes.0.security_headers", json!("strict"))
        .set("routes.0.errors", page)
        .start()
        .await;
    let response = edge.get("/").await;
    assert_eq!(response.text(), "sorry");
    assert_eq!(response.field("x-frame-options"), Some("SAMEORIGIN"));
}

#[tokio::test]
async fn a_route_says_otherwise_and_fields_have_other_values() {
    let a = Endpoint::start("a").await;
    let set = json!({ "X-Frame-Options": "DENY", "Referrer-Policy": "off", "X-Extra": "1" });
    let edge = Setup::new(&[&a])
        .set("listeners.0.security_headers", json!("strict"))
        .set("routes.0.security_headers", json!({ "set": set }))
        .set(
            "routes.1",
            json!({ "path": "/off", "cluster": "main", "security_headers": "off" }),
        )
        .start()
        .await;
    let response = edge.get("/").await;
    let field = |name| response.field(name);
    assert_eq!(field("x-frame-options"), Some("DENY"));
    assert_eq!(field("referrer-policy"), None);
    assert_eq!(field("x-extra"), Some("1"));
    assert_eq!(field("x-content-type-options"), Some("nosniff"));
    let off = edge.get("/off").await;
    assert_eq!(off.field("x-content-type-options"), None);
}

#[tokio::test]
async fn the_promise_of_tls_goes_over_tls_alone() {
    let a = Endpoint::start("a").await;
    let by_default = "max-age=31536000; includeSubDomains";
    for (headers, expected) in [
        (json!("api"), Some(by_default)),
        (json!({ "hsts": false }), None),
        (
            json!({ "hsts_max_age": "17520h", "hsts_preload": true }),
            Some("max-age=63072000; includeSubDomains; preload"),
        ),
        (
            json!({ "hsts_max_age": "1h", "hsts_subdomains": false }),
            Some("max-age=3600"),
        ),
    ] {
        let house = Setup::new(&[&a])
            .set("routes.0.security_headers", headers.clone())
            .start_with_both_doors()
            .await;
        let over = async |door| -> Response {
            let mut client = house.enter(door).await;
            client.get("/").await.unwrap()
        };
        assert_eq!(over(Door::Tls).await.field(HSTS), expected, "{headers}");
        assert_eq!(over(Door::Plain).await.field(HSTS), None, "{headers}");
    }
}

#[tokio::test]
async fn everybody_is_sent_to_https_but_certificate_authorities() {
    let a = Endpoint::start("a").await;
    for (redirect, port) in [(json!(true), ""), (json!({ "port": 8443 }), ":8443")] {
        let before = a.requests();
        let edge = Setup::new(&[&a])
            .set("routes.0.host", json!("*.example.com"))
            .set("listeners.0.redirect_to_https", redirect)
            .set("trusted_proxies", json!(["127.0.0.0/8"]))
            .start()
            .await;
        let ask = async |host: &str, method: &str, target: &str, fields: &[(&str, &str)]| {
            let client = Connection::open(edge.http()).await.unwrap();
            let mut client = client.with_host(host);
            client.request(method, target, fields, b"").await.unwrap()
        };
        for (host, method, target, expected) in [
            ("a.example.com", "GET", "/x?y=1", "/x?y=1"),
            ("a.example.com:8080", "POST", "/", "/"),
            ("a.example.com", "GET", "//evil.example", "//evil.example"),
        ] {
            let sent = ask(host, method, target, &[]).await;
            assert_eq!(sent.status, 308);
            let expected = format!("https://a.example.com{port}{expected}");
            assert_eq!(sent.field("location"), Some(expected.as_str()));
        }
        assert_eq!(a.requests(), before);
        let stranger = ask("evil.example", "GET", "/", &[]).await;
        assert_eq!((stranger.status, stranger.field("location")), (404, None));
        let challenge = "/.well-known/acme-challenge/token";
        assert_eq!(
            ask("a.example.com", "GET", challenge, &[]).await.status,
            200
        );
        let inside = ask(
            "a.example.com",
            "GET",
            "/.well-known/acme-challenge/../x",
            &[],
        )
        .await;
        assert_eq!(inside.status, 400);
        let proxied = [("X-Forwarded-Proto", "https")];
        assert_eq!(ask("a.example.com", "GET", "/", &proxied).await.status, 200);
        edge.wait_for_outcome("redirected", 3).await;
    }
    let edge = Setup::new(&[&a])
        .set("listeners.0.redirect_to_https", json!({ "on": false }))
        .start()
        .await;
    assert_eq!(edge.get("/").await.status, 200);
}
