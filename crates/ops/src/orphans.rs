//! What falls to process 1, as in a container without an init: to bury processes whose parents are
//! gone. Never touches a child of its own where it is not process 1.

use std::convert::Infallible;
use std::io;

use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use tokio::signal::unix::{SignalKind, signal};

/// Buries orphans for as long as it is polled. Not for a process with children of its own: their
/// ends would be lost on it.
///
/// # Errors
/// When the system does not let it watch for the ends of processes.
pub async fn bury() -> io::Result<Infallible> {
    if std::process::id() != 1 {
        return std::future::pending().await;
    }
    let mut ends = signal(SignalKind::child())?;
    loop {
        // Some may have ended before anybody watched, and one signal stands for many.
        while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            if status == WaitStatus::StillAlive {
                break;
            }
        }
        ends.recv().await;
    }
}
