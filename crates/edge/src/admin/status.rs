//! What runs and why: every cluster, every endpoint, and what changed last. Never changes anything.

use std::time::{Instant, SystemTime};

use ipnet::IpNet;
use portcullis_traffic::breaker::{Mode, State};
use portcullis_traffic::containment::{
    BreakerReport, CheckReport, Obstacle, ObstacleKind, Report, Role, Verdict,
};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::cluster::{Cluster, EndpointStatus, Event, obstacle_name};
use crate::discovery::SourceStatus;
use crate::gate::{BANS_MAX, Gate};
use crate::jwks::Issuer;
use crate::state::{Edge, RouteState, Share};
use crate::tls::Terminator;

/// The whole document.
pub(super) fn status(edge: &Edge, revision: u64, now: Instant) -> Value {
    let snapshot = edge.snapshot.load();
    let clusters = snapshot.clusters.iter().map(|one| cluster(one, now));
    let routes = snapshot.routes.iter().filter_map(route);
    let issuers = snapshot.issuers.iter().map(|one| issuer(one, now));
    let events = edge.keeper.events().latest();
    json!({
        "pid": std::process::id(),
        "version": env!("CARGO_PKG_VERSION"),
        "predecessor": edge.succession.predecessor(),
        "revision": revision,
        "generation": snapshot.generation,
        "is_draining": edge.is_draining(),
        "clusters": clusters.collect::<Vec<_>>(),
        "routes": routes.collect::<Vec<_>>(),
        "issuers": issuers.collect::<Vec<_>>(),
        "clients": snapshot.gates().map(gate).collect::<Vec<_>>(),
        "bans": edge.bans.len(),
        "certificates": snapshot.terminators.iter().flat_map(|one| certificates(one)).collect::<Vec<_>>(),
        "events": events.iter().rev().map(event).collect::<Vec<_>>(),
    })
}

/// All bans with their ends.
pub(super) fn bans(edge: &Edge) -> Value {
    let bans = edge.bans.list();
    json!({ "most": BANS_MAX, "bans": bans.into_iter().map(ban).collect::<Vec<_>>() })
}

/// One ban; `until` is null if it lasts as long as the process.
pub(super) fn ban((network, until): (IpNet, u64)) -> Value {
    let until = i64::try_from(until).ok();
    let until = until.and_then(|until| OffsetDateTime::from_unix_timestamp(until).ok());
    let until = until.and_then(|until| until.format(&Rfc3339).ok());
    json!({ "network": network.to_string(), "until": until })
}

/// The lists of a listener or a route.
fn gate((of, name, gate): (&'static str, &str, &Gate)) -> Value {
    let status = gate.status();
    json!({
        of: name,
        "allow": status.allow,
        "deny": status.deny,
        "dry_run": status.is_dry_run,
        "stale_files": status.stale_files,
    })
}

/// What a listener shows clients, until when, and why its files say something else.
fn certificates(terminator: &Terminator) -> Vec<Value> {
    let told = terminator.shown().into_iter().map(|shown| {
        let certificate = &shown.certificate;
        let end = OffsetDateTime::from_unix_timestamp(certificate.not_after_unix_seconds);
        let end = end.ok().and_then(|end| end.format(&Rfc3339).ok());
        json!({
            "listener": terminator.listener(),
            "file": certificate.files.cert.display().to_string(),
            "names": certificate.names.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "not_after": end,
            "is_stapled": certificate.ocsp_until.is_some(),
            "problem": shown.problem,
        })
    });
    told.collect()
}

/// Where a route's requests go; `None` if it answers by itself.
fn route(route: &RouteState) -> Option<Value> {
    let (now, before) = route.targets.as_ref()?.shares();
    Some(json!({
        "name": route.name,
        "clusters": shares(&now),
        "before": before.as_deref().map(shares),
    }))
}

/// The keys that tokens of an issuer are verified with, and how old the news of them is.
fn issuer(issuer: &Issuer, now: Instant) -> Value {
    let keys = issuer.kids();
    let age = (!keys.is_empty()).then(|| issuer.age(now).as_secs());
    json!({ "name": issuer.name(), "keys": keys, "keys_age_seconds": age })
}

/// Weights by cluster.
pub(super) fn shares(shares: &[Share]) -> Value {
    let weight = |share: &Share| (share.cluster.clone(), json!(share.weight));
    Value::Object(shares.iter().map(weight).collect())
}

fn cluster(cluster: &Cluster, now: Instant) -> Value {
    let status = cluster.status(now);
    json!({
        "name": cluster.name(),
        "is_panicking": status.is_panicking,
        "shared_cause": status.shared_cause.as_ref().map(ToString::to_string),
        "queued": status.queued,
        "sources": cluster.sources().iter().map(|one| source(one, now)).collect::<Vec<_>>(),
        "endpoints": status.endpoints.iter().map(|one| endpoint(one, now)).collect::<Vec<_>>(),
    })
}

/// What a source of endpoints said, and why it says nothing now.
fn source(status: &SourceStatus, now: Instant) -> Value {
    json!({
        "source": status.label,
        "endpoints": status.endpoints,
        "age_seconds": status.answered.map(|then| seconds_since(then, now)),
        "problem": status.problem,
    })
}

/// One endpoint, as it stands.
pub(super) fn endpoint(status: &EndpointStatus, now: Instant) -> Value {
    let mut told = report(&status.report, now);
    told["address"] = json!(status.endpoint.label());
    told["state"] = json!(status.state());
    told["in_flight"] = json!(status.in_flight);
    told["weight"] = json!(status.weight);
    told["requests"] = json!(status.endpoint.metrics().requests.get());
    told["failures"] = json!(status.endpoint.metrics().failures.get());
    told["slow_start_percent"] = json!(status.slow_start_percent);
    told
}

fn event(event: &Event) -> Value {
    json!({
        "number": event.number,
        "time": rfc3339(event.time),
        "cluster": event.cluster,
        "endpoint": event.endpoint,
        "event": event.what.name(),
        "message": event.sentence(),
        "reason": event.reason.to_string(),
    })
}

fn rfc3339(time: SystemTime) -> Option<String> {
    OffsetDateTime::from(time).format(&Rfc3339).ok()
}

/// Everything known of one endpoint.
fn report(report: &Report, now: Instant) -> Value {
    let obstacles = report.obstacles.iter().map(|one| obstacle(one, now));
    let checks = report.checks.iter().map(|check| of_check(check, now));
    let availability = &report.availability;
    json!({
        "since_seconds": seconds_since(report.since, now),
        "why": obstacles.collect::<Vec<_>>(),
        "checks": checks.collect::<Vec<_>>(),
        "accepts_connections": report.accepts_connections,
        "ejections": report.ejections,
        "breaker": report.breaker.as_ref().map(|breaker| of_breaker(breaker, now)),
        "available_percent": {
            "last_hour": hundredths(availability.last_hour_percent),
            "overall": hundredths(availability.overall_percent),
            "known_for_seconds": availability.known_for.as_secs(),
        },
    })
}

fn obstacle(obstacle: &Obstacle, now: Instant) -> Value {
    let until = obstacle.until.map(|until| {
        let left = until.saturating_duration_since(now);
        left.as_secs_f64().ceil() as u64
    });
    let trouble = obstacle.trouble.as_ref().map(ToString::to_string);
    let mut told = json!({
        "reason": obstacle_name(obstacle.kind),
        "trouble": trouble,
        "since_seconds": seconds_since(obstacle.since, now),
        "ends_in_seconds": until,
    });
    if let ObstacleKind::Unproven { check }
    | ObstacleKind::Unhealthy { check }
    | ObstacleKind::Degraded { check } = obstacle.kind
    {
        told["check"] = json!(check);
    }
    if let ObstacleKind::Ejected { times } = obstacle.kind {
        told["times"] = json!(times);
    }
    told
}

fn of_check(check: &CheckReport, now: Instant) -> Value {
    let last = check.last.as_ref().map(|(at, result)| {
        json!({
            "seconds_ago": seconds_since(*at, now),
            "trouble": result.as_ref().err().map(ToString::to_string),
        })
    });
    json!({
        "role": match check.role {
            Role::Eject => "eject",
            Role::Degrade { .. } => "degrade",
        },
        "verdict": match check.verdict {
            Verdict::Unproven => "unproven",
            Verdict::Passing => "passing",
            Verdict::Failing => "failing",
        },
        "since_seconds": seconds_since(check.since, now),
        "passes_in_a_row": check.passes,
        "failures_in_a_row": check.failures,
        "is_held_for_shared_cause": check.is_held,
        "last": last,
    })
}

fn of_breaker(breaker: &BreakerReport, now: Instant) -> Value {
    json!({
        "state": match breaker.state {
            State::Closed => "closed",
            State::Open => "open",
            State::HalfOpen => "half-open",
        },
        "mode": match breaker.mode {
            Mode::Enforce => "enforce",
            Mode::Monitor => "monitor",
        },
        "since_seconds": seconds_since(breaker.since, now),
        "openings": breaker.openings,
        "would_have_rejected": breaker.would_have_rejected,
    })
}

fn seconds_since(then: Instant, now: Instant) -> u64 {
    now.saturating_duration_since(then).as_secs()
}

fn hundredths(percent: f64) -> f64 {
    (percent * 100.0).round() / 100.0
}
