//! Endpoints under a name of the DNS. Never asks more often than the configuration allows, whatever a
//! TTL says, and never takes a failure for an answer.
//!
//! hickory asks; it is made anew for each look, so that `/etc/resolv.conf` may change and nothing is
//! remembered but what [`Names`] holds: the last good answer to each question.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use rustls_pki_types::ServerName;

use super::Desk;
use super::service::tiers;
use crate::config::{DnsPlace, DnsQuestion, Endpoint, EndpointDefaults, Family};

/// For one question to one name server.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(2);
/// For all questions of one look.
const PATIENCE: Duration = Duration::from_secs(10);
/// After a failure, doubled with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Targets of one service whose addresses are asked for.
const TARGETS_MAX: usize = 100;

/// What one look found.
struct Answer {
    endpoints: Vec<Endpoint>,
    ttl: Duration,
    /// What failed beside it, and has its last good answer in here.
    problem: Option<String>,
}

/// Follows a name for ever.
pub(super) async fn follow(desk: &Desk, place: &DnsPlace, defaults: &EndpointDefaults) {
    let mut names = Names::default();
    let mut pause = FIRST_PAUSE;
    loop {
        let looked = tokio::time::timeout(PATIENCE, look(&mut names, place, defaults)).await;
        let wait = match looked {
            Ok(Ok(answer)) if answer.problem.is_none() && !answer.endpoints.is_empty() => {
                pause = FIRST_PAUSE;
                desk.found(answer.endpoints);
                answer.ttl.clamp(place.min_ttl, place.max_ttl)
            }
            failed => {
                match failed {
                    Ok(Ok(answer)) => desk.found_but(answer.endpoints, answer.problem),
                    Ok(Err(error)) => desk.failed(error.to_string()),
                    Err(_) => desk.failed(format!("no answer within {} s", PATIENCE.as_secs())),
                }
                let wait = pause.clamp(place.min_ttl, place.max_ttl);
                pause = (pause * 2).min(LONGEST_PAUSE);
                wait
            }
        };
        tokio::time::sleep(wait).await;
    }
}

async fn look(
    names: &mut Names,
    place: &DnsPlace,
    defaults: &EndpointDefaults,
) -> Result<Answer, NetError> {
    let resolver = resolver(place.resolver)?;
    match &place.question {
        DnsQuestion::Addresses { host, port } => {
            let found = names.addresses(&resolver, host, place.family).await;
            Ok(Answer {
                endpoints: endpoints(&found.addresses, host, *port, defaults),
                ttl: found.ttl,
                problem: found.problem,
            })
        }
        DnsQuestion::Service(service) => {
            of_service(names, &resolver, service, place.family, defaults).await
        }
    }
}

/// The targets of a service with their addresses.
async fn of_service(
    names: &mut Names,
    resolver: &TokioResolver,
    service: &str,
    family: Family,
    defaults: &EndpointDefaults,
) -> Result<Answer, NetError> {
    let mut answer = Answer {
        endpoints: Vec::new(),
        ttl: Duration::MAX,
        problem: None,
    };
    let records = match resolver.lookup(service, RecordType::SRV).await {
        Ok(records) => records,
        Err(error) if is_empty(&error) => return Ok(answer),
        Err(error) => return Err(error),
    };
    let mut targets: Vec<SRV> = Vec::new();
    for record in records.answers() {
        if let RData::SRV(target) = &record.data {
            answer.ttl = answer.ttl.min(Duration::from_secs(record.ttl.into()));
            // A dot says that the service is not offered (RFC 2782).
            if !target.target.is_root() {
                targets.push(target.clone());
            }
        }
    }
    targets.sort_by_key(|one| (one.priority, one.port, one.target.to_ascii()));
    targets.truncate(TARGETS_MAX);
    let ranks: Vec<_> = targets
        .iter()
        .map(|one| (one.priority, one.weight))
        .collect();
    for (target, (tier, weight)) in targets.iter().zip(tiers(&ranks)) {
        let host = without_dot(&target.target);
        let found = names.addresses(resolver, &host, family).await;
        answer.ttl = answer.ttl.min(found.ttl);
        answer.problem = answer.problem.or(found.problem);
        let of_target = EndpointDefaults {
            weight,
            priority: defaults.priority.saturating_add(tier),
            ..defaults.clone()
        };
        let found = endpoints(&found.addresses, &host, target.port, &of_target);
        answer.endpoints.extend(found);
    }
    Ok(answer)
}

/// The last good answer to each question for addresses.
#[derive(Default)]
struct Names {
    last: HashMap<(String, RecordType), Vec<IpAddr>>,
}

/// Addresses of one name.
struct Found {
    addresses: Vec<IpAddr>,
    ttl: Duration,
    problem: Option<String>,
}

impl Names {
    /// Both kinds of addresses. Where one fails, its last good answer stands beside the other's.
    async fn addresses(&mut self, resolver: &TokioResolver, host: &str, family: Family) -> Found {
        let mut found = Found {
            addresses: Vec::new(),
            ttl: Duration::MAX,
            problem: None,
        };
        for kind in kinds(family) {
            let question = (host.to_owned(), *kind);
            match resolver.lookup(host, *kind).await {
                Ok(answer) => {
                    let mut addresses = Vec::new();
                    for record in answer.answers() {
                        let ttl = Duration::from_secs(record.ttl.into());
                        found.ttl = found.ttl.min(ttl);
                        match &record.data {
                            RData::A(address) => addresses.push(IpAddr::V4(address.0)),
                            RData::AAAA(address) => addresses.push(IpAddr::V6(address.0)),
                            // On the way there: CNAME.
                            _ => {}
                        }
                    }
                    found.addresses.extend_from_slice(&addresses);
                    self.last.insert(question, addresses);
                }
                Err(error) if is_empty(&error) => {
                    self.last.remove(&question);
                }
                Err(error) => {
                    let last = self.last.get(&question);
                    found.addresses.extend(last.into_iter().flatten());
                    found
                        .problem
                        .get_or_insert(format!("{kind} of {host}: {error}"));
                }
            }
        }
        found
    }
}

fn kinds(family: Family) -> &'static [RecordType] {
    match family {
        Family::All => &[RecordType::A, RecordType::AAAA],
        Family::Ipv4 => &[RecordType::A],
        Family::Ipv6 => &[RecordType::AAAA],
    }
}

/// Whether a name server said that there is nothing, which is an answer.
fn is_empty(error: &NetError) -> bool {
    let NetError::Dns(DnsError::NoRecordsFound(none)) = error else {
        return false;
    };
    matches!(
        none.response_code,
        ResponseCode::NoError | ResponseCode::NXDomain
    )
}

fn endpoints(
    addresses: &[IpAddr],
    host: &str,
    port: u16,
    defaults: &EndpointDefaults,
) -> Vec<Endpoint> {
    let endpoint = |ip: &IpAddr| Endpoint {
        address: SocketAddr::new(*ip, port),
        host: ServerName::try_from(host.to_owned()).ok(),
        weight: defaults.weight,
        priority: defaults.priority,
        zone: defaults.zone.clone(),
        max_requests: defaults.max_requests,
    };
    let reachable = addresses.iter().filter(|ip| !ip.is_unspecified());
    reachable.filter(|_| port > 0).map(endpoint).collect()
}

fn without_dot(name: &Name) -> String {
    let name = name.to_ascii();
    name.strip_suffix('.').unwrap_or(&name).to_owned()
}

/// One that asks this name server, else those of the system.
fn resolver(server: Option<SocketAddr>) -> Result<TokioResolver, NetError> {
    let mut builder = match server {
        None => TokioResolver::builder_tokio()?,
        Some(server) => {
            let mut kinds = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
            for kind in &mut kinds {
                kind.port = server.port();
            }
            let server = NameServerConfig::new(server.ip(), true, kinds.to_vec());
            let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        }
    };
    let options = builder.options_mut();
    options.timeout = QUESTION_TIMEOUT;
    options.attempts = 1;
    options.cache_size = 0;
    builder.build()
}
