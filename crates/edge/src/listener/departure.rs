//! Tells everybody who came in by one door that it accepts nothing more. Never goes back.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

/// Whether a door's connections shall end politely: with the exchange at hand, or where HTTP/2 says so.
#[derive(Debug, Default)]
pub(crate) struct Departure {
    /// For whoever only looks, with every request.
    has_begun: AtomicBool,
    told: watch::Sender<bool>,
}

impl Departure {
    /// From now on.
    pub(crate) fn begin(&self) {
        self.has_begun.store(true, Ordering::Relaxed);
        self.told.send_replace(true);
    }

    /// Whether it has begun.
    pub(crate) fn has_begun(&self) -> bool {
        self.has_begun.load(Ordering::Relaxed)
    }

    /// Resolves when it has begun.
    pub(crate) async fn begun(&self) {
        let mut told = self.told.subscribe();
        // We hold the sender.
        let _ = told.wait_for(|told| *told).await;
    }
}
