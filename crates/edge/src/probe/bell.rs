//! Wakes the health checks of a cluster before their time. Never remembers a ring that nobody waited
//! for: a check under way is as good.

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// One per cluster, shared by generations of the configuration. It rings when the last eligible
/// endpoint is lost, and when an operator asks.
#[derive(Debug, Default)]
pub struct Bell(Notify);

impl Bell {
    /// All endpoints of the cluster are checked now rather than at their time.
    pub fn ring(&self) {
        self.0.notify_waiters();
    }

    /// The next ring. Waits from the moment it is enabled or first polled.
    pub(super) fn rung(&self) -> Notified<'_> {
        self.0.notified()
    }
}
