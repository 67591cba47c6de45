//! Takes what a client still sends after its farewell, so that its bytes are not met by a reset, which
//! could destroy the farewell. Never for long.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// How long.
const LINGER: Duration = Duration::from_secs(1);
/// How much.
const LINGER_BYTES: usize = 1 << 20;

/// The end of a connection.
pub(super) struct Linger {
    is_shut: bool,
    deadline: Pin<Box<Sleep>>,
    bytes_left: usize,
}

impl Linger {
    pub(super) fn new() -> Self {
        Self {
            is_shut: false,
            deadline: Box::pin(tokio::time::sleep(LINGER)),
            bytes_left: LINGER_BYTES,
        }
    }

    /// Ready when the client has left, or has had its time.
    pub(super) fn poll<S>(&mut self, cx: &mut Context<'_>, io: &mut S) -> Poll<()>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        if self.deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if !self.is_shut {
            if ready!(Pin::new(&mut *io).poll_shutdown(cx)).is_err() {
                return Poll::Ready(());
            }
            self.is_shut = true;
        }
        let mut scratch = [0; 4096];
        while self.bytes_left > 0 {
            let mut into = ReadBuf::new(&mut scratch);
            let read = ready!(Pin::new(&mut *io).poll_read(cx, &mut into));
            let count = into.filled().len();
            if read.is_err() || count == 0 {
                break;
            }
            self.bytes_left = self.bytes_left.saturating_sub(count);
        }
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_goes_on_sending_is_heard_out_for_a_while() {
        let (mut near, mut far) = tokio::io::duplex(64);
        let client = tokio::spawn(async move {
            let begun = tokio::time::Instant::now();
            while far.write_all(b"more").await.is_ok() {
                tokio::time::sleep(LINGER / 10).await;
            }
            begun.elapsed()
        });
        let mut linger = Linger::new();
        poll_fn(|cx| linger.poll(cx, &mut near)).await;
        drop(near);
        assert!(client.await.unwrap() <= LINGER * 2);
    }

    #[tokio::test]
    async fn who_leaves_is_not_waited_for() {
        let (mut near, mut far) = tokio::io::duplex(64);
        far.write_all(b"more").await.unwrap();
        far.shutdown().await.unwrap();
        let mut linger = Linger::new();
        poll_fn(|cx| linger.poll(cx, &mut near)).await;
        assert_eq!(far.read(&mut [0; 1]).await.unwrap(), 0);
    }
}
