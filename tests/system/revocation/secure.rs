//! A feed over TLS: followed only where a known authority vouches for its name, today, and the token
//! is the right one. Never takes a feed that cannot be trusted for one that says nothing.

use std::net::SocketAddr;

use portcullis_testkit::{Authority, Endpoint, Identity, client, wait_until};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::{ask, page, refused_after, setup};
use crate::harness::Edge;
use crate::harness::auth::{Auth, INTERNAL_TOKEN};
use crate::harness::issuer::changed;

/// Speaks TLS in front of a feed, as a proxy beside an instance would.
struct Door {
    address: SocketAddr,
    _accepting: JoinSet<()>,
}

impl Door {
    async fn open(identity: &Identity, behind: SocketAddr) -> Door {
        let acceptor = identity.acceptor();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let mut feed = TcpStream::connect(behind).await.unwrap();
                    let _ended = tokio::io::copy_bidirectional(&mut stream, &mut feed).await;
                });
            }
        });
        Door {
            address,
            _accepting: accepting,
        }
    }

    fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }
}

/// What the edge has to know of an issuer whose feed is behind this door. Its keys come in the clear:
/// `authorities` are those of the feed.
fn issuer(auth: &Auth, door: &Door, authorities: &Authority, token: &str) -> Value {
    let mut issuer = auth.issuer();
    issuer["revocations"] = json!({ "feeds": [door.url()], "token": token });
    changed(&issuer, &json!({ "authorities": authorities.root_file() }))
}

/// An edge that is to find no feed it may believe.
async fn expect_nothing_believed(issuer: &Value, token: &str, what: &str) {
    let app = Endpoint::start("app").await;
    let edge: Edge = setup(&app, issuer).start_unready().await;
    let failures = "portcullis_edge_revocation_feed_failures_total";
    wait_until("a feed that is not believed", async || {
        let keys = edge.metric("portcullis_edge_jwks_keys", &[]).await;
        (keys > 0.0 && edge.metric(failures, &[]).await > 1.0).then_some(())
    })
    .await;
    assert_eq!(ask(&edge, "/", token).await, 503, "{what}");
    let ready = client::get(edge.admin(), "/readyz").await.unwrap();
    assert_eq!(ready.status, 503, "{what}");
    let records = "portcullis_edge_revocation_records_total";
    assert_eq!(edge.metric(records, &[]).await, 0.0, "{what}");
}

#[tokio::test]
async fn a_feed_over_tls_is_followed_where_its_authority_vouches_for_it() {
    let (auth, app) = (Auth::start(1).await, Endpoint::start("app").await);
    let authority = Authority::new();
    let identity = authority.issue("feed", &["localhost"]);
    let door = Door::open(&identity, auth.instances[0].internal()).await;
    let token = auth.log_in(0).await;
    let known = issuer(&auth, &door, &authority, INTERNAL_TOKEN);
    let edge = setup(&app, &known).start().await;
    assert_eq!(ask(&edge, "/", &token).await, 200);
    auth.log_out(0, &token).await;
    refused_after(&edge, &token, std::time::Instant::now()).await;
}

#[tokio::test]
async fn a_feed_over_tls_is_not_believed_on_anybodys_word() {
    let auth = Auth::start(1).await;
    let (authority, stranger) = (Authority::new(), Authority::new());
    let feed = auth.instances[0].internal();
    let token = auth.log_in(0).await;
    let sound = authority.issue("feed", &["localhost"]);
    let expired = authority.issue_expired("expired", &["localhost"]);
    let of_another = authority.issue("other", &["feed.example.com"]);
    let wrong_token = "00112233445566778899aabbccddeeff";
    for (what, identity, authorities, sent) in [
        ("another authority", &sound, &stranger, INTERNAL_TOKEN),
        (
            "an expired certificate",
            &expired,
            &authority,
            INTERNAL_TOKEN,
        ),
        ("another name", &of_another, &authority, INTERNAL_TOKEN),
        ("a wrong token", &sound, &authority, wrong_token),
    ] {
        let door = Door::open(identity, feed).await;
        let known = issuer(&auth, &door, authorities, sent);
        expect_nothing_believed(&known, &token, what).await;
    }
}

#[tokio::test]
async fn a_feed_that_speaks_plainly_where_tls_is_asked_for_is_not_believed() {
    let (auth, feed) = (Auth::start(1).await, Endpoint::start("feed").await);
    feed.behave(page("[1,\"page\",\"log\",1,1,0,0]\n"));
    let authority = Authority::new();
    let token = auth.log_in(0).await;
    let mut known = auth.issuer();
    let url = format!("https://localhost:{}", feed.address().port());
    known["revocations"] = json!({ "feeds": [url] });
    let known = changed(&known, &json!({ "authorities": authority.root_file() }));
    expect_nothing_believed(&known, &token, "plain HTTP").await;
    assert_eq!(feed.requests(), 0);
}
