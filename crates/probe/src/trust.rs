//! TLS as a stranger sees it: whatever certificate is shown is looked at, and judged by itself. Never
//! lets a byte of HTTP out on a connection that is not trusted, unless told to.
//!
//! The handshake accepts every certificate but checks all signatures; trust is decided right after it,
//! by the same rules as everywhere. So a bad certificate can be described instead of merely refused.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::plan::Trust;

/// What connections need for TLS.
#[derive(Debug)]
pub(crate) struct Tls {
    pub(crate) config: Arc<ClientConfig>,
    judge: Arc<WebPkiServerVerifier>,
}

/// Why certificates cannot be judged.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The operator's file.
    #[error("cannot read authorities from {0}: {1}")]
    File(String, String),
    /// Neither a file was given nor does this system have one.
    #[error("this system has no list of authorities: name a PEM file with --cacert")]
    None,
}

impl Tls {
    /// Reads the authorities.
    pub(crate) fn new(trust: &Trust) -> Result<Self, TrustError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let roots = roots(trust.authorities.as_deref())?;
        let judge = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .build()
            .map_err(|_| TrustError::None)?;
        let mut config = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect("aws-lc-rs has TLS 1.2 and 1.3")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Onlooker(provider)))
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // Every visitor is a stranger.
        config.resumption = rustls::client::Resumption::disabled();
        Ok(Self {
            config: Arc::new(config),
            judge,
        })
    }

    /// Whether a chain may be believed, by the rules of the web.
    pub(crate) fn judge(
        &self,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Error> {
        let (leaf, rest) = chain.split_first().ok_or(Error::NoCertificatesPresented)?;
        self.judge
            .verify_server_cert(leaf, rest, name, &[], now)
            .map(|_| ())
    }
}

fn roots(file: Option<&Path>) -> Result<RootCertStore, TrustError> {
    let mut roots = RootCertStore::empty();
    if let Some(file) = file {
        let cannot = |error: String| TrustError::File(file.display().to_string(), error);
        let found = CertificateDer::pem_file_iter(file).map_err(|e| cannot(e.to_string()))?;
        for certificate in found {
            let certificate = certificate.map_err(|e| cannot(e.to_string()))?;
            roots.add(certificate).map_err(|e| cannot(e.to_string()))?;
        }
        if roots.is_empty() {
            return Err(cannot("it holds no certificate".to_owned()));
        }
        return Ok(roots);
    }
    for bundle in SYSTEM_BUNDLES {
        let Ok(found) = CertificateDer::pem_file_iter(bundle) else {
            continue;
        };
        roots.add_parsable_certificates(found.flatten());
        if !roots.is_empty() {
            return Ok(roots);
        }
    }
    Err(TrustError::None)
}

/// Debian and Alpine, Fedora, SUSE.
const SYSTEM_BUNDLES: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
];

/// Accepts every certificate: [`Tls::judge`] decides.
#[derive(Debug)]
struct Onlooker(Arc<CryptoProvider>);

impl ServerCertVerifier for Onlooker {
    fn verify_server_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _rest: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
