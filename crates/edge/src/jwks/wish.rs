//! The wish for newer keys, when a token names one that is not known. Never granted more than once in
//! half a minute, however many ask: anybody can write a token that names no key.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

/// Least time between two requests for keys that tokens bring about.
const GAP: Duration = Duration::from_secs(30);
/// How long a request waits for newer keys.
const PATIENCE: Duration = Duration::from_secs(2);
/// Requests that wait at once; others are refused like any unknown key.
const WAITING_MAX: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Wishes {
    state: Mutex<State>,
    bell: Notify,
    /// Counts wishes that were granted.
    granted: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    made: Option<Instant>,
    is_open: bool,
    /// The request for keys that runs began after the wish was made.
    is_taken: bool,
}

/// A place to wait for newer keys.
#[derive(Debug)]
pub(crate) struct Wish(watch::Receiver<u64>);

impl Wish {
    /// Resolves when the keys have been asked for, or after a short while.
    pub(crate) async fn granted(mut self) {
        // Whatever came of it: the token is read once more.
        let _ = tokio::time::timeout(PATIENCE, self.0.changed()).await;
    }
}

impl Wishes {
    /// `None` when the last wish was made too recently and is over.
    pub(super) fn make(&self, at: Instant) -> Option<Wish> {
        let mut state = self.lock();
        let is_due = state
            .made
            .is_none_or(|made| at.saturating_duration_since(made) >= GAP);
        if is_due {
            state.made = Some(at);
            state.is_open = true;
            self.bell.notify_one();
        }
        let has_room = self.granted.receiver_count() < WAITING_MAX;
        (state.is_open && has_room).then(|| Wish(self.granted.subscribe()))
    }

    /// Resolves when a wish has been made.
    pub(super) async fn made(&self) {
        self.bell.notified().await;
    }

    /// The keys are asked for from now on.
    pub(super) fn begin(&self) {
        let mut state = self.lock();
        state.is_taken = state.is_open;
    }

    /// They have been asked for, with whatever result.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        if std::mem::take(&mut state.is_taken) {
            state.is_open = false;
            self.granted.send_modify(|granted| *granted += 1);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn sec_c05_all_who_wish_share_one_request_in_half_a_minute() {
        let (wishes, start) = (Wishes::default(), Instant::now());
        let first = wishes.make(start).unwrap();
        let second = wishes.make(start + Duration::from_secs(1)).unwrap();
        wishes.made().await;
        wishes.begin();
        let during = wishes.make(start + Duration::from_secs(2)).unwrap();
        wishes.end();
        for wish in [first, second, during] {
            tokio::time::timeout(Duration::from_millis(1), wish.granted())
                .await
                .unwrap();
        }
        let soon = start + Duration::from_secs(29);
        assert!(wishes.make(soon).is_none(), "not again so soon");
        assert!(wishes.make(start + GAP).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_for_keys_that_began_before_grants_nothing() {
        let (wishes, start) = (Wishes::default(), Instant::now());
        wishes.begin();
        let wish = wishes.make(start).unwrap();
        wishes.end();
        let mut waiting = Box::pin(wish.granted());
        let early = tokio::time::timeout(Duration::from_secs(1), waiting.as_mut()).await;
        assert!(early.is_err(), "the answer was older than the wish");
        wishes.begin();
        wishes.end();
        waiting.await;
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_long_and_not_too_many_wait() {
        let (wishes, start) = (Wishes::default(), Instant::now());
        let waiting: Vec<_> = (0..WAITING_MAX)
            .map(|_| wishes.make(start).unwrap())
            .collect();
        assert!(wishes.make(start).is_none());
        let began = tokio::time::Instant::now();
        waiting.into_iter().next().unwrap().granted().await;
        assert_eq!(began.elapsed(), PATIENCE);
    }
}
