//! Notices a client that leaves while its request waits inside a hook: pingora looks only while a
//! request is at an endpoint. Never takes a byte from the client.

use std::future::{Future, pending, poll_fn};
use std::io;
use std::os::fd::AsFd;
use std::pin::{Pin, pin};
use std::task::Poll;

use pingora::protocols::http::ServerSession;
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::engine::Guard;
use crate::engine::stream::{Stream, TlsOverTcp};
use crate::listener::Rewound;

/// What `work` comes to; `None` when the client leaves first. Work that waits for nothing never looks
/// at the client.
pub(super) async fn while_client_stays<T>(
    session: &mut ServerSession,
    work: impl Future<Output = T>,
) -> Option<T> {
    let mut work = pin!(work);
    if let Poll::Ready(done) = poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx))).await {
        return Some(done);
    }
    // Rare and large, so not a part of every request's future.
    Box::pin(first(work, session)).await
}

async fn first<T>(
    work: Pin<&mut impl Future<Output = T>>,
    session: &mut ServerSession,
) -> Option<T> {
    tokio::select! {
        biased;
        done = work => Some(done),
        () = left(session) => None,
    }
}

/// Resolves when the client has closed its side of the connection.
async fn left(session: &mut ServerSession) {
    let watched = match twin(session) {
        Some(socket) => closed(socket).await,
        None => Err(io::ErrorKind::Unsupported.into()),
    };
    if watched.is_err() {
        // The system refuses another descriptor: the wait ends by its own deadline.
        pending::<()>().await;
    }
}

/// An HTTP/1.1 client's socket once more, which the runtime can watch beside its own.
fn twin(session: &ServerSession) -> Option<TcpStream> {
    let guarded = (**session.stream()?).as_any();
    let plain = guarded.downcast_ref::<Guard<TcpStream>>();
    let secure = guarded.downcast_ref::<Guard<TlsOverTcp>>();
    let rewound = guarded.downcast_ref::<Guard<Rewound<TcpStream>>>();
    let plain = plain.map(|guard| guard.stream().tcp());
    let rewound = rewound.map(|guard| guard.stream().tcp());
    let secure = secure.map(|guard| guard.stream().tcp());
    let socket = plain.or(rewound).or(secure)??;
    again(socket).ok()
}

/// Another descriptor of the same socket.
fn again(socket: &TcpStream) -> io::Result<TcpStream> {
    let descriptor = socket.as_fd().try_clone_to_owned()?;
    TcpStream::from_std(descriptor.into())
}

/// Resolves when the other side has closed, whatever it sent before and nobody has read yet.
async fn closed(socket: TcpStream) -> io::Result<()> {
    while !socket.ready(Interest::READABLE).await?.is_read_closed() {
        // Bytes are left where they are; from here on, news counts.
        let seen = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
        let _ = socket.try_io(Interest::READABLE, seen);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn bytes_are_no_end_and_an_end_behind_bytes_is_one() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut far = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (near, _) = listener.accept().await.unwrap();
        far.write_all(b"sent ahead").await.unwrap();
        near.readable().await.unwrap();
        let mut end = pin!(closed(again(&near).unwrap()));
        let early = poll_fn(|cx| Poll::Ready(end.as_mut().poll(cx).is_ready())).await;
        assert!(!early, "it has only sent");
        far.shutdown().await.unwrap();
        end.await.unwrap();
        let mut bytes = [0; 16];
        assert_eq!(
            near.try_read(&mut bytes).unwrap(),
            10,
            "and nothing is lost"
        );
    }
}
