//! One connection of an endpoint: reads requests, misbehaves as told. Never outlives its peer.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::state::State;
use super::{Behavior, Health, Received, script};
use crate::wire::{Head, Reader, malformed};

/// Whether the connection may carry another request.
#[derive(PartialEq, Eq)]
pub(super) enum Next {
    Request,
    Close,
}

pub(super) async fn connection(stream: TcpStream, state: Arc<State>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let _open = state.open();
    if matches!(state.behavior(), Behavior::CloseAfterAccept) {
        return Ok(());
    }
    let mut reader = Reader::new(stream);
    let mut patience = Duration::MAX;
    while let Ok(head) = timeout(patience, reader.head()).await {
        let Some(head) = head? else { break };
        patience = match state.behavior() {
            Behavior::CloseIdle(idle) => idle,
            _ => Duration::MAX,
        };
        let path = head.start_line.split(' ').nth(1).unwrap_or_default();
        let next = if path.starts_with("/health") {
            let request = receive(&mut reader, head).await?;
            state.record_health_check(request);
            answer_health(&mut reader, state.health()).await?
        } else {
            let behavior = state.behavior();
            if matches!(behavior, Behavior::StopReading) {
                return std::future::pending().await;
            }
            let _in_flight = state.enter();
            if let Behavior::Script(steps) = behavior {
                match script::run(&mut reader, &state, head, steps).await? {
                    Next::Request => continue,
                    Next::Close => break,
                }
            }
            if matches!(behavior, Behavior::EchoStream) {
                script::echo_stream(&mut reader, &state, &head).await?;
                continue;
            }
            let request = receive(&mut reader, head).await?;
            state.record(request.clone());
            match behavior {
                Behavior::Echo if is_upgrade(&request) => return echo_upgraded(&mut reader).await,
                Behavior::ResetTunnel => return reset_upgraded(&mut reader).await,
                _ => {}
            }
            answer(&mut reader, &state, &request, behavior).await?
        };
        if next == Next::Close {
            break;
        }
    }
    Ok(())
}

pub(super) async fn receive(reader: &mut Reader<TcpStream>, head: Head) -> io::Result<Received> {
    if head
        .field("expect")
        .is_some_and(|v| v.eq_ignore_ascii_case("100-continue"))
    {
        reader
            .stream
            .write_all(b"HTTP/1.1 100 Continue\r\n\r\n")
            .await?;
    }
    let (body, trailers) = if head.is_chunked() {
        reader.chunked().await?
    } else {
        let length = head.content_length().unwrap_or(0);
        (reader.exact(length).await?, Vec::new())
    };
    Ok(Received {
        body,
        trailers,
        ..without_body(&head)?
    })
}

/// A request as its head alone tells it.
pub(super) fn without_body(head: &Head) -> io::Result<Received> {
    let mut words = head.start_line.split(' ');
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Err(malformed(&head.start_line));
    };
    Ok(Received {
        method: method.to_owned(),
        target: target.to_owned(),
        fields: head.fields.clone(),
        body: Vec::new(),
        trailers: Vec::new(),
    })
}

/// Reads until the peer closes, then closes too.
pub(super) async fn until_closed(reader: &mut Reader<TcpStream>) -> io::Result<Next> {
    while !reader.some().await?.is_empty() {}
    Ok(Next::Close)
}

async fn answer_health(reader: &mut Reader<TcpStream>, health: Health) -> io::Result<Next> {
    let (status, fields) = match health {
        Health::Ok => (200, vec![]),
        Health::Failing => (500, vec![]),
        Health::Draining => (503, cause("draining")),
        Health::Cause(word) => (503, cause(word)),
        Health::Status(status) => (status, vec![]),
        Health::Hang => return std::future::pending().await,
    };
    send(reader, status, &fields, b"{}").await?;
    Ok(Next::Request)
}

fn cause(word: &str) -> Vec<(String, String)> {
    vec![("X-Health-Cause".to_owned(), word.to_owned())]
}

async fn answer(
    reader: &mut Reader<TcpStream>,
    state: &State,
    request: &Received,
    behavior: Behavior,
) -> io::Result<Next> {
    // The answer to HEAD has no body, whatever it announces; announce none.
    let echo = match request.method.as_str() {
        "HEAD" => String::new(),
        _ => request.to_json(&state.name).to_string(),
    };
    match behavior {
        Behavior::Echo | Behavior::CloseIdle(_) => send(reader, 200, &[], echo.as_bytes()).await?,
        Behavior::Slow(pause) => {
            tokio::time::sleep(pause).await;
            send(reader, 200, &[], echo.as_bytes()).await?;
        }
        Behavior::Status(status) => send(reader, status, &[], b"{}").await?,
        Behavior::Fields(fields) => send(reader, 200, &fields, echo.as_bytes()).await?,
        Behavior::Bytes(length) => send_bytes(reader, length).await?,
        Behavior::CloseUnannounced => {
            send(reader, 200, &[], echo.as_bytes()).await?;
            return Ok(Next::Close);
        }
        Behavior::CloseAfterAnswer => {
            send(
                reader,
                200,
                &[("Connection".into(), "close".into())],
                echo.as_bytes(),
            )
            .await?;
            return Ok(Next::Close);
        }
        Behavior::ResetBeforeAnswer => {
            reader.stream.set_zero_linger()?;
            return Ok(Next::Close);
        }
        Behavior::ResetMidBody => {
            send_half(reader).await?;
            reader.stream.set_zero_linger()?;
            return Ok(Next::Close);
        }
        Behavior::TruncatedLength => {
            send_half(reader).await?;
            return Ok(Next::Close);
        }
        Behavior::HangMidBody => {
            send_half(reader).await?;
            return until_closed(reader).await;
        }
        Behavior::Garbage => {
            reader
                .stream
                .write_all(b"\x00\x01 this is not HTTP\r\n\r\n")
                .await?;
            return Ok(Next::Close);
        }
        Behavior::SlowHead(pause) => {
            for byte in head_text(200, &[], 2).into_bytes() {
                reader.stream.write_all(&[byte]).await?;
                tokio::time::sleep(pause).await;
            }
            reader.stream.write_all(b"{}").await?;
        }
        Behavior::Hang => return until_closed(reader).await,
        // Acted on as soon as the head is there, or before.
        Behavior::StopReading
        | Behavior::ResetTunnel
        | Behavior::EchoStream
        | Behavior::Script(_)
        | Behavior::CloseAfterAccept => return Ok(Next::Close),
    }
    Ok(Next::Request)
}

async fn send(
    reader: &mut Reader<TcpStream>,
    status: u16,
    fields: &[(String, String)],
    body: &[u8],
) -> io::Result<()> {
    let mut message = head_text(status, fields, body.len()).into_bytes();
    message.extend_from_slice(body);
    reader.stream.write_all(&message).await
}

/// So many bytes, as they are taken: the system would gladly keep megabytes for each of a thousand peers
/// who take nothing, and be busy with that.
async fn send_bytes(reader: &mut Reader<TcpStream>, length: usize) -> io::Result<()> {
    if length > SEND_BUFFER_BYTES {
        setsockopt(&reader.stream, sockopt::SndBuf, &SEND_BUFFER_BYTES)?;
    }
    let mut left = length;
    let first = left.min(PIECE.len());
    let mut message = head_text(200, &[], length).into_bytes();
    message.extend_from_slice(&PIECE[..first]);
    reader.stream.write_all(&message).await?;
    left -= first;
    while left > 0 {
        let piece = left.min(PIECE.len());
        reader.stream.write_all(&PIECE[..piece]).await?;
        left -= piece;
    }
    Ok(())
}

const SEND_BUFFER_BYTES: usize = 64 << 10;
static PIECE: [u8; 16 << 10] = [b'x'; 16 << 10];

/// A head that announces 1,000 bytes, and the first 500 of them.
async fn send_half(reader: &mut Reader<TcpStream>) -> io::Result<()> {
    let mut message = head_text(200, &[], 1_000).into_bytes();
    message.extend_from_slice(&[b'x'; 500]);
    reader.stream.write_all(&message).await?;
    // Without this a reset could overtake the bytes.
    reader.stream.flush().await
}

fn head_text(status: u16, fields: &[(String, String)], length: usize) -> String {
    let mut text = format!(
        "HTTP/1.1 {status} Scripted\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n"
    );
    for (name, value) in fields {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    text
}

fn is_upgrade(request: &Received) -> bool {
    request
        .values("upgrade")
        .iter()
        .any(|v| v.eq_ignore_ascii_case("websocket"))
}

/// 101, then every byte comes back, until the peer is done.
async fn echo_upgraded(reader: &mut Reader<TcpStream>) -> io::Result<()> {
    reader.stream.write_all(SWITCHING).await?;
    loop {
        let bytes = reader.some().await?;
        if bytes.is_empty() {
            return Ok(());
        }
        reader.stream.write_all(&bytes).await?;
    }
}

/// 101, and a reset as soon as something arrives.
async fn reset_upgraded(reader: &mut Reader<TcpStream>) -> io::Result<()> {
    reader.stream.write_all(SWITCHING).await?;
    reader.some().await?;
    reader.stream.set_zero_linger()
}

const SWITCHING: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
