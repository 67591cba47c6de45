//! An endpoint behind TLS. Never serves more than one small answer for each connection.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::certificates::Identity;

/// Answers 200 with an empty JSON object to whatever comes over TLS.
pub struct TlsEndpoint {
    address: SocketAddr,
    server_names: Arc<Mutex<Vec<Option<String>>>>,
    accept: JoinHandle<()>,
}

impl TlsEndpoint {
    /// Starts one that shows this certificate.
    ///
    /// # Panics
    /// When the files of `identity` cannot be used.
    pub async fn start(identity: &Identity) -> TlsEndpoint {
        let acceptor = identity.acceptor();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let server_names = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&server_names);
        let accept = tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (acceptor, seen) = (acceptor.clone(), Arc::clone(&seen));
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(tcp).await else {
                        return;
                    };
                    let name = stream.get_ref().1.server_name().map(str::to_owned);
                    lock(&seen).push(name);
                    let mut request = [0; 4096];
                    if stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                        let _ = stream.write_all(ANSWER).await;
                    }
                    let _ = stream.shutdown().await;
                });
            }
        });
        TlsEndpoint {
            address,
            server_names,
            accept,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The server names of all handshakes that succeeded, in order.
    pub fn server_names(&self) -> Vec<Option<String>> {
        lock(&self.server_names).clone()
    }
}

impl Drop for TlsEndpoint {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
