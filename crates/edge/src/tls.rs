//! TLS termination: which certificate, rules and keys answer a ClientHello. Never reads a socket,
//! and never uses a process-wide crypto provider.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, ResolvesServerCert, ServerSessionMemoryCache};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};

use crate::config::{Tls, TlsVersion, UnknownName};

mod store;
mod tickets;

use store::CertificateStore;
use tickets::{TicketSecrets, Tickets};

/// What terminates the TLS of one listener.
#[derive(Debug)]
pub(crate) struct Terminator {
    certificates: Arc<Resolver>,
    unknown_name: UnknownName,
    config: Arc<ServerConfig>,
}

impl Terminator {
    /// Ready for the first handshake.
    pub(crate) fn new(tls: &Tls) -> Result<Self, rustls::Error> {
        let certificates = Arc::new(Resolver(ArcSwap::from_pointee(CertificateStore::new(
            &tls.certificates,
        ))));
        let secrets = Arc::new(match &tls.ticket_keys {
            Some(keys) => TicketSecrets::shared(keys.secrets.clone()),
            None => TicketSecrets::own(),
        });
        let config = server_config(tls.min_version, &certificates, &secrets)?;
        Ok(Self {
            certificates,
            unknown_name: tls.unknown_name,
            config: Arc::new(config),
        })
    }

    /// How to go on with a client that asks for this name, lower case; `None` refuses it.
    pub(crate) fn choose(&self, server_name: Option<&str>) -> Option<Arc<ServerConfig>> {
        let is_known = server_name.is_some_and(|name| self.certificates.0.load().knows(name));
        let goes_on = is_known || self.unknown_name == UnknownName::Default;
        goes_on.then(|| Arc::clone(&self.config))
    }
}

/// The certificates in force.
#[derive(Debug)]
struct Resolver(ArcSwap<CertificateStore>);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let store = self.0.load();
        store.choose(hello.server_name(), hello.signature_schemes())
    }
}

fn server_config(
    min_version: TlsVersion,
    certificates: &Arc<Resolver>,
    secrets: &Arc<TicketSecrets>,
) -> Result<ServerConfig, rustls::Error> {
    let versions: &[&rustls::SupportedProtocolVersion] = match min_version {
        TlsVersion::Tls12 => &[&TLS13, &TLS12],
        TlsVersion::Tls13 => &[&TLS13],
    };
    // X25519MLKEM768 comes first in the provider's list: what is recorded today shall not be read
    // by the computers of tomorrow.
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::clone(certificates) as Arc<dyn ResolvesServerCert>);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = Arc::new(Tickets::new(Arc::clone(secrets), [0; 32]));
    // For TLS 1.2 clients that know no tickets.
    config.session_storage = ServerSessionMemoryCache::new(SESSIONS_MAX);
    Ok(config)
}

/// Sessions by id that one process remembers, each of a few hundred bytes.
const SESSIONS_MAX: usize = 4096;
