//! Refresh token rotation: one successor, retries, reuse, expiry, and a model that random histories are compared with.

use std::sync::Arc;
use std::time::Duration;

use super::{
    ABSOLUTE_TTL, ACCESS_TTL, IDLE_TTL, Instances, START, after, all_at_once, entry, token,
};
use crate::domain::{
    AuditEvent, Family, RETRY_GRACE, RefreshRecord, RefreshToken, Revocation, TokenState,
    UnixMillis, Verdict, judge,
};
use crate::store::{PageLimit, RevocationPosition, Rotation, RotationOutcome, Store, sealed};

pub(crate) fn rotation(
    presented: &RefreshToken,
    successor: &RefreshToken,
    now: UnixMillis,
) -> Rotation<'static> {
    Rotation::new(
        presented,
        successor,
        "web",
        now,
        now.plus(IDLE_TTL),
        now.plus(ACCESS_TTL),
    )
}

/// Uses a token as a client would and returns the token it got, if any.
async fn refresh(
    store: Arc<dyn Store>,
    presented: RefreshToken,
    now: UnixMillis,
) -> Result<(RefreshToken, RotationOutcome), RotationOutcome> {
    let successor = token();
    let outcome = store
        .rotate(&rotation(&presented, &successor, now))
        .await
        .unwrap();
    match &outcome {
        RotationOutcome::Rotated(_) => Ok((successor, outcome)),
        RotationOutcome::Repeated { successor_box, .. } => {
            Ok((sealed::open(&presented, successor_box).unwrap(), outcome))
        }
        _ => Err(outcome),
    }
}

pub(crate) async fn a_token_rotates_through_all_instances(instances: Instances) {
    let mut ada = instances.register("ada@example.com").await;
    ada.roles = super::roles(&["billing:read"]);
    instances
        .next()
        .set_roles(ada.id, &ada.roles, &entry(AuditEvent::RolesChanged, &ada))
        .await
        .unwrap();
    let (family, mut current) = instances.log_in(&ada).await;
    for step in 1..10 {
        let (next, outcome) = refresh(instances.next(), current, after(step))
            .await
            .unwrap();
        let RotationOutcome::Rotated(grant) = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(
            (grant.account.id, grant.account.roles),
            (ada.id, ada.roles.clone()),
            "roles are those of now"
        );
        assert_eq!(
            (grant.family, grant.expires_at),
            (family.clone(), after(step).plus(IDLE_TTL))
        );
        current = next;
    }
    assert_eq!(
        instances
            .next()
            .family_by_token(&current.hash())
            .await
            .unwrap(),
        Some(family)
    );
}

pub(crate) async fn sec_e12_sixty_four_parallel_uses_make_one_successor(instances: Instances) {
    let ada = instances.register("ada@example.com").await;
    let (_, mut current) = instances.log_in(&ada).await;
    for round in 1..4 {
        let uses = (0..64)
            .map(|_| refresh(instances.next(), current.clone(), after(round)))
            .collect::<Vec<_>>();
        let results: Vec<_> = all_at_once(uses)
            .await
            .into_iter()
            .map(Result::unwrap)
            .collect();
        let rotated = results
            .iter()
            .filter(|(_, outcome)| matches!(outcome, RotationOutcome::Rotated(_)))
            .count();
        assert_eq!(rotated, 1, "round {round}");
        let hashes: std::collections::HashSet<_> =
            results.iter().map(|(token, _)| token.hash()).collect();
        assert_eq!(hashes.len(), 1, "all 64 hold the same successor");
        current = results[0].0.clone();
    }
    assert_eq!(
        instances
            .next()
            .recent_audit(PageLimit::MAX)
            .await
            .unwrap()
            .len(),
        2,
        "no reuse was seen"
    );
}

pub(crate) async fn sec_e12_a_use_after_the_grace_ends_the_family(instances: Instances) {
    let ada = instances.register("ada@example.com").await;
    let (family, first) = instances.log_in(&ada).await;
    let (second, _) = refresh(instances.next(), first.clone(), after(1))
        .await
        .unwrap();
    let late = after(1).plus(RETRY_GRACE).plus(Duration::from_millis(1));
    let revocation = match refresh(instances.next(), first.clone(), late)
        .await
        .unwrap_err()
    {
        RotationOutcome::Reused {
            account,
            session,
            revocation,
        } => {
            assert_eq!((account, session), (ada.id, family.session));
            revocation
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(
        revocation,
        Revocation::Session {
            sid: family.session,
            until: late.plus(ACCESS_TTL)
        }
    );
    for stolen in [first, second] {
        let refused = refresh(instances.next(), stolen, late).await.unwrap_err();
        assert!(matches!(refused, RotationOutcome::Revoked), "{refused:?}");
    }
    let durable = instances
        .next()
        .revocations(RevocationPosition::default(), late, PageLimit::MAX)
        .await
        .unwrap();
    assert_eq!(
        durable.into_iter().map(|(_, r)| r).collect::<Vec<_>>(),
        [revocation]
    );
    let audit = instances
        .next()
        .recent_audit(PageLimit::new(1))
        .await
        .unwrap();
    assert_eq!(
        (audit[0].event, audit[0].account, audit[0].session),
        (
            AuditEvent::RefreshReused,
            Some(ada.id),
            Some(family.session)
        )
    );
    let ended = instances
        .next()
        .family_by_token(&token().hash())
        .await
        .unwrap();
    assert_eq!(ended, None);
}

pub(crate) async fn sec_e12_a_use_after_the_successors_use_ends_the_family(instances: Instances) {
    let ada = instances.register("ada@example.com").await;
    let (_, first) = instances.log_in(&ada).await;
    let (second, _) = refresh(instances.next(), first.clone(), after(1))
        .await
        .unwrap();
    let (third, _) = refresh(instances.next(), second, after(2)).await.unwrap();
    let reused = refresh(instances.next(), first, after(3))
        .await
        .unwrap_err();
    assert!(
        matches!(reused, RotationOutcome::Reused { .. }),
        "{reused:?}"
    );
    assert!(matches!(
        refresh(instances.next(), third, after(3))
            .await
            .unwrap_err(),
        RotationOutcome::Revoked
    ));
}

pub(crate) async fn sec_e12_parallel_reuse_ends_the_family_once(instances: Instances) {
    let ada = instances.register("ada@example.com").await;
    let (_, first) = instances.log_in(&ada).await;
    refresh(instances.next(), first.clone(), after(1))
        .await
        .unwrap();
    let uses = (0..16)
        .map(|_| refresh(instances.next(), first.clone(), after(60)))
        .collect::<Vec<_>>();
    let results: Vec<_> = all_at_once(uses)
        .await
        .into_iter()
        .map(Result::unwrap_err)
        .collect();
    let reused = results
        .iter()
        .filter(|outcome| matches!(outcome, RotationOutcome::Reused { .. }))
        .count();
    let revoked = results
        .iter()
        .filter(|outcome| matches!(outcome, RotationOutcome::Revoked))
        .count();
    assert_eq!((reused, revoked), (1, 15));
}

pub(crate) async fn what_is_not_a_token_of_this_client_is_unknown_and_harms_nobody(
    instances: Instances,
) {
    let ada = instances.register("ada@example.com").await;
    let (_, first) = instances.log_in(&ada).await;
    let unknown = refresh(instances.next(), token(), after(1))
        .await
        .unwrap_err();
    assert!(matches!(unknown, RotationOutcome::Unknown));
    for client_id in ["other", "", "WEB", "web "] {
        let foreign = Rotation {
            client_id,
            ..rotation(&first, &token(), after(1))
        };
        assert!(matches!(
            instances.next().rotate(&foreign).await.unwrap(),
            RotationOutcome::Unknown
        ));
    }
    refresh(instances.next(), first, after(2)).await.unwrap();
}

pub(crate) async fn an_idle_token_expires(instances: Instances) {
    let ada = instances.register("ada@example.com").await;
    let (_, first) = instances.log_in(&ada).await;
    let refused = refresh(instances.next(), first.clone(), START.plus(IDLE_TTL))
        .await
        .unwrap_err();
    assert!(matches!(refused, RotationOutcome::Expired), "{refused:?}");
    let last_moment = UnixMillis(START.plus(IDLE_TTL).0 - 1);
    refresh(instances.next(), first, last_moment).await.unwrap();
}

pub(crate) async fn sec_e13_no_number_of_rotations_outlives_the_absolute_end(instances: Instances) {
    let ada = instances.register("ada@example.com").await;
    let (family, mut current) = instances.log_in(&ada).await;
    let step = Duration::from_millis(u64::try_from(ABSOLUTE_TTL.as_millis()).unwrap() / 200);
    let mut now = START;
    loop {
        now = now.plus(step);
        match refresh(instances.next(), current.clone(), now).await {
            Ok((next, RotationOutcome::Rotated(grant))) => {
                assert!(grant.expires_at <= family.absolute_expires_at);
                current = next;
            }
            Err(RotationOutcome::Expired) => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(now, family.absolute_expires_at);
}

pub(crate) async fn logging_out_ends_the_session_everywhere_and_twice_is_no_error(
    instances: Instances,
) {
    let ada = instances.register("ada@example.com").await;
    let (family, first) = instances.log_in(&ada).await;
    let (_, elsewhere) = instances.log_in(&ada).await;
    for at in [after(1), after(2)] {
        let line = crate::domain::AuditEntry {
            at,
            session: Some(family.session),
            ..entry(AuditEvent::LoggedOut, &ada)
        };
        let revocation = instances
            .next()
            .revoke_session(family.session, at.plus(ACCESS_TTL), &line)
            .await
            .unwrap();
        assert_eq!(
            revocation,
            Revocation::Session {
                sid: family.session,
                until: at.plus(ACCESS_TTL)
            }
        );
    }
    assert!(matches!(
        refresh(instances.next(), first.clone(), after(3))
            .await
            .unwrap_err(),
        RotationOutcome::Revoked
    ));
    refresh(instances.next(), elsewhere, after(3))
        .await
        .unwrap();
    let ended = instances
        .next()
        .family_by_token(&first.hash())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(ended.revoked_at, Some(after(1)), "the first end counts");
}

pub(crate) async fn a_logout_beside_rotations_always_wins(instances: Instances) {
    for _ in 0..10 {
        let ada = instances
            .register(&format!("u{}@example.com", fastrand::u64(..)))
            .await;
        let (family, first) = instances.log_in(&ada).await;
        let (a, b) = (instances.next(), instances.next());
        let line = entry(AuditEvent::LoggedOut, &ada);
        let (used, ended) = tokio::join!(
            refresh(a, first, after(1)),
            b.revoke_session(family.session, after(700), &line)
        );
        ended.unwrap();
        if let Ok((next, _)) = used {
            assert!(matches!(
                refresh(instances.next(), next, after(1)).await.unwrap_err(),
                RotationOutcome::Revoked
            ));
        }
    }
}

/// A request that dies at any moment leaves the token unused or spent with its successor, never in between, and the
/// connection usable.
pub(crate) async fn a_use_dropped_at_any_moment_can_be_retried(instances: Instances) {
    let ada = instances.register("ada@example.com").await;
    let (_, mut current) = instances.log_in(&ada).await;
    for micros in (0..1500).step_by(25) {
        let store = instances.next();
        let dropped = refresh(store, current.clone(), after(1));
        let _ = tokio::time::timeout(Duration::from_micros(micros), dropped).await;
        current = refresh(instances.next(), current, after(1))
            .await
            .unwrap()
            .0;
    }
}

/// Random histories, compared use by use with `judge` over a plain vector.
pub(crate) async fn random_histories_agree_with_the_model(instances: Instances) {
    let seed = std::env::var("SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| fastrand::u64(..));
    println!("replay with SEED={seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    for run in 0..6 {
        let ada = instances.register(&format!("run{run}@example.com")).await;
        let (family, first) = instances.log_in(&ada).await;
        let mut model = Model {
            family,
            tokens: vec![(
                first,
                RefreshRecord {
                    expires_at: START.plus(IDLE_TTL),
                    state: TokenState::Unused,
                },
            )],
        };
        let mut now = START;
        for _ in 0..40 {
            now = now.plus(Duration::from_millis(
                rng.choice([0, 10, 4_000, 9_000, 11_000, 3_590_000])
                    .unwrap(),
            ));
            // Mostly the newest tokens, as in life.
            let back = rng.choice([0, 0, 0, 0, 1, 1, 2, 5]).unwrap();
            let index = model.tokens.len().saturating_sub(1 + back);
            let client_id = rng.choice(["web", "web", "web", "web", "other"]).unwrap();
            let successor = token();
            let presented = model.tokens[index].0.clone();
            let used = Rotation {
                client_id,
                ..rotation(&presented, &successor, now)
            };
            let outcome = instances.next().rotate(&used).await.unwrap();
            let expected = model.apply(index, successor, client_id, now);
            assert!(
                agrees(expected, &outcome),
                "SEED={seed}: token {index} at {now}: expected {expected:?}, got {outcome:?}"
            );
        }
    }
}

struct Model {
    family: Family,
    tokens: Vec<(RefreshToken, RefreshRecord)>,
}

impl Model {
    fn apply(
        &mut self,
        index: usize,
        successor: RefreshToken,
        client_id: &str,
        now: UnixMillis,
    ) -> Verdict {
        let verdict = judge(&self.family, &self.tokens[index].1, client_id, now);
        match verdict {
            Verdict::Rotate => {
                self.tokens[index].1.state = TokenState::Spent {
                    at: now,
                    is_successor_spent: false,
                };
                if let Some((
                    _,
                    RefreshRecord {
                        state:
                            TokenState::Spent {
                                is_successor_spent, ..
                            },
                        ..
                    },
                )) = index.checked_sub(1).map(|i| &mut self.tokens[i])
                {
                    *is_successor_spent = true;
                }
                let expires_at = now.plus(IDLE_TTL).min(self.family.absolute_expires_at);
                self.tokens.push((
                    successor,
                    RefreshRecord {
                        expires_at,
                        state: TokenState::Unused,
                    },
                ));
            }
            Verdict::Reused => self.family.revoked_at = Some(now),
            _ => {}
        }
        verdict
    }
}

fn agrees(verdict: Verdict, outcome: &RotationOutcome) -> bool {
    matches!(
        (verdict, outcome),
        (Verdict::Rotate, RotationOutcome::Rotated(_))
            | (Verdict::Repeat, RotationOutcome::Repeated { .. })
            | (Verdict::Reused, RotationOutcome::Reused { .. })
            | (Verdict::Expired, RotationOutcome::Expired)
            | (Verdict::Revoked, RotationOutcome::Revoked)
            | (Verdict::WrongClient, RotationOutcome::Unknown)
    )
}
