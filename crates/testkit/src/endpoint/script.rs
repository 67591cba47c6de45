//! Answers given piece by piece, some before the request is complete. Never more than a script says.

use std::io;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::Step;
use super::serve::{Next, receive, until_closed, without_body};
use super::state::State;
use crate::wire::{Head, Reader};

pub(super) async fn run(
    reader: &mut Reader<TcpStream>,
    state: &State,
    head: Head,
    steps: Vec<Step>,
) -> io::Result<Next> {
    if !steps.iter().any(|step| matches!(step, Step::Receive)) {
        state.record(without_body(&head)?);
    }
    for step in steps {
        match step {
            Step::Receive => state.record(receive(reader, head.clone()).await?),
            Step::Send(bytes) => reader.stream.write_all(&bytes).await?,
            Step::SendBytewise(bytes, pause) => {
                for byte in bytes {
                    reader.stream.write_all(&[byte]).await?;
                    tokio::time::sleep(pause).await;
                }
            }
            Step::Await(permits) => match permits.acquire().await {
                Ok(permit) => permit.forget(),
                Err(_) => return Ok(Next::Close),
            },
            Step::FinishSending => reader.stream.shutdown().await?,
            Step::AwaitClose => return until_closed(reader).await,
            Step::Close => return Ok(Next::Close),
            Step::Reset => {
                reader.stream.set_zero_linger()?;
                return Ok(Next::Close);
            }
        }
    }
    Ok(Next::Request)
}

/// Remembers the request by its head alone.
pub(super) async fn echo_stream(
    reader: &mut Reader<TcpStream>,
    state: &State,
    head: &Head,
) -> io::Result<()> {
    state.record(without_body(head)?);
    let start = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    reader.stream.write_all(start).await?;
    let mut left = head.content_length().unwrap_or(0);
    loop {
        let piece = if head.is_chunked() {
            reader.chunk().await?
        } else {
            reader.some_of(left).await?
        };
        if piece.is_empty() {
            break;
        }
        left = left.saturating_sub(piece.len());
        let mut chunk = format!("{:x}\r\n", piece.len()).into_bytes();
        chunk.extend(piece);
        chunk.extend(b"\r\n");
        reader.stream.write_all(&chunk).await?;
    }
    if head.is_chunked() {
        reader.trailers().await?;
    }
    reader.stream.write_all(b"0\r\n\r\n").await
}
