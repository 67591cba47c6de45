//! Clusters: endpoints with addresses, checks that can end in time. Never connects to anything.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use portcullis_ops::decode::Located;
use portcullis_ops::diagnostic::Report;
use rustls_pki_types::ServerName;

use super::super::discovery::EndpointDefaults;
use super::super::file::{FileCluster, FileEndpoint};
use super::super::names::{self, HostPort};
use super::super::{Cluster, Endpoint};
use super::{Parser, Resolve};

impl Parser<'_> {
    pub(super) fn clusters(&self) -> Vec<Cluster> {
        self.file
            .clusters
            .iter()
            .map(|cluster| self.parse_cluster(cluster))
            .collect()
    }

    fn parse_cluster(&self, file: &FileCluster) -> Cluster {
        self.check_weights(file);
        self.check_priorities(file);
        self.check_containment(file);
        let tls = file
            .tls
            .as_ref()
            .and_then(|tls| self.upstream_tls(tls, file.protocol.value));
        self.check_protocol(file);
        Cluster {
            name: file.name.value.clone(),
            balance: self.balance(file),
            endpoints: self.endpoints(file),
            discover: self.discover(file),
            health: self.health(&file.health, tls.as_ref(), file.protocol.value),
            ejection: file.ejection.as_ref().map(|file| file.ejection.clone()),
            breaker: file.breaker.as_ref().map(|file| file.breaker.clone()),
            slow_start: file.slow_start,
            queue: file.queue,
            retries: self.retries(&file.retries),
            timeouts: file.timeouts,
            tls: tls.map(|(tls, _)| Arc::new(tls)),
            protocol: file.protocol.value,
            proxy_protocol: file.proxy_protocol,
            affinity: file
                .affinity
                .as_ref()
                .map(|affinity| self.affinity(affinity)),
        }
    }

    fn endpoints(&self, file: &FileCluster) -> Vec<Endpoint> {
        let defaults = EndpointDefaults {
            weight: DEFAULT_WEIGHT,
            priority: 0,
            zone: None,
            max_requests: file.max_requests,
        };
        let resolve = self.surroundings.resolve;
        endpoints(&file.endpoints, &defaults, resolve, self.report)
    }
}

/// One endpoint for each address; what is not written with one is as `defaults` say.
pub(in crate::config) fn endpoints(
    written: &[FileEndpoint],
    defaults: &EndpointDefaults,
    resolve: &Resolve<'_>,
    report: &Report<'_>,
) -> Vec<Endpoint> {
    let mut lines: HashMap<SocketAddr, usize> = HashMap::new();
    let mut endpoints = Vec::new();
    for written in written {
        let Some(located) = &written.address else {
            continue;
        };
        for address in addresses(located, resolve, report) {
            if let Some(line) = lines.insert(address, located.span.line) {
                let message = format!("`{address}` is in this cluster already");
                let hint = format!("see line {line}; for a larger share give it a `weight`");
                report.error_with_hint(located.span, message, hint);
                continue;
            }
            let zone = written.zone.as_ref().map(|zone| zone.value.clone());
            endpoints.push(Endpoint {
                address,
                host: server_name(&located.value),
                weight: or(&written.weight, defaults.weight),
                priority: or(&written.priority, defaults.priority),
                zone: zone.or_else(|| defaults.zone.clone()),
                max_requests: written.max_requests.unwrap_or(defaults.max_requests),
            });
        }
    }
    endpoints
}

fn or<T: Copy>(written: &Located<T>, default: T) -> T {
    match written.is_written {
        true => written.value,
        false => default,
    }
}

/// One server often has an IPv4 and an IPv6 address; counted twice it would get twice its share.
/// So IPv4 is used when there is any.
fn addresses(
    written: &Located<HostPort>,
    resolve: &Resolve<'_>,
    report: &Report<'_>,
) -> Vec<SocketAddr> {
    let (host, port) = match &written.value {
        HostPort::Address(address) => return vec![*address],
        HostPort::Name(host, port) => (host, *port),
    };
    let mut found = match resolve(host, port) {
        Ok(found) => found,
        Err(error) => {
            let message = format!(
                "cannot find the address of `{}`: {error}",
                names::shown(host)
            );
            let hint = "check the name and the name service, or write the address itself";
            report.error_with_hint(written.span, message, hint);
            return Vec::new();
        }
    };
    if found.iter().any(SocketAddr::is_ipv4) {
        found.retain(SocketAddr::is_ipv4);
    }
    found.sort();
    found.dedup();
    if found.is_empty() {
        let message = format!("`{host}` has no address");
        report.error_with_hint(written.span, message, "write the address itself");
    }
    found
}

/// Under which a certificate is expected. A name that none can carry is as good as none: the address
/// of an endpoint is not in its certificate either.
fn server_name(written: &HostPort) -> Option<ServerName<'static>> {
    match written {
        HostPort::Address(address) => Some(ServerName::from(address.ip())),
        HostPort::Name(host, _) => ServerName::try_from(host.clone()).ok(),
    }
}

const DEFAULT_WEIGHT: u16 = 1;
