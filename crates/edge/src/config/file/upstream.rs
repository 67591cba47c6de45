//! How connections to endpoints are made, as written. Never compares two values.

use portcullis_ops::decode::{Fields, Located};
use portcullis_ops::diagnostic::Span;
use rustls_pki_types::ServerName;

use super::super::{Protocol, ProxyVersion, TlsVersion, names};
use super::health::server_name;

#[derive(Debug)]
pub(in crate::config) struct FileUpstreamTls {
    pub(in crate::config) span: Span,
    /// `None` is the system's.
    pub(in crate::config) ca: Option<Located<String>>,
    pub(in crate::config) server_name: Option<ServerName<'static>>,
    pub(in crate::config) cert: Option<Located<String>>,
    pub(in crate::config) key: Option<Located<String>>,
    pub(in crate::config) verify: Located<bool>,
    pub(in crate::config) min_version: TlsVersion,
}

pub(super) fn protocol(fields: &Fields<'_>) -> Located<Protocol> {
    let written = fields.word("protocol");
    Located {
        value: match written.value {
            "h2" => Protocol::Http2,
            "h2c" => Protocol::Http2Clear,
            _ => Protocol::Http1,
        },
        span: written.span,
        is_written: written.is_written,
    }
}

pub(super) fn proxy_protocol(fields: &Fields<'_>) -> Option<ProxyVersion> {
    match fields.word("proxy_protocol").value {
        "v1" => Some(ProxyVersion::V1),
        "v2" => Some(ProxyVersion::V2),
        _ => None,
    }
}

pub(super) fn tls(fields: &Fields<'_>) -> FileUpstreamTls {
    let ca = fields.text("ca", names::file);
    FileUpstreamTls {
        span: fields.span(),
        ca: ca.filter(|ca| ca.value != "system"),
        server_name: fields
            .text("server_name", server_name)
            .map(|name| name.value),
        cert: fields.text("cert", names::file),
        key: fields.text("key", names::file),
        verify: fields.flag("verify"),
        min_version: match fields.word("min_version").value {
            "1.3" => TlsVersion::Tls13,
            _ => TlsVersion::Tls12,
        },
    }
}
