//! Clusters as written. Never compares two values.

use std::num::{NonZeroU8, NonZeroU32};
use std::time::Duration;

use portcullis_ops::decode::{Fields, Located};
use portcullis_ops::diagnostic::Span;

use super::super::names::{self, HostPort};
use super::super::{
    Breaker, BreakerMode, Ejection, HashKey, Protocol, ProxyVersion, Queue, UpstreamTimeouts,
};
use super::affinity::{FileAffinity, affinity};
use super::discovery::{FileSource, source};
use super::health::{self, FileHealth};
use super::positive;
use super::retries::{self, FileRetries};
use super::upstream::{self, FileUpstreamTls};

#[derive(Debug)]
pub(in crate::config) struct FileCluster {
    pub(in crate::config) name: Located<String>,
    pub(in crate::config) balance: Located<&'static str>,
    pub(in crate::config) hash: Option<FileHash>,
    pub(in crate::config) endpoints: Vec<FileEndpoint>,
    pub(in crate::config) endpoints_span: Span,
    pub(in crate::config) discover: Vec<FileSource>,
    pub(in crate::config) discover_timeout: Duration,
    pub(in crate::config) max_endpoints: usize,
    pub(in crate::config) health: Vec<FileHealth>,
    pub(in crate::config) ejection: Option<FileEjection>,
    pub(in crate::config) breaker: Option<FileBreaker>,
    pub(in crate::config) slow_start: Option<Duration>,
    pub(in crate::config) max_requests: NonZeroU32,
    pub(in crate::config) queue: Option<Queue>,
    pub(in crate::config) retries: FileRetries,
    pub(in crate::config) timeouts: UpstreamTimeouts,
    pub(in crate::config) tls: Option<FileUpstreamTls>,
    pub(in crate::config) protocol: Located<Protocol>,
    pub(in crate::config) proxy_protocol: Option<ProxyVersion>,
    pub(in crate::config) affinity: Option<FileAffinity>,
}

#[derive(Debug)]
pub(in crate::config) struct FileEndpoint {
    pub(in crate::config) address: Option<Located<HostPort>>,
    pub(in crate::config) weight: Located<u16>,
    pub(in crate::config) priority: Located<u8>,
    pub(in crate::config) zone: Option<Located<String>>,
    pub(in crate::config) max_requests: Option<NonZeroU32>,
}

#[derive(Debug)]
pub(in crate::config) struct FileHash {
    pub(in crate::config) span: Span,
    pub(in crate::config) key: Option<HashKey>,
    pub(in crate::config) bounded_load_percent: Option<u16>,
}

#[derive(Debug)]
pub(in crate::config) struct FileEjection {
    pub(in crate::config) max_duration_span: Span,
    pub(in crate::config) ejection: Ejection,
}

#[derive(Debug)]
pub(in crate::config) struct FileBreaker {
    pub(in crate::config) failures_span: Span,
    pub(in crate::config) breaker: Breaker,
}

pub(super) fn cluster((name, fields): (Located<String>, Fields<'_>)) -> FileCluster {
    if let Err(mistake) = names::label(&name.value) {
        let message = format!(
            "the name `{}` {}",
            names::shown(&name.value),
            mistake.message
        );
        fields
            .report()
            .error_with_hint(name.span, message, mistake.hint);
    }
    FileCluster {
        name,
        balance: fields.word("balance"),
        hash: fields.optional_table("hash").as_ref().map(hash),
        endpoints: fields.tables("endpoints").iter().map(endpoint).collect(),
        endpoints_span: fields.span_of("endpoints"),
        discover: fields.tables("discover").iter().map(source).collect(),
        discover_timeout: fields.duration("discover_timeout").value,
        max_endpoints: fields.number("max_endpoints").value,
        health: fields
            .switches("health")
            .iter()
            .map(health::health)
            .collect(),
        ejection: fields.switch("ejection").as_ref().map(ejection),
        breaker: fields.switch("breaker").as_ref().map(breaker),
        slow_start: Some(fields.duration("slow_start").value).filter(|time| !time.is_zero()),
        max_requests: positive(&fields, "max_requests"),
        queue: fields.switch("queue").as_ref().map(queue),
        retries: retries::retries(&fields.short("retries")),
        timeouts: upstream_timeouts(&fields.table("timeouts")),
        tls: fields.switch("tls").as_ref().map(upstream::tls),
        protocol: upstream::protocol(&fields),
        proxy_protocol: upstream::proxy_protocol(&fields),
        affinity: fields.switch("affinity").as_ref().map(affinity),
    }
}

pub(super) fn endpoint(fields: &Fields<'_>) -> FileEndpoint {
    FileEndpoint {
        address: fields.text("address", names::host_port),
        weight: fields.number("weight"),
        priority: fields.number("priority"),
        zone: fields.text("zone", names::label),
        max_requests: fields
            .optional_number("max_requests")
            .and_then(|most| NonZeroU32::new(most.value)),
    }
}

fn hash(fields: &Fields<'_>) -> FileHash {
    FileHash {
        span: fields.span(),
        key: fields.text("key", names::hash_key).map(|key| key.value),
        bounded_load_percent: fields
            .optional_number("bounded_load")
            .map(|most| most.value),
    }
}

fn queue(fields: &Fields<'_>) -> Queue {
    Queue {
        length: positive(fields, "length"),
        timeout: fields.duration("timeout").value,
    }
}

/// The share of errors that counts. One that never does needs no number of requests.
fn error_percent(fields: &Fields<'_>) -> Option<NonZeroU8> {
    let percent = NonZeroU8::new(fields.number("error_percent").value);
    if percent.is_none() && fields.is_written("error_requests") {
        let message = "`error_requests` has no effect without a share of errors";
        let hint = "leave it out, or write `error_percent` above 0";
        let span = fields.span_of("error_requests");
        fields.report().warning(span, message, hint);
    }
    percent
}

fn ejection(fields: &Fields<'_>) -> FileEjection {
    let max_percent = fields.number("max_percent");
    if max_percent.value == 0 {
        let message = "with `max_percent: 0` nothing is ever ejected";
        let hint = "write `ejection: off`, or let it be above 0";
        fields
            .report()
            .error_with_hint(max_percent.span, message, hint);
    }
    FileEjection {
        max_duration_span: fields.span_of("max_duration"),
        ejection: Ejection {
            failures: positive(fields, "failures"),
            window: fields.duration("window").value,
            duration: fields.duration("duration").value,
            max_duration: fields.duration("max_duration").value,
            gateway_errors: NonZeroU32::new(fields.number("gateway_errors").value),
            error_percent: error_percent(fields),
            error_requests: positive(fields, "error_requests"),
            max_percent: max_percent.value,
        },
    }
}

fn breaker(fields: &Fields<'_>) -> FileBreaker {
    FileBreaker {
        failures_span: fields.span_of("failures"),
        breaker: Breaker {
            failures: positive(fields, "failures"),
            error_percent: error_percent(fields),
            error_requests: positive(fields, "error_requests"),
            window: fields.duration("window").value,
            duration: fields.duration("duration").value,
            successes: positive(fields, "successes"),
            mode: match fields.word("mode").value {
                "monitor" => BreakerMode::Monitor,
                _ => BreakerMode::Enforce,
            },
        },
    }
}

fn upstream_timeouts(fields: &Fields<'_>) -> UpstreamTimeouts {
    UpstreamTimeouts {
        connect: fields.duration("connect").value,
        read: fields.duration("read").value,
        write: fields.duration("write").value,
        idle: fields.duration("idle").value,
    }
}
