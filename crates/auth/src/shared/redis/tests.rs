//! The contract on a real Redis, and what becomes of trust when that Redis dies, hangs, forgets or is replaced.

use portcullis_testkit::redis::Redis;
use portcullis_testkit::{Authority, wait_until};

use super::*;
use crate::breaker::{BreakerMode, BreakerSettings, Guard};
use crate::domain::{AccountId, SessionId};
use crate::shared::contract::{self, Instances};
use crate::shared::guarded::GuardedShared;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

async fn connect(redis: &Redis) -> RedisShared {
    let options = RedisOptions::parse(&redis.url()).unwrap();
    RedisShared::connect(&options).await.unwrap()
}

/// Ends the doubts of an instance as the copying job does; `store` is what the store holds.
async fn copy(shared: &RedisShared, store: &[Revocation]) -> SharedResult<bool> {
    let copying = shared.begin_copy().await?;
    shared.revoke(store).await?;
    shared.finish_copy(copying).await
}

async fn connect_whole(redis: &Redis) -> RedisShared {
    let shared = connect(redis).await;
    assert!(copy(&shared, &[]).await.unwrap());
    shared
}

/// Runs a case of the contract with three instances on one Redis.
fn on_redis<F: Future<Output = ()>>(case: impl FnOnce(Instances) -> F) {
    block_on(async {
        let redis = Redis::start().await;
        let all = [
            connect_whole(&redis).await,
            connect_whole(&redis).await,
            connect_whole(&redis).await,
        ];
        let all = all
            .map(|shared| Arc::new(shared) as Arc<dyn Shared>)
            .to_vec();
        case(Instances::that_expire_alone(all.clone())).await;
        for shared in all {
            shared.close().await;
        }
    });
}

#[test]
fn sec_d01_a_revocation_counts_on_the_very_next_request_everywhere() {
    on_redis(contract::sec_d01_a_revocation_counts_on_the_very_next_request_everywhere);
}

#[test]
fn sec_d01_no_request_misses_a_revocation_under_load() {
    on_redis(contract::sec_d01_no_request_misses_a_revocation_under_load);
}

#[test]
fn each_kind_covers_its_tokens_and_no_others() {
    on_redis(contract::each_kind_covers_its_tokens_and_no_others);
}

#[test]
fn kinds_never_meet_even_if_their_names_do() {
    on_redis(contract::kinds_never_meet_even_if_their_names_do);
}

#[test]
fn sec_d04_an_accounts_cut_spares_tokens_issued_after_it() {
    on_redis(contract::sec_d04_an_accounts_cut_spares_tokens_issued_after_it);
}

#[test]
fn sec_d02_a_revocation_ends_and_a_purge_leaves_no_trace() {
    on_redis(contract::sec_d02_a_revocation_ends_and_a_purge_leaves_no_trace);
}

#[test]
fn a_raised_version_counts_on_the_very_next_request_everywhere() {
    on_redis(contract::a_raised_version_counts_on_the_very_next_request_everywhere);
}

#[test]
fn what_is_remembered_is_read_by_all_until_its_end() {
    on_redis(contract::what_is_remembered_is_read_by_all_until_its_end);
}

#[test]
fn a_rebuild_may_be_repeated_and_be_empty() {
    on_redis(contract::a_rebuild_may_be_repeated_and_be_empty);
}

#[test]
fn sec_a11_hits_through_all_instances_add_up() {
    on_redis(contract::sec_a11_hits_through_all_instances_add_up);
}

#[test]
fn sec_a12_counters_are_independent() {
    on_redis(contract::sec_a12_counters_are_independent);
}

#[test]
fn sec_a11_hits_counted_elsewhere_are_added() {
    on_redis(contract::sec_a11_hits_counted_elsewhere_are_added);
}

#[test]
fn a_counters_window_begins_at_its_first_hit() {
    on_redis(contract::a_counters_window_begins_at_its_first_hit);
}

#[test]
fn allowances_are_shared_and_refill() {
    on_redis(contract::allowances_are_shared_and_refill);
}

#[test]
fn an_allowance_is_given_out_once_to_all_at_once() {
    on_redis(contract::an_allowance_is_given_out_once_to_all_at_once);
}

#[test]
fn the_later_of_two_writes_is_remembered_until_its_end() {
    on_redis(contract::the_later_of_two_writes_is_remembered_until_its_end);
}

#[test]
fn instances_live_as_long_as_they_say_so() {
    on_redis(contract::instances_live_as_long_as_they_say_so);
}

#[test]
fn once_closed_nothing_is_known_any_more() {
    on_redis(contract::once_closed_nothing_is_known_any_more);
}

const NOW: UnixMillis = UnixMillis(4_102_444_800_000);

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

/// Until the instance has made its connection again.
async fn reconnected(shared: &RedisShared) {
    wait_until("the connection", async || shared.ping().await.ok()).await;
}

#[tokio::test]
async fn sec_d05_an_emptied_redis_is_not_believed_until_everything_was_copied_again() {
    let mut redis = Redis::start().await;
    let (a, b) = (connect_whole(&redis).await, connect_whole(&redis).await);
    a.revoke(&[revocation("t")]).await.unwrap();
    redis.restart_empty().await;
    for shared in [&a, &b] {
        reconnected(shared).await;
        assert!(shared.is_revoked(&token("t"), NOW).await.is_err());
    }
    // What copies only the newest would leave it without the old ones.
    assert!(a.begin_copy().await.unwrap().is_of_everything());
    assert!(copy(&a, &[revocation("t")]).await.unwrap());
    assert!(a.is_revoked(&token("t"), NOW).await.unwrap());
    assert!(
        b.is_revoked(&token("t"), NOW).await.is_err(),
        "b has not looked yet"
    );
    assert!(
        !b.begin_copy().await.unwrap().is_of_everything(),
        "a has done that"
    );
    assert!(copy(&b, &[]).await.unwrap());
    assert!(b.is_revoked(&token("t"), NOW).await.unwrap());
}

#[tokio::test]
async fn sec_d05_a_redis_restarted_with_its_data_may_have_lost_the_last_of_it() {
    let mut redis = Redis::start().await;
    let shared = connect_whole(&redis).await;
    redis.restart().await;
    reconnected(&shared).await;
    assert!(shared.is_revoked(&token("t"), NOW).await.is_err());
    assert!(shared.begin_copy().await.unwrap().is_of_everything());
}

#[tokio::test]
async fn sec_d05_a_flushed_redis_is_noticed_by_whoever_asks_next() {
    let redis = Redis::start().await;
    let shared = connect_whole(&redis).await;
    shared.revoke(&[revocation("t")]).await.unwrap();
    redis.command(&["FLUSHALL"]);
    let asked = shared.is_revoked(&token("t"), NOW).await;
    assert!(
        matches!(asked, Err(SharedError::Incomplete { .. })),
        "{asked:?}"
    );
    assert!(!shared.is_whole());
}

#[tokio::test]
async fn what_was_noted_of_a_write_is_not_taken_for_nothing_when_it_was_lost() {
    let redis = Redis::start().await;
    let shared = connect_whole(&redis).await;
    let account = AccountId::from_random([1; 16]);
    let position = WalPosition {
        timeline: 1,
        position: 500,
    };
    let ttl = Duration::from_secs(30);
    let written = [account];
    let noting = shared.note_written(&written, position, ttl, NOW);
    noting.await.unwrap();
    redis.command(&["FLUSHALL"]);
    assert!(shared.written(account, NOW).await.is_err());
    assert!(copy(&shared, &[]).await.unwrap());
    assert_eq!(shared.written(account, NOW).await.unwrap(), None);
}

#[tokio::test]
async fn sec_d05_a_copy_that_lost_its_beginning_does_not_count() {
    let mut redis = Redis::start().await;
    let shared = connect(&redis).await;
    let copying = shared.begin_copy().await.unwrap();
    redis.command(&["FLUSHALL"]);
    assert!(!shared.finish_copy(copying).await.unwrap());
    let copying = shared.begin_copy().await.unwrap();
    redis.restart().await;
    reconnected(&shared).await;
    assert!(
        !shared.finish_copy(copying).await.unwrap(),
        "another process"
    );
    assert!(shared.is_revoked(&token("t"), NOW).await.is_err());
    assert!(copy(&shared, &[]).await.unwrap());
}

#[tokio::test]
async fn sec_d05_what_fails_while_a_copy_goes_on_needs_another() {
    let redis = Redis::start().await;
    let shared = connect(&redis).await;
    let copying = shared.begin_copy().await.unwrap();
    shared.trust.doubt();
    assert!(!shared.finish_copy(copying).await.unwrap());
    assert!(!shared.is_whole());
}

#[tokio::test]
async fn a_redis_that_may_evict_is_never_asked_for_revocations() {
    let redis = Redis::start().await;
    redis.command(&["CONFIG", "SET", "maxmemory", "100mb"]);
    redis.command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    let shared = connect(&redis).await;
    assert!(copy(&shared, &[]).await.is_err());
    assert!(shared.is_revoked(&token("t"), NOW).await.is_err());
    let key = [CounterKey::new("a test", &[])];
    let counted = shared.count(&key, Duration::from_secs(1), NOW).await;
    assert_eq!(counted.unwrap()[0].count, 1, "a counter may be lost");
}

#[tokio::test]
async fn a_redis_without_room_for_a_revocation_is_believed_by_nobody() {
    let redis = Redis::start().await;
    let (a, b) = (connect_whole(&redis).await, connect_whole(&redis).await);
    redis.command(&["CONFIG", "SET", "maxmemory", "1"]);
    assert!(a.revoke(&[revocation("t")]).await.is_err());
    for shared in [&a, &b] {
        assert!(shared.is_revoked(&token("t"), NOW).await.is_err());
    }
    assert!(a.can_write().await.is_err());
    redis.command(&["CONFIG", "SET", "maxmemory", "0"]);
    assert!(copy(&b, &[revocation("t")]).await.unwrap());
    assert!(b.is_revoked(&token("t"), NOW).await.unwrap());
}

#[tokio::test]
async fn a_paused_redis_costs_one_timeout_and_then_nothing() {
    let redis = Redis::start().await;
    let shared = connect_whole(&redis).await;
    redis.pause();
    let started = Instant::now();
    assert!(shared.ping().await.is_err());
    assert!(started.elapsed() < Duration::from_secs(2));
    let started = Instant::now();
    for _ in 0..100 {
        assert!(shared.ping().await.is_err());
        assert!(shared.is_revoked(&token("t"), NOW).await.is_err());
    }
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "nobody waits for a connection"
    );
    redis.resume();
    reconnected(&shared).await;
    assert!(copy(&shared, &[]).await.unwrap());
}

#[tokio::test]
async fn an_instance_starts_without_redis_and_finds_it_later() {
    let mut redis = Redis::start().await;
    redis.kill().await;
    let shared = connect(&redis).await;
    assert!(shared.ping().await.is_err() && shared.can_write().await.is_err());
    redis.restart().await;
    reconnected(&shared).await;
    assert!(copy(&shared, &[]).await.unwrap());
}

#[tokio::test]
async fn a_check_is_one_command() {
    let redis = Redis::start().await;
    let shared = connect_whole(&redis).await;
    let processed = || {
        let info = redis.command(&["INFO", "commandstats"]);
        let calls = |line: &str| {
            line.split_once("calls=")?
                .1
                .split(',')
                .next()?
                .parse::<u64>()
                .ok()
        };
        let of = |name: &str| {
            info.lines()
                .find(|line| line.starts_with(name))
                .and_then(calls)
        };
        let all = info
            .lines()
            .filter(|line| !line.starts_with("cmdstat_info"));
        (
            all.filter_map(calls).sum::<u64>(),
            of("cmdstat_mget").unwrap_or(0),
        )
    };
    let before = processed();
    for _ in 0..10 {
        let facts = TokenFacts {
            sid: Some("i"),
            ..token("t")
        };
        assert!(!shared.is_revoked(&facts, NOW).await.unwrap());
    }
    let after = processed();
    assert_eq!((after.0 - before.0, after.1 - before.1), (10, 10));
}

#[tokio::test]
async fn sec_d02_nothing_is_left_in_redis_when_it_has_ended() {
    let redis = Redis::start().await;
    let shared = connect_whole(&redis).await;
    let now = UnixMillis::from_system(SystemTime::now());
    // Over already, for Redis too, whose entries outlive their end by what clocks may differ.
    let until = UnixMillis(now.0 - 31_000);
    let sid = SessionId::from_random([1; 16]);
    let sub = AccountId::from_random([2; 16]);
    let ended = [
        Revocation::Session { sid, until },
        Revocation::Account {
            sub,
            not_before: until,
            until,
        },
    ];
    shared.revoke(&ended).await.unwrap();
    assert_eq!(redis.command(&["KEYS", "rev:[jsuk]:*"]), "");
    let live = Revocation::Session {
        sid,
        until: now.plus(Duration::from_secs(10)),
    };
    shared.revoke(&[live]).await.unwrap();
    let ttl = |key: &str| redis.command(&["PTTL", key]).parse::<i64>().unwrap();
    let left = ttl(&format!("rev:s:{sid}"));
    assert!((30_000..=40_000).contains(&left), "{left}");
    let counted = [CounterKey::new("a test", &[])];
    shared
        .count(&counted, Duration::from_secs(5), now)
        .await
        .unwrap();
    let left = ttl(&shared.keys.counter(&counted[0]));
    assert!((1..=5_000).contains(&left), "{left}");
}

#[tokio::test]
async fn a_revocation_is_one_key_and_nothing_else() {
    let redis = Redis::start().await;
    let shared = connect_whole(&redis).await;
    let before = redis.command(&["DBSIZE"]).parse::<u64>().unwrap();
    for _ in 0..3 {
        let both = [revocation("t1"), revocation("t2")];
        shared.revoke(&both).await.unwrap();
    }
    let after = redis.command(&["DBSIZE"]).parse::<u64>().unwrap();
    assert_eq!(after - before, 2);
}

#[tokio::test]
async fn more_connections_are_opened_under_load_and_never_too_many() {
    let redis = Redis::start().await;
    let mut options = RedisOptions::parse(&redis.url()).unwrap();
    let connections = || {
        let clients = redis.command(&["CLIENT", "LIST"]);
        clients
            .lines()
            .filter(|line| !line.contains("cmd=client"))
            .count()
    };
    for most in [1, 3] {
        options.pool_size = std::num::NonZeroUsize::new(most).unwrap();
        let shared = Arc::new(RedisShared::connect(&options).await.unwrap());
        assert_eq!(connections(), 1, "one suffices without load");
        let reached = wait_until("the connections", async || {
            let tasks = (0..500).map(|_| {
                let shared = shared.clone();
                async move { shared.ping().await.unwrap() }
            });
            crate::store::contract::all_at_once(tasks).await;
            let open = connections();
            (open >= most).then_some(open)
        });
        assert_eq!(reached.await, most);
        shared.close().await;
        wait_until("the end", async || (connections() == 0).then_some(())).await;
    }
}

#[tokio::test]
async fn a_password_is_given_and_a_wrong_one_shows_nowhere() {
    let redis = Redis::start_with_password("open sesame").await;
    let url = redis.url().replace(' ', "%20");
    let right = RedisShared::connect(&RedisOptions::parse(&url).unwrap()).await;
    right.unwrap().ping().await.unwrap();
    let url = url.replace("open", "hunter2");
    let wrong = RedisShared::connect(&RedisOptions::parse(&url).unwrap()).await;
    let error = wrong.unwrap().ping().await.unwrap_err();
    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
}

#[tokio::test]
async fn tls_is_used_and_trusts_only_whom_it_is_told() {
    // A second use in one process fails and changes nothing.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let (authority, other) = (Authority::new(), Authority::new());
    let redis = Redis::start_with_tls(&authority).await;
    let mut options = RedisOptions::parse(&redis.url()).unwrap();
    for (root, is_trusted) in [(authority.root_file(), true), (other.root_file(), false)] {
        options.tls = Some(RedisTrust::Authorities(root));
        let shared = RedisShared::connect(&options).await.unwrap();
        assert_eq!(shared.ping().await.is_ok(), is_trusted);
    }
    options.tls = Some(RedisTrust::Authorities("/nowhere".into()));
    let missing = RedisShared::connect(&options).await;
    assert!(matches!(missing, Err(RedisSetupError::Authorities(_))));
}

#[test]
fn sec_a11_what_was_counted_alone_is_added_up_once_when_redis_is_back() {
    const NOW: UnixMillis = UnixMillis(4_102_444_800_000);
    const WINDOW: Duration = Duration::from_secs(600);
    let settings = BreakerSettings {
        failures: std::num::NonZeroU32::MIN,
        open_for: Duration::from_secs(60),
        mode: BreakerMode::Off,
    };
    let counts = |found: Vec<Counter>| Vec::from_iter(found.iter().map(|of| of.count));
    block_on(async {
        let mut redis = Redis::start().await;
        let other = connect_whole(&redis).await;
        let guard = Arc::new(Guard::new("shared_state", settings));
        let guarded = GuardedShared::new(Arc::new(connect_whole(&redis).await), guard);
        let keys = ["a", "b"].map(|name| CounterKey::new(name, &[]));
        redis.kill().await;
        for alone in 1..=2 {
            let found = guarded.count(&keys, WINDOW, NOW).await.unwrap();
            assert_eq!(counts(found), [alone, alone]);
        }
        redis.restart_empty().await;
        let mut here = 0;
        wait_until("three hits of another instance", async || {
            here += u32::from(other.count(&keys[..1], WINDOW, NOW).await.is_ok());
            (here == 3).then_some(())
        })
        .await;
        wait_until("what both counted", async || {
            let found = guarded.counters(&keys, NOW).await.unwrap();
            (counts(found) == [5, 2]).then_some(())
        })
        .await;
        let found = guarded.count(&keys[1..], WINDOW, NOW).await.unwrap();
        assert_eq!(counts(found), [3]);
        guarded.hand_over(NOW).await.unwrap();
        assert_eq!(
            counts(other.counters(&keys, NOW).await.unwrap()),
            [5, 3],
            "once"
        );
    });
}

#[test]
fn an_instance_that_another_release_describes_hides_no_other() {
    block_on(async {
        let redis = Redis::start().await;
        let shared = connect_whole(&redis).await;
        let now = UnixMillis::from_system(SystemTime::now());
        let ttl = Duration::from_secs(60);
        let instance = InstanceRecord {
            id: "a".to_owned(),
            address: "10.0.0.1:8000".to_owned(),
            version: "1.0.0".to_owned(),
            fingerprint: String::new(),
            state: crate::domain::InstanceState::Ready,
            started_at: now,
        };
        shared.heartbeat(&instance, ttl, now).await.unwrap();
        for (id, entry) in [("b", r#"{"id":"b","state":"resting"}"#), ("c", "\u{1}")] {
            redis.command(&["SET", &format!("inst:{id}"), entry]);
            redis.command(&["ZADD", "inst", "9999999999999", id]);
        }
        assert_eq!(shared.instances(now).await.unwrap(), [instance]);
    });
}

/// A Redis ahead of the instances would let go of entries whose tokens are still good.
#[test]
fn sec_d02_an_entry_lasts_by_the_clock_that_its_end_was_told_by() {
    const NOW: UnixMillis = UnixMillis(4_102_444_800_000);
    block_on(async {
        let redis = Redis::start().await;
        let shared = connect_whole(&redis).await;
        let revocation = Revocation::Token {
            jti: "t".to_owned(),
            until: NOW.plus(Duration::from_secs(600)),
        };
        shared.write(&[revocation], NOW).await.unwrap();
        let left: u64 = redis.command(&["PTTL", "rev:j:t"]).trim().parse().unwrap();
        assert!((600_000..=630_000).contains(&left), "{left}");
    });
}
