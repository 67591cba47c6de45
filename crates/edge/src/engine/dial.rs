//! Dials endpoints: TCP, then TLS where the cluster speaks it. Never chooses an endpoint, and never
//! waits longer than it is told.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rustls::{AlertDescription, CertificateError};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::h2::Bridge;
use super::silence::is_silent;
use super::stream::Stream;
use crate::dialling::Via;
use crate::outcome::Cause;

/// A connection to an endpoint.
#[derive(Debug)]
pub(crate) enum EndpointStream {
    /// As it is.
    Plain(TcpStream),
    /// Over TLS. In a box: such a session is large, and moves through many hands.
    Secure(Box<TlsStream<TcpStream>>),
    /// One request on a connection that others share.
    Bridged(Box<Bridge>),
}

/// A new connection that is ready for requests; the error says what stood in the way.
pub(crate) async fn dial(
    address: SocketAddr,
    via: &Via,
    timeout: Duration,
) -> Result<EndpointStream, Cause> {
    let Some(secure) = &via.tls else {
        let preamble = via.preamble.as_deref();
        return Ok(EndpointStream::Plain(
            connect_with(address, preamble, timeout).await?,
        ));
    };
    let dialled = Box::pin(async {
        let stream = connect_with(address, via.preamble.as_deref(), timeout).await?;
        let connector = TlsConnector::from(std::sync::Arc::clone(&secure.current.client));
        let shaken = connector.connect(secure.name.clone(), stream).await;
        shaken.map_err(|error| {
            tracing::debug!(endpoint = %address, %error, "no secure connection");
            match cause_of_handshake(&error) {
                Cause::TlsFailed if via.is_http2 && is_of_protocol(&error) => Cause::NoHttp2,
                cause => cause,
            }
        })
    });
    let stream = tokio::time::timeout(timeout, dialled)
        .await
        .map_err(|_elapsed| Cause::ConnectTimeout)??;
    Ok(EndpointStream::Secure(Box::new(stream)))
}

/// A new TCP connection.
pub(crate) async fn connect(address: SocketAddr, timeout: Duration) -> Result<TcpStream, Cause> {
    connect_with(address, None, timeout).await
}

/// A new TCP connection to an endpoint, on which the preamble was written.
pub(crate) async fn connect_with(
    address: SocketAddr,
    preamble: Option<&[u8]>,
    timeout: Duration,
) -> Result<TcpStream, Cause> {
    let connecting = TcpStream::connect(address);
    let connected = tokio::time::timeout(timeout, connecting).await;
    let mut stream = connected
        .map_err(|_elapsed| Cause::ConnectTimeout)?
        .map_err(|error| cause(&error))?;
    if let Some(preamble) = preamble {
        // A new socket takes so few bytes at once.
        let written = stream.write_all(preamble).await;
        written.map_err(|error| cause(&error))?;
    }
    // Only a hint to the kernel; a socket that refuses it still works.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

fn cause(error: &io::Error) -> Cause {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Cause::ConnectRefused,
        io::ErrorKind::TimedOut => Cause::ConnectTimeout,
        _ => Cause::ConnectFailed,
    }
}

/// Why there is no secure connection.
pub(super) fn cause_of_handshake(error: &io::Error) -> Cause {
    let inner = error.get_ref();
    let Some(error) = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
        return Cause::TlsFailed;
    };
    match error {
        rustls::Error::InvalidCertificate(error) => cause_of_certificate(error),
        // The first bytes are no record of TLS.
        rustls::Error::InvalidMessage(_) => Cause::TlsPlain,
        _ => Cause::TlsFailed,
    }
}

/// Whether the endpoint speaks none of the protocols it was offered (RFC 7301, 3.2).
fn is_of_protocol(error: &io::Error) -> bool {
    let inner = error.get_ref();
    let error = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let none = AlertDescription::NoApplicationProtocol;
    error == Some(&rustls::Error::AlertReceived(none))
}

fn cause_of_certificate(error: &CertificateError) -> Cause {
    match error {
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Cause::TlsName
        }
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => Cause::TlsExpired,
        _ => Cause::TlsUntrusted,
    }
}

impl EndpointStream {
    /// The socket at the bottom.
    pub(crate) fn socket(&self) -> Option<&TcpStream> {
        match self {
            Self::Plain(stream) => Some(stream),
            Self::Secure(stream) => Some(stream.get_ref().0),
            Self::Bridged(_) => None,
        }
    }

    /// The protocol that TLS agreed on; `None` without TLS, empty where it agreed on none.
    pub(crate) fn protocol(&self) -> Option<&[u8]> {
        match self {
            Self::Secure(stream) => Some(stream.get_ref().1.alpn_protocol().unwrap_or_default()),
            Self::Plain(_) | Self::Bridged(_) => None,
        }
    }

    /// The request on a connection that others share.
    pub(crate) fn bridge(&self) -> Option<&Bridge> {
        match self {
            Self::Bridged(bridge) => Some(bridge),
            Self::Plain(_) | Self::Secure(_) => None,
        }
    }

    /// Whether the kernel knows of nothing on it, which tokio hears of a little later.
    pub(crate) fn is_silent(&self) -> bool {
        let socket = self.socket();
        socket.is_some_and(|socket| is_silent(socket.as_raw_fd()))
    }

    /// Whether it is open and nothing has come that nobody asked for. Asks the kernel only when it
    /// has reported something. What TLS says to itself is no such thing.
    pub(crate) fn is_idle(&mut self) -> bool {
        match self {
            Self::Plain(stream) => {
                let unasked = stream.try_read(&mut [0]);
                unasked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
            }
            Self::Secure(_) => {
                let mut cx = Context::from_waker(Waker::noop());
                self.poll_readable(&mut cx).is_pending()
            }
            Self::Bridged(_) => false,
        }
    }
}

impl Stream for EndpointStream {
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => stream.poll_readable(cx),
            Self::Secure(stream) => stream.poll_readable(cx),
            Self::Bridged(stream) => stream.poll_readable(cx),
        }
    }

    fn needs_farewell(&self) -> bool {
        matches!(self, Self::Secure(_))
    }

    fn tcp(&self) -> Option<&TcpStream> {
        self.socket()
    }

    fn reset_on_close(&mut self) {
        if let Self::Plain(stream) = self {
            stream.reset_on_close();
        }
    }
}

impl AsyncRead for EndpointStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Secure(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Bridged(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for EndpointStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Secure(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Bridged(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Secure(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Bridged(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Secure(stream) => stream.is_write_vectored(),
            Self::Bridged(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Secure(stream) => Pin::new(stream).poll_flush(cx),
            Self::Bridged(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Secure(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Bridged(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use portcullis_testkit::fault::FullBacklog;
    use portcullis_testkit::free_port;

    use super::*;

    const SOON: Duration = Duration::from_millis(200);
    const LATE: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn each_obstacle_has_its_own_cause() {
        let nobody = free_port();
        let refused = connect(nobody.address(), LATE).await.unwrap_err();
        assert_eq!(refused, Cause::ConnectRefused);
        let silent = FullBacklog::start().await;
        let late = connect(silent.address(), SOON).await.unwrap_err();
        assert_eq!(late, Cause::ConnectTimeout);
        // Multicast addresses cannot be connected to.
        let nowhere = "224.0.0.1:9".parse().unwrap();
        let failed = connect(nowhere, LATE).await.unwrap_err();
        assert_eq!(failed, Cause::ConnectFailed);
    }
}
