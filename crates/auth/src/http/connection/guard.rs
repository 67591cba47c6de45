//! Deadlines on a connection's bytes: waiting for a request, receiving its head,
//! and sending the answer. Never looks into the bytes.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

/// How long a connection may keep us waiting.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timeouts {
    /// Between requests. Longer than an edge or a cloud balancer keeps its idle
    /// connections (60 s), so that it is never us who closes under a request.
    pub(crate) idle: Duration,
    /// From the first byte of a head to its last, however slowly they trickle.
    pub(crate) header: Duration,
    /// The peer takes no byte of an answer.
    pub(crate) write: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(75),
            header: Duration::from_secs(10),
            write: Duration::from_secs(30),
        }
    }
}

const NO_REQUEST: &str = "no request came";

const WAITING: u8 = 0;
const HEAD: u8 = 1;
const BUSY: u8 = 2;
const ANSWERED: u8 = 3;

/// What a connection is doing, told by the service and seen by the guard.
#[derive(Debug, Default)]
pub(super) struct Activity(AtomicU8);

impl Activity {
    pub(super) fn request_started(&self) {
        self.0.store(BUSY, Ordering::Release);
    }

    pub(super) fn request_answered(&self) {
        self.0.store(ANSWERED, Ordering::Release);
    }

    /// Between requests, with not a byte of the next one received.
    pub(super) fn is_waiting(&self) -> bool {
        self.0.load(Ordering::Acquire) == WAITING
    }
}

/// A TCP stream that gives up on a peer that keeps us waiting.
#[derive(Debug)]
pub(super) struct Guarded {
    stream: TcpStream,
    activity: Arc<Activity>,
    timeouts: Timeouts,
    reading: Deadline,
    writing: Deadline,
}

impl Guarded {
    pub(super) fn new(stream: TcpStream, timeouts: Timeouts) -> Self {
        // Without it small answers wait up to 40 ms for the peer's delayed acknowledgement.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "could not set TCP_NODELAY");
        }
        let (reading, writing) = (Deadline::default(), Deadline::default());
        Self {
            stream,
            activity: Arc::default(),
            timeouts,
            reading,
            writing,
        }
    }

    pub(super) fn activity(&self) -> Arc<Activity> {
        self.activity.clone()
    }

    /// Lets the result of a write pass; a wait may last until the write deadline.
    fn bounded(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.writing.clear();
            return written;
        }
        ready!(
            self.writing
                .poll(cx, self.timeouts.write, "the answer was not taken")
        )?;
        Poll::Pending
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        if let Poll::Ready(result) = Pin::new(&mut this.stream).poll_read(cx, buf) {
            if this.activity.is_waiting() && buf.filled().len() > before {
                this.activity.0.store(HEAD, Ordering::Release);
                this.reading.clear();
            }
            return Poll::Ready(result);
        }
        match this.activity.0.load(Ordering::Acquire) {
            WAITING => this.reading.poll(cx, this.timeouts.idle, NO_REQUEST),
            HEAD => this.reading.poll(
                cx,
                this.timeouts.header,
                "the request's head came too slowly",
            ),
            // The body has a deadline of its own, with an answer.
            _ => {
                this.reading.clear();
                Poll::Pending
            }
        }
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.bounded(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.bounded(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        // The whole answer is with the kernel: from here on we wait for the next request.
        let moved = self.activity.0.compare_exchange(
            ANSWERED,
            WAITING,
            Ordering::AcqRel,
            Ordering::Acquire,
        );
        if moved.is_ok() {
            // hyper does not read again until something comes: the timer must wake it.
            let this = &mut *self;
            this.reading.clear();
            let _ = this.reading.poll::<()>(cx, this.timeouts.idle, NO_REQUEST);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A timer that starts at the first wait and ends with the wait's reason.
#[derive(Debug, Default)]
struct Deadline(Option<Pin<Box<Sleep>>>);

impl Deadline {
    fn clear(&mut self) {
        self.0 = None;
    }

    /// Pending until `length` after the first poll, then an error.
    fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        length: Duration,
        what: &'static str,
    ) -> Poll<io::Result<T>> {
        let sleep = self
            .0
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + length)));
        ready!(sleep.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, what)))
    }
}
