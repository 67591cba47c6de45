//! Keeps the burst of one HTTP/2 client from holding a worker that other clients wait for: a thousand
//! requests fit into one read. Never refuses or delays a request by time.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::task::coop;

/// Bytes of frames taken at a time, unless they are the payload of a long one. The codec turns all that
/// it is given into requests before anything else is done.
const READ_BYTES: usize = 1024;

/// What one request takes of the runtime's budget for one turn of a task, 128 units: 4 begin in a turn.
/// Each of them may be a connection to an endpoint.
const UNITS_PER_STREAM: u64 = 32;

/// A byte of a header block may stand for a whole field: 2 KB of them are a turn.
const HEADER_BYTES_PER_UNIT: u64 = 16;

/// What a client's frames have asked for since its connection began.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Work {
    /// Requests begun.
    pub(super) streams: u64,
    /// Bytes of header blocks announced.
    pub(super) header_bytes: u64,
}

/// Pays for the work of the bytes between two states of a connection.
pub(super) fn pay(before: Work, after: Work, cx: &mut Context<'_>) {
    let streams = after.streams - before.streams;
    let header_bytes = after.header_bytes - before.header_bytes;
    let units = streams * UNITS_PER_STREAM + header_bytes / HEADER_BYTES_PER_UNIT;
    for _ in 0..units {
        match coop::poll_proceed(cx) {
            Poll::Ready(unit) => unit.made_progress(),
            Poll::Pending => break,
        }
    }
}

/// Reads little enough for one turn, once the next turn has come if this one is spent. `payload_left`
/// is what the frame at hand still lacks.
pub(super) fn poll_read<S: AsyncRead + Unpin>(
    io: &mut S,
    payload_left: usize,
    cx: &mut Context<'_>,
    buf: &mut ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    // A TLS stream that holds plaintext would not ask.
    if coop::poll_proceed(cx).is_pending() {
        return Poll::Pending;
    }
    let most = payload_left.saturating_add(READ_BYTES);
    if buf.remaining() <= most {
        return Pin::new(io).poll_read(cx, buf);
    }
    let mut part = ReadBuf::new(buf.initialize_unfilled_to(most));
    let polled = Pin::new(io).poll_read(cx, &mut part);
    let bytes = part.filled().len();
    buf.advance(bytes);
    polled
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    async fn read(io: &mut &[u8], payload_left: usize) -> usize {
        let mut space = [0; 8192];
        let mut buf = ReadBuf::new(&mut space);
        let read = poll_fn(|cx| poll_read(io, payload_left, cx, &mut buf)).await;
        read.unwrap();
        buf.filled().len()
    }

    #[tokio::test]
    async fn little_is_read_between_frames_and_a_long_one_in_one_piece() {
        let bytes = [0; 8192];
        assert_eq!(read(&mut &bytes[..], 0).await, READ_BYTES);
        assert_eq!(read(&mut &bytes[..], 3000).await, 3000 + READ_BYTES);
        assert_eq!(read(&mut &bytes[..], usize::MAX).await, 8192);
    }

    /// Requests that one task begins while another waits for a turn.
    async fn most_in_a_turn(each: Work) -> u64 {
        const BURST: u64 = 1000;
        let begun = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&begun);
        // A current-thread runtime: the two take turns.
        let flood = tokio::spawn(async move {
            for _ in 0..BURST {
                read(&mut &[0; 90][..], 0).await;
                counted.fetch_add(1, Ordering::Relaxed);
                poll_fn(|cx| {
                    pay(Work::default(), each, cx);
                    Poll::Ready(())
                })
                .await;
            }
        });
        let (mut most, mut seen) = (0, 0);
        while !flood.is_finished() {
            tokio::task::yield_now().await;
            let now = begun.load(Ordering::Relaxed);
            most = most.max(now - seen);
            seen = now;
        }
        assert_eq!(seen, BURST);
        most
    }

    #[tokio::test]
    async fn a_burst_of_requests_lets_others_have_their_turn() {
        let request = Work {
            streams: 1,
            header_bytes: 20,
        };
        assert_eq!(most_in_a_turn(request).await, 4);
        let crumbs = Work {
            streams: 1,
            header_bytes: 3000,
        };
        assert!(most_in_a_turn(crumbs).await <= 2);
    }
}
