//! An endpoint that speaks HTTP/2 frame by frame, for what no library would send. Knows no more of a
//! request than that it has ended, and what its body says; `deaf` makes it hear nothing more.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PUSH_PROMISE: u8 = 5;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

/// END_HEADERS.
pub(super) const HEAD: u8 = 4;
/// END_STREAM.
pub(super) const END: u8 = 1;
/// `:status: 200` as HPACK has it in its table.
pub(super) const STATUS_200: u8 = 0x88;

/// What is sent to whom, by stream and body of a request that has ended. `None` closes the connection.
pub(super) type Answer = fn(stream: u32, body: &[u8]) -> Option<Vec<u8>>;

pub(super) struct RawH2 {
    address: SocketAddr,
    accept: JoinHandle<()>,
}

impl RawH2 {
    /// Starts one with settings, pairs of number and value.
    pub(super) async fn start(settings: &[(u16, u32)], answer: Answer) -> RawH2 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let pairs = settings.iter();
        let settings: Vec<u8> = pairs
            .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
            .collect();
        let accept = tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                tokio::spawn(serve(tcp, frame(SETTINGS, 0, 0, &settings), answer));
            }
        });
        RawH2 { address, accept }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for RawH2 {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend_from_slice(&[kind, flags]);
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// A field that HPACK does not remember, without Huffman coding.
pub(super) fn field(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut field = vec![0];
    for text in [name, value] {
        let mut rest = text.len();
        if rest < 127 {
            field.push(rest as u8);
        } else {
            field.push(127);
            rest -= 127;
            while rest >= 128 {
                field.push((rest % 128) as u8 | 128);
                rest /= 128;
            }
            field.push(rest as u8);
        }
        field.extend_from_slice(text);
    }
    field
}

async fn serve(mut tcp: TcpStream, settings: Vec<u8>, answer: Answer) -> Option<()> {
    tcp.read_exact(&mut [0; 24]).await.ok()?;
    tcp.write_all(&settings).await.ok()?;
    let mut body = Vec::new();
    loop {
        let mut head = [0; 9];
        tcp.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        tcp.read_exact(&mut payload).await.ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        match head[3] {
            SETTINGS if head[4] == 0 => tcp.write_all(&frame(SETTINGS, 1, 0, &[])).await.ok()?,
            PING if head[4] == 0 => tcp.write_all(&frame(PING, 1, 0, &payload)).await.ok()?,
            DATA => body.extend_from_slice(&payload),
            _ => {}
        }
        if matches!(head[3], DATA | HEADERS) && head[4] & END == END {
            if body == b"deaf" {
                // Keeps the connection, and reads no more of it.
                std::future::pending::<()>().await;
            }
            let frames = answer(stream, &body)?;
            tcp.write_all(&frames).await.ok()?;
            body.clear();
        }
    }
}
