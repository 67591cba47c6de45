//! The way back: an answer of HTTP/2 becomes text of HTTP/1.1. Never frames what has no body, and never
//! ends a body that has not ended.

use std::future::{Future as _, poll_fn};
use std::task::Poll;

use bytes::{BufMut as _, BytesMut};
use h2::RecvStream;
use h2::client::ResponseFuture;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::response::Parts;
use http::{HeaderMap, Response, StatusCode};
use tokio::io::{AsyncWriteExt as _, DuplexStream, WriteHalf};

use super::end::Fault;
use super::fields::is_of_connection;

/// Where the end of a body is said.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Framing {
    Nowhere,
    Length,
    Chunked,
}

/// Writes the answer as it comes; a fault is the endpoint's.
pub(super) async fn carry(
    mut answer: ResponseFuture,
    mut answers: WriteHalf<DuplexStream>,
    is_head: bool,
) -> Result<(), Fault> {
    let mut text = BytesMut::with_capacity(HEAD_BYTES_USUAL);
    let Some(response) = final_head(&mut answer, &mut answers, &mut text).await? else {
        return Ok(());
    };
    let (mut head, mut body) = response.into_parts();
    let framing = framing(&head, is_head, body.is_end_stream());
    if framing == Framing::Chunked {
        head.headers.remove(CONTENT_LENGTH);
    }
    put_head(&mut text, head.status, &head.headers);
    match framing {
        Framing::Chunked => text.put_slice(b"transfer-encoding: chunked\r\n"),
        Framing::Length if !head.headers.contains_key(CONTENT_LENGTH) => {
            text.put_slice(b"content-length: 0\r\n");
        }
        Framing::Length | Framing::Nowhere => {}
    }
    text.put_slice(b"\r\n");
    // An error means that the relay has given up.
    if answers.write_all(&text).await.is_ok() && framing != Framing::Nowhere {
        carry_body(&mut body, &mut answers, framing).await?;
    }
    Ok(())
}

/// Writes interim heads until the final one comes, in front of which `text` then holds what the relay
/// has not taken yet. No flow control holds endpoints back here, so their number is bounded. `None`
/// when the relay has given up.
async fn final_head(
    answer: &mut ResponseFuture,
    answers: &mut WriteHalf<DuplexStream>,
    text: &mut BytesMut,
) -> Result<Option<Response<RecvStream>>, Fault> {
    let mut interim_heads = 0;
    loop {
        let has_text = !text.is_empty();
        tokio::select! {
            biased;
            head = next_head(answer) => match head? {
                Head::Final(response) => return Ok(Some(response)),
                Head::Interim(_) if interim_heads == INTERIM_HEADS_MAX => {
                    return Err(Fault::Malformed);
                }
                Head::Interim(head) => {
                    interim_heads += 1;
                    put_head(text, head.status(), head.headers());
                    text.put_slice(b"\r\n");
                }
            },
            written = answers.write_buf(text), if has_text => {
                if written.is_err() {
                    return Ok(None);
                }
            }
        }
    }
}

enum Head {
    Interim(Response<()>),
    Final(Response<RecvStream>),
}

async fn next_head(answer: &mut ResponseFuture) -> Result<Head, h2::Error> {
    poll_fn(|cx| {
        if let Poll::Ready(Some(interim)) = answer.poll_informational(cx) {
            return Poll::Ready(interim.map(Head::Interim));
        }
        std::pin::Pin::new(&mut *answer)
            .poll(cx)
            .map(|answer| answer.map(Head::Final))
    })
    .await
}

fn framing(head: &Parts, is_head: bool, is_whole: bool) -> Framing {
    let has_none = is_head
        || matches!(
            head.status,
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
        );
    if has_none {
        Framing::Nowhere
    } else if is_whole {
        Framing::Length
    } else if is_grpc(&head.headers) {
        // Trailers follow, for which a declared length leaves no room.
        Framing::Chunked
    } else if head.headers.contains_key(CONTENT_LENGTH) {
        Framing::Length
    } else {
        Framing::Chunked
    }
}

fn is_grpc(fields: &HeaderMap) -> bool {
    let kind = fields.get(CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

fn put_head(text: &mut BytesMut, status: StatusCode, fields: &HeaderMap) {
    text.put_slice(b"HTTP/1.1 ");
    text.put_slice(status.as_str().as_bytes());
    text.put_slice(b" ");
    text.put_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    text.put_slice(b"\r\n");
    put_fields(text, fields);
}

fn put_fields(text: &mut BytesMut, fields: &HeaderMap) {
    for (name, value) in fields {
        if !is_of_connection(name) {
            text.put_slice(name.as_str().as_bytes());
            text.put_slice(b": ");
            text.put_slice(value.as_bytes());
            text.put_slice(b"\r\n");
        }
    }
}

async fn carry_body(
    body: &mut RecvStream,
    answers: &mut WriteHalf<DuplexStream>,
    framing: Framing,
) -> Result<(), Fault> {
    while let Some(piece) = body.data().await {
        let piece = piece?;
        let written = match framing {
            Framing::Chunked if piece.is_empty() => Ok(()),
            Framing::Chunked => {
                let mut text = BytesMut::with_capacity(piece.len() + 16);
                text.put_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                text.put_slice(&piece);
                text.put_slice(b"\r\n");
                answers.write_all(&text).await
            }
            _ => answers.write_all(&piece).await,
        };
        if written.is_err() {
            return Ok(());
        }
        // Only what the relay has taken makes room for more.
        body.flow_control().release_capacity(piece.len())?;
    }
    let trailers = body.trailers().await?;
    if framing == Framing::Chunked {
        let mut text = BytesMut::new();
        text.put_slice(b"0\r\n");
        if let Some(trailers) = &trailers {
            put_fields(&mut text, trailers);
        }
        text.put_slice(b"\r\n");
        // As above.
        let _ = answers.write_all(&text).await;
    }
    Ok(())
}

const HEAD_BYTES_USUAL: usize = 1024;
/// As many as the relay takes.
const INTERIM_HEADS_MAX: u32 = 16;
