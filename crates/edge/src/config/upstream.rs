//! How connections to the endpoints of a cluster are made, after parsing. Never holds a string that
//! somebody must parse again.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;

use portcullis_ops::Secret;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, ServerName};

use super::{LiveClient, TlsVersion};

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
    /// Older versions are not spoken (default 1.2).
    pub min_version: TlsVersion,
    /// Whom the edge trusts and what it shows of itself, as the files say it now. Remembers sessions.
    pub live: Arc<LiveClient>,
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
    /// Differs whenever any of the settings does, but for what files hold, which
    /// [`LiveClient::current`] tells: connections made under others must not be used. Within one build
    /// of the program it is fixed.
    pub fn identity(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.server_name.hash(&mut hasher);
        self.live.files().is_verified.hash(&mut hasher);
        (self.min_version == TlsVersion::Tls13).hash(&mut hasher);
        hasher.finish()
    }
}

impl fmt::Debug for UpstreamTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamTls")
            .field("server_name", &self.server_name)
            .field("min_version", &self.min_version)
            .field("live", &self.live)
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
