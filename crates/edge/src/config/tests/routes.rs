//! Keys of routes: what they mean, what excludes what, and where mistakes are told.

use super::*;

/// A file whose only route has these lines.
fn route(lines: &str) -> String {
    let lines: String = lines.lines().map(|line| format!("    {line}\n")).collect();
    let clusters =
        "clusters:\n  blue: { endpoints: [127.0.0.1:1] }\n  green: { endpoints: [127.0.0.1:2] }\n";
    format!("listeners: [{{ address: 127.0.0.1:8080 }}]\n{clusters}routes:\n  - name: x\n{lines}")
}

fn parsed(lines: &str) -> Route {
    good(&route(lines)).config.routes.remove(0)
}

fn debug(lines: &str) -> String {
    format!("{:?}", parsed(lines))
}

/// The first line of a route under test stands in line 7.
fn refused(lines: &str, place: &str, words: &[&str]) {
    one_error(&route(lines), place, words);
}

#[test]
fn alternatives_each_reach_the_configuration() {
    let split = "split: [{ cluster: blue, weight: 9 }, { cluster: green, weight: 1 }]";
    let variants = [
        "cluster: blue",
        "cluster: blue\nregex: /a.*",
        "cluster: blue\nregex: /b.*",
        "cluster: blue\nheaders: [X-A]",
        "cluster: blue\nheaders: [{ name: X-A, regex: a }]",
        "cluster: blue\nheaders: [{ name: X-A, regex: b }]",
        "cluster: blue\nheaders: [{ name: X-A, value: b }]",
        "cluster: blue\nrewrite: { regex: /a, to: /b }",
        "cluster: blue\nrewrite: { regex: /(a), to: \"/{1}\" }",
        split,
        "split: [{ cluster: blue, weight: 8 }, { cluster: green, weight: 1 }]",
        "split: [{ cluster: green, weight: 9 }, { cluster: blue, weight: 1 }]",
        &format!("{split}\nsplit_by: \"cookie:sid\""),
        &format!("{split}\nsplit_by: \"header:X-User\""),
        "redirect: { to: /a }",
        "redirect: { to: /a, status: 301 }",
        "redirect: { to: /a, keep_query: false }",
        "redirect: { path: /a }",
        "redirect: { prefix: /a }",
        "redirect: { host: a.test }",
        "redirect: { host: a.test, scheme: http }",
        "redirect: { host: a.test, scheme: https }",
        "redirect: { host: a.test, port: 81 }",
        "respond: {}",
        "respond: { status: 404 }",
        "respond: { body: x }",
        "respond: { content_type: text/html }",
    ];
    let all: std::collections::BTreeSet<_> = variants.map(debug).into_iter().collect();
    assert_eq!(all.len(), variants.len());
    let default = debug(split);
    assert_eq!(default, debug(&format!("{split}\nsplit_by: cookie")));
}

#[test]
fn a_route_does_exactly_one_thing() {
    refused(
        "path: /",
        "6:",
        &["nothing with its requests", "cluster: NAME"],
    );
    refused(
        "cluster: blue\nredirect: { to: /a }",
        "8:",
        &["`cluster` and `redirect` exclude"],
    );
    let split = "[{ cluster: blue, weight: 1 }, { cluster: green, weight: 1 }]";
    let three = format!("cluster: blue\nsplit: {split}\nredirect: {{ to: /a }}");
    let told = told(&errors(&route(&three)));
    assert_eq!(told.len(), 2, "{told:?}");
    for (key, value) in [
        ("rewrite", "{ prefix: /x }"),
        ("request_headers", "{ remove: [X-A] }"),
        ("idempotency_key", "true"),
    ] {
        let text = format!("redirect: {{ to: /a }}\n{key}: {value}");
        refused(&text, "8:", &[&format!("`{key}` has no effect")]);
    }
    refused(
        "cluster: blue\nsplit_by: cookie",
        "8:",
        &["without `split`"],
    );
}

#[test]
fn expressions_tell_their_mistake() {
    refused(
        "cluster: blue\nregex: /users/(",
        "8:",
        &["unclosed group", "character 8"],
    );
    refused(
        "cluster: blue\nregex: users",
        "8:",
        &["matches no path", "/users"],
    );
    refused(
        "cluster: blue\nregex: /a\npath: /b",
        "8:",
        &["`path` and `regex` exclude"],
    );
    refused(
        "cluster: blue\nheaders: [{ name: X-A, regex: \"[\" }]",
        "8:",
        &["does not compile", "character 1"],
    );
}

#[test]
fn conditions_that_contradict_or_repeat_each_other_are_refused() {
    refused(
        "cluster: blue\nheaders: [X-A, { name: x-a, value: b }]",
        "8:",
        &["two conditions on one thing"],
    );
    refused("cluster: blue\nheaders: [Host]", "8:", &["use `host`"]);
    refused("cluster: blue\nheaders: [Cookie]", "8:", &["use `cookies`"]);
    for name in ["X-Auth-Roles", "x_auth_subject"] {
        let condition = format!("cluster: blue\nheaders: [{{ name: {name}, value: admin }}]");
        refused(&condition, "8:", &["proves nothing", "any client"]);
    }
    refused("cluster: blue\nmethods: [get]", "8:", &["GET"]);
    refused("cluster: blue\nmethods: [TRACE]", "8:", &["never served"]);
    refused(
        "cluster: blue\nheaders: [{ name: X-A, value: a, regex: b }]",
        "8:",
        &["`value` and `regex` exclude"],
    );
}

#[test]
fn routes_that_are_never_reached_are_told_with_both_places() {
    let two = |first: &str, second: &str| {
        format!(
            "{}  - {{ name: y, cluster: blue, {second} }}\n",
            route(&format!("cluster: blue\n{first}"))
        )
    };
    one_error(
        &two("headers: [X-A]", "headers: [x-a]"),
        "9:",
        &["an earlier route takes every request", "line 6"],
    );
    one_error(
        &two("path: /api/v1", "regex: /api/.*"),
        "6:",
        &["another route takes every request", "line 9"],
    );
    good(&two("headers: [X-A]", "headers: [X-B]"));
    let unnamed = SMALL.to_owned() + "  - { cluster: auth, methods: [GET] }\n";
    one_error(&unnamed, "8:", &["two routes are called `*/`", "`name`"]);
}

#[test]
fn splits_lead_somewhere_and_name_each_cluster_once() {
    refused(
        "split: [{ cluster: blue, weight: 0 }, { cluster: green, weight: 0 }]",
        "7:",
        &["leads nowhere"],
    );
    refused(
        "split: [{ cluster: blue, weight: 1 }, { cluster: blue, weight: 1 }]",
        "7:",
        &["in this split already"],
    );
    refused(
        "split: [{ cluster: blue, weight: 1 }, { cluster: gren, weight: 1 }]",
        "7:",
        &["did you mean `green`"],
    );
    refused(
        "split: [{ cluster: blue, weight: 1001 }, { cluster: green, weight: 1 }]",
        "7:",
        &["weight"],
    );
    refused(
        "split: [{ cluster: blue, weight: 1 }, { cluster: green, weight: 1 }]\nsplit_by: user",
        "8:",
        &["nothing to know a user by"],
    );
    one_warning(
        &route("split: [{ cluster: blue, weight: 1 }]\npath: /x")
            .replace("  green: { endpoints: [127.0.0.1:2] }\n", ""),
        "6:",
        &["one member only"],
    );
}

#[test]
fn redirects_lead_elsewhere_and_to_no_strangers_host() {
    refused("redirect: {}", "7:", &["back to where the client is"]);
    refused("redirect: { to: //evil.test }", "7:", &["another host"]);
    refused(
        "redirect: { to: /a, host: b.test }",
        "7:",
        &["`to` and `host` exclude"],
    );
    refused(
        "redirect: { scheme: https }",
        "7:",
        &["which hosts", "`host`"],
    );
    refused("redirect: { port: 8443 }", "7:", &["which hosts"]);
    refused("redirect: { scheme: ftp }", "7:", &["no scheme"]);
    refused(
        "redirect: { host: \"*.a.test\" }",
        "7:",
        &["more than one host"],
    );
    refused("redirect: { to: /a, status: 300 }", "7:", &["301"]);
    refused(
        "redirect: { prefix: /b }\nregex: /a.*",
        "7:",
        &["`path` or `exact`"],
    );
    parsed("redirect: { scheme: https }\nhost: a.test");
    parsed("redirect: { scheme: https, host: a.test }");
}

#[test]
fn fixed_answers_keep_to_http() {
    refused("respond: { status: 204, body: x }", "7:", &["has no body"]);
    refused("respond: { status: 101 }", "7:", &["200"]);
    refused(
        "respond: { content_type: \"a\\nb\" }",
        "7:",
        &["value of a header field"],
    );
}

#[test]
fn changes_of_headers_are_bounded_by_what_the_edge_answers_for() {
    for key in ["request_headers", "response_headers"] {
        for name in [
            "X-Forwarded-For",
            "Host",
            "Connection",
            "X-Auth-Subject",
            "content-length",
        ] {
            let text = format!("cluster: blue\n{key}: {{ set: {{ {name}: a }} }}");
            refused(&text, "8:", &["cannot be changed"]);
        }
        let text = format!("cluster: blue\n{key}: {{ set: {{ X-A: \"{{hots}}\" }} }}");
        refused(&text, "8:", &["unknown placeholder {hots}", "{host}"]);
        let text = format!("cluster: blue\n{key}: {{ set: {{ X-A: a }}, remove: [x-a] }}");
        refused(&text, "8:", &["two changes of `x-a`"]);
    }
}

#[test]
fn rewrites_say_what_becomes_what() {
    for (rewrite, words) in [
        ("{}", "changes nothing"),
        ("{ regex: /a }", "belong together"),
        ("{ to: /a }", "belong together"),
        ("{ regex: /a, to: \"/{1}\" }", "the group {1}"),
        ("{ regex: /a, to: a }", "is not a path"),
        ("{ prefix: /a/../b }", "dot segments"),
        ("{ host: \"a b\" }", "host"),
    ] {
        refused(
            &format!("cluster: blue\nrewrite: {rewrite}"),
            "8:",
            &[words],
        );
    }
    refused(
        "cluster: blue\nregex: /a\nrewrite: { prefix: /b }",
        "9:",
        &["`path` or `exact`"],
    );
}

#[test]
fn a_condition_on_nothing_is_refused() {
    for key in ["methods", "headers", "query", "cookies", "source"] {
        let words = [key, "no request could fulfil it", "leave it out"];
        refused(&format!("cluster: blue\n{key}: []"), "8:", &words);
    }
}

#[test]
fn paths_have_one_spelling() {
    for (path, plain) in [("/%69nternal", "/internal"), ("/caf%c3%a9", "/caf%C3%A9")] {
        for key in ["path", "exact"] {
            let words = ["plain spelling", plain];
            refused(&format!("cluster: blue\n{key}: {path}"), "8:", &words);
        }
    }
}

#[test]
fn redirects_in_circles_are_warned_of() {
    let told = |text: &str| told(&good(text).warnings).join("\n");
    for lines in [
        "redirect: { path: /x }",
        "redirect: { prefix: /x }",
        "exact: /x\nredirect: { to: \"/x?again\" }",
        "path: /x\nredirect: { prefix: /x/y }",
        "regex: /x.*\nredirect: { to: /xy }",
    ] {
        assert!(told(&route(lines)).contains("in circles"), "{lines}");
    }
    let elsewhere = "  - { exact: /x, cluster: blue }\n";
    for text in [
        route("path: /x\nredirect: { prefix: /y }"),
        route("redirect: { path: /x, host: b.example.com }"),
        route("cookies: [{ name: a }]\nredirect: { path: /x }"),
        route("redirect: { path: /x }") + elsewhere,
    ] {
        assert!(!told(&text).contains("in circles"), "{text}");
    }
}
