//! Waiting for a condition with a deadline. Never waits for a fixed time.

use std::time::{Duration, Instant};

/// How long a condition may take before a test fails: generous, since it is only ever spent by
/// a failing test, and a loaded two-core machine is slow.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Polls `probe` until it returns `Some`, and returns what it held.
///
/// # Panics
/// When [`DEADLINE`] passes first, with `what` in the message.
pub async fn wait_until<T, F>(what: &str, mut probe: F) -> T
where
    F: AsyncFnMut() -> Option<T>,
{
    let started = Instant::now();
    loop {
        if let Some(value) = probe().await {
            return value;
        }
        assert!(
            started.elapsed() < DEADLINE,
            "waited {DEADLINE:?} in vain for {what}"
        );
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Short enough not to lengthen a test, long enough not to starve what is awaited.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(10);
