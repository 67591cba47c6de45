//! The contract on a real cluster, and what becomes of trust when its nodes die, take over, lose something or exchange
//! slots.

use portcullis_testkit::redis::cluster::Cluster;
use portcullis_testkit::wait_until;

use super::*;
use crate::breaker::{BreakerMode, BreakerSettings, Guard};
use crate::shared::contract::{self, Instances};
use crate::shared::guarded::GuardedShared;

const NOW: UnixMillis = UnixMillis(4_102_444_800_000);

async fn connect(cluster: &Cluster) -> ClusterShared {
    let options = RedisOptions::of_cluster(&cluster.addresses()).unwrap();
    let nodes = options.cluster.clone().unwrap();
    // One of them names the others.
    ClusterShared::connect(&options, &nodes[..1]).await
}

/// Ends the doubts of an instance as the copying job does; `store` is what the store holds.
async fn copy(shared: &ClusterShared, store: &[Revocation]) -> bool {
    let Ok(copying) = shared.begin_copy().await else {
        return false;
    };
    shared.copy_revocations(store).await.is_ok() && shared.finish_copy(copying).await.unwrap()
}

/// Copies until all of the cluster is believed, which must never be before it knows of `revoked`.
async fn heal(shared: &ClusterShared, store: &[Revocation], revoked: &[&str]) {
    wait_until("all to be believed", async || {
        let is_copied = copy(shared, store).await;
        for jti in revoked {
            match shared.is_revoked(&token(jti), NOW).await {
                Ok(is_revoked) => assert!(is_revoked, "{jti}"),
                Err(_) => return None,
            }
        }
        is_copied.then_some(())
    })
    .await;
}

async fn connect_whole(cluster: &Cluster) -> ClusterShared {
    let shared = connect(cluster).await;
    assert!(copy(&shared, &[]).await);
    shared
}

async fn run<F: Future<Output = ()>>(cluster: &Cluster, case: impl FnOnce(Instances) -> F) {
    for node in &cluster.nodes {
        node.command(&["FLUSHALL"]);
    }
    let all = [
        connect_whole(cluster).await,
        connect_whole(cluster).await,
        connect_whole(cluster).await,
    ];
    let all = all
        .map(|shared| Arc::new(shared) as Arc<dyn Shared>)
        .to_vec();
    case(Instances::that_expire_alone(all.clone())).await;
    for shared in all {
        shared.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sec_d01_the_contract_of_revocations_holds_on_a_cluster() {
    let cluster = Cluster::start(3).await;
    run(
        &cluster,
        contract::sec_d01_a_revocation_counts_on_the_very_next_request_everywhere,
    )
    .await;
    run(
        &cluster,
        contract::sec_d01_no_request_misses_a_revocation_under_load,
    )
    .await;
    run(
        &cluster,
        contract::each_kind_covers_its_tokens_and_no_others,
    )
    .await;
    run(&cluster, contract::kinds_never_meet_even_if_their_names_do).await;
    run(
        &cluster,
        contract::sec_d04_an_accounts_cut_spares_tokens_issued_after_it,
    )
    .await;
    run(
        &cluster,
        contract::sec_d02_a_revocation_ends_and_a_purge_leaves_no_trace,
    )
    .await;
    run(&cluster, contract::a_rebuild_may_be_repeated_and_be_empty).await;
    run(&cluster, contract::once_closed_nothing_is_known_any_more).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_contract_of_everything_else_holds_on_a_cluster() {
    let cluster = Cluster::start(3).await;
    run(
        &cluster,
        contract::a_raised_version_counts_on_the_very_next_request_everywhere,
    )
    .await;
    run(
        &cluster,
        contract::what_is_remembered_is_read_by_all_until_its_end,
    )
    .await;
    run(
        &cluster,
        contract::sec_a11_hits_through_all_instances_add_up,
    )
    .await;
    run(&cluster, contract::sec_a12_counters_are_independent).await;
    run(&cluster, contract::sec_a11_hits_counted_elsewhere_are_added).await;
    run(
        &cluster,
        contract::a_counters_window_begins_at_its_first_hit,
    )
    .await;
    run(&cluster, contract::allowances_are_shared_and_refill).await;
    run(
        &cluster,
        contract::an_allowance_is_given_out_once_to_all_at_once,
    )
    .await;
    run(
        &cluster,
        contract::the_later_of_two_writes_is_remembered_until_its_end,
    )
    .await;
    run(&cluster, contract::instances_live_as_long_as_they_say_so).await;
}

fn token(jti: &str) -> TokenFacts<'_> {
    TokenFacts {
        jti,
        sid: None,
        sub: "s",
        kid: "k",
        issued_at: NOW,
    }
}

fn revocation(jti: &str) -> Revocation {
    Revocation::Token {
        jti: jti.to_owned(),
        until: NOW.plus(Duration::from_secs(600)),
    }
}

/// The name of something that lies in a part.
fn name_in(part: usize) -> String {
    let mut names = (0..).map(|n| format!("token {n}"));
    names.find(|name| part_of(name.as_bytes()) == part).unwrap()
}

/// A counter that lies in a part.
fn counter_in(part: usize) -> CounterKey {
    let mut keys = (0..).map(|n: u32| CounterKey::new("a test", &[&n.to_string()]));
    keys.find(|key| part_of(key.as_bytes()) == part).unwrap()
}

/// One token of each part.
fn one_of_each_part() -> Vec<String> {
    (0..PARTS).map(name_in).collect()
}

/// The parts that a primary has at the beginning.
fn parts_of(cluster: &Cluster, node: usize) -> Vec<usize> {
    let has = |part: &usize| cluster.first_owner(parts::slot(*part)) == node;
    (0..PARTS).filter(has).collect()
}

#[tokio::test]
async fn a_check_is_one_command_to_one_node() {
    let cluster = Cluster::start(3).await;
    let shared = connect_whole(&cluster).await;
    let lookups = || {
        let of = |node: &portcullis_testkit::redis::Redis| {
            let info = node.command(&["INFO", "commandstats"]);
            let line = info.lines().find(|line| line.starts_with("cmdstat_mget"));
            let calls = line.and_then(|line| line.split_once("calls=")?.1.split(',').next());
            calls.map_or(0, |calls| calls.parse::<u64>().unwrap())
        };
        cluster.nodes.iter().map(of).sum::<u64>()
    };
    let before = lookups();
    for name in one_of_each_part() {
        let facts = TokenFacts {
            sid: Some("i"),
            ..token(&name)
        };
        assert!(!shared.is_revoked(&facts, NOW).await.unwrap());
        shared.standing(&facts, NOW).await.unwrap();
    }
    assert_eq!(lookups() - before, 2 * PARTS as u64);
}

#[tokio::test]
async fn sec_d05_a_promoted_node_is_not_believed_before_everything_was_copied_and_the_others_go_on()
{
    let mut cluster = Cluster::start_with_replicas(3).await;
    let (a, b) = (connect_whole(&cluster).await, connect_whole(&cluster).await);
    let tokens = one_of_each_part();
    let store: Vec<Revocation> = tokens.iter().map(|jti| revocation(jti)).collect();
    a.revoke(&store).await.unwrap();
    let lost = parts_of(&cluster, 0);
    cluster.nodes[0].kill().await;
    let replica = cluster.replica_of(0);
    while !cluster.leads(replica) {
        for (part, jti) in tokens.iter().enumerate() {
            let asked = b.is_revoked(&token(jti), NOW).await;
            match lost.contains(&part) {
                true => assert!(asked.is_err(), "{asked:?}"),
                false => assert!(asked.unwrap(), "part {part} is not concerned"),
            }
        }
    }
    // What asynchronous replication may have lost.
    for key in cluster.nodes[replica]
        .command(&["KEYS", "*rev:j:*"])
        .lines()
    {
        cluster.nodes[replica].command(&["DEL", key]);
    }
    let a_lost_one = token(&tokens[lost[0]]);
    wait_until("the part to answer at another place", async || {
        let asked = b.is_revoked(&a_lost_one, NOW).await;
        assert!(asked.is_err(), "{asked:?}");
        b.parts[lost[0]].ping().await.ok()
    })
    .await;
    // One that asked nothing meanwhile has no doubt of its own: the marker is what tells it.
    // It is not asked as requests do, whose failures are doubts.
    wait_until("a connection of the idle one", async || {
        let lanes = &a.parts[lost[0]].lanes;
        let asked = lanes.run(async |mut connection| {
            redis::cmd("PING").query_async::<()>(&mut connection).await
        });
        let (_, facts) = asked.await.ok()?;
        cluster.nodes[replica]
            .command(&["INFO", "server"])
            .contains(&facts.run_id)
            .then_some(())
    })
    .await;
    assert!(a.is_whole());
    let asked = a.is_revoked(&a_lost_one, NOW).await;
    assert!(asked.is_err(), "{asked:?}");
    let tokens: Vec<&str> = tokens.iter().map(String::as_str).collect();
    for shared in [&a, &b] {
        heal(shared, &store, &tokens).await;
    }
}

/// The same process, and its marker names it; but it followed another meanwhile, which may have lacked something.
#[tokio::test]
async fn sec_d05_a_node_that_was_demoted_and_promoted_again_has_another_name() {
    let cluster = Cluster::start_with_replicas(3).await;
    let (first, second) = (0, cluster.replica_of(0));
    let store = [revocation(&name_in(0))];
    let shared = connect_whole(&cluster).await;
    shared.revoke(&store).await.unwrap();
    for (node, other) in [(second, first), (first, second)] {
        wait_until("a failover", async || {
            cluster.nodes[node].command(&["CLUSTER", "FAILOVER"]);
            (cluster.leads(node) && !cluster.leads(other)).then_some(())
        })
        .await;
        wait_until("it to be noticed", async || {
            let asked = shared.is_revoked(&token(&name_in(0)), NOW).await;
            asked.is_err().then_some(())
        })
        .await;
    }
    // As a replica that lacked it would have made it.
    let key = format!("{}rev:j:{}", parts::prefix(0), name_in(0));
    assert_eq!(cluster.nodes[first].command(&["DEL", &key]), "1");
    let copying = wait_until("the node to answer", async || {
        assert!(shared.is_revoked(&token(&name_in(0)), NOW).await.is_err());
        shared.parts[0].begin().await.ok()
    });
    assert!(copying.await.is_of_everything());
    heal(&shared, &store, &[&name_in(0)]).await;
}

#[tokio::test]
async fn sec_d05_a_slot_that_moves_is_not_believed_on_the_way_and_loses_nothing() {
    let cluster = Cluster::start(3).await;
    let (a, b) = (connect_whole(&cluster).await, connect_whole(&cluster).await);
    let (moving, other) = (name_in(0), name_in(7));
    let mut store = vec![revocation(&moving), revocation(&other)];
    a.revoke(&store).await.unwrap();
    cluster.begin_to_move(parts::slot(0), 0, 1);
    store.push(revocation("late"));
    assert!(
        a.revoke(&store[2..]).await.is_err(),
        "a part could not be told"
    );
    for shared in [&a, &b] {
        // It may be told of what is there, never that something is not.
        assert!(!matches!(
            shared.is_revoked(&token(&moving), NOW).await,
            Ok(false)
        ));
        let unrevoked = (0..).map(|n| format!("free {n}"));
        let mut unrevoked = unrevoked.filter(|name| part_of(name.as_bytes()) == 0);
        let unrevoked = unrevoked.next().unwrap();
        assert!(shared.is_revoked(&token(&unrevoked), NOW).await.is_err());
        assert!(shared.is_revoked(&token(&other), NOW).await.unwrap());
        assert!(!copy(shared, &store).await, "not while it is on the way");
    }
    cluster.finish_moving(parts::slot(0), 0, 1);
    for shared in [&a, &b] {
        heal(shared, &store, &[&moving, &other, "late"]).await;
    }
    let key = format!("{}rev:j:{moving}", parts::prefix(0));
    assert_eq!(cluster.nodes[1].command(&["EXISTS", &key]), "1");
}

#[tokio::test]
async fn sec_d05_a_cluster_that_lost_a_node_goes_on_with_the_others() {
    let mut cluster = Cluster::start(3).await;
    let (a, b) = (connect_whole(&cluster).await, connect_whole(&cluster).await);
    let tokens = one_of_each_part();
    let lost = parts_of(&cluster, 1);
    cluster.nodes[1].kill().await;
    let store: Vec<Revocation> = tokens.iter().map(|jti| revocation(jti)).collect();
    wait_until("the others to answer alone", async || {
        assert!(a.revoke(&store).await.is_err(), "a part could not be told");
        assert!(!a.is_whole() && a.is_current());
        assert!(!copy(&a, &store).await);
        for (part, jti) in tokens.iter().enumerate() {
            let asked = a.is_revoked(&token(jti), NOW).await;
            if !lost.contains(&part) && !matches!(asked, Ok(true)) {
                return None;
            }
        }
        Some(())
    })
    .await;
    for part in &lost {
        for shared in [&a, &b] {
            let asked = shared.is_revoked(&token(&tokens[*part]), NOW).await;
            assert!(matches!(
                asked,
                Err(SharedError::Incomplete { .. } | SharedError::PartUnavailable { .. })
            ));
        }
    }
    assert!(
        a.ping().await.is_err(),
        "it is said that something is missing"
    );
    cluster.nodes[1].restart().await;
    // What came meanwhile is not in it, although its marker was not lost.
    let tokens: Vec<&str> = tokens.iter().map(String::as_str).collect();
    heal(&b, &store, &tokens).await;
}

#[tokio::test]
async fn sec_a11_counters_of_nodes_that_are_there_are_counted_once_while_another_is_away() {
    const WINDOW: Duration = Duration::from_secs(600);
    let mut cluster = Cluster::start(3).await;
    let settings = BreakerSettings {
        failures: std::num::NonZeroU32::new(5).unwrap(),
        open_for: Duration::from_secs(600),
        mode: BreakerMode::Enforce,
    };
    let guard = Arc::new(Guard::new("shared_state", settings));
    let guarded = GuardedShared::new(Arc::new(connect_whole(&cluster).await), guard);
    let lost = parts_of(&cluster, 1);
    let there = counter_in(0);
    assert!(!lost.contains(&0));
    let away = counter_in(lost[0]);
    cluster.nodes[1].kill().await;
    for round in 1..=20 {
        let found = guarded.count(&[away], WINDOW, NOW).await.unwrap();
        assert_eq!(found[0].count, round, "counted here");
        let found = guarded.count(&[there], WINDOW, NOW).await.unwrap();
        assert_eq!(
            found[0].count, round,
            "counted there, and the breaker is closed"
        );
    }
    cluster.nodes[1].restart().await;
    wait_until("both", async || {
        let found = guarded.counters(&[there, away], NOW).await.unwrap();
        let found: Vec<u32> = found.iter().map(|of| of.count).collect();
        (guarded.hand_over(NOW).await.is_ok() && found == [20, 20]).then_some(())
    })
    .await;
    let found = guarded.count(&[there, away], WINDOW, NOW).await.unwrap();
    assert_eq!((found[0].count, found[1].count), (21, 21));
}

#[tokio::test]
async fn an_allowance_is_given_back_where_one_in_another_part_refuses() {
    let cluster = Cluster::start(3).await;
    let shared = connect_whole(&cluster).await;
    let allowance = |part: usize, limit: u32| Allowance {
        key: counter_in(part),
        limit: limit.try_into().unwrap(),
        period: Duration::from_secs(60),
    };
    let (wide, tight) = (allowance(1, 5), allowance(6, 2));
    let both = [wide, tight];
    for _ in 0..2 {
        assert!(shared.take(&both, NOW).await.unwrap().unwrap().is_allowed);
    }
    for _ in 0..20 {
        let refused = shared.take(&both, NOW).await.unwrap().unwrap();
        assert_eq!((refused.is_allowed, refused.limit), (false, 2));
        assert_eq!(refused.retry_after, Duration::from_secs(30));
    }
    let left = shared.take(&[wide], NOW).await.unwrap().unwrap();
    assert_eq!((left.is_allowed, left.remaining), (true, 2));
}

#[tokio::test]
async fn a_cluster_that_is_not_there_is_found_later() {
    let mut cluster = Cluster::start(3).await;
    for node in &mut cluster.nodes {
        node.kill().await;
    }
    let shared = connect(&cluster).await;
    assert!(matches!(
        shared.ping().await,
        Err(SharedError::Unavailable { .. })
    ));
    for node in &mut cluster.nodes {
        node.restart().await;
    }
    wait_until("the cluster", async || {
        copy(&shared, &[]).await.then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_size_is_that_of_all_nodes_once() {
    let cluster = Cluster::start(3).await;
    let shared = connect_whole(&cluster).await;
    let keys = cluster.nodes.iter().map(|node| node.command(&["DBSIZE"]));
    let keys: u64 = keys.map(|text| text.parse::<u64>().unwrap()).sum();
    let usage = shared.usage().await.unwrap().unwrap();
    assert_eq!((usage.entries, keys), (PARTS as u64, PARTS as u64));
    assert!(usage.bytes > 0);
}
