//! Endpoints for a site under attack, each on a thread of its own: what attackers ask for takes only
//! the time that nobody else wants, so that it is the proxy which is measured.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::mpsc;
use std::thread;

use crate::endpoint::{Behavior, Endpoint};

/// Bytes at [`super::LARGE`].
const LARGE_BYTES: usize = 4 << 20;
/// Bytes anywhere else.
const SMALL_BYTES: usize = 100;

/// Where they listen, until the process ends.
#[derive(Clone, Copy, Debug)]
pub struct Endpoints {
    /// For everybody else.
    pub calm: SocketAddr,
    /// For [`super::PATH`] and [`super::LIMITED`].
    pub attacked: SocketAddr,
    /// For [`super::LARGE`].
    pub large: SocketAddr,
}

impl Endpoints {
    /// Starts them.
    ///
    /// # Panics
    /// When the machine gives no thread.
    pub fn start() -> Endpoints {
        Endpoints {
            calm: start(SMALL_BYTES, Claim::Equal),
            attacked: start(SMALL_BYTES, Claim::Last),
            large: start(LARGE_BYTES, Claim::Last),
        }
    }
}

/// What a thread may claim of a core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claim {
    /// As much as others.
    Equal,
    /// What others leave.
    Last,
}

/// Where the system has no such rule, or no program to ask for it by, it stays as it is: a test then
/// sees slower answers, and no wrong ones.
fn step_back() {
    let thread = nix::unistd::gettid().to_string();
    let _ = Command::new("chrt")
        .args(["--idle", "--pid", "0", &thread])
        .output();
}

fn start(bytes: usize, claim: Claim) -> SocketAddr {
    let (send, started) = mpsc::channel();
    let thread = thread::Builder::new().name("endpoint".to_owned());
    let running = thread.spawn(move || {
        if claim == Claim::Last {
            step_back();
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime starts");
        runtime.block_on(async {
            let endpoint = Endpoint::with("endpoint", Behavior::Bytes(bytes)).await;
            // Somebody waits for it below.
            let _ = send.send(endpoint.address());
            std::future::pending::<()>().await;
        });
    });
    running.expect("a thread starts");
    started.recv().expect("an endpoint has an address")
}
