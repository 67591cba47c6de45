//! Health checks as written. Never compares two values.

use std::num::NonZeroU16;
use std::ops::RangeInclusive;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use portcullis_ops::decode::{Fields, Located, Mistake};
use portcullis_ops::diagnostic::Span;
use rustls_pki_types::ServerName;

use super::super::{CheckMethod, ExpectedHeader, names};
use super::positive;

#[derive(Debug)]
pub(in crate::config) struct FileHealth {
    pub(in crate::config) span: Span,
    /// Keys that the file has, with the places of their values.
    pub(in crate::config) written: Vec<(&'static str, Span)>,
    pub(in crate::config) kind: CheckKind,
    pub(in crate::config) service: String,
    pub(in crate::config) path: String,
    pub(in crate::config) method: CheckMethod,
    pub(in crate::config) host: Option<String>,
    pub(in crate::config) port: Option<NonZeroU16>,
    pub(in crate::config) request_headers: Vec<(HeaderName, HeaderValue)>,
    pub(in crate::config) interval: Duration,
    pub(in crate::config) fast_interval: Duration,
    pub(in crate::config) jitter_percent: u8,
    pub(in crate::config) timeout: Duration,
    pub(in crate::config) rise: std::num::NonZeroU32,
    pub(in crate::config) fall: std::num::NonZeroU32,
    pub(in crate::config) expect: RangeInclusive<u16>,
    pub(in crate::config) headers: Vec<ExpectedHeader>,
    pub(in crate::config) body: Option<String>,
    pub(in crate::config) is_degrading: bool,
    pub(in crate::config) share_percent: u8,
    /// `None` where the file says nothing about it.
    pub(in crate::config) tls: Option<Option<FileCheckTls>>,
}

/// What a check speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum CheckKind {
    Http,
    Tcp,
    Grpc,
}

#[derive(Debug)]
pub(in crate::config) struct FileCheckTls {
    pub(in crate::config) span: Span,
    pub(in crate::config) server_name: Option<ServerName<'static>>,
    pub(in crate::config) ca: Option<Located<String>>,
    pub(in crate::config) verify: Located<bool>,
}

impl FileHealth {
    /// Where the value of a key stands, if the file has it.
    pub(in crate::config) fn place(&self, name: &str) -> Option<Span> {
        let found = self.written.iter().find(|(known, _)| *known == name);
        found.map(|(_, span)| *span)
    }
}

pub(super) fn health(fields: &Fields<'_>) -> FileHealth {
    let written = COMPARED.iter().filter(|name| fields.is_written(name));
    FileHealth {
        span: fields.span(),
        written: written.map(|name| (*name, fields.span_of(name))).collect(),
        kind: match fields.word("type").value {
            "tcp" => CheckKind::Tcp,
            "grpc" => CheckKind::Grpc,
            _ => CheckKind::Http,
        },
        service: fields
            .text("service", service)
            .map_or_else(String::new, |service| service.value),
        path: fields
            .text("path", names::target)
            .map_or_else(String::new, |path| path.value),
        method: match fields.word("method").value {
            "HEAD" => CheckMethod::Head,
            _ => CheckMethod::Get,
        },
        host: fields.text("host", names::authority).map(|host| host.value),
        port: fields
            .optional_number("port")
            .and_then(|port| NonZeroU16::new(port.value)),
        request_headers: pairs(fields, "request_headers", sent),
        interval: fields.duration("interval").value,
        fast_interval: fields.duration("fast_interval").value,
        jitter_percent: fields.number("jitter").value,
        timeout: fields.duration("timeout").value,
        rise: positive(fields, "rise"),
        fall: positive(fields, "fall"),
        expect: fields.statuses("expect").value,
        headers: pairs(fields, "headers", expected),
        body: fields.text("body", body).map(|body| body.value),
        is_degrading: fields.word("role").value == "degrade",
        share_percent: fields.number("share").value,
        tls: fields
            .is_written("tls")
            .then(|| fields.switch("tls").as_ref().map(tls)),
    }
}

fn tls(fields: &Fields<'_>) -> FileCheckTls {
    FileCheckTls {
        span: fields.span(),
        server_name: fields
            .text("server_name", server_name)
            .map(|name| name.value),
        ca: fields.text("ca", names::file),
        verify: fields.flag("verify"),
    }
}

fn pairs<T>(
    fields: &Fields<'_>,
    name: &str,
    parse: fn(&str, &str) -> Result<T, Mistake>,
) -> Vec<T> {
    let pairs = fields.map(name, parse);
    if pairs.len() > HEADERS_MAX {
        let message = format!("`{name}` has more than {HEADERS_MAX} headers");
        fields.report().error(fields.span_of(name), message);
    }
    pairs.into_iter().map(|pair| pair.value).collect()
}

/// A header of the probe's request. What frames it, or names us, is ours alone.
fn sent(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), Mistake> {
    let name = header_name(name)?;
    match name.as_str() {
        "host" => Err(Mistake::new(
            "is no header to set here",
            "write it as `host`, a key of the check",
        )),
        "user-agent" | "connection" | "content-length" | "transfer-encoding" | "expect"
        | "upgrade" | "te" | "trailer" => Err(Mistake::new(
            "belongs to a header that the check itself decides about",
            "leave it out",
        )),
        _ => Ok((name, header_value(value)?)),
    }
}

fn expected(name: &str, value: &str) -> Result<ExpectedHeader, Mistake> {
    let name = header_name(name)?;
    let value = match value {
        "*" => None,
        value => Some(header_value(value)?.as_bytes().to_vec()),
    };
    Ok(ExpectedHeader { name, value })
}

fn header_name(name: &str) -> Result<HeaderName, Mistake> {
    let hint = "letters, digits and - only: X-Ready";
    HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| Mistake::new("belongs to a name that no header has", hint))
}

/// White space around it would not survive the way.
fn header_value(value: &str) -> Result<HeaderValue, Mistake> {
    let is_plain = value.trim() == value && value.len() <= HEADER_VALUE_BYTES_MAX;
    let visible = HeaderValue::from_str(value).ok().filter(|_| is_plain);
    visible.ok_or_else(|| {
        let hint = "visible ASCII, at most 1024 bytes, no space at either end";
        Mistake::new("is no value of a header", hint)
    })
}

fn body(text: &str) -> Result<String, Mistake> {
    match text.len() <= BODY_BYTES_MAX {
        true => Ok(text.to_owned()),
        false => Err(Mistake::new("is too long", "at most 1024 bytes")),
    }
}

fn service(text: &str) -> Result<String, Mistake> {
    let is_plain = text.len() <= SERVICE_BYTES_MAX && text.bytes().all(|b| b.is_ascii_graphic());
    let hint = "its full name, at most 256 bytes: shop.v1.Orders";
    is_plain
        .then(|| text.to_owned())
        .ok_or_else(|| Mistake::new("is no name of a gRPC service", hint))
}

pub(super) fn server_name(text: &str) -> Result<ServerName<'static>, Mistake> {
    let hint = "a host name without port: auth.internal";
    ServerName::try_from(text.to_owned())
        .map_err(|_| Mistake::new("is neither a host name nor an address", hint))
}

/// Keys that other keys forbid or bound.
const COMPARED: &[&str] = &[
    "path",
    "service",
    "method",
    "host",
    "request_headers",
    "fast_interval",
    "timeout",
    "expect",
    "headers",
    "body",
    "share",
];
/// Of each kind; probes are small.
const HEADERS_MAX: usize = 16;
const HEADER_VALUE_BYTES_MAX: usize = 1024;
const BODY_BYTES_MAX: usize = 1024;
const SERVICE_BYTES_MAX: usize = 256;
