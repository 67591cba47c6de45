//! The certificate for HTTPS on this machine: made once, kept, renewed before it ends.
//! Never meant for any name but localhost.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair};

use super::held::write_private;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// Browsers and Apple's libraries refuse server certificates that last longer than this.
const VALIDITY: Duration = DAY.saturating_mul(397);
/// Renewed at the first start after this age.
const RENEWAL_AGE: Duration = DAY.saturating_mul(330);
/// For clients whose clock is behind ours.
const BACKDATING: Duration = DAY;
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Where certificate and key are.
#[derive(Clone, Debug)]
pub(super) struct Certificate {
    pub(super) cert: PathBuf,
    pub(super) key: PathBuf,
}

/// Finds the certificate of an earlier start, or makes one.
pub(super) fn keep(directory: &Path, now: SystemTime) -> anyhow::Result<Certificate> {
    let files = Certificate {
        cert: directory.join("cert.pem"),
        key: directory.join("key.pem"),
    };
    if !is_good(&files, now) {
        let (cert, key) = generate(now).context("cannot make a certificate for localhost")?;
        // The key first: a certificate without its key would be taken for a good pair.
        fs::remove_file(&files.cert).or_else(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        })?;
        write_private(&files.key, key.as_bytes())?;
        write_private(&files.cert, cert.as_bytes())?;
    }
    Ok(files)
}

fn is_good(files: &Certificate, now: SystemTime) -> bool {
    let written = fs::metadata(&files.cert).and_then(|metadata| metadata.modified());
    let is_young =
        written.is_ok_and(|written| now.duration_since(written).unwrap_or_default() < RENEWAL_AGE);
    is_young && files.key.exists()
}

fn generate(now: SystemTime) -> Result<(String, String), rcgen::Error> {
    let mut params = CertificateParams::new(NAMES.map(str::to_owned))?;
    params
        .distinguished_name
        .push(DnType::CommonName, "Portcullis on this machine");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.not_before = (now - BACKDATING).into();
    params.not_after = (now - BACKDATING + VALIDITY).into();
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificate_is_kept_between_starts() {
        let directory = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let first = keep(directory.path(), now).unwrap();
        let text = fs::read_to_string(&first.cert).unwrap();
        assert!(text.starts_with("-----BEGIN CERTIFICATE-----"), "{text}");
        let second = keep(directory.path(), now + 300 * DAY).unwrap();
        assert_eq!(fs::read_to_string(&second.cert).unwrap(), text);
    }

    #[test]
    fn certificate_is_renewed_before_it_ends() {
        let directory = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let files = keep(directory.path(), now).unwrap();
        let text = fs::read_to_string(&files.cert).unwrap();
        keep(directory.path(), now + RENEWAL_AGE + DAY).unwrap();
        assert_ne!(fs::read_to_string(&files.cert).unwrap(), text);
    }

    #[test]
    fn certificate_without_its_key_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let files = keep(directory.path(), now).unwrap();
        fs::remove_file(&files.key).unwrap();
        keep(directory.path(), now).unwrap();
        assert!(files.key.exists());
    }
}
