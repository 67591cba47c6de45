//! One request as the hooks know it, from the first to the last. Never waits but for a place at an
//! endpoint.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Instant;

use pingora::prelude::{Error, ErrorType, Result, Session};

use super::leaving::while_client_stays;
use super::watch::Watch;
use crate::engine::Control;
use crate::outcome::Cause;
use crate::pipeline::{Answer, Attempt, Exchange};

/// One request between its first and its last hook.
#[derive(Default)]
pub(super) struct RequestContext {
    pub(super) exchange: Option<Exchange>,
    pub(super) control: Option<Arc<Control>>,
    /// The attempt at hand, or the one to be made next.
    pub(super) attempt: Option<Attempt>,
    /// `attempt` is to be made (again).
    pub(super) is_attempt_due: bool,
    /// A pooled connection was closed: `attempt` gets a new one.
    pub(super) needs_new_connection: bool,
    /// An answer that must reach the client through `fail_to_proxy`.
    pub(super) answer: Option<Answer>,
    /// `answer` stands for one of the endpoint's.
    pub(super) is_replaced: bool,
    /// Why it failed, where a hook knew better than the error tells.
    pub(super) failure: Option<Cause>,
    /// The response head was refused in favour of another attempt.
    pub(super) retries_response: bool,
    /// A response head was handed on.
    pub(super) has_response_head: bool,
    /// The connection that the attempt at hand has, until the request is sent.
    pub(super) socket: Option<RawFd>,
    pub(super) watch: Option<Arc<Watch>>,
    body: BodyCount,
}

/// How much of the body the hook has seen. What pingora kept comes by once more with every attempt.
#[derive(Default)]
struct BodyCount {
    /// By any attempt.
    received: usize,
    /// By the attempt at hand.
    sent: usize,
}

impl BodyCount {
    /// How much of the bytes that come by is new.
    fn pass(&mut self, bytes: usize) -> usize {
        self.sent += bytes;
        let new = self.sent.saturating_sub(self.received);
        self.received += new;
        new
    }
}

impl RequestContext {
    pub(super) fn exchange(&mut self) -> &mut Exchange {
        self.exchange
            .as_mut()
            .expect("early_request_filter makes the exchange before other hooks")
    }

    /// A place at an endpoint, unless the client leaves before there is one.
    pub(super) async fn choose(
        &mut self,
        session: &mut Session,
    ) -> Result<Result<Attempt, Answer>> {
        let chosen = self.exchange().on_attempt(Instant::now());
        let chosen = while_client_stays(session.as_downstream_mut(), chosen).await;
        chosen.ok_or_else(|| {
            self.failure = Some(Cause::ClientGone);
            Error::explain(ErrorType::ConnectionClosed, "the client left").into_down()
        })
    }

    /// The attempt at hand has a connection and sends the request from its beginning.
    pub(super) fn begin_attempt(&mut self, socket: RawFd) {
        self.socket = Some(socket);
        self.body.sent = 0;
    }

    /// The attempt at hand has become a tunnel, which lasts no longer than its token.
    pub(super) fn begin_tunnel(&mut self) {
        let lease = self.exchange().lease();
        if let (Some(watch), Some(lease)) = (&self.watch, lease) {
            watch.lend(lease);
        }
    }

    /// How much of the body's bytes that come by has come from the client just now.
    pub(super) fn count_body(&mut self, bytes: usize) -> usize {
        self.body.pass(bytes)
    }

    /// The request waits no more. `true`: it was taken from an endpoint that is out, and goes to
    /// another.
    pub(super) fn ends_wait(&mut self) -> bool {
        let is_cut = self.watch.as_ref().is_some_and(|watch| watch.end());
        is_cut && self.exchange().gives_up_waiting(Instant::now())
    }
}

impl Drop for RequestContext {
    fn drop(&mut self) {
        if let Some(control) = &self.control {
            control.end_request();
        }
    }
}
