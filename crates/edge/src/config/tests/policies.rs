//! Limits, CORS, security headers and paths: what they are by default, and what they must not say.

use std::num::NonZeroU32;

use portcullis_traffic::rate::Rate;

use super::*;

fn with(top: &str, route: &str) -> String {
    let text = SMALL.replace("- cluster", &format!("- {route}\n    cluster"));
    format!("{top}\n{text}")
}

fn bad(text: &str) -> String {
    errors(text).to_string()
}

fn rate(count: u32, seconds: u64, burst: u32) -> Rate {
    let number = |number| NonZeroU32::new(number).unwrap();
    Rate::new(number(count), Duration::from_secs(seconds), number(burst))
}

#[test]
fn a_limit_is_by_address_and_as_large_as_its_rate() {
    let text = with("rate_limits: { a: { rate: 5/m } }", "rate_limits: [a]");
    let limit = good(&text).config.rate_limits.remove(0);
    assert_eq!(limit.key, [KeyPart::ClientAddress]);
    assert_eq!(limit.rate, Some(rate(5, 60, 5)));
    assert!(limit.tiers.is_none() && limit.concurrent.is_none() && !limit.is_dry_run);
}

#[test]
fn the_burst_of_a_tier_grows_with_its_rate() {
    let limit =
        "{ rate: 10/s, burst: 50, tier: \"claim:plan\", tiers: { gold: 6000/m, tin: 1/s } }";
    let text = with(
        &format!("rate_limits: {{ a: {limit} }}"),
        "rate_limits: [a]",
    );
    let tiers = good(&text).config.rate_limits.remove(0).tiers.unwrap();
    let expected = [
        ("gold".to_owned(), rate(6_000, 60, 500)),
        ("tin".to_owned(), rate(1, 1, 5)),
    ];
    assert_eq!(tiers.rates, expected);
}

#[test]
fn mistaken_limits_are_told_with_their_place() {
    for (limit, expected) in [
        ("{}", "limits nothing"),
        ("{ rate: 0/s }", "is not a rate"),
        ("{ rate: 5 }", "is not a rate"),
        ("{ rate: +5/s }", "is not a rate"),
        ("{ rate: 5/w }", "is not a rate"),
        ("{ rate: 1000001/s }", "is not a rate"),
        (
            "{ rate: 5/s, key: [address] }",
            "is nothing to know a request by",
        ),
        ("{ rate: 5/s, key: [\"header:\"] }", "is not a header name"),
        (
            "{ rate: 5/s, key: [\"claim:\"] }",
            "is nothing to know a request by",
        ),
        (
            "{ concurrent: 5, burst: 9 }",
            "`burst` has no effect without `rate`",
        ),
        (
            "{ concurrent: 5, tier: \"claim:a\", tiers: { b: 1/s } }",
            "`tiers` has no effect without",
        ),
        ("{ rate: 5/s, tier: \"claim:a\" }", "there are no tiers"),
        (
            "{ rate: 5/s, tiers: { b: 1/s } }",
            "what a tier is known by",
        ),
        (
            "{ rate: 5/s, tier: path, tiers: { b: 1/s } }",
            "a claim or a header field",
        ),
        ("{ rate: 5/s, reserve: 46 }", "is too large"),
    ] {
        let text = with(
            &format!("rate_limits: {{ a: {limit} }}"),
            "rate_limits: [a]",
        );
        assert!(bad(&text).contains(expected), "{limit}: {}", bad(&text));
    }
    let text = with(
        "rate_limits: { per_ip: { rate: 5/s } }",
        "rate_limits: [per_op]",
    );
    assert!(bad(&text).contains("did you mean `per_ip`?"));
    let text = with("rate_limits: { a: { rate: 5/s } }", "rate_limits: [a, a]");
    assert!(bad(&text).contains("is in this list already"));
    let text = with("rate_limits: { \"a b\": { rate: 5/s } }", "rate_limits: []");
    assert!(bad(&text).contains("is not a usable name"));
}

#[test]
fn doubtful_limits_are_warned_of() {
    for (limit, route, expected) in [
        (
            "{ rate: 5/s }",
            "rate_limits: []",
            "nothing uses the rate limit `a`",
        ),
        (
            "{ rate: 5/s, key: [\"claim:sub\"] }",
            "rate_limits: [a]",
            "is never known here",
        ),
        (
            "{ rate: 5/s, costs: [{ cost: 6 }] }",
            "rate_limits: [a]",
            "more than the burst of 5",
        ),
    ] {
        let text = with(&format!("rate_limits: {{ a: {limit} }}"), route);
        let warnings = good(&text).warnings.to_string();
        assert!(warnings.contains(expected), "{limit}: {warnings}");
    }
}

#[test]
fn origins_are_compared_as_browsers_send_them() {
    let text = with(
        "",
        "cors: { origins: [\"HTTPS://App.Example.com\", \"https://*.example.org:8443\"] }",
    );
    let config = good(&text).config;
    let Some(Cors::Edge(policy)) = &config.routes[0].cors else {
        panic!("the edge owns it");
    };
    for (origin, is_allowed) in [
        ("https://app.example.com", true),
        ("https://app.example.com:443", false),
        ("https://a.example.org:8443", true),
        ("https://a.b.example.org:8443", true),
        ("https://example.org:8443", false),
        ("https://.example.org:8443", false),
        ("https://a.example.org", false),
        ("https://evil@a.example.org:8443", false),
        ("https://evil.example/a.example.org:8443", false),
        ("null", false),
        ("", false),
    ] {
        assert_eq!(policy.allows(origin.as_bytes()), is_allowed, "{origin}");
    }
}

#[test]
fn mistaken_policies_are_told() {
    for (route, expected) in [
        ("cors: {}", "names no origin"),
        (
            "cors: { origins: [\"*\"], credentials: true }",
            "could act for its visitor",
        ),
        ("cors: { origins: [app.example.com] }", "is not an origin"),
        (
            "cors: { origins: [\"https://a.example/\"] }",
            "is not an origin",
        ),
        ("cors: { origins: [\"https://*\"] }", "is not an origin"),
        (
            "cors: { origins: [\"https://a.*.example\"] }",
            "is not an origin",
        ),
        (
            "cors: { origins: [\"https://a.example:443\"] }",
            "no origin that a browser sends",
        ),
        (
            "cors: { owner: endpoint, origins: [\"https://a.example\"] }",
            "has no effect with `owner: endpoint`",
        ),
        ("security_headers: lax", "is not one of"),
        (
            "security_headers: { hsts_preload: true, hsts_max_age: 1h }",
            "preload no name",
        ),
        (
            "security_headers: { hsts_preload: true, hsts_subdomains: false }",
            "preload no name",
        ),
        (
            "security_headers: { set: { Strict-Transport-Security: a } }",
            "has keys of its own",
        ),
        (
            "security_headers: { set: { Content-Length: 5 } }",
            "cannot be changed",
        ),
        (
            "security_headers: { set: { X-A: \"a\\nb\" } }",
            "is no value",
        ),
    ] {
        let text = with("", route);
        assert!(bad(&text).contains(expected), "{route}: {}", bad(&text));
    }
    for (field, expected) in [("referer", "can be hidden"), ("query", "can be hidden")] {
        let text = with(&format!("access_log: {{ drop: [{field}] }}"), "name: a");
        assert!(bad(&text).contains(expected), "{field}");
    }
    let text = SMALL.replace(
        "127.0.0.1:8080",
        "127.0.0.1:8080\n    redirect_to_https: true",
    );
    assert!(bad(&text).contains("which hosts may be sent to https"));
}
