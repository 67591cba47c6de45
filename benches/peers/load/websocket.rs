//! WebSocket echo with one kind of message, which fits a short frame. Never checks a handshake's
//! key: all clients send the one of RFC 6455, section 1.3.

use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::origin::head_end;

const REQUEST: &[u8] = b"GET /websocket HTTP/1.1\r\nHost: peers.example\r\n\
    Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// What an origin answers to it.
pub(crate) const ACCEPTANCE: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

const MESSAGE: [u8; 100] = [b'm'; 100];
const MASK: [u8; 4] = [1, 2, 3, 4];
const BINARY_FINAL: u8 = 0x82;
const MASKED: u8 = 0x80;
const CLIENT_FRAME: usize = 2 + MASK.len() + MESSAGE.len();
const ORIGIN_FRAME: usize = 2 + MESSAGE.len();

/// Sends messages one after another until the time is over; how many came back.
pub(crate) async fn ping_until(address: SocketAddr, until: Instant) -> Result<u64> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    stream.write_all(REQUEST).await?;
    let mut buffer = Vec::new();
    while head_end(&buffer).is_none() {
        let read = stream.read_buf(&mut buffer).await?;
        ensure!(read > 0, "closed instead of upgraded");
    }
    if !buffer.starts_with(b"HTTP/1.1 101") {
        bail!("it answered {}", String::from_utf8_lossy(&buffer));
    }
    let mut frame = vec![BINARY_FINAL, MASKED | 100];
    frame.extend(MASK);
    frame.extend(masked(&MESSAGE));
    let mut count = 0;
    let mut back = [0; ORIGIN_FRAME];
    while Instant::now() < until {
        stream.write_all(&frame).await?;
        stream.read_exact(&mut back).await.context("no echo")?;
        ensure!(back[2..] == MESSAGE, "the echo is another message");
        count += 1;
    }
    Ok(count)
}

/// The origin's side, from behind the upgrade.
pub(crate) async fn echo(mut stream: TcpStream, mut buffer: Vec<u8>) -> std::io::Result<()> {
    loop {
        while buffer.len() < CLIENT_FRAME {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        }
        let mut frame = vec![BINARY_FINAL, 100];
        frame.extend(masked(&buffer[2 + MASK.len()..CLIENT_FRAME]));
        buffer.drain(..CLIENT_FRAME);
        stream.write_all(&frame).await?;
    }
}

fn masked(payload: &[u8]) -> impl Iterator<Item = u8> + '_ {
    payload
        .iter()
        .zip(MASK.iter().cycle())
        .map(|(byte, mask)| byte ^ mask)
}
