//! Health checks: that they can end in time and that their keys fit together. Never connects to
//! anything.

use super::super::file::{CheckKind, FileCheckTls, FileHealth};
use std::sync::Arc;

use super::super::live_client::{ClientFiles, LiveClient, Loaded, Speech};
use super::super::{
    CheckMethod, CheckPace, CheckTls, GrpcQuestion, HealthCheck, HttpQuestion, Protocol, Question,
    Role, TlsVersion, UpstreamTls,
};
use super::Parser;

/// Liveness, readiness and a few deep ones; each costs every endpoint a request per interval.
const CHECKS_MAX: usize = 8;

impl Parser<'_> {
    pub(super) fn health(
        &self,
        checks: &[FileHealth],
        of_cluster: Option<&(UpstreamTls, Loaded)>,
        protocol: Protocol,
    ) -> Vec<HealthCheck> {
        if let Some(beyond) = checks.get(CHECKS_MAX) {
            let message = format!("a cluster has at most {CHECKS_MAX} health checks");
            self.report.error(beyond.span, message);
        }
        checks
            .iter()
            .filter_map(|check| self.health_check(check, of_cluster, protocol))
            .collect()
    }

    fn health_check(
        &self,
        file: &FileHealth,
        of_cluster: Option<&(UpstreamTls, Loaded)>,
        protocol: Protocol,
    ) -> Option<HealthCheck> {
        self.check_times(file);
        self.check_keys(file);
        // One that is asked elsewhere, or in another way, is asked in HTTP/1.1.
        let is_http2 = file.kind == CheckKind::Http
            && protocol != Protocol::Http1
            && file.tls.is_none()
            && file.port.is_none();
        let tls = match (&file.tls, of_cluster) {
            (Some(Some(tls)), _) => Some(self.check_tls(tls, file.kind)?),
            (None, Some((tls, loaded))) => Some(as_requests(tls, loaded, file.kind, is_http2)),
            (Some(None), _) | (None, None) => None,
        };
        let question = match file.kind {
            CheckKind::Tcp => Question::Connect,
            CheckKind::Grpc => Question::Grpc(GrpcQuestion {
                service: file.service.clone(),
                host: file.host.clone(),
            }),
            CheckKind::Http => Question::Http(HttpQuestion {
                method: file.method,
                path: file.path.clone(),
                host: file.host.clone(),
                request_headers: file.request_headers.clone(),
                expect: file.expect.clone(),
                headers: file.headers.clone(),
                body: file.body.clone(),
            }),
        };
        Some(HealthCheck {
            question,
            is_http2,
            port: file.port,
            tls,
            pace: CheckPace {
                interval: file.interval,
                fast_interval: file.fast_interval.min(file.interval),
                jitter_percent: file.jitter_percent,
            },
            timeout: file.timeout,
            rise: file.rise,
            fall: file.fall,
            role: match file.is_degrading {
                true => Role::Degrade {
                    share_percent: file.share_percent,
                },
                false => Role::Eject,
            },
        })
    }

    fn check_times(&self, file: &FileHealth) {
        if file.timeout > file.interval {
            let message = "a check may last longer than the time until the next one";
            let hint = "make `timeout` at most `interval`";
            let span = file.place("timeout").unwrap_or(file.span);
            self.report.error_with_hint(span, message, hint);
        }
        if let Some(span) = file.place("fast_interval")
            && file.fast_interval > file.interval
        {
            let message = "`fast_interval` is slower than the interval";
            let hint = "make `fast_interval` at most `interval`";
            self.report.error_with_hint(span, message, hint);
        }
    }

    fn check_keys(&self, file: &FileHealth) {
        let (kind, strange, hint) = match file.kind {
            CheckKind::Http => ("http", &[][..], ""),
            CheckKind::Tcp => {
                let hint = "a tcp check only connects; leave it out, or write `type: http`";
                ("tcp", OF_REQUESTS, hint)
            }
            CheckKind::Grpc => {
                let hint = "a grpc check asks for `service`; leave it out, or write `type: http`";
                ("grpc", OF_HTTP, hint)
            }
        };
        for name in strange {
            if let Some(span) = file.place(name) {
                let message = format!("`{name}` is not for a check of `type: {kind}`");
                self.report.error_with_hint(span, message, hint);
            }
        }
        if let Some(span) = file.place("body")
            && file.method == CheckMethod::Head
        {
            let message = "the answer to HEAD has no body to look into";
            let hint = "write `method: GET`, or leave `body` out";
            self.report.error_with_hint(span, message, hint);
        }
        if let Some(span) = file.place("service")
            && file.kind == CheckKind::Http
        {
            let message = "`service` has no effect on a check of `type: http`";
            self.report
                .warning(span, message, "write `type: grpc`, or leave `service` out");
        }
        if let Some(span) = file.place("share")
            && !file.is_degrading
        {
            let message = "`share` has no effect on a check that ejects";
            let hint = "write `role: degrade`, or leave `share` out";
            self.report.warning(span, message, hint);
        }
    }

    fn check_tls(&self, file: &FileCheckTls, kind: CheckKind) -> Option<CheckTls> {
        if !file.verify.value {
            if let Some(ca) = &file.ca {
                let message = "`ca` has no effect if certificates are not verified";
                let hint = "leave out either `ca` or `verify: false`";
                self.report.error_with_hint(ca.span, message, hint);
            }
            let message = "anyone between may answer the check in the endpoint's name";
            let hint = "give `ca` the authority of the endpoint's certificate";
            self.report.warning(file.verify.span, message, hint);
        }
        let directory = self.surroundings.directory;
        let files = ClientFiles {
            ca: file.ca.as_ref().map(|ca| directory.join(&ca.value)),
            is_verified: file.verify.value,
            own: None,
        };
        let mut problems = Vec::new();
        let loaded = files.load(self.now_unix_seconds(), &mut problems);
        let span = file.ca.as_ref().map_or(file.span, |ca| ca.span);
        self.tell(problems, |_| span);
        let speech = asking(protocol(kind), TlsVersion::Tls12);
        Some(CheckTls {
            server_name: file.server_name.clone(),
            is_as_requests: false,
            live: Arc::new(LiveClient::new(files, speech, &loaded?)),
        })
    }
}

/// TLS as the cluster's requests have it.
fn as_requests(tls: &UpstreamTls, loaded: &Loaded, kind: CheckKind, is_http2: bool) -> CheckTls {
    let protocol = if is_http2 { "h2" } else { protocol(kind) };
    let (files, speech) = (tls.live.files(), asking(protocol, tls.min_version));
    CheckTls {
        server_name: tls.server_name.clone(),
        is_as_requests: true,
        live: Arc::new(LiveClient::new(files.clone(), speech, loaded)),
    }
}

/// A resumed session spares the endpoint from showing its certificate again, which a check wants to see.
fn asking(protocol: &'static str, min_version: TlsVersion) -> Speech {
    Speech {
        protocol,
        min_version,
        resumes: false,
    }
}

fn protocol(kind: CheckKind) -> &'static str {
    match kind {
        CheckKind::Grpc => "h2",
        CheckKind::Http | CheckKind::Tcp => "http/1.1",
    }
}

/// Keys of one kind of request alone.
const OF_HTTP: &[&str] = &[
    "path",
    "method",
    "request_headers",
    "expect",
    "headers",
    "body",
];
/// Keys that only a request gives a meaning.
const OF_REQUESTS: &[&str] = &[
    "path",
    "method",
    "host",
    "request_headers",
    "expect",
    "headers",
    "body",
    "service",
];
