//! Many open connections on which nothing happens. Never more than a few handshakes at once.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::client::TlsStream;

use super::client::{self, Client, Connection};

/// Connections that stay open until this is dropped.
pub(crate) enum Idle {
    Plain(Vec<Connection<TcpStream>>),
    Tls(Vec<Connection<TlsStream<TcpStream>>>),
}

/// At once: as many as every case keeps busy, so that no pool grows beyond that.
const BATCH: usize = super::CONNECTIONS;
const REQUEST: &[u8] = b"GET /small HTTP/1.1\r\nHost: peers.example\r\n\r\n";

impl Idle {
    /// Opens connections and says nothing on them.
    pub(crate) async fn open(
        client: &Client,
        address: SocketAddr,
        is_tls: bool,
        count: usize,
    ) -> Result<Idle> {
        Ok(if is_tls {
            let open = |()| {
                let client = client.clone();
                async move { client.tls(address).await }
            };
            Idle::Tls(in_batches(vec![(); count], open).await?)
        } else {
            Idle::Plain(in_batches(vec![(); count], |()| client::plain(address)).await?)
        })
    }

    /// Makes one request on each of them.
    pub(crate) async fn use_each_once(self) -> Result<Idle> {
        Ok(match self {
            Idle::Plain(connections) => Idle::Plain(in_batches(connections, use_once).await?),
            Idle::Tls(connections) => Idle::Tls(in_batches(connections, use_once).await?),
        })
    }
}

async fn use_once<S>(mut connection: Connection<S>) -> Result<Connection<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    connection.exchange(REQUEST).await?;
    Ok(connection)
}

async fn in_batches<I, T, F>(items: Vec<I>, work: impl Fn(I) -> F) -> Result<Vec<T>>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    let mut done = Vec::with_capacity(items.len());
    let mut tasks = JoinSet::new();
    for item in items {
        if tasks.len() >= BATCH
            && let Some(result) = tasks.join_next().await
        {
            done.push(result.context("a connection panicked")??);
        }
        tasks.spawn(work(item));
    }
    while let Some(result) = tasks.join_next().await {
        done.push(result.context("a connection panicked")??);
    }
    Ok(done)
}
