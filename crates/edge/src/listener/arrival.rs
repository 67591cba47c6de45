//! Whose connection it is, where a proxy in front of a listener says so. Never reads a byte behind
//! the PROXY header, and believes nobody who is not named.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout_at};

use super::proxy_header::{BYTES_MAX, Origin, Reading, read};
use crate::config::ProxyProtocol;
use crate::pipeline::is_trusted;

/// The first bytes can be the begin of a header or of anything else, and must stay where they are
/// until it is clear: so long until the next look.
const AMBIGUITY_PAUSE: Duration = Duration::from_millis(5);

/// Why a connection is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoHeader {
    /// Its source may not send one.
    Untrusted,
    /// It begins with something else.
    Absent,
    /// It begins with something malformed.
    Malformed(&'static str),
    /// It did not arrive in time.
    Late,
    /// The connection ended, or broke.
    Gone,
}

/// Who connected to what, as the header gives it; `None` where the peer speaks for itself.
pub(super) async fn origin_of(
    stream: &mut TcpStream,
    peer: SocketAddr,
    policy: &ProxyProtocol,
) -> Result<Option<Origin>, NoHeader> {
    if !is_trusted(peer.ip(), &policy.from) {
        return if policy.required {
            Err(NoHeader::Untrusted)
        } else {
            Ok(None)
        };
    }
    let deadline = Instant::now() + policy.timeout;
    let read = read_header(stream, policy.required);
    match timeout_at(deadline, read).await {
        Ok(read) => read,
        Err(_elapsed) => Err(NoHeader::Late),
    }
}

/// Takes the header off the stream, and not a byte more.
async fn read_header(stream: &mut TcpStream, required: bool) -> Result<Option<Origin>, NoHeader> {
    let mut seen = Vec::with_capacity(128);
    let mut ahead = vec![0; 256];
    loop {
        let taken = seen.len();
        let count = stream.peek(&mut ahead).await.map_err(|_| NoHeader::Gone)?;
        if count == 0 {
            return Err(NoHeader::Gone);
        }
        seen.extend_from_slice(&ahead[..count]);
        match read(&seen).map_err(NoHeader::Malformed)? {
            Reading::Complete { length, origin } => {
                take(stream, &mut ahead[..length - taken]).map_err(|_| NoHeader::Gone)?;
                return Ok(origin);
            }
            Reading::Absent if required => return Err(NoHeader::Absent),
            Reading::Absent => return Ok(None),
            Reading::Ambiguous if !required => {
                seen.clear();
                sleep(AMBIGUITY_PAUSE).await;
            }
            Reading::Ambiguous | Reading::Partial => {
                take(stream, &mut ahead[..count]).map_err(|_| NoHeader::Gone)?;
                // Long ones come in few reads, and nobody gets more memory than a header needs.
                let room = BYTES_MAX.saturating_sub(seen.len()).clamp(1, BYTES_MAX);
                ahead.resize((ahead.len() * 2).min(room.max(256)), 0);
            }
        }
    }
}

/// Reads bytes that a look ahead has shown to be there.
fn take(stream: &TcpStream, mut bytes: &mut [u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match stream.try_read(bytes)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => bytes = &mut bytes[count..],
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    const LINE: &str = "PROXY TCP4 198.51.100.7 10.0.0.1 12345 443\r\n";

    fn policy(required: bool) -> ProxyProtocol {
        ProxyProtocol {
            from: vec!["127.0.0.0/8".parse().unwrap()],
            required,
            timeout: Duration::from_secs(20),
        }
    }

    async fn pair() -> (TcpStream, TcpStream, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap()).await;
        let (near, peer) = listener.accept().await.unwrap();
        (far.unwrap(), near, peer)
    }

    /// What is said of a connection that begins so and then ends, and what is left of it.
    async fn judged(begin: &[u8], policy: &ProxyProtocol) -> (Result<String, NoHeader>, Vec<u8>) {
        let (mut far, mut near, peer) = pair().await;
        far.write_all(begin).await.unwrap();
        far.shutdown().await.unwrap();
        let origin = origin_of(&mut near, peer, policy).await;
        let client = origin.map(|origin| match origin {
            None => "peer".to_owned(),
            Some(origin) => format!("{} at {}", origin.source, origin.destination),
        });
        let mut rest = Vec::new();
        near.read_to_end(&mut rest).await.unwrap();
        (client, rest)
    }

    #[tokio::test]
    async fn the_header_is_taken_and_nothing_behind_it() {
        let begin = format!("{LINE}GET / HTTP/1.1\r\n");
        let (client, rest) = judged(begin.as_bytes(), &policy(true)).await;
        assert_eq!(client.as_deref(), Ok("198.51.100.7:12345 at 10.0.0.1:443"));
        assert_eq!(rest, b"GET / HTTP/1.1\r\n");
    }

    #[tokio::test]
    async fn a_header_in_single_bytes_is_the_same_header() {
        let (mut far, mut near, peer) = pair().await;
        far.set_nodelay(true).unwrap();
        let writer = tokio::spawn(async move {
            for byte in format!("{LINE}rest").as_bytes() {
                far.write_all(&[*byte]).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
        let origin = origin_of(&mut near, peer, &policy(true)).await.unwrap();
        assert_eq!(origin.unwrap().source.to_string(), "198.51.100.7:12345");
        writer.await.unwrap();
        let mut rest = Vec::new();
        near.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"rest");
    }

    #[tokio::test]
    async fn a_long_header_is_read_to_its_end() {
        let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11".to_vec();
        header.extend(4080_u16.to_be_bytes());
        header.extend([198, 51, 100, 7, 10, 0, 0, 1, 0, 9, 0, 80]);
        header.extend([4, 15, 225]);
        header.resize(4096, 0);
        header.extend(b"rest");
        let (client, rest) = judged(&header, &policy(true)).await;
        assert_eq!(client.as_deref(), Ok("198.51.100.7:9 at 10.0.0.1:80"));
        assert_eq!(rest, b"rest");
    }

    #[tokio::test]
    async fn who_must_send_one_is_refused_without() {
        for (begin, expected) in [
            (&b"GET / HTTP/1.1\r\n"[..], NoHeader::Absent),
            (
                b"PROXY TCP9 \r\n",
                NoHeader::Malformed("the family is not known"),
            ),
            (b"PROXY TCP4 198", NoHeader::Gone),
            (b"", NoHeader::Gone),
        ] {
            assert_eq!(judged(begin, &policy(true)).await.0, Err(expected));
        }
    }

    #[tokio::test]
    async fn who_need_not_send_one_is_served_without() {
        let (client, rest) = judged(b"PUT / HTTP/1.1\r\n", &policy(false)).await;
        assert_eq!(client.as_deref(), Ok("peer"));
        assert_eq!(rest, b"PUT / HTTP/1.1\r\n");
        let (client, rest) = judged(LINE.as_bytes(), &policy(false)).await;
        assert_eq!(client.as_deref(), Ok("198.51.100.7:12345 at 10.0.0.1:443"));
        assert_eq!(rest, b"");
    }

    #[tokio::test]
    async fn strangers_are_not_listened_to() {
        let mut elsewhere = policy(true);
        elsewhere.from = vec!["192.0.2.0/24".parse().unwrap()];
        let (client, _) = judged(LINE.as_bytes(), &elsewhere).await;
        assert_eq!(client, Err(NoHeader::Untrusted));
        elsewhere.required = false;
        let (client, rest) = judged(LINE.as_bytes(), &elsewhere).await;
        assert_eq!(client.as_deref(), Ok("peer"));
        assert_eq!(rest, LINE.as_bytes(), "what a stranger says is a request");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_it_forever() {
        for begin in ["", "P", "PROXY TCP4 198"] {
            for required in [true, false] {
                let (mut far, mut near, peer) = pair().await;
                far.write_all(begin.as_bytes()).await.unwrap();
                let client = origin_of(&mut near, peer, &policy(required)).await;
                assert_eq!(client, Err(NoHeader::Late), "{begin:?}");
            }
        }
    }
}
