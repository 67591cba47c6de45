//! Tells clients that speak HTTP/2 without TLS from those of HTTP/1.1, by their first bytes. Never
//! answers and never loses a byte.

use std::io;
use std::os::fd::AsRawFd;
use std::time::Instant;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::{Listener, OpenConnection, Rewound};
use crate::connection::Connection;
use crate::engine::{linger, refusal, to_http1};
use crate::outcome::Cause;
use crate::pipeline::{self, Told};

/// What every HTTP/2 connection begins with (RFC 9113 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

impl Listener {
    /// Carries whichever HTTP the client begins with.
    pub(super) async fn carry_either(
        &self,
        mut stream: TcpStream,
        mut connection: Connection,
        place: OpenConnection,
        drain: watch::Receiver<bool>,
    ) {
        let raw_fd = stream.as_raw_fd();
        let mut seen = BytesMut::new();
        let reading = begins_with_preface(&mut stream, &mut seen);
        match tokio::time::timeout(self.context.timeouts.header, reading).await {
            Ok(Ok(has_preface)) => connection.has_preface = has_preface,
            Err(_) if !seen.is_empty() => {
                let (answer, cause) = (refusal(&self.edge, Cause::HeadTimeout), Cause::HeadTimeout);
                let told = Told::from(&answer);
                pipeline::report_unparsed(&self.edge, &connection, cause, told, Instant::now());
                // A connection that is this new has room for so little.
                if stream.try_write(&to_http1(&answer)).is_ok() {
                    linger(&mut stream).await;
                }
                return;
            }
            // It left, or never said a word.
            Ok(Err(_)) | Err(_) => return,
        }
        let stream = Rewound::new(seen.freeze(), stream);
        self.carry(stream, raw_fd, connection, place, drain).await;
    }
}

/// Reads into `seen` until the preface is complete or cannot be one any more; says which.
pub(super) async fn begins_with_preface<S: AsyncRead + Unpin>(
    io: &mut S,
    seen: &mut BytesMut,
) -> io::Result<bool> {
    while seen.len() < PREFACE.len() && PREFACE.starts_with(seen) {
        if io.read_buf(seen).await? == 0 {
            return Ok(false);
        }
    }
    Ok(seen.starts_with(PREFACE))
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    async fn opening(pieces: &[&[u8]]) -> (bool, BytesMut) {
        let (mut near, mut far) = tokio::io::duplex(256);
        let mut seen = BytesMut::new();
        let read = begins_with_preface(&mut near, &mut seen);
        let written = async {
            for piece in pieces {
                far.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            drop(far);
        };
        let (is_preface, ()) = tokio::join!(read, written);
        (is_preface.unwrap(), seen)
    }

    #[tokio::test]
    async fn preface_is_known_in_any_pieces_with_whatever_follows() {
        let (is_preface, seen) = opening(&[&PREFACE[..1], &PREFACE[1..], b"frames"]).await;
        assert!(is_preface);
        assert!(seen.starts_with(PREFACE));
        let whole = [PREFACE, b"frames"].concat();
        let (is_preface, seen) = opening(&[&whole]).await;
        assert!(is_preface);
        assert_eq!(seen, whole);
    }

    #[tokio::test]
    async fn anything_else_is_known_by_its_first_different_byte() {
        for request in [
            "GET / HTTP/1.1\r\n",
            "PUT",
            "PRI * HTTP/2.0\r\n\r\nXX",
            "PRI",
            "",
        ] {
            let (is_preface, seen) = opening(&[request.as_bytes()]).await;
            assert!(!is_preface, "{request:?}");
            assert_eq!(seen, request.as_bytes());
        }
    }
}
