//! Generations that are not in force any more. Never frees one that somebody uses.

use std::sync::{Arc, Mutex, PoisonError};

/// Keeps them until a thread that may take its time frees them: that takes milliseconds for thousands
/// of routes, and otherwise falls to whichever request is the last to use one.
#[derive(Debug)]
pub(super) struct Retired<T>(Mutex<Vec<Arc<T>>>);

impl<T> Default for Retired<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Retired<T> {
    /// Nobody can come by it any more but those who have it.
    pub(super) fn add(&self, one: Arc<T>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push(one);
    }

    /// Those that somebody still uses, or that nobody has freed yet.
    pub(super) fn kept(&self) -> Vec<Arc<T>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.clone()
    }

    /// Frees those that nobody uses any more.
    pub(super) fn sweep(&self) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let unused: Vec<Arc<T>> = kept
            .extract_if(.., |one| Arc::strong_count(one) == 1)
            .collect();
        drop(kept);
        drop(unused);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_request_uses_stays_until_it_has_ended() {
        let retired = Retired::default();
        let used = Arc::new(());
        let generation = Arc::downgrade(&used);
        retired.add(Arc::clone(&used));
        retired.sweep();
        assert!(generation.upgrade().is_some());
        drop(used);
        assert!(generation.upgrade().is_some(), "a request has freed it");
        retired.sweep();
        assert!(generation.upgrade().is_none());
    }
}
