//! HTTP/1.1, HTTP/2 and upgrades through pingora's proxy, driven on our own streams. Never decides:
//! each hook asks the [`Exchange`] and does what it says.

mod cause;
mod leaving;
mod message;
mod patient;
mod peer;
mod watch;

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use http::StatusCode;
use http::header::{CONNECTION, UPGRADE};
use pingora::apps::{HttpServerOptions, ServerApp};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::prelude::{Error, ErrorSource, ErrorType, HttpPeer, ProxyHttp, Result, Session};
use pingora::protocols::Digest;
use pingora::protocols::http::v2::server::default_h2_options;
use pingora::proxy::{FailToProxy, http_proxy};
use pingora::server::configuration::ServerConf;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Handle;
use tokio::sync::watch::Receiver;

use self::leaving::while_client_stays;
use self::message::{PingoraHead, apply, asks_for_upgrade, write_answer};
use self::peer::{Kind, peer};
use self::watch::{Watch, Watched};
use super::Guard;
use super::UPGRADE_IDLE_TIMEOUT;
use super::guard::ConnectionHandle;
use super::silence::is_silent;
use crate::config;
use crate::outcome::Cause;
use crate::pipeline::{Answer, Attempt, End, Exchange, ResponseStep};
use crate::state::Edge;

/// Discarding the rest of a request body that nobody wants ends after this long.
const BODY_DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Attempts that pingora allows itself; how many are made is the pipeline's decision.
const ATTEMPT_CEILING: usize = 64;
/// Idle connections to endpoints kept per worker thread: as many as a worker may have requests in
/// flight, for a smaller pool makes every request above it connect anew.
const POOLED_CONNECTIONS: usize = 512;

/// pingora's proxy with every default that matters made explicit; one per listener.
pub(crate) struct Engine {
    proxy: Arc<Watched>,
}

impl Engine {
    /// An engine that asks the pipeline of `edge` and keeps the limits of `listener`.
    pub(crate) fn new(edge: Arc<Edge>, listener: &config::Listener) -> Self {
        let conf = ServerConf {
            threads: Handle::current().metrics().num_workers(),
            upstream_keepalive_pool_size: POOLED_CONNECTIONS,
            max_retries: ATTEMPT_CEILING,
            ..ServerConf::default()
        };
        let mut proxy = http_proxy(&Arc::new(conf), Hooks { edge });
        let mut options = HttpServerOptions::default();
        options.h2_idle_timeout = Some(listener.timeouts.keep_alive);
        proxy.server_options = Some(options);
        let mut h2_options = default_h2_options();
        h2_options
            .max_concurrent_streams(listener.http2.max_streams)
            .initial_window_size(listener.http2.stream_window)
            .initial_connection_window_size(listener.http2.connection_window)
            .max_header_list_size(u32::try_from(listener.limits.header_bytes).unwrap_or(u32::MAX));
        proxy.h2_options = Some(h2_options);
        Self {
            proxy: Arc::new(Watched(Arc::new(proxy))),
        }
    }

    /// Serves one connection to its end. When `stop` turns true, HTTP/2 clients get GOAWAY and
    /// HTTP/1.1 connections end after the request at hand. Those that are idle are the guard's to
    /// end: pingora's own way out (`http_cleanup`) drops requests whose head has arrived in part.
    pub(crate) async fn serve<S>(&self, stream: Guard<S>, stop: &Receiver<bool>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + Sync + 'static,
    {
        // Without h2 upgrades of its own, process_new never hands a stream back.
        let _ = ServerApp::process_new(&self.proxy, Box::new(stream), stop).await;
    }
}

/// The hooks that pingora calls along a request.
pub(crate) struct Hooks {
    edge: Arc<Edge>,
}

/// One request between its first and its last hook.
#[derive(Default)]
pub(crate) struct RequestContext {
    exchange: Option<Exchange>,
    control: Option<Arc<super::Control>>,
    /// The attempt at hand, or the one to be made next.
    attempt: Option<Attempt>,
    /// `attempt` is to be made (again).
    is_attempt_due: bool,
    /// A pooled connection was closed: `attempt` gets a new one.
    needs_new_connection: bool,
    /// An answer that must reach the client through `fail_to_proxy`.
    answer: Option<Answer>,
    /// `answer` stands for one of the endpoint's.
    is_replaced: bool,
    /// Why it failed, where a hook knew better than the error tells.
    failure: Option<Cause>,
    /// The response head was refused in favour of another attempt.
    retries_response: bool,
    /// A response head was handed on.
    has_response_head: bool,
    /// The connection that the attempt at hand has, until the request is sent.
    socket: Option<RawFd>,
    watch: Option<Arc<Watch>>,
}

impl RequestContext {
    fn exchange(&mut self) -> &mut Exchange {
        self.exchange
            .as_mut()
            .expect("early_request_filter makes the exchange before other hooks")
    }

    /// A place at an endpoint, unless the client leaves before there is one.
    async fn choose(&mut self, session: &mut Session) -> Result<Result<Attempt, Answer>> {
        let chosen = self.exchange().on_attempt(Instant::now());
        let chosen = while_client_stays(session.as_downstream_mut(), chosen).await;
        chosen.ok_or_else(|| {
            self.failure = Some(Cause::ClientGone);
            Error::explain(ErrorType::ConnectionClosed, "the client left").into_down()
        })
    }

    /// The request waits no more. `true`: it was taken from an endpoint that is out, and goes to
    /// another.
    fn ends_wait(&mut self) -> bool {
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
        let handle = session
            .digest()
            .and_then(|digest| digest.proxy_digest.as_ref())
            .and_then(|proxy| proxy.user_data.as_ref())
            .and_then(|data| data.downcast_ref::<ConnectionHandle>());
        let Some(handle) = handle else {
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
            // HTTP/2 has no keep-alive: its farewell is the connection's GOAWAY.
            if session.is_http2() {
                control.ask_to_leave();
            }
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
        let head = PingoraHead::new(session.req_header());
        let exchange = ctx.exchange();
        // The first endpoint is chosen here, so that "no endpoint" is an ordinary answer that
        // leaves the connection usable.
        let mut admitted = exchange.on_request(&head);
        if admitted.is_ok() && exchange.waits_for_keys() {
            // Bounded, and too rare to look whether the client stays.
            admitted = Box::pin(exchange.on_keys(&head)).await;
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
        let received = body.as_ref().map_or(0, Bytes::len);
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
                let peer = peer(&attempt, kind);
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
        ctx.socket = Some(fd);
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
            .on_forward(&PingoraHead::new(session.req_header()));
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
        mut e: Box<Error>,
    ) -> Box<Error> {
        let cause = cause::of_connect(&e);
        ctx.failure = Some(cause);
        // Nothing was sent, so the body is whole whatever its size.
        let retries = ctx
            .exchange()
            .on_attempt_failed(cause, true, Instant::now());
        e.set_retry(retries);
        e
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        mut e: Box<Error>,
        ctx: &mut RequestContext,
        client_reused: bool,
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
        let is_stale = client_reused && cause == Cause::EndpointReset;
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
            session.set_read_timeout(Some(UPGRADE_IDLE_TIMEOUT));
        }
        Ok(())
    }

    async fn fail_to_proxy(
        &self,
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
