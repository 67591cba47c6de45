//! HTTP/2 frame by frame, for what no library would send. Never more than a test needs.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What it does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trick {
    /// Answers the first of each connection; to the next says goodbye, and that it has not begun with it.
    LeaveWithout,
    /// Sends a head that never ends.
    EndlessHeaders,
    /// Sends a frame that cannot be there.
    Garbage,
    /// Closes the connection.
    Hangup,
}

pub(super) struct RawH2 {
    address: SocketAddr,
    accept: JoinHandle<()>,
}

impl RawH2 {
    pub(super) async fn start(trick: Trick) -> RawH2 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let accept = tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                tokio::spawn(serve(tcp, trick));
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

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend_from_slice(&[kind, flags]);
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

async fn serve(mut tcp: TcpStream, trick: Trick) -> Option<()> {
    tcp.read_exact(&mut [0; 24]).await.ok()?;
    tcp.write_all(&frame(SETTINGS, 0, 0, &[])).await.ok()?;
    let mut answered = 0;
    loop {
        let mut head = [0; 9];
        tcp.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        tcp.read_exact(&mut payload).await.ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let has_ended = matches!(head[3], DATA | HEADERS) && head[4] & 1 == 1;
        match head[3] {
            SETTINGS if head[4] == 0 => tcp.write_all(&frame(SETTINGS, 1, 0, &[])).await.ok()?,
            PING if head[4] == 0 => tcp.write_all(&frame(PING, 1, 0, &payload)).await.ok()?,
            HEADERS if trick == Trick::LeaveWithout && answered > 0 => {
                let mut goodbye = answered_last(stream).to_be_bytes().to_vec();
                goodbye.extend_from_slice(&[0; 4]);
                tcp.write_all(&frame(GOAWAY, 0, 0, &goodbye)).await.ok()?;
            }
            _ if has_ended && trick == Trick::LeaveWithout => {
                // `:status: 200` and the end.
                tcp.write_all(&frame(HEADERS, 5, stream, &[0x88]))
                    .await
                    .ok()?;
                answered += 1;
            }
            HEADERS if trick == Trick::EndlessHeaders => {
                tcp.write_all(&frame(HEADERS, 0, stream, &[0x88]))
                    .await
                    .ok()?;
                // A field without indexing: `a: bbb…`.
                let mut field = vec![0, 1, b'a', 0x7f, 0x81, 0x3f];
                field.resize(field.len() + 8192, b'b');
                for _ in 0..100_000 {
                    tcp.write_all(&frame(CONTINUATION, 0, stream, &field))
                        .await
                        .ok()?;
                }
            }
            HEADERS if trick == Trick::Garbage => {
                tcp.write_all(&frame(DATA, 0, 0, b"nonsense")).await.ok()?;
            }
            HEADERS if trick == Trick::Hangup => return None,
            _ => {}
        }
    }
}

/// The stream before this one.
fn answered_last(stream: u32) -> u32 {
    stream - 2
}
