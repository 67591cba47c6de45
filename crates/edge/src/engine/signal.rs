//! A switch that is thrown once for all connections, watched by each at the cost of one atomic load
//! whenever it wakes. Never goes back.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::sync::watch;

/// Watches a switch on behalf of one task.
pub(crate) struct Signal {
    /// `None` once it was thrown.
    waiting: Option<Waiting>,
}

/// Polling a `watch` anew takes a lock that all connections share. A task has one waker for life,
/// so leaving it there once is enough; from then on the version tells.
struct Waiting {
    switch: watch::Receiver<bool>,
    thrown: Pin<Box<dyn Future<Output = ()> + Send + Sync>>,
    is_registered: bool,
}

impl Signal {
    /// Watches `switch`; a sender that is gone counts as having thrown it.
    pub(crate) fn new(switch: watch::Receiver<bool>) -> Self {
        let mut waiting = switch.clone();
        let waiting = Waiting {
            switch,
            thrown: Box::pin(async move {
                // Either way there is nothing more to wait for.
                let thrown = waiting.wait_for(|is_thrown| *is_thrown);
                // A busy task must not be told to come back later: it polls this once only.
                let _ = tokio::task::unconstrained(thrown).await;
            }),
            is_registered: false,
        };
        Self {
            waiting: Some(waiting),
        }
    }

    /// Of a switch that was thrown before anybody looked.
    pub(crate) fn thrown() -> Self {
        Self { waiting: None }
    }

    /// Ready once the switch was thrown. Only ever one task may poll.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(waiting) = &mut self.waiting else {
            return Poll::Ready(());
        };
        let is_unchanged = matches!(waiting.switch.has_changed(), Ok(false));
        if waiting.is_registered && is_unchanged {
            return Poll::Pending;
        }
        waiting.is_registered = true;
        ready!(waiting.thrown.as_mut().poll(cx));
        self.waiting = None;
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    async fn is_pending(signal: &mut Signal) -> bool {
        poll_fn(|cx| Poll::Ready(signal.poll(cx).is_pending())).await
    }

    #[tokio::test]
    async fn waiting_task_is_woken_by_the_switch_and_not_by_other_news() {
        let (switch, switched) = watch::channel(false);
        let mut signal = Signal::new(switched);
        assert!(is_pending(&mut signal).await);
        switch.send(false).unwrap();
        assert!(is_pending(&mut signal).await);
        let waiting = tokio::spawn(async move { poll_fn(|cx| signal.poll(cx)).await });
        tokio::task::yield_now().await;
        switch.send(true).unwrap();
        waiting.await.unwrap();
    }

    #[tokio::test]
    async fn switch_thrown_before_or_gone_is_seen_at_once() {
        let (switch, switched) = watch::channel(true);
        let mut signal = Signal::new(switched);
        assert!(!is_pending(&mut signal).await);
        assert!(!is_pending(&mut signal).await, "it stays thrown");
        let (_, gone) = watch::channel(false);
        assert!(!is_pending(&mut Signal::new(gone)).await);
        assert!(!is_pending(&mut Signal::thrown()).await);
        drop(switch);
    }
}
