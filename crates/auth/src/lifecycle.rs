//! Which part of its life the process is in, for everyone who must act on it.
//! Never goes backwards.

use tokio::sync::watch;

/// Parts of an instance's life, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Ready, or ready as soon as its dependencies are.
    Serving,
    /// Told to leave: readiness fails, requests are still served.
    Draining,
    /// Accepts nothing new; requests in flight finish, connections close.
    Stopping,
}

/// The end that moves the phase; kept by `serve`.
#[derive(Debug)]
pub(crate) struct Lifecycle(watch::Sender<Phase>);

impl Lifecycle {
    pub(crate) fn new() -> (Self, PhaseWatch) {
        let (sender, receiver) = watch::channel(Phase::Serving);
        (Self(sender), PhaseWatch(receiver))
    }

    /// Moves on to `phase`; an earlier one than the present is ignored.
    pub(crate) fn advance(&self, phase: Phase) {
        self.0.send_if_modified(|current| {
            let moves = phase > *current;
            if moves {
                *current = phase;
            }
            moves
        });
    }
}

/// The end that looks at the phase.
#[derive(Debug, Clone)]
pub(crate) struct PhaseWatch(watch::Receiver<Phase>);

impl PhaseWatch {
    pub(crate) fn current(&self) -> Phase {
        *self.0.borrow()
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.current() >= Phase::Draining
    }

    /// Resolves once `phase` is reached, also when its owner has gone.
    pub(crate) async fn reached(&mut self, phase: Phase) {
        // An error means that the sender is gone, which only happens after the end.
        let _ = self.0.wait_for(|current| *current >= phase).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_phase_never_goes_backwards() {
        let (lifecycle, watch) = Lifecycle::new();
        lifecycle.advance(Phase::Stopping);
        lifecycle.advance(Phase::Draining);
        assert_eq!(watch.current(), Phase::Stopping);
    }

    #[tokio::test]
    async fn waiting_ends_when_the_phase_is_reached_or_passed() {
        let (lifecycle, mut watch) = Lifecycle::new();
        lifecycle.advance(Phase::Stopping);
        watch.reached(Phase::Draining).await;
        drop(lifecycle);
        watch.reached(Phase::Stopping).await;
    }
}
