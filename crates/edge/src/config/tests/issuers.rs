//! Issuers and what routes ask of tokens: what it means, and where mistakes are told.

use portcullis_token::Profile;

use super::*;

/// A file with one issuer and one route that has these lines; the issuer's begin in line 6, the
/// route's in line 10.
fn file(issuer: &str, auth: &str) -> String {
    format!(
        "listeners: [{{ address: 127.0.0.1:8080 }}]\n\
         clusters:\n  blue: {{ endpoints: [127.0.0.1:1] }}\n\
         issuers:\n  main:\n    {issuer}\n\
         routes:\n  - name: x\n    cluster: blue\n    {auth}\n"
    )
}

const ISSUER: &str = "{ issuer: \"https://auth.example.com\", audience: api }";

fn issuer(lines: &str) -> Issuer {
    good(&file(lines, "auth: main")).config.issuers.remove(0)
}

fn auth(line: &str) -> Auth {
    let mut config = good(&file(ISSUER, line)).config;
    config.routes.remove(0).auth.unwrap()
}

#[test]
fn an_issuer_alone_says_where_its_keys_are() {
    for (issuer_name, target, port) in [
        ("https://auth.example.com", "/.well-known/jwks.json", 443),
        ("https://auth.example.com/", "/.well-known/jwks.json", 443),
        (
            "https://auth.example.com:8443/realms/a",
            "/realms/a/.well-known/jwks.json",
            8443,
        ),
        ("http://127.0.0.1:4001", "/.well-known/jwks.json", 4001),
    ] {
        let issuer = issuer(&format!("{{ issuer: \"{issuer_name}\", audience: api }}"));
        assert_eq!(issuer.verifier.issuer, issuer_name);
        assert_eq!(
            (issuer.jwks.target.as_str(), issuer.jwks.port),
            (target, port)
        );
        assert_eq!(issuer.jwks.tls.is_some(), issuer_name.starts_with("https"));
        assert_eq!(issuer.verifier.profile, Profile::Portcullis);
        assert_eq!(issuer.verifier.algorithms.len(), 3);
    }
}

#[test]
fn a_name_of_an_issuer_will_do_for_a_route() {
    let short = auth("auth: main");
    assert_eq!(short, auth("auth: { issuer: main }"));
    assert_eq!(short.audience, "api");
    assert!(short.forwards_token && !short.is_optional);
    assert_eq!(auth("auth: { issuer: main, audience: b }").audience, "b");
    assert!(auth("auth: { issuer: main, optional: true }").is_optional);
    assert!(!auth("auth: { issuer: main, forward_token: false }").forwards_token);
}

#[test]
fn claims_of_all_routes_are_read_once() {
    let two = "auth: { issuer: main, claims: { X-B: b, X-A: a, X-Again: b } }";
    let config = good(&file(ISSUER, two)).config;
    assert_eq!(config.issuers[0].verifier.others, ["a", "b"]);
    let auth = config.routes[0].auth.as_ref().unwrap();
    let mut claims: Vec<_> = auth
        .claims
        .iter()
        .map(|(name, position)| (name.as_str(), *position))
        .collect();
    claims.sort_unstable();
    assert_eq!(claims, [("x-a", 0), ("x-again", 1), ("x-b", 1)]);
}

#[test]
fn keys_over_plain_http_stay_on_this_machine_unless_allowed() {
    let keys = |host: &str, more: &str| {
        let jwks = format!("\"http://{host}/keys\"");
        file(
            &format!("{{ issuer: x, jwks: {jwks}, audience: api{more} }}"),
            "auth: main",
        )
    };
    for host in ["127.0.0.1", "localhost:81", "[::1]"] {
        assert!(good(&keys(host, "")).warnings.is_empty());
    }
    one_error(
        &keys("auth.internal", ""),
        "6:",
        &["plain HTTP", "allow_http"],
    );
    good(&keys("auth.internal", ", allow_http: true"));
    let ca = ", authorities: ca.pem";
    one_error(&keys("127.0.0.1", ca), "6:", &["authorities", "no effect"]);
    let https = "{ issuer: \"https://a.test\", audience: api, allow_http: true }";
    one_warning(
        &file(https, "auth: main"),
        "6:",
        &["allow_http", "no effect"],
    );
}

#[test]
fn mistakes_of_issuers_are_told_where_they_stand() {
    let a = "issuer: \"https://a.test\", audience: api";
    for (lines, words) in [
        (
            "{ issuer: accounts, audience: api }".to_owned(),
            ["where the keys", "jwks"],
        ),
        ("{ audience: api }".to_owned(), ["issuer", "has no"]),
        (
            format!("{{ {a}, jwks: \"ftp://a\" }}"),
            ["jwks", "no address"],
        ),
        (
            format!("{{ {a}, jwks: \"https://u:p@a/\" }}"),
            ["jwks", "passwords"],
        ),
        (
            format!("{{ {a}, algorithms: [HS256] }}"),
            ["HS256", "never"],
        ),
        (
            format!("{{ {a}, algorithms: [] }}"),
            ["algorithms", "names none"],
        ),
        (format!("{{ {a}, skew: 121s }}"), ["skew", "2m"]),
        (
            format!("{{ {a}, roles_claim: groups }}"),
            ["roles_claim", "generic"],
        ),
        (
            format!("{{ {a}, authorities: none.pem }}"),
            ["none.pem", ""],
        ),
        (
            "{ issuer: \"a b\", audience: api }".to_owned(),
            ["issuer", "visible"],
        ),
    ] {
        let told = told(&errors(&file(&lines, "auth: main")));
        let [one] = told.as_slice() else {
            panic!("{lines}: {told:#?}")
        };
        for word in words {
            assert!(one.contains(word), "`{word}` in {one}");
        }
    }
}

#[test]
fn mistakes_of_routes_are_told_where_they_stand() {
    for (line, words) in [
        ("auth: mian", ["no issuer `mian`", "did you mean `main`"]),
        ("auth: {}", ["issuer", ""]),
        ("auth: { issuer: main, roles: [] }", ["roles", "names none"]),
        (
            "auth: { issuer: main, scopes: [] }",
            ["scopes", "names none"],
        ),
        (
            "auth: { issuer: main, scopes: [\"a b\"] }",
            ["a b", "one scope"],
        ),
        ("auth: { issuer: main, roles: [\"\"] }", ["role", ""]),
        (
            "auth: { issuer: main, optional: true, roles: [a] }",
            ["optional", "roles"],
        ),
        (
            "auth: { issuer: main, claims: { Connection: a } }",
            ["Connection", "cannot"],
        ),
        (
            "auth: { issuer: main, claims: { X-Auth-Subject: a } }",
            ["X-Auth-Subject", "identities"],
        ),
        (
            "auth: { issuer: main, claims: { X_A: a } }",
            ["X_A", "hyphens"],
        ),
        (
            "auth: { issuer: main, claims: { X-A: a, x-a: b } }",
            ["x-a", "twice"],
        ),
        (
            "auth: { issuer: main, claims: { X-A: a } }\n    request_headers: { set: { X_A: b } }",
            ["x-a", "request_headers"],
        ),
    ] {
        let told = told(&errors(&file(ISSUER, line)));
        let [one] = told.as_slice() else {
            panic!("{line}: {told:#?}")
        };
        assert!(one.starts_with("10:"), "{one}");
        for word in words {
            assert!(one.contains(word), "`{word}` in {one}");
        }
    }
}

#[test]
fn a_token_must_be_for_somebody() {
    let text = file("{ issuer: \"https://a.test\" }", "auth: main");
    one_error(&text, "10:", &["whom a token must be for", "audience"]);
}

#[test]
fn what_only_an_endpoint_would_see_needs_one() {
    let text = file(ISSUER, "auth: { issuer: main, claims: { X-A: a } }");
    let text = text.replace("    cluster: blue\n", "    respond: {}\n");
    let told = told(&errors(&text));
    assert!(
        told.iter()
            .any(|one| one.contains("`claims` has no effect")),
        "{told:?}"
    );
}

#[test]
fn an_issuer_that_nobody_asks_for_is_told() {
    let text = file(ISSUER, "access_log: false");
    one_warning(&text, "5:", &["no route asks for tokens of `main`"]);
}

#[test]
fn other_values_reach_the_configuration() {
    let generic = "{ issuer: x, jwks: \"https://a.test/k\", audience: api, profile: generic, roles_claim: groups }";
    assert_eq!(issuer(generic).verifier.roles_claim, "groups");
}
