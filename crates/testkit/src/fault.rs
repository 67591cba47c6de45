//! A TCP proxy that can delay, cut or swallow what passes through. Never looks at the bytes.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What happens to bytes, on open connections too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: bytes pass.
    None,
    /// Every piece waits this long.
    Latency(Duration),
    /// Open connections are closed, new ones are closed at once.
    Cut,
    /// Connections are accepted and stay silent.
    Blackhole,
}

/// A proxy in front of one address.
pub struct FaultProxy {
    address: SocketAddr,
    fault: watch::Sender<Fault>,
    accept: JoinHandle<()>,
}

impl FaultProxy {
    /// Starts a proxy that passes everything to `target`.
    pub async fn start(target: SocketAddr) -> FaultProxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("loopback binds");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let (fault, seen) = watch::channel(Fault::None);
        let accept = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    continue;
                };
                tokio::spawn(carry(stream, target, seen.clone()));
            }
        });
        FaultProxy {
            address,
            fault,
            accept,
        }
    }

    /// Where to connect instead of the target.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes what happens from now on.
    pub fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.accept.abort();
        self.fault.send_replace(Fault::Cut);
    }
}

async fn carry(client: TcpStream, target: SocketAddr, fault: watch::Receiver<Fault>) {
    if *fault.borrow() == Fault::Cut {
        return;
    }
    let Ok(upstream) = TcpStream::connect(target).await else {
        return;
    };
    let mut cut = fault.clone();
    let cut = async move { cut.wait_for(|fault| *fault == Fault::Cut).await.is_ok() };
    let fault = Arc::new(fault);
    let (client_read, client_write) = client.into_split();
    let (upstream_read, upstream_write) = upstream.into_split();
    tokio::select! {
        _ = cut => {}
        _ = async {
            tokio::join!(
                pump(client_read, upstream_write, Arc::clone(&fault)),
                pump(upstream_read, client_write, fault),
            )
        } => {}
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    fault: Arc<watch::Receiver<Fault>>,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        let now = *fault.borrow();
        match now {
            Fault::Latency(pause) => tokio::time::sleep(pause).await,
            Fault::Blackhole => {
                let mut healed = (*fault).clone();
                if healed
                    .wait_for(|fault| *fault != Fault::Blackhole)
                    .await
                    .is_err()
                {
                    return Ok(());
                }
            }
            Fault::None | Fault::Cut => {}
        }
        to.write_all(&buffer[..read]).await?;
    }
}

/// An address where connections are neither accepted nor refused: the queue of its listener is
/// full, so that a SYN gets no answer. Lasts as long as this value.
pub struct FullBacklog {
    address: SocketAddr,
    _listener: TcpListener,
    _waiting: Vec<TcpStream>,
}

impl FullBacklog {
    /// Binds a port and fills its queue.
    pub async fn start() -> FullBacklog {
        let socket = TcpSocket::new_v4().expect("a socket can be made");
        socket
            .bind((Ipv4Addr::LOCALHOST, 0).into())
            .expect("loopback binds");
        let listener = socket.listen(1).expect("a bound socket listens");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let mut waiting = Vec::new();
        while let Ok(Ok(stream)) =
            tokio::time::timeout(FILL_PATIENCE, TcpStream::connect(address)).await
        {
            waiting.push(stream);
        }
        FullBacklog {
            address,
            _listener: listener,
            _waiting: waiting,
        }
    }

    /// Where connecting takes for ever.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// A connection over loopback that takes longer than this found the queue full.
const FILL_PATIENCE: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Connection, Endpoint};

    #[tokio::test]
    async fn bytes_pass_until_the_proxy_is_cut() {
        let endpoint = Endpoint::start("a").await;
        let proxy = FaultProxy::start(endpoint.address()).await;
        let mut client = Connection::open(proxy.address()).await.unwrap();
        assert_eq!(client.get("/").await.unwrap().status, 200);
        proxy.set(Fault::Cut);
        client.expect_close().await;
    }

    #[tokio::test]
    async fn a_full_backlog_neither_accepts_nor_refuses() {
        let full = FullBacklog::start().await;
        let attempt = TcpStream::connect(full.address());
        assert!(
            tokio::time::timeout(Duration::from_millis(100), attempt)
                .await
                .is_err()
        );
    }

    #[tokio::test]
    async fn a_black_hole_answers_once_it_is_healed() {
        let endpoint = Endpoint::start("a").await;
        let proxy = FaultProxy::start(endpoint.address()).await;
        proxy.set(Fault::Blackhole);
        let client = Connection::open(proxy.address()).await.unwrap();
        let mut client = client.with_deadline(Duration::from_millis(100));
        let error = client.get("/").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        proxy.set(Fault::None);
        let mut client = client.with_deadline(crate::DEADLINE);
        assert_eq!(client.response().await.unwrap().status, 200);
    }
}
