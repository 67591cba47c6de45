//! A revoked token at the edge: refused soon after its logout wherever that was, and never accepted
//! again, whatever becomes of feeds, auth instances and the edge itself.

mod secure;

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use portcullis_testkit::postgres::Postgres;
use portcullis_testkit::redis::Redis;
use portcullis_testkit::{Behavior, Endpoint, client, free_port, wait_until};
use portcullis_token::Algorithm;
use serde_json::{Value, json};

use crate::harness::Edge;
use crate::harness::auth::{Auth, with_token};
use crate::harness::issuer::{Publisher, Signer, changed, now};
use crate::harness::load::{Ask, Load};
use crate::native::Setup;

/// Every logout is seen within this time at the 99th percentile; here at each.
const SOON: Duration = Duration::from_secs(1);
/// A feed that was not whole for so long is lost.
const LOST_AFTER: Duration = Duration::from_secs(2);

/// An edge in front of `app` that asks for tokens of `issuer` everywhere.
fn setup(app: &Endpoint, issuer: &Value) -> Setup {
    Setup::new(&[app])
        .set("issuers.main", issuer.clone())
        .set("routes.0.auth", json!("main"))
}

async fn ask(edge: &Edge, path: &str, token: &str) -> u16 {
    with_token(edge.http(), "GET", path, token).await.status
}

/// How long until the edge refuses a token; it is never accepted again afterwards.
async fn refused_after(edge: &Edge, token: &str, since: Instant) -> Duration {
    wait_until("the edge to refuse a token", async || {
        (ask(edge, "/", token).await == 401).then_some(())
    })
    .await;
    since.elapsed()
}

#[tokio::test]
async fn sec_d01_a_logout_at_any_instance_is_refused_at_the_edge_within_a_second_under_load() {
    let (auth, app) = (Auth::start(3).await, Endpoint::start("app").await);
    let edge = setup(&app, &auth.issuer()).start().await;
    let lasting = auth.log_in(0).await;
    let mut request = Ask::get("/");
    request
        .fields
        .push(("Authorization", format!("Bearer {lasting}")));
    let load = Load::start(edge.http(), Duration::from_millis(4), vec![request]);
    let mut delays = Vec::new();
    for turn in 0..24 {
        let token = auth.log_in(turn % 3).await;
        assert_eq!(ask(&edge, "/", &token).await, 200);
        auth.log_out((turn + 1) % 3, &token).await;
        delays.push(refused_after(&edge, &token, Instant::now()).await);
    }
    let shots = load.finish().await;
    assert!(shots.len() > 100 && shots.iter().all(|shot| shot.is_served()));
    delays.sort_unstable();
    assert!(delays.iter().all(|delay| *delay < SOON), "{delays:?}");
    let records = edge.metric("portcullis_edge_revocation_records_total", &[]);
    assert!(records.await >= 24.0);
    let bytes = edge.metric("portcullis_edge_revocations_bytes", &[]);
    assert!(bytes.await > 0.0);
    assert_eq!(
        edge.metric("portcullis_edge_revocations", &[("issuer", "main")])
            .await,
        24.0
    );
}

#[tokio::test]
async fn sec_d05_a_feed_that_dies_or_hangs_is_replaced_and_hides_no_logout() {
    let mut auth = Auth::start(2).await;
    let app = Endpoint::start("app").await;
    let edge = setup(&app, &auth.issuer()).start().await;
    let lasting = auth.log_in(1).await;
    for hangs in [true, false] {
        // The first feed of the list is followed, or the one after the last that failed.
        let (token, other) = (auth.log_in(1).await, auth.log_in(1).await);
        match hangs {
            true => auth.instances[0].pause(),
            false => auth.instances[0].kill(),
        }
        auth.log_out(1, &token).await;
        let delay = refused_after(&edge, &token, Instant::now()).await;
        assert!(delay < LOST_AFTER, "{delay:?}");
        assert_eq!(
            ask(&edge, "/", &lasting).await,
            200,
            "nobody else is refused"
        );
        match hangs {
            true => auth.instances[0].resume(),
            false => auth.restart(0).await,
        }
        // Now the other one, which is the one that is followed.
        auth.instances[1].pause();
        auth.log_out(0, &other).await;
        let delay = refused_after(&edge, &other, Instant::now()).await;
        assert!(delay < LOST_AFTER, "{delay:?}");
        assert_eq!(ask(&edge, "/", &token).await, 401);
        auth.instances[1].resume();
    }
    assert!(
        edge.metric("portcullis_edge_revocation_feed_failures_total", &[])
            .await
            >= 3.0
    );
}

#[tokio::test]
async fn sec_d06_without_any_feed_closed_refuses_and_stale_accepts_for_its_time() {
    let mut auth = Auth::start(1).await;
    let app = Endpoint::start("app").await;
    let stale = |time: &str| json!({ "stale": time });
    let route = |name: &str, auth: Value| json!({ "name": name, "path": format!("/{name}"), "cluster": "main", "auth": auth });
    let longer = json!({ "issuer": "main", "when_lost": stale("60s") });
    let edge = setup(&app, &auth.issuer())
        .set("issuers.main.revocations.when_lost", stale("5s"))
        .set(
            "routes.0.auth",
            json!({ "issuer": "main", "when_lost": "closed" }),
        )
        .set("routes.1", route("stale", json!("main")))
        .set("routes.2", route("longer", longer))
        .start()
        .await;
    let (lasting, revoked) = (auth.log_in(0).await, auth.log_in(0).await);
    auth.log_out(0, &revoked).await;
    refused_after(&edge, &revoked, Instant::now()).await;
    auth.instances[0].kill();
    let killed = Instant::now();
    let refused = wait_until("closed to refuse", async || {
        let answer = with_token(edge.http(), "GET", "/", &lasting).await;
        (answer.status != 200).then_some(answer)
    })
    .await;
    assert_eq!(refused.status, 503);
    assert!(refused.field("retry-after").is_some());
    let outcome = [("outcome", "failed_no_revocations")];
    assert!(
        edge.metric("portcullis_edge_requests_total", &outcome)
            .await
            >= 1.0
    );
    let delay = killed.elapsed();
    assert!(delay < LOST_AFTER + SOON, "{delay:?}");
    assert_eq!(ask(&edge, "/stale", &lasting).await, 200);
    for path in ["/", "/stale"] {
        assert_eq!(
            ask(&edge, path, &revoked).await,
            401,
            "known to be revoked: {path}"
        );
    }
    wait_until("stale to refuse", async || {
        (ask(&edge, "/stale", &lasting).await == 503).then_some(())
    })
    .await;
    let delay = killed.elapsed();
    assert!(delay > Duration::from_secs(4), "{delay:?}");
    assert_eq!(ask(&edge, "/longer", &lasting).await, 200);
    assert!(
        edge.metric("portcullis_edge_revocation_lag_seconds", &[])
            .await
            > 4.0
    );
    assert_eq!(
        edge.metric("portcullis_edge_revocation_feed_connected", &[])
            .await,
        0.0
    );
    auth.restart(0).await;
    for path in ["/", "/stale"] {
        wait_until("tokens to pass again", async || {
            (ask(&edge, path, &lasting).await == 200).then_some(())
        })
        .await;
        assert_eq!(ask(&edge, path, &revoked).await, 401, "{path}");
    }
}

#[tokio::test]
async fn sec_d06_a_feed_that_hangs_is_as_lost_as_one_that_is_gone() {
    let (auth, app) = (Auth::start(1).await, Endpoint::start("app").await);
    let stale = json!({ "issuer": "main", "when_lost": { "stale": "60s" } });
    let route = json!({ "name": "stale", "path": "/stale", "cluster": "main", "auth": stale });
    let edge = setup(&app, &auth.issuer())
        .set("routes.1", route)
        .start()
        .await;
    let (lasting, revoked) = (auth.log_in(0).await, auth.log_in(0).await);
    auth.log_out(0, &revoked).await;
    refused_after(&edge, &revoked, Instant::now()).await;
    auth.instances[0].pause();
    let paused = Instant::now();
    wait_until("closed to refuse", async || {
        (ask(&edge, "/", &lasting).await == 503).then_some(())
    })
    .await;
    let delay = paused.elapsed();
    assert!(delay < LOST_AFTER + SOON, "{delay:?}");
    assert_eq!(ask(&edge, "/stale", &lasting).await, 200);
    for path in ["/", "/stale"] {
        assert_eq!(ask(&edge, path, &revoked).await, 401, "{path}");
    }
    auth.instances[0].resume();
    wait_until("closed to accept again", async || {
        (ask(&edge, "/", &lasting).await == 200).then_some(())
    })
    .await;
    auth.log_out(0, &lasting).await;
    refused_after(&edge, &lasting, Instant::now()).await;
    for path in ["/", "/stale"] {
        assert_eq!(ask(&edge, path, &lasting).await, 401, "{path}");
    }
}

#[tokio::test]
async fn an_edge_that_starts_anew_refuses_what_only_its_tolerance_keeps_alive() {
    let feed = Endpoint::start("feed").await;
    let (setup, _publisher, signer, _app) = with_feed(&feed, &json!({})).await;
    // Its issuer thinks that no such token can be accepted any more: its clock, or its tolerance, is
    // another than the edge's.
    let ended = now() - 10;
    feed.behave(page(&format!(
        "[1,\"page\",\"log\",1,1,0,1]\n[1,\"session\",\"s-1\",{ended}]\n"
    )));
    let edge = setup.set("issuers.main.skew", json!("2m")).start().await;
    let times = json!({ "iat": now() - 900, "exp": now() - 60 });
    let late = signer.token(&times);
    let revoked = signer.token(&changed(&times, &json!({ "sid": "s-1" })));
    assert_eq!(ask(&edge, "/", &late).await, 200);
    assert_eq!(ask(&edge, "/", &revoked).await, 401);
}

#[tokio::test]
async fn an_edge_that_was_paused_or_started_anew_accepts_nothing_revoked_meanwhile() {
    let (auth, app) = (Auth::start(1).await, Endpoint::start("app").await);
    let issuer = auth.issuer();
    let edge = setup(&app, &issuer).start().await;
    let (one, other, lasting) = (
        auth.log_in(0).await,
        auth.log_in(0).await,
        auth.log_in(0).await,
    );
    assert_eq!(ask(&edge, "/", &one).await, 200);
    edge.process.signal(Signal::SIGSTOP);
    auth.log_out(0, &one).await;
    // Longer than a feed may be silent: the edge cannot know that, since it does not run.
    let paused = Instant::now();
    wait_until("the feed to be silent for too long", async || {
        (paused.elapsed() > LOST_AFTER).then_some(())
    })
    .await;
    edge.process.signal(Signal::SIGCONT);
    let first = ask(&edge, "/", &one).await;
    assert!([401, 503].contains(&first), "{first}");
    refused_after(&edge, &one, Instant::now()).await;
    drop(edge);
    auth.log_out(0, &other).await;
    let mut edge = setup(&app, &issuer).spawn();
    for path in ["/livez", "/readyz"] {
        edge.wait_for_admin(path, 200).await;
        for token in [&one, &other] {
            let status = ask(&edge, "/", token).await;
            assert!([401, 503].contains(&status), "{status} after {path}");
        }
    }
    assert_eq!(ask(&edge, "/", &lasting).await, 200);
    for token in [&one, &other] {
        assert_eq!(ask(&edge, "/", token).await, 401);
    }
}

#[tokio::test]
async fn sec_d05_no_end_of_redis_or_postgres_lets_a_revoked_token_pass() {
    let (mut redis, mut postgres) = tokio::join!(Redis::start(), Postgres::start());
    let more = [("REDIS_URL", redis.url()), ("DATABASE_URL", postgres.url())];
    let (auth, app) = (
        Auth::start_with(2, &more).await,
        Endpoint::start("app").await,
    );
    let edge = setup(&app, &auth.issuer()).start().await;
    let lasting = auth.log_in(0).await;
    let mut revoked = Vec::new();
    for trouble in ["killed", "restarted", "restarted empty", "paused"] {
        let token = auth.log_in(0).await;
        assert_eq!(ask(&edge, "/", &token).await, 200);
        match trouble {
            "killed" => redis.kill().await,
            "restarted" => redis.restart().await,
            "restarted empty" => redis.restart_empty().await,
            _ => redis.pause(),
        }
        auth.log_out(1, &token).await;
        let delay = refused_after(&edge, &token, Instant::now()).await;
        assert!(delay < SOON, "Redis {trouble}: {delay:?}");
        assert_eq!(ask(&edge, "/", &lasting).await, 200, "Redis {trouble}");
        match trouble {
            "killed" => redis.restart().await,
            "paused" => redis.resume(),
            _ => {}
        }
        revoked.push(token);
    }
    postgres.restart().await;
    for _ in 0..50 {
        for token in &revoked {
            let status = ask(&edge, "/", token).await;
            assert_eq!(status, 401, "known to be revoked");
        }
    }
    wait_until("tokens to pass again", async || {
        (ask(&edge, "/", &lasting).await == 200).then_some(())
    })
    .await;
}

/// An edge that follows a feed of the test's making.
async fn with_feed(feed: &Endpoint, more: &Value) -> (Setup, Publisher, Signer, Endpoint) {
    let signer = Signer::new(Algorithm::EdDsa);
    let (publisher, app) = (
        Publisher::start(&[&signer]).await,
        Endpoint::start("app").await,
    );
    let feeds = json!({ "feeds": [format!("http://{}", feed.address())] });
    let issuer = changed(
        &publisher.keys(),
        &json!({ "revocations": changed(&feeds, more) }),
    );
    let setup = setup(&app, &issuer);
    (setup, publisher, signer, app)
}

fn page(text: &str) -> Behavior {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\ncontent-length:";
    Behavior::raw(format!("{head} {}\r\n\r\n{text}", text.len()).into_bytes())
}

#[tokio::test]
async fn readiness_waits_for_the_first_snapshot_and_nothing_is_accepted_before() {
    let feed = Endpoint::start("feed").await;
    feed.behave(Behavior::Status(503));
    let (setup, _publisher, signer, _app) =
        with_feed(&feed, &json!({ "when_lost": { "stale": "60s" } })).await;
    let mut edge = setup.start_unready().await;
    let token = signer.token(&json!({}));
    wait_until("the keys", async || {
        let age = edge.metric("portcullis_edge_jwks_keys", &[]).await;
        (age > 0.0).then_some(())
    })
    .await;
    let unready = client::get(edge.admin(), "/readyz").await.unwrap();
    assert_eq!(unready.status, 503);
    assert!(
        unready
            .text()
            .contains("the revocations of an issuer are not there yet")
    );
    assert_eq!(
        ask(&edge, "/", &token).await,
        503,
        "there is nothing to be stale"
    );
    feed.behave(page(
        "[1,\"page\",\"log\",1,1,0,1]\n[1,\"session\",\"session-2\",4000000000]\n",
    ));
    edge.wait_for_admin("/readyz", 200).await;
    assert_eq!(ask(&edge, "/", &token).await, 200);
    let revoked = signer.token(&json!({ "sid": "session-2" }));
    assert_eq!(ask(&edge, "/", &revoked).await, 401);
}

#[tokio::test]
async fn every_kind_of_record_counts_and_a_gap_takes_nothing_back() {
    let feed = Endpoint::start("feed").await;
    feed.behave(page(
        "[1,\"page\",\"log\",3,1,0,3]\n[1,\"token\",\"t-1\",4000000000]\n[1,\"session\",\"s-1\",4000000000]\n[1,\"subject\",\"ann\",1000000000,4000000000]\n",
    ));
    let (setup, _publisher, signer, _app) = with_feed(&feed, &json!({})).await;
    let edge = setup.start().await;
    let lasting = signer.token(&json!({}));
    let taken_back = [
        signer.token(&json!({ "jti": "t-1" })),
        signer.token(&json!({ "sid": "s-1" })),
        signer.token(&json!({ "iat": 999_999_999 })),
    ];
    let check = async |what: &str| {
        assert_eq!(ask(&edge, "/", &lasting).await, 200, "{what}");
        for (kind, token) in taken_back.iter().enumerate() {
            assert_eq!(ask(&edge, "/", token).await, 401, "{what}: kind {kind}");
        }
    };
    check("a snapshot").await;
    let seen = feed.requests();
    feed.behave(page("[1,\"page\",\"another\",0,1,0,0]\n"));
    wait_until("an empty log to be read", async || {
        (feed.requests() > seen + 2).then_some(())
    })
    .await;
    check("an empty log").await;
    let kid = signer.public.kid();
    feed.behave(page(&format!(
        "[1,\"page\",\"another\",1,1,0,1]\n[1,\"key\",\"{kid}\",4000000000]\n"
    )));
    refused_after(&edge, &lasting, Instant::now()).await;
}

#[tokio::test]
async fn a_revoked_token_is_told_so_before_it_is_told_what_it_lacks() {
    let feed = Endpoint::start("feed").await;
    feed.behave(page(
        "[1,\"page\",\"log\",1,1,0,1]\n[1,\"session\",\"s-1\",4000000000]\n",
    ));
    let (setup, _publisher, signer, _app) = with_feed(&feed, &json!({})).await;
    let auth = json!({ "issuer": "main", "roles": ["nobody-has-this"] });
    let edge = setup.set("routes.0.auth", auth).start().await;
    let lasting = signer.token(&json!({}));
    let revoked = signer.token(&json!({ "sid": "s-1" }));
    assert_eq!(ask(&edge, "/", &lasting).await, 403);
    assert_eq!(ask(&edge, "/", &revoked).await, 401);
}

#[tokio::test]
async fn garbage_is_refused_and_the_next_feed_is_asked() {
    let (bad, good) = (Endpoint::start("bad").await, Endpoint::start("good").await);
    good.behave(page("[1,\"page\",\"log\",1,1,0,0]\n"));
    let cut = Behavior::raw(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n[1,".to_vec());
    let (setup, _publisher, signer, _app) = with_feed(&bad, &json!({})).await;
    let second = format!("http://{}", good.address());
    let mut edge = setup
        .set("issuers.main.revocations.feeds.1", json!(second))
        .spawn();
    let token = signer.token(&json!({}));
    for (number, behavior) in [
        page("<html>\n"),
        page("[2,\"page\",\"log\",1,1,0,0]\n"),
        page("[1,\"page\",\"log\",1,1,0,2]\n[1,\"token\",\"t\",4000000000]\n"),
        page("[1,\"page\",\"log\",1,0,0,0]\n"),
        page("[1,\"gap\"]\n"),
        Behavior::Status(204),
        Behavior::Status(401),
        cut,
        Behavior::Hang,
    ]
    .into_iter()
    .enumerate()
    {
        bad.behave(behavior);
        let seen = good.requests();
        // Whoever is followed fails for a moment, so that the bad one has its turn.
        good.behave(Behavior::Status(500));
        wait_until("the bad feed to be asked", async || {
            (bad.requests() > number).then_some(())
        })
        .await;
        good.behave(page("[1,\"page\",\"log\",1,1,0,0]\n"));
        wait_until("the good feed to be asked", async || {
            (good.requests() > seen + 2).then_some(())
        })
        .await;
        edge.wait_for_admin("/readyz", 200).await;
        wait_until("tokens to pass", async || {
            (ask(&edge, "/", &token).await == 200).then_some(())
        })
        .await;
    }
    assert!(
        edge.metric("portcullis_edge_revocation_feed_failures_total", &[])
            .await
            >= 9.0
    );
}

#[tokio::test]
async fn a_feed_gets_its_token_its_position_and_no_more_questions_than_needed() {
    const TOKEN: &str = "0123456789abcdef0123456789abcdef";
    let feed = Endpoint::start("feed").await;
    feed.behave(page("[1,\"page\",\"log\",7,1,0,0]\n"));
    let (setup, _publisher, _signer, _app) = with_feed(&feed, &json!({ "token": TOKEN })).await;
    let _edge = setup.start().await;
    wait_until("three questions", async || {
        (feed.requests() > 2).then_some(())
    })
    .await;
    let received = feed.received();
    assert_eq!(received[0].target, "/internal/v1/revocations?wait_ms=0");
    assert_eq!(
        received[1].target,
        "/internal/v1/revocations?wait_ms=250&after=log.7"
    );
    let expected = format!("Bearer {TOKEN}");
    assert!(
        received
            .iter()
            .all(|one| one.values("authorization") == [expected.as_str()])
    );
    let (before, since) = (feed.requests(), Instant::now());
    wait_until("ten more", async || {
        (feed.requests() >= before + 10).then_some(())
    })
    .await;
    assert!(
        since.elapsed() > Duration::from_millis(300),
        "it does not wait, so the edge does"
    );
}

#[tokio::test]
async fn a_feed_that_is_away_at_first_is_found_when_it_comes() {
    let port = free_port();
    let address = port.address();
    let signer = Signer::new(Algorithm::EdDsa);
    let (publisher, app) = (
        Publisher::start(&[&signer]).await,
        Endpoint::start("app").await,
    );
    let feeds = json!({ "revocations": { "feeds": [format!("http://{address}")] } });
    let mut edge = setup(&app, &changed(&publisher.keys(), &feeds))
        .start_unready()
        .await;
    assert_eq!(ask(&edge, "/", &signer.token(&json!({}))).await, 503);
    drop(port);
    let feed = Endpoint::start_at("feed", address).await;
    feed.behave(page("[1,\"page\",\"log\",1,1,0,0]\n"));
    edge.wait_for_admin("/readyz", 200).await;
}
