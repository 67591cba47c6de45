//! Every metric of the auth service, named once. Labels are bounded sets: never an
//! account, an address or a raw path.

mod authorization;
mod cryptography;
mod database;
mod mail;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{
    Counter, Encoder, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};

pub(crate) use self::authorization::{AuthorizationMetrics, Layer};
use self::cryptography::CryptographyMetrics;
use self::database::DatabaseMetrics;
use self::mail::MailMetrics;
pub(crate) use self::mail::Posted;
use crate::breaker::BreakerView;
use crate::keys::Signatures;
use crate::password::HasherMetrics;
use crate::shared::Usage;
use crate::store::PoolMetrics;
use crate::store::topology::Topology;

/// From a cached answer to the longest a request may take.
const DURATION_BUCKETS: [f64; 12] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0,
];

/// The metrics of one instance, in a registry of their own.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    request_seconds: HistogramVec,
    in_flight: IntGauge,
    connections: IntGauge,
    panics: IntCounter,
    use_cases: IntCounterVec,
    refresh_reuses: IntCounter,
    revocation_fallbacks: IntCounter,
    rate_limited: IntCounterVec,
    shed: IntCounter,
    pub(crate) authorization: AuthorizationMetrics,
    cryptography: CryptographyMetrics,
    /// Held while counters that live elsewhere are taken over.
    rendering: Mutex<()>,
    ready: IntGauge,
    dependency_up: IntGaugeVec,
    differing_instances: IntGaugeVec,
    dependencies: DependencyMetrics,
    database: DatabaseMetrics,
    feed: FeedMetrics,
    mail: MailMetrics,
    store_connections: IntGaugeVec,
    store_connections_max: IntGauge,
    resident_bytes: IntGauge,
}

/// How the dependencies are used and guarded.
#[derive(Debug)]
struct DependencyMetrics {
    breaker_state: IntGaugeVec,
    breaker_opened: IntCounterVec,
    breaker_rejected: IntCounterVec,
    shared_state_bytes: IntGauge,
    shared_state_entries: IntGauge,
}

impl DependencyMetrics {
    fn new(r: &Names<'_>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            breaker_state: r.gauges(
                "breaker_state",
                "0 closed, 1 half-open, 2 open.",
                &["dependency"],
            )?,
            breaker_opened: r.counters(
                "breaker_opened_total",
                "Times a circuit breaker opened.",
                &["dependency"],
            )?,
            breaker_rejected: r.counters(
                "breaker_rejected_total",
                "Calls a circuit breaker rejected, or would have.",
                &["dependency"],
            )?,
            shared_state_bytes: r.gauge("shared_state_bytes", "Memory that Redis uses.")?,
            shared_state_entries: r.gauge("shared_state_entries", "Keys in Redis.")?,
        })
    }
}

/// What followers of the revocations are told.
#[derive(Debug)]
struct FeedMetrics {
    answers: IntCounterVec,
    followers: IntGauge,
}

impl FeedMetrics {
    fn new(r: &Names<'_>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            answers: r.counters(
                "feed_answers_total",
                "Answers to followers of revocations by kind: page, gap or lost.",
                &["kind"],
            )?,
            followers: r.gauge("feed_followers", "Followers that wait for an answer.")?,
        })
    }
}

/// What a follower of the revocations was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// What there is, or that there is nothing new.
    Page,
    /// To begin anew.
    Gap,
    /// To ask another instance.
    Lost,
}

/// How a use case ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It did what was asked.
    Done,
    /// The rules said no.
    Refused,
    /// We could not.
    Failed,
}

/// Sums over all endpoints.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Totals {
    pub(crate) requests: u64,
    /// Of these, answered with a status of 500 and above.
    pub(crate) failed: u64,
    pub(crate) in_flight: i64,
    pub(crate) connections: i64,
}

/// What is only known when somebody looks.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    pub(crate) is_ready: bool,
    pub(crate) database_up: bool,
    pub(crate) shared_state_up: bool,
    pub(crate) store_connections: PoolMetrics,
    pub(crate) topology: Topology,
    pub(crate) resident_bytes: u64,
    pub(crate) signatures: Signatures,
    pub(crate) hasher: HasherMetrics,
    pub(crate) breakers: [BreakerView; 2],
    pub(crate) usage: Option<Usage>,
}

impl Metrics {
    pub(crate) fn new(version: &str, instance_id: &str) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let r = Names(&registry);
        let build = r.gauges(
            "build_info",
            "Version and instance.",
            &["version", "instance"],
        )?;
        build.with_label_values(&[version, instance_id]).set(1);
        let labels = ["endpoint", "method", "status"];
        Ok(Self {
            requests: r.counters("requests_total", "Requests answered.", &labels)?,
            request_seconds: r.histograms("request_seconds", "Time to answer.", &["endpoint"])?,
            in_flight: r.gauge("requests_in_flight", "Requests not yet answered.")?,
            connections: r.gauge("connections", "Open connections.")?,
            panics: r.counter("panics_total", "Panics caught in a request.")?,
            use_cases: r.counters(
                "use_cases_total",
                "Logins, refreshes and so on by how they ended.",
                &["use_case", "ending"],
            )?,
            refresh_reuses: r.counter(
                "refresh_reuses_total",
                "Spent refresh tokens that came back: somebody held a copy.",
            )?,
            shed: r.counter(
                "requests_shed_total",
                "Requests turned away because too many were under way.",
            )?,
            rate_limited: r.counters(
                "rate_limited_total",
                "Requests refused because too many came.",
                &["use_case"],
            )?,
            revocation_fallbacks: r.counter(
                "revocation_fallbacks_total",
                "Tokens checked without the shared state.",
            )?,
            authorization: AuthorizationMetrics::new(&r)?,
            cryptography: CryptographyMetrics::new(&r)?,
            rendering: Mutex::default(),
            ready: r.gauge("ready", "1 when readiness succeeds.")?,
            dependencies: DependencyMetrics::new(&r)?,
            database: DatabaseMetrics::new(&r)?,
            differing_instances: r.gauges(
                "differing_instances",
                "Living instances in which a setting differs from this one's.",
                &["setting"],
            )?,
            feed: FeedMetrics::new(&r)?,
            mail: MailMetrics::new(&r)?,
            dependency_up: r.gauges(
                "dependency_up",
                "1 when it answered last.",
                &["dependency"],
            )?,
            store_connections: r.gauges(
                "store_connections",
                "Connections to the durable store.",
                &["state"],
            )?,
            store_connections_max: r.gauge(
                "store_connections_max",
                "Most connections to the durable store that there may be.",
            )?,
            resident_bytes: r.gauge("resident_memory_bytes", "Resident memory.")?,
            registry,
        })
    }

    /// Counts a request while the value returned lives.
    pub(crate) fn in_flight(&self) -> Held {
        Held::of(&self.in_flight)
    }

    /// Counts a connection while the value returned lives.
    pub(crate) fn connection(&self) -> Held {
        Held::of(&self.connections)
    }

    /// Counts a follower of the revocations while the value returned lives.
    pub(crate) fn follower(&self) -> Held {
        Held::of(&self.feed.followers)
    }

    /// One of them was answered.
    pub(crate) fn told(&self, what: Told) {
        let kind = match what {
            Told::Page => "page",
            Told::Gap => "gap",
            Told::Lost => "lost",
        };
        self.feed.answers.with_label_values(&[kind]).inc();
    }

    /// One answered request.
    pub(crate) fn request(
        &self,
        endpoint: &str,
        method: &http::Method,
        status: http::StatusCode,
        took: Duration,
    ) {
        self.requests
            .with_label_values(&[endpoint, method_label(method), status.as_str()])
            .inc();
        self.request_seconds
            .with_label_values(&[endpoint])
            .observe(took.as_secs_f64());
    }

    /// What has been counted so far.
    pub(crate) fn totals(&self) -> Totals {
        let mut totals = Totals {
            requests: 0,
            failed: 0,
            in_flight: self.in_flight.get(),
            connections: self.connections.get(),
        };
        for metric in self
            .requests
            .collect()
            .iter()
            .flat_map(|of| of.get_metric())
        {
            let count = metric.get_counter().get_value() as u64;
            let is_failed = |label: &&prometheus::proto::LabelPair| {
                label.name() == "status" && label.value().starts_with('5')
            };
            totals.requests += count;
            if metric.get_label().iter().any(|label| is_failed(&label)) {
                totals.failed += count;
            }
        }
        totals
    }

    pub(crate) fn panic(&self) {
        self.panics.inc();
    }

    pub(crate) fn use_case(&self, use_case: &'static str, ending: Ending) {
        let ending = match ending {
            Ending::Done => "done",
            Ending::Refused => "refused",
            Ending::Failed => "failed",
        };
        self.use_cases.with_label_values(&[use_case, ending]).inc();
    }

    pub(crate) fn rate_limited(&self, use_case: &'static str) {
        self.rate_limited.with_label_values(&[use_case]).inc();
    }

    pub(crate) fn shed(&self) {
        self.shed.inc();
    }

    pub(crate) fn revocation_fallback(&self) {
        self.revocation_fallbacks.inc();
    }

    pub(crate) fn refresh_reuse(&self) {
        self.refresh_reuses.inc();
    }

    /// How many living instances differ from this one in a setting that must be the same on all.
    pub(crate) fn instances_that_differ(&self, setting: &str, count: i64) {
        self.differing_instances
            .with_label_values(&[setting])
            .set(count);
    }

    /// The text exposition of everything, after taking in `snapshot`.
    pub(crate) fn render(&self, snapshot: Snapshot) -> Result<Vec<u8>, prometheus::Error> {
        let _alone = self
            .rendering
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        self.ready.set(i64::from(snapshot.is_ready));
        self.cryptography
            .take_over(snapshot.signatures, snapshot.hasher);
        self.resident_bytes
            .set(i64::try_from(snapshot.resident_bytes).unwrap_or(i64::MAX));
        for (name, up) in [
            ("database", snapshot.database_up),
            ("shared_state", snapshot.shared_state_up),
        ] {
            self.dependency_up
                .with_label_values(&[name])
                .set(i64::from(up));
        }
        let (bytes, entries) = snapshot
            .usage
            .map_or((0, 0), |usage| (usage.bytes, usage.entries));
        for (gauge, value) in [
            (&self.dependencies.shared_state_bytes, bytes),
            (&self.dependencies.shared_state_entries, entries),
        ] {
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        }
        for view in snapshot.breakers {
            let of = [view.dependency];
            self.dependencies
                .breaker_state
                .with_label_values(&of)
                .set(view.state.level());
            raise(
                &self.dependencies.breaker_opened.with_label_values(&of),
                view.opened_total,
            );
            raise(
                &self.dependencies.breaker_rejected.with_label_values(&of),
                view.rejected_total,
            );
        }
        let pool = snapshot.store_connections;
        self.store_connections_max.set(i64::from(pool.max));
        self.database.take_over(&snapshot.topology);
        let (idle, active) = (pool.idle, pool.open.saturating_sub(pool.idle));
        for (state, count) in [("idle", idle), ("active", active)] {
            self.store_connections
                .with_label_values(&[state])
                .set(i64::from(count));
        }
        let mut text = Vec::with_capacity(8 * 1024);
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

/// Raises a gauge by one for as long as it lives.
#[derive(Debug)]
pub(crate) struct Held(IntGauge);

impl Held {
    /// How many live.
    pub(crate) fn count(&self) -> usize {
        usize::try_from(self.0.get()).unwrap_or(0)
    }

    fn of(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Takes over a count that is kept elsewhere and only ever grows.
fn raise(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}

/// Methods are free text on the wire.
fn method_label(method: &http::Method) -> &'static str {
    match *method {
        http::Method::GET => "GET",
        http::Method::HEAD => "HEAD",
        http::Method::POST => "POST",
        http::Method::PUT => "PUT",
        http::Method::PATCH => "PATCH",
        http::Method::DELETE => "DELETE",
        http::Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// Makes metrics that all begin with the same words, and registers them.
struct Names<'a>(&'a Registry);

impl Names<'_> {
    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        self.registered(IntCounter::with_opts(opts(name, help))?)
    }

    fn float(&self, name: &str, help: &str) -> Result<Counter, prometheus::Error> {
        self.registered(Counter::with_opts(opts(name, help))?)
    }

    fn counters(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntCounterVec, prometheus::Error> {
        self.registered(IntCounterVec::new(opts(name, help), labels)?)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        self.registered(IntGauge::with_opts(opts(name, help))?)
    }

    fn gauges(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntGaugeVec, prometheus::Error> {
        self.registered(IntGaugeVec::new(opts(name, help), labels)?)
    }

    fn floats(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<GaugeVec, prometheus::Error> {
        self.registered(GaugeVec::new(opts(name, help), labels)?)
    }

    fn histograms(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<HistogramVec, prometheus::Error> {
        self.registered(HistogramVec::new(timed(name, help), labels)?)
    }

    fn registered<C: Collector + Clone + 'static>(
        &self,
        collector: C,
    ) -> Result<C, prometheus::Error> {
        self.0.register(Box::new(collector.clone()))?;
        Ok(collector)
    }
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(format!("portcullis_auth_{name}"), help)
}

fn timed(name: &str, help: &str) -> HistogramOpts {
    HistogramOpts::from(opts(name, help)).buckets(DURATION_BUCKETS.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::breaker::{BreakerMode, BreakerState};

    pub(super) fn snapshot() -> Snapshot {
        Snapshot {
            is_ready: true,
            database_up: true,
            shared_state_up: false,
            store_connections: PoolMetrics {
                open: 5,
                idle: 2,
                max: 30,
            },
            topology: Topology::default(),
            signatures: Signatures {
                checked: 8,
                remembered: 9,
            },
            resident_bytes: 4096,
            hasher: HasherMetrics {
                hashes_total: 7,
                hashing_micros_total: 2_500_000,
                overloaded_total: 2,
                unusable_total: 1,
                breached_total: 4,
                unfiltered_total: 5,
                queued: 3,
                ..HasherMetrics::default()
            },
            breakers: ["database", "shared_state"].map(|dependency| BreakerView {
                dependency,
                state: BreakerState::Open,
                mode: BreakerMode::Enforce,
                failures: 5,
                opened_total: 2,
                rejected_total: 9,
            }),
            usage: Some(Usage {
                bytes: 1_048_576,
                entries: 42,
            }),
        }
    }

    #[test]
    fn a_request_and_what_is_only_known_on_sight_are_rendered() {
        let metrics = Metrics::new("1.2.3", "auth-1").unwrap();
        let held = metrics.in_flight();
        let _connection = metrics.connection();
        let odd = http::Method::from_bytes(b"ANYTHING").unwrap();
        metrics.request(
            "/health",
            &odd,
            http::StatusCode::METHOD_NOT_ALLOWED,
            Duration::from_millis(3),
        );
        let snapshot = snapshot();
        let text = String::from_utf8(metrics.render(snapshot.clone()).unwrap()).unwrap();
        for line in [
            "portcullis_auth_requests_total{endpoint=\"/health\",method=\"other\",status=\"405\"} 1",
            "portcullis_auth_request_seconds_bucket{endpoint=\"/health\",le=\"0.005\"} 1",
            "portcullis_auth_build_info{instance=\"auth-1\",version=\"1.2.3\"} 1",
            "portcullis_auth_requests_in_flight 1",
            "portcullis_auth_dependency_up{dependency=\"shared_state\"} 0",
            "portcullis_auth_shared_state_bytes 1048576",
            "portcullis_auth_shared_state_entries 42",
            "portcullis_auth_breaker_state{dependency=\"database\"} 2",
            "portcullis_auth_breaker_opened_total{dependency=\"shared_state\"} 2",
            "portcullis_auth_breaker_rejected_total{dependency=\"shared_state\"} 9",
            "portcullis_auth_store_connections{state=\"active\"} 3",
            "portcullis_auth_store_connections_max 30",
            "portcullis_auth_resident_memory_bytes 4096",
            "portcullis_auth_password_hashes_total 7",
            "portcullis_auth_token_signatures_total{result=\"checked\"} 8",
            "portcullis_auth_token_signatures_total{result=\"remembered\"} 9",
            "portcullis_auth_password_hashing_seconds_total 2.5",
            "portcullis_auth_password_hashes_shed_total 2",
            "portcullis_auth_password_hashes_unusable_total 1",
            "portcullis_auth_breached_passwords_total 4",
            "portcullis_auth_unfiltered_passwords_total 5",
            "portcullis_auth_password_hashes_queued 3",
            "portcullis_auth_connections 1",
            "portcullis_auth_ready 1",
        ] {
            assert!(text.contains(line), "{line} is missing from\n{text}");
        }
        drop(held);
        let text = String::from_utf8(metrics.render(snapshot).unwrap()).unwrap();
        assert!(text.contains("portcullis_auth_requests_in_flight 0"));
        assert!(
            text.contains("portcullis_auth_password_hashes_total 7"),
            "taken over, not added"
        );
    }
}
