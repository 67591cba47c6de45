//! A client that asks now and then, and notes how long it waited. Never asks again for what failed.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::Door;
use crate::frames::{END_STREAM, HEADERS, HOST, PREFACE, RST_STREAM, get, settings, window};
use crate::measure::percentile;

/// Requests on one connection, fewer than an edge allows.
const PER_CONNECTION: u32 = 500;
/// Longer than any answer may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// The first index of HPACK's static table with `:status: 200`.
const STATUS_200: u8 = 0x88;

/// A client of its own.
pub struct Calm {
    address: SocketAddr,
    door: Door,
    pace: Duration,
    connection: Option<(TcpStream, u32)>,
    received: Vec<u8>,
}

impl Calm {
    /// One that asks for `/` at this pace, over HTTP/2 if that is the door.
    pub fn new(address: SocketAddr, door: Door, pace: Duration) -> Calm {
        Calm {
            address,
            door,
            pace,
            connection: None,
            received: Vec::new(),
        }
    }

    /// Asks so often and gives the 99th percentile of its waiting times in milliseconds. An error says
    /// which request was not answered with 200.
    pub async fn p99_ms(&mut self, requests: u32) -> io::Result<f64> {
        let mut turns = interval(self.pace);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut times = Vec::new();
        for number in 0..requests {
            turns.tick().await;
            self.be_connected().await?;
            let begun = Instant::now();
            let asked = timeout(DEADLINE, self.ask()).await;
            let answered = asked.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            answered.map_err(|error| io::Error::other(format!("request {number}: {error}")))?;
            times.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        percentile(&mut times, 99.0).ok_or_else(|| io::Error::other("nothing was asked"))
    }

    /// Connecting is no part of what is measured.
    async fn be_connected(&mut self) -> io::Result<()> {
        if matches!(self.connection, Some((_, asked)) if asked < PER_CONNECTION) {
            return Ok(());
        }
        let mut stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        if self.door == Door::Http2 {
            let greeting = [PREFACE, &settings(&[]), &window(0, 1 << 30)].concat();
            stream.write_all(&greeting).await?;
        }
        self.received.clear();
        self.connection = Some((stream, 0));
        Ok(())
    }

    async fn ask(&mut self) -> io::Result<()> {
        let gone = || io::Error::from(io::ErrorKind::NotConnected);
        let (stream, asked) = self.connection.as_mut().ok_or_else(gone)?;
        let id = 2 * *asked + 1;
        *asked += 1;
        let request = match self.door {
            Door::Http2 => get(id, "/"),
            _ => format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n").into_bytes(),
        };
        stream.write_all(&request).await?;
        loop {
            let answered = match self.door {
                Door::Http2 => take_http2(&mut self.received, id)?,
                _ => take_http1(&mut self.received)?,
            };
            if answered {
                return Ok(());
            }
            if stream.read_buf(&mut self.received).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// Takes a whole answer with a length; `false`: there is not one yet.
fn take_http1(received: &mut Vec<u8>) -> io::Result<bool> {
    let Some(end) = received.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
        return Ok(false);
    };
    let head = String::from_utf8_lossy(&received[..end]).to_ascii_lowercase();
    if !head.starts_with("http/1.1 200") {
        return Err(io::Error::other(head));
    }
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length
        .and_then(|length| length.trim().parse().ok())
        .ok_or_else(|| io::Error::other(format!("no length: {head}")))?;
    let whole = end + 4 + length;
    if received.len() < whole {
        return Ok(false);
    }
    received.drain(..whole);
    Ok(true)
}

/// Takes frames up to the end of a stream; `false`: there is more to come.
fn take_http2(received: &mut Vec<u8>, id: u32) -> io::Result<bool> {
    while let Some(&[l0, l1, l2, kind, flags, s0, s1, s2, s3]) = received.first_chunk() {
        let whole = 9 + u32::from_be_bytes([0, l0, l1, l2]) as usize;
        if received.len() < whole {
            return Ok(false);
        }
        let is_ours = u32::from_be_bytes([s0, s1, s2, s3]) == id;
        if is_ours && kind == RST_STREAM {
            return Err(io::Error::other("the stream was reset"));
        }
        // An update of the table's size may come first.
        let is_200 =
            received[9..whole].iter().find(|byte| **byte & 0xe0 != 0x20) == Some(&STATUS_200);
        if is_ours && kind == HEADERS && !is_200 {
            let block = format!("{:?}", &received[9..whole]);
            return Err(io::Error::other(format!("not 200: {block}")));
        }
        received.drain(..whole);
        if is_ours && flags & END_STREAM != 0 {
            return Ok(true);
        }
    }
    Ok(false)
}
