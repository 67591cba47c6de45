//! Origins that answer at once, on a thread of their own. Never a proxy's bottleneck on
//! purpose: no parsing beyond what the answers need.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::load::websocket;

/// How many there are, unless their number is what grows.
pub(crate) const ORIGINS: usize = 3;
/// Body of `/small`.
pub(crate) const SMALL: usize = 128;
/// Body of `/big`.
pub(crate) const BIG: usize = 16 * 1024;

/// The running origins. They end with the process.
pub(crate) struct Origins {
    pub(crate) addresses: Vec<SocketAddr>,
    counters: Arc<[Counters]>,
}

#[derive(Debug, Default)]
struct Counters {
    connections: AtomicU64,
    requests: AtomicU64,
}

impl Origins {
    /// Binds free ports and starts to answer; `keys` is what they say at `/keys`.
    pub(crate) fn start(count: usize, keys: Vec<u8>) -> Result<Origins> {
        let counters: Arc<[Counters]> = (0..count).map(|_| Counters::default()).collect();
        let keys: Arc<[u8]> = answer(&keys).into();
        let mut addresses = Vec::new();
        let mut listeners = Vec::new();
        for _ in 0..count {
            let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
            listener.set_nonblocking(true)?;
            addresses.push(listener.local_addr()?);
            listeners.push(listener);
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()?;
        let shared = Arc::clone(&counters);
        std::thread::Builder::new()
            .name("origins".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    let mut tasks = tokio::task::JoinSet::new();
                    for (index, listener) in listeners.into_iter().enumerate() {
                        let (counters, keys) = (Arc::clone(&shared), Arc::clone(&keys));
                        tasks.spawn(accept(listener, counters, index, keys));
                    }
                    tasks.join_all().await;
                });
            })
            .context("starting the origins")?;
        Ok(Origins {
            addresses,
            counters,
        })
    }

    /// Connections accepted so far by all.
    pub(crate) fn connections(&self) -> u64 {
        let count = |counters: &Counters| counters.connections.load(Ordering::Relaxed);
        self.counters.iter().map(count).sum()
    }

    /// Requests answered so far, by each.
    pub(crate) fn requests(&self) -> Vec<u64> {
        let count = |counters: &Counters| counters.requests.load(Ordering::Relaxed);
        self.counters.iter().map(count).collect()
    }
}

async fn accept(
    listener: std::net::TcpListener,
    counters: Arc<[Counters]>,
    index: usize,
    keys: Arc<[u8]>,
) {
    let listener = TcpListener::from_std(listener).expect("it was made non-blocking");
    while let Ok((stream, _)) = listener.accept().await {
        let (counters, keys) = (Arc::clone(&counters), Arc::clone(&keys));
        counters[index].connections.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(async move {
            // A proxy may close a kept connection at any time.
            let _ = serve(stream, &counters[index], &keys).await;
        });
    }
}

async fn serve(mut stream: TcpStream, counters: &Counters, keys: &[u8]) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let small = answer(&[b'a'; SMALL]);
    let big = answer(&[b'b'; BIG]);
    let mut buffer = Vec::with_capacity(32 * 1024);
    loop {
        let end = loop {
            if let Some(end) = head_end(&buffer) {
                break end;
            }
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        };
        counters.requests.fetch_add(1, Ordering::Relaxed);
        let is_post = buffer.starts_with(b"POST");
        let length = if is_post {
            content_length(&buffer[..end])
        } else {
            0
        };
        while buffer.len() < end + length {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        }
        let path = buffer
            .split(|&byte| byte == b' ')
            .nth(1)
            .unwrap_or_default();
        match path {
            b"/small" => stream.write_all(&small).await?,
            b"/big" => stream.write_all(&big).await?,
            b"/keys" => stream.write_all(keys).await?,
            b"/sink" => {
                stream
                    .write_all(&answer(length.to_string().as_bytes()))
                    .await?
            }
            b"/websocket" => {
                stream.write_all(websocket::ACCEPTANCE).await?;
                return websocket::echo(stream, buffer.split_off(end)).await;
            }
            // What the checks look at: the head as the proxy sent it.
            _ => stream.write_all(&answer(&buffer[..end])).await?,
        }
        buffer.drain(..end + length);
    }
}

fn answer(body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// Length of the head, its empty line included.
pub(crate) fn head_end(bytes: &[u8]) -> Option<usize> {
    let position = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    Some(position + 4)
}

/// What the head says about the body's length; nothing is nothing.
pub(crate) fn content_length(head: &[u8]) -> usize {
    const NAME: &[u8] = b"content-length:";
    head.split(|&byte| byte == b'\n')
        .find(|line| line.len() > NAME.len() && line[..NAME.len()].eq_ignore_ascii_case(NAME))
        .and_then(|line| std::str::from_utf8(&line[NAME.len()..]).ok())
        .and_then(|value| value.trim().parse().ok())
        .unwrap_or_default()
}
