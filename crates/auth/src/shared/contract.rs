//! What every shared state must do, written once over `dyn Shared`. Never knows what it runs on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::{Allowance, Counter, CounterKey, Shared};
use crate::domain::{
    AccountId, InstanceRecord, InstanceState, PermissionVersion, Revocation, SessionId, TokenFacts,
    UnixMillis,
};
use crate::store::Standing;
use crate::store::topology::WalPosition;

/// The year 2100: what expires by the clock of a server must not do so while a case runs.
const START: UnixMillis = UnixMillis(4_102_444_800_000);
const SUB: &str = "00000000-0000-4000-8000-000000000001";
const SID: &str = "00000000-0000-4000-8000-000000000002";

/// Several instances on one empty shared state.
pub(crate) struct Instances {
    all: Vec<Arc<dyn Shared>>,
    turn: AtomicUsize,
    expires_alone: bool,
}

impl Instances {
    pub(crate) fn new(all: Vec<Arc<dyn Shared>>) -> Self {
        assert!(all.len() > 1, "one instance proves nothing about sharing");
        Self {
            all,
            turn: AtomicUsize::new(0),
            expires_alone: false,
        }
    }

    /// What has ended vanishes without a purge.
    pub(crate) fn that_expire_alone(all: Vec<Arc<dyn Shared>>) -> Self {
        Self {
            expires_alone: true,
            ..Self::new(all)
        }
    }

    /// Purges, and asserts that so many entries went, where purging is what takes them.
    async fn purge(&self, now: UnixMillis, limit: u16, expected: u64) {
        let expected = if self.expires_alone { 0 } else { expected };
        assert_eq!(self.next().purge(now, limit).await.unwrap(), expected);
    }

    /// Another instance than last time.
    fn next(&self) -> Arc<dyn Shared> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        Arc::clone(&self.all[turn % self.all.len()])
    }

    async fn is_revoked(&self, token: &TokenFacts<'_>, now: UnixMillis) -> bool {
        self.next().is_revoked(token, now).await.unwrap()
    }
}

fn after(seconds: u64) -> UnixMillis {
    START.plus(Duration::from_secs(seconds))
}

fn facts(jti: &str) -> TokenFacts<'_> {
    TokenFacts {
        jti,
        sid: Some(SID),
        sub: SUB,
        kid: "k1",
        issued_at: START,
    }
}

/// One revocation of each kind that covers `facts("t1")`.
fn each_kind() -> [Revocation; 4] {
    let until = after(600);
    [
        Revocation::Token {
            jti: "t1".to_owned(),
            until,
        },
        Revocation::Session {
            sid: SessionId::parse(SID).unwrap(),
            until,
        },
        Revocation::Account {
            sub: AccountId::parse(SUB).unwrap(),
            not_before: after(1),
            until,
        },
        Revocation::SigningKey {
            kid: "k1".to_owned(),
            until,
        },
    ]
}

pub(crate) async fn sec_d01_a_revocation_counts_on_the_very_next_request_everywhere(
    instances: Instances,
) {
    for round in 0..200 {
        let jti = format!("token {round}");
        let token = TokenFacts {
            sid: None,
            ..facts(&jti)
        };
        assert!(!instances.is_revoked(&token, START).await);
        let revocation = Revocation::Token {
            jti: jti.clone(),
            until: after(600),
        };
        instances.next().revoke(&[revocation]).await.unwrap();
        for instance in &instances.all {
            assert!(
                instance.is_revoked(&token, START).await.unwrap(),
                "round {round}"
            );
        }
    }
}

pub(crate) async fn sec_d01_no_request_misses_a_revocation_under_load(instances: Instances) {
    let tasks = (0..6).map(|task| {
        let all = instances.all.clone();
        async move {
            for round in 0..60 {
                let jti = format!("token {task} {round}");
                let token = TokenFacts {
                    sid: None,
                    ..facts(&jti)
                };
                let revocation = Revocation::Token {
                    jti: jti.clone(),
                    until: after(600),
                };
                assert!(
                    !all[round % all.len()]
                        .is_revoked(&token, START)
                        .await
                        .unwrap()
                );
                all[task % all.len()].revoke(&[revocation]).await.unwrap();
                for instance in &all {
                    assert!(instance.is_revoked(&token, START).await.unwrap(), "{jti}");
                }
            }
        }
    });
    crate::store::contract::all_at_once(tasks.collect::<Vec<_>>()).await;
}

pub(crate) async fn each_kind_covers_its_tokens_and_no_others(instances: Instances) {
    let [other_sid, other_sub] = [3, 4].map(|i| format!("00000000-0000-4000-8000-00000000000{i}"));
    let unrelated = TokenFacts {
        jti: "t2",
        sid: Some(&other_sid),
        sub: &other_sub,
        kid: "k2",
        issued_at: START,
    };
    let covered = [
        TokenFacts {
            jti: "t1",
            ..unrelated
        },
        TokenFacts {
            sid: Some(SID),
            ..unrelated
        },
        TokenFacts {
            sub: SUB,
            ..unrelated
        },
        TokenFacts {
            kid: "k1",
            ..unrelated
        },
    ];
    for (revocation, covered) in each_kind().into_iter().zip(&covered) {
        assert!(
            !instances.is_revoked(covered, START).await,
            "before {revocation:?}"
        );
        instances
            .next()
            .revoke(std::slice::from_ref(&revocation))
            .await
            .unwrap();
        assert!(instances.is_revoked(covered, START).await, "{revocation:?}");
        assert!(
            !instances.is_revoked(&unrelated, START).await,
            "{revocation:?}"
        );
    }
}

pub(crate) async fn kinds_never_meet_even_if_their_names_do(instances: Instances) {
    let until = after(600);
    instances
        .next()
        .revoke(&[
            Revocation::Token {
                jti: "k1".to_owned(),
                until,
            },
            Revocation::SigningKey {
                kid: SUB.to_owned(),
                until,
            },
        ])
        .await
        .unwrap();
    for jti in ["t1", "s:", "u:", "", "' OR 1=1 --"] {
        assert!(!instances.is_revoked(&facts(jti), START).await, "{jti:?}");
        assert!(
            !instances
                .is_revoked(
                    &TokenFacts {
                        sid: None,
                        ..facts(jti)
                    },
                    START
                )
                .await,
            "{jti:?}"
        );
    }
    instances
        .next()
        .revoke(&[Revocation::Token {
            jti: "' OR 1=1 --".to_owned(),
            until,
        }])
        .await
        .unwrap();
    assert!(instances.is_revoked(&facts("' OR 1=1 --"), START).await);
}

pub(crate) async fn sec_d04_an_accounts_cut_spares_tokens_issued_after_it(instances: Instances) {
    let cut = |not_before, until| Revocation::Account {
        sub: AccountId::parse(SUB).unwrap(),
        not_before: after(not_before),
        until: after(until),
    };
    instances.next().revoke(&[cut(10, 600)]).await.unwrap();
    for (issued, expected) in [(0, true), (9, true), (10, false), (11, false)] {
        let token = TokenFacts {
            issued_at: after(issued),
            ..facts("t1")
        };
        assert_eq!(
            instances.is_revoked(&token, after(12)).await,
            expected,
            "issued at {issued}"
        );
    }
    // A later cut moves it, an earlier or shorter one does not.
    instances.next().revoke(&[cut(20, 300)]).await.unwrap();
    instances.next().revoke(&[cut(5, 100)]).await.unwrap();
    let token = TokenFacts {
        issued_at: after(15),
        ..facts("t1")
    };
    assert!(instances.is_revoked(&token, after(599)).await);
    assert!(!instances.is_revoked(&token, after(600)).await);
}

pub(crate) async fn sec_d02_a_revocation_ends_and_a_purge_leaves_no_trace(instances: Instances) {
    instances.next().revoke(&each_kind()).await.unwrap();
    let last = UnixMillis(after(600).0 - 1);
    assert!(instances.is_revoked(&facts("t1"), last).await);
    assert!(!instances.is_revoked(&facts("t1"), after(600)).await);
    instances.purge(last, 100, 0).await;
    // Bounded.
    instances.purge(after(600), 3, 3).await;
    instances.purge(after(600), 3, 1).await;
    instances.purge(after(600), 3, 0).await;
}

pub(crate) async fn a_rebuild_may_be_repeated_and_be_empty(instances: Instances) {
    let many: Vec<_> = (0..500)
        .map(|i| Revocation::Token {
            jti: format!("t{i}"),
            until: after(600),
        })
        .collect();
    for batch in [&[][..], &many, &many] {
        instances.next().revoke(batch).await.unwrap();
    }
    assert!(instances.is_revoked(&facts("t499"), START).await);
    instances.purge(after(600), 1000, 500).await;
}

pub(crate) async fn sec_a11_hits_through_all_instances_add_up(instances: Instances) {
    let key = CounterKey::new("login_ip", &["192.0.2.7"]);
    let tasks = (0..60).map(|_| {
        let instance = instances.next();
        async move {
            instance
                .count(&[key], Duration::from_secs(60), START)
                .await
                .unwrap()[0]
                .count
        }
    });
    let mut counts = crate::store::contract::all_at_once(tasks.collect::<Vec<_>>()).await;
    counts.sort_unstable();
    assert_eq!(
        counts,
        (1..=60).collect::<Vec<_>>(),
        "every hit saw its own number"
    );
}

pub(crate) async fn sec_a12_counters_are_independent(instances: Instances) {
    let [ip, account] = [
        CounterKey::new("login_ip", &["192.0.2.7"]),
        CounterKey::new("login_account", &["ada@example.com"]),
    ];
    let window = Duration::from_secs(60);
    instances.next().count(&[ip], window, START).await.unwrap();
    let both = instances
        .next()
        .count(&[account, ip], window, START)
        .await
        .unwrap();
    assert_eq!(
        both.iter().map(|counter| counter.count).collect::<Vec<_>>(),
        [1, 2],
        "in the order asked"
    );
    instances.next().reset(&account).await.unwrap();
    let both = instances
        .next()
        .counters(&[ip, account], START)
        .await
        .unwrap();
    assert_eq!(
        both,
        [
            Counter {
                count: 2,
                resets_at: after(60)
            },
            Counter {
                count: 0,
                resets_at: START
            }
        ]
    );
    assert!(
        instances
            .next()
            .count(&[], window, START)
            .await
            .unwrap()
            .is_empty()
    );
}

pub(crate) async fn sec_a11_hits_counted_elsewhere_are_added(instances: Instances) {
    let [known, new, over] = ["known", "new", "over"].map(|name| CounterKey::new(name, &[]));
    let window = Duration::from_secs(60);
    let counter = |count, seconds| Counter {
        count,
        resets_at: after(seconds),
    };
    for at in [START, START] {
        instances.next().count(&[known], window, at).await.unwrap();
    }
    instances
        .next()
        .count(&[over], window, START)
        .await
        .unwrap();
    let counted = [
        (known, counter(3, 90)),
        (new, counter(2, 70)),
        (over, counter(4, 200)),
    ];
    instances.next().add(&counted, after(61)).await.unwrap();
    let early = [(known, counter(5, 30))];
    let found = instances
        .next()
        .counters(&[known, new, over], after(61))
        .await;
    assert_eq!(
        found.unwrap(),
        [counter(3, 90), counter(2, 70), counter(4, 200)],
        "what had ended is not counted"
    );
    instances.next().add(&early, after(62)).await.unwrap();
    let found = instances.next().counters(&[known], after(62)).await;
    assert_eq!(found.unwrap(), [counter(8, 90)], "the later end holds");
    let most = [(known, counter(u32::MAX, 90))];
    instances.next().add(&most, after(62)).await.unwrap();
    let found = instances.next().count(&[known], window, after(62)).await;
    assert_eq!(found.unwrap(), [counter(u32::MAX, 90)]);
}

pub(crate) async fn a_counters_window_begins_at_its_first_hit(instances: Instances) {
    let key = [CounterKey::new("login_ip", &["192.0.2.7"])];
    let window = Duration::from_secs(60);
    for (at, count, resets) in [(0, 1, 60), (59, 2, 60), (60, 1, 120), (61, 2, 120)] {
        let counter = instances
            .next()
            .count(&key, window, after(at))
            .await
            .unwrap()[0];
        assert_eq!(
            counter,
            Counter {
                count,
                resets_at: after(resets)
            },
            "at {at}"
        );
    }
    assert_eq!(
        instances.next().counters(&key, after(119)).await.unwrap()[0].count,
        2
    );
    assert_eq!(
        instances.next().counters(&key, after(120)).await.unwrap()[0].count,
        0
    );
    instances.purge(after(120), 10, 1).await;
}

pub(crate) async fn instances_live_as_long_as_they_say_so(instances: Instances) {
    let record = |id: &str, state| InstanceRecord {
        id: id.to_owned(),
        address: "127.0.0.1:4001".to_owned(),
        version: "0.1.0".to_owned(),
        fingerprint: "f00".to_owned(),
        state,
        started_at: START,
    };
    let ttl = Duration::from_secs(15);
    let [b, a] = ["auth-2", "auth-1"].map(|id| record(id, InstanceState::Ready));
    instances.next().heartbeat(&b, ttl, START).await.unwrap();
    instances
        .next()
        .heartbeat(&a, ttl, after(10))
        .await
        .unwrap();
    assert_eq!(
        instances.next().instances(after(14)).await.unwrap(),
        [a.clone(), b.clone()]
    );
    let draining = record("auth-1", InstanceState::Draining);
    instances
        .next()
        .heartbeat(&draining, ttl, after(12))
        .await
        .unwrap();
    assert_eq!(
        instances.next().instances(after(15)).await.unwrap(),
        [draining],
        "auth-2 fell silent"
    );
    instances.next().leave("auth-1").await.unwrap();
    instances.next().leave("never was").await.unwrap();
    assert!(
        instances
            .next()
            .instances(after(15))
            .await
            .unwrap()
            .is_empty()
    );
    // What auth-2 left.
    instances.purge(after(15), 10, 1).await;
    instances.next().ping().await.unwrap();
}

pub(crate) async fn once_closed_nothing_is_known_any_more(instances: Instances) {
    let (closed, other) = (instances.next(), instances.next());
    closed.revoke(&each_kind()).await.unwrap();
    // Asked before, so that whatever an implementation remembers is remembered.
    assert!(closed.is_revoked(&facts("t1"), START).await.unwrap());
    closed.close().await;
    let unrelated = TokenFacts {
        jti: "t2",
        sid: None,
        sub: "s",
        kid: "k2",
        issued_at: START,
    };
    for token in [facts("t1"), unrelated] {
        assert!(
            closed.is_revoked(&token, START).await.is_err(),
            "refused, not guessed"
        );
    }
    let key = [CounterKey::new("login_ip", &["192.0.2.7"])];
    assert!(closed.revoke(&each_kind()).await.is_err());
    assert!(
        closed
            .count(&key, Duration::from_secs(60), START)
            .await
            .is_err()
    );
    assert!(closed.counters(&key, START).await.is_err());
    assert!(closed.instances(START).await.is_err());
    assert!(closed.ping().await.is_err());
    assert!(
        other.is_revoked(&facts("t1"), START).await.unwrap(),
        "the others go on"
    );
}

pub(crate) async fn allowances_are_shared_and_refill(instances: Instances) {
    let allowance = |name: &str, limit: u32| Allowance {
        key: CounterKey::new("a test", &[name]),
        limit: limit.try_into().unwrap(),
        period: Duration::from_secs(60),
    };
    let (network, account) = (allowance("network", 6), allowance("account", 3));
    let take = async |asked: &[Allowance], now: UnixMillis| {
        let taken = instances.next().take(asked, now).await.unwrap();
        taken.expect("something was asked for")
    };
    for left in [2, 1, 0] {
        let taken = take(&[network, account], START).await;
        let expected = (true, 3, left);
        assert_eq!((taken.is_allowed, taken.limit, taken.remaining), expected);
    }
    let refused = take(&[network, account], START).await;
    assert_eq!((refused.is_allowed, refused.remaining), (false, 0));
    assert_eq!(refused.retry_after, Duration::from_secs(20));
    assert_eq!(refused.reset_after, Duration::from_secs(60));
    let other = take(&[network], START).await;
    assert_eq!(
        (other.limit, other.remaining),
        (6, 2),
        "a refusal took nothing"
    );
    let later = take(&[network, account], after(20)).await;
    assert!(later.is_allowed && later.retry_after.is_zero());
    assert_eq!(instances.next().take(&[], START).await.unwrap(), None);
}

pub(crate) async fn an_allowance_is_given_out_once_to_all_at_once(instances: Instances) {
    let allowance = Allowance {
        key: CounterKey::new("a test", &["x"]),
        limit: 10.try_into().unwrap(),
        period: Duration::from_secs(3600),
    };
    let tasks = (0..40).map(|_| {
        let instance = instances.next();
        async move { instance.take(&[allowance], START).await.unwrap().unwrap() }
    });
    let taken = crate::store::contract::all_at_once(tasks.collect::<Vec<_>>()).await;
    assert_eq!(taken.iter().filter(|taken| taken.is_allowed).count(), 10);
}

pub(crate) async fn the_later_of_two_writes_is_remembered_until_its_end(instances: Instances) {
    let [ada, bob] = [SUB, SID].map(|id| AccountId::parse(id).unwrap());
    let at = |timeline, position| WalPosition { timeline, position };
    let ttl = Duration::from_secs(30);
    let note = async |accounts: &[AccountId], position| {
        let instance = instances.next();
        let noted = instance.note_written(accounts, position, ttl, START);
        noted.await.unwrap();
    };
    let written = async |account| instances.next().written(account, START).await.unwrap();
    assert_eq!(written(ada).await, None);
    note(&[ada], at(1, 500)).await;
    note(&[ada], at(1, 400)).await;
    assert_eq!(written(ada).await, Some(at(1, 500)));
    note(&[ada, bob], at(2, 90)).await;
    note(&[ada], at(1, 900)).await;
    assert_eq!(
        written(ada).await,
        Some(at(2, 90)),
        "the later branch counts"
    );
    assert_eq!(written(bob).await, Some(at(2, 90)));
    note(&[], at(9, 9)).await;
    instances.purge(after(29), 10, 0).await;
    instances.purge(after(30), 10, 2).await;
}

pub(crate) async fn a_raised_version_counts_on_the_very_next_request_everywhere(
    instances: Instances,
) {
    let standing = async || {
        instances
            .next()
            .standing(&facts("t1"), START)
            .await
            .unwrap()
    };
    let unknown = Standing {
        is_revoked: false,
        permissions: None,
    };
    for _ in 0..3 {
        assert_eq!(standing().await, unknown);
    }
    // What came late never takes anything back.
    for (raised, known) in [(5, 5), (7, 7), (6, 7), (8, 8)] {
        let version = PermissionVersion(raised);
        instances.next().raise_permissions(version).await.unwrap();
        for _ in 0..3 {
            assert_eq!(standing().await.permissions, Some(PermissionVersion(known)));
        }
    }
    instances.next().revoke(&each_kind()[..1]).await.unwrap();
    for _ in 0..3 {
        let known = standing().await;
        assert!(known.is_revoked && known.permissions == Some(PermissionVersion(8)));
        assert!(instances.is_revoked(&facts("t1"), START).await);
    }
    instances.next().purge(after(1_000_000), 100).await.unwrap();
    let known = standing().await.permissions;
    assert_eq!(known, Some(PermissionVersion(8)), "it has no end");
}

pub(crate) async fn what_is_remembered_is_read_by_all_until_its_end(instances: Instances) {
    let ttl = Duration::from_secs(60);
    let read = async |key: &str, now| instances.next().remembered(key, now).await.unwrap();
    assert_eq!(read("a", START).await, None);
    for value in ["one", "two; \u{1}\n'"] {
        instances
            .next()
            .remember("a", value, ttl, START)
            .await
            .unwrap();
        for _ in 0..3 {
            assert_eq!(read("a", after(59)).await.as_deref(), Some(value));
            assert_eq!(read("b", START).await, None);
        }
    }
    if !instances.expires_alone {
        assert_eq!(read("a", after(60)).await, None);
    }
    instances.purge(after(60), 10, 1).await;
}
