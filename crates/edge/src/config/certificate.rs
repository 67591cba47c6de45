//! Certificates and keys from files, refused while nothing runs rather than at the first handshake.
//! Never falls back to a process-wide crypto provider, and never shows what a key file holds.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use portcullis_ops::Secret;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::{CertifiedKey, SigningKey};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::ocsp;
use super::problem::{Problem, read};
use super::{Certificate, CertificateFiles, NamePattern};

/// Certificates in one chain; clients stop far earlier.
const CHAIN_MAX: usize = 10;
const SECONDS_PER_DAY: i64 = 24 * 60 * 60;
/// When somebody should have renewed.
const EXPIRES_SOON_DAYS: i64 = 30;

/// Reads the files and matches them. `None` means that one of the problems is fatal.
pub(crate) fn load(
    files: &CertificateFiles,
    now_unix_seconds: i64,
    problems: &mut Vec<Problem>,
) -> Option<Certificate> {
    let chain = read_chain(&files.cert, problems);
    let key = read_key(&files.key, problems);
    let facts = chain
        .as_ref()
        .and_then(|chain| leaf(&files.cert, chain, now_unix_seconds, problems));
    let (chain, key, facts) = (chain?, key?, facts?);
    let mut certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        // Not every kind of key can tell its public half; then the handshake is the test.
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
        Err(_) => {
            let message = format!(
                "the key {} does not belong to the first certificate of {}",
                files.key.display(),
                files.cert.display()
            );
            let hint = "the chain begins with the certificate of this key, then its issuers";
            problems.push(Problem::fatal(&files.key, message, hint));
            return None;
        }
    }
    let staple = match &files.ocsp {
        Some(path) => read_staple(path, &facts.serial, now_unix_seconds, problems),
        None => None,
    };
    let ocsp_until = staple.as_ref().map(|(_, until)| *until);
    certified.ocsp = staple.map(|(bytes, _)| bytes);
    Some(Certificate {
        files: files.clone(),
        names: facts.names,
        not_after_unix_seconds: facts.not_after_unix_seconds,
        ocsp_until,
        key: Arc::new(certified),
    })
}

struct Leaf {
    names: Vec<NamePattern>,
    serial: Vec<u8>,
    not_after_unix_seconds: i64,
}

/// The response and its end. Without it the certificate is as good: nothing here is fatal.
fn read_staple(
    path: &Path,
    serial: &[u8],
    now_unix_seconds: i64,
    problems: &mut Vec<Problem>,
) -> Option<(Vec<u8>, i64)> {
    let mut unreadable = Vec::new();
    let Some(bytes) = read(path, &mut unreadable) else {
        problems.extend(unreadable.into_iter().map(Problem::into_warning));
        return None;
    };
    let shown = path.display();
    let message = match ocsp::read(&bytes) {
        None => format!("{shown} holds no OCSP response (DER)"),
        Some(staple) if staple.serial != serial => {
            format!("the OCSP response in {shown} is for another certificate")
        }
        Some(staple) if !staple.is_good => {
            format!("the OCSP response in {shown} says that the certificate is not good")
        }
        Some(staple) if staple.until < now_unix_seconds => {
            format!("the OCSP response in {shown} is out of date")
        }
        Some(staple) => return Some((bytes, staple.until)),
    };
    let hint = "fetch a new one from the authority, or leave `ocsp` out";
    problems.push(Problem::warning(path, message, hint));
    None
}

fn read_chain(path: &Path, problems: &mut Vec<Problem>) -> Option<Vec<CertificateDer<'static>>> {
    let pem = read(path, problems)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let shown = path.display();
    let (message, hint) = match certificates {
        Err(error) => (
            format!("{shown} is damaged: {error}"),
            "copy the PEM file again",
        ),
        Ok(none) if none.is_empty() => (
            format!("{shown} holds no certificate{}", instead(&pem)),
            BEGINS_CERTIFICATE,
        ),
        Ok(many) if many.len() > CHAIN_MAX => (
            format!("{shown} holds more than {CHAIN_MAX} certificates"),
            "this should be one chain, not a store of authorities",
        ),
        Ok(certificates) => return Some(certificates),
    };
    problems.push(Problem::fatal(path, message, hint));
    None
}

const BEGINS_CERTIFICATE: &str = "a PEM file with -----BEGIN CERTIFICATE-----";
const BEGINS_KEY: &str = "a PEM file with -----BEGIN PRIVATE KEY-----";

fn read_key(path: &Path, problems: &mut Vec<Problem>) -> Option<Arc<dyn SigningKey>> {
    let secret = Secret::new(read(path, problems)?);
    let pem = secret.expose();
    let shown = path.display();
    let mut refuse = |message: String, hint: &str| {
        problems.push(Problem::fatal(path, message, hint));
        None
    };
    if contains(pem, "BEGIN ENCRYPTED PRIVATE KEY") || contains(pem, "Proc-Type: 4,ENCRYPTED") {
        let hint = "store it unencrypted where only this service may read it";
        return refuse(format!("{shown} is protected by a passphrase"), hint);
    }
    let Ok(der) = PrivateKeyDer::from_pem_slice(pem) else {
        let message = format!("{shown} holds no private key{}", instead(pem));
        return refuse(message, BEGINS_KEY);
    };
    let Ok(signing_key) = any_supported_type(&der) else {
        let hint = "RSA from 2048 bits on, ECDSA P-256, P-384 or P-521, or Ed25519";
        return refuse(format!("{shown} holds a key that cannot be used"), hint);
    };
    warn_if_open(path, problems);
    Some(signing_key)
}

/// Of a file that holds a secret.
pub(super) fn warn_if_open(path: &Path, problems: &mut Vec<Problem>) {
    let is_open =
        fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0);
    if is_open {
        let shown = path.display();
        let message = format!("every user of this machine may read {shown}");
        let hint = format!("chmod o-rwx {shown}");
        problems.push(Problem::warning(path, message, hint));
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

/// Names and validity of the first certificate.
fn leaf(
    path: &Path,
    chain: &[CertificateDer<'_>],
    now_unix_seconds: i64,
    problems: &mut Vec<Problem>,
) -> Option<Leaf> {
    let shown = path.display();
    let parsed = chain
        .first()
        .and_then(|der| X509Certificate::from_der(der).ok());
    let Some((_, leaf)) = parsed else {
        let message = format!("the first certificate of {shown} cannot be read");
        problems.push(Problem::fatal(path, message, "copy the PEM file again"));
        return None;
    };
    let names = names(&leaf);
    let mut warn = |message: String, hint: String| {
        problems.push(Problem::warning(path, message, hint));
    };
    if names.is_empty() {
        let hint = "no server name chooses it, and browsers refuse it";
        let message = format!("the certificate in {shown} has no DNS names");
        warn(message, hint.to_owned());
    }
    let (from, until) = (&leaf.validity().not_before, &leaf.validity().not_after);
    let days_left = (until.timestamp() - now_unix_seconds).div_euclid(SECONDS_PER_DAY);
    if until.timestamp() < now_unix_seconds {
        let message = format!("the certificate in {shown} expired on {until}");
        problems.push(Problem::fatal(path, message, "renew it"));
        return None;
    }
    if days_left < EXPIRES_SOON_DAYS {
        let message = format!("the certificate in {shown} expires in {days_left} days");
        warn(message, format!("renew it before {until}"));
    }
    if from.timestamp() > now_unix_seconds {
        let message = format!("the certificate in {shown} is not valid before {from}");
        let hint = "check it, and the clock of this machine";
        warn(message, hint.to_owned());
    }
    Some(Leaf {
        names,
        serial: leaf.raw_serial().to_vec(),
        not_after_unix_seconds: until.timestamp(),
    })
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
