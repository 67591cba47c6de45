//! TLS towards endpoints: files read, keys that fit together. Never connects to anything.

use std::sync::Arc;

use portcullis_ops::decode::Located;

use super::super::file::{FileCluster, FileUpstreamTls};
use super::super::live_client::{ClientFiles, LiveClient, Loaded, Speech};
use super::super::{Protocol, UpstreamTls};
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

    /// With what its files hold, for the health checks. `None` after an error.
    pub(super) fn upstream_tls(
        &self,
        file: &FileUpstreamTls,
        protocol: Protocol,
    ) -> Option<(UpstreamTls, Loaded)> {
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
        let files = self.client_files(file)?;
        let mut problems = Vec::new();
        let loaded = files.load(self.now_unix_seconds(), &mut problems);
        let place = |at: &Option<Located<String>>| at.as_ref().map_or(file.span, |at| at.span);
        self.tell(problems, |path| match &files.own {
            Some((cert, _)) if cert == path => place(&file.cert),
            Some((_, key)) if key == path => place(&file.key),
            _ => place(&file.ca),
        });
        let loaded = loaded?;
        let speech = Speech {
            protocol: match protocol {
                Protocol::Http2 => "h2",
                Protocol::Http1 | Protocol::Http2Clear => "http/1.1",
            },
            min_version: file.min_version,
            resumes: true,
        };
        let tls = UpstreamTls {
            server_name: file.server_name.clone(),
            min_version: file.min_version,
            live: Arc::new(LiveClient::new(files, speech, &loaded)),
        };
        Some((tls, loaded))
    }

    /// `None` after an error.
    fn client_files(&self, file: &FileUpstreamTls) -> Option<ClientFiles> {
        let alone = |span, message: &str, hint: &str| {
            self.report.error_with_hint(span, message, hint);
            None
        };
        let directory = self.surroundings.directory;
        let path = |at: &Located<String>| directory.join(&at.value);
        let own = match (&file.cert, &file.key) {
            (None, None) => None,
            (Some(cert), None) => {
                return alone(cert.span, "`cert` without `key`", "write `key`, too");
            }
            (None, Some(key)) => {
                return alone(key.span, "`key` without `cert`", "write `cert`, too");
            }
            (Some(cert), Some(key)) => Some((path(cert), path(key))),
        };
        Some(ClientFiles {
            ca: file.ca.as_ref().map(path),
            is_verified: file.verify.value,
            own,
        })
    }
}
