//! The end of every request: metrics and access log. Never fails, and never runs twice.

use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime};

use http::{HeaderValue, Method, StatusCode, Version};
use portcullis_traffic::route::split;

use super::admit::Request;
use super::excerpt::Excerpt;
use super::identify::hex;
use super::unparsed::Told;
use crate::access_log::Line;
use crate::cluster::Endpoint;
use crate::connection::Connection;
use crate::outcome::Outcome;
use crate::state::{Edge, RouteId, Snapshot, Target};

/// All that is known of a request when it ends.
pub(super) struct Ended<'a> {
    pub(super) connection: &'a Connection,
    pub(super) snapshot: &'a Snapshot,
    pub(super) request: Option<&'a Request>,
    /// The id that the client was told without a request.
    pub(super) told_id: Option<HeaderValue>,
    pub(super) route: Option<RouteId>,
    pub(super) target: Option<&'a Target>,
    /// The last endpoint that was tried.
    pub(super) endpoint: Option<&'a Endpoint>,
    pub(super) attempts: u32,
    pub(super) outcome: Outcome,
    pub(super) status: Option<StatusCode>,
    pub(super) duration: Duration,
    pub(super) endpoint_time: Option<Duration>,
    pub(super) request_bytes: u64,
    pub(super) response_bytes: u64,
    /// The name that TLS was asked for.
    pub(super) server_name: Option<&'a str>,
    /// The limit that refused the request, or would have.
    pub(super) limited_by: Option<&'a str>,
}

/// Counts the request and writes its line.
pub(super) fn finish(edge: &Edge, ended: &Ended<'_>) {
    if let Some(counters) =
        ended
            .snapshot
            .counters(ended.connection.listener.index, ended.route, ended.target)
    {
        counters.count(ended.outcome);
    }
    if let Some(target) = ended.target {
        target
            .cluster
            .metrics()
            .duration
            .observe(ended.duration.as_secs_f64());
    }
    if is_logged(edge, ended.snapshot, ended.route) && !is_quiet(ended) && is_sampled(ended) {
        edge.access_log.write(&line(edge, ended));
    }
}

/// Whether the access log gets a line of requests on this route, or of those without any.
pub(super) fn is_logged(edge: &Edge, snapshot: &Snapshot, route: Option<RouteId>) -> bool {
    edge.access_log.is_on() && route.is_none_or(|route| snapshot.route(route).is_logged)
}

/// Whether it is one of those that are written: it did not go well, or not quickly, or its id is of
/// the sample. Every edge that sees the id decides the same.
fn is_sampled(ended: &Ended<'_>) -> bool {
    let sample = ended.snapshot.log_sample();
    if sample.percent >= 100 || ended.duration >= sample.slow || !is_well(ended) {
        return true;
    }
    let id = ended.request.map(|request| request.excerpt.id.as_bytes());
    // Not the hash that splits go by, lest the sample be of one target only.
    let hash = split::hash(id.unwrap_or_default()).wrapping_mul(SAMPLE_FACTOR) >> 32;
    (hash * 100) >> 32 < u64::from(sample.percent)
}

fn is_well(ended: &Ended<'_>) -> bool {
    let by_edge = matches!(ended.outcome, Outcome::Redirected | Outcome::Responded);
    let is_fine = ended.status.is_some_and(|status| status.as_u16() < 400);
    is_fine && (by_edge || ended.outcome == Outcome::Served)
}

/// Odd, and without a pattern: 2^64 by the golden ratio.
const SAMPLE_FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// Whether it is a health check, of ours or of others, that went as health checks should. By its
/// path, never by who it says it is: a stranger could say the same.
fn is_quiet(ended: &Ended<'_>) -> bool {
    let Some(request) = ended.request else {
        return false;
    };
    let is_served = ended.outcome == Outcome::Served;
    is_served
        && is_well(ended)
        && matches!(request.method, Method::GET | Method::HEAD)
        && request
            .excerpt
            .logged_path()
            .is_some_and(|path| ended.snapshot.is_quiet(path))
}

fn line(edge: &Edge, ended: &Ended<'_>) -> Vec<u8> {
    let Ended {
        connection,
        request,
        ..
    } = ended;
    let route = ended.route.map(|id| ended.snapshot.route(id));
    let tls = connection.tls.as_ref();
    let made_id;
    let known_id = request.map(|request| &request.excerpt.id);
    let request_id = match known_id.or(ended.told_id.as_ref()) {
        Some(id) => id.as_bytes(),
        None => {
            made_id = hex::<32>(edge.ids.draw());
            &made_id
        }
    };
    let excerpt = request.map(|request| &request.excerpt);
    let is_https = request.map_or(connection.listener.is_tls, |request| request.is_https);
    let client = request.map_or_else(|| peer(connection), |request| request.client);
    Line {
        time: SystemTime::now(),
        privacy: &ended.snapshot.privacy,
        listener: &connection.listener.name,
        client,
        scheme: if is_https { "https" } else { "http" },
        method: request.map(|request| request.method.as_str()),
        host: excerpt.and_then(Excerpt::logged_host),
        path: excerpt.and_then(Excerpt::logged_path),
        protocol: request.map(|request| protocol(request.version)),
        status: ended.status.map(|status| status.as_u16()),
        outcome: ended.outcome,
        route: route.map(|route| route.name.as_str()),
        cluster: ended.target.map(|target| target.cluster.name()),
        endpoint: ended.endpoint.map(Endpoint::label),
        attempts: ended.attempts,
        request_id: std::str::from_utf8(request_id).unwrap_or_default(),
        trace_id: request.map(|request| request.trace.id),
        duration: ended.duration,
        endpoint_time: ended.endpoint_time,
        request_bytes: ended.request_bytes,
        response_bytes: ended.response_bytes,
        limited_by: ended.limited_by,
        tls_version: tls.map(|tls| tls.version),
        server_name: ended.server_name,
        user_agent: excerpt.and_then(Excerpt::logged_user_agent),
    }
    .encode()
}

/// A request that never became an exchange: all there is is its connection.
pub(super) fn finish_unparsed(
    edge: &Edge,
    connection: &Connection,
    outcome: Outcome,
    told: Told,
    now: Instant,
) {
    let tls = connection.tls.as_ref();
    let server_name = tls.and_then(|tls| tls.server_name.as_deref());
    finish_connection(edge, connection, outcome, told, server_name, now);
}

/// The same, where the connection does not know the name that was asked for.
pub(super) fn finish_connection(
    edge: &Edge,
    connection: &Connection,
    outcome: Outcome,
    told: Told,
    server_name: Option<&str>,
    now: Instant,
) {
    let snapshot = edge.snapshot.load();
    let ended = Ended {
        connection,
        snapshot: &snapshot,
        request: None,
        told_id: told.id,
        route: None,
        target: None,
        endpoint: None,
        attempts: 0,
        outcome,
        status: told.status,
        duration: now.saturating_duration_since(connection.opened),
        endpoint_time: None,
        request_bytes: 0,
        response_bytes: 0,
        server_name,
        limited_by: None,
    };
    finish(edge, &ended);
}

fn peer(connection: &Connection) -> IpAddr {
    connection.client.ip().to_canonical()
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "HTTP/0.9",
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_11 => "HTTP/1.1",
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_3 => "HTTP/3",
        _ => "unknown",
    }
}
