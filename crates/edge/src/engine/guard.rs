//! Stands between every accepted connection and the engine behind it: deadlines and sizes that the
//! engine does not keep, answers it gives on its own, and small writes gathered into one.
//! Never routes, and never changes a byte it lets through.

mod frames;
mod h1;
mod h2;
mod linger;
mod own_answers;
mod stream;
mod trailers;
mod turn;
mod write_deadline;

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use self::frames::{NO_ERROR, goaway};
use self::h1::HeaderScanner;
use self::h2::Scanner;
use self::linger::Linger;
use self::turn::Work;
use self::write_deadline::WriteDeadline;
use super::control::{Control, Phase};
use super::refusal::{refusal, to_http1};
use crate::connection::Connection;
use crate::outcome::Cause;
use crate::pipeline::{self, Told};
use crate::state::Edge;

pub(crate) use self::h2::Abuse;
pub(crate) use self::stream::ConnectionHandle;

/// Writes up to this size wait for a flush, so that a response head and a short body share a
/// packet and a TLS record.
const WRITE_BUFFER_BYTES: usize = 4096;

/// Beyond this many header fields the engine's parser calls a request malformed instead of too
/// large.
const PARSER_FIELDS_MAX: usize = 256;

/// One guarded connection: `S` is the TCP or TLS stream of an accepted client.
pub(crate) struct Guard<S> {
    io: WriteDeadline<S>,
    edge: Arc<Edge>,
    connection: Arc<Connection>,
    control: Arc<Control>,
    protocol: Protocol,
    timer: Pin<Box<Sleep>>,
    armed: Armed,
    write_buffer: BytesMut,
    /// Bytes were written since the last complete flush.
    is_unflushed: bool,
    refusal: Option<BytesMut>,
    /// What GOAWAY says.
    farewell_code: u32,
    linger: Option<Linger>,
    is_reported: bool,
    /// Requests that the codec answered by itself, each with its line in the log.
    unseen: u64,
    is_finished: bool,
    identity: stream::Identity,
}

enum Protocol {
    H1(HeaderScanner),
    H2(Box<Scanner>),
}

/// Which deadline the timer runs for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Armed {
    Nothing,
    FirstByte,
    Header,
    KeepAlive,
}

impl<S> Guard<S> {
    /// Guards a connection whose TLS handshake, if any, is done. `raw_fd` identifies it to the
    /// engine's pool.
    pub(crate) fn new(
        io: S,
        raw_fd: std::os::fd::RawFd,
        edge: Arc<Edge>,
        connection: Arc<Connection>,
        control: Arc<Control>,
    ) -> Self {
        let now = Instant::now();
        let protocol = if connection.is_h2() {
            Protocol::H2(Box::new(Scanner::new(connection.listener.frames, now)))
        } else {
            Protocol::H1(HeaderScanner::default())
        };
        let identity = stream::Identity::new(raw_fd, &connection, &control);
        let first_byte = connection.listener.timeouts.header;
        let io = WriteDeadline::new(io, connection.listener.timeouts.write);
        Self {
            io,
            edge,
            connection,
            control,
            protocol,
            timer: Box::pin(tokio::time::sleep(first_byte)),
            armed: Armed::FirstByte,
            write_buffer: BytesMut::new(),
            is_unflushed: false,
            refusal: None,
            farewell_code: NO_ERROR,
            linger: None,
            is_reported: false,
            unseen: 0,
            is_finished: false,
            identity,
        }
    }

    /// What it stands before.
    pub(crate) fn stream(&self) -> &S {
        self.io.get_ref()
    }

    /// Looks at bytes that just arrived; an error says why nothing more is read.
    fn inspect(&mut self, input: &[u8]) -> Result<(), Cause> {
        match &mut self.protocol {
            Protocol::H1(scanner) => {
                if self.control.phase() == Phase::Idle {
                    scanner.reset();
                    self.is_reported = false;
                    self.armed = Armed::Nothing;
                    self.control.begin_header();
                }
                if self.control.phase() != Phase::Header {
                    return Ok(());
                }
                let bytes = scanner.advance(input);
                let is_too_large = bytes > self.connection.listener.limits.header_bytes
                    || scanner.fields() > PARSER_FIELDS_MAX;
                if is_too_large {
                    Err(Cause::HeadTooLarge)
                } else if scanner.has_control() {
                    Err(Cause::HeadMalformed)
                } else {
                    Ok(())
                }
            }
            Protocol::H2(scanner) => {
                let looked = scanner.receive(input, Instant::now());
                looked.map_err(|refusal| {
                    self.count_farewell(refusal.why);
                    self.farewell_code = refusal.code;
                    match refusal.why {
                        Abuse::Protocol => Cause::HeadMalformed,
                        _ => Cause::Http2Abuse,
                    }
                })
            }
        }
    }

    /// Counts an HTTP/2 connection that ends for what its client did.
    fn count_farewell(&self, abuse: Abuse) {
        let listener = &self.connection.listener;
        listener.metrics.http2_farewells.of(abuse).inc();
        let client = self.edge.shown(self.connection.client);
        let why = abuse.name();
        tracing::info!(client, listener = %listener.name, why, "giving up an HTTP/2 connection");
    }

    /// Looks at bytes on their way to an HTTP/2 client.
    fn inspect_sent(&mut self, cx: &Context<'_>, output: &[u8]) {
        let Protocol::H2(scanner) = &mut self.protocol else {
            return;
        };
        let farewell = scanner.send(output);
        if scanner.has_found() {
            // Reads are the place to end it, and the client may send nothing more to wake them.
            cx.waker().wake_by_ref();
        }
        for _ in 0..scanner.take_too_large() {
            self.unseen += 1;
            let status = Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
            let (told, cause) = (Told { status, id: None }, Cause::HeadTooLarge);
            pipeline::report_unparsed(&self.edge, &self.connection, cause, told, Instant::now());
        }
        if let Some(abuse) = farewell {
            self.count_farewell(abuse);
            if abuse == Abuse::Codec {
                self.report(Cause::Http2Abuse, Told::default());
            }
        }
    }

    /// Whether an HTTP/1.1 connection was asked to end and nothing is on it.
    fn shall_close(&self) -> bool {
        matches!(self.protocol, Protocol::H1(_))
            && self.control.phase() == Phase::Idle
            && self.control.closes_when_idle()
    }

    /// Whether what an HTTP/2 client made us send is enough to give it up.
    fn has_found(&self) -> bool {
        matches!(&self.protocol, Protocol::H2(scanner) if scanner.has_found())
    }

    /// What an HTTP/2 client has asked for.
    fn work(&self) -> Work {
        match &self.protocol {
            Protocol::H1(_) => Work::default(),
            Protocol::H2(scanner) => scanner.work(),
        }
    }

    /// The deadline that runs while a read waits.
    fn wanted_deadline(&self) -> (Armed, Duration) {
        let timeouts = &self.connection.listener.timeouts;
        match &self.protocol {
            Protocol::H1(_) => match self.control.phase() {
                Phase::Busy => (Armed::Nothing, Duration::ZERO),
                Phase::Header => (Armed::Header, timeouts.header),
                Phase::Idle if self.control.requests_begun() == 0 => {
                    (Armed::FirstByte, timeouts.header)
                }
                Phase::Idle => (Armed::KeepAlive, timeouts.keep_alive),
            },
            Protocol::H2(scanner) if scanner.awaits_header() => (Armed::Header, timeouts.header),
            // Idle HTTP/2 connections are the engine's: it knows the open streams.
            Protocol::H2(_) => (Armed::Nothing, Duration::ZERO),
        }
    }

    /// Polls the deadline that applies now; `Some` when it has passed.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Option<Armed> {
        let (wanted, timeout) = self.wanted_deadline();
        if wanted != self.armed {
            self.armed = wanted;
            if wanted != Armed::Nothing {
                self.timer
                    .as_mut()
                    .reset(tokio::time::Instant::now() + timeout);
            }
        }
        let has_passed = wanted != Armed::Nothing && self.timer.as_mut().poll(cx).is_ready();
        has_passed.then_some(wanted)
    }

    /// Reports a request that the engine never saw, and prepares the answer where one can be sent.
    fn refuse(&mut self, cause: Cause) {
        let answer = refusal(&self.edge, cause);
        let (told, bytes) = match &self.protocol {
            Protocol::H1(_) => (Told::from(&answer), to_http1(&answer)),
            // In the middle of a frame there is no room for another.
            Protocol::H2(scanner) if scanner.is_between_sent_frames() => (
                Told::default(),
                goaway(scanner.highest_stream(), self.farewell_code),
            ),
            Protocol::H2(_) => (Told::default(), BytesMut::new()),
        };
        // A frame that breaks the protocol is no request.
        if told.status.is_some() || cause != Cause::HeadMalformed {
            self.report(cause, told);
        }
        self.refusal = Some(bytes);
    }

    fn report(&mut self, cause: Cause, told: Told) {
        self.is_reported = true;
        pipeline::report_unparsed(&self.edge, &self.connection, cause, told, Instant::now());
    }

    /// Notices a client that leaves inside a request head: no hook will ever run for it.
    fn notice_end(&mut self) {
        let is_inside_head =
            matches!(self.protocol, Protocol::H1(_)) && self.control.phase() == Phase::Header;
        if is_inside_head && !self.is_reported {
            self.report(Cause::ClientGone, Told::default());
        }
    }

    /// Notices an answer that the engine gives before any hook of ours ran.
    fn notice_own_answer(&mut self, output: &[u8]) {
        if self.is_reported
            || !matches!(self.protocol, Protocol::H1(_))
            || self.control.phase() != Phase::Header
        {
            return;
        }
        let status = output
            .get(9..12)
            .and_then(|digits| StatusCode::from_bytes(digits).ok());
        let cause = match status {
            Some(StatusCode::METHOD_NOT_ALLOWED) => Cause::MethodNotAllowed,
            _ => Cause::HeadMalformed,
        };
        self.report(cause, Told { status, id: None });
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Guard<S> {
    fn poll_write_buffer(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.write_buffer.is_empty() {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, &self.write_buffer))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.write_buffer.advance(written);
        }
        // An idle connection keeps no buffer.
        self.write_buffer = BytesMut::new();
        Poll::Ready(Ok(()))
    }

    /// Empties every buffer towards the client.
    fn poll_flush_all(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write_buffer(cx))?;
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        self.is_unflushed = false;
        Poll::Ready(Ok(()))
    }

    /// Sends what is left of a refusal, then ends the read side for the engine. An HTTP/2 client that
    /// floods is still sending: it would lose the farewell if its bytes were met by a reset.
    fn poll_refusal(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write_buffer(cx))?;
        while let Some(bytes) = self.refusal.as_mut().filter(|bytes| !bytes.is_empty()) {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, bytes))?;
            if written == 0 {
                break;
            }
            bytes.advance(written);
        }
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        if matches!(self.protocol, Protocol::H2(_)) {
            let linger = self.linger.get_or_insert_with(Linger::new);
            ready!(linger.poll(cx, &mut self.io));
        }
        self.refusal = None;
        self.is_finished = true;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Guard<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.refusal.is_some() {
            ready!(this.poll_refusal(cx))?;
        }
        if this.is_finished {
            return Poll::Ready(Ok(()));
        }
        this.control.register_reader(cx.waker());
        let before = buf.filled().len();
        let polled = match &this.protocol {
            Protocol::H1(_) => Pin::new(&mut this.io).poll_read(cx, buf),
            Protocol::H2(scanner) => turn::poll_read(&mut this.io, scanner.payload_left(), cx, buf),
        };
        let verdict = match polled {
            Poll::Ready(Ok(())) if buf.filled().len() > before => {
                let work = this.work();
                let verdict = this.inspect(&buf.filled()[before..]);
                turn::pay(work, this.work(), cx);
                verdict
            }
            Poll::Ready(ended) => {
                this.notice_end();
                return Poll::Ready(ended);
            }
            Poll::Pending if this.has_found() => this.inspect(&[]),
            // A request that has already arrived is still served, even when the edge drains.
            Poll::Pending if this.shall_close() => return Poll::Ready(Ok(())),
            Poll::Pending => match this.poll_deadline(cx) {
                // The engine has nothing more to write for now: what it wrote may not wait for more,
                // or a response that comes in small pieces would stay here.
                None if this.is_unflushed => match this.poll_flush_all(cx) {
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    _ => return Poll::Pending,
                },
                None => return Poll::Pending,
                Some(Armed::Header) => Err(Cause::HeadTimeout),
                // Nobody asked anything: nothing is owed but the end.
                Some(armed) => {
                    if armed == Armed::FirstByte {
                        this.report(Cause::HeadTimeout, Told::default());
                    }
                    return Poll::Ready(Ok(()));
                }
            },
        };
        match verdict {
            Ok(()) => Poll::Ready(Ok(())),
            Err(cause) => {
                buf.set_filled(before);
                this.refuse(cause);
                this.poll_refusal(cx)
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guard<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let is_refused = this.refusal.is_some() || this.is_finished;
        if is_refused && matches!(this.protocol, Protocol::H2(_)) {
            // The farewell was the last word.
            return Poll::Ready(Ok(data.len()));
        }
        this.notice_own_answer(data);
        this.is_unflushed = true;
        if matches!(&this.protocol, Protocol::H2(scanner) if scanner.begins_apart(data)) {
            ready!(this.poll_write_buffer(cx))?;
        }
        let data = match &this.protocol {
            Protocol::H1(_) => data,
            Protocol::H2(scanner) => scanner.piece(data),
        };
        if this.write_buffer.len() + data.len() > WRITE_BUFFER_BYTES {
            ready!(this.poll_write_buffer(cx))?;
        }
        if data.len() >= WRITE_BUFFER_BYTES {
            let written = ready!(Pin::new(&mut this.io).poll_write(cx, data))?;
            this.inspect_sent(cx, &data[..written]);
            return Poll::Ready(Ok(written));
        }
        this.inspect_sent(cx, data);
        this.write_buffer.extend_from_slice(data);
        Poll::Ready(Ok(data.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_flush_all(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_write_buffer(cx))?;
        Pin::new(&mut this.io).poll_shutdown(cx)
    }
}

impl<S> Drop for Guard<S> {
    /// Streams that the HTTP/2 codec rejected on its own never became a request: they end here, so
    /// that every request has one outcome.
    fn drop(&mut self) {
        if let Protocol::H2(scanner) = &self.protocol {
            let begun = self.control.requests_begun();
            // Whose header block was cut short has been reported by its own name.
            let refused = u64::from(self.is_reported && scanner.is_in_header_block());
            for _ in begun + refused + self.unseen..scanner.streams_opened() {
                self.report(Cause::HeadMalformed, Told::default());
            }
        }
    }
}

impl<S> fmt::Debug for Guard<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard")
            .field("client", &self.connection.client)
            .finish_non_exhaustive()
    }
}
