//! The certificate that the edge shows to endpoints that ask for one, from its files. Never shows what
//! a key file holds.

use std::path::Path;
use std::sync::Arc;

use portcullis_ops::Secret;
use portcullis_ops::decode::Located;
use portcullis_ops::diagnostic::Report;
use portcullis_ops::file;
use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::ClientCertificate;

/// Reads both files and matches them. `None` means that the report has the reason.
pub(super) fn read(
    cert: &Located<String>,
    key: &Located<String>,
    directory: &Path,
    now_unix_seconds: i64,
    report: &Report<'_>,
) -> Option<ClientCertificate> {
    let pem_of_cert = read_file(cert, directory, report);
    let pem_of_key = read_file(key, directory, report);
    let (pem_of_cert, pem_of_key) = (pem_of_cert?, pem_of_key?);
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem_of_cert.expose())
        .collect::<Result<_, _>>()
        .unwrap_or_default();
    let Some(leaf) = chain
        .first()
        .and_then(|leaf| X509Certificate::from_der(leaf).ok())
    else {
        let message = format!("{} holds no usable certificate", cert.value);
        let hint = "a PEM file with -----BEGIN CERTIFICATE-----, the edge's own first";
        report.error_with_hint(cert.span, message, hint);
        return None;
    };
    let until = &leaf.1.validity().not_after;
    if until.timestamp() < now_unix_seconds {
        let message = format!("the certificate in {} expired on {until}", cert.value);
        report.error_with_hint(cert.span, message, "renew it");
        return None;
    }
    let refused = |message: String| {
        let hint = "an unencrypted PEM file with the key of the first certificate";
        report.error_with_hint(key.span, message, hint);
    };
    let Ok(der) = PrivateKeyDer::from_pem_slice(pem_of_key.expose()) else {
        refused(format!("{} holds no usable private key", key.value));
        return None;
    };
    let secret = Secret::new(der.secret_der().to_vec());
    let certified = match CertifiedKey::from_der(chain.clone(), der, &aws_lc_rs::default_provider())
    {
        Ok(certified) => certified,
        Err(_) => {
            let (key, cert) = (&key.value, &cert.value);
            refused(format!("{key} is not the key of the certificate in {cert}"));
            return None;
        }
    };
    Some(ClientCertificate {
        cert_path: directory.join(&cert.value),
        key_path: directory.join(&key.value),
        chain,
        key: secret,
        certified: Arc::new(certified),
    })
}

fn read_file(
    path: &Located<String>,
    directory: &Path,
    report: &Report<'_>,
) -> Option<Secret<Vec<u8>>> {
    match file::read(&directory.join(&path.value), PEM_BYTES_MAX) {
        Ok(bytes) => Some(Secret::new(bytes)),
        Err(error) => {
            match error.hint() {
                Some(hint) => report.error_with_hint(path.span, error.to_string(), hint),
                None => report.error(path.span, error.to_string()),
            }
            None
        }
    }
}

/// Far beyond any chain people use.
const PEM_BYTES_MAX: u64 = 1024 * 1024;
