//! Whom health checks trust: a file of authorities, the system's, or anybody. Never falls back from
//! one to another, nor to a process-wide crypto provider.

use std::path::Path;
use std::sync::Arc;

use portcullis_ops::decode::Located;
use portcullis_ops::diagnostic::{Report, Span};
use portcullis_ops::file;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::file::FileCheckTls;

/// The TLS side of a check that speaks `protocol` over it. `None` means that the report has the reason.
pub(super) fn client(
    tls: &FileCheckTls,
    protocol: &str,
    directory: &Path,
    report: &Report<'_>,
) -> Option<Arc<ClientConfig>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .expect("aws-lc-rs has suites for both versions");
    let mut client = match (tls.verify.value, &tls.ca) {
        (false, _) => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody { provider }))
            .with_no_client_auth(),
        (true, Some(ca)) => builder
            .with_root_certificates(from_file(ca, directory, report)?)
            .with_no_client_auth(),
        (true, None) => builder
            .with_root_certificates(of_the_system(tls.span, report)?)
            .with_no_client_auth(),
    };
    client.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    // A resumed session would spare the endpoint from showing its certificate again.
    client.resumption = Resumption::disabled();
    Some(Arc::new(client))
}

fn from_file(ca: &Located<String>, directory: &Path, report: &Report<'_>) -> Option<RootCertStore> {
    let path = directory.join(&ca.value);
    let pem = match file::read(&path, PEM_BYTES_MAX) {
        Ok(pem) => pem,
        Err(error) => {
            match error.hint() {
                Some(hint) => report.error_with_hint(ca.span, error.to_string(), hint),
                None => report.error(ca.span, error.to_string()),
            }
            return None;
        }
    };
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let mut roots = RootCertStore::empty();
    let is_sound = certificates.is_ok_and(|certificates| {
        !certificates.is_empty() && certificates.into_iter().all(|der| roots.add(der).is_ok())
    });
    if !is_sound {
        let message = format!("{} holds no usable certificates", path.display());
        let hint = "a PEM file with -----BEGIN CERTIFICATE-----";
        report.error_with_hint(ca.span, message, hint);
        return None;
    }
    Some(roots)
}

fn of_the_system(span: Span, report: &Report<'_>) -> Option<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs().unwrap_or_default();
    roots.add_parsable_certificates(found);
    if roots.is_empty() {
        let message = "this system trusts no certificate authority";
        let hint = "give `ca` the authority of the endpoint's certificate";
        report.error_with_hint(span, message, hint);
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

/// A few hundred authorities fit.
const PEM_BYTES_MAX: u64 = 1024 * 1024;
