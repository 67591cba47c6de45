//! Requests at fixed times, whatever becomes of the earlier ones, so that a slow answer delays no
//! measurement: time counts from when a request was due. Never drops a request.

use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use portcullis_testkit::measure::percentile;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::client::{self, Connection};

/// Latencies of one run, in microseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Latencies {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// How late the 99th of a hundred requests was sent: the generator's own fault.
    pub(crate) late_p99: f64,
}

/// Connections opened beforehand; more are opened when all are busy.
const CONNECTIONS: usize = 64;

/// Sends `rate` requests a second.
pub(crate) async fn run(address: SocketAddr, rate: u32, duration: Duration) -> Result<Latencies> {
    let idle = Arc::new(Mutex::new(Vec::new()));
    for _ in 0..CONNECTIONS {
        let mut connection = client::plain(address).await?;
        connection.exchange(REQUEST).await?;
        idle.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(connection);
    }
    let period = Duration::from_secs(1) / rate;
    let count = (duration.as_secs_f64() * f64::from(rate)) as u32;
    let clock = Clock::every(period)?;
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    let mut lateness = Vec::new();
    for index in 1..=count {
        let due = started + period * index;
        clock.wait_until(due).await?;
        lateness.push(microseconds(due.elapsed()));
        tasks.spawn(request(address, Arc::clone(&idle), due));
    }
    let mut latencies = Vec::new();
    while let Some(latency) = tasks.join_next().await {
        latencies.push(microseconds(latency.context("a request panicked")??));
    }
    let of = |values: &mut Vec<f64>, percent| percentile(values, percent).context("no requests");
    Ok(Latencies {
        p50: of(&mut latencies, 50.0)?,
        p99: of(&mut latencies, 99.0)?,
        late_p99: of(&mut lateness, 99.0)?,
    })
}

const REQUEST: &[u8] = b"GET /small HTTP/1.1\r\nHost: peers.example\r\n\r\n";

async fn request(
    address: SocketAddr,
    idle: Arc<Mutex<Vec<Connection<TcpStream>>>>,
    due: Instant,
) -> Result<Duration> {
    let kept = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let mut connection = match kept {
        Some(connection) => connection,
        None => client::plain(address).await?,
    };
    connection.exchange(REQUEST).await?;
    let latency = due.elapsed();
    idle.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(connection);
    Ok(latency)
}

fn microseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// Ticks of the kernel's precise timer; the runtime's own knows milliseconds only.
struct Clock {
    timer: AsyncFd<Timer>,
}

/// The type that the runtime can wait for.
struct Timer(TimerFd);

impl AsRawFd for Timer {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Clock {
    fn every(period: Duration) -> Result<Clock> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        let ticks = Expiration::Interval(TimeSpec::from_duration(period));
        timer.set(ticks, TimerSetTimeFlags::empty())?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe; this timer stays open as long as it is registered"
        )]
        let timer = AsyncFd::with_interest(Timer(timer), Interest::READABLE)?;
        Ok(Clock { timer })
    }

    async fn wait_until(&self, due: Instant) -> Result<()> {
        while Instant::now() < due {
            let mut ready = self.timer.readable().await?;
            // A tick that is not there after all is waited for again.
            let _ = ready.try_io(|timer| timer.get_ref().0.wait().map_err(Into::into));
        }
        Ok(())
    }
}
