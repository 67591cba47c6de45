//! Reads a ClientHello off a connection without losing a byte of it, to learn the server name.
//! Never answers and never decides where the connection goes.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use rustls::server::{Accepted, Acceptor};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::plain::{Opening, opening};
use crate::engine::Stream;

/// A ClientHello larger than this is refused; with post-quantum key shares they reach about 2 KiB.
const MAX_HELLO_BYTES: usize = 16 * 1024;

/// A connection whose first bytes were read already and come out again.
#[derive(Debug)]
pub(crate) struct Rewound<S> {
    prefix: Bytes,
    io: S,
}

impl<S> Rewound<S> {
    /// Puts `prefix` in front of what `io` still has.
    pub(crate) fn new(prefix: Bytes, io: S) -> Self {
        Self { prefix, io }
    }
}

/// A complete ClientHello.
pub(super) struct Hello {
    /// Goes on with the handshake; has every byte.
    pub(super) accepted: Accepted,
    /// Who is asked for, lower case.
    pub(super) server_name: Option<String>,
    /// Every byte read.
    pub(super) seen: Bytes,
}

/// Why there is no ClientHello.
#[derive(Debug)]
pub(super) enum NoHello {
    /// The client left before its first byte.
    Silent,
    /// The connection ended or broke inside it.
    Broken,
    /// A request in clear text.
    PlainHttp,
    /// Another protocol.
    NotTls,
    /// It is larger than anybody needs.
    TooLarge,
    /// It breaks the protocol; the alert says how.
    Malformed(Vec<u8>),
}

/// Reads until the ClientHello is complete, in however many pieces it comes.
/// In a box: with room for the session to come it is more than a kilobyte long.
pub(super) async fn read_client_hello<S: AsyncRead + Unpin>(
    io: &mut S,
) -> Result<Box<Hello>, NoHello> {
    let mut acceptor = Acceptor::default();
    let mut seen = BytesMut::with_capacity(2048);
    let mut fed = 0;
    loop {
        let room = (MAX_HELLO_BYTES - seen.len()) as u64;
        match (&mut *io).take(room).read_buf(&mut seen).await {
            Ok(0) if seen.is_empty() => return Err(NoHello::Silent),
            Ok(0) | Err(_) => return Err(NoHello::Broken),
            Ok(_) => {}
        }
        match opening(&seen) {
            Opening::Tls => {}
            Opening::Undecided => continue,
            Opening::Http => return Err(NoHello::PlainHttp),
            Opening::Other => return Err(NoHello::NotTls),
        }
        let mut fresh = &seen[fed..];
        while !fresh.is_empty() {
            let taken = acceptor.read_tls(&mut fresh);
            if !taken.is_ok_and(|count| count > 0) {
                return Err(NoHello::TooLarge);
            }
        }
        fed = seen.len();
        match acceptor.accept() {
            Ok(Some(accepted)) => {
                let hello = accepted.client_hello();
                return Ok(Box::new(Hello {
                    server_name: hello.server_name().map(str::to_ascii_lowercase),
                    accepted,
                    seen: seen.freeze(),
                }));
            }
            Ok(None) if seen.len() < MAX_HELLO_BYTES => {}
            Ok(None) => return Err(NoHello::TooLarge),
            Err((_, mut alert)) => {
                let mut bytes = Vec::new();
                // A vector takes everything.
                let _ = alert.write_all(&mut bytes);
                return Err(NoHello::Malformed(bytes));
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewound<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.prefix.is_empty() {
            return Pin::new(&mut this.io).poll_read(cx, buf);
        }
        let count = this.prefix.len().min(buf.remaining());
        buf.put_slice(&this.prefix[..count]);
        this.prefix.advance(count);
        if this.prefix.is_empty() {
            this.prefix = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewound<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, data)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let io = Pin::new(&mut self.get_mut().io);
        match slices {
            // The system takes it faster so.
            [one] => io.poll_write(cx, one),
            several => io.poll_write_vectored(cx, several),
        }
    }

    /// TLS hands a flight over record by record: one write for all of them.
    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

impl<S: Stream> Stream for Rewound<S> {
    fn tcp(&self) -> Option<&TcpStream> {
        self.io.tcp()
    }

    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.prefix.is_empty() {
            self.io.poll_readable(cx)
        } else {
            Poll::Ready(Ok(()))
        }
    }

    fn needs_farewell(&self) -> bool {
        self.io.needs_farewell()
    }

    fn poll_write_last(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.io.poll_write_last(cx, slices)
    }

    fn reset_on_close(&mut self) {
        self.io.reset_on_close();
    }
}

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::crypto::aws_lc_rs;
    use rustls::{ClientConfig, ClientConnection, RootCertStore};
    use tokio::io::AsyncWriteExt;

    use super::*;

    fn client_hello(name: &'static str) -> Vec<u8> {
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let mut client = ClientConnection::new(Arc::new(config), name.try_into().unwrap()).unwrap();
        let mut hello = Vec::new();
        client.write_tls(&mut hello).unwrap();
        hello
    }

    async fn refused(mut bytes: &[u8]) -> NoHello {
        read_client_hello(&mut bytes).await.err().unwrap()
    }

    #[tokio::test]
    async fn hello_in_single_bytes_yields_its_name_and_every_byte() {
        let hello = client_hello("Auth.Example.com");
        let (mut near, mut far) = tokio::io::duplex(1);
        let sent = hello.clone();
        let writer = tokio::spawn(async move {
            near.write_all(&sent).await.unwrap();
            near.write_all(b"rest").await.unwrap();
        });
        let read = read_client_hello(&mut far).await.ok().unwrap();
        assert_eq!(read.server_name.as_deref(), Some("auth.example.com"));
        assert_eq!(read.seen, hello);
        assert_eq!(
            read.accepted.client_hello().server_name(),
            Some("auth.example.com")
        );

        let mut rewound = Rewound::new(read.seen, far);
        let mut again = Vec::new();
        rewound.read_to_end(&mut again).await.unwrap();
        writer.await.unwrap();
        assert_eq!(again, [hello.as_slice(), b"rest"].concat());
    }

    #[tokio::test]
    async fn what_is_no_hello_is_told_apart() {
        let plain = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
        assert!(matches!(refused(plain).await, NoHello::PlainHttp));
        assert!(matches!(refused(b"GE").await, NoHello::Broken));
        assert!(matches!(refused(b"").await, NoHello::Silent));
        assert!(matches!(refused(b"SSH-2.0-x\r\n").await, NoHello::NotTls));
        let hello = client_hello("a.test");
        let half = &hello[..hello.len() / 2];
        assert!(matches!(refused(half).await, NoHello::Broken));
    }

    #[tokio::test]
    async fn damaged_hello_gets_an_alert() {
        let mut hello = client_hello("a.test");
        hello[5] = 2;
        let NoHello::Malformed(alert) = refused(&hello).await else {
            panic!("this is a ServerHello");
        };
        assert_eq!(alert[0], 0x15);
    }

    #[tokio::test]
    async fn endless_hello_is_refused() {
        // Handshake records that announce a huge ClientHello and never complete it.
        let mut record = vec![0x16, 3, 1, 0x40, 0, 1, 0, 0xff, 0xff];
        record.resize(5 + 0x4000, 0);
        let endless = record.repeat(8);
        assert!(matches!(refused(&endless).await, NoHello::TooLarge));
    }
}
