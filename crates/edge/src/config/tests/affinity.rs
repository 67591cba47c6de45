//! Affinity: what fits together, and what browsers would refuse. Never starts an edge.

use super::mistakes::with_in_cluster;
use super::*;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// The affinity of the only cluster, from its keys in braces.
fn affinity(keys: &str) -> Affinity {
    let mut config = good(&with_in_cluster(&format!("affinity: {{ {keys} }}"))).config;
    config.clusters.remove(0).affinity.unwrap()
}

fn refused(keys: &str, column: usize, words: &[&str]) {
    let text = with_in_cluster(&format!("affinity: {{ secret: {SECRET}, {keys} }}"));
    one_error(
        &text,
        &format!("5:{}", 25 + SECRET.len() + 2 + column),
        words,
    );
}

#[test]
fn short_secret_is_refused_and_not_shown() {
    for keys in [
        "secret: 0123456789abcdef0123456789abcde".to_owned(),
        format!("secret: {SECRET}, previous_secrets: [0123456789abcde]"),
    ] {
        let text = with_in_cluster(&format!("affinity: {{ {keys} }}"));
        let told = told(&errors(&text));
        assert!(
            told.len() == 1 && told[0].contains("shorter than 32"),
            "{told:?}"
        );
        assert!(!errors(&text).to_string().contains("0123456789"));
    }
    affinity(&format!("secret: {SECRET}"));
}

#[test]
fn affinity_without_secret_warns() {
    for keys in ["{}", "{ by: \"header:x-tenant\" }"] {
        let text = with_in_cluster(&format!("affinity: {keys}"));
        one_warning(&text, "5:15", &["restarts", "secret"]);
    }
}

#[test]
fn clients_are_told_apart_by_cookie_header_query_or_claim() {
    let by = |by: &str| affinity(&format!("by: \"{by}\"")).by;
    assert!(matches!(by("cookie"), AffinityBy::Cookie(_)));
    for (text, value) in [
        ("query:user", AffinityValue::Query("user".to_owned())),
        ("claim:sub", AffinityValue::Claim("sub".to_owned())),
        ("header:Host", AffinityValue::Header(http::header::HOST)),
    ] {
        assert_eq!(by(text), AffinityBy::Value(value));
    }
    refused("by: ip", 4, &["no way", "header:NAME"]);
    refused("by: \"header:\"", 4, &["header:X-Tenant"]);
}

#[test]
fn keys_of_the_cookie_need_a_cookie() {
    for (key, column) in [
        ("cookie: a", 8),
        ("accept: [a]", 8),
        ("path: /a", 6),
        ("domain: example.com", 8),
        ("same_site: lax", 11),
        ("secure: auto", 8),
        ("partitioned: false", 13),
        ("previous_secrets: []", 18),
    ] {
        refused(
            &format!("by: \"claim:sub\", {key}"),
            17 + column,
            &["no cookie is set", "by: cookie"],
        );
    }
}

#[test]
fn what_browsers_refuse_is_refused_here() {
    let words = &["browsers refuse"];
    refused("cookie: __Host-a", 8, words);
    refused("cookie: __secure-a", 8, words);
    refused("cookie: __Host-a, secure: always, path: /a", 40, words);
    refused(
        "cookie: __HOST-a, secure: always, domain: a.test",
        42,
        words,
    );
    refused("same_site: none", 11, words);
    refused("partitioned: true", 13, words);
    for fine in [
        "cookie: __Host-a, secure: always",
        "cookie: __Secure-a, secure: always, path: /a, domain: a.test",
        "same_site: none, partitioned: true, secure: always",
        "cookie: __Hosta",
    ] {
        affinity(fine);
    }
}

#[test]
fn partitioned_reaches_the_configuration() {
    let AffinityBy::Cookie(cookie) = affinity("partitioned: true, secure: always").by else {
        panic!("a cookie is the default")
    };
    assert!(cookie.is_partitioned && cookie.secure == Secure::Always);
}

#[test]
fn full_age_is_at_least_the_idle_time() {
    let hours = |hours: u64| Some(Duration::from_secs(3_600 * hours));
    assert_eq!(affinity("ttl: 2h").max_age, hours(24));
    assert_eq!(
        affinity("ttl: 48h").max_age,
        hours(48),
        "the default gives way"
    );
    assert_eq!(affinity("ttl: 2h, max_age: 2h").max_age, hours(2));
    assert_eq!(affinity("max_age: 0s").max_age, None);
    refused("ttl: 2h, max_age: 1h", 18, &["before its `ttl`", "0s"]);
}

#[test]
fn previous_secrets_come_behind_a_secret() {
    let text = with_in_cluster(&format!("affinity: {{ previous_secrets: [{SECRET}] }}"));
    one_error(&text, "5:36", &["without a `secret`"]);
    let many = format!("previous_secrets: [{SECRET}, {SECRET}, {SECRET}, {SECRET}, {SECRET}]");
    refused(&many, 19, &["more than 4"]);
}

#[test]
fn accepted_names_are_few_and_other_ones() {
    refused("cookie: a, accept: [b, a]", 23, &["cookie itself"]);
    refused("accept: [a, b, c, d, e, f, g, h, i]", 33, &["more than 8"]);
    refused("accept: [\"a;b\"]", 9, &["not a cookie name"]);
}

#[test]
fn clusters_that_share_a_cookie_warn() {
    let text = |first: &str, second: &str| {
        format!(
            "listeners: [{{ address: 127.0.0.1:1 }}]\nclusters:\n  \
             a: {{ endpoints: [127.0.0.1:2], affinity: {{ secret: {SECRET}, {first} }} }}\n  \
             b: {{ endpoints: [127.0.0.1:2], affinity: {{ secret: {SECRET}, {second} }} }}\n\
             routes: [{{ cluster: a }}, {{ cluster: b, path: /b }}]\n"
        )
    };
    one_warning(
        &text("cookie: x", "cookie: x"),
        "4:96",
        &["`a`", "`cookie` of its own"],
    );
    for (first, second) in [
        ("cookie: x", "ttl: 2h"),
        ("ttl: 2h", "by: \"claim:sub\""),
        ("by: \"query:x\"", "by: \"query:x\""),
    ] {
        assert!(
            good(&text(first, second)).warnings.is_empty(),
            "{first}, {second}"
        );
    }
}
