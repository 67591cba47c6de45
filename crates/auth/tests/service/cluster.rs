//! A Redis Cluster under two instances, while requests come: primaries die and their replicas take over, slots move, a
//! node is lost with what it had, and nothing that was revoked is accepted. Never a mock.

use std::time::{Duration, Instant};

use portcullis_testkit::redis::cluster::Cluster;

use crate::harness::{EMAIL, Installation, Instance, PASSWORD, Tokens};

/// From the death of a primary until all of the cluster is believed again: nodes need a second to notice, and one or two
/// to agree and promote.
const RESUMED: Duration = Duration::from_secs(20);

/// The slot of the first of the eight parts.
const SLOT: u16 = 1028;

struct Deployment {
    cluster: Cluster,
    _installation: Installation,
    instances: [Instance; 2],
    live: Vec<Tokens>,
    ended: Vec<Tokens>,
}

impl Deployment {
    async fn on(cluster: Cluster) -> Self {
        let addresses = cluster.addresses();
        let settings = [
            ("REDIS_CLUSTER", addresses.as_str()),
            ("SHARED_STATE_URL", ""),
            ("CIRCUIT_BREAKER_TIMEOUT", "200"),
            ("AUTH_RATE_LIMIT_ENABLED", "false"),
        ];
        let installation = Installation::with(&settings).await;
        let instances = [installation.start("a").await, installation.start("b").await];
        instances[0].register(EMAIL, PASSWORD).await;
        let mut live = Vec::new();
        // Enough to be looked up in most of the parts.
        for _ in 0..12 {
            live.push(instances[0].login().await);
        }
        Self {
            cluster,
            _installation: installation,
            instances,
            live,
            ended: Vec::new(),
        }
    }

    /// One more session ends; it and all before are refused everywhere, and the living ones are not.
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
            for tokens in self.ended.iter().rev().take(8) {
                assert_eq!(instance.verify(&tokens.access).await.status, 401);
            }
        }
        self.live_ones_pass().await;
    }

    async fn live_ones_pass(&self) {
        for instance in &self.instances {
            for tokens in &self.live {
                assert_eq!(instance.verify(&tokens.access).await.status, 200);
            }
        }
    }

    /// How often instances had to ask the database for what the cluster should know.
    async fn fallbacks(&self) -> f64 {
        let mut all = 0.0;
        for instance in &self.instances {
            let metric = "portcullis_auth_revocation_fallbacks_total";
            all += instance.metric(metric).await;
        }
        all
    }

    /// Goes on with rounds until both instances ask the cluster for every token rather than the database.
    async fn rounds_until_healed(&mut self) {
        let began = Instant::now();
        loop {
            self.round().await;
            let before = self.fallbacks().await;
            self.live_ones_pass().await;
            if self.fallbacks().await == before {
                return;
            }
            assert!(
                began.elapsed() < RESUMED,
                "the cluster is not believed again"
            );
        }
    }

    async fn nothing_ended_is_accepted(&self) {
        for tokens in &self.ended {
            for instance in &self.instances {
                assert_eq!(instance.verify(&tokens.access).await.status, 401);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_d05_nothing_revoked_is_accepted_while_a_replica_of_a_cluster_takes_over() {
    let mut deployment = Deployment::on(Cluster::start_with_replicas(3).await).await;
    deployment.rounds_until_healed().await;
    let replica = deployment.cluster.replica_of(0);
    deployment.cluster.nodes[0].kill().await;
    while !deployment.cluster.leads(replica) {
        deployment.round().await;
    }
    deployment.rounds_until_healed().await;
    // It comes back with all it had, and takes itself for the primary for a while.
    deployment.cluster.nodes[0].restart().await;
    for _ in 0..3 {
        deployment.round().await;
    }
    deployment.nothing_ended_is_accepted().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_d05_a_primary_of_a_cluster_that_wakes_after_its_replica_took_over_is_not_believed() {
    let mut deployment = Deployment::on(Cluster::start_with_replicas(3).await).await;
    deployment.rounds_until_healed().await;
    let replica = deployment.cluster.replica_of(0);
    deployment.cluster.nodes[0].pause();
    while !deployment.cluster.leads(replica) {
        deployment.round().await;
    }
    deployment.rounds_until_healed().await;
    deployment.cluster.nodes[0].resume();
    for _ in 0..8 {
        deployment.round().await;
    }
    deployment.nothing_ended_is_accepted().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_d05_nothing_revoked_is_accepted_while_slots_of_a_cluster_move() {
    let mut deployment = Deployment::on(Cluster::start(3).await).await;
    deployment.rounds_until_healed().await;
    for (from, to) in [(0, 1), (1, 0)] {
        deployment.cluster.begin_to_move(SLOT, from, to);
        for _ in 0..3 {
            deployment.round().await;
        }
        deployment.cluster.finish_moving(SLOT, from, to);
        deployment.rounds_until_healed().await;
    }
    deployment.nothing_ended_is_accepted().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_d05_a_cluster_that_lost_a_node_is_asked_for_what_the_others_have() {
    let mut deployment = Deployment::on(Cluster::start(3).await).await;
    deployment.rounds_until_healed().await;
    deployment.cluster.nodes[1].kill().await;
    for _ in 0..3 {
        deployment.round().await;
    }
    let before = deployment.fallbacks().await;
    deployment.live_ones_pass().await;
    let fallbacks = deployment.fallbacks().await - before;
    let lookups = 2.0 * deployment.live.len() as f64;
    assert!(
        fallbacks < lookups,
        "{fallbacks} of {lookups} asked the database"
    );
    let ready = deployment.instances[0].get("/health/ready").await;
    assert_eq!(ready.status, 200);
    deployment.cluster.nodes[1].restart_empty().await;
    deployment.rounds_until_healed().await;
    deployment.nothing_ended_is_accepted().await;
}
