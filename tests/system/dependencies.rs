//! Three auth processes whose PostgreSQL and Redis are killed, stopped, emptied, full and used up under load: nothing
//! that was revoked is ever accepted, nothing that was acknowledged is ever lost, and it heals. Never a mock.

mod load;
mod rows;

use std::net::SocketAddr;
use std::time::Instant;

use portcullis_testkit::postgres::Postgres;
use portcullis_testkit::redis::Redis;
use portcullis_testkit::{DEADLINE, client, wait_until};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::harness::auth::Auth;
use load::{Answer, Load, PACE, PASSWORD, Session, Told, post, with_token};
use rows::Rows;

/// Three instances and what is behind them.
struct Site {
    redis: Redis,
    postgres: Postgres,
    auth: Auth,
}

impl Site {
    async fn start() -> Site {
        Site::start_with(&[]).await
    }

    /// With settings of the database.
    async fn start_with(settings: &[(&str, &str)]) -> Site {
        let (redis, postgres) = tokio::join!(Redis::start(), Postgres::start_with(settings));
        let variables = [
            ("REDIS_URL", redis.url()),
            ("DATABASE_URL", postgres.url()),
            ("DATABASE_POOL_SIZE", "2".to_owned()),
        ];
        Site {
            auth: Auth::start_with(3, &variables).await,
            redis,
            postgres,
        }
    }

    fn addresses(&self) -> [SocketAddr; 3] {
        [0, 1, 2].map(|position: usize| self.auth.instances[position].address())
    }

    /// Waits until all instances are whole again: ready, nothing degraded, and Redis is asked about revocations.
    async fn healed(&self, rows: &Rows) {
        const FALLBACKS: &str = "portcullis_auth_revocation_fallbacks_total";
        for instance in &self.auth.instances {
            let address = instance.address();
            wait_until(&format!("{address} to heal"), async || {
                let ready = client::get(address, "/health/ready").await.unwrap();
                let is_ready = ready.status == 200 && ready.json()["degraded"].is_null();
                is_ready.then_some(())?;
                let before = instance.metric(FALLBACKS).await;
                let verified = rows.verify(address).await;
                let is_trusted = instance.metric(FALLBACKS).await == before;
                (verified.status == 200 && is_trusted).then_some(())
            })
            .await;
        }
    }

    /// What clients were told holds at every instance.
    async fn assert_kept(&self, told: &Told) {
        let ended = &told.ended;
        assert!(
            ended.len() > 6,
            "{} logouts, {:?}",
            ended.len(),
            told.refusals
        );
        for (turn, session) in ended.iter().enumerate() {
            for address in self.addresses() {
                let verified = with_token(address, "GET", "verify", &session.access).await;
                assert_eq!(verified.status, 401, "accepted after its logout");
            }
            let spent = json!({ "refresh_token": session.refresh });
            let refreshed = post(self.addresses()[turn % 3], "refresh", &spent).await;
            assert_eq!(refreshed.status, 401, "refreshed after its logout");
        }
        for (turn, session) in told.live.iter().enumerate() {
            let address = self.addresses()[turn % 3];
            let verified = with_token(address, "GET", "verify", &session.access).await;
            assert_eq!(verified.status, 200, "{}", verified.text());
            let unused = json!({ "refresh_token": session.refresh });
            let refreshed = post(address, "refresh", &unused).await;
            assert_eq!(refreshed.status, 200, "{}", refreshed.text());
        }
        let kept = self.postgres.query("SELECT email FROM account");
        let kept: Vec<&str> = kept.lines().collect();
        for email in &told.registered {
            assert!(kept.contains(&email.as_str()), "{email} was acknowledged");
        }
    }
}

/// Before, while and after Redis is in trouble; `begin` and `end` make and end it.
async fn through_redis(
    hold: impl AsyncFnOnce(&Rows),
    begin: impl AsyncFnOnce(&mut Redis),
    end: impl AsyncFnOnce(&mut Redis),
) {
    let mut site = Site::start().await;
    let rows = Rows::before(site.addresses()).await;
    let load = Load::start(site.addresses()).await;
    load.wait_for(12).await;
    begin(&mut site.redis).await;
    hold(&rows).await;
    load.wait_for(18).await;
    end(&mut site.redis).await;
    load.wait_for(6).await;
    site.healed(&rows).await;
    load.wait_for(12).await;
    let told = load.finish().await;
    site.assert_kept(&told).await;
    rows.hold_again().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_d06_redis_killed_and_started_again_under_load() {
    through_redis(
        Rows::hold_without_redis,
        async |redis| redis.kill().await,
        async |redis| redis.restart().await,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_d06_redis_killed_and_started_empty_under_load() {
    through_redis(
        Rows::hold_without_redis,
        async |redis| redis.kill().await,
        async |redis| redis.restart_empty().await,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_d06_redis_stopped_and_resumed_under_load() {
    through_redis(
        Rows::hold_without_redis,
        async |redis| redis.pause(),
        async |redis| redis.resume(),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_d06_redis_out_of_memory_under_load() {
    let set = |redis: &Redis, bytes: &str| {
        let said = redis.command(&["CONFIG", "SET", "maxmemory", bytes]);
        assert_eq!(said, "OK");
    };
    through_redis(
        Rows::hold_without_room_in_redis,
        async |redis| set(redis, "1"),
        async |redis| set(redis, "0"),
    )
    .await;
}

/// Before, while and after PostgreSQL is in trouble.
async fn through_postgres(
    hold: impl AsyncFnOnce(&Rows),
    begin: impl AsyncFnOnce(&mut Postgres),
    end: impl AsyncFnOnce(&mut Postgres),
) {
    let mut site = Site::start().await;
    let rows = Rows::before(site.addresses()).await;
    let load = Load::start(site.addresses()).await;
    load.wait_for(12).await;
    begin(&mut site.postgres).await;
    hold(&rows).await;
    load.wait_for(6).await;
    end(&mut site.postgres).await;
    load.wait_for(6).await;
    site.healed(&rows).await;
    load.wait_for(12).await;
    let told = load.finish().await;
    assert!(told.refusals.contains_key("store_unavailable"));
    site.assert_kept(&told).await;
    rows.hold_again().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_d06_postgresql_killed_and_started_again_under_load() {
    through_postgres(
        Rows::hold_without_postgres,
        async |postgres| postgres.kill().await,
        async |postgres| postgres.restart().await,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_d06_postgresql_stopped_and_resumed_under_load() {
    through_postgres(
        Rows::hold_without_postgres,
        async |postgres| postgres.pause(),
        async |postgres| postgres.resume(),
    )
    .await;
}

/// As a full disk or a standby in its place: it answers, and takes no writes.
#[tokio::test(flavor = "multi_thread")]
async fn sec_d06_postgresql_that_takes_no_writes_under_load() {
    let set = |postgres: &Postgres, value: &str| {
        let setting = format!("ALTER SYSTEM SET default_transaction_read_only = {value}");
        postgres.query(&setting);
        postgres.query("SELECT pg_reload_conf()");
    };
    through_postgres(
        Rows::hold_without_writes_to_postgres,
        async |postgres| set(postgres, "on"),
        async |postgres| set(postgres, "off"),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_d06_both_restarted_under_load() {
    let mut site = Site::start().await;
    let rows = Rows::before(site.addresses()).await;
    let load = Load::start(site.addresses()).await;
    for _ in 0..3 {
        load.wait_for(6).await;
        let Site {
            redis, postgres, ..
        } = &mut site;
        tokio::join!(redis.restart(), postgres.restart());
    }
    site.healed(&rows).await;
    load.wait_for(12).await;
    let told = load.finish().await;
    site.assert_kept(&told).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_d06_both_away_under_load_and_nothing_is_accepted() {
    let mut site = Site::start().await;
    let rows = Rows::before(site.addresses()).await;
    let load = Load::start(site.addresses()).await;
    load.wait_for(12).await;
    let Site {
        redis, postgres, ..
    } = &mut site;
    tokio::join!(redis.kill(), postgres.kill());
    rows.hold_without_both().await;
    load.wait_for(6).await;
    // One after the other, the one that has forgotten everything first.
    site.redis.restart_empty().await;
    load.wait_for(6).await;
    rows.accept_nothing_that_ended().await;
    site.postgres.restart().await;
    site.healed(&rows).await;
    load.wait_for(12).await;
    let told = load.finish().await;
    site.assert_kept(&told).await;
    rows.hold_again().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_d06_sixty_four_logouts_while_redis_is_killed_hold_where_they_were_acknowledged() {
    let mut site = Site::start().await;
    let rows = Rows::before(site.addresses()).await;
    let addresses = site.addresses();
    let account = json!({ "email": "ada@example.com", "password": PASSWORD });
    assert_eq!(post(addresses[0], "register", &account).await.status, 202);
    let mut sessions = Vec::new();
    for number in 0..64 {
        let login = post(addresses[number % 3], "login", &account).await;
        assert_eq!(login.status, 200, "{}", login.text());
        sessions.push(Session::of(&login));
    }
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let mut clients = JoinSet::new();
    for (number, session) in sessions.into_iter().enumerate() {
        let told = told.clone();
        clients.spawn(async move {
            let address = addresses[number % 3];
            let logout = with_token(address, "POST", "logout", &session.access).await;
            let answer = Answer::of(logout);
            // From the very moment of the answer on, at the others.
            if let Answer::Done(_) = answer {
                told.send(()).unwrap();
                for address in addresses {
                    let verified = with_token(address, "GET", "verify", &session.access).await;
                    assert_ne!(verified.status, 200, "accepted after its logout");
                }
            }
            (session, matches!(answer, Answer::Done(_)))
        });
    }
    // In the middle of them.
    for _ in 0..8 {
        heard.recv().await.unwrap();
    }
    site.redis.kill().await;
    let mut ended = Vec::new();
    while let Some(client) = clients.join_next().await {
        let (session, is_acknowledged) = client.unwrap();
        assert!(is_acknowledged, "the database has it, which is enough");
        ended.push(session);
    }
    for restart in [false, true] {
        if restart {
            site.redis.restart_empty().await;
            site.healed(&rows).await;
        }
        for session in &ended {
            for address in addresses {
                let verified = with_token(address, "GET", "verify", &session.access).await;
                assert_eq!(verified.status, 401, "restarted: {restart}");
            }
        }
    }
}

/// More requests at once than the server lets connections in: whoever gets none is told to come again.
#[tokio::test(flavor = "multi_thread")]
async fn sec_d06_postgresql_out_of_connections_under_load() {
    let site = Site::start_with(&[("max_connections", "12")]).await;
    let addresses = site.addresses();
    let account = json!({ "email": "ada@example.com", "password": PASSWORD });
    assert_eq!(post(addresses[0], "register", &account).await.status, 202);
    let mut sessions = Vec::new();
    for number in 0..64 {
        // One pool may leave nothing to another.
        let login = again(addresses[number % 3], "login", &account).await;
        sessions.push(login);
    }
    // What the pools hold is too little for all, and what they want is more than there is.
    wait_until("the server to let nobody in", async || {
        let mut clients = JoinSet::new();
        for (number, session) in sessions.drain(..).enumerate() {
            clients.spawn(refresh_again(addresses[number % 3], session));
        }
        sessions = clients.join_all().await;
        let log = site.postgres.log();
        log.contains("too many clients").then_some(())
    })
    .await;
    let mut clients = JoinSet::new();
    for (number, session) in sessions.into_iter().enumerate() {
        clients.spawn(async move {
            let address = addresses[number % 3];
            let logout = with_token(address, "POST", "logout", &session.access).await;
            (session, Answer::of(logout))
        });
    }
    let mut ended = 0;
    for (session, answer) in clients.join_all().await {
        assert!(!matches!(answer, Answer::Refused), "a live session");
        if let Answer::Done(_) = answer {
            ended += 1;
            for address in addresses {
                let verified = with_token(address, "GET", "verify", &session.access).await;
                assert_eq!(verified.status, 401, "{}", verified.text());
            }
        }
    }
    assert!(ended > 0);
}

async fn refresh_again(address: SocketAddr, session: Session) -> Session {
    let spent = json!({ "refresh_token": session.refresh });
    again(address, "refresh", &spent).await
}

/// Repeats what was told to come again until it gives a session.
async fn again(address: SocketAddr, path: &str, body: &Value) -> Session {
    let (began, mut pace) = (Instant::now(), tokio::time::interval(PACE));
    loop {
        match Answer::of(post(address, path, body).await) {
            Answer::Done(answer) => return Session::of(&answer),
            Answer::Refused => panic!("{path} is refused"),
            Answer::Away(reason) => assert!(began.elapsed() < DEADLINE, "{reason} all the time"),
        }
        pace.tick().await;
    }
}
