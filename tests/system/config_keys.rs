//! Every key the edge accepts has a test that observes its effect. Never trusts a table alone:
//! each name is looked up in the sources.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Key, and the test in which changing it changes what is seen from outside.
const OBSERVED: &[(&str, &str)] = &[
    ("access_log", "keys::the_access_log_goes_where_it_is_told"),
    (
        "access_log.health_checks",
        "health::health_checks_stay_out_of_the_access_log",
    ),
    (
        "access_log.to",
        "keys::the_access_log_goes_where_it_is_told",
    ),
    (
        "admin",
        "lifecycle::without_an_admin_address_nothing_listens_there",
    ),
    ("admin.address", "lifecycle::admin_paths_answer"),
    ("clusters", "routing::the_most_specific_route_wins"),
    (
        "clusters.<name>.affinity",
        "affinity::a_cookie_keeps_a_client_with_its_endpoint",
    ),
    (
        "clusters.<name>.affinity.accept",
        "affinity::a_cookie_under_an_accepted_name_is_honoured_and_replaced",
    ),
    (
        "clusters.<name>.affinity.by",
        "affinity::a_value_keeps_its_client_with_its_endpoint_on_every_edge",
    ),
    (
        "clusters.<name>.affinity.cookie",
        "keys::the_affinity_cookie_has_the_name_and_life_that_are_configured",
    ),
    (
        "clusters.<name>.affinity.domain",
        "affinity::attributes_of_the_cookie_are_those_configured",
    ),
    (
        "clusters.<name>.affinity.max_age",
        "affinity::a_busy_client_is_placed_anew_at_its_full_age",
    ),
    (
        "clusters.<name>.affinity.partitioned",
        "affinity::attributes_of_the_cookie_are_those_configured",
    ),
    (
        "clusters.<name>.affinity.path",
        "affinity::attributes_of_the_cookie_are_those_configured",
    ),
    (
        "clusters.<name>.affinity.previous_secrets",
        "affinity::a_cookie_of_a_previous_secret_is_honoured_and_replaced",
    ),
    (
        "clusters.<name>.affinity.same_site",
        "affinity::attributes_of_the_cookie_are_those_configured",
    ),
    (
        "clusters.<name>.affinity.secret",
        "affinity::two_edges_with_one_secret_honour_each_others_cookies",
    ),
    (
        "clusters.<name>.affinity.secure",
        "affinity::attributes_of_the_cookie_are_those_configured",
    ),
    (
        "clusters.<name>.affinity.ttl",
        "keys::an_affinity_cookie_ends_with_its_life",
    ),
    (
        "clusters.<name>.balance",
        "distribution::least_conn_spares_an_endpoint_that_is_ten_times_slower",
    ),
    (
        "clusters.<name>.ejection",
        "keys::ejection_can_be_switched_off",
    ),
    (
        "clusters.<name>.ejection.duration",
        "retries::an_endpoint_that_keeps_failing_is_ejected_and_comes_back",
    ),
    (
        "clusters.<name>.ejection.failures",
        "keys::ejection_takes_as_many_failures_as_configured",
    ),
    (
        "clusters.<name>.ejection.max_percent",
        "keys::no_more_than_the_largest_share_is_ejected",
    ),
    (
        "clusters.<name>.ejection.window",
        "keys::failures_further_apart_than_the_window_do_not_eject",
    ),
    (
        "clusters.<name>.endpoints",
        "proxying::x_served_by_names_the_endpoint_that_answered",
    ),
    (
        "clusters.<name>.endpoints[].address",
        "distribution::round_robin_follows_weights",
    ),
    (
        "clusters.<name>.endpoints[].weight",
        "distribution::round_robin_follows_weights",
    ),
    (
        "clusters.<name>.health",
        "health::an_unproven_endpoint_gets_nothing",
    ),
    (
        "clusters.<name>.health.body",
        "health::only_expected_headers_and_bodies_pass",
    ),
    (
        "clusters.<name>.health.expect",
        "health::only_expected_statuses_pass",
    ),
    (
        "clusters.<name>.health.fall",
        "health::fall_and_rise_count_checks_in_a_row",
    ),
    (
        "clusters.<name>.health.fast_interval",
        "health::while_nobody_is_eligible_checks_come_at_the_fast_interval",
    ),
    (
        "clusters.<name>.health.headers",
        "health::only_expected_headers_and_bodies_pass",
    ),
    (
        "clusters.<name>.health.host",
        "health::checks_ask_for_the_path_and_host_that_are_configured",
    ),
    (
        "clusters.<name>.health.interval",
        "health::checks_come_at_the_interval",
    ),
    (
        "clusters.<name>.health.jitter",
        "health::checks_vary_by_their_jitter",
    ),
    (
        "clusters.<name>.health.method",
        "health::checks_ask_as_they_are_told",
    ),
    (
        "clusters.<name>.health.path",
        "health::checks_ask_for_the_path_and_host_that_are_configured",
    ),
    (
        "clusters.<name>.health.port",
        "health::another_port_can_tell_of_an_endpoints_health",
    ),
    (
        "clusters.<name>.health.request_headers",
        "health::checks_ask_as_they_are_told",
    ),
    (
        "clusters.<name>.health.rise",
        "health::fall_and_rise_count_checks_in_a_row",
    ),
    (
        "clusters.<name>.health.timeout",
        "health::a_hanging_check_fails_at_its_timeout",
    ),
    (
        "clusters.<name>.health.tls",
        "health::checks_over_tls_believe_only_whom_they_are_told_to",
    ),
    (
        "clusters.<name>.health.tls.ca",
        "health::checks_over_tls_believe_only_whom_they_are_told_to",
    ),
    (
        "clusters.<name>.health.tls.server_name",
        "health::checks_over_tls_believe_only_whom_they_are_told_to",
    ),
    (
        "clusters.<name>.health.tls.verify",
        "health::checks_over_tls_believe_only_whom_they_are_told_to",
    ),
    (
        "clusters.<name>.health.type",
        "health::tcp_checks_only_connect",
    ),
    (
        "clusters.<name>.retries",
        "retries::attempts_end_where_the_configuration_says",
    ),
    (
        "clusters.<name>.retries.backoff",
        "retries::repetitions_are_spread_over_their_back_off",
    ),
    (
        "clusters.<name>.retries.budget_min",
        "retries::a_budget_that_is_spent_forbids_a_retry",
    ),
    (
        "clusters.<name>.retries.budget_percent",
        "retries::a_budget_that_is_spent_forbids_a_retry",
    ),
    (
        "clusters.<name>.retries.count",
        "retries::attempts_end_where_the_configuration_says",
    ),
    (
        "clusters.<name>.retries.max_backoff",
        "retries::an_endpoint_that_asks_for_time_gets_it_if_there_is_no_other",
    ),
    (
        "clusters.<name>.timeouts",
        "retries::a_silent_endpoint_becomes_504",
    ),
    (
        "clusters.<name>.timeouts.connect",
        "keys::connecting_is_given_up_at_its_timeout",
    ),
    (
        "clusters.<name>.timeouts.idle",
        "keys::an_idle_connection_to_an_endpoint_is_closed",
    ),
    (
        "clusters.<name>.timeouts.read",
        "retries::a_silent_endpoint_becomes_504",
    ),
    (
        "clusters.<name>.timeouts.write",
        "keys::a_request_the_endpoint_does_not_read_is_given_up",
    ),
    (
        "listeners",
        "lifecycle::with_one_taken_port_nothing_listens",
    ),
    (
        "listeners[].address",
        "lifecycle::a_taken_port_is_one_line_and_exit_1_at_once",
    ),
    (
        "listeners[].engine",
        "keys::the_engine_is_chosen_for_each_listener",
    ),
    ("listeners[].http2", "keys::http2_limits_are_announced"),
    (
        "listeners[].http2.connection_window",
        "keys::http2_limits_are_announced",
    ),
    (
        "listeners[].http2.max_streams",
        "keys::http2_limits_are_announced",
    ),
    (
        "listeners[].http2.stream_window",
        "keys::http2_limits_are_announced",
    ),
    (
        "listeners[].limits",
        "limits::too_many_header_bytes_are_431",
    ),
    (
        "listeners[].limits.body_bytes",
        "limits::a_declared_body_beyond_the_limit_is_413_before_it_is_sent",
    ),
    (
        "listeners[].limits.body_rate",
        "limits::a_slow_body_may_take_its_time_without_a_least_rate",
    ),
    (
        "listeners[].limits.connection_age",
        "limits::an_old_connection_is_closed_politely",
    ),
    (
        "listeners[].limits.header_bytes",
        "limits::too_many_header_bytes_are_431",
    ),
    (
        "listeners[].limits.header_count",
        "limits::too_many_header_fields_are_431",
    ),
    (
        "listeners[].limits.requests_per_connection",
        "limits::requests_on_one_connection_are_counted",
    ),
    (
        "listeners[].limits.target_bytes",
        "limits::a_target_beyond_its_limit_is_414",
    ),
    (
        "listeners[].max_connections",
        "limits::connections_beyond_a_listeners_limit_are_turned_away",
    ),
    ("listeners[].name", "keys::names_appear_in_logs_and_metrics"),
    (
        "listeners[].passthrough",
        "tls::passthrough_leads_untouched_bytes_by_server_name",
    ),
    (
        "listeners[].passthrough[].cluster",
        "tls::passthrough_leads_untouched_bytes_by_server_name",
    ),
    (
        "listeners[].passthrough[].sni",
        "tls::passthrough_leads_untouched_bytes_by_server_name",
    ),
    (
        "listeners[].timeouts",
        "limits::a_slow_header_is_cut_off_however_it_trickles",
    ),
    (
        "listeners[].timeouts.body",
        "limits::a_body_that_stalls_is_cut_off",
    ),
    (
        "listeners[].timeouts.handshake",
        "tls::a_handshake_that_never_comes_is_cut_off",
    ),
    (
        "listeners[].timeouts.header",
        "limits::a_slow_header_is_cut_off_however_it_trickles",
    ),
    (
        "listeners[].timeouts.keep_alive",
        "limits::an_idle_connection_is_closed_after_its_keep_alive",
    ),
    (
        "listeners[].timeouts.write",
        "limits::a_client_that_does_not_read_is_given_up",
    ),
    (
        "listeners[].tls",
        "tls::the_certificate_follows_the_server_name",
    ),
    (
        "listeners[].tls.certificates",
        "tls::the_certificate_follows_the_server_name",
    ),
    (
        "listeners[].tls.certificates[].cert",
        "tls::the_certificate_follows_the_server_name",
    ),
    (
        "listeners[].tls.certificates[].key",
        "check::certificates_are_read_and_matched",
    ),
    (
        "listeners[].tls.min_version",
        "tls::an_old_tls_version_is_refused",
    ),
    (
        "max_connections",
        "limits::connections_beyond_a_listeners_limit_are_turned_away",
    ),
    ("routes", "routing::the_most_specific_route_wins"),
    (
        "routes[].access_log",
        "keys::a_route_may_stay_out_of_the_access_log",
    ),
    ("routes[].cluster", "routing::the_most_specific_route_wins"),
    ("routes[].exact", "routing::the_most_specific_route_wins"),
    ("routes[].host", "routing::the_most_specific_route_wins"),
    (
        "routes[].idempotency_key",
        "retries::a_post_with_an_idempotency_key_is_repeated_where_its_route_allows_it",
    ),
    ("routes[].name", "keys::names_appear_in_logs_and_metrics"),
    ("routes[].path", "routing::the_most_specific_route_wins"),
    ("shutdown", "lifecycle::a_drain_ends_at_its_deadline"),
    (
        "shutdown.delay",
        "lifecycle::readiness_fails_first_while_everything_is_still_served",
    ),
    ("shutdown.drain", "lifecycle::a_drain_ends_at_its_deadline"),
    (
        "trusted_proxies",
        "forwarding::a_trusted_proxy_is_believed_and_a_stranger_beside_it_is_not",
    ),
    ("workers", "keys::workers_are_as_many_threads"),
];

#[test]
fn every_accepted_key_has_a_test() {
    let accepted: BTreeSet<String> = portcullis_edge::config::key_paths().into_iter().collect();
    let observed: BTreeMap<&str, &str> = OBSERVED.iter().copied().collect();
    assert_eq!(observed.len(), OBSERVED.len(), "a key stands twice");
    let untested: Vec<_> = accepted
        .iter()
        .filter(|key| !observed.contains_key(key.as_str()))
        .collect();
    assert!(untested.is_empty(), "no test observes {untested:#?}");
    let gone: Vec<_> = observed
        .keys()
        .filter(|key| !accepted.contains(**key))
        .collect();
    assert!(gone.is_empty(), "not accepted any more: {gone:#?}");
}

#[test]
fn every_named_test_exists() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/system");
    for (key, test) in OBSERVED {
        let (module, function) = test.split_once("::").unwrap();
        let source = std::fs::read_to_string(directory.join(format!("{module}.rs"))).unwrap();
        let definition = format!("async fn {function}() {{");
        let before = source.split(&definition).next().unwrap();
        assert!(before.len() < source.len(), "{key}: {test} does not exist");
        let attribute = before.trim_end().lines().next_back().unwrap_or_default();
        assert!(
            attribute.starts_with("#[tokio::test"),
            "{key}: {test} is no test"
        );
    }
}
