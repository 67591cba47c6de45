//! Connections that become tunnels, and what becomes of them when the token that opened them ends. Never
//! looks at what a tunnel carries but to see whether it still does.

use std::time::{Duration, Instant};

use portcullis_testkit::{Behavior, Connection, Endpoint, wait_until};
use portcullis_token::Algorithm;
use serde_json::{Value, json};

use super::Setup;
use crate::harness::Edge;
use crate::harness::auth::Auth;
use crate::harness::issuer::{Publisher, Signer, changed, now};

/// A tunnel is looked at once a second, and a machine may be busy.
const SOON: Duration = Duration::from_secs(5);

async fn tunnel(edge: &Edge, token: &str) -> Connection {
    let mut client = edge.connect().await;
    let authorization = format!("Bearer {token}");
    let fields = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Authorization", authorization.as_str()),
    ];
    let response = client.request("GET", "/ws", &fields, b"").await.unwrap();
    assert_eq!(response.status, 101);
    echo(&mut client).await.unwrap();
    client
}

/// Sends a word and gets it back; `None` when the tunnel is gone.
async fn echo(client: &mut Connection) -> Option<()> {
    client.send(b"word").await.ok()?;
    let came = client.read_some().await.ok()?;
    (came == b"word").then_some(())
}

async fn ended(edge: &Edge, why: &str) -> f64 {
    let labels = [("why", why)];
    edge.metric("portcullis_edge_tunnels_ended_total", &labels)
        .await
}

async fn expect_end(edge: &Edge, client: &mut Connection, endpoint: &Endpoint, others: usize) {
    let since = Instant::now();
    wait_until("the tunnel to end", async || {
        echo(client).await.is_none().then_some(())
    })
    .await;
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
    wait_until("the endpoint to see the end", async || {
        (endpoint.open_connections() == others).then_some(())
    })
    .await;
    edge.wait_for_metric("portcullis_edge_connections_open", &[], others as f64)
        .await;
}

/// A route whose tokens a publisher of the test signs, for which a feed of the test tells revocations.
async fn site(auth: &Value) -> (Setup, Signer, Endpoint, Endpoint, Publisher) {
    let signer = Signer::new(Algorithm::EdDsa);
    let (publisher, app, feed) = (
        Publisher::start(&[&signer]).await,
        Endpoint::start("app").await,
        Endpoint::start("feed").await,
    );
    feed.behave(page("[1,\"page\",\"log\",1,1,0,0]\n"));
    let feeds = json!({ "feeds": [format!("http://{}", feed.address())] });
    let more = json!({ "revocations": feeds, "skew": "0s" });
    let setup = Setup::new(&[&app])
        .set("issuers.main", changed(&publisher.keys(), &more))
        .set("routes.0.auth", auth.clone());
    (setup, signer, app, feed, publisher)
}

fn page(text: &str) -> Behavior {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\ncontent-length:";
    Behavior::raw(format!("{head} {}\r\n\r\n{text}", text.len()).into_bytes())
}

#[tokio::test]
async fn a_logout_ends_the_tunnels_of_its_session_and_no_others() {
    let (auth, app) = (Auth::start(1).await, Endpoint::start("app").await);
    let edge = Setup::new(&[&app])
        .set("issuers.main", auth.issuer())
        .set("routes.0.auth", json!("main"))
        .start()
        .await;
    let (one, other) = (auth.log_in(0).await, auth.log_in(0).await);
    let mut lasting = tunnel(&edge, &other).await;
    let mut revoked = tunnel(&edge, &one).await;
    auth.log_out(0, &one).await;
    expect_end(&edge, &mut revoked, &app, 1).await;
    assert_eq!(ended(&edge, "revoked").await, 1.0);
    let again = crate::harness::auth::with_token(edge.http(), "GET", "/", &one).await;
    assert_eq!(again.status, 401);
    echo(&mut lasting).await.unwrap();
    assert_eq!(edge.log_of("/ws").await["status"], 101);
}

#[tokio::test]
async fn a_tunnel_ends_with_its_token_unless_its_route_lets_it_last() {
    let (setup, signer, app, _feed, _publisher) = site(&json!("main")).await;
    let longer = json!({ "issuer": "main", "tunnels": "until_revoked" });
    let lasting =
        json!({ "name": "lasting", "host": "lasting.example", "cluster": "main", "auth": longer });
    let edge = setup.set("routes.1", lasting).start().await;
    let brief = signer.token(&json!({ "iat": now() - 60, "exp": now() + 4 }));
    let mut ending = tunnel(&edge, &brief).await;
    let mut client = edge.connect().await.with_host("lasting.example");
    let authorization = format!("Bearer {brief}");
    let fields = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Authorization", authorization.as_str()),
    ];
    let opened = client.request("GET", "/ws", &fields, b"").await.unwrap();
    assert_eq!(opened.status, 101);
    wait_until("the tunnel to end", async || {
        echo(&mut ending).await.is_none().then_some(())
    })
    .await;
    assert_eq!(ended(&edge, "expired").await, 1.0);
    assert_eq!(app.open_connections(), 1);
    echo(&mut client).await.unwrap();
}

#[tokio::test]
async fn a_lost_feed_ends_no_tunnel_and_late_news_do() {
    let auth = json!({ "issuer": "main", "tunnels": "until_revoked" });
    let (setup, signer, app, feed, _publisher) = site(&auth).await;
    let edge = setup.start().await;
    let token = signer.token(&json!({ "sid": "s-1" }));
    let mut client = tunnel(&edge, &token).await;
    feed.behave(Behavior::Status(503));
    wait_until("the feed to be lost", async || {
        let lag = edge.metric("portcullis_edge_revocation_lag_seconds", &[]);
        (lag.await > 3.5).then_some(())
    })
    .await;
    echo(&mut client).await.unwrap();
    feed.behave(page(
        "[1,\"page\",\"log\",2,1,0,1]\n[1,\"session\",\"s-1\",4000000000]\n",
    ));
    wait_until("the tunnel to end", async || {
        echo(&mut client).await.is_none().then_some(())
    })
    .await;
    assert_eq!(ended(&edge, "revoked").await, 1.0);
    edge.expect_nothing_left().await;
    assert_eq!(app.open_connections(), 0);
}
