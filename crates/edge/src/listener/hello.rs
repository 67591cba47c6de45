//! Reads a ClientHello off a connection without losing a byte of it, to learn the server name.
//! Never answers and never decides where the connection goes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

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

    /// The connection itself.
    pub(crate) fn get_ref(&self) -> &S {
        &self.io
    }
}

/// Reads until the ClientHello is complete, in however many pieces it comes. Returns the server
/// name, lower case, and every byte read.
pub(crate) async fn read_client_hello<S: AsyncRead + Unpin>(
    io: &mut S,
) -> io::Result<(Option<String>, Bytes)> {
    let mut acceptor = Acceptor::default();
    let mut seen = BytesMut::with_capacity(2048);
    loop {
        let start = seen.len();
        if io.read_buf(&mut seen).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut fresh = &seen[start..];
        while !fresh.is_empty() {
            acceptor.read_tls(&mut fresh)?;
        }
        match acceptor.accept() {
            Ok(Some(accepted)) => {
                let name = accepted
                    .client_hello()
                    .server_name()
                    .map(str::to_ascii_lowercase);
                return Ok((name, seen.freeze()));
            }
            Ok(None) if seen.len() < MAX_HELLO_BYTES => {}
            Ok(None) => return Err(io::Error::other("ClientHello is too large")),
            Err((error, _alert)) => return Err(io::Error::other(error)),
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

    fn reset_on_close(&mut self) {
        self.io.reset_on_close();
    }
}

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

    #[tokio::test]
    async fn hello_in_single_bytes_yields_its_name_and_every_byte() {
        let hello = client_hello("Auth.Example.com");
        let (mut near, mut far) = tokio::io::duplex(1);
        let sent = hello.clone();
        let writer = tokio::spawn(async move {
            near.write_all(&sent).await.unwrap();
            near.write_all(b"rest").await.unwrap();
        });
        let (name, seen) = read_client_hello(&mut far).await.unwrap();
        assert_eq!(name.as_deref(), Some("auth.example.com"));
        assert_eq!(seen, hello);

        let mut rewound = Rewound::new(seen, far);
        let mut again = Vec::new();
        rewound.read_to_end(&mut again).await.unwrap();
        writer.await.unwrap();
        assert_eq!(again, [hello.as_slice(), b"rest"].concat());
    }

    #[tokio::test]
    async fn plain_http_and_an_early_end_are_errors() {
        let mut plain: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
        assert!(read_client_hello(&mut plain).await.is_err());
        let hello = client_hello("a.test");
        let mut cut = &hello[..hello.len() / 2];
        assert!(read_client_hello(&mut cut).await.is_err());
    }

    #[tokio::test]
    async fn endless_hello_is_refused() {
        // A handshake record that announces a huge ClientHello and never completes it.
        let mut record = vec![0x16, 3, 1, 0x40, 0, 1, 0, 0xff, 0xff];
        record.resize(5 + 0x4000, 0);
        let endless = record.repeat(8);
        assert!(read_client_hello(&mut endless.as_slice()).await.is_err());
    }
}
