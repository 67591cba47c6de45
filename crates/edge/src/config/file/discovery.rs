//! Places where endpoints are found, and files of endpoints, as written. Never compares two values.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use portcullis_ops::Secret;
use portcullis_ops::decode::{Fields, Located};
use portcullis_ops::diagnostic::{Report, Span};
use portcullis_ops::yaml::{Entry, Node, Value};

use super::super::names::{self, HostPort};
use super::super::{Family, keys};
use super::clusters::{FileEndpoint, endpoint};

#[derive(Debug)]
pub(in crate::config) struct FileSource {
    pub(in crate::config) span: Span,
    /// Whether a place is written, even a mistaken one.
    pub(in crate::config) has_place: bool,
    pub(in crate::config) places: Vec<Located<FilePlace>>,
    pub(in crate::config) family: Family,
    pub(in crate::config) resolver: Option<SocketAddr>,
    pub(in crate::config) min_ttl: Duration,
    pub(in crate::config) max_ttl: Located<Duration>,
    /// The first key that is of use with names alone, if one is written.
    pub(in crate::config) of_names: Option<(&'static str, Span)>,
    pub(in crate::config) weight: u16,
    pub(in crate::config) priority: u8,
    pub(in crate::config) zone: Option<String>,
    pub(in crate::config) max_requests: Option<NonZeroU32>,
}

/// What kind of place it is: exactly one should be written.
#[derive(Debug)]
pub(in crate::config) enum FilePlace {
    File(String),
    Dns(HostPort),
    Srv(String),
    /// `None` if its keys are mistaken.
    Redis(Option<FileRedis>),
}

#[derive(Debug)]
pub(in crate::config) struct FileRedis {
    pub(in crate::config) url: Located<Secret<String>>,
    pub(in crate::config) registry: String,
    pub(in crate::config) ca: Option<Located<String>>,
    pub(in crate::config) interval: Duration,
}

pub(super) fn source(fields: &Fields<'_>) -> FileSource {
    let file = fields.text("file", names::file);
    let file = file.map(|file| place(file.span, FilePlace::File(file.value)));
    let dns = fields.text("dns", names::host_port);
    let dns = dns.map(|dns| place(dns.span, FilePlace::Dns(dns.value)));
    let srv = fields.text("srv", names::service);
    let srv = srv.map(|srv| place(srv.span, FilePlace::Srv(srv.value)));
    let redis = fields.optional_table("redis");
    let redis = redis.map(|redis| place(redis.span(), FilePlace::Redis(self::redis(&redis))));
    FileSource {
        span: fields.span(),
        has_place: PLACES.into_iter().any(|key| fields.is_written(key)),
        places: [file, dns, srv, redis].into_iter().flatten().collect(),
        family: match fields.word("family").value {
            "ipv4" => Family::Ipv4,
            "ipv6" => Family::Ipv6,
            _ => Family::All,
        },
        resolver: fields.optional_address("resolver").map(|one| one.value),
        min_ttl: fields.duration("min_ttl").value,
        max_ttl: fields.duration("max_ttl"),
        of_names: OF_NAMES
            .into_iter()
            .find(|key| fields.is_written(key))
            .map(|key| (key, fields.span_of(key))),
        weight: fields.number("weight").value,
        priority: fields.number("priority").value,
        zone: fields.text("zone", names::label).map(|zone| zone.value),
        max_requests: fields
            .optional_number("max_requests")
            .and_then(|most| NonZeroU32::new(most.value)),
    }
}

const PLACES: [&str; 4] = ["file", "dns", "srv", "redis"];

/// Keys that are of use with names of the DNS alone.
const OF_NAMES: [&str; 4] = ["family", "resolver", "min_ttl", "max_ttl"];

fn place(span: Span, value: FilePlace) -> Located<FilePlace> {
    Located {
        value,
        span,
        is_written: true,
    }
}

fn redis(fields: &Fields<'_>) -> Option<FileRedis> {
    let url = fields.secret("url");
    let registry = fields.text("registry", names::label);
    let ca = fields.text("ca", names::file);
    let interval = fields.duration("interval").value;
    Some(FileRedis {
        url: url?,
        registry: registry?.value,
        ca,
        interval,
    })
}

/// The endpoints of a file of its own: a list, or a mapping with nothing but `endpoints`.
pub(in crate::config) fn endpoint_file(root: Node, report: &Report<'_>) -> Vec<FileEndpoint> {
    let span = root.span;
    let root = match root.value {
        Value::Sequence(_) => Node {
            span,
            value: Value::Mapping(vec![Entry {
                key: "endpoints".to_owned(),
                key_span: span,
                node: root,
            }]),
        },
        _ => root,
    };
    let file = Fields::root(&keys::ENDPOINT_FILE, &root, report);
    file.tables("endpoints").iter().map(endpoint).collect()
}
