//! Requests over HTTP/2, many on one connection: of clients, and to endpoints that speak it. To the relay
//! each of them is a stream of HTTP/1.1 like any other; here it becomes HTTP/2 and back. Never decides
//! about another attempt, and leaves no task behind its connection.
//!
//! | room | holds |
//! |---|---|
//! | `h2/clients` | connections of clients and their requests; the others are about endpoints |
//! | `h2/connections` | connections to endpoints, who may use them and when they end |
//! | `h2/bridge` | one request as the relay sees it |
//! | `h2/request`, `h2/response` | its two ways |
//! | `h2/fields` | which fields end here, and which go into no table |
//! | `h2/end` | what an end without an answer means |

mod bridge;
mod clients;
mod connections;
mod end;
mod fields;
mod request;
mod response;

use bytes::Bytes;
use h2::client::{Builder, Connection, SendRequest};
use h2::{Ping, PingPong};
use tokio::io::{AsyncRead, AsyncWrite};

pub(crate) use self::bridge::Bridge;
pub(crate) use self::clients::Engine;
pub(crate) use self::connections::{Connections, Wish};
use crate::outcome::Cause;

/// Requests side by side on one connection; of endpoints that allow fewer, as many as they allow.
const STREAMS_MAX: usize = 100;
/// What an endpoint may send of one answer before somebody has taken it.
const STREAM_WINDOW_BYTES: u32 = 128 * 1024;
/// So much for each stream: clients that do not read must not stop the others on a connection.
const CONNECTION_WINDOW_BYTES: u32 = STREAM_WINDOW_BYTES * STREAMS_MAX as u32;
/// As of heads over HTTP/1.1.
const HEAD_BYTES_MAX: u32 = 64 * 1024;

/// Begins HTTP/2 and waits until the endpoint has answered for the first time: from then on it is
/// known to speak it, and how many requests it takes at once. The deadline is the caller's.
async fn shake<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
) -> Result<(SendRequest<Bytes>, Connection<S, Bytes>, PingPong), Cause> {
    let (sender, mut connection) = Builder::new()
        .enable_push(false)
        .initial_max_send_streams(STREAMS_MAX)
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_header_list_size(HEAD_BYTES_MAX)
        .handshake::<_, Bytes>(stream)
        .await
        .map_err(|_error| Cause::NoHttp2)?;
    let mut pings = connection.ping_pong().ok_or(Cause::NoHttp2)?;
    tokio::select! {
        biased;
        answered = pings.ping(Ping::opaque()) => answered.map_err(|_error| Cause::NoHttp2)?,
        _ended = &mut connection => return Err(Cause::NoHttp2),
    };
    Ok((sender, connection, pings))
}
