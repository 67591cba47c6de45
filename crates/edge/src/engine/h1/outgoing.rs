//! What waits to be written to one side: some text, payload that stays where it was received, some
//! text. All of it leaves in one system call where the socket takes it. Never copies payload.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::codec;
use crate::engine::stream::Stream;

/// Payload is named by its length alone: it lies at the front of the buffer it was received in, and
/// must stay there until it is written.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    before: Vec<u8>,
    payload: usize,
    after: Vec<u8>,
    written: usize,
}

/// What became of payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It was copied.
    Copied,
    /// It must stay where it is until it is written.
    Left,
}

impl Outgoing {
    /// An empty one whose text has room for a usual head.
    pub(super) fn with_room_for_head() -> Self {
        Self {
            before: Vec::with_capacity(HEAD_BYTES_USUAL),
            ..Self::default()
        }
    }

    /// Where text in front of the payload is added.
    pub(super) fn text(&mut self) -> &mut Vec<u8> {
        debug_assert!(self.payload == 0 && self.after.is_empty());
        &mut self.before
    }

    /// Adds payload as it is; `source` holds it. Whether it was copied, and may be used up at once:
    /// a short piece in one write costs the kernel less than two pieces.
    pub(super) fn payload(&mut self, source: &[u8]) -> Taken {
        let has_room = self.before.len() + source.len() <= COPIED_BYTES_MAX;
        if has_room && self.payload == 0 && self.after.is_empty() {
            self.before.extend_from_slice(source);
            return Taken::Copied;
        }
        self.payload = source.len();
        Taken::Left
    }

    /// Adds payload as a chunk; none adds nothing.
    pub(super) fn chunk(&mut self, source: &[u8]) -> Taken {
        if source.is_empty() {
            return Taken::Copied;
        }
        codec::chunk_start(&mut self.before, source.len());
        let taken = self.payload(source);
        let behind = match taken {
            Taken::Copied => &mut self.before,
            Taken::Left => &mut self.after,
        };
        behind.extend_from_slice(codec::CHUNK_END);
        taken
    }

    /// Adds the end of a chunked body.
    pub(super) fn last_chunk(&mut self, trailers: &[u8]) {
        let behind = if self.payload == 0 {
            &mut self.before
        } else {
            &mut self.after
        };
        codec::last_chunk(behind, trailers);
    }

    /// Whether there is nothing to write.
    pub(super) fn is_empty(&self) -> bool {
        self.before.is_empty() && self.payload == 0 && self.after.is_empty()
    }

    /// Whether payload waits where it was received.
    pub(super) fn has_payload(&self) -> bool {
        self.payload > 0
    }

    /// Bytes of all kinds written so far.
    pub(super) fn written(&self) -> usize {
        self.written
    }

    /// Writes everything; `source` begins with the payload. With
    /// `is_last` the stream must end at once behind it.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut impl Stream,
        source: &[u8],
        is_last: bool,
    ) -> Poll<io::Result<()>> {
        let parts = [&self.before[..], &source[..self.payload], &self.after[..]];
        let total: usize = parts.iter().map(|part| part.len()).sum();
        while self.written < total {
            let count = ready!(poll_write_rest(cx, io, parts, self.written, is_last))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += count;
        }
        Pin::new(io).poll_flush(cx)
    }

    /// Forgets what was written; the memory stays.
    pub(super) fn clear(&mut self) {
        self.before.clear();
        self.payload = 0;
        self.after.clear();
        self.written = 0;
    }
}

/// One write of what is left of `parts` behind the first `done` bytes.
fn poll_write_rest(
    cx: &mut Context<'_>,
    io: &mut impl Stream,
    parts: [&[u8]; 3],
    done: usize,
    is_last: bool,
) -> Poll<io::Result<usize>> {
    let mut slices = [IoSlice::new(&[]); 3];
    let mut used = 0;
    let mut skip = done;
    for part in parts {
        let skipped = skip.min(part.len());
        skip -= skipped;
        if skipped < part.len() {
            slices[used] = IoSlice::new(&part[skipped..]);
            used += 1;
        }
    }
    match &slices[..used] {
        last if is_last => io.poll_write_last(cx, last),
        [one] => Pin::new(io).poll_write(cx, one),
        several => Pin::new(io).poll_write_vectored(cx, several),
    }
}

/// Beyond this, text and payload leave in two pieces.
const COPIED_BYTES_MAX: usize = 2048;

/// Room for a head as browsers and endpoints send it, with what we add.
const HEAD_BYTES_USUAL: usize = 1024;

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
    use tokio::net::TcpStream;

    use super::*;

    /// Takes a few bytes at a time and is busy in between.
    struct Trickle {
        taken: Vec<u8>,
        at_once: usize,
        is_busy: bool,
    }

    impl AsyncWrite for Trickle {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            data: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.is_busy = !self.is_busy;
            if self.is_busy {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let count = data.len().min(self.at_once);
            self.taken.extend_from_slice(&data[..count]);
            Poll::Ready(Ok(count))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncRead for Trickle {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    impl Stream for Trickle {
        fn poll_readable(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn needs_farewell(&self) -> bool {
            false
        }

        fn tcp(&self) -> Option<&TcpStream> {
            None
        }

        fn reset_on_close(&mut self) {}
    }

    #[tokio::test]
    async fn all_parts_arrive_in_order_however_little_is_taken_at_once() {
        for (size, at_once) in [(5, 1), (5, 3), (5, 100), (3000, 7), (3000, 5000)] {
            let mut out = Outgoing::with_room_for_head();
            out.text().extend_from_slice(b"head");
            let body = vec![b'x'; size];
            let taken = out.chunk(&body);
            assert_eq!(taken == Taken::Copied, size < COPIED_BYTES_MAX);
            out.last_chunk(b"");
            let mut io = Trickle {
                taken: Vec::new(),
                at_once,
                is_busy: false,
            };
            let source = [&body[..], b"what came behind"].concat();
            poll_fn(|cx| out.poll_write(cx, &mut io, &source, false))
                .await
                .unwrap();
            let body = String::from_utf8(body).unwrap();
            let expected = format!("head{size:x}\r\n{body}\r\n0\r\n\r\n");
            assert_eq!(io.taken, expected.as_bytes(), "{size} {at_once}");
            out.clear();
            assert!(out.is_empty());
        }
    }

    #[tokio::test]
    async fn socket_that_takes_nothing_is_an_error() {
        let mut io = Trickle {
            taken: Vec::new(),
            at_once: 0,
            is_busy: true,
        };
        let mut out = Outgoing::default();
        out.text().push(b'x');
        let error = poll_fn(|cx| out.poll_write(cx, &mut io, b"", false)).await;
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::WriteZero);
    }
}
