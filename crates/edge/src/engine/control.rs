//! What the guard of a connection and the requests on it tell each other. Never does IO.

use std::any::Any;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::Waker;
use std::time::Duration;

use tokio::sync::Notify;

/// Where an HTTP/1.1 connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    /// Between requests: the keep-alive timeout runs.
    Idle = 0,
    /// Some of a request header has arrived: the header timeout runs.
    Header = 1,
    /// A request is being served: its own deadlines run.
    Busy = 2,
}

/// Shared by one guard, its connection task and the requests it carries.
#[derive(Debug, Default)]
pub(crate) struct Control {
    phase: AtomicU8,
    requests_begun: AtomicU64,
    requests_ended: AtomicU64,
    /// Told whenever a request ends.
    has_ended: Notify,
    closes_when_idle: AtomicBool,
    is_to_leave: Notify,
    reader: Mutex<Option<Waker>>,
    /// Given back when the last request has ended, which over HTTP/2 may be after the connection.
    _place: Option<Box<dyn Any + Send + Sync>>,
}

impl Control {
    /// Keeps `place` until neither the connection nor a request of it is left.
    pub(crate) fn holding(place: impl Any + Send + Sync) -> Self {
        Self {
            _place: Some(Box::new(place)),
            ..Self::default()
        }
    }

    /// Where the connection stands now.
    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Idle,
            1 => Phase::Header,
            _ => Phase::Busy,
        }
    }

    /// The first byte of a request header arrived.
    pub(crate) fn begin_header(&self) {
        self.phase.store(Phase::Header as u8, Ordering::Release);
    }

    /// A request header was accepted by the engine.
    pub(crate) fn begin_request(&self) {
        self.requests_begun.fetch_add(1, Ordering::AcqRel);
        self.phase.store(Phase::Busy as u8, Ordering::Release);
    }

    /// The request ended; the next byte begins another header.
    pub(crate) fn end_request(&self) {
        self.phase.store(Phase::Idle as u8, Ordering::Release);
        self.requests_ended.fetch_add(1, Ordering::AcqRel);
        self.has_ended.notify_one();
    }

    /// Resolves once no request was on the connection for this long.
    pub(crate) async fn idle_for(&self, time: Duration) {
        loop {
            let begun = self.requests_begun();
            if self.requests_ended.load(Ordering::Acquire) < begun {
                self.has_ended.notified().await;
                continue;
            }
            tokio::time::sleep(time).await;
            if self.requests_begun() == begun {
                return;
            }
        }
    }

    /// Requests that reached the engine on this connection.
    pub(crate) fn requests_begun(&self) -> u64 {
        self.requests_begun.load(Ordering::Acquire)
    }

    /// Asks for the connection to end as soon as no request is on it: at once if it is idle.
    pub(crate) fn close_when_idle(&self) {
        self.closes_when_idle.store(true, Ordering::Release);
        let waker = self.lock_reader().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Whether [`close_when_idle`](Self::close_when_idle) was called.
    pub(crate) fn closes_when_idle(&self) -> bool {
        self.closes_when_idle.load(Ordering::Acquire)
    }

    /// A request on an HTTP/2 connection noticed that the connection has served enough.
    pub(crate) fn ask_to_leave(&self) {
        self.is_to_leave.notify_one();
    }

    /// Resolves after [`ask_to_leave`](Self::ask_to_leave), also when that came first.
    pub(crate) async fn asked_to_leave(&self) {
        self.is_to_leave.notified().await;
    }

    /// Remembers whom to wake; called by the guard before each read that may wait.
    pub(crate) fn register_reader(&self, waker: &Waker) {
        let mut reader = self.lock_reader();
        if !reader.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *reader = Some(waker.clone());
        }
    }

    fn lock_reader(&self) -> std::sync::MutexGuard<'_, Option<Waker>> {
        self.reader
            .lock()
            .expect("no code panics while holding the waker")
    }
}
