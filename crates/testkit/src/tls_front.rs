//! TLS in front of an endpoint that speaks none. Never looks at what goes through.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::server::WebPkiClientVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{HandshakeKind, RootCertStore, ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::certificates::{Authority, Identity, provider};

/// How it shakes hands.
pub struct Manner<'a> {
    /// What it shows.
    pub identity: &'a Identity,
    /// Whose clients it takes; `None` asks nobody for a certificate.
    pub clients_of: Option<&'a Authority>,
    /// TLS 1.2 is all it speaks.
    pub is_old: bool,
    /// Protocols it offers, the best first.
    pub protocols: &'a [&'a str],
}

impl<'a> Manner<'a> {
    /// Shows a certificate and asks for none.
    pub fn showing(identity: &'a Identity) -> Manner<'a> {
        Manner {
            identity,
            clients_of: None,
            is_old: false,
            protocols: &[],
        }
    }

    fn acceptor(&self) -> TlsAcceptor {
        let identity = self.identity;
        let chain = CertificateDer::from_pem_file(&identity.cert).expect("issued as PEM");
        let key = PrivateKeyDer::from_pem_file(&identity.key).expect("issued as PEM");
        let versions: &[&SupportedProtocolVersion] = match self.is_old {
            true => &[&TLS12],
            false => &[&TLS13, &TLS12],
        };
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .expect("aws-lc-rs has TLS 1.2 and 1.3");
        let builder = match self.clients_of {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let root = CertificateDer::from_pem_file(authority.root_file());
                let mut roots = RootCertStore::empty();
                let added = roots.add(root.expect("written as PEM"));
                added.expect("our own root is well-formed");
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
                        .build()
                        .expect("there is a root");
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut server = builder
            .with_single_cert(vec![chain], key)
            .expect("certificate and key were issued together");
        let protocols = self.protocols.iter().map(|name| name.as_bytes().to_vec());
        server.alpn_protocols = protocols.collect();
        TlsAcceptor::from(Arc::new(server))
    }
}

/// A handshake that succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// The server name that was asked for.
    pub server_name: Option<String>,
    /// Whether a former session went on.
    pub is_resumed: bool,
    /// The client's certificate, DER.
    pub client: Option<Vec<u8>>,
    /// The protocol agreed on.
    pub protocol: Option<String>,
}

/// Ends TLS and hands on what is inside.
pub struct TlsFront {
    address: SocketAddr,
    handshakes: Arc<Mutex<Vec<Handshake>>>,
    accept: JoinHandle<()>,
}

impl TlsFront {
    /// Starts one in front of `behind`.
    ///
    /// # Panics
    /// When no port is free or the files of the identity cannot be used.
    pub async fn start(manner: &Manner<'_>, behind: SocketAddr) -> TlsFront {
        let acceptor = manner.acceptor();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let handshakes = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&handshakes);
        let accept = tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                tokio::spawn(serve(acceptor.clone(), tcp, behind, Arc::clone(&seen)));
            }
        });
        TlsFront {
            address,
            handshakes,
            accept,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Those that succeeded, in order.
    pub fn handshakes(&self) -> Vec<Handshake> {
        lock(&self.handshakes).clone()
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

async fn serve(
    acceptor: TlsAcceptor,
    tcp: TcpStream,
    behind: SocketAddr,
    seen: Arc<Mutex<Vec<Handshake>>>,
) {
    let Ok(mut stream) = acceptor.accept(tcp).await else {
        return;
    };
    let session = stream.get_ref().1;
    let protocol = session.alpn_protocol().map(String::from_utf8_lossy);
    let handshake = Handshake {
        server_name: session.server_name().map(str::to_owned),
        is_resumed: session.handshake_kind() == Some(HandshakeKind::Resumed),
        client: session
            .peer_certificates()
            .and_then(|chain| chain.first())
            .map(|leaf| leaf.to_vec()),
        protocol: protocol.map(|name| name.into_owned()),
    };
    lock(&seen).push(handshake);
    if let Ok(mut inner) = TcpStream::connect(behind).await {
        let _ = copy_bidirectional(&mut stream, &mut inner).await;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
