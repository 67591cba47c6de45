//! TLS towards endpoints: files read, keys that fit together. Never connects to anything.

use std::sync::Arc;

use super::super::authorities::{Manner, Trust};
use super::super::file::{FileCluster, FileUpstreamTls};
use super::super::{ClientCertificate, Protocol, UpstreamTls, client_certificate};
use super::Parser;

impl Parser<'_> {
    pub(super) fn check_protocol(&self, file: &FileCluster) {
        let (message, hint) = match (file.protocol.value, &file.tls) {
            (Protocol::Http2, None) => (
                "`protocol: h2` is agreed on in the TLS handshake, and there is no `tls`",
                "write `tls: {}`, or `protocol: h2c` for HTTP/2 in the clear",
            ),
            (Protocol::Http2Clear, Some(_)) => (
                "`protocol: h2c` is HTTP/2 in the clear, and there is `tls`",
                "write `protocol: h2`, or leave `tls` out",
            ),
            _ => return,
        };
        self.report
            .error_with_hint(file.protocol.span, message, hint);
    }

    /// With whom it trusts, for the health checks. `None` after an error.
    pub(super) fn upstream_tls(
        &self,
        file: &FileUpstreamTls,
        protocol: Protocol,
    ) -> Option<(UpstreamTls, Trust)> {
        if !file.verify.value {
            if let Some(ca) = &file.ca {
                let message = "`ca` has no effect if certificates are not verified";
                let hint = "leave out either `ca` or `verify: false`";
                self.report.error_with_hint(ca.span, message, hint);
            }
            let message = "anyone between may read and change what goes to these endpoints";
            let hint = "give `ca` the authority of the endpoints' certificates";
            self.report.warning(file.verify.span, message, hint);
        }
        let directory = self.surroundings.directory;
        let (ca, is_verified) = (file.ca.as_ref(), file.verify.value);
        let trust = Trust::read(ca, is_verified, file.span, directory, self.report);
        let certificate = self.client_certificate(file);
        let (trust, certificate) = (trust?, certificate?);
        let client = trust.client(Manner {
            protocol: match protocol {
                Protocol::Http2 => "h2",
                Protocol::Http1 | Protocol::Http2Clear => "http/1.1",
            },
            min_version: file.min_version,
            certificate: certificate.as_ref().map(|own| Arc::clone(&own.certified)),
            resumes: true,
        });
        let tls = UpstreamTls {
            server_name: file.server_name.clone(),
            ca_path: ca.map(|ca| directory.join(&ca.value)),
            authorities: match &trust {
                Trust::File(authorities, _) => Some(authorities.clone()),
                Trust::System(_) | Trust::Anybody => None,
            },
            certificate,
            is_verified,
            min_version: file.min_version,
            client,
        };
        Some((tls, trust))
    }

    /// `None` after an error, `Some(None)` where none is asked for.
    fn client_certificate(&self, file: &FileUpstreamTls) -> Option<Option<ClientCertificate>> {
        let alone = |span, message: &str, hint: &str| {
            self.report.error_with_hint(span, message, hint);
            None
        };
        match (&file.cert, &file.key) {
            (None, None) => Some(None),
            (Some(cert), None) => alone(cert.span, "`cert` without `key`", "write `key`, too"),
            (None, Some(key)) => alone(key.span, "`key` without `cert`", "write `cert`, too"),
            (Some(cert), Some(key)) => {
                let directory = self.surroundings.directory;
                let now = self.now_unix_seconds();
                client_certificate::read(cert, key, directory, now, self.report).map(Some)
            }
        }
    }
}
