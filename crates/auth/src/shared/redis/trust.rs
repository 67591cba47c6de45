//! Whether this instance may believe that Redis holds every revocation. Never believes again because time has passed:
//! only a copy of the store's revocations that began after the last doubt ends it.
//!
//! Doubt comes with every failure, because what could not be written meanwhile, here or elsewhere, is only in the store.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// Before the first copy.
const NEVER: u64 = u64::MAX;

#[derive(Debug)]
pub(super) struct Trust {
    doubts: AtomicU64,
    /// How many doubts there had been when the copy began that ended the last of them.
    settled: AtomicU64,
    doubted: Notify,
}

impl Default for Trust {
    fn default() -> Self {
        Self {
            doubts: AtomicU64::new(0),
            settled: AtomicU64::new(NEVER),
            doubted: Notify::new(),
        }
    }
}

impl Trust {
    pub(super) fn doubt(&self) {
        self.doubts.fetch_add(1, Ordering::AcqRel);
        self.doubted.notify_one();
    }

    pub(super) fn is_whole(&self) -> bool {
        self.settled.load(Ordering::Acquire) == self.doubts.load(Ordering::Acquire)
    }

    /// For a copy that begins now.
    pub(super) fn doubts(&self) -> u64 {
        self.doubts.load(Ordering::Acquire)
    }

    /// A copy that began after so many doubts is complete. It says nothing about later ones.
    pub(super) fn settle(&self, doubts: u64) {
        self.settled.store(doubts, Ordering::Release);
    }

    /// Resolves when there is doubt.
    pub(super) async fn doubted(&self) {
        while self.is_whole() {
            self.doubted.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_settles_the_doubts_from_before_it_and_no_later_ones() {
        let trust = Trust::default();
        assert!(!trust.is_whole(), "nothing was copied yet");
        trust.settle(trust.doubts());
        assert!(trust.is_whole());
        trust.doubt();
        let copy = trust.doubts();
        trust.doubt();
        trust.settle(copy);
        assert!(!trust.is_whole(), "something failed while the copy went on");
        trust.settle(trust.doubts());
        assert!(trust.is_whole());
    }

    #[tokio::test]
    async fn waiting_ends_with_doubt() {
        let trust = Trust::default();
        trust.doubted().await;
        trust.settle(trust.doubts());
        let (doubted, ()) = tokio::join!(
            tokio::time::timeout(std::time::Duration::from_secs(20), trust.doubted()),
            async { trust.doubt() }
        );
        doubted.unwrap();
    }
}
