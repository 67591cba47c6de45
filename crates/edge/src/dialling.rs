//! How connections to the endpoints of a cluster are made. Never makes one: that is the engines'.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;

use rustls_pki_types::ServerName;

use crate::config::{self, UpstreamTls};

/// How a connection to one endpoint is made.
#[derive(Clone, Debug, Default)]
pub struct Via {
    /// TLS; `None` is plain.
    pub tls: Option<TlsVia>,
}

/// TLS towards one endpoint.
#[derive(Clone, Debug)]
pub struct TlsVia {
    /// That of the cluster.
    pub tls: Arc<UpstreamTls>,
    /// Who must answer.
    pub name: ServerName<'static>,
}

/// The same for all endpoints of a cluster.
#[derive(Debug)]
pub(crate) struct Dialling {
    tls: Option<Arc<UpstreamTls>>,
    /// Names of endpoints that have one.
    names: HashMap<SocketAddr, ServerName<'static>>,
}

impl Dialling {
    pub(crate) fn new(config: &config::Cluster) -> Self {
        let named = config.endpoints.iter().filter_map(|endpoint| {
            let host = endpoint.host.clone()?;
            matches!(host, ServerName::DnsName(_)).then_some((endpoint.address, host))
        });
        Self {
            tls: config.tls.clone(),
            names: named.collect(),
        }
    }

    pub(crate) fn via(&self, address: SocketAddr) -> Via {
        let tls = self.tls.as_ref().map(|tls| TlsVia {
            tls: Arc::clone(tls),
            name: match &tls.server_name {
                Some(name) => name.clone(),
                None => self.name(address),
            },
        });
        Via { tls }
    }

    pub(crate) fn is_plain(&self) -> bool {
        self.tls.is_none()
    }

    /// The endpoint's own name: that of its host, else its address.
    pub(crate) fn name(&self, address: SocketAddr) -> ServerName<'static> {
        let named = self.names.get(&address).cloned();
        named.unwrap_or_else(|| ServerName::from(address.ip()))
    }

    /// Differs whenever a connection that was made before must not be used: zero where all are plain.
    pub(crate) fn identity(&self) -> u64 {
        let Some(tls) = &self.tls else {
            return 0;
        };
        let mut hasher = DefaultHasher::new();
        tls.identity().hash(&mut hasher);
        let mut names: Vec<_> = self.names.iter().collect();
        names.sort_by_key(|(address, _)| **address);
        names.hash(&mut hasher);
        hasher.finish()
    }
}
