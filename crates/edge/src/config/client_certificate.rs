//! The certificate that the edge shows to endpoints that ask for one, from its files. Never shows what
//! a key file holds.

use std::path::Path;
use std::sync::Arc;

use portcullis_ops::Secret;
use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::ClientCertificate;
use super::problem::{Problem, read};

/// Reads both files and matches them. `None` means that one of the problems is fatal.
pub(super) fn load(
    cert: &Path,
    key: &Path,
    now_unix_seconds: i64,
    problems: &mut Vec<Problem>,
) -> Option<ClientCertificate> {
    let pem_of_cert = read(cert, problems);
    let pem_of_key = read(key, problems).map(Secret::new);
    let (pem_of_cert, pem_of_key) = (pem_of_cert?, pem_of_key?);
    let (shown_cert, shown_key) = (cert.display(), key.display());
    let mut refuse = |path, message: String, hint: &str| {
        problems.push(Problem::fatal(path, message, hint));
        None
    };
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&pem_of_cert)
        .collect::<Result<_, _>>()
        .unwrap_or_default();
    let Some(leaf) = chain
        .first()
        .and_then(|leaf| X509Certificate::from_der(leaf).ok())
    else {
        let hint = "a PEM file with -----BEGIN CERTIFICATE-----, the edge's own first";
        let message = format!("{shown_cert} holds no usable certificate");
        return refuse(cert, message, hint);
    };
    let until = &leaf.1.validity().not_after;
    if until.timestamp() < now_unix_seconds {
        let message = format!("the certificate in {shown_cert} expired on {until}");
        return refuse(cert, message, "renew it");
    }
    let Ok(der) = PrivateKeyDer::from_pem_slice(pem_of_key.expose()) else {
        let message = format!("{shown_key} holds no usable private key");
        return refuse(key, message, OF_A_KEY);
    };
    let secret = Secret::new(der.secret_der().to_vec());
    let provider = aws_lc_rs::default_provider();
    let Ok(certified) = CertifiedKey::from_der(chain.clone(), der, &provider) else {
        let message = format!("{shown_key} is not the key of the certificate in {shown_cert}");
        return refuse(key, message, OF_A_KEY);
    };
    Some(ClientCertificate {
        cert_path: cert.to_owned(),
        key_path: key.to_owned(),
        chain,
        key: secret,
        certified: Arc::new(certified),
    })
}

const OF_A_KEY: &str = "an unencrypted PEM file with the key of the first certificate";
