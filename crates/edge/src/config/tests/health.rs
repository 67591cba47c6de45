//! Health checks from text to configuration: defaults, forms, and keys that contradict each other.

use portcullis_testkit::Authority;

use super::mistakes::with_in_cluster;
use super::*;

fn checks(health: &str) -> Vec<HealthCheck> {
    let mut config = good(&with_in_cluster(&format!("health: {health}"))).config;
    config.clusters.remove(0).health
}

fn question(check: &HealthCheck) -> &HttpQuestion {
    match &check.question {
        Question::Http(question) => question,
        other => panic!("{other:?}"),
    }
}

#[test]
fn defaults_are_those_of_the_documents() {
    let checks = checks("{}");
    let [check] = checks.as_slice() else {
        panic!("{checks:?}")
    };
    let seconds = Duration::from_secs;
    let pace = CheckPace {
        interval: seconds(10),
        fast_interval: seconds(2),
        jitter_percent: 15,
    };
    assert_eq!((check.pace, check.timeout), (pace, seconds(5)));
    assert_eq!((check.rise.get(), check.fall.get()), (2, 3));
    assert!(check.port.is_none() && check.tls.is_none() && check.role == Role::Eject);
    let question = question(check);
    assert_eq!(question.path, "/health/ready");
    assert_eq!((question.method, &question.host), (CheckMethod::Get, &None));
    assert_eq!(question.expect, 200..=299);
    assert!(question.headers.is_empty() && question.request_headers.is_empty());
    assert_eq!(question.body, None);
}

#[test]
fn short_interval_carries_the_fast_one_along() {
    let checks = checks("{ interval: 500ms, timeout: 500ms }");
    assert_eq!(checks[0].pace.fast_interval, Duration::from_millis(500));
}

#[test]
fn expected_headers_have_a_value_or_any() {
    let checks = checks("{ headers: { X-Ready: \"yes\", x-any: \"*\" } }");
    let headers = &question(&checks[0]).headers;
    assert_eq!(
        (headers[0].name.as_str(), headers[0].value.as_deref()),
        ("x-ready", Some(&b"yes"[..]))
    );
    assert_eq!(
        (headers[1].name.as_str(), &headers[1].value),
        ("x-any", &None)
    );
}

#[test]
fn tcp_checks_ask_nothing() {
    let checks = checks("{ type: tcp, port: 9 }");
    assert!(matches!(checks[0].question, Question::Connect));
    assert_eq!(checks[0].port.map(u16::from), Some(9));
}

#[test]
fn grpc_checks_ask_for_a_service() {
    let checks = checks("[{ type: grpc }, { type: grpc, service: shop.Orders, host: a.test }]");
    let asked = |check: &HealthCheck| match &check.question {
        Question::Grpc(question) => (question.service.clone(), question.host.clone()),
        other => panic!("{other:?}"),
    };
    assert_eq!(asked(&checks[0]), (String::new(), None));
    let named = ("shop.Orders".to_owned(), Some("a.test".to_owned()));
    assert_eq!(asked(&checks[1]), named);
}

#[test]
fn method_may_be_head() {
    assert_eq!(
        question(&checks("{ method: HEAD }")[0]).method,
        CheckMethod::Head
    );
}

#[test]
fn several_checks_have_roles_of_their_own() {
    let checks = checks("[{ path: /live }, { role: degrade }, { role: degrade, share: 50 }]");
    let roles: Vec<Role> = checks.iter().map(|check| check.role).collect();
    let degrade = |share_percent| Role::Degrade { share_percent };
    assert_eq!(roles, [Role::Eject, degrade(25), degrade(50)]);
    assert_eq!(question(&checks[0]).path, "/live");
}

#[test]
fn share_of_a_check_that_ejects_warns() {
    one_warning(
        &with_in_cluster("health: { share: 50 }"),
        "5:22",
        &["no effect"],
    );
}

#[test]
fn service_of_a_check_by_http_warns() {
    one_warning(
        &with_in_cluster("health: { service: a.B }"),
        "5:24",
        &["no effect"],
    );
}

#[test]
fn checks_of_one_cluster_are_bounded() {
    let text =
        |count: usize| with_in_cluster(&format!("health: [{}]", ["{}"].repeat(count).join(", ")));
    good(&text(8));
    one_error(&text(9), "5:46", &["at most 8"]);
}

#[test]
fn contradictions_are_refused_where_they_stand() {
    for (health, column, words) in [
        ("{ interval: 5s, timeout: 5001ms }", 38, "at most"),
        ("{ interval: 4s }", 13, "at most `interval`"),
        (
            "{ interval: 5s, fast_interval: 6s }",
            44,
            "at most `interval`",
        ),
        ("{ type: tcp, path: /x }", 32, "only connects"),
        ("{ type: tcp, body: x }", 32, "only connects"),
        ("{ type: tcp, headers: { a: b } }", 35, "only connects"),
        ("{ type: grpc, path: /x }", 33, "asks for `service`"),
        ("{ type: tcp, service: a.B }", 35, "only connects"),
        ("{ type: grpc, service: \"a b\" }", 36, "no name of a gRPC"),
        ("{ method: HEAD, body: x }", 35, "has no body"),
        ("{ jitter: 51 }", 23, "too large"),
        ("{ port: 0 }", 21, "too small"),
        ("{ role: degrade, share: 100 }", 37, "too large"),
        ("{ role: degrade, share: 0 }", 37, "too small"),
        ("[{}, { interval: 4s }]", 18, "at most `interval`"),
        ("{ request_headers: { Host: a } }", 40, "`host`, a key"),
        ("{ request_headers: { User-Agent: a } }", 46, "leave it out"),
        ("{ request_headers: { Connection: a } }", 46, "leave it out"),
        (
            "{ request_headers: { \"a b\": a } }",
            41,
            "name that no header",
        ),
        ("{ headers: { a: \" b\" } }", 29, "no value of a header"),
        (
            "{ tls: { server_name: \"a b\" } }",
            35,
            "neither a host name",
        ),
        ("{ tls: { ca: gone.pem } }", 26, "gone.pem"),
    ] {
        let text = with_in_cluster(&format!("health: {health}"));
        one_error(&text, &format!("5:{column}"), &[words]);
    }
    good(&with_in_cluster("health: { interval: 5s, timeout: 5s }"));
    let text = "x".repeat(1025);
    one_error(
        &with_in_cluster(&format!("health: {{ body: {text} }}")),
        "5:21",
        &["too long"],
    );
    let many: Vec<String> = (0..17).map(|number| format!("a{number}: b")).collect();
    let text = format!("health: {{ headers: {{ {} }} }}", many.join(", "));
    one_error(&with_in_cluster(&text), "5:24", &["more than 16"]);
}

#[test]
fn authorities_come_from_a_file_that_holds_some() {
    let authority = Authority::new();
    let world = World::new();
    std::fs::copy(authority.root_file(), world.path().join("ca.pem")).unwrap();
    std::fs::write(world.path().join("none.pem"), "nothing").unwrap();
    let with = |ca: &str| with_in_cluster(&format!("health: {{ tls: {{ ca: {ca} }} }}"));
    let config = world.parse(&with("ca.pem")).unwrap().config;
    let tls = config.clusters[0].health[0].tls.as_ref().unwrap();
    let files = tls.live.files();
    assert!(files.is_verified && tls.server_name.is_none());
    assert_eq!(
        files.ca.as_deref(),
        Some(world.path().join("ca.pem").as_path())
    );
    let client = &tls.live.current().client;
    assert_eq!(client.alpn_protocols, [b"http/1.1".to_vec()]);
    let errors = world.parse(&with("none.pem")).unwrap_err();
    assert_one(&told(&errors), "5:26", &["no usable certificates"]);
}

#[test]
fn unverified_certificates_warn_and_want_no_authority() {
    let text = with_in_cluster("health: { tls: { verify: false } }");
    one_warning(&text, "5:30", &["in the endpoint's name"]);
    let text = with_in_cluster("health: { tls: { verify: false, ca: a.pem } }");
    one_error(&text, "5:41", &["no effect"]);
}
