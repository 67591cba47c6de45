//! The driver as an engine calls it, without an engine.

use std::io::{self, Write};
use std::sync::Mutex;

use http::{HeaderMap, HeaderValue};
use prometheus::IntCounter;
use serde_json::Value;

use super::fake::{FakeHead, affinity, at_once, config, connection};
use super::*;
use crate::access_log::AccessLogWriter;
use crate::config::Cluster as ClusterConfig;
use crate::outcome::RetryReason;

const ADDRESSES: [&str; 3] = ["10.0.1.1:80", "10.0.1.2:80", "10.0.1.3:80"];
const STRANGER: &str = "203.0.113.9:5000";

/// An edge whose access log can be read.
struct Bench {
    edge: Arc<Edge>,
    log: Arc<Mutex<Vec<u8>>>,
    now: Instant,
}

struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Bench {
    fn new() -> Self {
        Self::with(|_| ())
    }

    fn with(change: impl FnOnce(&mut ClusterConfig)) -> Self {
        let mut cluster = fake::cluster(&ADDRESSES);
        // A wait would leave these tests behind.
        cluster.retries.backoff.base = Duration::ZERO;
        change(&mut cluster);
        let mut edge = Edge::build(&config(cluster)).unwrap();
        let log = Arc::default();
        let dropped = IntCounter::new("dropped", "for a test").unwrap();
        edge.access_log =
            AccessLogWriter::start(Box::new(Shared(Arc::clone(&log))), dropped).unwrap();
        Self {
            edge: Arc::new(edge),
            log,
            now: Instant::now(),
        }
    }

    fn exchange(&self) -> Exchange {
        self.exchange_from(STRANGER)
    }

    fn exchange_from(&self, peer: &str) -> Exchange {
        Exchange::new(Arc::clone(&self.edge), connection(peer), self.now)
    }

    fn cluster(&self) -> Arc<Cluster> {
        Arc::clone(&self.edge.snapshot.load().clusters[0])
    }

    fn in_flight(&self) -> u32 {
        let status = self.cluster().status(self.now);
        status.endpoints.iter().map(|one| one.in_flight).sum()
    }

    /// Closes the log and gives its lines.
    fn lines(&self) -> Vec<Value> {
        self.edge.access_log.close();
        let bytes = self.log.lock().unwrap();
        let lines = bytes
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty());
        lines
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect()
    }

    fn outcome(&self) -> String {
        let lines = self.lines();
        assert_eq!(lines.len(), 1, "one request, one line: {lines:?}");
        lines[0]["outcome"].as_str().unwrap().to_owned()
    }

    fn respond(&self, exchange: &mut Exchange, status: u16) -> ResponseStep {
        self.respond_with(exchange, status, &HeaderMap::new())
    }

    fn respond_with(
        &self,
        exchange: &mut Exchange,
        status: u16,
        headers: &HeaderMap,
    ) -> ResponseStep {
        exchange.on_response_head(
            StatusCode::from_u16(status).unwrap(),
            headers,
            true,
            self.now,
        )
    }
}

fn api() -> FakeHead {
    FakeHead::get("/api/users")
}

fn ended(status: u16) -> End {
    End {
        status: StatusCode::from_u16(status).ok(),
        response_bytes: 5,
        failure: None,
    }
}

fn delivered(step: ResponseStep) -> HeaderMap {
    let ResponseStep::Deliver(edits) = step else {
        panic!("a retry")
    };
    let mut headers = HeaderMap::new();
    edits.into_iter().for_each(|edit| edit.apply(&mut headers));
    headers
}

fn is_retry(step: &ResponseStep) -> bool {
    matches!(step, ResponseStep::Retry)
}

#[test]
fn request_that_is_served_leaves_one_line_with_all_it_was() {
    let bench = Bench::new();
    let mut exchange = bench.exchange();
    let head = api()
        .with("user-agent", "curl/8")
        .with("cookie", "secret=1");
    exchange.on_request(&head).unwrap();
    let attempt = at_once(exchange.on_attempt(bench.now)).unwrap();
    assert_eq!(
        (attempt.address.to_string(), attempt.number),
        (ADDRESSES[0].to_owned(), 1)
    );
    assert_eq!(bench.in_flight(), 1);
    exchange.on_request_body(3, bench.now).unwrap();
    bench.respond(&mut exchange, 200);
    exchange.on_end(ended(200), bench.now + Duration::from_millis(7));
    assert_eq!(bench.in_flight(), 0);
    drop(exchange);

    let lines = bench.lines();
    assert_eq!(lines.len(), 1);
    let line = &lines[0];
    for (key, value) in [
        ("listener", Value::from("web")),
        ("client", Value::from("203.0.113.9")),
        ("scheme", Value::from("http")),
        ("method", Value::from("GET")),
        ("host", Value::from("example.com")),
        ("path", Value::from("/api/users")),
        ("protocol", Value::from("HTTP/1.1")),
        ("status", Value::from(200)),
        ("outcome", Value::from("served")),
        ("route", Value::from("api")),
        ("cluster", Value::from("auth")),
        ("endpoint", Value::from(ADDRESSES[0])),
        ("attempts", Value::from(1)),
        ("duration_ms", Value::from(7.0)),
        ("request_bytes", Value::from(3)),
        ("response_bytes", Value::from(5)),
        ("user_agent", Value::from("curl/8")),
    ] {
        assert_eq!(line[key], value, "{key}");
    }
    assert!(!line.to_string().contains("secret"));
}

#[test]
fn refusals_answer_and_are_logged_with_their_reason() {
    for (head, status, outcome) in [
        (FakeHead::get("/other"), 404, "refused_no_route"),
        (FakeHead::get("/apix"), 404, "refused_no_route"),
        (api().without("host"), 400, "client_malformed"),
        (
            FakeHead::new(http::Method::TRACE, "/api"),
            405,
            "client_method",
        ),
        (
            api().with("content-length", "99999999"),
            413,
            "client_body_too_large",
        ),
    ] {
        let bench = Bench::new();
        let mut exchange = bench.exchange();
        let answer = exchange.on_request(&head).unwrap_err();
        assert_eq!(answer.status.as_u16(), status, "{outcome}");
        exchange.on_end(ended(status), bench.now);
        let lines = bench.lines();
        assert_eq!(lines[0]["outcome"], outcome);
        assert_eq!(lines[0]["status"], status);
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(
            body["request_id"], lines[0]["request_id"],
            "the client can name its line"
        );
    }
}

#[test]
fn no_eligible_endpoint_is_503_with_retry_after() {
    let bench = Bench::with(|cluster| cluster.health = vec![fake::health_check()]);
    let mut exchange = bench.exchange();
    exchange.on_request(&api()).unwrap();
    let answer = at_once(exchange.on_attempt(bench.now)).unwrap_err();
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(
        answer
            .headers
            .iter()
            .any(|(name, _)| name == http::header::RETRY_AFTER)
    );
    assert!(!answer.close, "the connection is as good as before");
    exchange.on_end(ended(503), bench.now);
    assert_eq!(bench.outcome(), "failed_no_endpoint");
}

#[test]
fn connect_failure_goes_to_another_endpoint_whatever_the_method() {
    let bench = Bench::with(|cluster| cluster.endpoints.truncate(2));
    let mut exchange = bench.exchange();
    let head = FakeHead::post("/api");
    exchange.on_request(&head).unwrap();
    let first = at_once(exchange.on_attempt(bench.now)).unwrap();
    assert!(exchange.on_attempt_failed(Cause::ConnectRefused, true, bench.now));
    assert_eq!(bench.in_flight(), 0);
    let second = at_once(exchange.on_attempt(bench.now)).unwrap();
    assert_ne!(second.address, first.address);
    assert_eq!(second.number, 2);
    assert!(
        !exchange.on_attempt_failed(Cause::ConnectRefused, true, bench.now),
        "spent"
    );
    assert_eq!(
        exchange.on_failure(Cause::ConnectRefused).status,
        StatusCode::BAD_GATEWAY
    );
    exchange.on_end(
        End {
            failure: Some(Cause::ConnectRefused),
            ..ended(502)
        },
        bench.now,
    );
    let cluster = bench.cluster();
    let failures: u64 = cluster
        .endpoints()
        .iter()
        .map(|endpoint| endpoint.metrics().failures.get())
        .sum();
    assert_eq!(
        failures, 2,
        "each failure is counted once, however often it is mentioned"
    );
    assert_eq!(cluster.metrics().retries.of(RetryReason::Connect).get(), 1);
    assert_eq!(bench.outcome(), "failed_connect_refused");
}

#[test]
fn client_that_leaves_is_no_fault_of_the_endpoint() {
    let bench = Bench::new();
    let mut exchange = bench.exchange();
    exchange.on_request(&api()).unwrap();
    at_once(exchange.on_attempt(bench.now)).unwrap();
    assert!(!exchange.on_attempt_failed(Cause::ClientGone, true, bench.now));
    exchange.on_end(
        End {
            failure: Some(Cause::ClientGone),
            ..End::default()
        },
        bench.now,
    );
    assert_eq!(bench.cluster().endpoints()[0].metrics().failures.get(), 0);
    assert_eq!(bench.in_flight(), 0);
    assert_eq!(bench.outcome(), "client_gone");
}

#[test]
fn gateway_error_is_retried_elsewhere_and_passed_on_when_it_stays() {
    let bench = Bench::new();
    let mut exchange = bench.exchange();
    exchange.on_request(&api()).unwrap();
    at_once(exchange.on_attempt(bench.now)).unwrap();
    assert!(is_retry(&bench.respond(&mut exchange, 503)));
    assert_eq!(bench.in_flight(), 0);
    at_once(exchange.on_attempt(bench.now)).unwrap();
    assert!(
        !is_retry(&bench.respond(&mut exchange, 503)),
        "retries are spent"
    );
    exchange.on_end(ended(503), bench.now);
    assert_eq!(bench.outcome(), "endpoint_error");
}

#[test]
fn only_endpoints_answer_is_not_thrown_away() {
    let bench = Bench::with(|cluster| cluster.endpoints.truncate(1));
    let mut exchange = bench.exchange();
    exchange.on_request(&api()).unwrap();
    at_once(exchange.on_attempt(bench.now)).unwrap();
    assert!(!is_retry(&bench.respond(&mut exchange, 503)));
}

#[test]
fn endpoint_that_answers_503_five_times_is_ejected() {
    let bench = Bench::with(|cluster| cluster.retries.count = 0);
    let address = ADDRESSES[0].parse().unwrap();
    for _ in 0..15 {
        let mut exchange = bench.exchange();
        exchange.on_request(&api()).unwrap();
        let attempt = at_once(exchange.on_attempt(bench.now)).unwrap();
        let status = if attempt.address == address { 503 } else { 200 };
        bench.respond(&mut exchange, status);
        exchange.on_end(ended(status), bench.now);
    }
    assert!(bench.cluster().endpoint(address).unwrap().is_out());
}

#[test]
fn answers_cut_short_eject_too() {
    let bench = Bench::with(|cluster| cluster.endpoints.truncate(2));
    for _ in 0..3 {
        let mut exchange = bench.exchange();
        exchange.on_request(&api()).unwrap();
        exchange.tried.push(bench.cluster().endpoints()[1].id());
        at_once(exchange.on_attempt(bench.now)).unwrap();
        bench.respond(&mut exchange, 200);
        let end = End {
            failure: Some(Cause::EndpointTruncated),
            ..ended(200)
        };
        exchange.on_end(end, bench.now);
    }
    assert!(bench.cluster().endpoints()[0].is_out());
}

#[test]
fn client_that_leaves_a_stream_speaks_for_the_endpoint_that_began_it() {
    let bench = Bench::with(|cluster| cluster.endpoints.truncate(2));
    let ending_with = |failure| {
        let mut exchange = bench.exchange();
        exchange.on_request(&api()).unwrap();
        exchange.tried.push(bench.cluster().endpoints()[1].id());
        at_once(exchange.on_attempt(bench.now)).unwrap();
        bench.respond(&mut exchange, 200);
        let end = End {
            failure: Some(failure),
            ..ended(200)
        };
        exchange.on_end(end, bench.now);
    };
    use Cause::{ClientGone, EndpointTruncated};
    // Never three failures in a row.
    for cause in [EndpointTruncated, EndpointTruncated, ClientGone].repeat(2) {
        ending_with(cause);
    }
    assert!(!bench.cluster().endpoints()[0].is_out());
}

#[test]
fn draining_announcement_takes_the_endpoint_out_and_is_not_shown() {
    let bench = Bench::with(|cluster| cluster.health = vec![fake::health_check()]);
    let cluster = bench.cluster();
    for endpoint in cluster.endpoints() {
        cluster.probed(endpoint, 0, Ok(()), bench.now);
    }
    let mut exchange = bench.exchange();
    exchange.on_request(&api()).unwrap();
    let attempt = at_once(exchange.on_attempt(bench.now)).unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("x-health-cause", HeaderValue::from_static("draining"));
    let ResponseStep::Deliver(edits) = bench.respond_with(&mut exchange, 200, &headers) else {
        panic!("a retry of a good answer");
    };
    edits.into_iter().for_each(|edit| edit.apply(&mut headers));
    assert!(!headers.contains_key("x-health-cause"));
    let endpoint = cluster.endpoint(attempt.address).unwrap();
    let status = cluster.endpoint_status(endpoint, bench.now).unwrap();
    assert_eq!(status.state(), "draining");
}

#[test]
fn dropped_exchange_gives_its_place_back_and_is_logged() {
    let bench = Bench::new();
    let mut exchange = bench.exchange();
    exchange.on_request(&api()).unwrap();
    at_once(exchange.on_attempt(bench.now)).unwrap();
    drop(exchange);
    assert_eq!(bench.in_flight(), 0);
    assert_eq!(bench.outcome(), "client_gone");
}

#[test]
fn panicking_engine_is_our_fault() {
    let bench = Bench::new();
    let mut exchange = bench.exchange();
    exchange.on_request(&api()).unwrap();
    at_once(exchange.on_attempt(bench.now)).unwrap();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _moved_in = &exchange;
        std::panic::resume_unwind(Box::new("an engine's bug"));
    }));
    assert!(panicked.is_err());
    assert_eq!(bench.in_flight(), 0);
    assert_eq!(bench.outcome(), "internal");
}

#[test]
fn body_is_counted_against_the_limit() {
    let bench = Bench::new();
    let mut exchange = bench.exchange();
    let limit = exchange.limits().body_bytes as usize;
    assert_eq!(exchange.on_request_body(limit, bench.now), Ok(()));
    assert_eq!(
        exchange.on_request_body(1, bench.now),
        Err(Cause::BodyTooLarge)
    );
    let answer = exchange.on_failure(Cause::BodyTooLarge);
    assert_eq!(
        (answer.status, answer.close),
        (StatusCode::PAYLOAD_TOO_LARGE, true)
    );
    exchange.on_end(ended(413), bench.now);
    assert_eq!(bench.outcome(), "client_body_too_large");
}

#[test]
fn first_failure_is_the_outcome() {
    let bench = Bench::new();
    let mut exchange = bench.exchange();
    exchange.on_failure(Cause::BodyTimeout);
    exchange.on_end(
        End {
            failure: Some(Cause::ClientGone),
            ..End::default()
        },
        bench.now,
    );
    assert_eq!(bench.outcome(), "client_body_timeout");
}

#[test]
fn served_by_is_an_address_on_this_machine_and_an_id_elsewhere() {
    let bench = Bench::new();
    let served_by = |peer: &str| {
        let mut exchange = bench.exchange_from(peer);
        exchange.on_request(&api()).unwrap();
        at_once(exchange.on_attempt(bench.now)).unwrap();
        let headers = delivered(bench.respond(&mut exchange, 200));
        assert_eq!(headers["x-request-id"], exchange.request_id());
        headers["x-served-by"].to_str().unwrap().to_owned()
    };
    assert!(served_by("127.0.0.1:5000").starts_with("10.0.1."));
    assert_eq!(served_by(STRANGER).len(), 16);
}

#[test]
fn affinity_binds_a_client_until_its_endpoint_is_out() {
    let bench = Bench::with(|cluster| {
        cluster.affinity = Some(affinity());
    });
    let visit = |cookie: Option<&str>| {
        let head = cookie
            .into_iter()
            .fold(api(), |head, cookie| head.with("cookie", cookie));
        let mut exchange = bench.exchange();
        exchange.on_request(&head).unwrap();
        let attempt = at_once(exchange.on_attempt(bench.now)).unwrap();
        let headers = delivered(bench.respond(&mut exchange, 200));
        exchange.on_end(ended(200), bench.now);
        let set = headers
            .get("set-cookie")
            .map(|set| set.to_str().unwrap().to_owned());
        (attempt.address, set)
    };
    let (home, set) = visit(None);
    let set = set.expect("a newcomer gets a cookie");
    let (cookie, _) = set.split_once(';').unwrap();
    for _ in 0..5 {
        assert_eq!(
            visit(Some(cookie)),
            (home, None),
            "stays, and needs no new cookie"
        );
    }
    assert!(
        visit(Some("_a=forged")).1.is_some(),
        "forged counts as none"
    );
    let cluster = bench.cluster();
    cluster.blame(cluster.endpoint(home).unwrap(), 3, bench.now);
    let (moved, set) = visit(Some(cookie));
    assert_ne!(moved, home);
    assert!(set.is_some(), "the new home is written down");
}

#[test]
fn connection_closes_after_its_requests_its_age_or_when_we_leave() {
    let bench = Bench::new();
    let connection = connection(STRANGER);
    let next = || Exchange::new(Arc::clone(&bench.edge), Arc::clone(&connection), bench.now);
    assert!(!next().must_close(bench.now));
    let second = next();
    assert!(!second.must_close(bench.now));
    assert!(
        second.must_close(connection.opened + Duration::from_secs(3_600)),
        "its age"
    );
    assert!(next().must_close(bench.now), "the third of three");
    bench.edge.is_draining.store(true, Ordering::Relaxed);
    assert!(bench.exchange().must_close(bench.now), "we leave");
}

#[test]
fn interim_heads_pass_without_consequences() {
    let bench = Bench::new();
    let mut exchange = bench.exchange();
    exchange.on_request(&api()).unwrap();
    at_once(exchange.on_attempt(bench.now)).unwrap();
    assert!(delivered(bench.respond(&mut exchange, 103)).is_empty());
    assert_eq!(exchange.endpoint_time, None);
    assert_eq!(bench.in_flight(), 1);
}

#[test]
fn unparsed_request_has_its_line_and_its_count() {
    let bench = Bench::new();
    let answer = answer_unparsed(&bench.edge, Cause::HeadMalformed);
    report_unparsed(
        &bench.edge,
        &connection(STRANGER),
        Cause::HeadMalformed,
        Told::from(&answer),
        bench.now,
    );
    let lines = bench.lines();
    assert_eq!(lines[0]["outcome"], "client_malformed");
    assert_eq!(lines[0]["status"], 400);
    assert_eq!(lines[0]["client"], "203.0.113.9");
    assert_eq!(lines[0]["method"], Value::Null);
    let id = answer.request_id().unwrap().to_str().unwrap();
    assert_eq!(lines[0]["request_id"], id);
    let text = bench.edge.render_metrics(bench.now);
    let series = "portcullis_edge_requests_total{cluster=\"\",listener=\"web\",outcome=\"client_malformed\",route=\"\"} 1";
    assert!(text.contains(series), "{text}");
}

#[test]
fn metrics_name_every_request_and_endpoint() {
    let bench = Bench::new();
    for _ in 0..3 {
        let mut exchange = bench.exchange();
        exchange.on_request(&api()).unwrap();
        at_once(exchange.on_attempt(bench.now)).unwrap();
        bench.respond(&mut exchange, 200);
        exchange.on_end(ended(200), bench.now + Duration::from_millis(30));
    }
    let text = bench.edge.render_metrics(bench.now);
    for series in [
        "portcullis_edge_requests_total{cluster=\"auth\",listener=\"web\",outcome=\"served\",route=\"api\"} 3",
        "portcullis_edge_request_duration_seconds_bucket{cluster=\"auth\",le=\"0.05\"} 3",
        "portcullis_edge_request_duration_seconds_bucket{cluster=\"auth\",le=\"0.025\"} 0",
        "portcullis_edge_endpoint_requests_total{cluster=\"auth\",endpoint=\"10.0.1.1:80\"} 1",
        "portcullis_edge_endpoint_in_flight{cluster=\"auth\",endpoint=\"10.0.1.1:80\"} 0",
        "portcullis_edge_endpoint_healthy{cluster=\"auth\",endpoint=\"10.0.1.1:80\"} 1",
        "portcullis_edge_endpoint_ejected{cluster=\"auth\",endpoint=\"10.0.1.1:80\"} 0",
        "portcullis_edge_snapshot_generation 1",
    ] {
        assert!(text.contains(series), "{series} is not in\n{text}");
    }
}

#[test]
fn request_keeps_its_snapshot_while_the_next_takes_over() {
    let bench = Bench::new();
    let mut exchange = bench.exchange();
    exchange.on_request(&api()).unwrap();
    at_once(exchange.on_attempt(bench.now)).unwrap();
    let next = bench
        .edge
        .next_snapshot(&config(fake::cluster(&ADDRESSES[..1])))
        .unwrap();
    bench.edge.install(next);
    assert_eq!(bench.edge.snapshot.load().generation, 2);
    assert_eq!(
        bench.in_flight(),
        1,
        "the place it holds is known to the new generation"
    );
    bench.respond(&mut exchange, 200);
    exchange.on_end(ended(200), bench.now);
    assert_eq!(bench.in_flight(), 0);
    assert_eq!(bench.outcome(), "served");
}

#[test]
fn stale_connection_is_nobodys_fault_and_sends_again_what_may_be_repeated() {
    for (head, is_sent_again) in [(api(), true), (FakeHead::post("/api"), false)] {
        let bench = Bench::new();
        let mut exchange = bench.exchange();
        exchange.on_request(&head).unwrap();
        assert_eq!(exchange.is_repeatable(), is_sent_again);
        at_once(exchange.on_attempt(bench.now)).unwrap();
        assert!(!exchange.on_stale_connection(false) || is_sent_again);
        let mut exchange = bench.exchange();
        exchange.on_request(&head).unwrap();
        at_once(exchange.on_attempt(bench.now)).unwrap();
        assert_eq!(exchange.on_stale_connection(true), is_sent_again);
        if !is_sent_again {
            let is_retried = exchange.on_attempt_failed(Cause::EndpointReset, true, bench.now);
            assert!(!is_retried);
            assert_eq!(exchange.on_failure(Cause::EndpointReset).status, 502);
        }
        drop(exchange);
        for endpoint in bench.cluster().endpoints() {
            assert_eq!(endpoint.metrics().failures.get(), 0);
        }
        assert_eq!(bench.in_flight(), 0);
    }
}

#[test]
fn waiting_is_given_up_when_the_endpoint_is_out_and_another_is_not() {
    let bench = Bench::with(|cluster| cluster.endpoints.truncate(2));
    let waiting = || {
        let mut exchange = bench.exchange();
        exchange.on_request(&api()).unwrap();
        let attempt = at_once(exchange.on_attempt(bench.now)).unwrap();
        (exchange, attempt.address)
    };
    let (mut exchange, address) = waiting();
    assert!(!exchange.gives_up_waiting(bench.now), "it is in");
    let cluster = bench.cluster();
    let endpoint = cluster.endpoint(address).unwrap();
    cluster.blame(endpoint, 3, bench.now);
    assert!(exchange.gives_up_waiting(bench.now));
    assert!(!exchange.gives_up_waiting(bench.now), "nothing runs");
    let other = at_once(exchange.on_attempt(bench.now)).unwrap();
    assert_ne!(other.address, address);
    assert!(!exchange.gives_up_waiting(bench.now), "the other is in");
    bench.respond(&mut exchange, 200);
    exchange.on_end(ended(200), bench.now);
    assert_eq!(bench.in_flight(), 0);
}

#[test]
fn a_retry_leaves_the_budget_when_its_answer_begins() {
    let bench = Bench::with(|cluster| cluster.retries.backoff.max = Duration::ZERO);
    let mut exchange = bench.exchange();
    exchange.on_request(&api()).unwrap();
    at_once(exchange.on_attempt(bench.now)).unwrap();
    assert!(is_retry(&bench.respond(&mut exchange, 503)));
    at_once(exchange.on_attempt(bench.now)).unwrap();
    let running = || bench.cluster().retry_budget().running();
    bench.respond(&mut exchange, 103);
    assert_eq!(running(), 1, "an interim answer begins nothing");
    delivered(bench.respond(&mut exchange, 200));
    assert_eq!((running(), bench.in_flight()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn only_endpoint_is_asked_again_when_it_said() {
    let bench = Bench::with(|cluster| {
        cluster.endpoints.truncate(1);
        cluster.retries.backoff.max = Duration::from_secs(3);
    });
    let mut headers = HeaderMap::new();
    headers.insert("retry-after", HeaderValue::from_static("3"));
    let mut exchange = bench.exchange();
    exchange.on_request(&api()).unwrap();
    exchange.on_attempt(bench.now).await.unwrap();
    assert!(is_retry(&bench.respond_with(&mut exchange, 503, &headers)));
    assert_eq!(bench.in_flight(), 0, "its place is free meanwhile");
    let begun = tokio::time::Instant::now();
    exchange.on_attempt(bench.now).await.unwrap();
    assert_eq!(begun.elapsed().as_secs(), 3);
    delivered(bench.respond_with(&mut exchange, 503, &headers));
    drop(exchange);

    headers.insert("retry-after", HeaderValue::from_static("4"));
    let mut exchange = bench.exchange();
    exchange.on_request(&api()).unwrap();
    exchange.on_attempt(bench.now).await.unwrap();
    delivered(bench.respond_with(&mut exchange, 503, &headers));
}

#[tokio::test]
async fn client_that_leaves_during_a_wait_leaves_nothing_behind() {
    let bench = Bench::with(|cluster| {
        cluster.endpoints.truncate(1);
        cluster.retries.backoff.max = Duration::from_secs(60);
    });
    let mut headers = HeaderMap::new();
    headers.insert("retry-after", HeaderValue::from_static("60"));
    let mut exchange = bench.exchange();
    exchange.on_request(&api()).unwrap();
    at_once(exchange.on_attempt(bench.now)).unwrap();
    assert!(is_retry(&bench.respond_with(&mut exchange, 503, &headers)));
    assert_eq!(bench.cluster().retry_budget().running(), 1);
    let wait = exchange.on_attempt(bench.now);
    let is_over = tokio::time::timeout(Duration::ZERO, wait).await;
    assert!(is_over.is_err(), "it waits");
    drop(exchange);
    assert_eq!(bench.cluster().retry_budget().running(), 0);
    assert_eq!(bench.in_flight(), 0);
    assert_eq!(bench.outcome(), "client_gone");
}

#[test]
fn retry_that_the_budget_forbids_is_counted_and_not_made() {
    let bench = Bench::with(|cluster| {
        cluster.retries.budget.percent = 0;
        cluster.retries.budget.min = 0;
    });
    let mut exchange = bench.exchange();
    exchange.on_request(&api()).unwrap();
    at_once(exchange.on_attempt(bench.now)).unwrap();
    assert!(!exchange.on_attempt_failed(Cause::EndpointReset, true, bench.now));
    assert_eq!(exchange.on_failure(Cause::EndpointReset).status, 502);
    assert_eq!(bench.cluster().metrics().retry_budget_spent.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn requests_that_fail_together_are_repeated_one_after_another() {
    let bench = Bench::with(|cluster| {
        cluster.retries.budget.percent = 0;
        cluster.retries.budget.min = 1;
    });
    let head = api();
    let mut exchanges: Vec<Exchange> = (0..3).map(|_| bench.exchange()).collect();
    for exchange in &mut exchanges {
        exchange.on_request(&head).unwrap();
        at_once(exchange.on_attempt(bench.now)).unwrap();
        assert!(exchange.on_attempt_failed(Cause::EndpointReset, true, bench.now));
    }
    let [first, second, third] = &mut exchanges[..] else {
        unreachable!()
    };
    at_once(first.on_attempt(bench.now)).unwrap();
    let served = async {
        let later = tokio::time::Instant::now() + Duration::from_secs(1);
        tokio::time::sleep_until(later).await;
        delivered(bench.respond(first, 200));
        first.on_end(ended(200), bench.now);
        first.retry = None;
    };
    let (second_turn, ()) = tokio::join!(second.on_attempt(bench.now), served);
    second_turn.unwrap();
    let answer = third.on_attempt(bench.now).await.unwrap_err();
    assert_eq!(answer.status, 502);
    assert_eq!(bench.cluster().metrics().retry_budget_spent.get(), 1);
    drop(exchanges);
    assert_eq!(bench.cluster().retry_budget().running(), 0);
    assert_eq!(bench.in_flight(), 0);
}

#[test]
fn endpoints_without_a_connection_are_passed_by_until_one_is_found() {
    let bench = Bench::new();
    let mut exchange = bench.exchange();
    exchange.on_request(&api()).unwrap();
    for _ in 0..2 {
        at_once(exchange.on_attempt(bench.now)).unwrap();
        assert!(exchange.on_attempt_failed(Cause::ConnectRefused, true, bench.now));
    }
    at_once(exchange.on_attempt(bench.now)).unwrap();
    delivered(bench.respond(&mut exchange, 200));
    exchange.on_end(ended(200), bench.now);
    assert_eq!(bench.outcome(), "served");
}

#[tokio::test(start_paused = true)]
async fn request_of_an_earlier_generation_goes_on_to_endpoints_that_came_since() {
    let bench = Bench::with(|cluster| cluster.endpoints.truncate(1));
    let mut exchange = bench.exchange();
    exchange.on_request(&api()).unwrap();
    let first = at_once(exchange.on_attempt(bench.now)).unwrap();
    let next = config(fake::cluster(&ADDRESSES[1..2]));
    bench.edge.install(bench.edge.next_snapshot(&next).unwrap());
    assert!(
        is_retry(&bench.respond(&mut exchange, 503)),
        "there is another one now"
    );
    let second = exchange.on_attempt(bench.now).await.unwrap();
    assert_ne!(second.address, first.address);
}

#[test]
fn gauges_of_an_endpoint_go_with_it() {
    let bench = Bench::new();
    let gone = format!("endpoint=\"{}\"", ADDRESSES[0]);
    let gauge = "portcullis_edge_endpoint_healthy{";
    let shows = || {
        let text = bench.edge.render_metrics(bench.now);
        let mut lines = text.lines().filter(|line| line.starts_with(gauge));
        lines.any(|line| line.contains(&gone))
    };
    assert!(shows());
    let next = config(fake::cluster(&ADDRESSES[1..]));
    bench.edge.install(bench.edge.next_snapshot(&next).unwrap());
    assert!(!shows());
}
