//! Whom the edge trusts when it connects to somebody: a file of authorities, the system's, or anybody.
//! Never falls back from one to another, nor to a process-wide crypto provider.

use std::path::Path;
use std::sync::Arc;

use portcullis_ops::decode::Located;
use portcullis_ops::diagnostic::{Report, Span};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::TlsVersion;
use super::problem::{Problem, read};

/// Whom to trust.
pub(super) enum Trust {
    /// These authorities, which came from a file.
    File(Vec<CertificateDer<'static>>, Arc<RootCertStore>),
    /// Those of the system.
    System(Arc<RootCertStore>),
    /// Whoever answers, as the operator asked.
    Anybody,
}

/// What the edge does as a client beside trusting somebody.
pub(super) struct Manner<'a> {
    /// The protocol spoken over TLS.
    pub(super) protocol: &'a str,
    pub(super) min_version: TlsVersion,
    /// What it shows if asked.
    pub(super) certificate: Option<Arc<CertifiedKey>>,
    /// Whether sessions are remembered. A resumed one spares the other side from showing its
    /// certificate again, which a health check wants to see.
    pub(super) resumes: bool,
}

impl Manner<'_> {
    /// Of whoever only asks.
    pub(super) fn asking(protocol: &str) -> Manner<'_> {
        Manner {
            protocol,
            min_version: TlsVersion::Tls12,
            certificate: None,
            resumes: false,
        }
    }
}

impl Trust {
    /// `None` means that the report has the reason.
    pub(super) fn read(
        ca: Option<&Located<String>>,
        is_verified: bool,
        span: Span,
        directory: &Path,
        report: &Report<'_>,
    ) -> Option<Self> {
        let mut problems = Vec::new();
        let path = ca.map(|ca| directory.join(&ca.value));
        let trust = Self::load(path.as_deref(), is_verified, &mut problems);
        for problem in problems {
            problem.tell(ca.map_or(span, |ca| ca.span), report);
        }
        trust
    }

    /// `None` means that one of the problems is fatal.
    pub(super) fn load(
        ca: Option<&Path>,
        is_verified: bool,
        problems: &mut Vec<Problem>,
    ) -> Option<Self> {
        Some(match ca {
            _ if !is_verified => Self::Anybody,
            Some(ca) => {
                let (authorities, roots) = from_file(ca, problems)?;
                Self::File(authorities, Arc::new(roots))
            }
            None => Self::System(Arc::new(of_the_system(problems)?)),
        })
    }

    /// The side of a TLS client.
    pub(super) fn client(&self, manner: Manner<'_>) -> Arc<ClientConfig> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let versions = match manner.min_version {
            TlsVersion::Tls12 => &[&TLS13, &TLS12][..],
            TlsVersion::Tls13 => &[&TLS13][..],
        };
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .expect("aws-lc-rs has suites for both versions");
        let builder = match self {
            Self::Anybody => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Anybody { provider })),
            Self::File(_, roots) | Self::System(roots) => {
                builder.with_root_certificates(Arc::clone(roots))
            }
        };
        let mut client = match manner.certificate {
            Some(own) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own))),
            None => builder.with_no_client_auth(),
        };
        client.alpn_protocols = vec![manner.protocol.as_bytes().to_vec()];
        client.resumption = match manner.resumes {
            true => Resumption::in_memory_sessions(SESSIONS_MAX),
            false => Resumption::disabled(),
        };
        Arc::new(client)
    }
}

fn from_file(
    path: &Path,
    problems: &mut Vec<Problem>,
) -> Option<(Vec<CertificateDer<'static>>, RootCertStore)> {
    let pem = read(path, problems)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let certificates = certificates.unwrap_or_default();
    let mut roots = RootCertStore::empty();
    let mut each = certificates.iter().cloned();
    let is_sound = !certificates.is_empty() && each.all(|der| roots.add(der).is_ok());
    if !is_sound {
        let message = format!("{} holds no usable certificates", path.display());
        let hint = "a PEM file with -----BEGIN CERTIFICATE-----";
        problems.push(Problem::fatal(path, message, hint));
        return None;
    }
    Some((certificates, roots))
}

fn of_the_system(problems: &mut Vec<Problem>) -> Option<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs().unwrap_or_default();
    roots.add_parsable_certificates(found);
    if roots.is_empty() {
        let message = "this system trusts no certificate authority".to_owned();
        let hint = "give `ca` the authority of the endpoint's certificate";
        problems.push(Problem::fatal(Path::new(""), message, hint));
        return None;
    }
    Some(roots)
}

/// Takes every certificate, as the operator asked; the handshake must still be sound.
#[derive(Debug)]
struct Anybody {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

/// Names of endpoints in one cluster whose sessions are remembered.
const SESSIONS_MAX: usize = 1024;
