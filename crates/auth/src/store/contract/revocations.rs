//! The durable list of revocations and the purge: complete for a rebuild, and gone when nothing needs it.

use std::collections::HashSet;
use std::time::Duration;

use super::refresh::rotation;
use super::{ABSOLUTE_TTL, IDLE_TTL, Instances, START, after, token};
use crate::domain::{AccountId, RefreshToken, Revocation, SessionId, TokenFacts, UnixMillis};
use crate::store::{PageLimit, Purged, RevocationPosition, RotationOutcome, Store, StoreError};

pub(crate) async fn a_follower_resumes_where_it_stopped(instances: Instances) {
    let all = [
        Revocation::Token {
            jti: "j'1\u{1}".repeat(1000),
            until: after(100),
        },
        Revocation::Session {
            sid: SessionId::from_random([1; 16]),
            until: after(200),
        },
        Revocation::Account {
            sub: AccountId::from_random([2; 16]),
            not_before: START,
            until: after(300),
        },
        Revocation::SigningKey {
            kid: "k1".to_owned(),
            until: after(400),
        },
    ];
    for revocation in &all {
        instances.next().add_revocation(revocation).await.unwrap();
    }
    let (mut position, mut seen) = (RevocationPosition::default(), Vec::new());
    while let [(at, revocation)] = &instances
        .next()
        .revocations(position, START, PageLimit::new(1))
        .await
        .unwrap()[..]
    {
        assert!(*at > position);
        position = *at;
        seen.push(revocation.clone());
    }
    assert_eq!(seen, all);
    let live = instances
        .next()
        .revocations(RevocationPosition::default(), after(200), PageLimit::MAX)
        .await
        .unwrap();
    assert_eq!(
        live.into_iter().map(|(_, r)| r).collect::<Vec<_>>(),
        all[2..],
        "what has ended is not needed"
    );
}

pub(crate) async fn a_revocation_is_only_ever_extended_and_shows_again_when_it_is(
    instances: Instances,
) {
    let sub = AccountId::from_random([1; 16]);
    let cut = |not_before, until| Revocation::Account {
        sub,
        not_before: after(not_before),
        until: after(until),
    };
    instances
        .next()
        .add_revocation(&cut(10, 100))
        .await
        .unwrap();
    let first = instances
        .next()
        .revocations(RevocationPosition::default(), START, PageLimit::MAX)
        .await
        .unwrap()[0]
        .0;
    instances.next().add_revocation(&cut(5, 50)).await.unwrap();
    instances.next().add_revocation(&cut(20, 60)).await.unwrap();
    let list = instances
        .next()
        .revocations(first, START, PageLimit::MAX)
        .await
        .unwrap();
    assert_eq!(
        list.iter().map(|(_, r)| r).collect::<Vec<_>>(),
        [&cut(20, 100)]
    );
}

pub(crate) async fn sec_d05_a_recorded_revocation_covers_its_tokens_and_no_others(
    instances: Instances,
) {
    let (sid, sub) = (
        SessionId::from_random([1; 16]),
        AccountId::from_random([2; 16]),
    );
    let until = after(100);
    let each_kind = [
        Revocation::Token {
            jti: "t1".to_owned(),
            until,
        },
        Revocation::Session { sid, until },
        Revocation::Account {
            sub,
            not_before: after(10),
            until,
        },
        Revocation::SigningKey {
            kid: "k1".to_owned(),
            until,
        },
    ];
    for revocation in &each_kind {
        instances.next().add_revocation(revocation).await.unwrap();
    }
    let (sid, sub) = (sid.to_string(), sub.to_string());
    // Every combination of names that are and are not revoked, and of those that belong to another kind.
    for bits in 0..64_u32 {
        let is = |bit: u32| bits & (1 << bit) != 0;
        let token = TokenFacts {
            jti: if is(0) { "t1" } else { "k1" },
            sid: is(1).then_some(if is(2) { &sid } else { &sub }),
            sub: if is(3) { &sub } else { &sid },
            kid: if is(4) { "k1" } else { "t1" },
            issued_at: after(if is(5) { 10 } else { 9 }),
        };
        let expected = is(0) || (is(1) && is(2)) || (is(3) && !is(5)) || is(4);
        let store = instances.next();
        let covered = store.is_revoked(&token, after(99)).await.unwrap();
        assert_eq!(covered, expected, "{token:?}");
        assert!(
            !store.is_revoked(&token, until).await.unwrap(),
            "it has ended"
        );
    }
}

fn token_named(name: String, until: UnixMillis) -> Revocation {
    Revocation::Token { jti: name, until }
}

/// Reads what is settled behind `position`, in order, and moves it there.
async fn follow(store: &dyn Store, position: &mut RevocationPosition) -> Vec<Revocation> {
    let settled = store.settled_revocations().await.unwrap();
    let mut followed = Vec::new();
    loop {
        // Small pages, so that their borders are met as well.
        let page = store.revocations(*position, START, PageLimit::new(7)).await;
        let page = page.unwrap();
        let count = followed.len();
        for (at, revocation) in page {
            assert!(at > *position, "out of order");
            if at > settled {
                return followed;
            }
            *position = at;
            followed.push(revocation);
        }
        if followed.len() == count {
            return followed;
        }
    }
}

pub(crate) async fn sec_d05_a_follower_gets_every_revocation_of_sixty_four_writers_once(
    instances: Instances,
) {
    const WRITERS: usize = 64;
    const EACH: usize = 8;
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let store = instances.next();
            tokio::spawn(async move {
                for n in 0..EACH {
                    let revocation = token_named(format!("{writer} {n}"), after(100));
                    // On a busy machine one of so many may be told to try again.
                    while let Err(error) = store.add_revocation(&revocation).await {
                        assert!(matches!(error, StoreError::Busy { .. }), "{error:?}");
                    }
                }
            })
        })
        .collect();
    let followers: Vec<_> = (0..2)
        .map(|_| {
            let store = instances.next();
            tokio::spawn(async move {
                let (mut position, mut seen) = (RevocationPosition::default(), Vec::new());
                while seen.len() < WRITERS * EACH {
                    seen.extend(follow(store.as_ref(), &mut position).await);
                    tokio::task::yield_now().await;
                }
                seen
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    for follower in followers {
        let all = tokio::time::timeout(Duration::from_secs(60), follower).await;
        let all = all.expect("nothing was missed").unwrap();
        let distinct: HashSet<_> = all.iter().cloned().collect();
        assert_eq!(
            (all.len(), distinct.len()),
            (WRITERS * EACH, WRITERS * EACH)
        );
    }
}

pub(crate) async fn sec_d05_of_many_that_revoke_one_thing_all_succeed_and_one_entry_stays(
    instances: Instances,
) {
    let all = (0..64).map(|n| {
        let store = instances.next();
        async move {
            let revocation = token_named("one".to_owned(), after(100 + n));
            store.add_revocation(&revocation).await
        }
    });
    let results = super::all_at_once(all.collect::<Vec<_>>()).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    let mut position = RevocationPosition::default();
    let left = follow(instances.next().as_ref(), &mut position).await;
    assert_eq!(left, [token_named("one".to_owned(), after(163))]);
}

/// A session whose first token has expired while its newest lives on, and one that was never used again.
async fn an_old_and_a_live_session(
    instances: &Instances,
) -> (RefreshToken, RefreshToken, UnixMillis) {
    let ada = instances.register("ada@example.com").await;
    let (_, old) = instances.log_in(&ada).await;
    let (_, mut live) = instances.log_in(&ada).await;
    let mut now = START;
    for _ in 0..5 {
        now = now.plus(IDLE_TTL / 4);
        let next = token();
        let outcome = instances
            .next()
            .rotate(&rotation(&live, &next, now))
            .await
            .unwrap();
        assert!(matches!(outcome, RotationOutcome::Rotated(_)));
        live = next;
    }
    (old, live, now)
}

pub(crate) async fn a_purge_is_bounded_and_takes_only_what_has_ended(instances: Instances) {
    let (old, live, now) = an_old_and_a_live_session(&instances).await;
    for (jti, until) in [("gone", after(1)), ("kept", now.plus(ABSOLUTE_TTL))] {
        let revocation = Revocation::Token {
            jti: jti.to_owned(),
            until,
        };
        instances.next().add_revocation(&revocation).await.unwrap();
    }
    instances
        .next()
        .create_setup_token(&token().hash(), after(600), START)
        .await
        .unwrap();

    let first = instances
        .next()
        .purge(now, PageLimit::new(1))
        .await
        .unwrap();
    let expected = Purged {
        refresh_tokens: 1,
        families: 0,
        revocations: 1,
        setup_tokens: 1,
        mails: 0,
    };
    assert_eq!(first, expected);
    while instances
        .next()
        .purge(now, PageLimit::new(1))
        .await
        .unwrap()
        .total()
        > 0
    {}

    let store = instances.next();
    assert!(
        store.family_by_token(&old.hash()).await.unwrap().is_none(),
        "it had expired"
    );
    assert!(store.family_by_token(&live.hash()).await.unwrap().is_some());
    let from = RevocationPosition::default();
    assert_eq!(
        store
            .revocations(from, START, PageLimit::MAX)
            .await
            .unwrap()
            .len(),
        1
    );
    let end = START.plus(ABSOLUTE_TTL);
    assert_eq!(store.purge(end, PageLimit::MAX).await.unwrap().families, 2);
    let audit = store.recent_audit(PageLimit::MAX).await.unwrap();
    assert_eq!(audit.len(), 3, "the audit log stays");
}
