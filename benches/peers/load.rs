//! Load on one instance: by `wrk` and `h2load` where a closed loop over kept connections is asked
//! for, by clients of our own elsewhere. Never reads what the proxy used for it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use portcullis_testkit::measure::Load;
use tokio::task::JoinSet;

use crate::contender::Instance;

pub(crate) mod client;
pub(crate) mod idle;
pub(crate) mod open_loop;
mod programs;
pub(crate) mod rotation;
pub(crate) mod websocket;

pub(crate) use programs::Programs;

use client::Client;

/// Connections of a closed loop.
pub(crate) const CONNECTIONS: usize = 50;
/// Handshakes at once; they cost a client more than they cost the proxy.
const HANDSHAKES: usize = 16;

/// What is done over and over again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Work {
    /// `GET` or, with a body, `POST` on kept connections.
    Kept { path: &'static str, has_body: bool },
    /// A connection for every request.
    Close,
    /// A TLS connection for every request, by a ticket of an earlier one or without.
    Handshake { is_resumed: bool },
    /// Ten requests at once on each of eight connections.
    Http2 { path: &'static str },
    /// A small message there and back.
    WebSocket,
}

/// What was done in which time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Done {
    pub(crate) count: u64,
    pub(crate) seconds: f64,
}

/// The means of all cases.
pub(crate) struct Loads {
    pub(crate) client: Client,
    pub(crate) programs: Programs,
}

impl Loads {
    /// Does the work for some time; fails when any of it failed.
    pub(crate) async fn run(
        &self,
        work: Work,
        is_tls: bool,
        instance: &Instance,
        duration: Duration,
    ) -> Result<Done> {
        let started = Instant::now();
        let until = started + duration;
        let address = instance.address(is_tls);
        let load = match work {
            Work::Kept { path, has_body } => self
                .programs
                .wrk(address, is_tls, path, has_body, duration)?,
            Work::Http2 { path } => self.programs.h2load(address, path, duration)?,
            Work::Close => at_once(CONNECTIONS, |_| close_until(address, until)).await?,
            Work::Handshake { is_resumed } => {
                at_once(HANDSHAKES, |_| {
                    let client = if is_resumed {
                        self.client.resuming()
                    } else {
                        self.client.clone()
                    };
                    handshake_until(client, address, is_resumed, until)
                })
                .await?
            }
            Work::WebSocket => {
                at_once(CONNECTIONS, |_| websocket::ping_until(address, until)).await?
            }
        };
        let name = instance.contender.name;
        ensure!(load.requests > 0, "{name} answered nothing: {work:?}");
        ensure!(
            load.failed == 0,
            "{name} failed {} of {} times: {work:?}",
            load.failed,
            load.requests
        );
        Ok(Done {
            count: load.requests,
            seconds: started.elapsed().as_secs_f64(),
        })
    }
}

/// Runs many clients side by side and adds up what they did.
async fn at_once<F>(clients: usize, client: impl Fn(usize) -> F) -> Result<Load>
where
    F: Future<Output = Result<u64>> + Send + 'static,
{
    let mut tasks: JoinSet<Result<u64>> = (0..clients).map(client).collect();
    let mut requests = 0;
    while let Some(count) = tasks.join_next().await {
        requests += count.context("a client panicked")??;
    }
    Ok(Load {
        requests,
        failed: 0,
    })
}

async fn close_until(address: SocketAddr, until: Instant) -> Result<u64> {
    let mut count = 0;
    while Instant::now() < until {
        let mut connection = client::plain(address).await?;
        connection
            .last_exchange(
                b"GET /small HTTP/1.1\r\nHost: peers.example\r\nConnection: close\r\n\r\n",
            )
            .await?;
        count += 1;
    }
    Ok(count)
}

async fn handshake_until(
    client: Client,
    address: SocketAddr,
    is_resumed: bool,
    until: Instant,
) -> Result<u64> {
    let mut count = 0;
    while Instant::now() < until {
        // The first connection of a client that resumes is where its first ticket comes from.
        let expects_resumption = is_resumed && count > 0;
        let mut connection = client.tls(address).await?;
        ensure!(
            connection.is_resumed() == expects_resumption,
            "a handshake was {}resumed after {count} others",
            if expects_resumption { "not " } else { "" },
        );
        connection
            .last_exchange(
                b"GET /small HTTP/1.1\r\nHost: peers.example\r\nConnection: close\r\n\r\n",
            )
            .await?;
        count += 1;
    }
    Ok(count)
}
