//! One connection of an operator, from its first request to its last. Never looks at a request.

use std::convert::Infallible;

use http::header::CONNECTION;
use http::{HeaderValue, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::READ_TIMEOUT;
use super::answer::Answer;
use crate::connection::FIRST_REQUEST;

/// Answers until the operator leaves or, once `stop` turns true, one more time: whoever asks next finds
/// who has the address then. A connection that nobody has used yet may have its first request on the way.
pub(super) async fn converse<S, F>(
    stream: S,
    mut stop: watch::Receiver<bool>,
    answer: impl Fn(Request<Incoming>) -> F,
) where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Future<Output = Answer>,
{
    let patience = Instant::now() + FIRST_REQUEST;
    let asked = Notify::new();
    let is_stopped = stop.clone();
    let service = service_fn(|request| {
        asked.notify_one();
        let (answered, is_stopped) = (answer(request), is_stopped.clone());
        async move {
            let mut answer = answered.await;
            if *is_stopped.borrow() {
                let close = HeaderValue::from_static("close");
                answer.headers_mut().insert(CONNECTION, close);
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let mut served = std::pin::pin!(
        Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(READ_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service)
    );
    let over = async {
        // Whoever could tell us may be gone.
        let _ = stop.wait_for(|stop| *stop).await;
        let _ = tokio::time::timeout_at(patience, asked.notified()).await;
    };
    let served = tokio::select! {
        served = &mut served => served,
        () = over => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "admin connection ended early");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use http::Response;
    use http_body_util::Full;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
    use tokio::task::JoinHandle;

    use super::*;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

    fn begin(stop: &watch::Sender<bool>) -> (DuplexStream, JoinHandle<()>) {
        let (near, far) = tokio::io::duplex(4096);
        let conversation = converse(far, stop.subscribe(), |_| async {
            Response::new(Full::new(Bytes::from_static(b"yes")))
        });
        (near, tokio::spawn(conversation))
    }

    async fn answer(operator: &mut DuplexStream) -> String {
        let mut said = vec![0; 1024];
        operator.write_all(REQUEST).await.unwrap();
        let length = operator.read(&mut said).await.unwrap();
        String::from_utf8(said[..length].to_vec()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_request_of_a_fresh_connection_is_answered_though_another_took_over() {
        let stop = watch::Sender::new(false);
        let (mut operator, conversation) = begin(&stop);
        tokio::task::yield_now().await;
        stop.send_replace(true);
        tokio::time::sleep(FIRST_REQUEST / 2).await;
        let said = answer(&mut operator).await;
        assert!(said.starts_with("HTTP/1.1 200"), "{said}");
        assert!(said.contains("connection: close"), "{said}");
        conversation.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_asks_nothing_is_not_waited_for_longer() {
        let stop = watch::Sender::new(false);
        let (mut operator, conversation) = begin(&stop);
        let began = Instant::now();
        stop.send_replace(true);
        assert_eq!(operator.read(&mut [0]).await.unwrap(), 0);
        assert_eq!(began.elapsed(), FIRST_REQUEST);
        conversation.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_was_used_ends_when_another_takes_over() {
        let stop = watch::Sender::new(false);
        let (mut operator, conversation) = begin(&stop);
        let said = answer(&mut operator).await;
        assert!(!said.contains("connection: close"), "{said}");
        let began = Instant::now();
        stop.send_replace(true);
        assert_eq!(operator.read(&mut [0]).await.unwrap(), 0);
        assert_eq!(began.elapsed(), Duration::ZERO);
        conversation.await.unwrap();
    }
}
