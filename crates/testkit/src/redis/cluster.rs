//! A private Redis Cluster: primaries, and a replica of each where one is asked for. Never a mock.
//!
//! Nodes begin with a file that names all of them, so that none has to be introduced to another.

use std::fmt::Write as _;
use std::time::Instant;

use tempfile::TempDir;

use super::{Redis, arguments, give_away, spawn};
use crate::ports::{ReservedPort, free_port};
use crate::wait::{DEADLINE, POLL_INTERVAL};

const SLOTS: usize = 16384;

/// Milliseconds after which nodes take one of them for dead.
const NODE_TIMEOUT: &str = "1000";

/// A cluster of this test's own.
pub struct Cluster {
    /// Primaries in order of their slots, then the replica of each in the same order.
    pub nodes: Vec<Redis>,
    ids: Vec<String>,
    primaries: usize,
    /// Where nodes speak with each other.
    _buses: Vec<ReservedPort>,
}

impl Cluster {
    /// Starts one of `primaries` nodes that share the slots evenly.
    pub async fn start(primaries: usize) -> Cluster {
        Cluster::begin(primaries, false).await
    }

    /// As [`Cluster::start`], with a replica of each.
    pub async fn start_with_replicas(primaries: usize) -> Cluster {
        Cluster::begin(primaries, true).await
    }

    async fn begin(primaries: usize, has_replicas: bool) -> Cluster {
        let count = if has_replicas {
            2 * primaries
        } else {
            primaries
        };
        let ports = || (0..count).map(|_| free_port()).collect::<Vec<_>>();
        let (ports, buses) = (ports(), ports());
        let ids: Vec<String> = (0..count).map(|node| format!("{node:040x}")).collect();
        let describe = |node: usize| {
            let mut file = String::new();
            for (other, id) in ids.iter().enumerate() {
                let (at, bus) = (ports[other].number(), buses[other].number());
                let myself = if other == node { "myself," } else { "" };
                let of = other % primaries;
                let role = if other < primaries {
                    let (first, last) = range(of, primaries);
                    format!("{myself}master - 0 0 {} connected {first}-{last}", of + 1)
                } else {
                    format!("{myself}slave {} 0 0 {} connected", ids[of], of + 1)
                };
                // Writing to a string does not fail.
                let _ = writeln!(file, "{id} 127.0.0.1:{at}@{bus} {role}");
            }
            let _ = writeln!(file, "vars currentEpoch {primaries} lastVoteEpoch 0");
            file
        };
        let files: Vec<String> = (0..count).map(describe).collect();
        let nodes = ports.into_iter().zip(&buses).zip(files);
        let nodes = nodes.map(|((port, bus), file)| start_node(port, bus, &file));
        let mut cluster = Cluster {
            nodes: nodes.collect(),
            ids,
            primaries,
            _buses: buses,
        };
        cluster.wait_until_formed().await;
        cluster
    }

    /// `host:port` of each node, separated by commas.
    pub fn addresses(&self) -> String {
        let each = self.nodes.iter().map(|node| node.address().to_string());
        each.collect::<Vec<_>>().join(",")
    }

    /// Which of the primaries of the beginning had `slot`.
    pub fn first_owner(&self, slot: u16) -> usize {
        let holds = |&primary: &usize| {
            let (first, last) = range(primary, self.primaries);
            (first..=last).contains(&usize::from(slot))
        };
        (0..self.primaries)
            .find(holds)
            .expect("all slots are given")
    }

    /// Which node is the replica of a primary of the beginning.
    pub fn replica_of(&self, primary: usize) -> usize {
        self.primaries + primary
    }

    /// Whether a node says of itself that it leads.
    pub fn leads(&self, node: usize) -> bool {
        self.nodes[node]
            .command(&["INFO", "replication"])
            .contains("role:master")
    }

    /// Begins to move a slot as `redis-cli --cluster reshard` does: from here on its keys may be at either.
    pub fn begin_to_move(&self, slot: u16, from: usize, to: usize) {
        let slot = slot.to_string();
        let told = |node: usize, word: &str, of: usize| {
            self.nodes[node].command(&["CLUSTER", "SETSLOT", &slot, word, &self.ids[of]])
        };
        assert_eq!(told(to, "IMPORTING", from), "OK");
        assert_eq!(told(from, "MIGRATING", to), "OK");
    }

    /// Moves the keys of a slot, and then tells everybody whose it is.
    pub fn finish_moving(&self, slot: u16, from: usize, to: usize) {
        let number = slot.to_string();
        let port = self.nodes[to].address().port().to_string();
        loop {
            let keys = self.nodes[from].command(&["CLUSTER", "GETKEYSINSLOT", &number, "100"]);
            let keys: Vec<&str> = keys.lines().filter(|key| !key.is_empty()).collect();
            if keys.is_empty() {
                break;
            }
            let mut words = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
            words.extend(keys);
            let moved = self.nodes[from].command(&words);
            assert!(matches!(moved.as_str(), "OK" | "NOKEY"), "{moved}");
        }
        let others = (0..self.primaries).filter(|node| ![from, to].contains(node));
        for node in [to, from].into_iter().chain(others) {
            self.nodes[node].command(&["CLUSTER", "SETSLOT", &number, "NODE", &self.ids[to]]);
        }
    }

    async fn wait_until_formed(&mut self) {
        let started = Instant::now();
        for node in &mut self.nodes {
            node.wait_for_answer().await;
        }
        while !self.nodes.iter().all(is_formed) {
            assert!(started.elapsed() < DEADLINE, "the cluster does not form");
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}

fn is_formed(node: &Redis) -> bool {
    let follows = node.command(&["INFO", "replication"]);
    node.command(&["CLUSTER", "INFO"])
        .contains("cluster_state:ok")
        && (follows.contains("role:master") || follows.contains("master_link_status:up"))
}

/// First and last slot of a primary.
fn range(primary: usize, primaries: usize) -> (usize, usize) {
    let first = |of: usize| of * SLOTS / primaries;
    (first(primary), first(primary + 1) - 1)
}

fn start_node(port: ReservedPort, bus: &ReservedPort, nodes: &str) -> Redis {
    let directory = TempDir::new().expect("the temporary directory is writable");
    let mut arguments = arguments(directory.path());
    let file = directory.path().join("nodes.conf");
    std::fs::write(&file, nodes).expect("the directory is writable");
    let settings = [
        ("--port", port.number().to_string()),
        ("--cluster-port", bus.number().to_string()),
        ("--cluster-enabled", "yes".to_owned()),
        ("--cluster-config-file", file.display().to_string()),
        ("--cluster-node-timeout", NODE_TIMEOUT.to_owned()),
        // What is left goes on when a primary is gone that nobody takes over for.
        ("--cluster-require-full-coverage", "no".to_owned()),
        ("--cluster-replica-validity-factor", "0".to_owned()),
        ("--repl-diskless-sync-delay", "0".to_owned()),
    ];
    arguments.extend(
        settings
            .into_iter()
            .flat_map(|(name, value)| [name.to_owned(), value]),
    );
    give_away(directory.path());
    Redis {
        process: spawn(&arguments),
        port,
        directory,
        arguments,
        password: None,
        is_tls: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_replica_takes_over_the_slots_of_its_primary() {
        let mut cluster = Cluster::start_with_replicas(3).await;
        // The slot of "a" is 15495.
        let owner = cluster.first_owner(15495);
        assert_eq!(cluster.nodes[owner].command(&["SET", "a", "1"]), "OK");
        assert!(cluster.nodes[0].command(&["GET", "a"]).starts_with("MOVED"));
        cluster.nodes[owner].kill().await;
        let replica = cluster.replica_of(owner);
        crate::wait_until("the replica to lead", async || {
            cluster.leads(replica).then_some(())
        })
        .await;
        assert_eq!(cluster.nodes[replica].command(&["GET", "a"]), "1");
    }

    #[tokio::test]
    async fn a_slot_moves_with_its_keys() {
        let cluster = Cluster::start(3).await;
        let owner = cluster.first_owner(15495);
        cluster.nodes[owner].command(&["SET", "a", "1"]);
        cluster.begin_to_move(15495, owner, 0);
        assert!(
            cluster.nodes[owner]
                .command(&["GET", "b{a}"])
                .starts_with("ASK")
        );
        cluster.finish_moving(15495, owner, 0);
        assert_eq!(cluster.nodes[0].command(&["GET", "a"]), "1");
        assert!(
            cluster.nodes[owner]
                .command(&["GET", "a"])
                .starts_with("MOVED")
        );
    }
}
