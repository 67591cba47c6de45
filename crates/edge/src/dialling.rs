//! How connections to the endpoints of a cluster are made. Never makes one: that is the engines'.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use rustls_pki_types::ServerName;

use crate::config::{self, CurrentClient, Protocol, ProxyVersion, UpstreamTls};
use crate::listener::{Origin, of_client, of_ourselves};

/// How a connection to one endpoint is made.
#[derive(Clone, Debug, Default)]
pub struct Via {
    /// TLS; `None` is plain.
    pub tls: Option<TlsVia>,
    /// What is written before anything else: a PROXY header.
    pub preamble: Option<Bytes>,
    /// HTTP/2 is spoken.
    pub is_http2: bool,
}

impl Via {
    /// Differs whenever files of TLS changed, or who must answer: a connection that was made before must not be used.
    pub(crate) fn identity(&self) -> u64 {
        let Some(tls) = &self.tls else {
            return 0;
        };
        // Not that of all endpoints: others that come must not part this one from its connections.
        let mut hasher = DefaultHasher::new();
        (tls.current.identity, &tls.name).hash(&mut hasher);
        hasher.finish()
    }

    /// Whether it is over TLS.
    pub fn is_secure(&self) -> bool {
        self.tls.is_some()
    }
}

/// TLS towards one endpoint.
#[derive(Clone, Debug)]
pub struct TlsVia {
    /// That of the cluster, as its files say it now.
    pub current: Arc<CurrentClient>,
    /// Who must answer.
    pub name: ServerName<'static>,
}

/// The same for all endpoints of a cluster.
#[derive(Debug)]
pub(crate) struct Dialling {
    tls: Option<Arc<UpstreamTls>>,
    proxy_protocol: Option<ProxyVersion>,
    protocol: Protocol,
    /// Names of endpoints that have one.
    names: HashMap<SocketAddr, ServerName<'static>>,
}

impl Dialling {
    /// For these endpoints, written or found.
    pub(crate) fn new(config: &config::Cluster, endpoints: &[config::Endpoint]) -> Self {
        let named = endpoints.iter().filter_map(|endpoint| {
            let host = endpoint.host.clone()?;
            matches!(host, ServerName::DnsName(_)).then_some((endpoint.address, host))
        });
        Self {
            tls: config.tls.clone(),
            proxy_protocol: config.proxy_protocol,
            protocol: config.protocol,
            names: named.collect(),
        }
    }

    /// To an endpoint, for a client that speaks with us at a local address.
    pub(crate) fn via(&self, address: SocketAddr, origin: Origin) -> Via {
        let tls = self.tls.as_ref().map(|tls| TlsVia {
            current: tls.live.current(),
            name: match &tls.server_name {
                Some(name) => name.clone(),
                None => self.name(address),
            },
        });
        let preamble = self
            .proxy_protocol
            .map(|version| of_client(version, origin));
        Via {
            tls,
            preamble: preamble.map(Bytes::from),
            is_http2: self.is_http2(),
        }
    }

    /// What a connection of our own begins with.
    pub(crate) fn own_preamble(&self) -> Option<Bytes> {
        let preamble = self.proxy_protocol.map(of_ourselves);
        preamble.map(Bytes::from)
    }

    /// Which pooled connections are for a client: those of nobody else, where it is told whose they
    /// are.
    pub(crate) fn share(&self, key: u64, origin: Origin) -> u64 {
        if self.proxy_protocol.is_none() {
            return key;
        }
        let mut hasher = DefaultHasher::new();
        (key, origin.source, origin.destination).hash(&mut hasher);
        hasher.finish()
    }

    pub(crate) fn is_plain(&self) -> bool {
        self.tls.is_none() && self.proxy_protocol.is_none() && !self.is_http2()
    }

    pub(crate) fn is_http2(&self) -> bool {
        self.protocol != Protocol::Http1
    }

    /// The endpoint's own name: that of its host, else its address.
    pub(crate) fn name(&self, address: SocketAddr) -> ServerName<'static> {
        let named = self.names.get(&address).cloned();
        named.unwrap_or_else(|| ServerName::from(address.ip()))
    }

    /// Differs whenever a connection that was made before must not be used, but for what files hold:
    /// zero where all are plain.
    pub(crate) fn identity(&self) -> u64 {
        if self.is_plain() {
            return 0;
        }
        let mut hasher = DefaultHasher::new();
        self.tls
            .as_ref()
            .map(|tls| tls.identity())
            .hash(&mut hasher);
        (self.proxy_protocol, self.protocol).hash(&mut hasher);
        hasher.finish()
    }
}
