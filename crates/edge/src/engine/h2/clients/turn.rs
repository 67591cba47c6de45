//! How long a connection's requests move before other tasks have their turn: a hundred answers may come
//! at once, and a request may need a connection to its endpoint. What it reads is bounded by the guard,
//! what it writes by the runtime.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Begins no further move of a request. Ten usual ones take no longer.
const TURN: Duration = Duration::from_micros(100);

/// A connection's turn. Of one task, which may go from worker to worker.
#[derive(Debug)]
pub(super) struct Turn {
    opened: Instant,
    /// In nanoseconds since the connection was opened.
    until: AtomicU64,
    has_moved: AtomicBool,
}

impl Turn {
    /// None has begun.
    pub(super) fn new(opened: Instant) -> Self {
        Self {
            opened,
            until: AtomicU64::new(0),
            has_moved: AtomicBool::new(false),
        }
    }

    /// Begins the next turn.
    pub(super) fn begin(&self, now: Instant) {
        let until = self.nanoseconds(now + TURN);
        self.until.store(until, Ordering::Relaxed);
        self.has_moved.store(false, Ordering::Relaxed);
    }

    /// Whether the time is up.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.nanoseconds(now) >= self.until.load(Ordering::Relaxed)
    }

    /// Whether one more request may move; one may in every turn.
    fn has_move(&self, now: Instant) -> bool {
        let is_first = !self.has_moved.swap(true, Ordering::Relaxed);
        is_first || !self.is_over(now)
    }

    fn nanoseconds(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.opened).as_nanos();
        u64::try_from(since).unwrap_or(u64::MAX)
    }
}

/// A request that goes to the back of the queue when the turn is over.
///
/// In a box of its own: it is some kilobytes long, and would be copied three times on its way into the
/// queue (an eighth of all that was done for a request in user space).
pub(super) struct Sharing<F> {
    turn: Arc<Turn>,
    request: Pin<Box<F>>,
}

impl<F> Sharing<F> {
    pub(super) fn new(turn: &Arc<Turn>, request: F) -> Self {
        Self {
            turn: Arc::clone(turn),
            request: Box::pin(request),
        }
    }
}

impl<F: Future> Future for Sharing<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        if self.turn.has_move(Instant::now()) {
            return self.request.as_mut().poll(cx);
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Waker;

    use futures_util::stream::{FuturesUnordered, StreamExt as _};

    use super::*;

    #[test]
    fn a_turn_is_over_after_its_time_until_the_next_begins() {
        let now = Instant::now();
        let turn = Turn::new(now);
        turn.begin(now);
        assert!(turn.has_move(now + 3 * TURN), "one may move however late");
        assert!(turn.has_move(now + TURN / 2));
        assert!(!turn.has_move(now + TURN));
        turn.begin(now + 2 * TURN);
        assert!(turn.has_move(now + 2 * TURN) && turn.has_move(now + 2 * TURN));
    }

    #[test]
    fn slow_requests_take_turns_and_all_of_them_have_theirs() {
        let turn = Arc::new(Turn::new(Instant::now()));
        let slow = |_| {
            Sharing::new(
                &turn,
                poll_fn(|_| {
                    let begun = Instant::now();
                    while begun.elapsed() < TURN {}
                    Poll::Ready(())
                }),
            )
        };
        let mut requests: FuturesUnordered<_> = (0..10).map(slow).collect();
        let mut cx = Context::from_waker(Waker::noop());
        for left in (0..10).rev() {
            turn.begin(Instant::now());
            while let Poll::Ready(Some(())) = requests.poll_next_unpin(&mut cx) {}
            assert_eq!(requests.len(), left, "one takes the whole turn");
        }
    }
}
