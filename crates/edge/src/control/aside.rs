//! Work beside requests: on a thread of its own, with the time that they leave. Never on a thread that
//! carries them.

use std::thread;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// How much the thread steps back (`setpriority(2)`): from a busy core it gets a quarter, from an idle one
/// all it can use.
const NICENESS: i32 = 5;

/// The work did not come to its end; the log tells why.
#[derive(Debug)]
pub(super) struct BrokeOff;

/// Resolves when the call has returned. It goes on if nobody waits any more.
pub(super) async fn aside<T: Send + 'static>(
    call: impl FnOnce() -> T + Send + 'static,
) -> Result<T, BrokeOff> {
    let (sender, receiver) = oneshot::channel();
    // Listeners that come are served by the runtime.
    let runtime = Handle::current();
    let run = move || {
        let _inside = runtime.enter();
        step_back();
        // Whoever waited may be gone.
        let _ = sender.send(call());
    };
    let started = thread::Builder::new()
        .name("edge-reload".to_owned())
        .spawn(run);
    if let Err(error) = started {
        tracing::error!(%error, "no thread for a reload");
        return Err(BrokeOff);
    }
    receiver.await.map_err(|_| BrokeOff)
}

/// The calling thread alone. A system that refuses lets it run like any other.
fn step_back() {
    let is_behind = rustix::process::getpriority_process(None).is_ok_and(|now| now >= NICENESS);
    if !is_behind {
        let _ = rustix::process::setpriority_process(None, NICENESS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_work_steps_back_and_whoever_waits_for_it_does_not() {
        let niceness = || rustix::process::getpriority_process(None).unwrap();
        let before = niceness();
        let inside = aside(niceness).await.unwrap();
        assert_eq!(inside, NICENESS.max(before));
        assert_eq!(niceness(), before);
    }

    #[tokio::test]
    async fn work_that_panics_is_told() {
        let broken = aside(|| assert!(Handle::try_current().is_err(), "it is inside a runtime"));
        assert!(broken.await.is_err());
    }
}
