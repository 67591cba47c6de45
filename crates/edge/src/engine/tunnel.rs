//! Bytes both ways until both sides have ended, or nothing has moved for too long. Never looks at
//! one.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::ReadBuf;

use super::buffer::Buffer;
use super::deadline::Deadline;
use super::stream::Stream;

/// What went through a tunnel.
#[derive(Debug)]
pub(crate) struct Tunnelled {
    /// Bytes from the client to the endpoint.
    pub(crate) to_endpoint: u64,
    /// Bytes from the endpoint to the client.
    pub(crate) to_client: u64,
    /// `Err` when a side failed, or both were silent for too long ([`io::ErrorKind::TimedOut`]).
    pub(crate) ended: io::Result<()>,
}

/// Joins two streams. A side that ends has its end passed on while the other may go on. A silent
/// tunnel holds no buffers.
pub(crate) async fn tunnel<C: Stream, E: Stream>(
    client: &mut C,
    endpoint: &mut E,
    idle: Duration,
) -> Tunnelled {
    let (mut out, mut back) = (OneWay::default(), OneWay::default());
    let mut deadline = Deadline::default();
    deadline.set(Some(now() + idle));
    let ended = poll_fn(|cx| {
        let moved = out.bytes + back.bytes;
        let out_polled = out.poll(cx, client, endpoint)?;
        let back_polled = back.poll(cx, endpoint, client)?;
        if out_polled.is_ready() && back_polled.is_ready() {
            return Poll::Ready(Ok(()));
        }
        if out.bytes + back.bytes > moved {
            deadline.set(Some(now() + idle));
        }
        let is_late = deadline.poll(cx);
        is_late.map(|()| Err(io::ErrorKind::TimedOut.into()))
    })
    .await;
    Tunnelled {
        to_endpoint: out.bytes,
        to_client: back.bytes,
        ended,
    }
}

/// The runtime's clock, which tests may hold.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Bytes from one side to the other.
#[derive(Debug, Default)]
struct OneWay {
    buffer: Option<Buffer>,
    bytes: u64,
    has_ended: bool,
    is_closed: bool,
}

impl OneWay {
    /// Ready when the source has ended and the sink knows it.
    fn poll<A: Stream, B: Stream>(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut A,
        sink: &mut B,
    ) -> Poll<io::Result<()>> {
        while !self.is_closed {
            if let Some(buffer) = &mut self.buffer {
                while !buffer.is_empty() {
                    let count = ready!(Pin::new(&mut *sink).poll_write(cx, buffer.filled()))?;
                    if count == 0 {
                        return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                    }
                    buffer.consume(count);
                    self.bytes += count as u64;
                }
                ready!(Pin::new(&mut *sink).poll_flush(cx))?;
                self.buffer = None;
            } else if self.has_ended {
                ready!(Pin::new(&mut *sink).poll_shutdown(cx))?;
                self.is_closed = true;
            } else {
                ready!(self.poll_read(cx, source))?;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_read<A: Stream>(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut A,
    ) -> Poll<io::Result<()>> {
        ready!(source.poll_readable(cx))?;
        let mut buffer = Buffer::large();
        let mut into = ReadBuf::new(buffer.spare_mut());
        ready!(Pin::new(source).poll_read(cx, &mut into))?;
        let count = into.filled().len();
        buffer.advance_filled(count);
        self.has_ended = count == 0;
        self.buffer = (count > 0).then_some(buffer);
        Poll::Ready(Ok(()))
    }
}
