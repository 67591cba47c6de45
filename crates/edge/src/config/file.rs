//! The file as written: every key read, every single value parsed, nothing compared with anything else.
//! Never touches the machine, and never decides whether two values fit together.

use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroU32, NonZeroUsize};

use ipnet::IpNet;
use portcullis_ops::Secret;
use portcullis_ops::decode::{Fields, Located, Mistake};
use portcullis_ops::diagnostic::{Report, Span};
use portcullis_ops::yaml::Node;

use super::keys;
use super::names::{self, Access, HostPort};
use super::{
    Balance, ClientTimeouts, Ejection, Engine, HealthCheck, HostPattern, Http2, Limits,
    NamePattern, PathPattern, Shutdown, TlsVersion, UpstreamTimeouts,
};

/// What the file says. `None` where a value is missing or mistaken; the report knows.
#[derive(Debug)]
pub(super) struct FileConfig {
    pub(super) listeners: Vec<FileListener>,
    pub(super) clusters: Vec<FileCluster>,
    pub(super) routes: Vec<FileRoute>,
    pub(super) trusted_proxies: Vec<Located<IpNet>>,
    pub(super) admin: Option<Located<SocketAddr>>,
    pub(super) access_log: Option<Located<Access>>,
    pub(super) shutdown: Shutdown,
    pub(super) max_connections: Located<u32>,
    pub(super) workers: Option<NonZeroUsize>,
}

#[derive(Debug)]
pub(super) struct FileListener {
    pub(super) span: Span,
    pub(super) name: Option<Located<String>>,
    pub(super) address: Option<Located<SocketAddr>>,
    pub(super) tls: Option<FileTls>,
    pub(super) engine: Engine,
    pub(super) passthrough: Vec<FilePassthrough>,
    pub(super) max_connections: Located<u32>,
    pub(super) limits: Limits,
    pub(super) timeouts: ClientTimeouts,
    pub(super) http2: Http2,
}

#[derive(Debug)]
pub(super) struct FileTls {
    pub(super) certificates: Vec<FileCertificate>,
    pub(super) min_version: TlsVersion,
}

#[derive(Debug)]
pub(super) struct FileCertificate {
    pub(super) cert: Option<Located<String>>,
    pub(super) key: Option<Located<String>>,
}

#[derive(Debug)]
pub(super) struct FilePassthrough {
    pub(super) sni: Option<Located<NamePattern>>,
    pub(super) cluster: Option<Located<String>>,
}

#[derive(Debug)]
pub(super) struct FileCluster {
    pub(super) name: Located<String>,
    pub(super) balance: Balance,
    pub(super) endpoints: Vec<FileEndpoint>,
    pub(super) health: Option<FileHealth>,
    pub(super) ejection: Option<Ejection>,
    pub(super) retries: u32,
    pub(super) timeouts: UpstreamTimeouts,
    pub(super) affinity: Option<FileAffinity>,
}

#[derive(Debug)]
pub(super) struct FileEndpoint {
    pub(super) address: Option<Located<HostPort>>,
    pub(super) weight: NonZeroU16,
}

#[derive(Debug)]
pub(super) struct FileHealth {
    pub(super) timeout_span: Span,
    pub(super) check: HealthCheck,
}

#[derive(Debug)]
pub(super) struct FileAffinity {
    pub(super) span: Span,
    pub(super) cookie: Option<Located<String>>,
    pub(super) ttl: std::time::Duration,
    pub(super) secret: Option<Located<Secret<String>>>,
}

#[derive(Debug)]
pub(super) struct FileRoute {
    pub(super) span: Span,
    pub(super) name: Option<Located<String>>,
    /// As written, for the default name.
    pub(super) label: String,
    pub(super) pattern: Option<(HostPattern, PathPattern)>,
    pub(super) cluster: Option<Located<String>>,
    pub(super) access_log: bool,
}

impl FileConfig {
    /// Reads the whole tree; mistakes go to the report.
    pub(super) fn read(root: &Node, report: &Report<'_>) -> Self {
        let file = Fields::root(&keys::FILE, root, report);
        Self {
            listeners: file.tables("listeners").iter().map(listener).collect(),
            clusters: file.named("clusters").into_iter().map(cluster).collect(),
            routes: file.tables("routes").iter().map(route).collect(),
            trusted_proxies: file.networks("trusted_proxies"),
            admin: file.switch("admin").map(|admin| admin.address("address")),
            access_log: file.text("access_log", names::access),
            shutdown: shutdown(&file.table("shutdown")),
            max_connections: file.number("max_connections"),
            workers: file
                .optional_number("workers")
                .and_then(|workers| NonZeroUsize::new(workers.value)),
        }
    }
}

fn listener(fields: &Fields<'_>) -> FileListener {
    FileListener {
        span: fields.span(),
        name: fields.text("name", names::label),
        address: fields.optional_address("address"),
        tls: fields.optional_table("tls").as_ref().map(tls),
        engine: match fields.word("engine").value {
            "pingora" => Engine::Pingora,
            _ => Engine::Native,
        },
        passthrough: fields
            .tables("passthrough")
            .iter()
            .map(passthrough)
            .collect(),
        max_connections: fields.number("max_connections"),
        limits: limits(&fields.table("limits")),
        timeouts: client_timeouts(&fields.table("timeouts")),
        http2: http2(&fields.table("http2")),
    }
}

fn tls(fields: &Fields<'_>) -> FileTls {
    let certificates = fields.tables("certificates");
    FileTls {
        certificates: certificates
            .iter()
            .map(|certificate| FileCertificate {
                cert: certificate.text("cert", names::file),
                key: certificate.text("key", names::file),
            })
            .collect(),
        min_version: match fields.word("min_version").value {
            "1.3" => TlsVersion::Tls13,
            _ => TlsVersion::Tls12,
        },
    }
}

fn passthrough(fields: &Fields<'_>) -> FilePassthrough {
    FilePassthrough {
        sni: fields.text("sni", names::server_name),
        cluster: fields.text("cluster", names::label),
    }
}

fn limits(fields: &Fields<'_>) -> Limits {
    Limits {
        header_bytes: fields.number("header_bytes").value,
        header_count: fields.number("header_count").value,
        target_bytes: fields.number("target_bytes").value,
        body_bytes: fields.number("body_bytes").value,
        body_rate: fields.number("body_rate").value,
        requests_per_connection: positive(fields, "requests_per_connection"),
        connection_age: fields.duration("connection_age").value,
    }
}

fn client_timeouts(fields: &Fields<'_>) -> ClientTimeouts {
    ClientTimeouts {
        handshake: fields.duration("handshake").value,
        header: fields.duration("header").value,
        body: fields.duration("body").value,
        write: fields.duration("write").value,
        keep_alive: fields.duration("keep_alive").value,
    }
}

fn http2(fields: &Fields<'_>) -> Http2 {
    Http2 {
        max_streams: fields.number("max_streams").value,
        stream_window: fields.number("stream_window").value,
        connection_window: fields.number("connection_window").value,
    }
}

fn cluster((name, fields): (Located<String>, Fields<'_>)) -> FileCluster {
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
        balance: match fields.word("balance").value {
            "round_robin" => Balance::RoundRobin,
            _ => Balance::LeastConn,
        },
        endpoints: fields.tables("endpoints").iter().map(endpoint).collect(),
        health: fields.switch("health").as_ref().map(health),
        ejection: fields.switch("ejection").as_ref().map(ejection),
        retries: fields.number("retries").value,
        timeouts: upstream_timeouts(&fields.table("timeouts")),
        affinity: fields.switch("affinity").as_ref().map(affinity),
    }
}

fn endpoint(fields: &Fields<'_>) -> FileEndpoint {
    FileEndpoint {
        address: fields.text("address", names::host_port),
        weight: NonZeroU16::new(fields.number("weight").value).unwrap_or(NonZeroU16::MIN),
    }
}

fn health(fields: &Fields<'_>) -> FileHealth {
    FileHealth {
        timeout_span: fields.span_of("timeout"),
        check: HealthCheck {
            path: fields
                .text("path", names::target)
                .map_or_else(String::new, |path| path.value),
            host: fields.text("host", names::authority).map(|host| host.value),
            interval: fields.duration("interval").value,
            timeout: fields.duration("timeout").value,
            rise: positive(fields, "rise"),
            fall: positive(fields, "fall"),
            expect: fields.statuses("expect").value,
        },
    }
}

fn ejection(fields: &Fields<'_>) -> Ejection {
    Ejection {
        failures: positive(fields, "failures"),
        window: fields.duration("window").value,
        duration: fields.duration("duration").value,
        max_percent: fields.number("max_percent").value,
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

fn affinity(fields: &Fields<'_>) -> FileAffinity {
    FileAffinity {
        span: fields.span(),
        cookie: fields.text("cookie", names::cookie),
        ttl: fields.duration("ttl").value,
        secret: fields.secret("secret"),
    }
}

fn route(fields: &Fields<'_>) -> FileRoute {
    let written = |name, parse: fn(&str) -> Result<String, Mistake>| match fields.is_written(name) {
        true => fields.text(name, parse).map(|path| Some(path.value)),
        false => Some(None),
    };
    let host = match fields.is_written("host") {
        true => fields.text("host", |text| Ok((text.to_owned(), names::host(text)?))),
        false => None,
    };
    let is_host_mistaken = fields.is_written("host") && host.is_none();
    let (prefix, exact) = (written("path", names::path), written("exact", names::path));
    if fields.is_written("path") && fields.is_written("exact") {
        let hint = "a route matches either a path with all below it or exactly one path";
        let span = fields.span_of("exact");
        fields
            .report()
            .error_with_hint(span, "`path` and `exact` exclude each other", hint);
    }
    let (host_label, host) =
        host.map_or_else(|| ("*".to_owned(), HostPattern::Any), |host| host.value);
    let path = match (prefix, exact) {
        (Some(Some(prefix)), Some(None)) => Some((prefix.clone(), PathPattern::Prefix(prefix))),
        (Some(None), Some(Some(exact))) => Some((format!("={exact}"), PathPattern::Exact(exact))),
        (Some(None), Some(None)) => Some(("/".to_owned(), PathPattern::Prefix("/".to_owned()))),
        _ => None,
    };
    let (path_label, path) = path.unzip();
    FileRoute {
        span: fields.span(),
        name: fields.text("name", names::label),
        label: format!("{host_label}{}", path_label.unwrap_or_default()),
        pattern: path.filter(|_| !is_host_mistaken).map(|path| (host, path)),
        cluster: fields.text("cluster", names::label),
        access_log: fields.flag("access_log").value,
    }
}

fn shutdown(fields: &Fields<'_>) -> Shutdown {
    Shutdown {
        delay: fields.duration("delay").value,
        drain: fields.duration("drain").value,
    }
}

/// The table of keys begins these ranges at 1.
fn positive(fields: &Fields<'_>, name: &str) -> NonZeroU32 {
    NonZeroU32::new(fields.number(name).value).unwrap_or(NonZeroU32::MIN)
}
