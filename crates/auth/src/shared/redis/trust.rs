//! Whether this instance may believe that Redis holds every revocation. Never believes again because time has passed:
//! only a copy of the store's revocations that began after the last doubt ends it.
//!
//! Doubt comes with every failure, because what could not be written meanwhile, here or elsewhere, is only in the store.
//!
//! An instance that is cut off from a Redis that answers here has nobody to tell; so there is a lease, too: the store
//! has to be looked through again and again.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use arc_swap::ArcSwapOption;
use tokio::sync::Notify;

use crate::shared::LEASE;

/// Before the first copy.
const NEVER: u64 = u64::MAX;

#[derive(Debug)]
pub(super) struct Trust {
    doubts: AtomicU64,
    /// How many doubts there had been when the copy began that ended the last of them.
    settled: AtomicU64,
    doubted: Notify,
    /// Whether only a copy of everything will do, whatever the marker says.
    is_behind: AtomicBool,
    /// When the last look through the store began. Nothing expires before the first.
    looked: ArcSwapOption<Instant>,
}

impl Default for Trust {
    fn default() -> Self {
        Self {
            doubts: AtomicU64::new(0),
            settled: AtomicU64::new(NEVER),
            doubted: Notify::new(),
            is_behind: AtomicBool::new(false),
            looked: ArcSwapOption::empty(),
        }
    }
}

impl Trust {
    pub(super) fn doubt(&self) {
        self.doubts.fetch_add(1, Ordering::AcqRel);
        self.doubted.notify_one();
    }

    /// A copy went on without this part, so that the next one has to begin at the beginning.
    pub(super) fn fall_behind(&self) {
        self.is_behind.store(true, Ordering::Release);
        self.doubt();
    }

    pub(super) fn is_behind(&self) -> bool {
        self.is_behind.load(Ordering::Acquire)
    }

    /// Everything was copied, beginning after so many doubts.
    pub(super) fn catch_up(&self, doubts: u64) {
        if self.doubts() == doubts {
            self.is_behind.store(false, Ordering::Release);
        }
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

    /// The store was looked through, beginning at `began`.
    pub(super) fn renew(&self, began: Instant) {
        self.looked.store(Some(std::sync::Arc::new(began)));
    }

    /// Whether no revocation that was answered for by `now` can be in the store alone.
    pub(super) fn has_lease(&self, now: Instant) -> bool {
        let looked = self.looked.load();
        looked
            .as_ref()
            .is_none_or(|looked| now.saturating_duration_since(**looked) < LEASE)
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

    #[test]
    fn a_lease_lasts_from_the_beginning_of_the_last_look() {
        let (trust, began) = (Trust::default(), Instant::now());
        trust.renew(began);
        assert!(trust.has_lease(began));
        assert!(!trust.has_lease(began + LEASE));
        trust.renew(began + LEASE);
        assert!(trust.has_lease(began + LEASE));
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
