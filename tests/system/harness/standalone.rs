//! Endpoints in processes of their own, which can be stopped, killed and started again. Never
//! anything but the testkit's endpoint around which the process is.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use portcullis_testkit::{
    Behavior, Endpoint, Process, ReservedPort, client, free_port, wait_until,
};

const NAME: &str = "PORTCULLIS_TEST_ENDPOINT_NAME";
const ADDRESS: &str = "PORTCULLIS_TEST_ENDPOINT_ADDRESS";
const PAUSE: &str = "PORTCULLIS_TEST_ENDPOINT_PAUSE_MS";

/// An endpoint that answers every request after a pause.
pub(crate) struct Standalone {
    process: Option<Process>,
    name: String,
    pause: Duration,
    port: ReservedPort,
}

impl Standalone {
    /// Starts one and waits until it answers.
    pub(crate) async fn start(name: &str, pause: Duration) -> Standalone {
        let mut standalone = Standalone {
            process: None,
            name: name.to_owned(),
            pause,
            port: free_port(),
        };
        standalone.restart().await;
        standalone
    }

    /// Where it listens, or will again.
    pub(crate) fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Takes the processor away: its kernel still accepts connections, and nobody answers.
    pub(crate) fn stop(&self) {
        let process = self.process.as_ref();
        process.expect("it runs").signal(Signal::SIGSTOP);
    }

    /// Ends it without a word.
    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    /// Starts it again on its address and waits until it answers.
    pub(crate) async fn restart(&mut self) {
        self.kill();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["harness::standalone::an_endpoint", "--exact", "--ignored"])
            .env(NAME, &self.name)
            .env(ADDRESS, self.address().to_string())
            .env(PAUSE, self.pause.as_millis().to_string());
        let process = self.process.insert(Process::spawn(command));
        let address = self.port.address();
        wait_until(&format!("the endpoint at {address}"), async || {
            if let Some(status) = process.try_status() {
                panic!("the endpoint ended with {status}\n{}", process.output());
            }
            client::get(address, "/health/ready").await.ok()
        })
        .await;
    }
}

/// The process itself; lasts until it is killed.
#[tokio::test]
#[ignore = "an endpoint that other tests start as a process of its own"]
async fn an_endpoint() {
    let variable = |name| std::env::var(name).unwrap();
    let address = variable(ADDRESS).parse().unwrap();
    let endpoint = Endpoint::start_at(&variable(NAME), address).await;
    let pause = Duration::from_millis(variable(PAUSE).parse().unwrap());
    endpoint.behave(Behavior::Slow(pause));
    std::future::pending::<()>().await;
}
