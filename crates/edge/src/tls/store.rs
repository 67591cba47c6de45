//! Certificates by the server names they are valid for. Never reads a file.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::sign::CertifiedKey;

use crate::config::{Certificate, NamePattern};

/// Several of one name differ in the kind of their key.
type Kinds = Vec<Arc<CertifiedKey>>;

/// One set of certificates; replaced as a whole.
pub(super) struct CertificateStore {
    exact: HashMap<String, Kinds>,
    /// By the name behind `*.`.
    wildcard: HashMap<String, Kinds>,
    /// Answer a missing or unknown server name.
    default: Kinds,
}

impl CertificateStore {
    /// The first certificate given is the default, with others for the same names; for a name in
    /// several, the first that the client can verify wins.
    pub(super) fn new<'c>(certificates: impl IntoIterator<Item = &'c Certificate>) -> Self {
        let mut store = Self {
            exact: HashMap::new(),
            wildcard: HashMap::new(),
            default: Vec::new(),
        };
        let mut first: Option<&Certificate> = None;
        for certificate in certificates {
            if first.get_or_insert(certificate).names == certificate.names {
                store.default.push(Arc::clone(&certificate.key));
            }
            for name in &certificate.names {
                let (map, key) = match name {
                    NamePattern::Exact(name) => (&mut store.exact, name),
                    NamePattern::Wildcard(parent) => (&mut store.wildcard, parent),
                };
                let kinds = map.entry(key.clone()).or_default();
                kinds.push(Arc::clone(&certificate.key));
            }
        }
        store
    }

    /// Whether a certificate is valid for this name, lower case.
    pub(super) fn knows(&self, name: &str) -> bool {
        self.named(name).is_some()
    }

    fn named(&self, name: &str) -> Option<&Kinds> {
        self.exact
            .get(name)
            .or_else(|| self.wildcard.get(name.split_once('.')?.1))
    }

    /// The certificate for a name as the client wrote it, and for the signatures that it verifies.
    pub(super) fn choose(
        &self,
        server_name: Option<&str>,
        schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        let name = server_name.map(str::to_ascii_lowercase);
        let named = name.and_then(|name| self.named(&name));
        let kinds = named.unwrap_or(&self.default);
        let fits = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(schemes).is_some();
        kinds.iter().find(fits).or(kinds.first()).cloned()
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
    use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, SignatureAlgorithm};
    use rustls::crypto::aws_lc_rs;

    use super::*;

    fn with_key(names: &[NamePattern], kind: &'static SignatureAlgorithm) -> Certificate {
        let key = KeyPair::generate_for(kind).unwrap();
        let signed = rcgen::CertificateParams::new(vec!["test.invalid".to_owned()])
            .unwrap()
            .self_signed(&key)
            .unwrap();
        let der = rustls_pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let signer = aws_lc_rs::sign::any_supported_type(&der).unwrap();
        Certificate {
            files: crate::config::CertificateFiles {
                cert: "cert.pem".into(),
                key: "key.pem".into(),
                ocsp: None,
            },
            names: names.to_vec(),
            not_after_unix_seconds: i64::MAX,
            ocsp_until: None,
            key: Arc::new(CertifiedKey::new(vec![signed.der().clone()], signer)),
        }
    }

    fn certificate(names: &[NamePattern]) -> Certificate {
        with_key(names, &PKCS_ECDSA_P256_SHA256)
    }

    fn exact(name: &str) -> NamePattern {
        NamePattern::Exact(name.to_owned())
    }

    const ECDSA: &[SignatureScheme] = &[SignatureScheme::ECDSA_NISTP256_SHA256];

    #[test]
    fn server_name_picks_exact_before_wildcard_before_default() {
        let certificates = [
            certificate(&[exact("default.test")]),
            certificate(&[NamePattern::Wildcard("example.com".to_owned())]),
            certificate(&[exact("auth.example.com")]),
        ];
        let store = CertificateStore::new(&certificates);
        let pick = |name| {
            let chosen = store.choose(name, ECDSA).unwrap();
            let keys = certificates.iter().map(|one| &one.key);
            keys.into_iter()
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
        assert!(store.knows("x.example.com") && !store.knows("example.com"));
    }

    #[test]
    fn of_two_kinds_of_key_the_client_gets_what_it_can_verify() {
        let names = [exact("a.test")];
        let both = [certificate(&names), with_key(&names, &PKCS_ED25519)];
        let store = CertificateStore::new(&both);
        for name in [Some("a.test"), None] {
            let pick = |schemes| store.choose(name, schemes).unwrap();
            assert!(Arc::ptr_eq(&pick(ECDSA), &both[0].key));
            assert!(Arc::ptr_eq(
                &pick(&[SignatureScheme::ED25519]),
                &both[1].key
            ));
            assert!(
                Arc::ptr_eq(&pick(&[]), &both[0].key),
                "the handshake then says why not"
            );
        }
    }

    #[test]
    fn without_certificates_nothing_is_chosen() {
        assert!(
            CertificateStore::new(&[])
                .choose(Some("a.test"), ECDSA)
                .is_none()
        );
    }
}
