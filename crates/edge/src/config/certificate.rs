//! Certificates and keys from files, refused while nothing runs rather than at the first handshake.
//! Never falls back to a process-wide crypto provider, and never shows what a key file holds.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use portcullis_ops::Secret;
use portcullis_ops::decode::Located;
use portcullis_ops::diagnostic::{Report, Span};
use portcullis_ops::file;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::{CertifiedKey, SigningKey};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::file::FileCertificate;
use super::{Certificate, NamePattern};

/// Far beyond any chain people use.
const PEM_BYTES_MAX: u64 = 1024 * 1024;
/// Certificates in one chain; clients stop far earlier.
const CHAIN_MAX: usize = 10;
const SECONDS_PER_DAY: i64 = 24 * 60 * 60;
/// When somebody should have renewed.
const EXPIRES_SOON_DAYS: i64 = 14;

/// Reads both files and matches them. `None` means that the report has the reason.
pub(super) fn load(
    files: &FileCertificate,
    directory: &Path,
    now_unix_seconds: i64,
    report: &Report<'_>,
) -> Option<Certificate> {
    let chain = files
        .cert
        .as_ref()
        .and_then(|cert| read_chain(cert, directory, report));
    let key = files
        .key
        .as_ref()
        .and_then(|key| read_key(key, directory, report));
    let facts = chain
        .as_ref()
        .and_then(|chain| chain.leaf(now_unix_seconds, report));
    let (chain, key, facts) = (chain?, key?, facts?);
    let certified = CertifiedKey::new(chain.certificates, key.key);
    match certified.keys_match() {
        // Not every kind of key can tell its public half; then the handshake is the test.
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
        Err(_) => {
            let hint = "the chain begins with the certificate of this key, then its issuers";
            let message = format!(
                "the key does not belong to the first certificate of {}",
                chain.path.display()
            );
            report.error_with_hint(key.span, message, hint);
            return None;
        }
    }
    Some(Certificate {
        cert_path: chain.path,
        key_path: key.path,
        names: facts.names,
        not_after_unix_seconds: facts.not_after_unix_seconds,
        key: Arc::new(certified),
    })
}

struct Chain {
    path: PathBuf,
    span: Span,
    certificates: Vec<CertificateDer<'static>>,
}

struct Key {
    path: PathBuf,
    span: Span,
    key: Arc<dyn SigningKey>,
}

struct Leaf {
    names: Vec<NamePattern>,
    not_after_unix_seconds: i64,
}

fn read_chain(cert: &Located<String>, directory: &Path, report: &Report<'_>) -> Option<Chain> {
    let path = directory.join(&cert.value);
    let pem = read(&path, cert.span, report)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let refuse = |message: String, hint: &str| report.error_with_hint(cert.span, message, hint);
    let shown = path.display();
    match certificates {
        Err(error) => {
            refuse(
                format!("{shown} is damaged: {error}"),
                "copy the PEM file again",
            );
            None
        }
        Ok(none) if none.is_empty() => {
            refuse(
                format!("{shown} holds no certificate{}", instead(&pem)),
                BEGINS_CERTIFICATE,
            );
            None
        }
        Ok(many) if many.len() > CHAIN_MAX => {
            let message = format!("{shown} holds more than {CHAIN_MAX} certificates");
            refuse(
                message,
                "this should be one chain, not a store of authorities",
            );
            None
        }
        Ok(certificates) => Some(Chain {
            path,
            span: cert.span,
            certificates,
        }),
    }
}

const BEGINS_CERTIFICATE: &str = "a PEM file with -----BEGIN CERTIFICATE-----";
const BEGINS_KEY: &str = "a PEM file with -----BEGIN PRIVATE KEY-----";

fn read_key(key: &Located<String>, directory: &Path, report: &Report<'_>) -> Option<Key> {
    let path = directory.join(&key.value);
    let secret = Secret::new(read(&path, key.span, report)?);
    let pem = secret.expose();
    let shown = path.display();
    let refuse = |message: String, hint: &str| report.error_with_hint(key.span, message, hint);
    if contains(pem, "BEGIN ENCRYPTED PRIVATE KEY") || contains(pem, "Proc-Type: 4,ENCRYPTED") {
        let hint = "store it unencrypted where only this service may read it";
        refuse(format!("{shown} is protected by a passphrase"), hint);
        return None;
    }
    let Ok(der) = PrivateKeyDer::from_pem_slice(pem) else {
        refuse(
            format!("{shown} holds no private key{}", instead(pem)),
            BEGINS_KEY,
        );
        return None;
    };
    let Ok(signing_key) = any_supported_type(&der) else {
        let hint = "RSA from 2048 bits on, ECDSA P-256, P-384 or P-521, or Ed25519";
        refuse(format!("{shown} holds a key that cannot be used"), hint);
        return None;
    };
    let is_open =
        fs::metadata(&path).is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0);
    if is_open {
        let hint = format!("chmod o-rwx {shown}");
        report.warning(
            key.span,
            format!("every user of this machine may read {shown}"),
            hint,
        );
    }
    Some(Key {
        path,
        span: key.span,
        key: signing_key,
    })
}

fn read(path: &Path, span: Span, report: &Report<'_>) -> Option<Vec<u8>> {
    match file::read(path, PEM_BYTES_MAX) {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            match error.hint() {
                Some(hint) => report.error_with_hint(span, error.to_string(), hint),
                None => report.error(span, error.to_string()),
            }
            None
        }
    }
}

/// What a file of the wrong kind seems to be; the two are swapped all the time.
fn instead(pem: &[u8]) -> &'static str {
    if contains(pem, "PRIVATE KEY-----") {
        ", but a private key"
    } else if contains(pem, "BEGIN CERTIFICATE REQUEST") {
        ", but a request for one"
    } else if contains(pem, "BEGIN CERTIFICATE") {
        ", but a certificate"
    } else if pem.is_empty() {
        ": it is empty"
    } else {
        ""
    }
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}

impl Chain {
    /// Names and validity of the first certificate.
    fn leaf(&self, now_unix_seconds: i64, report: &Report<'_>) -> Option<Leaf> {
        let shown = self.path.display();
        let parsed = self
            .certificates
            .first()
            .and_then(|der| X509Certificate::from_der(der).ok());
        let Some((_, leaf)) = parsed else {
            let message = format!("the first certificate of {shown} cannot be read");
            report.error_with_hint(self.span, message, "copy the PEM file again");
            return None;
        };
        let names = names(&leaf);
        if names.is_empty() {
            let message = format!("the certificate in {shown} has no DNS names");
            report.warning(
                self.span,
                message,
                "no server name chooses it, and browsers refuse it",
            );
        }
        let (from, until) = (&leaf.validity().not_before, &leaf.validity().not_after);
        let days_left = (until.timestamp() - now_unix_seconds).div_euclid(SECONDS_PER_DAY);
        if until.timestamp() < now_unix_seconds {
            let message = format!("the certificate in {shown} expired on {until}");
            report.error_with_hint(self.span, message, "renew it");
            return None;
        }
        if days_left < EXPIRES_SOON_DAYS {
            let message = format!("the certificate in {shown} expires in {days_left} days");
            report.warning(self.span, message, format!("renew it before {until}"));
        }
        if from.timestamp() > now_unix_seconds {
            let message = format!("the certificate in {shown} is not valid before {from}");
            report.warning(
                self.span,
                message,
                "check it, and the clock of this machine",
            );
        }
        Some(Leaf {
            names,
            not_after_unix_seconds: until.timestamp(),
        })
    }
}

/// DNS names only: clients send no server name for an address.
fn names(leaf: &X509Certificate<'_>) -> Vec<NamePattern> {
    let Ok(Some(alternatives)) = leaf.subject_alternative_name() else {
        return Vec::new();
    };
    let alternatives = alternatives.value.general_names.iter();
    alternatives
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => {
                let name = name.to_ascii_lowercase();
                Some(match name.strip_prefix("*.") {
                    Some(parent) => NamePattern::Wildcard(parent.to_owned()),
                    None => NamePattern::Exact(name),
                })
            }
            _ => None,
        })
        .collect()
}
