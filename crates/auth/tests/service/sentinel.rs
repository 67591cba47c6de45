//! A Redis with a replica and three Sentinels, while requests come: the primary is killed or stopped, the replica takes
//! over, and nothing that was revoked is accepted. Never a mock.

use std::time::{Duration, Instant};

use portcullis_testkit::redis::Redis;
use portcullis_testkit::redis::sentinel::{NAME, Sentinels};
use portcullis_testkit::wait_until;

use crate::harness::{EMAIL, Installation, Instance, PASSWORD, Tokens};

/// From the death of the primary until Redis is believed again: Sentinels need half a second to notice and a second or
/// two to agree and promote.
const RESUMED: Duration = Duration::from_secs(15);

struct Deployment {
    primary: Redis,
    replica: Redis,
    sentinels: Sentinels,
    _installation: Installation,
    instances: [Instance; 2],
    live: Tokens,
    ended: Vec<Tokens>,
}

impl Deployment {
    async fn start() -> Self {
        let primary = Redis::start().await;
        let replica = Redis::start_replica(&primary).await;
        let sentinels = Sentinels::watch(&primary).await;
        let addresses = sentinels.addresses();
        let settings = [
            ("REDIS_SENTINELS", addresses.as_str()),
            ("REDIS_SENTINEL_MASTER", NAME),
            ("SHARED_STATE_URL", ""),
            ("CIRCUIT_BREAKER_TIMEOUT", "200"),
            ("AUTH_RATE_LIMIT_ENABLED", "false"),
        ];
        let installation = Installation::with(&settings).await;
        let instances = [installation.start("a").await, installation.start("b").await];
        instances[0].register(EMAIL, PASSWORD).await;
        let live = instances[0].login().await;
        Self {
            primary,
            replica,
            sentinels,
            _installation: installation,
            instances,
            live,
            ended: Vec::new(),
        }
    }

    /// One more session ends; it and all before are refused everywhere, and the living one is not.
    async fn round(&mut self) {
        let [a, b] = &self.instances;
        let (one, other) = match self.ended.len() % 2 {
            0 => (a, b),
            _ => (b, a),
        };
        let tokens = one.login().await;
        assert_eq!(other.verify(&tokens.access).await.status, 200);
        assert_eq!(one.logout(&tokens.access).await.status, 204);
        self.ended.push(tokens);
        for instance in [other, one] {
            for tokens in self.ended.iter().rev().take(5) {
                assert_eq!(instance.verify(&tokens.access).await.status, 401);
            }
            assert_eq!(instance.verify(&self.live.access).await.status, 200);
        }
    }

    /// Goes on with rounds until both instances ask Redis again rather than the database.
    async fn rounds_until_healed(&mut self) {
        let metric = "portcullis_auth_revocation_fallbacks_total";
        let began = Instant::now();
        loop {
            self.round().await;
            let mut is_healed = true;
            for instance in &self.instances {
                let before = instance.metric(metric).await;
                assert_eq!(instance.verify(&self.live.access).await.status, 200);
                is_healed &= instance.metric(metric).await == before;
            }
            if is_healed {
                return;
            }
            assert!(began.elapsed() < RESUMED, "Redis is not believed again");
        }
    }

    fn leads(redis: &Redis) -> bool {
        redis
            .command(&["INFO", "replication"])
            .contains("role:master")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_d05_nothing_revoked_is_accepted_while_sentinel_makes_a_replica_take_over() {
    let mut deployment = Deployment::start().await;
    deployment.rounds_until_healed().await;
    let marker = deployment.primary.command(&["GET", "rev:loaded"]);
    deployment.sentinels.kill_one().await;
    deployment.primary.kill().await;
    while !Deployment::leads(&deployment.replica) {
        deployment.round().await;
    }
    deployment.rounds_until_healed().await;
    let promoted = deployment.replica.command(&["GET", "rev:loaded"]);
    assert_ne!(
        promoted, marker,
        "it was not believed before everything was copied"
    );
    let told = deployment.replica.command(&["INFO", "server"]);
    assert!(told.contains(&promoted), "{promoted} is its name");
    // The old primary comes back, with all it had, and takes itself for the primary for a while.
    deployment.primary.restart().await;
    for _ in 0..5 {
        deployment.round().await;
    }
    for tokens in &deployment.ended {
        for instance in &deployment.instances {
            assert_eq!(instance.verify(&tokens.access).await.status, 401);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_d05_a_primary_that_wakes_after_its_replica_took_over_is_not_believed() {
    let mut deployment = Deployment::start().await;
    deployment.rounds_until_healed().await;
    deployment.primary.pause();
    wait_until("the replica to lead", async || {
        Deployment::leads(&deployment.replica).then_some(())
    })
    .await;
    deployment.rounds_until_healed().await;
    deployment.primary.resume();
    for _ in 0..10 {
        deployment.round().await;
    }
    assert!(Deployment::leads(&deployment.replica));
}
