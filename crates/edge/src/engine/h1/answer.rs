//! Answers of our own, and what is left of a request behind them. Never decides what is answered.

use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::codec::{self, BodyDecoder, Framing};
use super::exchange::Request;
use super::outgoing::Outgoing;
use super::{Next, Session};
use crate::engine::buffer::Buffer;
use crate::engine::stream::Stream;
use crate::pipeline::{Answer, End, Exchange};

/// A request body that nobody wants is read up to this size, so that the connection can go on.
pub(super) const DISCARDED_BODY_BYTES: u64 = 64 * 1024;
/// And for this long.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(5);

impl<S: Stream> Session<'_, S> {
    /// Sends an answer of our own. `received` says whether the body was received to its end, if any
    /// of it was touched; else it may be read away.
    pub(super) async fn answer(
        &mut self,
        exchange: &mut Exchange,
        request: &Request<'_>,
        answer: Answer,
        received: Option<bool>,
    ) -> Next {
        let is_whole = received.unwrap_or_else(|| request.is_discardable());
        let closes = answer.close
            || !request.asked.keeps_alive
            // It would have to be told that the connection stays open.
            || request.asked.is_http10
            || !is_whole
            || exchange.must_close(Instant::now());
        let answer = answer.dated();
        let mut out = Outgoing::with_room_for_head();
        codec::answer(out.text(), &answer, request.asked.is_head, closes);
        let written = self.write(&mut out, closes).await;
        let body_bytes = if request.asked.is_head {
            0
        } else {
            answer.body.len() as u64
        };
        let end = End {
            status: Some(answer.status),
            response_bytes: body_bytes,
            failure: written.err(),
        };
        exchange.on_end(end, Instant::now());
        if written.is_err() {
            return Next::Close;
        }
        if closes {
            return Next::Linger;
        }
        if received.is_none() && !self.discard_body(request.framing).await {
            return Next::Linger;
        }
        Next::KeepAlive
    }

    /// Reads away a body that nobody wants; `false` when it is too much, late or malformed.
    async fn discard_body(&mut self, framing: Framing) -> bool {
        let mut body = BodyDecoder::new(framing);
        let mut discarded = 0;
        self.deadline.set(Some(Instant::now() + DISCARD_TIMEOUT));
        poll_fn(|cx| {
            while !body.is_done() {
                let Ok(decoded) = body.decode(self.client.received_mut()) else {
                    return Poll::Ready(false);
                };
                self.client.consume(decoded.consumed);
                discarded += decoded.consumed as u64;
                if discarded > DISCARDED_BODY_BYTES {
                    return Poll::Ready(false);
                }
                if decoded.consumed == 0 {
                    match self.client.poll_fill(cx, Buffer::small) {
                        Poll::Ready(Ok(1..)) => {}
                        Poll::Ready(_) => return Poll::Ready(false),
                        Poll::Pending => return self.deadline.poll(cx).map(|()| false),
                    }
                }
            }
            Poll::Ready(true)
        })
        .await
    }
}
