//! A replica of a private Redis, and Sentinels that make it take over. Never a mock of either.

use std::fs;
use std::time::Instant;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::{Redis, answers, arguments, give_away, spawn};
use crate::ports::{ReservedPort, free_port};
use crate::process::Process;
use crate::wait::{DEADLINE, POLL_INTERVAL};

/// The name that Sentinels know the primary by.
pub const NAME: &str = "portcullis";

impl Redis {
    /// Starts one that follows `primary`, and returns when it holds the same.
    pub async fn start_replica(primary: &Redis) -> Redis {
        let directory = TempDir::new().expect("the temporary directory is writable");
        let port = free_port();
        let mut arguments = arguments(directory.path());
        let follow = primary.port.number().to_string();
        arguments.extend(["--port".to_owned(), port.number().to_string()]);
        arguments.extend(["--replicaof", "127.0.0.1", &follow].map(str::to_owned));
        give_away(directory.path());
        let mut replica = Redis {
            process: spawn(&arguments),
            port,
            directory,
            arguments,
            password: None,
            is_tls: false,
        };
        replica.wait_for_answer().await;
        let started = Instant::now();
        while !replica
            .command(&["INFO", "replication"])
            .contains("master_link_status:up")
        {
            assert!(started.elapsed() < DEADLINE, "it follows nobody");
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        replica
    }
}

/// Three Sentinels of this test's own.
pub struct Sentinels {
    nodes: Vec<Node>,
}

struct Node {
    port: ReservedPort,
    process: Process,
    _directory: TempDir,
}

impl Sentinels {
    /// Has them watch `primary`, and returns when they know its replica and each other.
    pub async fn watch(primary: &Redis) -> Sentinels {
        let nodes = (0..3).map(|_| Node::start(primary)).collect();
        let sentinels = Sentinels { nodes };
        let started = Instant::now();
        while !sentinels.nodes.iter().all(Node::knows_everybody) {
            assert!(
                started.elapsed() < DEADLINE,
                "the Sentinels do not find each other"
            );
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        sentinels
    }

    /// `host:port` of each, separated by commas.
    pub fn addresses(&self) -> String {
        let each = self
            .nodes
            .iter()
            .map(|node| node.port.address().to_string());
        each.collect::<Vec<_>>().join(",")
    }

    /// Ends one of them with SIGKILL.
    pub async fn kill_one(&mut self) {
        if let Some(mut node) = self.nodes.pop() {
            node.process.signal(Signal::SIGKILL);
            node.process.exit_code().await;
        }
    }
}

impl Node {
    fn start(primary: &Redis) -> Node {
        let directory = TempDir::new().expect("the temporary directory is writable");
        let port = free_port();
        let file = directory.path().join("sentinel.conf");
        let settings = format!(
            "port {}\nbind 127.0.0.1\ndir {}\n\
             sentinel monitor {NAME} 127.0.0.1 {} 2\n\
             sentinel down-after-milliseconds {NAME} 500\n\
             sentinel failover-timeout {NAME} 3000\n",
            port.number(),
            directory.path().display(),
            primary.port.number(),
        );
        fs::write(&file, settings).expect("the directory is writable");
        give_away(directory.path());
        let arguments = [file.display().to_string(), "--sentinel".to_owned()];
        Node {
            process: spawn(&arguments),
            port,
            _directory: directory,
        }
    }

    fn knows_everybody(&self) -> bool {
        if !answers(self.port.address(), false) {
            return false;
        }
        let port = self.port.number().to_string();
        let told = std::process::Command::new("redis-cli")
            .args(["-h", "127.0.0.1", "-p", &port, "INFO", "sentinel"])
            .output()
            .expect("redis-cli comes with the server");
        let told = String::from_utf8_lossy(&told.stdout).into_owned();
        told.contains("status=ok") && told.contains("slaves=1,sentinels=3")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_replica_takes_over_when_its_primary_is_killed() {
        let mut primary = Redis::start().await;
        let replica = Redis::start_replica(&primary).await;
        let mut sentinels = Sentinels::watch(&primary).await;
        assert_eq!(sentinels.addresses().split(',').count(), 3);
        primary.command(&["SET", "a", "1"]);
        primary.kill().await;
        crate::wait_until("the replica to lead", async || {
            (replica.command(&["SET", "b", "2"]) == "OK").then_some(())
        })
        .await;
        assert_eq!(replica.command(&["GET", "a"]), "1");
        sentinels.kill_one().await;
    }
}
