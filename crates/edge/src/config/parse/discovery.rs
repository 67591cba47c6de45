//! Places where endpoints are found: that there is one, once, and of one kind. Never connects to
//! anything.

use std::collections::HashMap;
use std::sync::Arc;

use redis::{ConnectionAddr, IntoConnectionInfo};

use super::super::discovery::{
    Discover, DnsPlace, DnsQuestion, EndpointDefaults, Place, RedisPlace, Source,
};
use super::super::endpoint_file;
use super::super::file::{FileCluster, FilePlace, FileRedis, FileSource};
use super::super::names::HostPort;
use super::Parser;

/// Beyond that somebody has made a list of sources instead of a source with a list.
const SOURCES_MAX: usize = 16;

impl Parser<'_> {
    pub(super) fn discover(&self, file: &FileCluster) -> Discover {
        if file.endpoints.is_empty() && file.discover.is_empty() {
            let message = format!("`{}` has no endpoints", file.name.value);
            let hint = "write `endpoints`, or say under `discover` where to find them";
            let span = file.endpoints_span;
            self.report.error_with_hint(span, message, hint);
        }
        if let Some(beyond) = file.discover.get(SOURCES_MAX) {
            let message = format!("a cluster has at most {SOURCES_MAX} sources of endpoints");
            self.report.error(beyond.span, message);
        }
        let mut lines: HashMap<String, usize> = HashMap::new();
        let mut sources = Vec::new();
        for written in &file.discover {
            let Some(source) = self.source(written, file) else {
                continue;
            };
            let (label, line) = (source.label(), written.span.line);
            if let Some(line) = lines.insert(label.clone(), line) {
                let message = format!("{label} is a source of this cluster already");
                let hint = format!("see line {line}");
                self.report.error_with_hint(written.span, message, hint);
                continue;
            }
            sources.push(Arc::new(source));
        }
        Discover {
            sources,
            timeout: file.discover_timeout,
            endpoints_max: file.max_endpoints,
        }
    }

    fn source(&self, file: &FileSource, cluster: &FileCluster) -> Option<Source> {
        let place = match &file.places[..] {
            [place] => place,
            [] if file.has_place => return None,
            [] => {
                let message = "this source does not say where to look";
                let hint = "write `file`, `dns`, `srv` or `redis`";
                self.report.error_with_hint(file.span, message, hint);
                return None;
            }
            [_, second, ..] => {
                let message = "one source is one place";
                let hint = "write each as a member of the list";
                self.report.error_with_hint(second.span, message, hint);
                return None;
            }
        };
        let defaults = EndpointDefaults {
            weight: file.weight,
            priority: file.priority,
            zone: file.zone.clone(),
            max_requests: file.max_requests.unwrap_or(cluster.max_requests),
        };
        let found = match &place.value {
            FilePlace::File(path) => {
                let path = self.surroundings.directory.join(path);
                // It may be written later: until then the cluster has what else it has.
                if let Err(problem) = endpoint_file::read(&path, &defaults) {
                    let hint = "until it is in order, nothing is found there";
                    self.report.warning(place.span, problem.to_string(), hint);
                }
                Place::File(path)
            }
            FilePlace::Dns(HostPort::Address(address)) => {
                let message = format!("{address} is no name that could be looked up");
                let hint = "write it under `endpoints`";
                self.report.error_with_hint(place.span, message, hint);
                return None;
            }
            FilePlace::Dns(HostPort::Name(host, port)) => {
                let (host, port) = (host.clone(), *port);
                self.dns(file, DnsQuestion::Addresses { host, port })
            }
            FilePlace::Srv(service) => self.dns(file, DnsQuestion::Service(service.clone())),
            FilePlace::Redis(redis) => Place::Redis(self.redis(redis.as_ref()?)?),
        };
        if let (Place::File(_) | Place::Redis(_), Some((key, span))) = (&found, file.of_names) {
            let message = format!("`{key}` has no effect on this source");
            let hint = "it goes with `dns` and `srv`";
            self.report.error_with_hint(span, message, hint);
        }
        Some(Source {
            place: found,
            defaults,
        })
    }

    fn dns(&self, file: &FileSource, question: DnsQuestion) -> Place {
        let max_ttl = file.max_ttl.value;
        if max_ttl < file.min_ttl {
            let message = "`max_ttl` is shorter than `min_ttl`";
            let hint = "a look is as long after the one before as both allow";
            self.report
                .error_with_hint(file.max_ttl.span, message, hint);
        }
        Place::Dns(DnsPlace {
            question,
            family: file.family,
            resolver: file.resolver,
            min_ttl: file.min_ttl,
            max_ttl: max_ttl.max(file.min_ttl),
        })
    }

    fn redis(&self, file: &FileRedis) -> Option<RedisPlace> {
        let shown = match shown(file.url.value.expose()) {
            Ok(shown) => shown,
            // It may hold a password, so it is not repeated.
            Err(message) => {
                let hint = "write redis://user:password@host:6379/0, or rediss:// for TLS; odd \
                            characters of a password as %40";
                self.report
                    .error_with_hint(file.url.span, format!("`url` {message}"), hint);
                return None;
            }
        };
        if let Some(ca) = file.ca.as_ref().filter(|_| !shown.starts_with("rediss:")) {
            let message = "`ca` has no effect without TLS";
            let hint = "write the address with rediss://, or leave `ca` out";
            self.report.error_with_hint(ca.span, message, hint);
        }
        let directory = self.surroundings.directory;
        let authorities = file.ca.as_ref().map(|ca| directory.join(&ca.value));
        if let (Some(path), Some(ca)) = (&authorities, &file.ca)
            && !path.is_file()
        {
            let message = format!("there is no file {}", path.display());
            let hint = "check the spelling and the directory";
            self.report.error_with_hint(ca.span, message, hint);
        }
        Some(RedisPlace {
            url: file.url.value.clone(),
            shown,
            registry: file.registry.clone(),
            authorities,
            interval: file.interval,
        })
    }
}

/// What may be shown of the address of a Redis: no account, no password.
fn shown(url: &str) -> Result<String, &'static str> {
    let is_tls = url.starts_with("rediss://");
    if !is_tls && !url.starts_with("redis://") {
        return Err("is neither redis:// nor rediss://");
    }
    let unreadable = "cannot be read as an address of a Redis";
    let info = url.into_connection_info().map_err(|_| unreadable)?;
    let database = info.redis_settings().db();
    match info.addr() {
        ConnectionAddr::TcpTls { insecure: true, .. } => {
            Err("asks not to check the certificate; give the authority under `ca`")
        }
        ConnectionAddr::TcpTls { host, port, .. } => {
            Ok(format!("rediss://{host}:{port}/{database}"))
        }
        ConnectionAddr::Tcp(host, port) => Ok(format!("redis://{host}:{port}/{database}")),
        _ => Err(unreadable),
    }
}
