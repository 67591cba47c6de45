//! What those who start the process are told and get: service managers, and containers in which it
//! is process 1. Never looks at traffic.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::geteuid;
use portcullis_testkit::process::{children, is_running, signal_process};
use portcullis_testkit::{Behavior, Endpoint, wait_until};
use serde_json::json;
use tokio::net::UnixDatagram;

use crate::harness::auth::Auth;
use crate::native::Setup;

/// The manager's end.
struct Manager(UnixDatagram);

impl Manager {
    fn listen(directory: &Path) -> (Manager, String) {
        let path = directory.join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        (Manager(socket), path.to_str().unwrap().to_owned())
    }

    /// The next message that has this line.
    async fn told(&self, line: &str) -> Vec<String> {
        let mut message = [0; 4096];
        let hearing = async {
            loop {
                let bytes = self.0.recv(&mut message).await.unwrap();
                let text = std::str::from_utf8(&message[..bytes]).unwrap();
                let lines: Vec<String> = text.lines().map(str::to_owned).collect();
                if lines.iter().any(|one| one == line) {
                    return lines;
                }
            }
        };
        let heard = tokio::time::timeout(Duration::from_secs(30), hearing).await;
        heard.unwrap_or_else(|_| panic!("the manager never heard {line}"))
    }
}

#[tokio::test]
async fn a_service_manager_hears_when_the_edge_serves_lives_and_leaves() {
    let a = Endpoint::start("a").await;
    let shutdown = json!({ "delay": "0s", "drain": "20s" });
    let setup = Setup::new(&[&a]).set("shutdown", shutdown);
    let (manager, path) = Manager::listen(&setup.directory());
    let mut edge = setup.spawn_as(|mut command| {
        command.env("NOTIFY_SOCKET", path);
        command.env("WATCHDOG_USEC", "200000");
        command
    });
    manager.told("READY=1").await;
    assert_eq!(
        edge.get("/").await.status,
        200,
        "ready means that it serves"
    );
    manager.told("WATCHDOG=1").await;
    manager.told("WATCHDOG=1").await;
    edge.process.signal(Signal::SIGHUP);
    let lines = manager.told("RELOADING=1").await;
    assert!(
        lines.iter().any(|line| line.starts_with("MONOTONIC_USEC=")),
        "{lines:?}"
    );
    manager.told("READY=1").await;
    edge.process.signal(Signal::SIGTERM);
    let lines = manager.told("STOPPING=1").await;
    let wanted = "EXTEND_TIMEOUT_USEC=25000000".to_owned();
    assert!(
        lines.contains(&wanted),
        "the drain may take its time: {lines:?}"
    );
    assert_eq!(edge.process.exit_code().await, 0);
}

#[tokio::test]
async fn a_watchdog_hears_nothing_of_an_edge_that_is_stopped() {
    let a = Endpoint::start("a").await;
    let setup = Setup::new(&[&a]);
    let (manager, path) = Manager::listen(&setup.directory());
    let edge = setup.spawn_as(|mut command| {
        command.env("NOTIFY_SOCKET", path);
        command.env("WATCHDOG_USEC", "100000");
        command
    });
    manager.told("WATCHDOG=1").await;
    edge.process.signal(Signal::SIGSTOP);
    let silent = async {
        // What was on its way is heard first.
        let mut message = [0; 64];
        while let Ok(heard) =
            tokio::time::timeout(Duration::from_millis(500), manager.0.recv(&mut message)).await
        {
            heard.unwrap();
        }
    };
    let silent = tokio::time::timeout(Duration::from_secs(20), silent).await;
    assert!(silent.is_ok(), "a stopped process goes on reporting");
    edge.process.signal(Signal::SIGCONT);
    manager.told("WATCHDOG=1").await;
}

#[tokio::test]
async fn a_service_manager_hears_when_an_auth_instance_serves_and_leaves() {
    let directory = tempfile::TempDir::new().unwrap();
    let (manager, path) = Manager::listen(directory.path());
    let variables = [
        ("NOTIFY_SOCKET", path),
        ("WATCHDOG_USEC", "200000".to_owned()),
    ];
    let auth = Auth::start_with(1, &variables).await;
    manager.told("READY=1").await;
    manager.told("WATCHDOG=1").await;
    auth.instances[0].ask_to_leave();
    manager.told("STOPPING=1").await;
}

/// As process 1 of a namespace of its own, behind a shell that leaves it an orphan.
fn as_process_1(edge: Command) -> Command {
    let mut command = Command::new("unshare");
    if !geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    // The inner shell ends before its sleep does.
    let script = "sh -c 'sleep 0.3 & exit'; exec \"$@\"";
    command.args(["--pid", "--fork", "--kill-child", "sh", "-c", script, "sh"]);
    command.arg(edge.get_program()).args(edge.get_args());
    if let Some(directory) = edge.get_current_dir() {
        command.current_dir(directory);
    }
    command
}

/// Process 1 as it is called outside.
async fn process_1(unshare: u32) -> u32 {
    wait_until("process 1", async || children(unshare).first().copied()).await
}

#[tokio::test]
async fn as_process_1_the_edge_buries_orphans_and_ends_with_0_when_asked() {
    let a = Endpoint::start("a").await;
    let mut edge = Setup::new(&[&a]).spawn_as(as_process_1);
    edge.wait_for_admin("/readyz", 200).await;
    let process = process_1(edge.process.id()).await;
    wait_until("the orphan to be buried", async || {
        children(process).is_empty().then_some(())
    })
    .await;
    assert_eq!(edge.get("/").await.status, 200);
    signal_process(process, Signal::SIGTERM);
    assert_eq!(edge.process.exit_code().await, 0);
    assert!(!is_running(process));
}

#[tokio::test]
async fn process_1_of_a_container_cannot_be_replaced_and_says_what_to_do() {
    let a = Endpoint::start("a").await;
    let mut edge = Setup::new(&[&a]).with_token().spawn_as(as_process_1);
    edge.wait_for_admin("/readyz", 200).await;
    let refused = edge.change("upgrade", &json!({})).await;
    assert_eq!(refused.status, 409);
    let text = refused.text();
    assert!(text.contains("start another container"), "{text}");
    let process = process_1(edge.process.id()).await;
    signal_process(process, Signal::SIGUSR2);
    edge.process.wait_for_line("nobody has taken over").await;
    assert_eq!(edge.get("/").await.status, 200);
}

#[tokio::test]
async fn a_service_manager_hears_which_process_took_over() {
    let a = Endpoint::start("a").await;
    let setup = Setup::new(&[&a]).with_token();
    let (manager, path) = Manager::listen(&setup.directory());
    let edge = setup.spawn_as(|mut command| {
        command.env("NOTIFY_SOCKET", path);
        command.env("WATCHDOG_USEC", "200000");
        command
    });
    manager.told("READY=1").await;
    let upgraded = edge.change("upgrade", &json!({})).await;
    let process = upgraded.json()["pid"].as_u64().unwrap();
    manager.told(&format!("MAINPID={process}")).await;
    // By the other one, and after that: nothing of this one's end is heard.
    manager.told("READY=1").await;
    manager.told("WATCHDOG=1").await;
    manager.told("WATCHDOG=1").await;
    assert_eq!(edge.get("/").await.status, 200);
}

#[tokio::test]
async fn as_process_1_a_second_signal_ends_the_drain_at_once() {
    let a = Endpoint::with("a", Behavior::Hang).await;
    let shutdown = json!({ "delay": "0s", "drain": "5m" });
    let setup = Setup::new(&[&a]).set("shutdown", shutdown);
    let mut edge = setup.spawn_as(as_process_1);
    edge.wait_for_admin("/readyz", 200).await;
    let process = process_1(edge.process.id()).await;
    let mut client = edge.connect().await;
    client
        .send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    wait_until("the request to arrive", async || {
        (a.in_flight() == 1).then_some(())
    })
    .await;
    signal_process(process, Signal::SIGTERM);
    edge.wait_for_admin("/readyz", 503).await;
    signal_process(process, Signal::SIGTERM);
    assert_eq!(edge.process.exit_code().await, 143);
}
