//! In front of an endpoint that does not know the PROXY protocol: takes the header off. Never looks at
//! what follows.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncReadExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Takes a PROXY header off each connection and hands on the rest; hangs up where there is none.
pub struct ProxyFront {
    address: SocketAddr,
    headers: Arc<Mutex<Vec<Vec<u8>>>>,
    accept: JoinHandle<()>,
}

impl ProxyFront {
    /// Starts one in front of `behind`.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn start(behind: SocketAddr) -> ProxyFront {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let headers = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&headers);
        let accept = tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                tokio::spawn(serve(tcp, behind, Arc::clone(&seen)));
            }
        });
        ProxyFront {
            address,
            headers,
            accept,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The headers of all connections, in order.
    pub fn headers(&self) -> Vec<Vec<u8>> {
        lock(&self.headers).clone()
    }
}

impl Drop for ProxyFront {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

async fn serve(mut tcp: TcpStream, behind: SocketAddr, seen: Arc<Mutex<Vec<Vec<u8>>>>) {
    let Some(header) = read(&mut tcp).await else {
        return;
    };
    lock(&seen).push(header);
    if let Ok(mut inner) = TcpStream::connect(behind).await {
        let _ = copy_bidirectional(&mut tcp, &mut inner).await;
    }
}

async fn read(tcp: &mut TcpStream) -> Option<Vec<u8>> {
    let mut header = vec![tcp.read_u8().await.ok()?];
    if header[0] == b'P' {
        while header.last() != Some(&b'\n') && header.len() < 107 {
            header.push(tcp.read_u8().await.ok()?);
        }
        return header.starts_with(b"PROXY ").then_some(header);
    }
    header.resize(16, 0);
    tcp.read_exact(&mut header[1..]).await.ok()?;
    let length = usize::from(u16::from_be_bytes([header[14], header[15]]));
    header.resize(16 + length, 0);
    tcp.read_exact(&mut header[16..]).await.ok()?;
    header
        .starts_with(b"\r\n\r\n\0\r\nQUIT\n")
        .then_some(header)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
