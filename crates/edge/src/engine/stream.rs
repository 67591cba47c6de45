//! What the native engine asks of a client's or an endpoint's stream besides reading and writing.
//! Never buffers and never changes a byte.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::listener::Rewound;

/// A stream that can be waited for without a buffer to read into.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {
    /// Ready when a read would give bytes, the end or an error. Consumes nothing.
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Whether dropping the stream would leave the other side in doubt about the end: TLS says
    /// goodbye in words of its own (RFC 8446, 6.1).
    fn needs_farewell(&self) -> bool;

    /// Makes closing a reset instead of an orderly end: the other side must notice that something
    /// is missing.
    fn reset_on_close(&mut self);
}

impl Stream for TcpStream {
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_read_ready(cx)
    }

    fn needs_farewell(&self) -> bool {
        false
    }

    fn reset_on_close(&mut self) {
        // Where the system refuses, an orderly end is all there is.
        let _ = self.set_zero_linger();
    }
}

impl Stream for Box<TlsStream<Rewound<TcpStream>>> {
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(self).poll_fill_buf(cx))?;
        Poll::Ready(Ok(()))
    }

    fn needs_farewell(&self) -> bool {
        true
    }

    fn reset_on_close(&mut self) {
        // Without close_notify the end counts as truncation already (RFC 8446, 6.1).
    }
}
