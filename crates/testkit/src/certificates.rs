//! A certificate authority that lives as long as one test. Never touches the system's trust.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
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
        }
    }

    /// As [`Authority::issue`], but no longer valid.
    pub fn issue_expired(&self, file_stem: &str, names: &[&str]) -> Identity {
        self.issue_with(file_stem, names, |params| {
            params.not_before = rcgen::date_time_ymd(2000, 1, 1);
            params.not_after = rcgen::date_time_ymd(2001, 1, 1);
        })
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
