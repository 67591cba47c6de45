//! Every key of the table reaches the configuration: another value makes another [`Config`].

use portcullis_ops::diagnostic::Report;
use portcullis_ops::yaml::{self, Node, Value};

use super::reference::full;
use super::*;

/// Another value for each key that holds a single one.
const OTHER: &[(&str, &str)] = &[
    ("access_log.truncate_addresses", "true"),
    ("access_log.hash", "[path]"),
    ("access_log.drop", "[path]"),
    ("access_log.salt_rotation", "9h"),
    ("listeners[].redirect_to_https.on", "false"),
    ("listeners[].redirect_to_https.port", "9"),
    ("routes[].cors.origins", "[\"https://other.example\"]"),
    ("routes[].cors.methods", "[PUT]"),
    ("routes[].cors.headers", "[X-Other]"),
    ("routes[].cors.expose", "[X-Other]"),
    ("routes[].cors.credentials", "true"),
    ("routes[].cors.max_age", "9m"),
    ("listeners[].paths.encoded_slash", "refuse"),
    ("listeners[].paths.dot_segments", "resolve"),
    ("listeners[].paths.double_slash", "merge"),
    ("listeners[].paths.backslash", "keep"),
    ("listeners[].paths.parameters", "refuse"),
    ("listeners[].paths.bad_encoding", "keep"),
    ("listeners[].paths.ambiguous", "keep"),
    ("listeners[].security_headers.preset", "api"),
    ("listeners[].security_headers.set", "{ x-other: a }"),
    ("listeners[].security_headers.hsts", "false"),
    ("listeners[].security_headers.hsts_max_age", "9000h"),
    ("listeners[].security_headers.hsts_subdomains", "false"),
    ("listeners[].security_headers.hsts_preload", "true"),
    ("listeners[].security_headers.overwrite", "true"),
    ("routes[].security_headers.preset", "api"),
    ("routes[].security_headers.set", "{ x-other: a }"),
    ("routes[].security_headers.hsts", "false"),
    ("routes[].security_headers.hsts_max_age", "9000h"),
    ("routes[].security_headers.hsts_subdomains", "false"),
    ("routes[].security_headers.hsts_preload", "true"),
    ("routes[].security_headers.overwrite", "true"),
    ("listeners[].rate_limits", "[]"),
    ("routes[].rate_limits", "[]"),
    ("routes[].criticality", "low"),
    ("rate_limits.<name>.key", "[path]"),
    ("rate_limits.<name>.rate", "9/m"),
    ("rate_limits.<name>.burst", "9999"),
    ("rate_limits.<name>.concurrent", "9"),
    ("rate_limits.<name>.tier", "header:x-other"),
    ("rate_limits.<name>.tiers", "{ other: 9/s }"),
    ("rate_limits.<name>.costs[].path", "/other"),
    ("rate_limits.<name>.costs[].methods", "[GET]"),
    ("rate_limits.<name>.costs[].cost", "9"),
    ("rate_limits.<name>.reserve", "9"),
    ("rate_limits.<name>.ipv6_prefix", "56"),
    ("rate_limits.<name>.max_keys", "999"),
    ("rate_limits.<name>.exempt", "[10.9.0.0/16]"),
    ("rate_limits.<name>.exempt_health_checks", "false"),
    ("rate_limits.<name>.fields", "off"),
    ("rate_limits.<name>.dry_run", "true"),
    ("listeners[].name", "other"),
    ("listeners[].address", "0.0.0.0:8081"),
    ("listeners[].tls.certificates[].cert", "./certs/auth.pem"),
    ("listeners[].tls.certificates[].key", "./certs/auth.key"),
    ("listeners[].tls.min_version", "1.3"),
    ("listeners[].tls.unknown_name", "refuse"),
    ("listeners[].tls.ticket_key_file", "./certs/tickets.key"),
    ("listeners[].tls.certificates[].ocsp", "./certs/auth.ocsp"),
    ("listeners[].tls.client_auth[].mode", "optional"),
    ("listeners[].tls.client_auth[].ca", "./certs/ca.pem"),
    ("listeners[].tls.client_auth[].crl", "./certs/ca.crl"),
    ("listeners[].tls.client_auth[].names", "[other.example.com]"),
    ("listeners[].tls.client_auth[].send_chain", "true"),
    ("listeners[].engine", "pingora"),
    ("listeners[].passthrough[].sni", "other.example.com"),
    ("listeners[].passthrough[].cluster", "other"),
    ("listeners[].max_connections", "9"),
    ("listeners[].connections_per_address.most", "9"),
    ("listeners[].connections_per_address.ipv6_prefix", "48"),
    (
        "listeners[].connections_per_address.exempt",
        "[192.168.0.0/16]",
    ),
    ("listeners[].clients.allow[].network", "192.0.2.0/24"),
    ("listeners[].clients.allow[].until", "2028-01-31T12:00:00Z"),
    ("listeners[].clients.deny[].network", "192.0.2.0/24"),
    ("listeners[].clients.deny[].until", "2028-01-31T12:00:00Z"),
    ("listeners[].clients.allow_file", "denied.txt"),
    ("listeners[].clients.deny_file", "allowed.txt"),
    ("listeners[].clients.dry_run", "true"),
    ("listeners[].proxy_protocol.from", "[192.168.0.0/16]"),
    ("listeners[].proxy_protocol.required", "false"),
    ("listeners[].proxy_protocol.timeout", "9s"),
    ("listeners[].limits.header_bytes", "16KiB"),
    ("listeners[].limits.header_count", "9"),
    ("listeners[].limits.target_bytes", "99"),
    ("listeners[].limits.body_bytes", "9"),
    ("listeners[].limits.body_rate", "9"),
    ("listeners[].limits.requests_per_connection", "9"),
    ("listeners[].limits.connection_age", "9s"),
    ("listeners[].timeouts.handshake", "9s"),
    ("listeners[].timeouts.header", "9s"),
    ("listeners[].timeouts.body", "9s"),
    ("listeners[].timeouts.write", "9s"),
    ("listeners[].timeouts.keep_alive", "9s"),
    ("listeners[].timeouts.tunnel", "9s"),
    ("listeners[].http2.cleartext", "true"),
    ("listeners[].http2.max_streams", "9"),
    ("listeners[].http2.max_resets", "9"),
    ("listeners[].http2.max_stream_errors", "9"),
    ("listeners[].http2.max_pings", "9"),
    ("listeners[].http2.max_settings", "9"),
    ("listeners[].http2.max_continuations", "9"),
    ("listeners[].http2.max_idle_frames", "9"),
    ("listeners[].http2.stream_window", "16KiB"),
    ("listeners[].http2.connection_window", "64KiB"),
    ("clusters.<name>.hash.key", "cookie:other"),
    ("clusters.<name>.hash.bounded_load", "999"),
    ("clusters.<name>.endpoints[].address", "10.0.1.99:8000"),
    ("clusters.<name>.endpoints[].weight", "9"),
    ("clusters.<name>.endpoints[].priority", "9"),
    ("clusters.<name>.endpoints[].zone", "other"),
    ("clusters.<name>.endpoints[].max_requests", "9"),
    ("clusters.<name>.discover[].file", "other.yaml"),
    ("clusters.<name>.discover[].weight", "9"),
    ("clusters.<name>.discover[].priority", "9"),
    ("clusters.<name>.discover[].zone", "other"),
    ("clusters.<name>.discover[].max_requests", "9"),
    ("clusters.<name>.discover_timeout", "9s"),
    ("clusters.<name>.max_endpoints", "9"),
    ("clusters.<name>.health.path", "/other"),
    ("clusters.<name>.health.port", "9"),
    ("clusters.<name>.health.request_headers", "{x-other: a}"),
    ("clusters.<name>.health.fast_interval", "9s"),
    ("clusters.<name>.health.jitter", "9"),
    ("clusters.<name>.health.headers", "{x-other: a}"),
    ("clusters.<name>.health.body", "other"),
    ("clusters.<name>.health.role", "degrade"),
    ("clusters.<name>.health.tls.server_name", "other.internal"),
    ("clusters.<name>.health.tls.ca", "./certs/ca.pem"),
    ("clusters.<name>.health.host", "other.example.com"),
    ("clusters.<name>.health.interval", "9s"),
    ("clusters.<name>.health.timeout", "4s"),
    ("clusters.<name>.health.rise", "9"),
    ("clusters.<name>.health.fall", "9"),
    ("clusters.<name>.health.expect", "204"),
    ("clusters.<name>.ejection.failures", "9"),
    ("clusters.<name>.ejection.window", "9s"),
    ("clusters.<name>.ejection.duration", "9s"),
    ("clusters.<name>.ejection.max_duration", "99s"),
    ("clusters.<name>.ejection.gateway_errors", "0"),
    ("clusters.<name>.ejection.error_percent", "0"),
    ("clusters.<name>.ejection.error_requests", "9"),
    ("clusters.<name>.ejection.max_percent", "9"),
    ("clusters.<name>.breaker.failures", "9"),
    ("clusters.<name>.breaker.error_percent", "0"),
    ("clusters.<name>.breaker.error_requests", "9"),
    ("clusters.<name>.breaker.window", "9s"),
    ("clusters.<name>.breaker.duration", "9s"),
    ("clusters.<name>.breaker.successes", "9"),
    ("clusters.<name>.breaker.mode", "monitor"),
    ("clusters.<name>.slow_start", "9s"),
    ("clusters.<name>.queue.length", "9"),
    ("clusters.<name>.queue.timeout", "9s"),
    ("clusters.<name>.retries.count", "9"),
    ("clusters.<name>.retries.backoff", "9ms"),
    ("clusters.<name>.retries.max_backoff", "9s"),
    ("clusters.<name>.retries.budget_percent", "9"),
    ("clusters.<name>.retries.budget_min", "9"),
    ("clusters.<name>.timeouts.connect", "9s"),
    ("clusters.<name>.timeouts.read", "9s"),
    ("clusters.<name>.timeouts.write", "9s"),
    ("clusters.<name>.timeouts.idle", "9s"),
    ("clusters.<name>.tls.ca", "./certs/ca.pem"),
    ("clusters.<name>.proxy_protocol", "v2"),
    ("clusters.<name>.tls.server_name", "other.internal"),
    ("clusters.<name>.tls.cert", "./certs/edge.pem"),
    ("clusters.<name>.tls.key", "./certs/edge.key"),
    ("clusters.<name>.tls.min_version", "1.3"),
    ("clusters.<name>.affinity.cookie", "other"),
    ("clusters.<name>.affinity.ttl", "9s"),
    ("clusters.<name>.affinity.max_age", "9h"),
    ("clusters.<name>.affinity.same_site", "strict"),
    ("clusters.<name>.affinity.secure", "always"),
    ("clusters.<name>.affinity.path", "/other"),
    ("clusters.<name>.affinity.domain", "other.example.com"),
    ("clusters.<name>.affinity.accept", "[other]"),
    ("clusters.<name>.affinity.previous_secrets", "[]"),
    ("routes[].name", "other"),
    ("routes[].host", "other.example.com"),
    ("routes[].path", "/other"),
    ("routes[].methods", "[POST]"),
    ("routes[].headers[].name", "X-Other"),
    ("routes[].headers[].value", "other"),
    ("routes[].query[].name", "other"),
    ("routes[].query[].value", "other"),
    ("routes[].cookies[].name", "other"),
    ("routes[].cookies[].value", "other"),
    ("routes[].source", "[192.168.0.0/16]"),
    ("routes[].cluster", "other"),
    ("routes[].rewrite.prefix", "/other"),
    ("routes[].rewrite.host", "endpoint"),
    ("routes[].request_headers.set", "{ X-Other: a }"),
    ("routes[].request_headers.add", "{ X-Other: a }"),
    ("routes[].request_headers.remove", "[X-Other]"),
    ("routes[].response_headers.set", "{ X-Other: a }"),
    ("routes[].response_headers.add", "{ X-Other: a }"),
    ("routes[].response_headers.remove", "[X-Other]"),
    ("routes[].idempotency_key", "true"),
    ("routes[].access_log", "false"),
    ("issuers.<name>.issuer", "https://other.example.com"),
    ("issuers.<name>.profile", "generic"),
    ("issuers.<name>.jwks", "https://other.example.com/keys"),
    ("issuers.<name>.authorities", "./certs/ca.pem"),
    ("issuers.<name>.algorithms", "[EdDSA]"),
    ("issuers.<name>.skew", "9s"),
    ("issuers.<name>.refresh", "9s"),
    ("issuers.<name>.max_stale", "9s"),
    (
        "issuers.<name>.revocations.feeds",
        "[\"http://127.0.0.1:9\"]",
    ),
    ("routes[].auth.when_lost.stale", "9s }"),
    ("routes[].auth.audience", "other"),
    ("routes[].auth.roles", "[other]"),
    ("routes[].auth.scopes", "[other]"),
    ("routes[].auth.claims", "{ X-Another: org }"),
    ("routes[].auth.forward_token", "false"),
    ("routes[].auth.tunnels", "until_revoked"),
    ("flags.<name>.percent", "20.01"),
    ("flags.<name>.key", "\"cookie:other\""),
    ("flags.<name>.on", "[\"192.0.2.9\"]"),
    ("flags.<name>.off", "[\"192.0.2.9\"]"),
    ("zone", "other"),
    ("routes[].errors[].status", "599"),
    ("routes[].errors[].also_from_endpoints", "true"),
    ("routes[].clients.allow[].network", "192.0.2.0/24"),
    ("routes[].clients.allow[].until", "2028-01-31T12:00:00Z"),
    ("routes[].clients.deny[].network", "192.0.2.0/24"),
    ("routes[].clients.deny[].until", "2028-01-31T12:00:00Z"),
    ("routes[].clients.allow_file", "denied.txt"),
    ("routes[].clients.deny_file", "allowed.txt"),
    ("routes[].clients.dry_run", "true"),
    ("routes[].errors[].file", "certs/ca.pem"),
    ("routes[].errors[].content_type", "text/plain"),
    ("routes[].maintenance.on", "false"),
    ("routes[].maintenance.file", "certs/ca.pem"),
    ("routes[].maintenance.content_type", "text/plain"),
    ("routes[].maintenance.retry_after", "9s"),
    ("routes[].maintenance.allow", "[192.168.0.0/16]"),
    ("errors[].status", "599"),
    ("errors[].also_from_endpoints", "true"),
    ("errors[].file", "certs/ca.pem"),
    ("errors[].content_type", "text/plain"),
    ("forwarded.send", "both"),
    ("forwarded.believe", "rfc7239"),
    ("forwarded.by", "_other"),
    ("trusted_proxies", "[192.168.0.0/16]"),
    ("reload.watch", "true"),
    ("admin.address", "127.0.0.1:2020"),
    ("admin.tokens[].name", "other"),
    ("admin.tokens[].role", "operate"),
    ("admin.hosts", "[other.example.com]"),
    ("admin.open_metrics", "false"),
    ("audit_log", "./other.log"),
    ("access_log.to", "off"),
    ("access_log.health_checks", "true"),
    ("access_log.sample", "9"),
    ("access_log.slow", "9s"),
    ("shutdown.delay", "9s"),
    ("shutdown.drain", "9s"),
    ("shutdown.upgrade_drain", "2h"),
    ("shutdown.upgrade_timeout", "9s"),
    ("max_connections", "9"),
    ("workers", "9"),
];

/// Held by tests below, or by the tests of affinity and of
/// health checks because other keys must change with them.
const ELSEWHERE: &[&str] = &[
    // Goes with `tls` or without.
    "clusters.<name>.protocol",
    // Instead of `file`.
    "clusters.<name>.discover[].dns",
    "clusters.<name>.discover[].srv",
    "clusters.<name>.discover[].family",
    "clusters.<name>.discover[].resolver",
    "clusters.<name>.discover[].min_ttl",
    "clusters.<name>.discover[].max_ttl",
    "clusters.<name>.discover[].redis.url",
    "clusters.<name>.discover[].redis.registry",
    "clusters.<name>.discover[].redis.ca",
    "clusters.<name>.discover[].redis.interval",
    // Contradicts `ca`.
    "clusters.<name>.tls.verify",
    // Nothing else may be said beside it.
    "routes[].cors.owner",
    "routes[].exact",
    // Names one of the reference, which has one only.
    "routes[].flags",
    // Instead of `file`.
    "errors[].body",
    "routes[].errors[].body",
    "routes[].maintenance.body",
    "admin.token",
    "admin.tokens[].token",
    "admin.tokens[].token_file",
    "issuers.<name>.allow_http",
    // A route of the reference names its own.
    "issuers.<name>.audience",
    "issuers.<name>.roles_claim",
    "issuers.<name>.revocations.token",
    "issuers.<name>.revocations.token_file",
    "issuers.<name>.revocations.when_lost.policy",
    "issuers.<name>.revocations.when_lost.stale",
    "routes[].auth.when_lost.policy",
    "routes[].auth.issuer",
    "routes[].auth.optional",
    "clusters.<name>.affinity.secret",
    "clusters.<name>.affinity.by",
    "clusters.<name>.affinity.partitioned",
    "clusters.<name>.health.type",
    "clusters.<name>.health.service",
    "clusters.<name>.health.share",
    "clusters.<name>.health.method",
    "clusters.<name>.health.tls.verify",
    "routes[].regex",
    "routes[].headers[].regex",
    "routes[].split[].cluster",
    "routes[].split[].weight",
    "routes[].split_by",
    "routes[].redirect.to",
    "routes[].redirect.scheme",
    "routes[].redirect.host",
    "routes[].redirect.port",
    "routes[].redirect.path",
    "routes[].redirect.prefix",
    "routes[].redirect.status",
    "routes[].redirect.keep_query",
    "routes[].respond.status",
    "routes[].respond.body",
    "routes[].respond.content_type",
    "routes[].rewrite.regex",
    "routes[].rewrite.to",
    "clusters.<name>.balance",
    "clusters.<name>.max_requests",
];

/// Where the value at `path` stands, in the first member of every list and named set.
fn find<'n>(node: &'n Node, path: &str) -> Option<&'n Node> {
    let (first, rest) = path.split_once('.').unwrap_or((path, ""));
    let (name, is_list) = first
        .strip_suffix("[]")
        .map_or((first, false), |name| (name, true));
    let Value::Mapping(entries) = &node.value else {
        return None;
    };
    let entry = entries
        .iter()
        .find(|entry| name == "<name>" || entry.key == name)?;
    let next = match &entry.node.value {
        Value::Sequence(nodes) if is_list => nodes.first()?,
        _ => &entry.node,
    };
    if rest.is_empty() {
        Some(next)
    } else {
        find(next, rest)
    }
}

/// The text with another value at `path`.
fn replaced(text: &str, path: &str, value: &str) -> String {
    let source = Source::new("f", text);
    let report = Report::new(&source);
    let root = yaml::load(&report, &|_| Some(String::new())).unwrap();
    let span = find(&root, path).unwrap_or_else(|| panic!("{path}")).span;
    let lines = text.lines().enumerate().map(|(index, line)| {
        if index + 1 == span.line {
            format!("{}{value}\n", &line[..span.column - 1])
        } else {
            format!("{line}\n")
        }
    });
    lines.collect()
}

/// The full reference with a second cluster to point at.
fn full_with_two_clusters() -> (World, String) {
    let (world, text) = full();
    // Behind the first one: the helpers above look at first members.
    let text = text.replace(
        "\n# What goes where",
        "  other:\n    endpoints: [10.0.9.9:80]\n\n# What goes where",
    );
    assert!(text.contains("  other:"), "{text}");
    (world, text)
}

fn debug(world: &World, text: &str) -> String {
    match world.parse(text) {
        Ok(parsed) => format!("{:#?}", parsed.config),
        Err(errors) => panic!("{errors}"),
    }
}

#[test]
fn another_value_of_any_key_makes_another_configuration() {
    let (world, text) = full_with_two_clusters();
    let before = debug(&world, &text);
    for (path, value) in OTHER {
        let after = debug(&world, &replaced(&text, path, value));
        assert_ne!(before, after, "{path} has no effect");
    }
}

#[test]
fn exact_path_and_secret_reach_the_configuration() {
    let config = good(&SMALL.replace("- cluster", "- exact: /x\n    cluster")).config;
    assert_eq!(
        config.routes[0].pattern.path,
        PathPattern::Exact("/x".to_owned())
    );
    let (world, text) = full();
    let config = world.parse(&text).unwrap().config;
    let secret = config.clusters[0]
        .affinity
        .as_ref()
        .unwrap()
        .secret
        .as_ref()
        .unwrap();
    assert_eq!(secret.expose(), "0123456789abcdef0123456789abcdef");
    let tokens = config.admin.unwrap().tokens;
    assert_eq!(
        (tokens[0].name.as_str(), tokens[0].role),
        ("admin", AdminRole::Operate)
    );
    assert_eq!(
        tokens[0].token.expose(),
        "an operator's token of 40 characters ..."
    );
}

#[test]
fn balance_and_request_limits_reach_the_configuration() {
    let with = |more: &str| SMALL.replace("    endpoints", &format!("    {more}\n    endpoints"));
    let cluster = |more: &str| good(&with(more)).config.clusters.remove(0);
    for (word, balance) in [
        ("round_robin", Balance::RoundRobin),
        ("least_conn", Balance::LeastConn),
        ("p2c", Balance::P2c),
        ("peak_ewma", Balance::PeakEwma),
    ] {
        assert_eq!(cluster(&format!("balance: {word}")).balance, balance);
    }
    let most = |text: &str| {
        good(text).config.clusters[0].endpoints[0]
            .max_requests
            .get()
    };
    assert_eq!(most(&with("max_requests: 7")), 7);
    let own = with("max_requests: 7").replace(
        "[127.0.0.1:4001]",
        "[{ address: 127.0.0.1:4001, max_requests: 3 }]",
    );
    assert_eq!(most(&own), 3);
    assert!(cluster("slow_start: 0s").slow_start.is_none());
    assert!(cluster("queue: off").queue.is_none());
}

#[test]
fn every_key_with_a_single_value_is_covered_here() {
    let paths = key_paths();
    let is_inner = |path: &String| {
        let prefix = [
            format!("{path}."),
            format!("{path}[]."),
            format!("{path}.<name>."),
        ];
        paths
            .iter()
            .any(|other| prefix.iter().any(|prefix| other.starts_with(prefix)))
    };
    for path in paths.iter().filter(|path| !is_inner(path)) {
        let is_here = OTHER.iter().any(|(known, _)| known == path);
        assert!(
            is_here || ELSEWHERE.contains(&path.as_str()),
            "{path} is new: give it another value"
        );
    }
}
