//! Every rule over more than one value, broken once each.

use super::*;

/// [`SMALL`] with one more key at the end.
fn with(more: &str) -> String {
    format!("{SMALL}{more}\n")
}

/// [`SMALL`] with more in its cluster.
pub(super) fn with_in_cluster(more: &str) -> String {
    SMALL.replace("    endpoints", &format!("    {more}\n    endpoints"))
}

#[test]
fn ten_mistakes_are_ten_located_errors() {
    let text = "\
listeners:
  - adress: 127.0.0.1:8080
    timeouts: { header: 10 }
    limits: { header_bytes: 32KB, body_bytes: [1] }
clusters:
  auth:
    balance: leastconn
    endpoints: [127.0.0.1, 127.0.0.1:4001]
    health: { interval: 1s, timeout: 5s }
routes:
  - { cluster: atuh }
  - { path: api, cluster: auth }
  - { host: *.a.test, cluster: auth }
";
    let errors = errors(text);
    let places: Vec<_> = errors
        .iter()
        .map(|error| (error.line, error.column))
        .collect();
    let expected = [
        (2, 5),
        (3, 25),
        (4, 29),
        (4, 47),
        (7, 14),
        (8, 17),
        (9, 38),
        (11, 16),
        (12, 13),
        (13, 13),
    ];
    assert_eq!(places, expected, "{errors}");
    for error in &errors {
        assert_eq!(error.file, "edge.yaml");
        assert_eq!(
            error.source_line.as_deref(),
            text.lines().nth(error.line - 1)
        );
    }
    assert!(
        errors.to_string().contains("did you mean `auth`?"),
        "{errors}"
    );
    assert!(
        errors.to_string().contains("did you mean `least_conn`?"),
        "{errors}"
    );
}

#[test]
fn syntax_error_is_the_only_error() {
    let text = format!("{SMALL}  bad: [\n");
    let errors = errors(&text);
    assert_eq!(errors.len(), 1, "{errors}");
}

#[test]
fn listeners_and_clusters_are_required() {
    let told = told(&errors("routes: []\n"));
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told[0].contains("no `listeners`") && told[1].contains("no `clusters`"),
        "{told:?}"
    );
}

#[test]
fn http_without_routes_is_refused() {
    let text = SMALL.replace("routes:\n  - cluster: auth\n", "");
    one_error(&text, "2:5", &["no routes", "404"]);
}

#[test]
fn unknown_cluster_of_a_route() {
    one_error(
        &with("  - { path: /x, cluster: auht }"),
        "8:26",
        &["`auht`", "did you mean `auth`"],
    );
    one_error(
        &with("  - { path: /x, cluster: zzz }"),
        "8:26",
        &["known clusters: auth"],
    );
}

#[test]
fn unknown_cluster_of_a_passthrough() {
    let text = SMALL.replace(
        "8080\n",
        "8080\n    passthrough: [{ sni: a.test, cluster: gone }]\n",
    );
    let told = told(&errors(&text));
    assert!(
        told[0].starts_with("3:43: there is no cluster `gone`"),
        "{told:?}"
    );
}

#[test]
fn cluster_given_twice() {
    let text = SMALL.replace("routes:", "  auth: { endpoints: [127.0.0.1:1] }\nroutes:");
    one_error(&text, "6:3", &["`auth` is given twice", "line 4"]);
}

#[test]
fn cluster_with_an_unusable_name() {
    let text = SMALL
        .replace("  auth:", "  \"a b\":")
        .replace("cluster: auth", "cluster: a b");
    let told = told(&errors(&text));
    assert!(
        told[0].starts_with("4:3: the name `a b` is not a usable name"),
        "{told:?}"
    );
}

#[test]
fn listener_address_taken_by_another() {
    for (first, second) in [
        ("127.0.0.1:8080", "127.0.0.1:8080"),
        ("0.0.0.0:8080", "127.0.0.1:8080"),
        ("127.0.0.1:8080", "0.0.0.0:8080"),
        ("[::]:8080", "[::1]:8080"),
    ] {
        let text = SMALL.replace(
            "address: 127.0.0.1:8080",
            &format!("address: \"{first}\"\n  - address: \"{second}\""),
        );
        one_error(
            &text,
            "3:14",
            &["is taken by another listener", "line 2 has"],
        );
    }
}

#[test]
fn addresses_that_differ_are_free() {
    for (first, second) in [
        ("127.0.0.1:8080", "127.0.0.2:8080"),
        ("127.0.0.1:8080", "127.0.0.1:8081"),
        ("127.0.0.1:0", "127.0.0.1:0"),
        ("[::1]:8080", "0.0.0.0:8080"),
    ] {
        let text = SMALL.replace(
            "address: 127.0.0.1:8080",
            &format!("address: \"{first}\"\n  - address: \"{second}\""),
        );
        assert_eq!(good(&text).config.listeners.len(), 2);
    }
}

#[test]
fn admin_address_of_a_listener() {
    one_error(
        &with("admin: { address: \"0.0.0.0:8080\", token: 0123456789abcdef0123456789abcdef }"),
        "8:19",
        &["admin", "too"],
    );
    let text = SMALL.replace("127.0.0.1:8080", "0.0.0.0:2019");
    one_error(&text, "2:14", &["127.0.0.1:2019", "off"]);
}

#[test]
fn listener_name_given_twice() {
    let text = SMALL.replace(
        "  - address: 127.0.0.1:8080\n",
        "  - { name: x, address: \"127.0.0.1:1\" }\n  - { name: x, address: \"127.0.0.1:2\" }\n",
    );
    one_error(&text, "3:13", &["two listeners are called `x`"]);
}

#[test]
fn route_name_given_twice() {
    let text =
        with("  - { name: x, path: /a, cluster: auth }\n  - { name: x, path: /b, cluster: auth }");
    one_error(&text, "9:13", &["two routes are called `x`"]);
}

#[test]
fn route_given_twice() {
    one_error(
        &with("  - { path: /, cluster: auth }"),
        "8:5",
        &["earlier route", "line 7"],
    );
    let text = with(
        "  - { host: A.test, path: /a, cluster: auth }\n  - { host: a.test., path: /a, cluster: auth }",
    );
    one_error(&text, "9:5", &["earlier route", "line 8"]);
}

#[test]
fn mistaken_route_is_not_called_a_duplicate() {
    one_error(
        &with("  - { path: api, cluster: auth }"),
        "8:13",
        &["begin with a slash"],
    );
    one_error(
        &with("  - { host: \"a b\", cluster: auth }"),
        "8:13",
        &["not a host name"],
    );
}

#[test]
fn path_and_exact_exclude_each_other() {
    one_error(
        &with("  - { path: /a, exact: /b, cluster: auth }"),
        "8:24",
        &["exclude"],
    );
}

#[test]
fn endpoint_given_twice() {
    let text = SMALL.replace("[127.0.0.1:4001]", "[\"one.test:80\", \"10.0.0.1:80\"]");
    one_error(
        &text,
        "5:32",
        &["`10.0.0.1:80` is in this cluster already", "weight"],
    );
}

#[test]
fn same_endpoint_in_two_clusters_is_fine() {
    let text = SMALL.replace("routes:", "  b: { endpoints: [127.0.0.1:4001] }\nroutes:");
    good(&format!("{text}  - {{ path: /b, cluster: b }}\n"));
}

#[test]
fn host_name_without_an_address() {
    one_error(
        &SMALL.replace("127.0.0.1:4001", "gone.test:80"),
        "5:17",
        &["`gone.test`", "no such"],
    );
    one_error(
        &SMALL.replace("127.0.0.1:4001", "empty.test:80"),
        "5:17",
        &["has no address"],
    );
}

#[test]
fn access_log_without_a_directory() {
    one_error(
        &with("access_log: ./gone/access.log"),
        "8:13",
        &["no directory"],
    );
    one_error(&with("access_log: /tmp"), "8:13", &["is a directory"]);
    one_error(&with("access_log: stdot"), "8:13", &["neither"]);
}

#[test]
fn server_name_that_is_never_reached() {
    let text = |second: &str| {
        format!(
            "listeners:\n  - address: 127.0.0.1:1\n    passthrough:\n      \
             - {{ sni: \"*.a.test\", cluster: c }}\n      - {{ sni: {second}, cluster: c }}\n\
             clusters: {{ c: {{ endpoints: [127.0.0.1:2] }} }}\n"
        )
    };
    one_error(
        &text("x.a.test"),
        "5:16",
        &["earlier server name", "line 4"],
    );
    one_error(&text("\"*.a.test\""), "5:16", &["earlier server name"]);
    good(&text("a.test"));
    good(&text("x.y.a.test"));
    good(&text("localhost"));
}

#[test]
fn trust_in_everybody_warns() {
    one_warning(
        &with("trusted_proxies: [10.0.0.0/8, 0.0.0.0/0]"),
        "8:31",
        &["forge"],
    );
    assert!(
        good(&with("trusted_proxies: [10.0.0.0/8]"))
            .warnings
            .is_empty()
    );
}

#[test]
fn open_admin_address_needs_a_token_and_warns() {
    one_error(
        &with("admin: { address: \"0.0.0.0:2019\" }"),
        "8:19",
        &["needs a token", "127.0.0.1"],
    );
    let token = "a".repeat(32);
    one_warning(
        &with(&format!(
            "admin: {{ address: \"0.0.0.0:2019\", token: {token} }}"
        )),
        "8:19",
        &["open to everyone"],
    );
}

#[test]
fn tokens_of_operators_have_one_name_one_place_and_one_owner() {
    let (a, b) = ("a".repeat(32), "b".repeat(32));
    let tokens = |of: &str| with(&format!("admin: {{ tokens: [{of}] }}"));
    one_error(&tokens("{ name: ada }"), "8:19", &["`ada` has no token"]);
    one_error(
        &tokens("{ name: ada, token: short }"),
        "8:39",
        &["shorter than 32"],
    );
    let two = format!("{{ name: ada, token: {a} }}, {{ name: ada, token: {b} }}");
    one_error(&tokens(&two), "8:83", &["`ada` has two tokens"]);
    let same = format!("{{ name: ada, token: {a} }}, {{ name: bob, token: {a} }}");
    one_error(
        &tokens(&same),
        "8:95",
        &["`bob` has the token of somebody else"],
    );
    let both = format!("{{ name: ada, token: {a}, token_file: x }}");
    one_error(&tokens(&both), "8:39", &["both there"]);
    let unknown = format!("{{ name: ada, role: operator, token: {a} }}");
    one_error(&tokens(&unknown), "8:38", &["did you mean `operate`?"]);
}

#[test]
fn hosts_of_the_operator_are_names_and_the_audit_goes_to_a_directory_that_is_there() {
    one_error(
        &with("admin: { hosts: [\"*.example.com\"] }"),
        "8:18",
        &["stands for many hosts"],
    );
    one_error(
        &with("audit_log: ./none/audit.log"),
        "8:12",
        &["there is no directory"],
    );
    one_error(&with("audit_log: audit"), "8:12", &["log"]);
}

#[test]
fn unused_cluster_warns() {
    let text = SMALL.replace("routes:", "  b: { endpoints: [127.0.0.1:1] }\nroutes:");
    one_warning(&text, "6:3", &["nothing uses the cluster `b`"]);
}

#[test]
fn more_connections_than_all_together_warns() {
    let text = SMALL.replace("8080\n", "8080\n    max_connections: 11\n");
    one_warning(
        &format!("{text}max_connections: 10\n"),
        "3:22",
        &["only 10"],
    );
    assert!(good(&with("max_connections: 10")).warnings.is_empty());
    assert!(
        good(&format!("{text}max_connections: 11\n"))
            .warnings
            .is_empty()
    );
    assert!(good(&text).warnings.is_empty());
}

/// A listener that only passes through, with a cluster as given.
fn passed(cluster: &str, more: &str) -> String {
    format!(
        "listeners:\n  - address: 127.0.0.1:1\n    passthrough: [{{ sni: a.test, cluster: c }}]\n\
         clusters:\n  c: {{ endpoints: [127.0.0.1:2]{cluster} }}\n{more}"
    )
}

#[test]
fn plain_checks_of_tls_endpoints_warn() {
    one_warning(&passed(", health: {}", ""), "5:3", &["plain HTTP to TLS"]);
    for health in ["{ type: tcp }", "{ port: 80 }"] {
        let parsed = good(&passed(&format!(", health: {health}"), ""));
        assert!(parsed.warnings.is_empty(), "{health}: {}", parsed.warnings);
    }
}

#[test]
fn affinity_of_tls_passed_through_warns() {
    let text = passed(", affinity: { secret: \"${AFFINITY_SECRET}\" }", "");
    one_warning(&text, "5:3", &["no effect"]);
}

#[test]
fn cluster_for_http_and_tls_warns() {
    let text = passed("", "routes: [{ cluster: c }]\n")
        .replace("clusters:", "  - address: 127.0.0.1:3\nclusters:");
    one_warning(&text, "6:3", &["both plain HTTP and TLS"]);
}

#[test]
fn routes_that_no_listener_uses_warn() {
    let text = passed(
        "",
        "  d: { endpoints: [127.0.0.1:3] }\nroutes: [{ cluster: d }]\n",
    );
    one_warning(&text, "7:10", &["no listener speaks HTTP"]);
}

#[test]
fn what_is_hashed_is_said_where_something_is() {
    let text = with_in_cluster("balance: hash");
    one_error(&text, "5:14", &["what to hash", "key: source"]);
    let text = with_in_cluster("hash: { key: path }");
    one_error(&text, "5:11", &["no effect", "least_conn", "balance: hash"]);
    let text = with_in_cluster("balance: hash\n    hash: { key: body }");
    one_error(
        &text,
        "6:18",
        &["nothing that can be hashed", "header:NAME"],
    );
    let text = with_in_cluster("balance: hash\n    hash: { key: path, bounded_load: 99 }");
    one_error(&text, "6:38", &["too small", "100"]);
}

#[test]
fn ip_hash_is_warned_of() {
    let text = with_in_cluster("balance: ip_hash");
    one_warning(&text, "5:14", &["share one endpoint", "affinity"]);
}

#[test]
fn weights_and_tiers_must_leave_something_to_choose() {
    let with_endpoints = |endpoints: &str| SMALL.replace("127.0.0.1:4001", endpoints);
    let text = with_endpoints("{ address: 127.0.0.1:1, weight: 0 }");
    one_error(&text, "5:49", &["weight 0", "1 or more"]);
    let text = with_endpoints("{ address: 127.0.0.1:1, priority: 2 }");
    one_warning(&text, "5:51", &["one tier"]);
    let text = with_endpoints(
        "{ address: 127.0.0.1:1, priority: 2 }, { address: 127.0.0.1:2, weight: 0 }",
    );
    assert!(
        good(&text).warnings.is_empty(),
        "gaps and single zeros are fine"
    );
}

#[test]
fn zones_need_that_of_the_edge() {
    let text = SMALL.replace("127.0.0.1:4001", "{ address: 127.0.0.1:1, zone: a }");
    one_warning(&text, "5:47", &["no effect", "at the top"]);
    one_warning(&format!("{text}zone: b\n"), "8:7", &["no endpoint", "`b`"]);
    assert!(good(&format!("{text}zone: a\n")).warnings.is_empty());
}

#[test]
fn containment_must_be_able_to_act() {
    let text = with_in_cluster("ejection: { duration: 60s, max_duration: 59s }");
    one_error(&text, "5:46", &["longest ejection", "at least `duration`"]);
    let text = with_in_cluster("breaker: { failures: 3 }");
    one_warning(&text, "5:26", &["never acts", "ejection: off"]);
    let text = with_in_cluster("breaker: { failures: 3, mode: monitor }");
    assert!(good(&text).warnings.is_empty());
    assert!(
        good(&with_in_cluster("breaker: { failures: 4 }"))
            .warnings
            .is_empty()
    );
}

#[test]
fn pages_are_there_and_say_one_thing_about_what_is_ours() {
    for (page, message) in [
        ("{ status: 503 }", "there is nothing to say"),
        ("{ status: 200-599, body: x }", "`status` begins below 400"),
        (
            "{ status: 503, body: x, file: y }",
            "`body` and `file` exclude each other",
        ),
        ("{ status: 503, file: not/there.html }", "not/there.html"),
    ] {
        let errors = errors(&with(&format!("errors: [{page}]")));
        let error = errors.iter().next().unwrap();
        assert!(error.message.contains(message), "{page}: {errors}");
        assert_eq!(error.line, with("").lines().count(), "{page}: {errors}");
    }
}

#[test]
fn a_page_without_a_word_is_told_of() {
    let world = World::new();
    let text = with("errors: [{ status: 503, file: sorry.html }]");
    for (page, told) in [("", 1), (" \n", 1), ("sorry", 0)] {
        std::fs::write(world.path().join("sorry.html"), page).unwrap();
        let warnings = world.parse(&text).unwrap().warnings;
        assert_eq!(warnings.iter().count(), told, "{page:?}: {warnings}");
        assert_eq!(warnings.to_string().contains("is empty"), told == 1);
    }
}

#[test]
fn policies_that_can_never_act_are_refused() {
    let text = with_in_cluster("ejection: { max_percent: 0 }");
    one_error(&text, "5:30", &["nothing is ever ejected", "ejection: off"]);
    let text = with_in_cluster("retries: { budget_percent: 0, budget_min: 0 }");
    one_error(&text, "5:", &["lets no retry run", "retries: 0"]);
    good(&with_in_cluster(
        "retries: { count: 0, budget_percent: 0, budget_min: 0 }",
    ));
    one_error(
        &with_in_cluster("retries: { count: x }"),
        "5:",
        &["whole number"],
    );
    for policy in ["ejection", "breaker"] {
        let text = with_in_cluster(&format!("{policy}: {{ error_percent: x, failures: 9 }}"));
        one_error(&text, "5:", &["whole number"]);
        let shares = "error_percent: 0, error_requests: 20";
        let text = with_in_cluster(&format!("{policy}: {{ {shares}, failures: 9 }}"));
        one_warning(&text, "5:", &["error_requests", "no effect"]);
    }
}

#[test]
fn a_page_behind_one_for_all_its_statuses_is_warned_of() {
    let pages = |first: &str, second: &str| {
        let page = |status: &str| format!("{{ status: {status}, body: x }}");
        let pages = format!("errors: [{}, {}]\n", page(first), page(second));
        told(&good(&(with_in_cluster("retries: 1") + &pages)).warnings)
    };
    assert!(pages("503", "500-599").is_empty());
    let found = pages("500-599", "503").join("\n");
    assert!(
        found.contains("an earlier page takes every status"),
        "{found}"
    );
}
