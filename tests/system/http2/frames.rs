//! HTTP/2 frame by frame: sends exactly what a test wrote, right or wrong. Never repairs anything and
//! decodes no more of a header block than its status.

use std::time::Duration;

use portcullis_testkit::{Authority, Connection};

use crate::harness::Edge;

pub(super) use portcullis_testkit::frames::*;

/// How long the next byte may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// A frame that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

impl Frame {
    /// The error code of RST_STREAM or GOAWAY.
    pub(super) fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }

    pub(super) fn ends_stream(&self) -> bool {
        self.kind == RST_STREAM
            || matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
    }
}

/// The status that begins a block of an encoder without a dynamic table.
fn status(block: &[u8]) -> Option<u16> {
    let mut block = block;
    // Updates of the table's size.
    while let [first, rest @ ..] = block
        && first & 0xe0 == 0x20
    {
        let long = rest.iter().take_while(|byte| **byte & 0x80 != 0).count() + 1;
        block = if first & 0x1f == 0x1f {
            &rest[long..]
        } else {
            rest
        };
    }
    let common = [200, 204, 206, 304, 400, 404, 500];
    match *block {
        [first @ 0x88..=0x8e, ..] => Some(common[usize::from(first - 0x88)]),
        [name, length, ref value @ ..] if name & 0x0f == 8 || name == 0x48 => {
            let value = value.get(..usize::from(length & 0x7f))?;
            if length & 0x80 == 0 {
                return std::str::from_utf8(value).ok()?.parse().ok();
            }
            digits(value)
        }
        _ => None,
    }
}

/// Three digits in Huffman code (RFC 7541, appendix B).
fn digits(bytes: &[u8]) -> Option<u16> {
    let mut bits = bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1));
    let mut number = 0;
    for _ in 0..3 {
        let mut code = 0;
        for _ in 0..5 {
            code = code << 1 | bits.next()?;
        }
        let digit = match code {
            0..=2 => code,
            _ => (code << 1 | bits.next()?) - 0b01_1001 + 3,
        };
        number = number * 10 + u16::from(digit);
    }
    Some(number)
}

/// Which way in: over TLS, or in the clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Clear,
    Tls,
}

/// A connection on which nothing happens by itself.
pub(super) struct Raw {
    connection: Connection,
    bytes: Vec<u8>,
    /// Frames that were not asked for yet.
    pub(super) seen: Vec<Frame>,
    is_closed: bool,
}

impl Raw {
    /// Connects without a word. The first listener is the one in the clear, the second has TLS.
    pub(super) async fn silent(edge: &Edge, authority: &Authority, way: Way) -> Raw {
        let connection = match way {
            Way::Clear => edge.connect().await,
            Way::Tls => {
                let mut config = authority.client();
                config.alpn_protocols = vec![b"h2".to_vec()];
                Connection::open_tls(edge.listener(1), HOST, config)
                    .await
                    .unwrap()
            }
        };
        Raw {
            connection: connection.with_deadline(PATIENCE),
            bytes: Vec::new(),
            seen: Vec::new(),
            is_closed: false,
        }
    }

    /// Connects and greets, without a dynamic table for answers.
    pub(super) async fn open(edge: &Edge, authority: &Authority, way: Way) -> Raw {
        let mut raw = Self::silent(edge, authority, way).await;
        raw.greet(&[]).await;
        raw
    }

    /// Greets with further settings.
    pub(super) async fn greet(&mut self, pairs: &[(u16, u32)]) {
        let pairs = [&[(0x1, 0)], pairs].concat();
        self.send(&[PREFACE, &settings(&pairs)].concat()).await;
        self.until(|frame| frame.kind == SETTINGS && frame.flags & ACK != 0)
            .await
            .expect("settings are acknowledged");
        self.send(&frame(SETTINGS, ACK, 0, b"")).await;
        self.seen.clear();
    }

    /// Sends; that the other side has closed shows when reading.
    pub(super) async fn send(&mut self, bytes: &[u8]) {
        let _ = self.connection.send(bytes).await;
    }

    /// The next frame; `None` when the connection has ended, or nothing more comes.
    pub(super) async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.take() {
                self.seen.push(frame.clone());
                return Some(frame);
            }
            if self.is_closed {
                return None;
            }
            match self.connection.read_some().await {
                Ok(bytes) if bytes.is_empty() => self.is_closed = true,
                Ok(bytes) => self.bytes.extend(bytes),
                // Who waits for more has waited in vain; the connection may go on.
                Err(error) if error.kind() == std::io::ErrorKind::TimedOut => return None,
                Err(_) => self.is_closed = true,
            }
        }
    }

    fn take(&mut self) -> Option<Frame> {
        let header: [u8; 9] = self.bytes.get(..9)?.try_into().unwrap();
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
        let payload = self.bytes.get(9..9 + length)?.to_vec();
        self.bytes.drain(..9 + length);
        Some(Frame {
            kind: header[3],
            flags: header[4],
            stream: u32::from_be_bytes([header[5], header[6], header[7], header[8]]),
            payload,
        })
    }

    /// Reads what has come already, and what the other side says to a PING.
    pub(super) async fn drain(&mut self) {
        let already = self.seen.len();
        while let Some(frame) = self.next_now().await {
            if frame.kind == GOAWAY {
                return;
            }
        }
        self.seen.drain(..already);
    }

    /// The next frame if it has come already.
    async fn next_now(&mut self) -> Option<Frame> {
        let next = tokio::time::timeout(Duration::from_millis(1), self.next());
        next.await.ok().flatten()
    }

    /// The first frame, seen or to come, that matches; `None` when the connection ends first.
    pub(super) async fn until(&mut self, matches: impl Fn(&Frame) -> bool) -> Option<Frame> {
        if let Some(frame) = self.seen.iter().find(|frame| matches(frame)) {
            return Some(frame.clone());
        }
        loop {
            let frame = self.next().await?;
            if matches(&frame) {
                return Some(frame);
            }
        }
    }

    /// Waits until the other side has taken everything that was sent.
    pub(super) async fn settle(&mut self) -> Option<Frame> {
        let payload = *b"settled?";
        self.send(&frame(PING, 0, 0, &payload)).await;
        self.until(|frame| frame.kind == PING && frame.flags == ACK && frame.payload == payload)
            .await
    }

    /// The status of the first answer on a stream; an error says what came instead.
    pub(super) async fn status(&mut self, stream: u32) -> Result<u16, String> {
        let found = self
            .until(|frame| {
                frame.kind == GOAWAY && frame.code() != NO_ERROR
                    || frame.stream == stream && matches!(frame.kind, HEADERS | RST_STREAM)
            })
            .await;
        match found {
            Some(frame) if frame.kind == HEADERS => {
                status(&frame.payload).ok_or(format!("no status in {:?}", frame.payload))
            }
            Some(frame) => Err(format!("kind {} code {}", frame.kind, frame.code())),
            None => Err("closed".to_owned()),
        }
    }

    /// The body of an answer, once it has ended.
    pub(super) async fn body(&mut self, stream: u32) -> Vec<u8> {
        self.until(|frame| frame.stream == stream && frame.ends_stream())
            .await;
        let data = self.seen.iter();
        data.filter(|frame| frame.stream == stream && frame.kind == DATA)
            .flat_map(|frame| frame.payload.clone())
            .collect()
    }

    /// The code of the GOAWAY that ended the connection; `None` without one, or without an end.
    pub(super) async fn farewell(&mut self) -> Option<u32> {
        while self.next().await.is_some() {}
        if !self.is_closed {
            return None;
        }
        let goaway = self.seen.iter().rev().find(|frame| frame.kind == GOAWAY);
        goaway.map(Frame::code)
    }
}
