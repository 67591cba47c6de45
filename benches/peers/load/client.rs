//! A client of our own: one HTTP/1.1 connection, plain or TLS 1.3 with X25519 and AES-128 alone,
//! so that every contender does the same cryptography. Never a pool, never a retry.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{
    ClientConfig, HandshakeKind, NamedGroup, ProtocolVersion, RootCertStore,
    SupportedProtocolVersion,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::origin::{content_length, head_end};

/// The name in the certificate.
pub(crate) const NAME: &str = "peers.example";

/// Makes TLS connections.
#[derive(Clone)]
pub(crate) struct Client {
    config: Arc<ClientConfig>,
}

/// One connection.
pub(crate) struct Connection<S> {
    stream: S,
    buffer: Vec<u8>,
}

/// Opens a plain connection.
pub(crate) async fn plain(address: SocketAddr) -> Result<Connection<TcpStream>> {
    let stream = TcpStream::connect(address).await.context("connecting")?;
    stream.set_nodelay(true)?;
    Ok(Connection::new(stream))
}

impl Client {
    /// Trusts one authority; never resumes.
    pub(crate) fn new(root: &Path) -> Result<Client> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(root)?)?;
        let provider = CryptoProvider {
            cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256],
            // The second is there to see that the first is taken.
            kx_groups: vec![aws_lc_rs::kx_group::X25519, aws_lc_rs::kx_group::SECP256R1],
            ..aws_lc_rs::default_provider()
        };
        Client::with(provider, &rustls::version::TLS13, roots)
    }

    /// A client that knows TLS 1.2 alone, to see that nobody takes it.
    pub(crate) fn outdated(root: &Path) -> Result<Client> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(root)?)?;
        let provider = aws_lc_rs::default_provider();
        Client::with(provider, &rustls::version::TLS12, roots)
    }

    fn with(
        provider: CryptoProvider,
        version: &'static SupportedProtocolVersion,
        roots: RootCertStore,
    ) -> Result<Client> {
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[version])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Client {
            config: Arc::new(config),
        })
    }

    /// The same with tickets of its own.
    pub(crate) fn resuming(&self) -> Client {
        let mut config = ClientConfig::clone(&self.config);
        config.resumption = Resumption::in_memory_sessions(8);
        Client {
            config: Arc::new(config),
        }
    }

    /// The same, offering another protocol on the connection.
    pub(crate) fn offering(&self, protocol: &str) -> Client {
        let mut config = ClientConfig::clone(&self.config);
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        Client {
            config: Arc::new(config),
        }
    }

    /// Opens a TLS connection.
    pub(crate) async fn tls(
        &self,
        address: SocketAddr,
    ) -> Result<Connection<TlsStream<TcpStream>>> {
        let tcp = plain(address).await?.stream;
        let name = ServerName::try_from(NAME).expect("the name is a host name");
        let stream = TlsConnector::from(Arc::clone(&self.config))
            .connect(name, tcp)
            .await
            .context("TLS handshake")?;
        Ok(Connection::new(stream))
    }
}

impl Connection<TcpStream> {
    /// Makes closing a reset, which leaves nothing behind on either side.
    pub(crate) fn reset_on_drop(&self) -> Result<()> {
        self.stream.set_zero_linger().context("setting SO_LINGER")
    }
}

impl Connection<TlsStream<TcpStream>> {
    pub(crate) fn is_resumed(&self) -> bool {
        self.stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    pub(crate) fn protocol(&self) -> Option<&[u8]> {
        self.stream.get_ref().1.alpn_protocol()
    }

    /// Whether it is TLS 1.3 with X25519, and the leaf this one.
    pub(crate) fn expect_cryptography(&self, leaf: &[u8]) -> Result<()> {
        let (_, tls) = self.stream.get_ref();
        let version = tls.protocol_version();
        ensure!(
            version == Some(ProtocolVersion::TLSv1_3),
            "it took {version:?}"
        );
        let group = tls
            .negotiated_key_exchange_group()
            .map(|group| group.name());
        ensure!(group == Some(NamedGroup::X25519), "it took {group:?}");
        let shown = tls.peer_certificates().unwrap_or_default();
        ensure!(
            shown.first().is_some_and(|shown| shown.as_ref() == leaf),
            "it shows another certificate"
        );
        Ok(())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    fn new(stream: S) -> Self {
        Connection {
            stream,
            buffer: Vec::new(),
        }
    }

    /// Sends a request and returns the body of its answer, which has to be a 200.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> Result<&[u8]> {
        self.buffer.clear();
        self.stream.write_all(request).await.context("sending")?;
        let end = loop {
            if let Some(end) = head_end(&self.buffer) {
                break end;
            }
            self.read_more().await?;
        };
        let head = &self.buffer[..end];
        if !head.starts_with(b"HTTP/1.1 200") {
            bail!("it answered {}", String::from_utf8_lossy(head));
        }
        // An answer without a length would be taken for an empty one, which no case asks for.
        let length = content_length(head);
        ensure!(length > 0, "no length: {}", String::from_utf8_lossy(head));
        while self.buffer.len() < end + length {
            self.read_more().await?;
        }
        Ok(&self.buffer[end..end + length])
    }

    /// The same, and waits until the other side closes.
    pub(crate) async fn last_exchange(&mut self, request: &[u8]) -> Result<()> {
        self.exchange(request).await?;
        // TLS may end without its farewell; what counts is that it ended.
        while self
            .stream
            .read_buf(&mut self.buffer)
            .await
            .is_ok_and(|read| read > 0)
        {}
        Ok(())
    }

    /// Head of the last answer, its empty line included.
    pub(crate) fn head(&self) -> &[u8] {
        &self.buffer[..head_end(&self.buffer).unwrap_or_default()]
    }

    async fn read_more(&mut self) -> Result<()> {
        let read = self.stream.read_buf(&mut self.buffer).await;
        ensure!(
            read.context("receiving")? > 0,
            "closed in front of the answer's end"
        );
        Ok(())
    }
}
