//! A certificate authority that lives as long as one test. Never touches the system's trust.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber,
};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;

/// An authority with a directory for the files it issues.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root: CertificateDer<'static>,
    root_pem: String,
    directory: TempDir,
}

/// A certificate and its key, as PEM files inside the authority's directory.
#[derive(Clone, Debug)]
pub struct Identity {
    /// PEM file with the leaf.
    pub cert: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
    /// DER of the leaf, to compare with what a server showed.
    pub leaf: Vec<u8>,
    /// Its serial number.
    pub serial: Vec<u8>,
}

impl Authority {
    /// Makes a new authority.
    pub fn new() -> Authority {
        let key = KeyPair::generate().expect("a key can be generated");
        let mut params = CertificateParams::new(Vec::new()).expect("no names are valid names");
        params
            .distinguished_name
            .push(DnType::CommonName, "Portcullis test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params
            .self_signed(&key)
            .expect("a key can sign its own certificate");
        Authority {
            root: certificate.der().clone(),
            root_pem: certificate.pem(),
            issuer: Issuer::new(params, key),
            directory: TempDir::new().expect("the temporary directory is writable"),
        }
    }

    /// Directory with all issued files.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// PEM file with the authority's own certificate (what `curl --cacert` takes).
    pub fn root_file(&self) -> PathBuf {
        let path = self.directory.path().join("root.pem");
        fs::write(&path, &self.root_pem).expect("the directory is writable");
        path
    }

    /// Issues a certificate for `names`; `file_stem.pem` and `file_stem.key` are written.
    pub fn issue(&self, file_stem: &str, names: &[&str]) -> Identity {
        self.issue_with(file_stem, names, |_params| ())
    }

    fn issue_with(
        &self,
        file_stem: &str,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Identity {
        let key = KeyPair::generate().expect("a key can be generated");
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("the names are valid");
        let serial = SERIALS.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        change(&mut params);
        let certificate = params
            .signed_by(&key, &self.issuer)
            .expect("the authority can sign");
        let write = |extension: &str, text: String| {
            let path = self
                .directory
                .path()
                .join(format!("{file_stem}.{extension}"));
            fs::write(&path, text).expect("the directory is writable");
            path
        };
        Identity {
            cert: write("pem", certificate.pem()),
            key: write("key", key.serialize_pem()),
            leaf: certificate.der().to_vec(),
            serial: serial.to_vec(),
        }
    }

    /// As [`Authority::issue`], but no longer valid.
    pub fn issue_expired(&self, file_stem: &str, names: &[&str]) -> Identity {
        self.issue_with(file_stem, names, |params| {
            params.not_before = rcgen::date_time_ymd(2000, 1, 1);
            params.not_after = rcgen::date_time_ymd(2001, 1, 1);
        })
    }

    /// As [`Authority::issue`], valid until so many seconds after the Unix epoch.
    pub fn issue_until(&self, file_stem: &str, names: &[&str], unix_seconds: u64) -> Identity {
        self.issue_with(file_stem, names, |params| {
            let epoch = rcgen::date_time_ymd(1970, 1, 1);
            params.not_after = epoch + Duration::from_secs(unix_seconds);
        })
    }

    /// Writes a list of what this authority revoked, PEM, in force until so many seconds after the
    /// Unix epoch.
    pub fn write_crl_until(&self, name: &str, revoked: &[&Identity], unix_seconds: u64) -> PathBuf {
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        let entry = |identity: &&Identity| RevokedCertParams {
            serial_number: SerialNumber::from_slice(&identity.serial),
            revocation_time: rcgen::date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2020, 1, 1),
            next_update: epoch + Duration::from_secs(unix_seconds),
            crl_number: SerialNumber::from(1u64),
            issuing_distribution_point: None,
            revoked_certs: revoked.iter().map(entry).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let signed = list
            .signed_by(&self.issuer)
            .expect("the authority can sign");
        let path = self.directory.path().join(name);
        let pem = signed.pem().expect("a list can be written");
        fs::write(&path, pem).expect("the directory is writable");
        path
    }

    /// As [`Authority::write_crl_until`], for as long as anybody cares.
    pub fn write_crl(&self, name: &str, revoked: &[&Identity]) -> PathBuf {
        self.write_crl_until(name, revoked, 4_000_000_000)
    }

    /// As [`Authority::client_with_version`], showing a certificate that any authority issued.
    pub fn client_as(
        &self,
        identity: &Identity,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots
            .add(self.root.clone())
            .expect("our own root is well-formed");
        let chain = CertificateDer::pem_file_iter(&identity.cert).expect("issued as PEM");
        let chain: Result<Vec<_>, _> = chain.collect();
        let key = PrivateKeyDer::from_pem_file(&identity.key).expect("issued as PEM");
        ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .expect("aws-lc-rs has TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_client_auth_cert(chain.expect("issued as PEM"), key)
            .expect("certificate and key were issued together")
    }

    /// A TLS client that trusts this authority alone and offers HTTP/1.1.
    pub fn client(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots
            .add(self.root.clone())
            .expect("our own root is well-formed");
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("aws-lc-rs has TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config
    }

    /// As [`Authority::client`], with one protocol version only.
    pub fn client_with_version(
        &self,
        version: &'static rustls::SupportedProtocolVersion,
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots
            .add(self.root.clone())
            .expect("our own root is well-formed");
        ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[version])
            .expect("aws-lc-rs has TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth()
    }
}

impl Identity {
    /// A TLS server that shows this certificate.
    ///
    /// # Panics
    /// When the files are gone.
    pub fn acceptor(&self) -> TlsAcceptor {
        let chain = CertificateDer::from_pem_file(&self.cert).expect("issued as PEM");
        let key = PrivateKeyDer::from_pem_file(&self.key).expect("issued as PEM");
        let server = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("aws-lc-rs has TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_single_cert(vec![chain], key)
            .expect("certificate and key were issued together");
        TlsAcceptor::from(Arc::new(server))
    }
}

impl Default for Authority {
    fn default() -> Self {
        Authority::new()
    }
}

/// What an authority would say of a certificate (RFC 6960), without a signature: clients of tests
/// check none. `until` is a GeneralizedTime.
pub fn ocsp_of(identity: &Identity, is_good: bool, until: &str) -> Vec<u8> {
    ocsp_response(&identity.serial, is_good, until)
}

/// The same for a serial number.
pub fn ocsp_response(serial: &[u8], is_good: bool, until: &str) -> Vec<u8> {
    const TIME: &[u8] = b"20200101000000Z";
    let all = |tag: u8, parts: &[Vec<u8>]| value(tag, &parts.concat());
    let status = if is_good {
        value(0x80, b"")
    } else {
        all(0xa1, &[value(0x18, TIME)])
    };
    let sha1 = [0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a];
    let id = all(
        0x30,
        &[
            value(0x30, &sha1),
            value(0x04, &[1; 20]),
            value(0x04, &[2; 20]),
            value(0x02, serial),
        ],
    );
    let end = all(0xa0, &[value(0x18, until.as_bytes())]);
    let answer = all(0x30, &[id, status, value(0x18, TIME), end]);
    let responder = all(0xa2, &[value(0x04, &[3; 20])]);
    let data = all(0x30, &[responder, value(0x18, TIME), value(0x30, &answer)]);
    let basic = all(0x30, &[data, value(0x30, &sha1), value(0x03, &[0, 1])]);
    let kind = value(0x06, b"\x2b\x06\x01\x05\x05\x07\x30\x01\x01");
    let bytes = all(0x30, &[kind, value(0x04, &basic)]);
    all(0x30, &[value(0x0a, &[0]), value(0xa0, &bytes)])
}

fn value(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut der = vec![tag];
    match content.len() {
        short @ 0..0x80 => der.push(short as u8),
        long => {
            der.push(0x82);
            der.extend((long as u16).to_be_bytes());
        }
    }
    der.extend(content);
    der
}

/// Of all certificates of a process. Their first byte is neither zero nor negative.
static SERIALS: AtomicU32 = AtomicU32::new(0x1000_0000);

/// Said explicitly everywhere, so that no test depends on a process-wide default.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::tls_stream;

    #[tokio::test]
    async fn an_issued_certificate_is_trusted_for_its_names_only() {
        let authority = Authority::new();
        let identity = authority.issue("a", &["a.example"]);
        let acceptor = identity.acceptor();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let _ = acceptor.accept(tcp).await;
            }
        });
        let (_, seen) = tls_stream(address, "a.example", authority.client())
            .await
            .unwrap();
        assert_eq!(seen.leaf, identity.leaf);
        assert!(
            tls_stream(address, "b.example", authority.client())
                .await
                .is_err()
        );
        let stranger = Authority::new().client();
        assert!(tls_stream(address, "a.example", stranger).await.is_err());
    }
}
