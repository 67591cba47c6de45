//! What a sound file becomes: defaults, names, addresses.

use super::*;

const DEFAULT_TTL: Duration = Duration::from_secs(3600);

#[test]
fn seven_lines_are_a_useful_edge() {
    let Parsed {
        config, warnings, ..
    } = good(SMALL);
    assert!(warnings.is_empty(), "{warnings}");
    assert_eq!(config.listeners[0].name, "127.0.0.1:8080");
    assert_eq!(config.routes[0].name, "*/");
    assert_eq!(config.routes[0].pattern.host, HostPattern::Any);
    assert_eq!(
        config.routes[0].pattern.path,
        PathPattern::Prefix("/".to_owned())
    );
    assert_eq!(config.routes[0].action, Action::Cluster(ClusterId(0)));
    assert!(config.routes[0].access_log);
    assert_eq!(
        config.admin.unwrap().address,
        "127.0.0.1:2019".parse().unwrap()
    );
    assert_eq!(config.access_log, AccessLog::Stdout);
    assert_eq!(config.max_connections, 50_000);
    assert_eq!(config.shutdown.delay, Duration::from_secs(15));
    assert_eq!(config.shutdown.drain, Duration::from_secs(30));
    assert_eq!(config.shutdown.upgrade_drain, Duration::from_secs(3600));
    assert_eq!(config.shutdown.upgrade_timeout, Duration::from_secs(60));
    assert!(config.trusted_proxies.is_empty());
    assert_eq!(config.workers, None);
}

#[test]
fn listener_defaults_are_those_of_the_documents() {
    let config = good(SMALL).config;
    let listener = &config.listeners[0];
    let seconds = Duration::from_secs;
    assert!(listener.tls.is_none() && listener.passthrough.is_empty());
    assert_eq!(listener.engine, Engine::Native);
    assert_eq!(listener.max_connections, 10_000);
    assert_eq!(listener.limits.header_bytes, 32 << 10);
    assert_eq!(listener.limits.header_count, 100);
    assert_eq!(listener.limits.target_bytes, 8 << 10);
    assert_eq!(listener.limits.body_bytes, 1 << 20);
    assert_eq!(listener.limits.body_rate, 240);
    assert_eq!(listener.limits.requests_per_connection.get(), 1000);
    assert_eq!(listener.limits.connection_age, seconds(3600));
    let timeouts = &listener.timeouts;
    assert_eq!(
        (timeouts.handshake, timeouts.header),
        (seconds(10), seconds(10))
    );
    assert_eq!((timeouts.body, timeouts.write), (seconds(30), seconds(60)));
    assert_eq!(timeouts.keep_alive, seconds(75));
    assert_eq!(listener.http2.max_streams, 100);
    assert_eq!(listener.http2.stream_window, 64 << 10);
    assert_eq!(listener.http2.connection_window, 1 << 20);
}

#[test]
fn cluster_defaults_are_those_of_the_documents() {
    let config = good(SMALL).config;
    let cluster = &config.clusters[0];
    let seconds = Duration::from_secs;
    assert_eq!(cluster.balance, Balance::LeastConn);
    assert!(cluster.health.is_empty() && cluster.affinity.is_none());
    let retries = cluster.retries;
    assert_eq!(
        (retries.count, retries.budget.percent, retries.budget.min),
        (1, 20, 3)
    );
    let waits = [retries.backoff.base, retries.backoff.max];
    assert_eq!(waits.map(|wait| wait.as_millis()), [25, 250]);
    let ejection = cluster.ejection.as_ref().unwrap();
    assert_eq!((ejection.failures.get(), ejection.max_percent), (3, 50));
    assert_eq!(
        (ejection.window, ejection.duration),
        (seconds(30), seconds(30))
    );
    let timeouts = &cluster.timeouts;
    assert_eq!((timeouts.connect, timeouts.read), (seconds(5), seconds(60)));
    assert_eq!((timeouts.write, timeouts.idle), (seconds(60), seconds(60)));
}

#[test]
fn affinity_has_defaults_once_asked_for() {
    let text = SMALL.replace("    endpoints", "    affinity: {}\n    endpoints");
    let config = good(&text).config;
    let affinity = config.clusters[0].affinity.as_ref().unwrap();
    let cookie = AffinityCookie {
        name: "_portcullis_affinity".to_owned(),
        accept: Vec::new(),
        path: "/".to_owned(),
        domain: None,
        same_site: SameSite::Lax,
        secure: Secure::Auto,
        is_partitioned: false,
    };
    assert_eq!(affinity.by, AffinityBy::Cookie(cookie));
    let day = 24 * DEFAULT_TTL;
    assert_eq!((affinity.ttl, affinity.max_age), (DEFAULT_TTL, Some(day)));
    assert!(affinity.secret.is_none() && affinity.previous_secrets.is_empty());
}

#[test]
fn off_switches_off() {
    let text = SMALL.replace(
        "    endpoints",
        "    health: off\n    ejection: off\n    endpoints",
    );
    let config = good(&format!("{text}admin: off\naccess_log: off\n")).config;
    assert!(config.clusters[0].health.is_empty() && config.clusters[0].ejection.is_none());
    assert!(config.admin.is_none());
    assert_eq!(config.access_log, AccessLog::Off);
}

#[test]
fn host_names_become_one_endpoint_per_address() {
    let text = SMALL.replace(
        "[127.0.0.1:4001]",
        "[{ address: \"two.test:80\", weight: 3 }]",
    );
    let config = good(&text).config;
    let endpoints: Vec<_> = config.clusters[0]
        .endpoints
        .iter()
        .map(|endpoint| (endpoint.address.to_string(), endpoint.weight))
        .collect();
    assert_eq!(
        endpoints,
        [("10.0.0.1:80".to_owned(), 3), ("10.0.0.2:80".to_owned(), 3)]
    );
}

#[test]
fn server_with_both_kinds_of_address_counts_once() {
    let addresses = |host: &str| -> Vec<String> {
        let config = good(&SMALL.replace("127.0.0.1:4001", host)).config;
        let endpoints = config.clusters[0].endpoints.iter();
        endpoints
            .map(|endpoint| endpoint.address.to_string())
            .collect()
    };
    assert_eq!(addresses("dual.test:80"), ["127.0.0.1:80"]);
    assert_eq!(addresses("six.test:80"), ["[::1]:80"]);
}

#[test]
fn route_names_say_what_they_match() {
    let text = format!(
        "{SMALL}  - {{ host: \"*.A.test\", path: /api, cluster: auth }}\n  \
         - {{ host: a.test, exact: /health, cluster: auth, name: probe }}\n  \
         - {{ exact: /health, cluster: auth }}\n"
    );
    let config = good(&text).config;
    let names: Vec<_> = config
        .routes
        .iter()
        .map(|route| route.name.as_str())
        .collect();
    assert_eq!(names, ["*/", "*.A.test/api", "probe", "*=/health"]);
    assert_eq!(
        config.routes[1].pattern.host,
        HostPattern::Wildcard("a.test".to_owned())
    );
    assert_eq!(
        config.routes[2].pattern.path,
        PathPattern::Exact("/health".to_owned())
    );
}

#[test]
fn same_path_as_prefix_and_exact_is_two_routes() {
    let text = format!("{SMALL}  - {{ exact: /, cluster: auth }}\n");
    assert_eq!(good(&text).config.routes.len(), 2);
}

#[test]
fn listeners_on_any_free_port_have_names_of_their_own() {
    let text = SMALL.replace(
        "  - address: 127.0.0.1:8080\n",
        "  - address: 127.0.0.1:0\n  - address: 127.0.0.1:0\n",
    );
    let config = good(&text).config;
    let names: Vec<_> = config
        .listeners
        .iter()
        .map(|listener| listener.name.as_str())
        .collect();
    assert_eq!(names, ["127.0.0.1:0", "127.0.0.1:0#2"]);
}

#[test]
fn variables_reach_values() {
    let text = SMALL.replace("127.0.0.1:8080", "${ADDRESS:-127.0.0.1}:${PORT}");
    assert_eq!(good(&text).config.listeners[0].address.port(), 9090);
}

#[test]
fn passthrough_needs_neither_certificates_nor_routes() {
    let text = "\
listeners:
  - address: 127.0.0.1:8443
    passthrough:
      - { sni: exact.a.test, cluster: legacy }
      - { sni: \"*.A.test\", cluster: legacy }
clusters:
  legacy: { endpoints: [127.0.0.1:4001] }
";
    let Parsed {
        config, warnings, ..
    } = good(text);
    assert!(warnings.is_empty(), "{warnings}");
    let names: Vec<_> = config.listeners[0]
        .passthrough
        .iter()
        .map(|rule| &rule.sni)
        .collect();
    let expected = [
        &NamePattern::Exact("exact.a.test".to_owned()),
        &NamePattern::Wildcard("a.test".to_owned()),
    ];
    assert_eq!(names, expected);
}

#[test]
fn cluster_ids_follow_the_order_of_the_file() {
    let text = "\
listeners: [{ address: \"127.0.0.1:8080\" }]
clusters:
  z: { endpoints: [127.0.0.1:1] }
  a: { endpoints: [127.0.0.1:2] }
routes: [{ cluster: a }, { path: /z, cluster: z }]
";
    let config = good(text).config;
    let names: Vec<_> = config
        .routes
        .iter()
        .map(|route| match &route.action {
            Action::Cluster(id) => config.clusters[id.0].name.as_str(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(names, ["a", "z"]);
}

#[test]
fn access_log_may_be_a_destination_or_a_mapping() {
    for (text, logs_health_checks) in [
        ("access_log: off\n", false),
        ("access_log: { to: off, health_checks: true }\n", true),
    ] {
        let config = good(&format!("{SMALL}{text}")).config;
        assert_eq!(config.access_log, AccessLog::Off);
        assert_eq!(config.logs_health_checks, logs_health_checks);
        assert_eq!(config.log_sample.percent, 100);
    }
    let text = format!("{SMALL}access_log: {{ sample: 10, slow: 250ms }}\n");
    let config = good(&text).config;
    assert_eq!(config.access_log, AccessLog::Stdout);
    let expected = LogSample {
        percent: 10,
        slow: Duration::from_millis(250),
    };
    assert_eq!(config.log_sample, expected);
}

#[test]
fn access_log_file_is_relative_to_the_configuration() {
    let world = World::new();
    let text = format!("{SMALL}access_log: ./access.log\n");
    let config = world.parse(&text).unwrap().config;
    assert_eq!(
        config.access_log,
        AccessLog::File(world.path().join("./access.log"))
    );
}

#[test]
fn text_and_file_are_parsed_alike() {
    let world = World::new();
    let file = world.path().join("edge.yaml");
    std::fs::write(&file, SMALL).unwrap();
    assert_eq!(load(&file).unwrap().config.listeners.len(), 1);
    assert_eq!(parse("edge.yaml", SMALL).unwrap().config.listeners.len(), 1);
}

#[test]
fn check_sums_a_sound_file_up() {
    let world = World::new();
    let file = world.path().join("edge.yaml");
    std::fs::write(&file, SMALL).unwrap();
    let report = check(&file, &|_| None);
    assert!(report.is_usable());
    let summary = report.summary.as_deref();
    assert_eq!(summary, Some("1 listener, 1 cluster, 1 endpoint, 1 route"));
    let json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
    assert_eq!(json["usable"], true);
    assert_eq!(json["errors"], serde_json::json!([]));
}

#[test]
fn check_of_a_bad_file_lists_its_errors() {
    let world = World::new();
    let file = world.path().join("edge.yaml");
    std::fs::write(&file, SMALL.replace("4001", "${GONE}")).unwrap();
    let report = check(&file, &|_| None);
    assert!(!report.is_usable() && report.summary.is_none());
    let json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
    assert_eq!(json["errors"][0]["line"], 5);
    assert_eq!(json["errors"][0]["file"], file.display().to_string());
}

#[test]
fn check_of_no_file_is_one_error() {
    let report = check(Path::new("/nowhere/edge.yaml"), &|_| None);
    assert_eq!(
        report.errors.to_string().lines().next().unwrap(),
        "/nowhere/edge.yaml: there is no file /nowhere/edge.yaml"
    );
}
