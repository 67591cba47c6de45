//! Asks by the gRPC health protocol whether a service is serving. Never waits, the deadline is the
//! caller's; never reads more than its bounds, and leaves no task behind.
//!
//! One call of `grpc.health.v1.Health/Check` over HTTP/2. Its two messages have one field each, so
//! they are written and read here.

use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use h2::RecvStream;
use h2::client::{Builder, ResponseFuture, SendRequest};
use http::header::{CONTENT_TYPE, TE, USER_AGENT};
use http::{HeaderMap, Method, Request, StatusCode, Version};
use portcullis_traffic::containment::Trouble;
use tokio::io::{AsyncRead, AsyncWrite};

use super::answer::named_cause;
use super::ask;
use super::finding::{Failure, Finding};
use crate::config::GrpcQuestion;
use crate::pipeline::announces_draining;

/// Asks once, over a connection that is ready for HTTP/2. `patience` is told to the endpoint.
pub(super) async fn ask(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    question: &GrpcQuestion,
    endpoint: SocketAddr,
    is_tls: bool,
    patience: Duration,
) -> Result<Finding, Failure> {
    let request = request(question, endpoint, is_tls, patience)?;
    let message = message(&question.service);
    let (sender, connection) = Builder::new()
        .enable_push(false)
        .initial_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_header_list_size(HEAD_BYTES_MAX)
        .handshake::<_, Bytes>(stream)
        .await
        .map_err(|error| broken(&error))?;
    // The connection moves as long as it is polled here, and ends with this call.
    let mut connection = pin!(connection);
    let mut exchange = pin!(exchange(sender, request, message));
    tokio::select! {
        biased;
        found = &mut exchange => found,
        _ended = &mut connection => exchange.await,
    }
}

async fn exchange(
    sender: SendRequest<Bytes>,
    request: Request<()>,
    message: Bytes,
) -> Result<Finding, Failure> {
    let mut sender = sender.ready().await.map_err(|error| broken(&error))?;
    let sent = sender.send_request(request, false);
    let (answer, mut body) = sent.map_err(|error| broken(&error))?;
    let sent = body.send_data(message, true);
    sent.map_err(|error| broken(&error))?;
    judge(answer).await
}

async fn judge(answer: ResponseFuture) -> Result<Finding, Failure> {
    let (head, mut body) = answer.await.map_err(|error| broken(&error))?.into_parts();
    if announces_draining(&head.headers) {
        return Ok(Finding::Draining);
    }
    if let Some(name) = named_cause(&head.headers) {
        return Err(Failure::of(Trouble::Dependency(name)));
    }
    if head.status != StatusCode::OK {
        return Err(Failure::of(Trouble::Status(head.status.as_u16())));
    }
    let kind = head.headers.get(CONTENT_TYPE).map(|kind| kind.as_bytes());
    if !kind.is_some_and(|kind| kind.starts_with(b"application/grpc")) {
        return Err(not_grpc("another content type"));
    }
    // Where there is no message, the head is all there is.
    let status = match status_in(&head.headers)? {
        Some(status) => status,
        None => {
            let message = read(&mut body).await?;
            let trailers = body.trailers().await.map_err(|error| broken(&error))?;
            match status_in(&trailers.unwrap_or_default())? {
                Some(0) => return judge_message(&message),
                Some(status) => status,
                None => return Err(not_grpc("no grpc-status")),
            }
        }
    };
    Err(match status {
        0 => not_grpc("no message"),
        5 => mismatch("the service is unknown there"),
        12 => mismatch("no health service there"),
        status => mismatch(&format!("grpc-status {status}")),
    })
}

/// All of a body, if it is as short as such a message.
async fn read(body: &mut RecvStream) -> Result<Vec<u8>, Failure> {
    let mut message = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece.map_err(|error| broken(&error))?;
        if message.len() + piece.len() > MESSAGE_BYTES_MAX {
            return Err(not_grpc("its message is too long"));
        }
        message.extend_from_slice(&piece);
        let released = body.flow_control().release_capacity(piece.len());
        released.map_err(|error| broken(&error))?;
    }
    Ok(message)
}

/// A message uncompressed and whole, of which field 1 is the state of the service.
fn judge_message(bytes: &[u8]) -> Result<Finding, Failure> {
    let state = framed(bytes).and_then(field_1);
    match state.ok_or_else(|| not_grpc("its message"))? {
        1 => Ok(Finding::Passed),
        2 => Err(mismatch("NOT_SERVING")),
        3 => Err(mismatch("SERVICE_UNKNOWN")),
        _ => Err(mismatch("UNKNOWN")),
    }
}

fn framed(mut bytes: &[u8]) -> Option<&[u8]> {
    let is_compressed = bytes.try_get_u8().ok()? != 0;
    let length = bytes.try_get_u32().ok()?;
    let is_whole = usize::try_from(length).ok()? == bytes.len();
    (is_whole && !is_compressed).then_some(bytes)
}

/// The last value of the first field, a number; zero if it is not there. Other fields are passed
/// over. `None` if this is no message.
fn field_1(mut bytes: &[u8]) -> Option<u64> {
    let mut value = 0;
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let skipped = match key & 7 {
            0 => {
                let number = varint(&mut bytes)?;
                if key >> 3 == 1 {
                    value = number;
                }
                0
            }
            1 => 8,
            2 => usize::try_from(varint(&mut bytes)?).ok()?,
            5 => 4,
            _ => return None,
        };
        bytes = bytes.get(skipped..)?;
    }
    Some(value)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = bytes.try_get_u8().ok()?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

/// The name of the service as field 1, framed. It was checked when the configuration was read.
fn message(service: &str) -> Bytes {
    let mut message = Vec::with_capacity(service.len() + 8);
    if !service.is_empty() {
        message.push(1 << 3 | 2);
        let mut length = service.len();
        while length >= 0x80 {
            message.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        message.push((length & 0x7f) as u8);
        message.extend_from_slice(service.as_bytes());
    }
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut framed = vec![0];
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(&message);
    framed.into()
}

fn request(
    question: &GrpcQuestion,
    endpoint: SocketAddr,
    is_tls: bool,
    patience: Duration,
) -> Result<Request<()>, Failure> {
    let scheme = if is_tls { "https" } else { "http" };
    let authority = match &question.host {
        Some(host) => host.clone(),
        None => endpoint.to_string(),
    };
    let milliseconds = patience.as_millis().min(99_999_999);
    Request::builder()
        .method(Method::POST)
        .version(Version::HTTP_2)
        .uri(format!("{scheme}://{authority}{PATH}"))
        .header(CONTENT_TYPE, "application/grpc")
        .header(TE, "trailers")
        .header(USER_AGENT, ask::USER_AGENT)
        .header("grpc-timeout", format!("{milliseconds}m"))
        .body(())
        .map_err(|error| Failure::with(Trouble::Mismatch, error))
}

fn status_in(fields: &HeaderMap) -> Result<Option<u16>, Failure> {
    let Some(status) = fields.get("grpc-status") else {
        return Ok(None);
    };
    let status = status.to_str().ok().and_then(|text| text.parse().ok());
    status.map(Some).ok_or_else(|| not_grpc("its grpc-status"))
}

fn broken(error: &h2::Error) -> Failure {
    let trouble = match error.is_io() || error.is_remote() {
        true => Trouble::Reset,
        false => Trouble::Malformed,
    };
    Failure::with(trouble, error)
}

fn not_grpc(what: &str) -> Failure {
    Failure::with(Trouble::Malformed, format_args!("no gRPC: {what}"))
}

fn mismatch(what: &str) -> Failure {
    Failure::with(Trouble::Mismatch, what)
}

const PATH: &str = "/grpc.health.v1.Health/Check";
/// Neither heads nor messages of this protocol come near these.
const HEAD_BYTES_MAX: u32 = 16 * 1024;
const WINDOW_BYTES: u32 = 65_535;
const MESSAGE_BYTES_MAX: usize = 1024;

#[cfg(test)]
mod tests;
