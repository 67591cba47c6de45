//! Where revocations are told, and what holds without: what it means, and where mistakes are told.

use super::*;

/// A file with an issuer whose `revocations` are these, in line 8, and a route with this `auth`, in line 12.
fn file(revocations: &str, auth: &str) -> String {
    format!(
        "listeners: [{{ address: 127.0.0.1:8080 }}]\n\
         clusters:\n  blue: {{ endpoints: [127.0.0.1:1] }}\n\
         issuers:\n  main:\n    issuer: https://auth.example.com\n    audience: api\n    {revocations}\n\
         routes:\n  - name: x\n    cluster: blue\n    auth: {auth}\n"
    )
}

const FEED: &str = "revocations: { feeds: [\"http://127.0.0.1:8100\"] }";

fn when_lost(revocations: &str, auth: &str) -> WhenLost {
    let mut config = good(&file(revocations, auth)).config;
    config.routes.remove(0).auth.unwrap().when_lost
}

#[test]
fn a_route_says_what_holds_or_its_issuer_does_and_closed_is_the_default() {
    let stale = |seconds| WhenLost::Stale(Duration::from_secs(seconds));
    let with = |when: &str| {
        format!("revocations: {{ feeds: [\"http://127.0.0.1:1\"], when_lost: {when} }}")
    };
    for (issuer, route, expected) in [
        (FEED.to_owned(), "main", WhenLost::Closed),
        (with("closed"), "main", WhenLost::Closed),
        (with("{ stale: 60s }"), "main", stale(60)),
        (
            with("{ stale: 60s }"),
            "{ issuer: main, when_lost: closed }",
            WhenLost::Closed,
        ),
        (
            with("closed"),
            "{ issuer: main, when_lost: { stale: 9s } }",
            stale(9),
        ),
    ] {
        assert_eq!(when_lost(&issuer, route), expected, "{issuer}, {route}");
    }
    assert!(stale(60).accepts(Duration::from_secs(60)));
    assert!(!stale(60).accepts(Duration::from_secs(61)));
    assert!(!stale(60).accepts(Duration::MAX), "never heard of");
    assert!(!WhenLost::Closed.accepts(Duration::ZERO));
}

#[test]
fn feeds_are_taken_apart_and_their_token_is_hidden() {
    let token = "0123456789abcdef0123456789abcdef";
    let feeds = format!(
        "revocations: {{ feeds: [\"http://[::1]:8100\", \"https://auth.internal:8443/\"], token: {token} }}"
    );
    let mut config = good(&file(&feeds, "main")).config;
    assert!(!format!("{config:?}").contains(token));
    let follow = config.issuers.remove(0).revocations.unwrap();
    let places: Vec<_> = follow
        .feeds
        .iter()
        .map(|one| (one.host.as_str(), one.port, one.tls.is_some()))
        .collect();
    assert_eq!(
        places,
        [("::1", 8100, false), ("auth.internal", 8443, true)]
    );
    assert_eq!(follow.token.unwrap().expose(), token);
}

#[test]
fn what_concerns_the_way_of_keys_or_of_feeds_has_an_effect_for_either() {
    let world = World::new();
    let authority = portcullis_testkit::Authority::new();
    std::fs::copy(authority.root_file(), world.path().join("ca.pem")).unwrap();
    for (jwks, feed, more) in [
        (
            "http://127.0.0.1:1/k",
            "https://feed.internal",
            "authorities: ca.pem",
        ),
        (
            "https://keys.internal/k",
            "http://10.0.0.1:1",
            "allow_http: true",
        ),
    ] {
        let feeds = format!("jwks: {jwks}\n    {more}\n    revocations: {{ feeds: [\"{feed}\"] }}");
        let parsed = world.parse(&file(&feeds, "main"));
        let warnings = parsed.unwrap_or_else(|errors| panic!("{errors}")).warnings;
        assert!(warnings.is_empty(), "{more}: {warnings}");
    }
}

#[test]
fn a_token_may_be_in_a_file_of_its_own() {
    let world = World::new();
    let token = "0123456789abcdef0123456789abcdef";
    std::fs::write(world.path().join("internal.token"), format!("{token}\n")).unwrap();
    std::fs::write(world.path().join("short.token"), "0123\n").unwrap();
    std::fs::write(world.path().join("two.token"), format!("{token}\n{token}")).unwrap();
    std::fs::write(world.path().join("bytes.token"), [0xff; 40]).unwrap();
    let with = |more: &str| {
        let feeds = "feeds: [\"http://127.0.0.1:1\"]";
        file(&format!("revocations: {{ {feeds}, {more} }}"), "main")
    };
    let mut parsed = world.parse(&with("token_file: internal.token")).unwrap();
    assert!(!format!("{:?}", parsed.config).contains(token));
    let follow = parsed.config.issuers.remove(0).revocations.unwrap();
    assert_eq!(follow.token.unwrap().expose(), token);
    for (more, message) in [
        ("token_file: missing.token", "no file"),
        ("token_file: short.token", "shorter than 32"),
        ("token_file: two.token", "cannot be sent"),
        ("token_file: bytes.token", "shorter than 32"),
        (
            "token_file: internal.token, token: ${INTERNAL_TOKEN}",
            "both there",
        ),
    ] {
        let error = world.parse(&with(&more.replace('$', "'$").replace('}', "}'")));
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains(message) && error.contains(":8:"),
            "{more}:\n{error}"
        );
        assert!(!error.contains(token), "{error}");
    }
}

#[test]
fn what_cannot_be_followed_is_told_with_its_place() {
    for (revocations, auth, line, message) in [
        ("revocations: { feeds: [] }", "main", 8, "at least one"),
        (
            "revocations: { feeds: [\"redis://127.0.0.1\"] }",
            "main",
            8,
            "no address",
        ),
        (
            "revocations: { feeds: [\"http://127.0.0.1:1/feed\"] }",
            "main",
            8,
            "no path",
        ),
        (
            "revocations: { feeds: [\"http://10.0.0.1:1\"] }",
            "main",
            8,
            "can hide them",
        ),
        (
            "revocations: { feeds: [\"http://127.0.0.1:1\"], token: short }",
            "main",
            8,
            "shorter than 32",
        ),
        (
            "revocations: { feeds: [\"http://127.0.0.1:1\"], when_lost: open }",
            "main",
            8,
            "open",
        ),
        (
            "revocations: { feeds: [\"http://127.0.0.1:1\"], when_lost: { stale: 1s } }",
            "main",
            8,
            "1s",
        ),
        (
            "revocations: { feeds: [\"http://127.0.0.1:1\"], when_lost: { policy: closed, stale: 9s } }",
            "main",
            8,
            "two things",
        ),
        (
            "skew: 30s",
            "{ issuer: main, when_lost: closed }",
            12,
            "has no effect",
        ),
        (
            "skew: 30s",
            "{ issuer: main, tunnels: until_revoked }",
            12,
            "would never end",
        ),
    ] {
        let text = file(revocations, auth);
        let error = errors(&text).to_string();
        assert!(
            error.contains(message) && error.contains(&format!(":{line}:")),
            "{revocations}:\n{error}"
        );
    }
}
