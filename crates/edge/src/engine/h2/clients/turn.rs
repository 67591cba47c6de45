//! How much of a connection moves before other tasks have their turn: a hundred answers may come at once.
//! What it reads is bounded by the guard, what it writes by the runtime.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

/// Requests of one connection that move in a turn, about a fifth of a millisecond.
const MOVES: usize = 16;

/// The moves that are left in a connection's turn. Of one task, which may go from worker to worker.
#[derive(Debug, Default)]
pub(super) struct Turn {
    left: AtomicUsize,
}

impl Turn {
    /// Begins the next turn.
    pub(super) fn begin(&self) {
        self.left.store(MOVES, Ordering::Relaxed);
    }

    fn has_move(&self) -> bool {
        let left = self.left.load(Ordering::Relaxed);
        self.left.store(left.saturating_sub(1), Ordering::Relaxed);
        left > 0
    }
}

/// A request that goes to the back of the queue when the turn is spent.
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
        if self.turn.has_move() {
            return self.request.as_mut().poll(cx);
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use futures_util::stream::{FuturesUnordered, StreamExt as _};

    use super::*;

    #[test]
    fn a_hundred_requests_that_can_move_take_seven_turns() {
        let turn = Arc::new(Turn::default());
        let ready = (0..100).map(|_| Sharing::new(&turn, async {}));
        let mut requests: FuturesUnordered<_> = ready.collect();
        let mut cx = Context::from_waker(Waker::noop());
        let mut moved = Vec::new();
        while !requests.is_empty() {
            turn.begin();
            let before = requests.len();
            while let Poll::Ready(Some(())) = requests.poll_next_unpin(&mut cx) {}
            moved.push(before - requests.len());
        }
        assert_eq!(moved, [16, 16, 16, 16, 16, 16, 4]);
    }
}
