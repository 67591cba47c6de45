//! Behaviour of the router as a whole. Never repeats what the patterns' own tests show.

use super::*;

fn router(rules: &[(&str, &str)]) -> Router<String> {
    Router::build(rules.iter().map(|(host, path)| rule(host, path))).unwrap()
}

/// `*` any host, `*.x` wildcard, else exact; a path that ends in `*` is a prefix.
fn rule(host: &str, path: &str) -> Rule<String> {
    let target = format!("{host}{path}");
    let host = match host.strip_prefix("*.") {
        _ if host == "*" => HostPattern::Any,
        Some(name) => HostPattern::Wildcard(name.to_owned()),
        None => HostPattern::Exact(host.to_owned()),
    };
    let path = match path.strip_suffix('*') {
        Some(prefix) => PathPattern::Prefix(prefix.to_owned()),
        None => PathPattern::Exact(path.to_owned()),
    };
    let conditions = Conditions::default();
    let pattern = Pattern {
        host,
        path,
        conditions,
    };
    Rule { pattern, target }
}

fn found<'a>(router: &'a Router<String>, host: &str, path: &str) -> &'a str {
    router
        .find(Some(host), path, &())
        .map_or("none", String::as_str)
}

#[test]
fn an_empty_router_finds_nothing() {
    let router = router(&[]);
    assert_eq!(router.find(None, "/", &()), None);
    assert_eq!(router.find(Some("a"), "", &()), None);
}

#[test]
fn exact_host_goes_before_longest_wildcard_before_any() {
    let router = router(&[
        ("*", "/*"),
        ("*.example", "/*"),
        ("*.b.example", "/*"),
        ("a.b.example", "/*"),
    ]);
    assert_eq!(found(&router, "a.b.example", "/"), "a.b.example/*");
    assert_eq!(found(&router, "x.b.example", "/"), "*.b.example/*");
    assert_eq!(found(&router, "x.y.b.example", "/"), "*.b.example/*");
    assert_eq!(found(&router, "b.example", "/"), "*.example/*");
    assert_eq!(found(&router, "example", "/"), "*/*");
}

#[test]
fn exact_path_goes_before_longest_prefix() {
    let router = router(&[("*", "/*"), ("*", "/a*"), ("*", "/a/b*"), ("*", "/a/b")]);
    assert_eq!(found(&router, "h", "/a/b"), "*/a/b");
    assert_eq!(found(&router, "h", "/a/b/c"), "*/a/b*");
    assert_eq!(found(&router, "h", "/a/bc"), "*/a*");
    assert_eq!(found(&router, "h", "/ab"), "*/*");
}

#[test]
fn the_order_of_the_rules_does_not_matter() {
    let forward = router(&[("*", "/*"), ("*", "/a*"), ("x", "/a*")]);
    let backward = router(&[("x", "/a*"), ("*", "/a*"), ("*", "/*")]);
    for (host, path) in [("x", "/a"), ("x", "/b"), ("y", "/a/b"), ("y", "/")] {
        assert_eq!(found(&forward, host, path), found(&backward, host, path));
    }
}

#[test]
fn a_host_without_a_matching_path_passes_on_to_the_next() {
    let router = router(&[
        ("*", "/*"),
        ("*.b.c", "/w*"),
        ("*.c", "/v*"),
        ("a.b.c", "/x"),
    ]);
    assert_eq!(found(&router, "a.b.c", "/x"), "a.b.c/x");
    assert_eq!(found(&router, "a.b.c", "/w/1"), "*.b.c/w*");
    assert_eq!(found(&router, "a.b.c", "/v"), "*.c/v*");
    assert_eq!(found(&router, "a.b.c", "/y"), "*/*");
}

#[test]
fn a_prefix_that_is_no_segment_hides_no_shorter_one() {
    let router = router(&[("*", "/a*"), ("*", "/a/bc*"), ("*", "/a/bc/d")]);
    assert_eq!(found(&router, "h", "/a/bcd"), "*/a*");
    assert_eq!(found(&router, "h", "/a/bc/de"), "*/a/bc*");
    assert_eq!(found(&router, "h", "/a/bc/d"), "*/a/bc/d");
    assert_eq!(found(&router, "h", "/a!"), "none");
}

#[test]
fn hosts_are_compared_without_regard_to_case() {
    let router = router(&[("Example.COM", "/*"), ("*.Example.com", "/*")]);
    assert_eq!(found(&router, "eXample.com", "/"), "Example.COM/*");
    assert_eq!(found(&router, "WWW.EXAMPLE.COM", "/"), "*.Example.com/*");
}

#[test]
fn ipv6_literals_are_names_like_others() {
    let router = router(&[("[2001:db8::1]", "/*")]);
    let host = normalize_host("[2001:DB8::1]:8443");
    assert_eq!(found(&router, host, "/"), "[2001:db8::1]/*");
}

#[test]
fn a_missing_empty_or_overlong_host_is_matched_by_any_only() {
    let router = router(&[("*", "/*"), ("a", "/*"), ("*.a", "/*"), ("", "/*")]);
    assert_eq!(router.find(None, "/", &()).unwrap(), "*/*");
    assert_eq!(found(&router, "", "/"), "*/*");
    assert_eq!(
        found(&router, &format!("{}.a", "x".repeat(300)), "/"),
        "*/*"
    );
}

#[test]
fn paths_are_compared_as_sent() {
    let router = router(&[("*", "/admin*"), ("*", "/caf\u{e9}*")]);
    for path in [
        "/%61dmin",
        "/ADMIN",
        "//admin",
        "/x/../admin",
        "/admin%2Fx",
        "/admin;x",
    ] {
        assert_eq!(found(&router, "h", path), "none", "{path}");
    }
    assert_eq!(found(&router, "h", "/caf\u{e9}/x"), "*/caf\u{e9}*");
    assert_eq!(
        found(&router, "h", "/caf\u{e8}"),
        "none",
        "shares the first byte of a character"
    );
}

#[test]
fn a_path_without_slash_matches_only_an_exact_rule() {
    let router = router(&[("*", "/*"), ("*", "*/x"), ("opt", "*")]);
    assert_eq!(found(&router, "h", ""), "none");
    assert_eq!(found(&router, "h", "x"), "none");
    assert_eq!(found(&router, "h", "*/x"), "**/x");
}

#[test]
fn a_path_of_nothing_but_slashes_is_found_at_once() {
    let router = router(&[("*", "/*"), ("*", "/a/b/c*")]);
    assert_eq!(found(&router, "h", &"/".repeat(1_000_000)), "*/*");
}

#[test]
fn identical_rules_conflict_and_name_both_positions() {
    let rules = [rule("a", "/x"), rule("b", "/x"), rule("A", "/x")];
    let conflict = Router::build(rules).unwrap_err();
    assert_eq!(
        conflict,
        Conflict {
            first: 0,
            second: 2
        }
    );
    assert_eq!(
        conflict.to_string(),
        "rules 0 and 2 match the same requests"
    );
}

#[test]
fn an_exact_path_and_a_prefix_of_the_same_text_do_not_conflict() {
    let router = router(&[("*", "/x"), ("*", "/x*")]);
    assert_eq!(found(&router, "h", "/x"), "*/x");
    assert_eq!(found(&router, "h", "/x/"), "*/x*");
}
