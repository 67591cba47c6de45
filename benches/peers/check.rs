//! Proof in front of the measurement that all contenders do the same. Never measures.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use portcullis_testkit::wait_until;
use tokio::task::JoinSet;

use crate::contender::Instance;
use crate::load::client::{self, Client};
use crate::load::{CONNECTIONS, websocket};
use crate::origin::{BIG, Origins, SMALL};

/// Requests on each of the connections that warm an instance up.
const WARM_UP: usize = 40;

/// Who vouches for the contenders' certificate, and the certificate.
pub(crate) struct Trust {
    pub(crate) root: PathBuf,
    pub(crate) leaf: Vec<u8>,
}

/// Fails with a sentence about the first difference.
pub(crate) async fn check(instance: &Instance, origins: &Origins, trust: &Trust) -> Result<()> {
    let name = instance.contender.name;
    answers(instance)
        .await
        .with_context(|| format!("{name} on plain TCP"))?;
    cryptography(instance, trust)
        .await
        .with_context(|| format!("{name} on TLS"))?;
    let now = std::time::Instant::now();
    websocket::ping_until(instance.plain, now)
        .await
        .with_context(|| format!("{name} as a WebSocket"))?;
    keeps_connections(instance, origins)
        .await
        .with_context(|| format!("{name} and its origins"))?;
    logs(instance)
        .await
        .with_context(|| format!("the log of {name}"))
}

async fn answers(instance: &Instance) -> Result<()> {
    let mut connection = client::plain(instance.plain).await?;
    let small = connection.exchange(&get("/small")).await?;
    ensure!(small == [b'a'; SMALL], "/small has another body");
    let big = connection.exchange(&get("/big")).await?;
    ensure!(big == [b'b'; BIG], "/big has another body");
    let post = "POST /sink HTTP/1.1\r\nHost: peers.example\r\nContent-Length: 1024\r\n\r\n";
    let post = [post.as_bytes(), &[b'p'; 1024]].concat();
    let length = connection.exchange(&post).await?;
    ensure!(length == b"1024", "the body did not arrive whole");
    let head = connection.exchange(&get("/head")).await?;
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    ensure!(
        head.contains("x-forwarded-for: 127.0.0.1\r\n"),
        "the origin is not told the client's address:\n{head}"
    );
    ensure!(
        head.contains("x-forwarded-proto: http\r\n"),
        "the origin is not told the client's protocol:\n{head}"
    );
    Ok(())
}

async fn cryptography(instance: &Instance, trust: &Trust) -> Result<()> {
    let client = Client::new(&trust.root)?;
    let resuming = client.resuming();
    for round in 0..2 {
        let mut connection = resuming.tls(instance.tls).await?;
        connection.expect_cryptography(&trust.leaf)?;
        ensure!(
            connection.is_resumed() == (round == 1),
            "tickets are not taken"
        );
        let small = connection.exchange(&get("/small")).await?;
        ensure!(small == [b'a'; SMALL], "/small has another body");
    }
    let http2 = client.offering("h2").tls(instance.tls).await?;
    ensure!(http2.protocol() == Some(b"h2"), "it does not speak HTTP/2");
    let old = Client::outdated(&trust.root)?.tls(instance.tls).await;
    ensure!(old.is_err(), "it takes TLS 1.2 too");
    Ok(())
}

/// Many requests need few connections, and every origin gets its share.
async fn keeps_connections(instance: &Instance, origins: &Origins) -> Result<()> {
    let before = origins.connections();
    let requests = origins.requests();
    let mut tasks = JoinSet::new();
    let address = instance.plain;
    for _ in 0..CONNECTIONS {
        tasks.spawn(async move {
            let mut connection = client::plain(address).await?;
            for _ in 0..WARM_UP {
                connection.exchange(&get("/small")).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.context("a client panicked")??;
    }
    let opened = origins.connections() - before;
    // Each origin may for a moment get all requests that are on their way.
    let most = u64::try_from(origins.addresses.len() * CONNECTIONS)?;
    ensure!(
        opened <= most,
        "{} requests took {opened} connections",
        CONNECTIONS * WARM_UP
    );
    for (before, after) in requests.iter().zip(origins.requests()) {
        let share = after - before;
        let fair = u64::try_from(CONNECTIONS * WARM_UP / origins.addresses.len())?;
        ensure!(
            (fair / 2..fair * 2).contains(&share),
            "an origin got {share} requests instead of about {fair}"
        );
    }
    Ok(())
}

async fn logs(instance: &Instance) -> Result<()> {
    let Some(log) = &instance.log else {
        return Ok(());
    };
    let line = wait_until("a line of the access log", async || {
        let text = std::fs::read_to_string(log).ok()?;
        let line = text.lines().last().filter(|_| text.ends_with('\n'))?;
        line.contains("/small").then(|| line.to_owned())
    })
    .await;
    let parsed = serde_json::from_str::<serde_json::Value>(&line);
    let parsed = parsed.with_context(|| format!("not JSON: {line}"))?;
    ensure!(parsed.is_object(), "not an object: {line}");
    Ok(())
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: peers.example\r\n\r\n").into_bytes()
}
