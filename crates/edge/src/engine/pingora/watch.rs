//! Keeps an eye on requests that wait for the head of their answer, and on tunnels, since no hook of
//! pingora runs meanwhile. Never ends a request: it cuts the connection that is waited on in vain, or that
//! may not last any longer, and the hooks that pingora then calls do the rest.

use std::future::{Future, poll_fn};
use std::os::fd::RawFd;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use nix::sys::socket::{Shutdown, shutdown};
use pingora::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream};
use pingora::protocols::http::ServerSession;
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;
use tokio::time::Sleep;

use super::hooks::Hooks;
use crate::engine::silence::is_silent;
use crate::pipeline::{LEASE_LOOK, Lease, WATCH_INTERVAL, Waiting};

/// 2^32 divided by the golden ratio: multiples of it, taken modulo 2^32, lie far from each other, however
/// many there are.
const GOLDEN: u32 = 0x9e37_79b9;

tokio::task_local! {
    static WATCH: Arc<Watch>;
}

/// pingora's proxy, with an eye on each of its requests.
pub(super) struct Watched {
    proxy: Arc<HttpProxy<Hooks>>,
    requests: AtomicU32,
}

impl Watched {
    pub(super) fn new(proxy: HttpProxy<Hooks>) -> Self {
        Self {
            proxy: Arc::new(proxy),
            requests: AtomicU32::new(0),
        }
    }
}

#[async_trait]
impl HttpServerApp for Watched {
    async fn process_new_http(
        self: &Arc<Self>,
        session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let watch = Arc::new(Watch::new(number));
        let request = self.proxy.process_new_http(session, shutdown);
        watch.over(WATCH.scope(Arc::clone(&watch), request)).await
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        HttpServerApp::server_options(&*self.proxy)
    }
}

/// What one request waits for.
#[derive(Debug)]
pub(super) struct Watch {
    state: Mutex<State>,
    /// When the first look of an interval is due, in parts of 2^32.
    phase: u32,
}

#[derive(Debug, Default)]
struct State {
    /// The connection to the endpoint. It is open as long as this is set: the hooks that end the
    /// wait run in the poll in which pingora closes it, and the looks are between two polls.
    waits: Option<(RawFd, Waiting)>,
    is_cut: bool,
    /// How long the tunnel may last that the request has opened.
    lease: Option<Lease>,
    /// That was it.
    is_over: bool,
    /// Whoever reads from the endpoint, to be told so.
    reader: Option<Waker>,
}

impl Watch {
    /// Requests that came together are looked at one after the other: a hundred that end at the same
    /// moment would hold a worker for milliseconds.
    fn new(number: u32) -> Self {
        Self {
            state: Mutex::default(),
            phase: number.wrapping_mul(GOLDEN),
        }
    }

    /// That of the request whose hook asks.
    pub(super) fn of_this_request() -> Option<Arc<Self>> {
        WATCH.try_with(Arc::clone).ok()
    }

    /// The request was sent and waits at this connection.
    pub(super) fn begin(&self, socket: RawFd, waiting: Waiting) {
        self.lock().waits = Some((socket, waiting));
    }

    /// The request has opened a tunnel, which lasts no longer than this.
    pub(super) fn lend(&self, lease: Lease) {
        self.lock().lease = Some(lease);
    }

    /// Ready when the tunnel has to end: for whoever reads from its endpoint.
    pub(super) fn poll_over(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.is_over {
            return Poll::Ready(());
        }
        match &mut state.reader {
            Some(reader) => reader.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// The wait is over. `true`: because it was cut short.
    pub(super) fn end(&self) -> bool {
        let mut state = self.lock();
        state.waits = None;
        std::mem::take(&mut state.is_cut)
    }

    /// Runs a request and looks now and then whether it waits in vain.
    async fn over<T>(&self, request: impl Future<Output = T>) -> T {
        let mut request = pin!(request);
        let mut timer = None;
        poll_fn(|cx| {
            let polled = request.as_mut().poll(cx);
            if polled.is_pending() {
                self.look(&mut timer, cx);
            }
            polled
        })
        .await
    }

    fn look(&self, timer: &mut Option<Pin<Box<Sleep>>>, cx: &mut Context<'_>) {
        let mut state = self.lock();
        let interval = match (state.waits.is_some(), &state.lease) {
            (true, _) => WATCH_INTERVAL,
            (false, Some(_)) => LEASE_LOOK,
            (false, None) => {
                *timer = None;
                return;
            }
        };
        let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(self.first(interval))));
        while let Poll::Ready(()) = timer.as_mut().poll(cx) {
            state.cut_if_vain();
            state.end_if_over();
            let next = tokio::time::Instant::now() + interval;
            timer.as_mut().reset(next);
        }
    }

    /// How long until the first look.
    fn first(&self, interval: Duration) -> Duration {
        interval.mul_f64(f64::from(self.phase) / f64::from(u32::MAX))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("no code panics while holding this")
    }
}

impl State {
    /// The reader then sees the end of the endpoint's side, and pingora ends the client's.
    fn end_if_over(&mut self) {
        let now = Instant::now();
        if self.lease.take_if(|lease| lease.is_over(now)).is_some() {
            self.is_over = true;
            if let Some(reader) = self.reader.take() {
                reader.wake();
            }
        }
    }

    /// An answer that has begun to arrive is not cut.
    fn cut_if_vain(&mut self) {
        let found = self
            .waits
            .take_if(|(socket, waiting)| waiting.is_in_vain() && is_silent(*socket));
        if let Some((socket, _)) = found {
            // It fails if the endpoint has left meanwhile, which comes to the same.
            let _ = shutdown(socket, Shutdown::Both);
            self.is_cut = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_that_come_together_are_looked_at_one_after_the_other() {
        const TOGETHER: u32 = 100;
        let interval = Duration::from_millis(200);
        for before in [0, 12_345, u32::MAX - 50] {
            let numbers = (0..TOGETHER).map(|number| before.wrapping_add(number));
            let mut looks: Vec<Duration> = numbers
                .map(|number| Watch::new(number).first(interval))
                .collect();
            looks.sort();
            assert!(looks[99] <= interval, "after {before}");
            let apart = looks.windows(2).map(|two| two[1] - two[0]);
            assert!(
                apart.min().unwrap() > Duration::from_millis(1),
                "after {before}"
            );
        }
    }
}
