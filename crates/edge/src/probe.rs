//! Active health checks. Never ejects by traffic: that is the cluster's passive side.
//!
//! Each probe is pingora's, with three of its habits fenced in: a deadline over the whole probe
//! (pingora's reads until the body ends, which may be never), a connector without the system's
//! certificates (each check would load them twice), and our own verdicts (pingora's endpoints start
//! healthy).

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use pingora::connectors::ConnectorOptions;
use pingora::connectors::http::Connector;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::lb::Backend;
use pingora::lb::health_check::{HealthCheck as _, HttpHealthCheck};
use pingora::{Error, ErrorType};
use portcullis_traffic::health::{Health, Observation};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::cluster::{Cluster, Endpoint};
use crate::config::HealthCheck;
use crate::pipeline::announces_draining;
use crate::state::Edge;

/// Probes every endpoint of every cluster that has a health check, all at once, until `stop` turns
/// true or its sender is gone. It serves one snapshot: whoever replaces that starts another run.
pub async fn run(edge: Arc<Edge>, mut stop: watch::Receiver<bool>) {
    let mut probes = JoinSet::new();
    for cluster in &edge.snapshot.load().clusters {
        let Some(check) = cluster.health_check() else {
            continue;
        };
        for endpoint in cluster.endpoints() {
            let probe = Probe {
                edge: Arc::clone(&edge),
                cluster: Arc::clone(cluster),
                endpoint: Arc::clone(endpoint),
                check: check.clone(),
            };
            probes.spawn(probe.repeat());
        }
    }
    loop {
        tokio::select! {
            _stopped_or_gone = stop.wait_for(|is_stopping| *is_stopping) => return,
            Some(ended) = probes.join_next() => {
                // Probes never return. One that panicked has left its endpoint unwatched.
                let error = ended.err();
                tracing::error!(?error, "a health check ended; its endpoint keeps its last verdict");
            }
        }
    }
}

/// The probing of one endpoint.
struct Probe {
    edge: Arc<Edge>,
    cluster: Arc<Cluster>,
    endpoint: Arc<Endpoint>,
    check: HealthCheck,
}

/// One probe's result, with the reason that the log gives if the verdict changes.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    observation: Observation,
    reason: String,
}

impl Probe {
    async fn repeat(self) {
        let prober = match prober(&self.check, &self.endpoint) {
            Ok(prober) => prober,
            Err(error) => {
                let (cluster, endpoint) = (self.cluster.name(), self.endpoint.label());
                tracing::error!(cluster, endpoint, %error, "cannot build the health check's request");
                return std::future::pending().await;
            }
        };
        let Ok(target) = Backend::new(self.endpoint.label()) else {
            return std::future::pending().await;
        };
        let mut pace = Pace::new();
        loop {
            let probe = tokio::time::timeout(self.check.timeout, prober.check(&target));
            let finding = match probe.await {
                Ok(Ok(())) => passed(),
                Ok(Err(error)) => explain(&error),
                Err(_elapsed) => failed(format!("no answer within {:?}", self.check.timeout)),
            };
            self.record(&finding);
            let delay = pace.next(
                finding.observation,
                self.endpoint.health(),
                self.check.interval,
            );
            tokio::time::sleep(jittered(delay, self.edge.ids.draw_span())).await;
        }
    }

    fn record(&self, finding: &Finding) {
        let metrics = self.endpoint.metrics();
        match finding.observation {
            Observation::Pass => metrics.probes_passed.inc(),
            Observation::Fail | Observation::Draining => metrics.probes_failed.inc(),
        }
        self.cluster
            .observe(&self.endpoint, finding.observation, &finding.reason);
    }
}

/// pingora's check of one endpoint.
fn prober(check: &HealthCheck, endpoint: &Endpoint) -> pingora::Result<HttpHealthCheck> {
    let mut options = ConnectorOptions::new(0);
    // Probes speak plain HTTP; an empty store spares loading the system's certificates.
    options.ca_file = Some("/dev/null".to_owned());
    let connector = Connector::new(Some(options));
    let mut prober = HttpHealthCheck::new_custom("unused", false, connector);
    let host = check.host.as_deref().unwrap_or(endpoint.label());
    let mut request = RequestHeader::build("GET", check.path.as_bytes(), Some(2))?;
    request.insert_header("host", host)?;
    request.insert_header("user-agent", "portcullis-health-check")?;
    prober.req = request;
    prober.reuse_connection = false;
    // The deadline over the whole probe ends it; these only must not end it sooner.
    prober.peer_template.options.connection_timeout = Some(check.timeout);
    prober.peer_template.options.read_timeout = Some(check.timeout);
    prober.peer_template.options.write_timeout = Some(check.timeout);
    let expect = check.expect.clone();
    prober.validator = Some(Box::new(move |response: &ResponseHeader| {
        if announces_draining(&response.headers) {
            return Err(Error::explain(
                ErrorType::Custom(DRAINING),
                "it is draining",
            ));
        }
        if expect.contains(&response.status.as_u16()) {
            return Ok(());
        }
        Err(Error::explain(
            ErrorType::Custom(STATUS),
            status_reason(response),
        ))
    }));
    Ok(prober)
}

fn status_reason(response: &ResponseHeader) -> String {
    let status: StatusCode = response.status;
    let cause = response
        .headers
        .get(portcullis_token::headers::HEALTH_CAUSE);
    match cause.and_then(|cause| cause.to_str().ok()) {
        Some(cause) => format!("it answered {}, cause: {cause}", status.as_u16()),
        None => format!("it answered {}", status.as_u16()),
    }
}

fn explain(error: &Error) -> Finding {
    let context = error
        .context
        .as_ref()
        .map(|context| context.as_str().to_owned());
    match error.etype() {
        ErrorType::Custom(DRAINING) => Finding {
            observation: Observation::Draining,
            reason: context.unwrap_or_default(),
        },
        ErrorType::Custom(STATUS) => failed(context.unwrap_or_default()),
        other => failed(other.as_str().to_owned()),
    }
}

fn passed() -> Finding {
    Finding {
        observation: Observation::Pass,
        reason: "probes pass".to_owned(),
    }
}

fn failed(reason: String) -> Finding {
    Finding {
        observation: Observation::Fail,
        reason,
    }
}

/// How long to wait between probes: soon while an endpoint that has just appeared comes up, soon
/// while its verdict is about to change, else the interval.
struct Pace {
    was_healthy: bool,
    probes: u32,
}

impl Pace {
    fn new() -> Self {
        Self {
            was_healthy: false,
            probes: 0,
        }
    }

    fn next(&mut self, observation: Observation, health: Health, interval: Duration) -> Duration {
        self.was_healthy |= health == Health::Healthy;
        self.probes = self.probes.saturating_add(1);
        let is_turning = matches!(
            (health, observation),
            (Health::Healthy, Observation::Fail) | (Health::Unhealthy, Observation::Pass)
        );
        if !self.was_healthy && self.probes <= FIRST_PROBES_MAX {
            interval.min(FIRST_INTERVAL)
        } else if is_turning {
            interval.min(TURNING_INTERVAL)
        } else {
            interval
        }
    }
}

/// Up to 15 % more or less, so that many edges and endpoints do not probe in step.
fn jittered(delay: Duration, chance: u64) -> Duration {
    // 0..=300 thousandths above 850.
    let thousandths = 850 + (chance % 301) as u32;
    delay * thousandths / 1_000
}

const DRAINING: &str = "draining";
const STATUS: &str = "unexpected status";
/// An endpoint that starts beside us should be in use as soon as it is up.
const FIRST_INTERVAL: Duration = Duration::from_millis(500);
/// Twenty seconds of quick probes; what takes longer can wait for the interval.
const FIRST_PROBES_MAX: u32 = 40;
/// Rise and fall count probes; this bounds the time that counting takes.
const TURNING_INTERVAL: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
