//! A closed loop over many open connections: few are in use at a time, each in its turn. Never opens
//! or closes one while it runs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::client::{self, Connection};

/// Requests at a time, where there are as many connections.
pub(crate) const IN_USE: usize = super::CONNECTIONS;

/// Open connections. Dropping them resets them: no port is left waiting.
pub(crate) struct Rotation {
    requests: Arc<[Vec<u8>]>,
    /// Each list is one client's, and there are at most [`IN_USE`].
    clients: Vec<Vec<Connection<TcpStream>>>,
}

impl Rotation {
    /// Opens connections and uses each once. The `n`th client sends the `n`th request, or the last one.
    pub(crate) async fn open(
        address: SocketAddr,
        count: usize,
        requests: &Arc<[Vec<u8>]>,
    ) -> Result<Rotation> {
        let clients = count.min(IN_USE);
        let mut rotation = Rotation {
            requests: Arc::clone(requests),
            clients: (0..clients).map(|_| Vec::new()).collect(),
        };
        for number in 0..count {
            let connection = client::plain(address).await?;
            connection.reset_on_drop()?;
            rotation.clients[number % clients].push(connection);
        }
        let (rotation, _) = rotation.each_client(None).await?;
        Ok(rotation)
    }

    /// Sends requests for some time; also how many were answered.
    pub(crate) async fn run(self, duration: Duration) -> Result<(Rotation, u64)> {
        self.each_client(Some(Instant::now() + duration)).await
    }

    /// Until then, or each connection once.
    async fn each_client(self, until: Option<Instant>) -> Result<(Rotation, u64)> {
        let mut tasks = JoinSet::new();
        for (number, connections) in self.clients.into_iter().enumerate() {
            let requests = Arc::clone(&self.requests);
            tasks.spawn(async move {
                let request = &requests[number.min(requests.len() - 1)];
                in_turn(connections, request, until).await
            });
        }
        let (mut clients, mut answered) = (Vec::new(), 0);
        while let Some(done) = tasks.join_next().await {
            let (connections, count) = done.context("a client panicked")??;
            clients.push(connections);
            answered += count;
        }
        let rotation = Rotation {
            requests: self.requests,
            clients,
        };
        Ok((rotation, answered))
    }
}

async fn in_turn(
    mut connections: Vec<Connection<TcpStream>>,
    request: &[u8],
    until: Option<Instant>,
) -> Result<(Vec<Connection<TcpStream>>, u64)> {
    let mut count = 0;
    loop {
        for connection in &mut connections {
            if until.is_some_and(|until| Instant::now() >= until) {
                return Ok((connections, count));
            }
            connection.exchange(request).await?;
            count += 1;
        }
        if until.is_none() {
            return Ok((connections, count));
        }
    }
}
