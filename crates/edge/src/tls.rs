//! TLS termination: which certificate answers which server name, and what versions are spoken.
//! Never uses a process-wide crypto provider.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};

use crate::config::{Certificate, NamePattern, Tls, TlsVersion};

/// What rustls needs to terminate TLS on one listener. Sessions resume by tickets whose keys live
/// as long as the process and rotate by themselves.
pub(crate) fn server_config(tls: &Tls) -> Result<Arc<ServerConfig>, rustls::Error> {
    let versions: &[&rustls::SupportedProtocolVersion] = match tls.min_version {
        TlsVersion::Tls12 => &[&TLS13, &TLS12],
        TlsVersion::Tls13 => &[&TLS13],
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(CertificateStore::new(&tls.certificates)));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    Ok(Arc::new(config))
}

/// Certificates by the names they are valid for.
pub(crate) struct CertificateStore {
    exact: HashMap<String, Arc<CertifiedKey>>,
    /// By the name behind `*.`.
    wildcard: HashMap<String, Arc<CertifiedKey>>,
    /// Answers a missing or unknown server name.
    default: Option<Arc<CertifiedKey>>,
}

impl CertificateStore {
    /// The first certificate given is the default; for a name in several, the first wins.
    pub(crate) fn new(certificates: &[Certificate]) -> Self {
        let mut store = Self {
            exact: HashMap::new(),
            wildcard: HashMap::new(),
            default: certificates.first().map(|first| Arc::clone(&first.key)),
        };
        for certificate in certificates {
            for name in &certificate.names {
                let (map, key) = match name {
                    NamePattern::Exact(name) => (&mut store.exact, name),
                    NamePattern::Wildcard(parent) => (&mut store.wildcard, parent),
                };
                map.entry(key.clone())
                    .or_insert_with(|| Arc::clone(&certificate.key));
            }
        }
        store
    }

    fn choose(&self, server_name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let named = server_name.and_then(|name| {
            // rustls hands names out as sent; certificates are kept in lower case.
            let name = name.to_ascii_lowercase();
            self.exact
                .get(&name)
                .or_else(|| self.wildcard.get(name.split_once('.')?.1))
                .cloned()
        });
        named.or_else(|| self.default.clone())
    }
}

impl ResolvesServerCert for CertificateStore {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.server_name())
    }
}

impl fmt::Debug for CertificateStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateStore")
            .field("exact", &self.exact.keys())
            .field("wildcard", &self.wildcard.keys())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(names: &[NamePattern]) -> Certificate {
        let key = rcgen::KeyPair::generate().unwrap();
        let signed = rcgen::CertificateParams::new(vec!["test.invalid".to_owned()])
            .unwrap()
            .self_signed(&key)
            .unwrap();
        let der = rustls_pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let signer = aws_lc_rs::sign::any_supported_type(&der).unwrap();
        Certificate {
            cert_path: "cert.pem".into(),
            key_path: "key.pem".into(),
            names: names.to_vec(),
            not_after_unix_seconds: i64::MAX,
            key: Arc::new(CertifiedKey::new(vec![signed.der().clone()], signer)),
        }
    }

    fn exact(name: &str) -> NamePattern {
        NamePattern::Exact(name.to_owned())
    }

    #[test]
    fn server_name_picks_exact_before_wildcard_before_default() {
        let default = certificate(&[exact("default.test")]);
        let wildcard = certificate(&[NamePattern::Wildcard("example.com".to_owned())]);
        let named = certificate(&[exact("auth.example.com")]);
        let expected =
            [&default, &wildcard, &named].map(|certificate| Arc::clone(&certificate.key));
        let store = CertificateStore::new(&[default, wildcard, named]);
        let pick = |name| {
            let chosen = store.choose(name).unwrap();
            expected
                .iter()
                .position(|key| Arc::ptr_eq(key, &chosen))
                .unwrap()
        };
        assert_eq!(pick(Some("auth.example.com")), 2);
        assert_eq!(pick(Some("AUTH.example.COM")), 2);
        assert_eq!(pick(Some("other.example.com")), 1);
        assert_eq!(
            pick(Some("a.b.example.com")),
            0,
            "a wildcard covers one label"
        );
        assert_eq!(pick(Some("example.com")), 0);
        assert_eq!(pick(Some("unknown")), 0);
        assert_eq!(pick(None), 0);
    }

    #[test]
    fn without_certificates_nothing_is_chosen() {
        assert!(CertificateStore::new(&[]).choose(Some("a.test")).is_none());
    }
}
