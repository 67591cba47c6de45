//! Another binary takes over while requests of all kinds arrive: nobody is refused, nothing is cut.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use portcullis_testkit::client::{Calls, Http2Connection};
use portcullis_testkit::{Authority, Connection, Endpoint, TlsOrigin, client};
use rustls::ClientConfig;
use serde_json::json;

use super::Setup;
use crate::harness::load::{Ask, Load, failures};
use crate::harness::open_tls;
use crate::upgrade::upgrade;

const NAME: &str = "app.example";
const UPGRADE: [(&str, &str); 2] = [("Connection", "Upgrade"), ("Upgrade", "websocket")];

async fn tunnel(address: SocketAddr) -> Connection {
    let mut client = Connection::open(address).await.unwrap();
    let response = client.request("GET", "/ws", &UPGRADE, b"").await.unwrap();
    assert_eq!(response.status, 101);
    client
}

async fn expect_echo(tunnel: &mut Connection) {
    tunnel.send(b"still there?").await.unwrap();
    assert_eq!(tunnel.read_some().await.unwrap(), b"still there?");
}

/// One client after another, each with a connection of its own.
async fn strangers(address: SocketAddr, is_over: Arc<AtomicBool>) -> usize {
    let mut count = 0;
    while !is_over.load(Ordering::Relaxed) {
        let answer = client::get(address, "/stranger").await;
        assert_eq!(answer.expect("a connection and an answer").status, 200);
        count += 1;
    }
    count
}

/// A client of HTTP/2 whose requests run side by side on one connection, and on another one when the
/// first was to be left.
struct Browser {
    address: SocketAddr,
    config: ClientConfig,
    connection: tokio::sync::Mutex<Http2Connection>,
}

impl Browser {
    async fn open(address: SocketAddr, config: ClientConfig) -> Arc<Browser> {
        let opened = Http2Connection::open(address, NAME, config.clone()).await;
        Arc::new(Browser {
            address,
            config,
            connection: tokio::sync::Mutex::new(opened.unwrap()),
        })
    }

    async fn connection(&self) -> Http2Connection {
        let mut connection = self.connection.lock().await;
        if connection.is_closed() {
            let opened = Http2Connection::open(self.address, NAME, self.config.clone()).await;
            *connection = opened.unwrap();
        }
        connection.clone()
    }

    /// One request after another. Those that never left go out again: that is what GOAWAY is for.
    async fn tab(
        self: Arc<Self>,
        name: String,
        a: Arc<Endpoint>,
        is_over: Arc<AtomicBool>,
    ) -> usize {
        let mut count = 0;
        while !is_over.load(Ordering::Relaxed) {
            let path = format!("/{name}/{count}");
            match self.connection().await.get(&path).await {
                Ok(answer) => {
                    assert_eq!(answer.status, 200);
                    count += 1;
                }
                Err(error) => {
                    let told = format!("{error:?}");
                    let is_told = told.contains("NO_ERROR") || told.contains("Canceled");
                    let received = a.received();
                    let has_left = received.iter().any(|one| one.target == path);
                    assert!(is_told && !has_left, "a request was not answered: {told}");
                }
            }
        }
        count
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_binary_takes_over_under_load_and_fails_nobody() {
    let (a, authority) = (Arc::new(Endpoint::start("a").await), Authority::new());
    let identity = authority.issue("app", &[NAME]);
    let tls =
        json!({ "tls": { "certificates": [{ "cert": identity.cert, "key": identity.key }] } });
    let mut edge = Setup::new(&[&a])
        .with_token()
        .listener("tls", &tls)
        .start()
        .await;
    let (http, https) = (edge.http(), edge.listener(1));
    let is_over = Arc::new(AtomicBool::new(false));
    let mut tunnels = Vec::new();
    for _ in 0..5 {
        tunnels.push(tunnel(http).await);
    }
    let post = Ask {
        method: "POST",
        body: b"x",
        ..Ask::get("/post")
    };
    let kept = Load::start(http, Duration::from_millis(5), vec![Ask::get("/"), post]);
    let strangers = tokio::spawn(strangers(http, Arc::clone(&is_over)));
    let browser = Browser::open(https, authority.client()).await;
    let tabs: Vec<_> = (0..6)
        .map(|tab| {
            let (browser, a) = (Arc::clone(&browser), Arc::clone(&a));
            tokio::spawn(browser.tab(format!("tab-{tab}"), a, Arc::clone(&is_over)))
        })
        .collect();
    for _ in 0..3 {
        kept.wait_for(100).await;
        upgrade(&edge).await;
    }
    kept.wait_for(100).await;
    is_over.store(true, Ordering::Relaxed);
    let shots = kept.finish().await;
    let failed = failures(&shots);
    assert!(
        failed.is_empty(),
        "{} of {}: {failed:#?}",
        failed.len(),
        shots.len()
    );
    assert!(strangers.await.unwrap() > 10);
    for tab in tabs {
        assert!(tab.await.unwrap() > 10);
    }
    drop(browser);
    for tunnel in &mut tunnels {
        expect_echo(tunnel).await;
    }
    drop(tunnels);
    assert_eq!(edge.process.exit_code().await, 0);
}

#[tokio::test]
async fn sessions_of_tls_resume_at_the_process_that_took_over() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let identity = authority.issue("app", &[NAME]);
    let tls =
        json!({ "tls": { "certificates": [{ "cert": identity.cert, "key": identity.key }] } });
    let edge = Setup::new(&[&a])
        .with_token()
        .listener("tls", &tls)
        .start()
        .await;
    let (config, address) = (authority.client(), edge.listener(1));
    let open = async || {
        let opened = Connection::open_tls(address, NAME, config.clone()).await;
        let mut client = opened.unwrap();
        assert_eq!(client.get("/").await.unwrap().status, 200);
        client.tls().unwrap().is_resumed
    };
    assert!(!open().await);
    upgrade(&edge).await;
    assert!(open().await, "by a ticket of the process before");
    upgrade(&edge).await;
    assert!(open().await, "and so on");
}

#[tokio::test]
async fn listeners_of_all_kinds_go_over() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let legacy = TlsOrigin::start(&authority, NAME).await;
    let legacy_cluster = json!({ "endpoints": [legacy.address().to_string()] });
    let passed = json!({ "passthrough": [{ "sni": NAME, "cluster": "legacy" }] });
    let edge = Setup::new(&[&a])
        .with_token()
        .set("clusters.legacy", legacy_cluster)
        .listener(
            "proxied",
            &json!({ "proxy_protocol": { "from": ["127.0.0.0/8"] } }),
        )
        .listener("cleartext", &json!({ "http2": { "cleartext": true } }))
        .listener("passed", &passed)
        .start()
        .await;
    let mut before = open_tls(edge.listener(3), NAME, &authority).await;
    upgrade(&edge).await;
    let mut after = open_tls(edge.listener(3), NAME, &authority).await;
    for client in [&mut before, &mut after] {
        client.send(b"hello").await.unwrap();
        assert!(!client.read_some().await.unwrap().is_empty());
    }
    let mut proxied = Connection::open(edge.listener(1)).await.unwrap();
    proxied
        .send(b"PROXY TCP4 192.0.2.1 192.0.2.2 5 80\r\n")
        .await
        .unwrap();
    assert_eq!(proxied.get("/proxied").await.unwrap().status, 200);
    assert_eq!(edge.log_of("/proxied").await["client"], "192.0.2.1");
    let calls = Calls::open(edge.listener(2)).await.unwrap();
    let mut call = calls.start("/call", &[]).await.unwrap();
    call.end().unwrap();
    assert_eq!(call.head().await.unwrap().0, 200);
}
