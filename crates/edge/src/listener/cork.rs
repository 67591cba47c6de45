//! Fewer packets for a TLS client: what ends a handshake waits for the first answer, since nobody else
//! waits for it. Never holds back anything that a client needs to go on.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::engine::Stream;

/// More than this is not held back: a session ticket with a client's certificates.
const HELD_BYTES_MAX: usize = 8192;

/// A socket under a TLS session.
///
/// While hands are shaken, what the session says to something it has read is held until it wants to read
/// more: then the client must have it. What it says last it says for later (the session ticket of TLS 1.3;
/// RFC 8446, 4.6.1), and that is left over for [`Corked::release`]. A full handshake with one request
/// costs a twentieth less so.
#[derive(Debug)]
pub(crate) struct Corked<S> {
    io: S,
    held: BytesMut,
    is_shaking_hands: bool,
    holds: bool,
    is_last: bool,
}

impl<S> Corked<S> {
    /// Before a handshake.
    pub(crate) fn new(io: S) -> Self {
        Self {
            io,
            held: BytesMut::new(),
            is_shaking_hands: true,
            holds: false,
            is_last: false,
        }
    }

    /// The socket itself.
    pub(crate) fn get_ref(&self) -> &S {
        &self.io
    }

    /// The socket itself; what was held back has to be flushed before.
    pub(super) fn into_inner(self) -> S {
        self.io
    }

    /// Hands were shaken: what is left leaves with the next write, or the next flush.
    pub(super) fn release(&mut self) {
        self.is_shaking_hands = false;
        self.holds = false;
    }

    /// What is written from now on is the last, and the end follows at once.
    pub(crate) fn last(&mut self) {
        self.is_last = true;
    }

    fn hold(&mut self, slices: &[IoSlice<'_>]) -> Option<usize> {
        let count = slices.iter().map(|slice| slice.len()).sum::<usize>();
        if !self.holds || self.held.len() + count > HELD_BYTES_MAX {
            return None;
        }
        for slice in slices {
            self.held.extend_from_slice(slice);
        }
        Some(count)
    }
}

impl<S: Stream> Corked<S> {
    /// Sends what is held, then `slices`; returns how much of these was taken.
    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        while !self.held.is_empty() {
            let mut all = vec![IoSlice::new(&self.held)];
            all.extend_from_slice(slices);
            let sent = ready!(poll_write(&mut self.io, self.is_last, cx, &all))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let of_held = sent.min(self.held.len());
            self.held.advance(of_held);
            if self.held.is_empty() {
                self.held = BytesMut::new();
                // Nothing taken would mean that nothing ever will be.
                if sent > of_held || slices.is_empty() {
                    return Poll::Ready(Ok(sent - of_held));
                }
            }
        }
        poll_write(&mut self.io, self.is_last, cx, slices)
    }

    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            ready!(self.poll_send(cx, &[]))?;
        }
        Poll::Ready(Ok(()))
    }
}

fn poll_write<S: Stream>(
    io: &mut S,
    is_last: bool,
    cx: &mut Context<'_>,
    slices: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    match slices {
        _ if is_last => io.poll_write_last(cx, slices),
        // The system takes it faster so.
        [one] => Pin::new(io).poll_write(cx, one),
        several => Pin::new(io).poll_write_vectored(cx, several),
    }
}

impl<S: Stream> AsyncRead for Corked<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.io).poll_read(cx, buf);
        if this.is_shaking_hands {
            this.holds = polled.is_ready();
            if !this.holds {
                ready!(this.poll_held(cx))?;
            }
        }
        polled
    }
}

impl<S: Stream> AsyncWrite for Corked<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(data)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match this.hold(slices) {
            Some(count) => Poll::Ready(Ok(count)),
            None => this.poll_send(cx, slices),
        }
    }

    /// TLS hands a flight over record by record: one write for all of them.
    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.holds {
            return Poll::Ready(Ok(()));
        }
        ready!(this.poll_held(cx))?;
        Pin::new(&mut this.io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_held(cx))?;
        Pin::new(&mut this.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream, duplex};

    use super::*;

    type Near = Corked<BufReader<DuplexStream>>;

    fn pair() -> (DuplexStream, Near) {
        let (far, near) = duplex(64);
        (far, Corked::new(BufReader::new(near)))
    }

    /// What has arrived.
    async fn seen(far: &mut DuplexStream) -> String {
        let mut bytes = [0; 64];
        let read = tokio::time::timeout(std::time::Duration::ZERO, far.read(&mut bytes)).await;
        String::from_utf8_lossy(&bytes[..read.map_or(0, Result::unwrap)]).into_owned()
    }

    async fn is_waiting(near: &mut Near) -> bool {
        let mut byte = [0];
        let read = near.read(&mut byte);
        tokio::time::timeout(std::time::Duration::ZERO, read)
            .await
            .is_err()
    }

    async fn say(near: &mut Near, text: &str) {
        near.write_all(text.as_bytes()).await.unwrap();
        near.flush().await.unwrap();
    }

    #[tokio::test]
    async fn the_end_of_a_handshake_leaves_with_what_is_said_next() {
        let (mut far, mut near) = pair();
        say(&mut near, "hello, ").await;
        assert_eq!(seen(&mut far).await, "hello, ", "nothing was read before");
        far.write_all(b"x").await.unwrap();
        near.read_u8().await.unwrap();
        say(&mut near, "tickets").await;
        near.release();
        assert_eq!(seen(&mut far).await, "");
        let slices = [IoSlice::new(b" and"), IoSlice::new(b" answer")];
        assert_eq!(near.write_vectored(&slices).await.unwrap(), 11);
        assert_eq!(seen(&mut far).await, "tickets and answer");
        far.write_all(b"x").await.unwrap();
        near.read_u8().await.unwrap();
        say(&mut near, "at once").await;
        assert_eq!(seen(&mut far).await, "at once", "hands were shaken");
    }

    #[tokio::test]
    async fn without_an_answer_it_leaves_when_it_is_flushed() {
        let (mut far, mut near) = pair();
        far.write_all(b"x").await.unwrap();
        near.read_u8().await.unwrap();
        say(&mut near, "tickets").await;
        near.release();
        near.flush().await.unwrap();
        assert_eq!(seen(&mut far).await, "tickets");
    }

    #[tokio::test]
    async fn what_the_client_is_asked_for_leaves_before_it_is_waited_for() {
        let (mut far, mut near) = pair();
        far.write_all(b"x").await.unwrap();
        near.read_u8().await.unwrap();
        say(&mut near, "another hello").await;
        assert_eq!(seen(&mut far).await, "");
        assert!(is_waiting(&mut near).await);
        assert_eq!(seen(&mut far).await, "another hello");
    }

    #[tokio::test]
    async fn nothing_is_lost_however_little_is_taken_at_once() {
        for room in 1..20 {
            let (mut far, near) = duplex(room);
            let mut near = Corked::new(BufReader::new(near));
            far.write_all(b"x").await.unwrap();
            near.read_u8().await.unwrap();
            say(&mut near, "tickets").await;
            near.release();
            let reader = tokio::spawn(async move {
                let mut all = String::new();
                far.read_to_string(&mut all).await.unwrap();
                all
            });
            say(&mut near, " and answer").await;
            near.shutdown().await.unwrap();
            assert_eq!(reader.await.unwrap(), "tickets and answer", "{room}");
        }
    }

    #[tokio::test]
    async fn no_more_is_held_than_its_bound() {
        let (far, near) = duplex(1 << 20);
        let (mut far, mut near) = (far, Corked::new(BufReader::new(near)));
        far.write_all(b"x").await.unwrap();
        near.read_u8().await.unwrap();
        let much = "x".repeat(HELD_BYTES_MAX);
        say(&mut near, &much).await;
        assert_eq!(seen(&mut far).await, "");
        near.write_all(b"y").await.unwrap();
        let mut all = vec![0; HELD_BYTES_MAX + 1];
        far.read_exact(&mut all).await.unwrap();
        assert!(all.ends_with(b"xy"));
    }
}
