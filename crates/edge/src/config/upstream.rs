//! How connections to the endpoints of a cluster are made, after parsing. Never holds a string that
//! somebody must parse again.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;

use portcullis_ops::Secret;
use rustls::ClientConfig;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, ServerName};

use super::TlsVersion;

/// What endpoints speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, agreed on in the TLS handshake.
    Http2,
    /// HTTP/2 in the clear, with prior knowledge.
    Http2Clear,
}

/// How endpoints are told whose connection it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProxyVersion {
    /// PROXY protocol, a line of text.
    V1,
    /// PROXY protocol, binary.
    V2,
}

/// TLS towards the endpoints of a cluster.
#[derive(Clone)]
pub struct UpstreamTls {
    /// Name sent and verified (default: the endpoint's host name, else its address).
    pub server_name: Option<ServerName<'static>>,
    /// The authorities trusted, if they are not the system's.
    pub ca_path: Option<PathBuf>,
    /// What is in that file.
    pub authorities: Option<Vec<CertificateDer<'static>>>,
    /// What the edge shows of itself, if anything.
    pub certificate: Option<ClientCertificate>,
    /// Whether certificates are verified (default true).
    pub is_verified: bool,
    /// Older versions are not spoken (default 1.2).
    pub min_version: TlsVersion,
    /// All of it, ready to use. Remembers sessions.
    pub client: Arc<ClientConfig>,
}

/// A certificate of the edge's own, for endpoints that ask for one.
#[derive(Clone)]
pub struct ClientCertificate {
    /// File with the chain, leaf first, PEM.
    pub cert_path: PathBuf,
    /// File with the private key, PEM.
    pub key_path: PathBuf,
    /// The chain, leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The private key.
    pub key: Secret<Vec<u8>>,
    /// Both, ready for rustls.
    pub certified: Arc<CertifiedKey>,
}

impl UpstreamTls {
    /// Differs whenever any of the settings does, contents of files included: connections made under
    /// others must not be used. Within one build of the program it is fixed.
    pub fn identity(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.server_name.hash(&mut hasher);
        self.authorities.hash(&mut hasher);
        let chain = self.certificate.as_ref().map(|own| &own.chain);
        chain.hash(&mut hasher);
        self.is_verified.hash(&mut hasher);
        (self.min_version == TlsVersion::Tls13).hash(&mut hasher);
        hasher.finish()
    }
}

impl fmt::Debug for UpstreamTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamTls")
            .field("server_name", &self.server_name)
            .field("ca_path", &self.ca_path)
            .field("certificate", &self.certificate)
            .field("is_verified", &self.is_verified)
            .field("min_version", &self.min_version)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate")
            .field("cert_path", &self.cert_path)
            .field("key_path", &self.key_path)
            .finish_non_exhaustive()
    }
}
