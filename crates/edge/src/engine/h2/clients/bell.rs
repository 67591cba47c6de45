//! Wakers of what a task drives itself: while it looks, a call is noted and wakes nobody. Without them a
//! request that says something to its connection would wake the task that both are a part of, and which is
//! about to look at the connection anyway.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};

use futures_util::task::AtomicWaker;

/// What a task hears by that one of its parts wants to move.
pub(super) struct Bell {
    state: Arc<State>,
    waker: Waker,
}

#[derive(Default)]
struct State {
    task: AtomicWaker,
    /// The task looks by itself.
    is_heard: AtomicBool,
    has_rung: AtomicBool,
}

impl Wake for State {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.has_rung.store(true, Ordering::SeqCst);
        if !self.is_heard.load(Ordering::SeqCst) {
            self.task.wake();
        }
    }
}

impl Bell {
    pub(super) fn new() -> Self {
        let state = Arc::<State>::default();
        Self {
            waker: Arc::clone(&state).into(),
            state,
        }
    }

    /// What the part is polled with.
    pub(super) fn context(&self) -> Context<'_> {
        Context::from_waker(&self.waker)
    }

    /// The task looks: from now on nobody wakes it.
    pub(super) fn listen(&self, cx: &Context<'_>) {
        self.state.task.register(cx.waker());
        self.state.is_heard.store(true, Ordering::SeqCst);
    }

    /// Whether it has rung since it was last asked.
    pub(super) fn has_rung(&self) -> bool {
        self.state.has_rung.swap(false, Ordering::SeqCst)
    }

    /// The task looks away, and is woken from now on. Whether it has rung in the last moment, of which
    /// nobody was told.
    pub(super) fn leave(&self) -> bool {
        self.state.is_heard.store(false, Ordering::SeqCst);
        self.has_rung()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_call_wakes_the_task_unless_it_looks() {
        let woken = Arc::<Woken>::default();
        let waker = Arc::clone(&woken).into();
        let (cx, bell) = (Context::from_waker(&waker), Bell::new());
        bell.listen(&cx);
        let part = bell.context().waker().clone();
        part.wake_by_ref();
        assert!(bell.has_rung() && !bell.has_rung());
        part.wake_by_ref();
        assert!(bell.leave(), "nobody else would tell");
        assert_eq!(woken.0.load(Ordering::SeqCst), 0);
        part.wake_by_ref();
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
        bell.listen(&cx);
        assert!(bell.has_rung(), "why it was woken");
        assert!(!bell.leave());
    }
}
