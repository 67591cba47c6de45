//! One of the two ends of an exchange: its stream, and what has arrived on it and is not used yet.
//! Holds a buffer only while there is something in it. Never interprets a byte.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::ReadBuf;

use crate::engine::buffer::Buffer;
use crate::engine::stream::Stream;

/// A stream with the bytes received ahead.
#[derive(Debug)]
pub(super) struct Peer<S> {
    /// Writes go straight to it; reads go through [`Peer::poll_fill`].
    pub(super) stream: S,
    received: Option<Buffer>,
}

impl<S: Stream> Peer<S> {
    /// Nothing was received yet.
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            received: None,
        }
    }

    /// What has arrived and is not used yet.
    pub(super) fn received(&self) -> &[u8] {
        self.received.as_ref().map_or(&[], Buffer::filled)
    }

    /// The same, for decoding in place.
    pub(super) fn received_mut(&mut self) -> &mut [u8] {
        self.received
            .as_mut()
            .map_or(&mut [], |buffer| buffer.filled_mut())
    }

    /// Uses up bytes from the front; an empty buffer is given back.
    pub(super) fn consume(&mut self, bytes: usize) {
        if let Some(buffer) = &mut self.received {
            buffer.consume(bytes);
            if buffer.is_empty() {
                self.received = None;
            }
        }
    }

    /// Takes the buffer with its first `bytes`; what lies behind them stays received, in a buffer
    /// of the kind that `room` makes.
    pub(super) fn split(&mut self, bytes: usize, room: fn() -> Buffer) -> Buffer {
        let front = self.received.take().unwrap_or_else(Buffer::small);
        let rest = &front.filled()[bytes..];
        if !rest.is_empty() {
            let mut back = room();
            while back.spare_mut().len() < rest.len() && back.grow(rest.len()) {}
            back.spare_mut()[..rest.len()].copy_from_slice(rest);
            back.advance_filled(rest.len());
            self.received = Some(back);
        }
        front
    }

    /// Makes room for a message head that must stay in one piece; `false` beyond `max` bytes.
    pub(super) fn make_room(&mut self, max: usize) -> bool {
        let Some(buffer) = &mut self.received else {
            return true;
        };
        buffer.compact();
        !buffer.spare_mut().is_empty() || buffer.grow(max)
    }

    /// Whether another read has somewhere to go without growing.
    pub(super) fn has_room(&mut self) -> bool {
        self.received
            .as_mut()
            .is_none_or(|buffer| !buffer.spare_mut().is_empty())
    }

    /// Reads once, into a buffer of the kind that `room` makes if there is none. Zero is the end of
    /// the stream. There must be room.
    pub(super) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        room: fn() -> Buffer,
    ) -> Poll<io::Result<usize>> {
        if self.received.is_none() {
            ready!(self.stream.poll_readable(cx))?;
        }
        let buffer = self.received.get_or_insert_with(room);
        buffer.compact();
        let mut into = ReadBuf::new(buffer.spare_mut());
        debug_assert!(into.remaining() > 0, "no room to read into");
        let polled = Pin::new(&mut self.stream).poll_read(cx, &mut into);
        let count = into.filled().len();
        buffer.advance_filled(count);
        if buffer.is_empty() {
            self.received = None;
        }
        ready!(polled)?;
        Poll::Ready(Ok(count))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncWriteExt, BufReader, DuplexStream, duplex};

    use super::*;

    async fn receive(peer: &mut Peer<BufReader<DuplexStream>>, bytes: usize) {
        while peer.received().len() < bytes {
            assert!(peer.make_room(1 << 20));
            let filled = poll_fn(|cx| peer.poll_fill(cx, Buffer::small)).await;
            assert_ne!(filled.unwrap(), 0);
        }
    }

    #[tokio::test]
    async fn whatever_lies_behind_a_head_is_kept_however_much_it_is() {
        let (near, mut far) = duplex(1 << 20);
        let mut peer = Peer::new(BufReader::new(near));
        let sent: Vec<u8> = (0..100_000_u32).map(|n| n as u8).collect();
        far.write_all(&sent).await.unwrap();
        receive(&mut peer, sent.len()).await;
        let front = peer.split(10, Buffer::small);
        assert_eq!(&front.filled()[..10], &sent[..10]);
        assert_eq!(peer.received(), &sent[10..]);
    }

    #[tokio::test]
    async fn room_is_made_by_moving_before_it_is_refused() {
        let (near, mut far) = duplex(1 << 20);
        let mut peer = Peer::new(BufReader::new(near));
        let size = Buffer::small_bytes();
        far.write_all(&vec![b'x'; size]).await.unwrap();
        receive(&mut peer, size).await;
        assert!(!peer.make_room(size), "full");
        peer.consume(size - 10);
        assert!(
            peer.make_room(size),
            "a few bytes at the end of a full buffer"
        );
        assert_eq!(peer.received(), [b'x'; 10]);
    }
}
