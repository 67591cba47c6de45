//! Listeners as written. Never compares two values.

use std::net::SocketAddr;

use portcullis_ops::decode::{Fields, Located};
use portcullis_ops::diagnostic::Span;
use portcullis_traffic::route::PathRules;

use super::super::names;
use super::super::policies::SecurityHeaders;
use super::super::{
    ClientTimeouts, ConnectionsPerAddress, Engine, FrameLimits, Http2, Limits, NamePattern,
    ProxyProtocol, TlsVersion, UnknownName,
};
use super::clients::{self, FileClients};
use super::{policies, positive};

#[derive(Debug)]
pub(in crate::config) struct FileListener {
    pub(in crate::config) span: Span,
    pub(in crate::config) name: Option<Located<String>>,
    pub(in crate::config) address: Option<Located<SocketAddr>>,
    pub(in crate::config) tls: Option<FileTls>,
    pub(in crate::config) engine: Engine,
    pub(in crate::config) passthrough: Vec<FilePassthrough>,
    pub(in crate::config) max_connections: Located<u32>,
    pub(in crate::config) connections_per_address: Option<ConnectionsPerAddress>,
    pub(in crate::config) clients: Option<FileClients>,
    pub(in crate::config) proxy_protocol: Option<ProxyProtocol>,
    pub(in crate::config) rate_limits: Vec<Located<String>>,
    pub(in crate::config) security_headers: Option<SecurityHeaders>,
    pub(in crate::config) redirect_to_https: Option<Located<u16>>,
    pub(in crate::config) paths: PathRules,
    pub(in crate::config) limits: Limits,
    pub(in crate::config) timeouts: ClientTimeouts,
    pub(in crate::config) http2: Http2,
}

#[derive(Debug)]
pub(in crate::config) struct FileTls {
    pub(in crate::config) certificates: Vec<FileCertificate>,
    pub(in crate::config) unknown_name: UnknownName,
    pub(in crate::config) min_version: TlsVersion,
    pub(in crate::config) ticket_key_file: Option<Located<String>>,
    pub(in crate::config) client_auth: Vec<FileClientAuth>,
}

#[derive(Debug)]
pub(in crate::config) struct FileCertificate {
    pub(in crate::config) cert: Option<Located<String>>,
    pub(in crate::config) key: Option<Located<String>>,
    pub(in crate::config) ocsp: Option<Located<String>>,
}

#[derive(Debug)]
pub(in crate::config) struct FileClientAuth {
    pub(in crate::config) span: Span,
    pub(in crate::config) is_optional: bool,
    pub(in crate::config) ca: Option<Located<String>>,
    pub(in crate::config) crl: Option<Located<String>>,
    pub(in crate::config) names: Vec<Located<NamePattern>>,
    pub(in crate::config) sends_chain: bool,
}

#[derive(Debug)]
pub(in crate::config) struct FilePassthrough {
    pub(in crate::config) sni: Option<Located<NamePattern>>,
    pub(in crate::config) cluster: Option<Located<String>>,
}

pub(super) fn listener(fields: &Fields<'_>) -> FileListener {
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
        connections_per_address: fields
            .optional_table("connections_per_address")
            .as_ref()
            .and_then(clients::connections_per_address),
        clients: clients::clients(fields),
        proxy_protocol: fields
            .optional_table("proxy_protocol")
            .as_ref()
            .map(clients::proxy_protocol),
        rate_limits: fields.texts("rate_limits", names::label),
        security_headers: policies::security_headers(fields),
        redirect_to_https: policies::redirect_to_https(fields),
        paths: policies::paths(fields),
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
                ocsp: certificate.text("ocsp", names::file),
            })
            .collect(),
        unknown_name: match fields.word("unknown_name").value {
            "refuse" => UnknownName::Refuse,
            _ => UnknownName::Default,
        },
        ticket_key_file: fields.text("ticket_key_file", names::file),
        client_auth: fields
            .tables("client_auth")
            .iter()
            .map(client_auth)
            .collect(),
        min_version: match fields.word("min_version").value {
            "1.3" => TlsVersion::Tls13,
            _ => TlsVersion::Tls12,
        },
    }
}

fn client_auth(fields: &Fields<'_>) -> FileClientAuth {
    FileClientAuth {
        span: fields.span(),
        is_optional: fields.word("mode").value == "optional",
        ca: fields.text("ca", names::file),
        crl: fields.text("crl", names::file),
        names: fields.texts("names", names::server_name),
        sends_chain: fields.flag("send_chain").value,
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
        tunnel: fields.duration("tunnel").value,
    }
}

fn http2(fields: &Fields<'_>) -> Http2 {
    Http2 {
        cleartext: fields.flag("cleartext").value,
        max_streams: fields.number("max_streams").value,
        stream_window: fields.number("stream_window").value,
        connection_window: fields.number("connection_window").value,
        frames: FrameLimits {
            resets: fields.number("max_resets").value,
            stream_errors: fields.number("max_stream_errors").value,
            pings: fields.number("max_pings").value,
            settings: fields.number("max_settings").value,
            continuations: fields.number("max_continuations").value,
            idle: fields.number("max_idle_frames").value,
        },
    }
}
