//! The two signals that ask a process to leave. Never does the leaving, except at the second asking.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

/// Which signal asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGTERM: supervisors.
    Terminate,
}

impl Signal {
    /// Exit code by the shell's convention, 128 + the signal's number.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }

    /// Its name, for log lines.
    pub fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        }
    }
}

/// Resolves at the first SIGTERM or SIGINT.
#[derive(Debug)]
pub struct Shutdown(oneshot::Receiver<Signal>);

impl Future for Shutdown {
    type Output = Signal;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Signal> {
        // The sender only goes away unused when its thread could not run: leave then, too.
        Pin::new(&mut self.0)
            .poll(cx)
            .map(|signal| signal.unwrap_or(Signal::Terminate))
    }
}

/// Takes over SIGTERM and SIGINT from now on. The returned future resolves at the first of them; the
/// second ends the process at once with [`Signal::exit_code`], whatever state it is in: the waiting
/// happens on a thread of its own, so a stuck runtime cannot stop it.
pub fn shutdown() -> io::Result<Shutdown> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let (mut interrupt, mut terminate) = {
        let _guard = runtime.enter();
        (
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        )
    };
    let (first, shutdown) = oneshot::channel();
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            runtime.block_on(async move {
                let (sender, receiver) = mpsc::channel(2);
                let listen = async move {
                    loop {
                        let received = tokio::select! {
                            _ = interrupt.recv() => Signal::Interrupt,
                            _ = terminate.recv() => Signal::Terminate,
                        };
                        if sender.send(received).await.is_err() {
                            return;
                        }
                    }
                };
                tokio::join!(listen, answer(receiver, first, end_process));
            });
        })?;
    Ok(Shutdown(shutdown))
}

/// First signal: tell. Second signal: end.
async fn answer(
    mut signals: mpsc::Receiver<Signal>,
    first: oneshot::Sender<Signal>,
    end: impl FnOnce(Signal),
) {
    let Some(signal) = signals.recv().await else {
        return;
    };
    // Nobody may be waiting any more; then the second signal still has its meaning.
    let _unheard = first.send(signal);
    if let Some(signal) = signals.recv().await {
        end(signal);
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the operator asked twice: nothing may delay the end"
)]
fn end_process(signal: Signal) {
    std::process::exit(signal.exit_code().into());
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    async fn answered(signals: &[Signal], is_awaited: bool) -> (Option<Signal>, Option<Signal>) {
        let (sender, receiver) = mpsc::channel(8);
        for signal in signals {
            sender.send(*signal).await.unwrap();
        }
        drop(sender);
        let (first, mut shutdown) = oneshot::channel();
        if !is_awaited {
            shutdown.close();
        }
        let ended = Cell::new(None);
        answer(receiver, first, |signal| ended.set(Some(signal))).await;
        (shutdown.try_recv().ok(), ended.get())
    }

    #[tokio::test]
    async fn first_signal_asks_and_does_not_end() {
        let seen = answered(&[Signal::Terminate], true).await;
        assert_eq!(seen, (Some(Signal::Terminate), None));
    }

    #[tokio::test]
    async fn second_signal_ends_at_once() {
        let seen = answered(&[Signal::Terminate, Signal::Interrupt], true).await;
        assert_eq!(seen, (Some(Signal::Terminate), Some(Signal::Interrupt)));
    }

    #[tokio::test]
    async fn second_signal_ends_even_if_nobody_awaited_the_first() {
        let seen = answered(&[Signal::Interrupt, Signal::Interrupt], false).await;
        assert_eq!(seen, (None, Some(Signal::Interrupt)));
    }

    #[tokio::test]
    async fn nothing_happens_without_a_signal() {
        assert_eq!(answered(&[], true).await, (None, None));
    }

    #[test]
    fn exit_codes_follow_the_shell() {
        assert_eq!(Signal::Interrupt.exit_code(), 130);
        assert_eq!(Signal::Terminate.exit_code(), 143);
    }

    #[tokio::test]
    async fn shutdown_is_pending_until_a_signal_arrives() {
        let shutdown = shutdown().unwrap();
        tokio::select! {
            biased;
            signal = shutdown => panic!("{signal:?}"),
            () = tokio::task::yield_now() => {}
        }
    }
}
