//! What follows when an attempt fails on its way through pingora, and when the last one does. Never
//! decides whether there is another: that is the pipeline's.

use std::time::Instant;

use pingora::prelude::{Error, ErrorSource, ErrorType, Session};
use pingora::proxy::FailToProxy;

use super::cause;
use super::message::write_answer;
use super::request::RequestContext;
use crate::outcome::Cause;

/// No connection to the endpoint could be made.
pub(super) fn without_connection(ctx: &mut RequestContext, mut e: Box<Error>) -> Box<Error> {
    let cause = cause::of_connect(&e);
    ctx.failure = Some(cause);
    // Nothing was sent, so the body is whole whatever its size.
    let retries = ctx
        .exchange()
        .on_attempt_failed(cause, true, Instant::now());
    e.set_retry(retries);
    e
}

/// Something broke while request and response were on their way.
pub(super) fn with_connection(
    session: &mut Session,
    ctx: &mut RequestContext,
    mut e: Box<Error>,
    is_reused: bool,
) -> Box<Error> {
    let is_moved = ctx.ends_wait() && *e.esource() == ErrorSource::Upstream;
    if ctx.is_replaced {
        e.set_retry(false);
        return e;
    }
    if is_moved || std::mem::take(&mut ctx.retries_response) || ctx.is_attempt_due {
        e.set_retry(true);
        return e;
    }
    // A hook that refused the client's body knows better than the error it had to return.
    let known = ctx.failure.filter(|cause| !cause.is_endpoint_fault());
    let cause = known.unwrap_or_else(|| cause::of_exchange(&e, ctx.has_response_head));
    // Silence of an endpoint that waits for the rest of the request is the client's.
    let cause = match cause {
        Cause::EndpointTimeout
            if *e.etype() == ErrorType::ReadTimedout && !session.as_mut().is_body_done() =>
        {
            Cause::BodyTimeout
        }
        cause => cause,
    };
    ctx.failure = Some(cause);
    let is_replayable = !session.as_ref().retry_buffer_truncated();
    let is_stale = is_reused && cause == Cause::EndpointReset;
    if is_stale && ctx.exchange().on_stale_connection(is_replayable) {
        ctx.needs_new_connection = true;
        ctx.is_attempt_due = true;
        e.set_retry(true);
        return e;
    }
    let retries = !ctx.has_response_head
        && ctx
            .exchange()
            .on_attempt_failed(cause, is_replayable, Instant::now());
    e.set_retry(retries);
    e
}

/// There is nothing left to try: the client gets an answer if it can.
pub(super) async fn for_good(
    session: &mut Session,
    e: &Error,
    ctx: &mut RequestContext,
) -> FailToProxy {
    let nothing_sent = FailToProxy {
        error_code: 0,
        can_reuse_downstream: false,
    };
    let has_response_head = ctx.has_response_head;
    let Some(exchange) = ctx.exchange.as_mut() else {
        return nothing_sent;
    };
    let answer = match ctx.answer.take() {
        Some(answer) => answer,
        None => {
            let cause = *ctx
                .failure
                .get_or_insert_with(|| cause::of_exchange(e, has_response_head));
            exchange.on_failure(cause)
        }
    };
    // A tunnel is no place for an answer, though its 101 is informational.
    let was_sent = session.was_upgraded()
        || session
            .response_written()
            .is_some_and(|head| !head.status.is_informational());
    if was_sent || ctx.failure == Some(Cause::ClientGone) {
        return nothing_sent;
    }
    // pingora closes the connection after this; say so.
    session.set_keepalive(None);
    let error_code = answer.status.as_u16();
    match write_answer(session, answer).await {
        Ok(()) => FailToProxy {
            error_code,
            can_reuse_downstream: false,
        },
        Err(_) => nothing_sent,
    }
}
