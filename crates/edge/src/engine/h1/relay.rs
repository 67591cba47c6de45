//! One attempt on one connection: request and answer pass each other, each as fast as its two
//! sockets allow, under the deadline of whatever it waits for. Never decides about another attempt.

mod body;
mod request;
mod response;
#[cfg(test)]
mod tests;

use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use http::StatusCode;

pub(super) use self::body::RequestBody;
use self::request::RequestSide;
pub(super) use self::response::{Answered, Asked};
use self::response::{RequestState, ResponseSide};
use super::codec::Framing;
use super::outgoing::Outgoing;
use super::peer::Peer;
use crate::config::{ClientTimeouts, UpstreamTimeouts};
use crate::engine::buffer::Buffer;
use crate::engine::deadline::Deadline;
use crate::engine::stream::Stream;
use crate::outcome::Cause;
use crate::pipeline::{Exchange, WATCH_INTERVAL};

/// Requests that a client sent ahead are read up to this size while one is being answered.
const READ_AHEAD_BYTES: usize = 4096;

/// What one side waits for, and since when nothing has moved.
#[derive(Clone, Copy, Debug)]
struct Wait {
    what: What,
    since: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Nothing,
    ClientBytes,
    ClientTakes,
    EndpointBytes,
    EndpointTakes,
}

impl Wait {
    fn new(now: Instant) -> Self {
        Self {
            what: What::Nothing,
            since: now,
        }
    }

    fn on(&mut self, what: What) {
        self.what = what;
    }

    fn progress(&mut self, now: Instant) {
        self.since = now;
    }
}

/// Both ways of one attempt.
pub(super) struct Relay {
    request: RequestSide,
    response: ResponseSide,
    /// When to ask next whether waiting for this endpoint still makes sense.
    look_at: Instant,
    /// When it was last polled; `None`: not yet since it was made.
    polled: Option<Instant>,
    made: Instant,
}

/// The two ends and what watches over them.
pub(super) struct Ends<'a, C, E> {
    pub(super) client: &'a mut Peer<C>,
    pub(super) endpoint: &'a mut Peer<E>,
    pub(super) body: &'a mut RequestBody,
    pub(super) exchange: &'a mut Exchange,
    pub(super) deadline: &'a mut Deadline,
}

/// Deadlines of both ends.
#[derive(Clone, Copy)]
pub(super) struct Timeouts<'a> {
    pub(super) client: &'a ClientTimeouts,
    pub(super) endpoint: &'a UpstreamTimeouts,
}

impl Relay {
    /// `head` is the request head as the endpoint gets it.
    pub(super) fn new(
        head: Outgoing,
        framing: Framing,
        body: &RequestBody,
        asked: Asked,
        now: Instant,
    ) -> Self {
        Self {
            request: RequestSide::new(head, framing, body, now),
            response: ResponseSide::new(asked, now),
            look_at: now + WATCH_INTERVAL,
            polled: None,
            made: now,
        }
    }

    /// When something last happened.
    pub(super) fn polled(&self) -> Instant {
        self.polled.unwrap_or(self.made)
    }

    /// Runs until the answer is through, or something broke.
    pub(super) async fn run<C: Stream, E: Stream>(
        &mut self,
        mut ends: Ends<'_, C, E>,
        timeouts: Timeouts<'_>,
    ) -> Result<Answered, Cause> {
        let answered = poll_fn(|cx| self.poll(cx, &mut ends, timeouts)).await;
        self.request.release(ends.client);
        answered
    }

    fn poll<C: Stream, E: Stream>(
        &mut self,
        cx: &mut Context<'_>,
        ends: &mut Ends<'_, C, E>,
        timeouts: Timeouts<'_>,
    ) -> Poll<Result<Answered, Cause>> {
        // Reading the clock is not free: the first poll follows at once.
        let now = match self.polled {
            None => self.made,
            Some(_) => Instant::now(),
        };
        self.polled = Some(now);
        let request = self.request.poll(
            cx,
            ends.client,
            ends.endpoint,
            ends.body,
            ends.exchange,
            now,
        );
        if let Poll::Ready(Err(cause)) = request {
            return Poll::Ready(Err(cause));
        }
        let state = RequestState {
            is_body_received: self.request.is_body_received(),
            is_replayable: self.request.is_replayable(),
        };
        let response =
            self.response
                .poll(cx, ends.client, ends.endpoint, ends.exchange, state, now);
        if let Poll::Ready(answered) = response {
            return Poll::Ready(answered);
        }
        if request.is_ready() && poll_gone(cx, ends.client).is_ready() {
            return Poll::Ready(Err(Cause::ClientGone));
        }
        self.poll_deadline(cx, ends, timeouts)
    }

    /// Ready when a side has waited for too long, or when the endpoint waited for is out and the
    /// request may go to another.
    fn poll_deadline<C: Stream, E: Stream>(
        &mut self,
        cx: &mut Context<'_>,
        ends: &mut Ends<'_, C, E>,
        timeouts: Timeouts<'_>,
    ) -> Poll<Result<Answered, Cause>> {
        let request = self.request_deadline(timeouts);
        let response = self.response_deadline(timeouts);
        let next = match (request, response) {
            (Some(one), Some(other)) => Some(if one.0 <= other.0 { one } else { other }),
            (one, other) => one.or(other),
        };
        let Some((at, cause)) = next else {
            ends.deadline.set(None);
            return Poll::Pending;
        };
        loop {
            let is_watched = self.awaits_answer() && ends.exchange.is_repeatable();
            let looks = is_watched && self.look_at < at;
            ends.deadline
                .set(Some(if looks { self.look_at } else { at }));
            ready!(ends.deadline.poll(cx));
            if !looks {
                return Poll::Ready(Err(cause));
            }
            let now = Instant::now();
            self.look_at = now + WATCH_INTERVAL;
            if ends.exchange.gives_up_waiting(now) {
                return Poll::Ready(Ok(Answered::Retry));
            }
        }
    }

    /// Whether a request that can be sent again waits for the first byte of its answer.
    fn awaits_answer(&self) -> bool {
        self.response.wait.what == What::EndpointBytes
            && !self.response.has_bytes()
            && self.request.is_over()
            && self.is_replayable()
    }

    fn request_deadline(&self, timeouts: Timeouts<'_>) -> Option<(Instant, Cause)> {
        let wait = self.request.wait;
        match wait.what {
            // The client waits for the endpoint's word, and may do so (RFC 9110, 10.1.1).
            What::ClientBytes if !self.request.is_begun && self.response.owes_continue() => {
                Some((wait.since + timeouts.endpoint.read, Cause::EndpointTimeout))
            }
            What::ClientBytes => Some((self.request.client_until, Cause::BodyTimeout)),
            What::EndpointTakes => {
                Some((wait.since + timeouts.endpoint.write, Cause::EndpointTimeout))
            }
            _ => None,
        }
    }

    /// Silence of an endpoint that waits for the rest of the request is not its own.
    fn response_deadline(&self, timeouts: Timeouts<'_>) -> Option<(Instant, Cause)> {
        let wait = self.response.wait;
        match wait.what {
            What::EndpointBytes if self.request.is_over() => {
                let since = wait.since.max(self.request.wait.since);
                Some((since + timeouts.endpoint.read, Cause::EndpointTimeout))
            }
            What::ClientTakes => Some((wait.since + timeouts.client.write, Cause::ClientGone)),
            _ => None,
        }
    }

    /// Whether the request can be sent again from its first byte.
    pub(super) fn is_replayable(&self) -> bool {
        self.request.is_replayable()
    }

    /// Whether the client's body was received to its end.
    pub(super) fn is_request_received(&self) -> bool {
        self.request.is_body_received()
    }

    /// Whether the endpoint sent nothing at all.
    pub(super) fn is_unanswered(&self) -> bool {
        !self.response.has_bytes()
    }

    /// Status of the final head, once any of it was written to the client.
    pub(super) fn status_sent(&self) -> Option<StatusCode> {
        self.response.status_sent()
    }

    /// Whether an interim head reached the client in part: an answer of ours would end inside it.
    pub(super) fn is_inside_interim_head(&self) -> bool {
        self.response.is_inside_interim_head()
    }

    /// Body bytes written to the client.
    pub(super) fn response_bytes(&self) -> u64 {
        self.response.body_bytes()
    }

    /// Whether the client's connection can carry another request.
    pub(super) fn leaves_client_reusable(&self) -> bool {
        !self.response.closes_client() && self.request.is_body_received()
    }

    /// Whether the endpoint's connection can carry another request.
    pub(super) fn leaves_endpoint_reusable(&self) -> bool {
        self.request.is_complete() && self.response.leaves_endpoint_reusable()
    }
}

/// Ready when the client has left or closed its side for good: an answer has nobody to go to. What
/// it sends ahead meanwhile is kept.
pub(super) fn poll_gone<C: Stream>(cx: &mut Context<'_>, client: &mut Peer<C>) -> Poll<()> {
    while client.received().len() < READ_AHEAD_BYTES && client.has_room() {
        match client.poll_fill(cx, Buffer::small) {
            Poll::Ready(Ok(1..)) => {}
            Poll::Ready(_) => return Poll::Ready(()),
            Poll::Pending => return Poll::Pending,
        }
    }
    Poll::Pending
}
