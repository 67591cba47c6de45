//! The keys of issuers: fetched, kept, renewed and never taken from just anybody.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_testkit::{Authority, Behavior, Endpoint, Response, client, free_port, wait_until};
use portcullis_token::Algorithm;
use serde_json::{Value, json};

use super::Setup;
use crate::harness::Edge;
use crate::harness::issuer::{AUDIENCE, ISSUER, Publisher, Signer, encode, now};

async fn ask(edge: &Edge, path: &str, token: &str) -> Response {
    let value = format!("Bearer {token}");
    let mut client = edge.connect().await;
    let fields = [("Authorization", value.as_str())];
    client.request("GET", path, &fields, b"").await.unwrap()
}

fn setup(endpoint: &Endpoint, issuer: Value) -> Setup {
    Setup::new(&[endpoint])
        .set("issuers.main", issuer)
        .set("routes.0.auth", json!("main"))
}

/// The publisher's keys with more.
fn with(publisher: &Publisher, more: &Value) -> Value {
    crate::harness::issuer::changed(&publisher.keys(), more)
}

#[tokio::test]
async fn the_keys_are_found_below_the_issuer_by_default() {
    let signer = Signer::new(Algorithm::EdDsa);
    let publisher = Publisher::start(&[&signer]).await;
    let app = Endpoint::start("app").await;
    let issuer = format!("http://{}/realm/", publisher.endpoint.address());
    let keys = json!({ "issuer": issuer, "audience": AUDIENCE });
    let edge = setup(&app, keys).start().await;
    let token = signer.token(&json!({ "iss": issuer }));
    assert_eq!(ask(&edge, "/", &token).await.status, 200);
    let received = publisher.endpoint.received();
    assert_eq!(received[0].target, "/realm/.well-known/jwks.json");
    let other = signer.token(&json!({ "iss": ISSUER }));
    assert_eq!(ask(&edge, "/", &other).await.status, 401, "another issuer");
}

#[tokio::test]
async fn keys_come_over_tls_from_whom_the_authority_vouches_for() {
    let (signer, authority) = (Signer::new(Algorithm::Es256), Authority::new());
    let publisher = Publisher::start(&[&signer]).await;
    let app = Endpoint::start("app").await;
    let identity = authority.issue("keys", &["localhost"]);
    let certificates = json!([{ "cert": identity.cert, "key": identity.key }]);
    let door = Setup::new(&[&publisher.endpoint])
        .listener("tls", &json!({ "tls": { "certificates": certificates } }))
        .start()
        .await;
    let url = format!("https://localhost:{}/keys", door.listener(1).port());
    let issuer = |authorities: Value| json!({ "issuer": ISSUER, "jwks": url, "audience": AUDIENCE, "authorities": authorities });
    let edge = setup(&app, issuer(json!(authority.root_file())))
        .start()
        .await;
    let token = signer.token(&json!({}));
    assert_eq!(ask(&edge, "/", &token).await.status, 200);
    let stranger = Authority::new();
    let edge = setup(&app, issuer(json!(stranger.root_file())))
        .start_unready()
        .await;
    let failed = [("issuer", "main"), ("result", "failed")];
    wait_until("a refused certificate", async || {
        let fetches = edge.metric("portcullis_edge_jwks_fetches_total", &failed);
        (fetches.await > 0.0).then_some(())
    })
    .await;
    assert_eq!(ask(&edge, "/", &token).await.status, 503);
}

#[tokio::test]
async fn plain_keys_from_elsewhere_have_to_be_allowed() {
    let signer = Signer::new(Algorithm::EdDsa);
    let publisher = Publisher::start(&[&signer]).await;
    let app = Endpoint::start("app").await;
    // No address of loopback, yet it leads there.
    let url = format!("http://0.0.0.0:{}/", publisher.endpoint.address().port());
    let keys = |allow: bool| json!({ "issuer": ISSUER, "jwks": url, "audience": AUDIENCE, "allow_http": allow });
    let mut refused = setup(&app, keys(false)).spawn();
    let status = wait_until("the edge to refuse", async || refused.process.try_status()).await;
    assert!(!status.success());
    wait_until("the reason", async || {
        let told = refused.process.output();
        told.contains("plain HTTP").then_some(())
    })
    .await;
    let edge = setup(&app, keys(true)).start().await;
    let token = signer.token(&json!({}));
    assert_eq!(ask(&edge, "/", &token).await.status, 200);
}

#[tokio::test]
async fn only_the_algorithms_that_are_named_count() {
    let signers = [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa].map(Signer::new);
    let publisher = Publisher::start(&signers.each_ref()).await;
    let app = Endpoint::start("app").await;
    let all = setup(&app, publisher.keys()).start().await;
    let some = with(&publisher, &json!({ "algorithms": ["ES256", "EdDSA"] }));
    let some = setup(&app, some).start().await;
    for (signer, status) in signers.iter().zip([401, 200, 200]) {
        let token = signer.token(&json!({}));
        assert_eq!(ask(&all, "/", &token).await.status, 200);
        assert_eq!(ask(&some, "/", &token).await.status, status);
    }
}

/// The other signature that the same key makes of the same message: `s` becomes `n - s`.
fn twin(token: &str) -> String {
    const ORDER: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc,
        0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let mut signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let mut borrow = 0;
    for (s, n) in signature[32..].iter_mut().zip(ORDER).rev() {
        let difference = i16::from(n) - i16::from(*s) - borrow;
        borrow = i16::from(difference < 0);
        *s = u8::try_from(difference.rem_euclid(256)).unwrap();
    }
    format!("{signed}.{}", encode(signature))
}

#[tokio::test]
async fn sec_c20_either_es256_signature_of_another_issuer_will_do_and_one_of_ours() {
    let signer = Signer::new(Algorithm::Es256);
    let publisher = Publisher::start(&[&signer]).await;
    let app = Endpoint::start("app").await;
    let ours = setup(&app, publisher.keys()).start().await;
    let generic = with(&publisher, &json!({ "profile": "generic" }));
    let generic = setup(&app, generic).start().await;
    let token = signer.token(&json!({}));
    for (edge, token, status) in [
        (&ours, &token, 200),
        (&ours, &twin(&token), 401),
        (&generic, &token, 200),
        (&generic, &twin(&token), 200),
    ] {
        assert_eq!(ask(edge, "/", token).await.status, status);
    }
}

#[tokio::test]
async fn sec_c10_clocks_may_differ_by_the_skew() {
    let signer = Signer::new(Algorithm::EdDsa);
    let publisher = Publisher::start(&[&signer]).await;
    let app = Endpoint::start("app").await;
    let usual = setup(&app, publisher.keys()).start().await;
    let strict = with(&publisher, &json!({ "skew": "0s" }));
    let strict = setup(&app, strict).start().await;
    let old = |age: i64| signer.token(&json!({ "iat": now() - 600, "exp": now() - age }));
    assert_eq!(ask(&usual, "/", &old(20)).await.status, 200);
    assert_eq!(ask(&usual, "/", &old(31)).await.status, 401);
    assert_eq!(ask(&strict, "/", &old(1)).await.status, 401);
    let future = signer.token(&json!({ "nbf": now() + 20 }));
    assert_eq!(ask(&usual, "/", &future).await.status, 200);
    assert_eq!(ask(&strict, "/", &future).await.status, 401);
}

#[tokio::test]
async fn a_token_that_was_read_before_ends_with_its_time() {
    let signer = Signer::new(Algorithm::EdDsa);
    let publisher = Publisher::start(&[&signer]).await;
    let app = Endpoint::start("app").await;
    let strict = with(&publisher, &json!({ "skew": "0s" }));
    let edge = setup(&app, strict).start().await;
    let token = signer.token(&json!({ "iat": now() - 10, "exp": now() + 3 }));
    assert_eq!(ask(&edge, "/", &token).await.status, 200);
    wait_until("the token to end", async || {
        (ask(&edge, "/", &token).await.status == 401).then_some(())
    })
    .await;
}

#[tokio::test]
async fn tokens_of_other_issuers_need_their_profile() {
    let signer = Signer::new(Algorithm::Es256);
    let publisher = Publisher::start(&[&signer]).await;
    let app = Endpoint::start("app").await;
    let generic = json!({ "profile": "generic", "roles_claim": "realm_access.roles" });
    let generic = setup(&app, with(&publisher, &generic))
        .set(
            "routes.0.auth",
            json!({ "issuer": "main", "roles": ["editor"] }),
        )
        .start()
        .await;
    let ours = setup(&app, publisher.keys()).start().await;
    let claims = json!({
        "iss": ISSUER, "sub": "auth0|ann", "aud": [AUDIENCE], "exp": now() + 300,
        "realm_access": { "roles": ["editor"] }, "azp": "spa",
    });
    let header = json!({ "alg": "ES256", "typ": "JWT", "kid": signer.public.kid() });
    let token = signer.sign(&header, &claims);
    let told = ask(&generic, "/", &token).await;
    assert_eq!(told.status, 200);
    assert_eq!(told.echoed("x-auth-subject"), ["auth0|ann"]);
    assert_eq!(told.echoed("x-auth-roles"), ["editor"]);
    assert_eq!(told.echoed("x-auth-client"), ["spa"]);
    assert_eq!(told.echoed("x-auth-session"), [] as [&str; 0]);
    assert_eq!(ask(&ours, "/", &token).await.status, 401);
}

#[tokio::test]
async fn sec_c17_keys_change_under_load_without_one_refusal() {
    let old = Signer::new(Algorithm::Rs256);
    let publisher = Publisher::start(&[&old]).await;
    let app = Endpoint::start("app").await;
    let edge = Arc::new(setup(&app, publisher.keys()).start().await);
    let current = Arc::new(std::sync::Mutex::new(Arc::new(old)));
    let (stop, served) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (edge, current) = (Arc::clone(&edge), Arc::clone(&current));
            let (stop, served) = (Arc::clone(&stop), Arc::clone(&served));
            tokio::spawn(async move {
                let mut client = edge.connect().await;
                while !stop.load(Ordering::SeqCst) {
                    let signer = Arc::clone(&current.lock().unwrap());
                    let value = format!("Bearer {}", signer.token(&json!({})));
                    let fields = [("Authorization", value.as_str())];
                    let response = client.request("GET", "/", &fields, b"").await.unwrap();
                    assert_eq!(response.status, 200, "{}", response.text());
                    if served.fetch_add(1, Ordering::SeqCst) % 100 == 99 {
                        client = edge.connect().await;
                    }
                }
            })
        })
        .collect();
    let wait_for = |count: usize| {
        let served = Arc::clone(&served);
        async move {
            wait_until("requests to be served", async || {
                (served.load(Ordering::SeqCst) >= count).then_some(())
            })
            .await;
        }
    };
    wait_for(50).await;
    // The hardest way: the new key signs at the very moment it is published.
    let new = Signer::new(Algorithm::Es256);
    let before = Arc::clone(&current.lock().unwrap());
    publisher.publish(&[&before, &new]);
    *current.lock().unwrap() = Arc::new(new);
    let reached = served.load(Ordering::SeqCst);
    wait_for(reached + 200).await;
    stop.store(true, Ordering::SeqCst);
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(publisher.requests(), 2, "one request for all that waited");
}

#[tokio::test]
async fn a_key_that_is_gone_voids_what_was_read_with_it() {
    let (old, new) = (Signer::new(Algorithm::EdDsa), Signer::new(Algorithm::EdDsa));
    let publisher = Publisher::start(&[&old, &new]).await;
    let app = Endpoint::start("app").await;
    let fast = with(&publisher, &json!({ "refresh": "1s" }));
    let edge = setup(&app, fast).start().await;
    let (gone, kept) = (old.token(&json!({})), new.token(&json!({})));
    assert_eq!(ask(&edge, "/", &gone).await.status, 200);
    publisher.publish(&[&new]);
    wait_until("the key to be gone", async || {
        (ask(&edge, "/", &gone).await.status == 401).then_some(())
    })
    .await;
    assert_eq!(ask(&edge, "/", &kept).await.status, 200);
    let status = client::get(edge.admin(), "/v1/status")
        .await
        .unwrap()
        .json();
    assert_eq!(status["issuers"][0]["name"], "main");
    assert_eq!(status["issuers"][0]["keys"], json!([new.public.kid()]));
}

#[tokio::test]
async fn sec_c05_a_flood_of_unknown_keys_brings_one_request_for_keys() {
    let signer = Signer::new(Algorithm::EdDsa);
    let publisher = Publisher::start(&[&signer]).await;
    let app = Endpoint::start("app").await;
    let edge = setup(&app, publisher.keys()).start().await;
    let began = Instant::now();
    for number in 0..200 {
        let kid = format!("unknown-{number}");
        let token = signer.token_with_header(&json!({ "kid": kid }));
        assert_eq!(ask(&edge, "/", &token).await.status, 401);
    }
    assert!(began.elapsed() < Duration::from_secs(25), "within one gap");
    assert_eq!(publisher.requests(), 2, "at the start, and once more");
    let valid = signer.token(&json!({}));
    assert_eq!(ask(&edge, "/", &valid).await.status, 200);
}

#[tokio::test]
async fn without_keys_the_edge_is_not_ready_and_says_when_to_come_back() {
    let signer = Signer::new(Algorithm::EdDsa);
    let publisher = Publisher::start(&[&signer]).await;
    let app = Endpoint::start("app").await;
    publisher.endpoint.behave(Behavior::Status(500));
    let open = json!({ "name": "open", "path": "/open", "cluster": "main" });
    let setup = setup(&app, publisher.keys()).set("routes.1", open);
    let mut edge = setup.start_unready().await;
    let ready = client::get(edge.admin(), "/readyz").await.unwrap();
    assert_eq!(ready.status, 503);
    assert_eq!(ready.json()["issuers_without_keys"], json!(["main"]));
    let token = signer.token(&json!({}));
    let refused = ask(&edge, "/", &token).await;
    assert_eq!(refused.status, 503);
    assert!(refused.field("retry-after").is_some());
    let kind = "urn:portcullis:problem:failed_no_keys";
    assert_eq!(refused.json()["type"], kind);
    assert_eq!(edge.get("/").await.status, 401, "no token is no token");
    assert_eq!(edge.get("/open").await.status, 200);
    publisher.publish(&[&signer]);
    edge.wait_for_admin("/readyz", 200).await;
    assert_eq!(ask(&edge, "/", &token).await.status, 200);
    edge.wait_for_outcome("failed_no_keys", 1).await;
}

#[tokio::test]
async fn good_keys_stay_in_use_whatever_the_publisher_says_next() {
    let (signer, evil) = (Signer::new(Algorithm::EdDsa), Signer::new(Algorithm::EdDsa));
    let publisher = Publisher::start(&[&signer]).await;
    let app = Endpoint::start("app").await;
    let fast = with(&publisher, &json!({ "refresh": "1s" }));
    let edge = setup(&app, fast).start().await;
    let leaked = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": evil.public.kid(), "x": "AAAA", "d": "AAAA" }] });
    let body = leaked.to_string();
    let leaked = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let failed = [("result", "failed")];
    for behavior in [
        Behavior::Status(503),
        Behavior::Garbage,
        Behavior::Bytes(10),
        Behavior::Bytes(1024 * 1024),
        Behavior::TruncatedLength,
        Behavior::CloseAfterAccept,
        Behavior::raw(leaked),
        Behavior::raw("HTTP/1.1 302 Found\r\nlocation: /keys\r\ncontent-length: 0\r\n\r\n"),
        Behavior::raw("HTTP/1.1 304 Not Modified\r\n\r\n"),
    ] {
        let metric = "portcullis_edge_jwks_fetches_total";
        let before = edge.metric(metric, &failed).await;
        publisher.endpoint.behave(behavior.clone());
        wait_until(&format!("{behavior:?} to be tried"), async || {
            (edge.metric(metric, &failed).await > before).then_some(())
        })
        .await;
        let (good, bad) = (signer.token(&json!({})), evil.token(&json!({})));
        assert_eq!(ask(&edge, "/", &good).await.status, 200, "{behavior:?}");
        assert_eq!(ask(&edge, "/", &bad).await.status, 401, "{behavior:?}");
    }
    assert_eq!(edge.metric("portcullis_edge_jwks_keys", &[]).await, 1.0);
}

#[tokio::test]
async fn keys_that_nobody_confirmed_for_too_long_are_not_believed() {
    let signer = Signer::new(Algorithm::EdDsa);
    let publisher = Publisher::start(&[&signer]).await;
    let app = Endpoint::start("app").await;
    let short = with(&publisher, &json!({ "refresh": "1s", "max_stale": "3s" }));
    let edge = setup(&app, short).start().await;
    let token = signer.token(&json!({}));
    assert_eq!(ask(&edge, "/", &token).await.status, 200);
    publisher.endpoint.behave(Behavior::Status(503));
    wait_until("the keys to be too old", async || {
        (ask(&edge, "/", &token).await.status == 503).then_some(())
    })
    .await;
    assert!(edge.metric("portcullis_edge_jwks_age_seconds", &[]).await >= 3.0);
    publisher.publish(&[&signer]);
    wait_until("the keys to be fresh", async || {
        (ask(&edge, "/", &token).await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_unchanged_key_set_is_confirmed_without_being_sent() {
    let signer = Signer::new(Algorithm::EdDsa);
    let publisher = Publisher::start(&[&signer]).await;
    let answer = crate::harness::issuer::answer(&[&signer]);
    let tagged = String::from_utf8(answer).unwrap();
    let tagged = tagged.replacen("\r\n", "\r\netag: \"v1\"\r\n", 1);
    publisher.endpoint.behave(Behavior::raw(tagged));
    let app = Endpoint::start("app").await;
    let fast = with(&publisher, &json!({ "refresh": "1s", "max_stale": "4s" }));
    let edge = setup(&app, fast).start().await;
    let unchanged = "HTTP/1.1 304 Not Modified\r\netag: \"v1\"\r\n\r\n";
    publisher.endpoint.behave(Behavior::raw(unchanged));
    wait_until("some confirmations", async || {
        (publisher.requests() >= 6).then_some(())
    })
    .await;
    let token = signer.token(&json!({}));
    assert_eq!(ask(&edge, "/", &token).await.status, 200);
    let later = &publisher.endpoint.received()[5];
    assert_eq!(later.values("if-none-match"), ["\"v1\""]);
    let failed = [("result", "failed")];
    assert_eq!(
        edge.metric("portcullis_edge_jwks_fetches_total", &failed)
            .await,
        0.0
    );
}

#[tokio::test]
async fn a_publisher_that_comes_later_is_found() {
    let signer = Signer::new(Algorithm::EdDsa);
    let port = free_port();
    let app = Endpoint::start("app").await;
    let url = format!("http://{}/keys", port.address());
    let keys = json!({ "issuer": ISSUER, "jwks": url, "audience": AUDIENCE });
    let mut edge = setup(&app, keys).start_unready().await;
    let token = signer.token(&json!({}));
    assert_eq!(ask(&edge, "/", &token).await.status, 503);
    let late = Endpoint::start_at("late", port.address()).await;
    late.behave(Behavior::raw(crate::harness::issuer::answer(&[&signer])));
    edge.wait_for_admin("/readyz", 200).await;
    assert_eq!(ask(&edge, "/", &token).await.status, 200);
}
