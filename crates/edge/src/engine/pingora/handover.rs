//! Hands a request of HTTP/1.1 over to the native path, which alone speaks TLS and HTTP/2 to endpoints:
//! pingora keeps the client, the native path the endpoints, and between them goes HTTP/1.1 as text. Never
//! decides anything: the exchange goes along.
//!
//! pingora's own way to such endpoints is not taken: it rebuilds the TLS settings for each connection,
//! resumes no session, tells no cause of a failed handshake but in prose, and lets endpoints send heads
//! of 16 MiB.

mod response;

use std::pin::pin;
use std::sync::Arc;

use pingora::prelude::{Error, ErrorType, Result, Session};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader, duplex, split};

use self::response::{Delivered, ResponseText};
use super::message::asks_for_upgrade;
use crate::connection::Connection;
use crate::engine::h1::Engine as NativeEngine;
use crate::engine::text::{Broken, RequestText};
use crate::pipeline::Exchange;

/// What may lie between the two: as much as a socket would hold.
const PIPE_BYTES: usize = 16 * 1024;

/// Whether this request goes that way. Upgrades stay with pingora, whose client side knows them.
pub(super) fn is_due(exchange: &Exchange, session: &Session) -> bool {
    !exchange.is_plain() && !asks_for_upgrade(session.req_header())
}

/// Serves an admitted request to its end. `Err`: the client has left, or must not take for whole what
/// it has of the answer.
pub(super) async fn serve(
    native: &NativeEngine,
    mut exchange: Exchange,
    connection: Arc<Connection>,
    session: &mut Session,
) -> Result<()> {
    let has_no_body = session.as_mut().is_body_empty();
    let mut request = RequestText::new(session.req_header(), has_no_body);
    let mut response = ResponseText::new(session.req_header());
    let (near, far) = duplex(PIPE_BYTES);
    let served = native.serve_admitted(&mut exchange, connection, BufReader::new(near));
    // Large, and a part of few requests.
    let mut served = pin!(Box::pin(served));
    let mut is_served = false;
    let (mut answers, mut asks) = split(far);
    let delivered = loop {
        // The end may come without another byte, and pingora would wait beyond it.
        if request.is_wanting() && !request.is_done() && session.as_mut().is_body_done() {
            request.end(None).map_err(broken)?;
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
                match body? {
                    Some(piece) => request.take(&piece).map_err(broken)?,
                    None => request.end(None).map_err(broken)?,
                }
                // pingora tells the end once, and not as a piece of the body.
                if session.as_mut().is_body_done() {
                    request.end(None).map_err(broken)?;
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

fn broken(_: Broken) -> Box<Error> {
    let malformed = ErrorType::InvalidHTTPHeader;
    Error::explain(malformed, "the body is not as long as was said").into_down()
}
