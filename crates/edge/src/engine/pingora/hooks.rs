//! The hooks that pingora calls along a request. Never decides: each asks the exchange and does what
//! it says.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use http::StatusCode;
use http::header::{CONNECTION, UPGRADE};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::prelude::{Error, ErrorType, HttpPeer, ProxyHttp, Result, Session};
use pingora::protocols::Digest;
use pingora::proxy::FailToProxy;

use super::message::{apply, asks_for_upgrade, write_answer};
use super::peer::{Kind, peer};
use super::request::RequestContext;
use super::watch::Watch;
use super::{cause, failing, handover};
use crate::connection::Connection;
use crate::engine::guard::ConnectionHandle;
use crate::engine::parts::PartsHead;
use crate::engine::silence::is_silent;
use crate::engine::{NativeEngine, Pool};
use crate::outcome::Cause;
use crate::pipeline::{End, Exchange, ResponseStep};
use crate::state::Edge;

/// Discarding the rest of a request body that nobody wants ends after this long.
const BODY_DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// All that pingora asks of us.
pub(super) struct Hooks {
    edge: Arc<Edge>,
    native: NativeEngine,
}

impl Hooks {
    /// Hooks that ask the pipeline of this edge.
    pub(super) fn new(edge: Arc<Edge>, pool: Arc<Pool>) -> Self {
        let native = NativeEngine::new(Arc::clone(&edge), pool);
        Self { edge, native }
    }
}

#[async_trait]
impl ProxyHttp for Hooks {
    type CTX = RequestContext;

    fn new_ctx(&self) -> RequestContext {
        let mut ctx = RequestContext::default();
        ctx.watch = Watch::of_this_request();
        ctx
    }

    async fn early_request_filter(
        &self,
        session: &mut Session,
        ctx: &mut RequestContext,
    ) -> Result<()> {
        let Some(handle) = handle(session) else {
            return Err(Error::explain(
                ErrorType::InternalError,
                "stream without a guard",
            ));
        };
        let connection = Arc::clone(&handle.connection);
        let control = Arc::clone(&handle.control);
        control.begin_request();

        let timeouts = connection.listener.timeouts.clone();
        let now = Instant::now();
        let exchange = Exchange::new(Arc::clone(&self.edge), connection, now);
        // pingora would otherwise wait forever for the next request (pingora-core v1/server.rs).
        // HTTP/1.0 without keep-alive and `Connection: close` stay as they are.
        if exchange.must_close(now) {
            session.set_keepalive(None);
        } else if session.get_keepalive().is_some() {
            session.set_keepalive(Some(timeouts.keep_alive.as_secs().max(1)));
        }
        session.set_read_timeout(Some(timeouts.body));
        session.set_write_timeout(Some(timeouts.write));
        session.set_total_drain_timeout(Some(BODY_DRAIN_TIMEOUT));
        ctx.control = Some(control);
        ctx.exchange = Some(exchange);
        Ok(())
    }

    async fn request_filter(
        &self,
        session: &mut Session,
        ctx: &mut RequestContext,
    ) -> Result<bool> {
        let head = PartsHead::new(session.req_header());
        let exchange = ctx.exchange();
        // The first endpoint is chosen here, so that "no endpoint" is an ordinary answer that
        // leaves the connection usable.
        let mut admitted = exchange.on_request(&head);
        if admitted.is_ok() && !head.is_well_formed() {
            admitted = Err(exchange.on_failure(Cause::HeadMalformed));
        }
        if admitted.is_ok() && exchange.waits_for_keys() {
            // Bounded, and too rare to look whether the client stays.
            admitted = Box::pin(exchange.on_keys(&head)).await;
        }
        let exchange = ctx.exchange();
        if admitted.is_ok()
            && exchange.is_http2_upstream()
            && asks_for_upgrade(session.req_header())
        {
            admitted = Err(exchange.on_failure(Cause::NoUpgrade));
        }
        if admitted.is_ok() && handover::is_due(ctx.exchange(), session) {
            let handed = ctx.exchange.take().zip(connection(session));
            if let Some((exchange, connection)) = handed {
                // Large, and a part of few requests.
                let served = handover::serve(&self.native, exchange, connection, session);
                Box::pin(served).await?;
            }
            return Ok(true);
        }
        let decided = match admitted {
            Ok(()) => ctx.choose(session).await?,
            Err(answer) => Err(answer),
        };
        match decided {
            Ok(attempt) => {
                ctx.attempt = Some(attempt);
                ctx.is_attempt_due = true;
                Ok(false)
            }
            Err(answer) => {
                write_answer(session, answer).await?;
                Ok(true)
            }
        }
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut RequestContext,
    ) -> Result<()> {
        if session.was_upgraded() {
            return Ok(());
        }
        // An end of its own, which pingora would write to the endpoint as a last chunk before the last.
        if end_of_stream && body.as_ref().is_some_and(Bytes::is_empty) {
            *body = None;
        }
        let received = ctx.count_body(body.as_ref().map_or(0, Bytes::len));
        let now = Instant::now();
        let accepted = ctx.exchange().on_request_body(received, now);
        // Nobody tells when pingora is ready to read on, so an endpoint that takes the body slowly
        // costs its client time. At the rates that are usual what the sockets hold makes up for it.
        // Silence is pingora's read timeout.
        if !end_of_stream {
            ctx.exchange().on_request_body_wait(now);
        } else if let (Some(socket), Some(watch)) = (ctx.socket.take(), ctx.watch.clone())
            && !session.as_ref().retry_buffer_truncated()
            && let Some(waiting) = ctx.exchange().waiting()
        {
            watch.begin(socket, waiting);
        }
        accepted.map_err(|cause| {
            ctx.failure = Some(cause);
            let mut error = Error::explain(ErrorType::InternalError, "request body refused");
            error.as_down();
            error
        })
    }

    async fn upstream_peer(
        &self,
        session: &mut Session,
        ctx: &mut RequestContext,
    ) -> Result<Box<HttpPeer>> {
        let is_due = std::mem::take(&mut ctx.is_attempt_due);
        let attempt = match ctx.attempt.take() {
            Some(attempt) if is_due => Ok(attempt),
            _ => ctx.choose(session).await?,
        };
        match attempt {
            Ok(attempt) => {
                let kind = if asks_for_upgrade(session.req_header()) {
                    Kind::Upgrade
                } else if std::mem::take(&mut ctx.needs_new_connection) {
                    Kind::New
                } else if ctx.exchange().is_repeatable() {
                    Kind::Pooled
                } else {
                    Kind::Fresh
                };
                let tunnel = ctx.exchange().tunnel_timeout();
                let peer = peer(&attempt, kind, tunnel);
                ctx.attempt = Some(attempt);
                Ok(Box::new(peer))
            }
            Err(answer) => {
                ctx.answer = Some(answer);
                Err(Error::explain(
                    ErrorType::InternalError,
                    "no endpoint to try",
                ))
            }
        }
    }

    /// A pooled connection that its endpoint has closed must not take what cannot be repeated.
    /// pingora knows what its runtime has heard; the kernel knows more.
    async fn connected_to_upstream(
        &self,
        _session: &mut Session,
        reused: bool,
        _peer: &HttpPeer,
        fd: RawFd,
        _digest: Option<&Digest>,
        ctx: &mut RequestContext,
    ) -> Result<()> {
        if reused && !ctx.exchange().is_repeatable() && !is_silent(fd) {
            ctx.needs_new_connection = true;
            ctx.is_attempt_due = true;
            let closed = ErrorType::ConnectionClosed;
            return Err(Error::explain(closed, "a pooled connection was closed"));
        }
        ctx.exchange().on_connection(reused);
        ctx.begin_attempt(fd);
        Ok(())
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        upstream_request: &mut RequestHeader,
        ctx: &mut RequestContext,
    ) -> Result<()> {
        // pingora forwards every `Upgrade: websocket`, and adds the `Connection` it lacks.
        if !asks_for_upgrade(session.req_header()) {
            upstream_request.remove_header(&UPGRADE);
            upstream_request.remove_header(&CONNECTION);
        }
        let edits = ctx
            .exchange()
            .on_forward(&PartsHead::new(session.req_header()));
        if let Some(target) = ctx.exchange().forwarded_target() {
            upstream_request.set_raw_path(target.as_bytes())?;
        }
        apply(edits, upstream_request)
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        ctx: &mut RequestContext,
        e: Box<Error>,
    ) -> Box<Error> {
        failing::without_connection(ctx, e)
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        e: Box<Error>,
        ctx: &mut RequestContext,
        client_reused: bool,
    ) -> Box<Error> {
        failing::with_connection(session, ctx, e, client_reused)
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        upstream_response: &mut ResponseHeader,
        ctx: &mut RequestContext,
    ) -> Result<()> {
        let status = upstream_response.status;
        if ctx.ends_wait() {
            ctx.retries_response = true;
            let mut error = Error::explain(ErrorType::ConnectionClosed, "trying another");
            error.as_up();
            return Err(error);
        }
        if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(());
        }
        let is_replayable = !session.as_ref().retry_buffer_truncated();
        let step = ctx.exchange().on_response_head(
            status,
            &upstream_response.headers,
            is_replayable,
            Instant::now(),
        );
        match step {
            ResponseStep::Deliver(edits) => {
                ctx.has_response_head = true;
                ctx.failure = None;
                apply(edits, upstream_response)?;
            }
            ResponseStep::Instead(answer) => {
                (ctx.answer, ctx.is_replaced) = (Some(*answer), true);
                ctx.failure = None;
                let mut error =
                    Error::explain(ErrorType::HTTPStatus(status.as_u16()), "in other words");
                error.as_up();
                return Err(error);
            }
            ResponseStep::Retry => {
                ctx.retries_response = true;
                let mut error =
                    Error::explain(ErrorType::HTTPStatus(status.as_u16()), "trying again");
                error.as_up();
                return Err(error);
            }
        }
        if ctx.exchange().must_close(Instant::now()) {
            session.set_keepalive(None);
        }
        if status == StatusCode::SWITCHING_PROTOCOLS {
            session.set_read_timeout(Some(ctx.exchange().tunnel_timeout()));
            ctx.begin_tunnel();
        }
        Ok(())
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        e: &Error,
        ctx: &mut RequestContext,
    ) -> FailToProxy {
        failing::for_good(session, e, ctx).await
    }

    async fn logging(&self, session: &mut Session, e: Option<&Error>, ctx: &mut RequestContext) {
        let has_response_head = ctx.has_response_head;
        let failure = e.filter(|_| !ctx.is_replaced).map(|e| {
            ctx.failure
                .unwrap_or_else(|| cause::of_exchange(e, has_response_head))
        });
        if let Some(mut exchange) = ctx.exchange.take() {
            let end = End {
                status: session.response_written().map(|head| head.status),
                response_bytes: session.body_bytes_sent() as u64,
                failure,
            };
            exchange.on_end(end, Instant::now());
        }
        if let Some(control) = ctx.control.take() {
            control.end_request();
        }
    }

    /// Every failure has its line in the access log; pingora's own would say it twice.
    fn suppress_error_log(&self, _: &Session, _: &RequestContext, _: &Error) -> bool {
        true
    }
}

fn handle(session: &Session) -> Option<&ConnectionHandle> {
    let digest = session.digest()?;
    let data = digest.proxy_digest.as_ref()?.user_data.as_ref()?;
    data.downcast_ref::<ConnectionHandle>()
}

fn connection(session: &Session) -> Option<Arc<Connection>> {
    Some(Arc::clone(&handle(session)?.connection))
}
