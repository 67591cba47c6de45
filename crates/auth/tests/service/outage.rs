//! The shared state away, while requests come: nothing that was revoked is accepted, nobody waits long, and it heals.
//! Never a mock: a Redis is killed, paused and restarted.

use std::time::{Duration, Instant};

use portcullis_testkit::fault::{Fault, FaultProxy};
use portcullis_testkit::redis::Redis;
use portcullis_testkit::wait_until;
use serde_json::json;

use crate::harness::{EMAIL, Installation, Instance, PASSWORD, Tokens};

/// Two instances on one database and one Redis.
struct Cluster {
    redis: Redis,
    installation: Installation,
    a: Instance,
    b: Instance,
}

impl Cluster {
    async fn start(more: &[(&str, &str)]) -> Self {
        Self::start_on(Installation::new().await, more).await
    }

    async fn start_on(installation: Installation, more: &[(&str, &str)]) -> Self {
        let redis = Redis::start().await;
        let url = redis.url();
        let mut settings = vec![
            ("REDIS_URL", url.as_str()),
            // Tests do not wait for a minute.
            ("CIRCUIT_BREAKER_TIMEOUT", "200"),
        ];
        settings.extend_from_slice(more);
        let (a, b) = (
            installation.start_with("a", &settings).await,
            installation.start_with("b", &settings).await,
        );
        Self {
            redis,
            installation,
            a,
            b,
        }
    }

    async fn verified(&self, tokens: &Tokens) -> [u16; 2] {
        let (a, b) = (
            self.a.verify(&tokens.access).await,
            self.b.verify(&tokens.access).await,
        );
        [a.status, b.status]
    }

    async fn healed_from_refusal(&self, tokens: &Tokens) {
        wait_until("verification again", async || {
            (self.verified(tokens).await == [200, 200]).then_some(())
        })
        .await;
    }

    /// Waits until both instances ask Redis again rather than the database.
    async fn healed(&self, live: &Tokens) {
        let metric = "portcullis_auth_revocation_fallbacks_total";
        for instance in [&self.a, &self.b] {
            wait_until("trust in Redis", async || {
                let before = instance.metric(metric).await;
                assert_eq!(instance.verify(&live.access).await.status, 200);
                (instance.metric(metric).await == before).then_some(())
            })
            .await;
        }
    }
}

#[tokio::test]
async fn sec_d05_a_logout_outlives_the_kill_of_redis_right_after_it() {
    a_logout_outlives_redis(Cluster::start(&[]).await).await;
}

#[tokio::test]
async fn sec_d05_a_logout_outlives_the_kill_of_redis_right_after_it_on_postgresql() {
    a_logout_outlives_redis(Cluster::start_on(Installation::on_postgres().await, &[]).await).await;
}

async fn a_logout_outlives_redis(mut cluster: Cluster) {
    let ended = cluster.a.register_and_login().await;
    let live = cluster.b.login().await;
    assert_eq!(cluster.a.logout(&ended.access).await.status, 204);
    cluster.redis.kill().await;
    assert_eq!(cluster.verified(&ended).await, [401, 401]);
    assert_eq!(cluster.verified(&live).await, [200, 200]);
    // Empty, and it answers before anybody has told it anything.
    cluster.redis.restart_empty().await;
    for _ in 0..50 {
        assert_eq!(cluster.verified(&ended).await, [401, 401]);
    }
    cluster.healed(&live).await;
    assert_eq!(cluster.verified(&ended).await, [401, 401]);
    assert_eq!(cluster.redis.command(&["EXISTS", "rev:loaded"]), "1");
}

#[tokio::test]
async fn sec_d06_a_logout_while_redis_is_away_holds_everywhere_and_is_replayed() {
    let mut cluster = Cluster::start(&[]).await;
    let first = cluster.a.register_and_login().await;
    let second = cluster.a.login().await;
    let live = cluster.b.login().await;
    cluster.redis.kill().await;
    assert_eq!(cluster.a.logout(&first.access).await.status, 204);
    assert_eq!(cluster.verified(&first).await, [401, 401]);
    assert_eq!(cluster.verified(&live).await, [200, 200]);
    assert_eq!(cluster.b.refresh(&first.refresh).await.status, 401);
    cluster.redis.restart().await;
    for _ in 0..50 {
        assert_eq!(cluster.verified(&first).await, [401, 401]);
    }
    cluster.healed(&live).await;
    cluster.redis.pause();
    assert_eq!(cluster.b.logout(&second.access).await.status, 204);
    assert_eq!(cluster.verified(&second).await, [401, 401]);
    cluster.redis.resume();
    for _ in 0..50 {
        assert_eq!(cluster.verified(&second).await, [401, 401]);
    }
    cluster.healed(&live).await;
    assert_eq!(cluster.verified(&first).await, [401, 401]);
}

#[tokio::test]
async fn sec_d06_without_redis_everything_goes_on_and_readiness_says_so() {
    let mut cluster = Cluster::start(&[]).await;
    let tokens = cluster.a.register_and_login().await;
    cluster.redis.kill().await;
    let started = Instant::now();
    assert_eq!(cluster.a.try_login(EMAIL, PASSWORD).await.status, 200);
    assert_eq!(cluster.a.try_login(EMAIL, "wrong").await.status, 401);
    assert_eq!(cluster.a.refresh(&tokens.refresh).await.status, 200);
    assert_eq!(
        cluster.a.register("bob@example.com", PASSWORD).await.status,
        202
    );
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "nobody waits for what is away"
    );
    let ready = wait_until("readiness to notice", async || {
        let ready = cluster.a.get("/health/ready").await;
        assert_eq!(ready.status, 200);
        ready.json()["degraded"].is_array().then_some(ready)
    })
    .await;
    assert_eq!(ready.json()["degraded"], json!(["redis"]));
    let detailed = cluster.a.get("/health/detailed").await;
    assert_eq!(detailed.status, 503);
    assert_eq!(detailed.json()["checks"]["redis"], json!("unhealthy"));
    let balancer = cluster.a.get("/api/v1/load-balancer/health").await.json();
    assert_eq!(balancer["status"], json!("degraded"));
    assert_eq!(balancer["loadBalancer"]["sessionStore"], json!("redis"));
    assert_eq!(balancer["dependencies"]["redis"], json!("unhealthy"));
    // Guessing is slowed down by each instance alone.
    let answers = wait_until("a lock", async || {
        for _ in 0..6 {
            cluster.b.try_login(EMAIL, "wrong").await;
        }
        (cluster.b.try_login(EMAIL, PASSWORD).await.status == 401).then_some(())
    });
    answers.await;
}

#[tokio::test]
async fn sec_d06_an_instance_starts_without_redis_and_takes_it_up_later() {
    let mut redis = Redis::start().await;
    let url = redis.url();
    redis.kill().await;
    let installation = Installation::new().await;
    let instance = installation.start_with("a", &[("REDIS_URL", &url)]).await;
    let tokens = instance.register_and_login().await;
    assert_eq!(instance.verify(&tokens.access).await.status, 200);
    assert_eq!(instance.logout(&tokens.access).await.status, 204);
    assert_eq!(instance.verify(&tokens.access).await.status, 401);
    redis.restart().await;
    wait_until("the copy", async || {
        let key = redis.command(&["KEYS", "rev:s:*"]);
        (!key.is_empty()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn sec_d06_logins_stop_without_redis_where_they_are_told_to() {
    let mut cluster =
        Cluster::start(&[("LOGIN_DEGRADED", "deny"), ("REVOCATION_DEGRADED", "deny")]).await;
    let tokens = cluster.a.register_and_login().await;
    cluster.redis.kill().await;
    let refused = cluster.a.try_login(EMAIL, PASSWORD).await;
    crate::harness::assert_problem(&refused, 503, "shared_state_unavailable");
    assert_eq!(cluster.verified(&tokens).await, [503, 503]);
    cluster.redis.restart().await;
    cluster.healed_from_refusal(&tokens).await;
}

#[tokio::test]
async fn sec_d06_a_logout_at_an_instance_cut_off_from_redis_holds_at_once_where_redis_answers() {
    let (redis, installation) = (Redis::start().await, Installation::new().await);
    let between = FaultProxy::start(redis.address()).await;
    let cut_off = format!("redis://{}/0", between.address());
    let a = installation
        .start_with("a", &[("REDIS_URL", &redis.url())])
        .await;
    let b = installation
        .start_with("b", &[("REDIS_URL", &cut_off)])
        .await;
    a.register(EMAIL, PASSWORD).await;
    for fault in [Fault::Cut, Fault::Blackhole, Fault::None, Fault::Cut] {
        let tokens = b.login().await;
        assert_eq!(a.verify(&tokens.access).await.status, 200, "{fault:?}");
        between.set(fault);
        assert_eq!(b.logout(&tokens.access).await.status, 204, "{fault:?}");
        assert_eq!(a.verify(&tokens.access).await.status, 401, "{fault:?}");
        assert_eq!(b.verify(&tokens.access).await.status, 401, "{fault:?}");
    }
}

#[tokio::test]
async fn sec_d06_a_database_that_hangs_holds_up_no_verification_while_redis_answers() {
    let cluster = Cluster::start_on(Installation::on_postgres().await, &[]).await;
    let (live, ended) = (
        cluster.a.register_and_login().await,
        cluster.b.login().await,
    );
    assert_eq!(cluster.b.logout(&ended.access).await.status, 204);
    let database = cluster.installation.server.as_ref().unwrap();
    database.pause();
    // Longer than any lease and than the first look that hangs.
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(2) {
        let asked = Instant::now();
        assert_eq!(cluster.verified(&live).await, [200, 200]);
        assert_eq!(cluster.verified(&ended).await, [401, 401]);
        assert!(
            asked.elapsed() < Duration::from_secs(2),
            "{:?}",
            asked.elapsed()
        );
    }
    cluster.installation.server.as_ref().unwrap().resume();
}

/// Requests all the while: every token that was ended is refused from then on, whatever happens to Redis.
async fn nothing_revoked_is_accepted(mut cluster: Cluster) {
    cluster.a.register(EMAIL, PASSWORD).await;
    let live = cluster.a.login().await;
    let mut ended = Vec::new();
    for round in 0..8 {
        match round {
            1 => cluster.redis.kill().await,
            2 => cluster.redis.restart_empty().await,
            4 => cluster.redis.pause(),
            5 => cluster.redis.resume(),
            6 => cluster.redis.restart().await,
            7 => assert_eq!(cluster.redis.command(&["FLUSHALL"]), "OK"),
            _ => {}
        }
        let tokens = cluster.b.login().await;
        assert_eq!(cluster.verified(&tokens).await, [200, 200], "round {round}");
        assert_eq!(
            cluster.b.logout(&tokens.access).await.status,
            204,
            "round {round}"
        );
        ended.push(tokens);
        for tokens in &ended {
            assert_eq!(cluster.verified(tokens).await, [401, 401], "round {round}");
        }
        assert_eq!(cluster.verified(&live).await, [200, 200], "round {round}");
    }
    cluster.healed(&live).await;
    for tokens in &ended {
        assert_eq!(cluster.verified(tokens).await, [401, 401]);
    }
}

#[tokio::test]
async fn sec_d06_nothing_revoked_is_accepted_while_redis_comes_and_goes() {
    nothing_revoked_is_accepted(Cluster::start(&[]).await).await;
}

#[tokio::test]
async fn sec_d06_nothing_revoked_is_accepted_while_redis_comes_and_goes_on_postgresql() {
    nothing_revoked_is_accepted(Cluster::start_on(Installation::on_postgres().await, &[]).await)
        .await;
}
