//! Tells the service manager how the process is doing, as systemd's `Type=notify` and
//! `Type=notify-reload` ask for (sd_notify(3)). Never fails: without a manager nobody listens.

use std::convert::Infallible;
use std::time::Duration;

use sd_notify::NotifyState;

/// Everything that is to be served is served; `status` is for people.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The configuration is being read again; [`ready`] ends it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "the system tells no monotonic time"),
    }
}

/// The process leaves, and may take as long as this before it is to be killed.
pub fn leaving(longest: Duration) {
    let micros = u32::try_from(longest.as_micros()).unwrap_or(u32::MAX);
    tell(&[
        NotifyState::Stopping,
        NotifyState::ExtendTimeoutUsec(micros),
    ]);
}

/// Another process is the one to listen to and to look after from now on. Must be told by the one
/// that was until now.
pub fn succeeded_by(process: u32) {
    tell(&[NotifyState::MainPid(process)]);
}

/// Reports twice in each span that the manager allows between signs of life, for as long as it is
/// polled: on the runtime whose life is meant. Waits forever where the manager wants none.
pub async fn keep_alive() -> Infallible {
    let Some(allowed) = sd_notify::watchdog_enabled().filter(|allowed| !allowed.is_zero()) else {
        return std::future::pending().await;
    };
    let mut turns = tokio::time::interval(allowed / 2);
    loop {
        turns.tick().await;
        tell(&[NotifyState::Watchdog]);
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "the service manager cannot be told");
    }
}
