//! What the native engine asks of a client's or an endpoint's stream besides reading and writing.
//! Never buffers and never changes a byte.

use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{HeaderMap, StatusCode};
use nix::sys::socket::{MsgFlags, send, sendmsg};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, BufReader, DuplexStream, Interest};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::h1::responses::Framing;
use crate::listener::Corked;

/// A stream that can be waited for without a buffer to read into.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {
    /// Ready when a read would give bytes, the end or an error. Consumes nothing. A hint: the read
    /// may have to wait after all, and then so does the next call.
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Whether dropping the stream would leave the other side in doubt about the end: TLS says
    /// goodbye in words of its own (RFC 8446, 6.1).
    fn needs_farewell(&self) -> bool;

    /// The socket at the bottom, if there is one.
    fn tcp(&self) -> Option<&TcpStream>;

    /// As [`AsyncWrite::poll_write_vectored`], of what is the last before the stream is shut down or
    /// dropped, which follows at once: where the system can, the end leaves in the same packet.
    fn poll_write_last(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(self).poll_write_vectored(cx, slices)
    }

    /// Makes closing a reset instead of an orderly end: the other side must notice that something
    /// is missing.
    fn reset_on_close(&mut self);

    /// Where the heads of answers go whose protocol has fields of its own. `None`: they are text like
    /// all the rest.
    fn fields(&mut self) -> Option<&mut impl TakesFields> {
        None::<&mut Text>
    }
}

/// Who wants the final head of an answer as fields. Over HTTP/2, text would be parsed once more: a tenth
/// of what a small request costs there.
pub(crate) trait TakesFields {
    /// Takes a final head at once. What follows is the text of a body that ends as `framing` says.
    fn begin(&mut self, status: StatusCode, fields: HeaderMap, framing: Framing) -> io::Result<()>;
}

/// Of a stream that takes text alone.
pub(crate) enum Text {}

impl TakesFields for Text {
    fn begin(&mut self, _: StatusCode, _: HeaderMap, _: Framing) -> io::Result<()> {
        match *self {}
    }
}

/// A client's stream with TLS.
pub(crate) type TlsOverTcp = Box<TlsStream<Corked<TcpStream>>>;

impl Stream for TcpStream {
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_read_ready(cx)
    }

    fn needs_farewell(&self) -> bool {
        false
    }

    fn tcp(&self) -> Option<&TcpStream> {
        Some(self)
    }

    fn poll_write_last(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.poll_write_ready(cx))?;
            let sent = self.try_io(Interest::WRITABLE, || send_last(self, slices));
            match sent {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                sent => return Poll::Ready(sent),
            }
        }
    }

    fn reset_on_close(&mut self) {
        // Where the system refuses, an orderly end is all there is.
        let _ = self.set_zero_linger();
    }
}

/// Hands a last piece to the system, which keeps what does not fill a packet for the end to come
/// (`MSG_MORE`).
fn send_last(socket: &TcpStream, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    let flags = MsgFlags::from_bits_retain(nix::libc::MSG_MORE) | MsgFlags::MSG_NOSIGNAL;
    let socket = socket.as_raw_fd();
    let sent = match slices {
        [one] => send(socket, one, flags),
        several => sendmsg::<()>(socket, several, &[], flags, None),
    };
    Ok(sent?)
}

/// An endpoint's stream with TLS.
impl Stream for Box<tokio_rustls::client::TlsStream<TcpStream>> {
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(self).poll_fill_buf(cx))?;
        Poll::Ready(Ok(()))
    }

    fn needs_farewell(&self) -> bool {
        true
    }

    fn tcp(&self) -> Option<&TcpStream> {
        Some(self.get_ref().0)
    }

    fn reset_on_close(&mut self) {
        // As of a client's.
    }
}

impl Stream for TlsOverTcp {
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(self).poll_fill_buf(cx))?;
        Poll::Ready(Ok(()))
    }

    fn needs_farewell(&self) -> bool {
        true
    }

    fn tcp(&self) -> Option<&TcpStream> {
        Some(self.get_ref().0.get_ref())
    }

    fn poll_write_last(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().0.last();
        Pin::new(self).poll_write_vectored(cx, slices)
    }

    fn reset_on_close(&mut self) {
        // Without close_notify the end counts as truncation already (RFC 8446, 6.1).
    }
}

/// From one engine to the other.
impl Stream for BufReader<DuplexStream> {
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(self).poll_fill_buf(cx))?;
        Poll::Ready(Ok(()))
    }

    fn needs_farewell(&self) -> bool {
        false
    }

    fn tcp(&self) -> Option<&TcpStream> {
        None
    }

    fn reset_on_close(&mut self) {
        // The other engine sees that the answer is not complete.
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;

    use bytes::Bytes;
    use rustls::crypto::aws_lc_rs;
    use rustls::{ClientConfig, RootCertStore, ServerConfig};
    use rustls_pki_types::PrivateKeyDer;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    use super::*;
    use crate::listener::Rewound;

    async fn tcp_pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap()).await;
        (far.unwrap(), listener.accept().await.unwrap().0)
    }

    type Server = TlsOverTcp;
    type Client = tokio_rustls::client::TlsStream<TcpStream>;

    async fn tls_pair() -> (Client, Server) {
        let made = rcgen::generate_simple_self_signed(vec!["a.test".to_owned()]).unwrap();
        let certificate = made.cert.der().clone();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate).unwrap();
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let (far, near) = tcp_pair().await;
        let (client, server) = tokio::join!(
            TlsConnector::from(Arc::new(client)).connect("a.test".try_into().unwrap(), far),
            TlsAcceptor::from(Arc::new(server)).accept(Corked::new(near)),
        );
        (client.unwrap(), Box::new(server.unwrap()))
    }

    async fn is_readable<S: Stream>(stream: &mut S) -> bool {
        poll_fn(|cx| Poll::Ready(stream.poll_readable(cx).is_ready())).await
    }

    async fn becomes_readable<S: Stream>(stream: &mut S) {
        poll_fn(|cx| stream.poll_readable(cx)).await.unwrap();
    }

    /// What every stream must do once `far` is connected to `near`.
    async fn waits_without_reading<F, N>(mut far: F, mut near: N)
    where
        F: AsyncWrite + Unpin,
        N: Stream,
    {
        assert!(!is_readable(&mut near).await, "nothing was sent yet");
        far.write_all(b"hello").await.unwrap();
        far.flush().await.unwrap();
        becomes_readable(&mut near).await;
        becomes_readable(&mut near).await;
        let mut received = [0; 5];
        near.read_exact(&mut received).await.unwrap();
        assert_eq!(&received, b"hello", "waiting took nothing");
        far.shutdown().await.unwrap();
        becomes_readable(&mut near).await;
        assert_eq!(near.read(&mut received).await.unwrap(), 0);
        becomes_readable(&mut near).await;
    }

    #[tokio::test]
    async fn plain_stream_is_waited_for_without_reading() {
        let (far, near) = tcp_pair().await;
        // An accepted socket counts as ready until the first attempt.
        assert!(near.try_read(&mut [0]).is_err());
        waits_without_reading(far, near).await;
    }

    #[tokio::test]
    async fn tls_stream_is_waited_for_without_reading() {
        let (far, near) = tls_pair().await;
        waits_without_reading(far, near).await;
    }

    #[tokio::test]
    async fn what_was_read_ahead_is_readable_at_once() {
        let (_far, near) = tokio::io::duplex(1);
        let near = BufReader::new(near);
        let mut rewound = Rewound::new(Bytes::from_static(b"hello"), near);
        assert!(is_readable(&mut rewound).await);
        rewound.read_exact(&mut [0; 5]).await.unwrap();
        assert!(!is_readable(&mut rewound).await);
    }

    #[tokio::test]
    async fn tls_stream_that_is_cut_off_is_readable_and_fails() {
        let (far, mut near) = tls_pair().await;
        drop(far.into_inner());
        assert!(poll_fn(|cx| near.poll_readable(cx)).await.is_err());
    }
}
