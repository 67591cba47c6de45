//! A TLS server of its own, for bytes that pass the edge untouched. Never speaks HTTP.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::certificates::Authority;

/// Terminates TLS itself and echoes what it is told, with its name and a colon in front.
pub struct TlsOrigin {
    address: SocketAddr,
    accept: JoinHandle<()>,
}

impl TlsOrigin {
    /// Starts an origin whose certificate is for `name` and every name one label below it.
    pub async fn start(authority: &Authority, name: &str) -> TlsOrigin {
        let identity = authority.issue(&format!("origin-{name}"), &[name, &format!("*.{name}")]);
        let acceptor = identity.acceptor();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("loopback binds");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let name = name.to_owned();
        let accept = tokio::spawn(async move {
            loop {
                let Ok((tcp, _)) = listener.accept().await else {
                    continue;
                };
                tokio::spawn(echo(acceptor.clone(), tcp, name.clone()));
            }
        });
        TlsOrigin { address, accept }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for TlsOrigin {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

async fn echo(acceptor: TlsAcceptor, tcp: TcpStream, name: String) {
    let Ok(mut stream) = acceptor.accept(tcp).await else {
        return;
    };
    let mut buffer = [0; 1024];
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        let mut answer = format!("{name}:").into_bytes();
        answer.extend_from_slice(&buffer[..read]);
        if stream.write_all(&answer).await.is_err() || stream.flush().await.is_err() {
            return;
        }
    }
}
