//! What must hold of any bytes whatever in front of a TLS session. Never waits: a slice is always ready.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::*;

/// Reads `bytes` as a ClientHello, whole and byte by byte: who is asked for must be the same, and every
/// byte that was read must be kept for whoever goes on.
pub fn client_hello(bytes: &[u8]) {
    let whole = told(bytes, bytes);
    let single = told(Single(bytes), bytes);
    if let (Some(whole), Some(single)) = (whole, single) {
        assert_eq!(whole, single);
    }
}

/// Which name is asked for; `None` where it is no ClientHello.
fn told(mut io: impl AsyncRead + Unpin, bytes: &[u8]) -> Option<Option<String>> {
    let reading = pin!(read_client_hello(&mut io));
    let read = match reading.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(read) => read,
        Poll::Pending => unreachable!("a slice is always ready"),
    };
    match read {
        Ok(hello) => {
            assert!(hello.seen.len() <= MAX_HELLO_BYTES && bytes.starts_with(&hello.seen));
            let name = hello.server_name;
            assert!(name.iter().all(|name| *name == name.to_ascii_lowercase()));
            Some(name)
        }
        Err(why) => {
            assert_eq!(matches!(why, NoHello::Silent), bytes.is_empty());
            None
        }
    }
}

/// Gives one byte at a time.
struct Single<'a>(&'a [u8]);

impl AsyncRead for Single<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some((first, rest)) = self.0.split_first() {
            buffer.put_slice(&[*first]);
            self.0 = rest;
        }
        Poll::Ready(Ok(()))
    }
}
