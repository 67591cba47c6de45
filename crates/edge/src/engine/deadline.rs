//! One timer per connection that hardly ever touches the timer wheel. Never fires early.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::time::Sleep;

/// The moment by which something must have happened.
///
/// Deadlines of a busy connection move with every request, nearly always to a later moment. The
/// timer stays armed for the earliest one; when it fires too early for the deadline of then, it is
/// armed anew. So a connection costs one timer operation per timeout, not several per request.
#[derive(Debug, Default)]
pub(super) struct Deadline {
    at: Option<Instant>,
    timer: Option<Timer>,
}

#[derive(Debug)]
struct Timer {
    sleep: Pin<Box<Sleep>>,
    armed: Instant,
    /// The timer fired and was not armed since.
    has_fired: bool,
}

impl Deadline {
    /// From now on this moment counts; `None`: none does.
    pub(super) fn set(&mut self, at: Option<Instant>) {
        self.at = at;
    }

    /// Ready when the deadline has passed.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.at else {
            return Poll::Pending;
        };
        let timer = self.timer.get_or_insert_with(|| Timer {
            sleep: Box::pin(tokio::time::sleep_until(at.into())),
            armed: at,
            has_fired: false,
        });
        loop {
            if at < timer.armed || timer.has_fired {
                timer.sleep.as_mut().reset(at.into());
                timer.armed = at;
                timer.has_fired = false;
            }
            if timer.sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            timer.has_fired = true;
            if timer.armed >= at {
                return Poll::Ready(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn now() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    async fn passed(deadline: &mut Deadline) -> Duration {
        let begun = now();
        poll_fn(|cx| deadline.poll(cx)).await;
        now() - begun
    }

    async fn is_pending(deadline: &mut Deadline) -> bool {
        poll_fn(|cx| Poll::Ready(deadline.poll(cx).is_pending())).await
    }

    #[tokio::test(start_paused = true)]
    async fn later_earlier_and_repeated_deadlines_are_all_kept() {
        let mut deadline = Deadline::default();
        deadline.set(Some(now() + SECOND));
        assert!(is_pending(&mut deadline).await);
        deadline.set(Some(now() + 5 * SECOND));
        assert_eq!(passed(&mut deadline).await.as_secs(), 5, "moved to later");
        deadline.set(Some(now() + 9 * SECOND));
        assert!(is_pending(&mut deadline).await);
        deadline.set(Some(now() + 2 * SECOND));
        assert_eq!(passed(&mut deadline).await.as_secs(), 2, "moved to earlier");
        deadline.set(Some(now() + 3 * SECOND));
        assert_eq!(passed(&mut deadline).await.as_secs(), 3, "armed again");
    }

    #[tokio::test(start_paused = true)]
    async fn timer_is_touched_only_when_the_deadline_moves_to_earlier() {
        let mut deadline = Deadline::default();
        let begun = now();
        for (seconds, armed) in [(5, 5), (9, 5), (7, 5), (3, 3), (5, 3)] {
            deadline.set(Some(begun + seconds * SECOND));
            assert!(is_pending(&mut deadline).await);
            let timer = deadline.timer.as_ref().unwrap();
            assert_eq!(timer.armed, begun + armed * SECOND, "at {seconds}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn deadline_in_the_past_has_passed_until_it_is_moved() {
        let mut deadline = Deadline::default();
        deadline.set(Some(now()));
        tokio::time::advance(SECOND).await;
        assert!(!is_pending(&mut deadline).await);
        assert!(!is_pending(&mut deadline).await, "asked twice");
        deadline.set(Some(now() + SECOND));
        assert_eq!(passed(&mut deadline).await.as_secs(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_deadline_nothing_passes() {
        let mut deadline = Deadline::default();
        assert!(is_pending(&mut deadline).await);
        deadline.set(Some(now() + SECOND));
        assert!(is_pending(&mut deadline).await);
        deadline.set(None);
        tokio::time::advance(2 * SECOND).await;
        assert!(is_pending(&mut deadline).await);
    }
}
