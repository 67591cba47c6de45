//! The polite end of a client's connection. Never waits for long.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

use super::stream::Stream;

/// After the last response, a client may still be sending: closing at once would reset the
/// connection and could destroy the response in flight.
const LINGER: Duration = Duration::from_secs(2);
/// What is read and thrown away meanwhile.
const LINGER_BYTES: usize = 1 << 20;

/// Ends our side for a client that waits for nothing more.
pub(super) async fn farewell<S: Stream>(stream: &mut S) {
    if stream.needs_farewell() {
        // Who does not take it, misses it.
        let _ = tokio::time::timeout(LINGER, stream.shutdown()).await;
    }
}

/// Ends our side, then reads until the client has ended its own.
pub(crate) async fn linger<S: Stream>(stream: &mut S) {
    let ended = tokio::time::timeout(LINGER, stream.shutdown()).await;
    if matches!(ended, Ok(Ok(()))) {
        discard(stream).await;
    }
}

/// Reads what still comes and throws it away, for a bounded time and size.
pub(super) async fn discard<S: AsyncRead + Unpin>(stream: &mut S) {
    let discard = async {
        let mut scratch = [0; 2048];
        let mut discarded = 0;
        while discarded < LINGER_BYTES {
            match stream.read(&mut scratch).await {
                Ok(0) | Err(_) => return,
                Ok(count) => discarded += count,
            }
        }
    };
    // Running out of time is the other way to be done.
    let _ = tokio::time::timeout(LINGER, discard).await;
}
