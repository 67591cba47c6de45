//! Hands a request over to the native path, which alone speaks TLS and HTTP/2 to endpoints: pingora
//! keeps the client, the native path the endpoints, and between them goes HTTP/1.1 as text. Never
//! decides anything: the exchange goes along.
//!
//! pingora's own way to such endpoints is not taken: it rebuilds the TLS settings for each connection,
//! resumes no session, tells no cause of a failed handshake but in prose, and lets endpoints send heads
//! of 16 MiB.

mod request;
mod response;

use std::pin::pin;
use std::sync::Arc;

use pingora::prelude::{Error, ErrorType, Result, Session};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader, duplex, split};

use self::request::RequestText;
use self::response::{Delivered, ResponseText};
use super::message::asks_for_upgrade;
use crate::connection::Connection;
use crate::engine::h1::Engine as NativeEngine;
use crate::pipeline::Exchange;

/// What may lie between the two: as much as a socket would hold.
const PIPE_BYTES: usize = 16 * 1024;

/// Whether this request goes that way. Upgrades stay with pingora, whose client side knows them.
pub(super) fn is_due(exchange: &Exchange, session: &Session) -> bool {
    (session.is_http2() || !exchange.is_plain()) && !asks_for_upgrade(session.req_header())
}

/// Serves an admitted request to its end. `Err`: the client has left, or must not take for whole what
/// it has of the answer.
pub(super) async fn serve(
    native: &NativeEngine,
    exchange: Exchange,
    connection: Arc<Connection>,
    session: &mut Session,
) -> Result<()> {
    let mut request = RequestText::new(session);
    let mut response = ResponseText::new(session.req_header());
    let (near, far) = duplex(PIPE_BYTES);
    let served = native.serve_admitted(exchange, connection, BufReader::new(near));
    // Large, and a part of few requests.
    let mut served = pin!(Box::pin(served));
    let mut is_served = false;
    let (mut answers, mut asks) = split(far);
    let delivered = loop {
        // The end may come without another byte, and pingora would wait beyond it.
        if request.is_wanting() && !request.is_done() && session.as_mut().is_body_done() {
            request.take(None)?;
        }
        let (is_done, is_wanting) = (request.is_done(), request.is_wanting());
        let has_pending = request.has_pending();
        tokio::select! {
            biased;
            () = &mut served, if !is_served => is_served = true,
            read = answers.read_buf(response.room()) => {
                let is_over = !matches!(read, Ok(1..));
                if let Some(delivered) = response.deliver(session, is_over).await? {
                    break delivered;
                }
            }
            written = asks.write_buf(request.pending()), if has_pending => {
                if written.is_err() {
                    request.give_up();
                }
            }
            body = session.as_downstream_mut().read_body_or_idle(is_done), if is_wanting =>
            {
                request.take(body?)?;
                // pingora tells the end of a stream once, and not as a piece of its body.
                if session.as_mut().is_body_done() {
                    request.end()?;
                }
            }
        }
    };
    // What the client has is what counts; the native path writes it down.
    drop((answers, asks));
    if !is_served {
        served.await;
    }
    match delivered {
        Delivered::Whole => Ok(()),
        Delivered::Truncated => Err(Error::explain(
            ErrorType::ConnectionClosed,
            "the answer broke off",
        )),
    }
}
