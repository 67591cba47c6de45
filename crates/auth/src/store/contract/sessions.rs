//! Sessions: found by their id, listed for their owners, ended one by one and all together.

use super::{IDLE_TTL, Instances, after, all_at_once, entry, family as begun, token};
use crate::domain::{
    AccountId, AuditEntry, AuditEvent, Family, FamilyId, Network, Proof, Revocation, SessionId,
    SessionRecord, TokenFacts, UnixMillis,
};
use crate::random;
use crate::store::{FamilyCreation, PageLimit, Rotation, RotationOutcome};

pub(crate) async fn a_session_is_found_by_its_newest_family(instances: Instances) {
    let ada = instances.register("ada@example.com").await;
    let (first, _) = instances.log_in(&ada).await;
    let (other, _) = instances.log_in(&ada).await;
    let store = instances.next();
    let found = store.family_by_session(first.session).await.unwrap();
    assert_eq!(found, Some(first.clone()));
    let newer = Family {
        id: FamilyId::from_random(random::bytes()),
        created_at: after(1),
        proof: first.proof.map(|proof| Proof {
            at: after(1),
            ..proof
        }),
        ..first.clone()
    };
    let line = entry(AuditEvent::LoginSucceeded, &ada);
    let created = store
        .create_family(&newer, &token().hash(), after(60), &line)
        .await
        .unwrap();
    assert_eq!(created, FamilyCreation::Created);
    let found = instances.next().family_by_session(first.session).await;
    assert_eq!(found.unwrap(), Some(newer));
    let line = entry(AuditEvent::LoggedOut, &ada);
    let store = instances.next();
    store
        .revoke_session(other.session, after(60), &line)
        .await
        .unwrap();
    let found = instances.next().family_by_session(other.session).await;
    assert!(found.unwrap().unwrap().revoked_at.is_some());
    let nobody = SessionId::from_random(random::bytes());
    let found = instances.next().family_by_session(nobody).await;
    assert_eq!(found.unwrap(), None);
}

/// What is asked of the lists here: cookies play no part.
async fn listed(instances: &Instances, account: AccountId, now: UnixMillis) -> Vec<SessionRecord> {
    let store = instances.next();
    let found = store.sessions_of(account, after(0), now, None, PageLimit::MAX);
    found.await.unwrap()
}

pub(crate) async fn sec_f06_owners_see_their_sessions_and_no_others(instances: Instances) {
    let ada = instances.register("ada@example.com").await;
    let eve = instances.register("eve@example.com").await;
    let (first, token) = instances.log_in(&ada).await;
    let (eves, _) = instances.log_in(&eve).await;
    let now = after(30);
    let successor = super::token();
    let rotation = Rotation::new(&token, &successor, "web", now, now.plus(IDLE_TTL), now);
    let rotated = instances.next().rotate(&rotation).await.unwrap();
    assert!(
        matches!(rotated, RotationOutcome::Rotated(_)),
        "{rotated:?}"
    );
    let seen = listed(&instances, ada.id, after(31)).await;
    let expected = SessionRecord {
        id: first.session,
        began_at: first.created_at,
        used_at: now,
        began_from: Network::parse("127.0.0.0/24"),
    };
    assert_eq!(seen, [expected]);
    assert_eq!(
        listed(&instances, eve.id, after(31)).await[0].id,
        eves.session
    );
    let nobody = AccountId::from_random(random::bytes());
    assert_eq!(listed(&instances, nobody, after(31)).await, []);
}

pub(crate) async fn a_session_is_listed_for_as_long_as_it_can_go_on(instances: Instances) {
    let ada = instances.register("ada@example.com").await;
    let (family, _) = instances.log_in(&ada).await;
    let idle_end = after(IDLE_TTL.as_secs());
    let last = UnixMillis(idle_end.0 - 1);
    assert_eq!(listed(&instances, ada.id, last).await.len(), 1);
    assert_eq!(listed(&instances, ada.id, idle_end).await, []);
    // Its cookie may be in use still, until the session's absolute end.
    let by_cookie = async |now| {
        let before = UnixMillis(family.created_at.0 - 1);
        let store = instances.next();
        let found = store.sessions_of(ada.id, before, now, None, PageLimit::MAX);
        found.await.unwrap().len()
    };
    assert_eq!(by_cookie(idle_end).await, 1);
    assert_eq!(by_cookie(family.absolute_expires_at).await, 0);
}

pub(crate) async fn pages_of_sessions_are_bounded_ordered_and_complete(instances: Instances) {
    let ada = instances.register("ada@example.com").await;
    let mut expected = Vec::new();
    // Two of one instant in each step: the cursor must not lose the second.
    for second in [1, 1, 2, 2, 3] {
        let family = Family {
            created_at: after(second),
            ..begun(&ada)
        };
        let line = entry(AuditEvent::LoginSucceeded, &ada);
        let store = instances.next();
        store
            .create_family(&family, &token().hash(), after(600), &line)
            .await
            .unwrap();
        expected.push((
            std::cmp::Reverse(family.created_at),
            family.session.to_string(),
        ));
    }
    expected.sort();
    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let store = instances.next();
        let page = store.sessions_of(ada.id, after(0), after(4), cursor, PageLimit::new(2));
        let page = page.await.unwrap();
        assert!(page.len() <= 2);
        let Some(last) = page.last() else { break };
        cursor = Some(last.cursor());
        seen.extend(
            page.iter()
                .map(|it| (std::cmp::Reverse(it.began_at), it.id.to_string())),
        );
    }
    assert_eq!(seen, expected);
}

pub(crate) async fn sec_f06_only_the_owner_ends_a_session(instances: Instances) {
    let ada = instances.register("ada@example.com").await;
    let eve = instances.register("eve@example.com").await;
    let (family, first) = instances.log_in(&ada).await;
    let (kept, _) = instances.log_in(&ada).await;
    let until = after(600);
    let line = |whose| entry(AuditEvent::SessionEnded, whose);
    let store = instances.next();
    let foreign = store
        .end_session_of(eve.id, family.session, until, &line(&eve))
        .await;
    assert_eq!(foreign.unwrap(), None);
    let unknown = SessionId::from_random(random::bytes());
    let store = instances.next();
    let unknown = store
        .end_session_of(ada.id, unknown, until, &line(&ada))
        .await;
    assert_eq!(unknown.unwrap(), None);
    let lines = instances.next().recent_audit(PageLimit::MAX).await.unwrap();
    assert!(lines.iter().all(|it| it.event != AuditEvent::SessionEnded));
    // Twice is no error: whoever lost the answer asks again.
    for _ in 0..2 {
        let store = instances.next();
        let ended = store
            .end_session_of(ada.id, family.session, until, &line(&ada))
            .await;
        let sid = family.session;
        assert_eq!(ended.unwrap(), Some(Revocation::Session { sid, until }));
    }
    let left = listed(&instances, ada.id, after(1)).await;
    assert_eq!(
        left.iter().map(|it| it.id).collect::<Vec<_>>(),
        [kept.session]
    );
    let successor = token();
    let rotation = Rotation::new(&first, &successor, "web", after(2), until, until);
    let refused = instances.next().rotate(&rotation).await.unwrap();
    assert!(matches!(refused, RotationOutcome::Revoked), "{refused:?}");
}

pub(crate) async fn sec_d04_the_end_of_all_sessions_covers_every_token_issued_before(
    instances: Instances,
) {
    let ada = instances.register("ada@example.com").await;
    let eve = instances.register("eve@example.com").await;
    let mut first = Vec::new();
    for _ in 0..3 {
        first.push(instances.log_in(&ada).await);
    }
    instances.log_in(&eve).await;
    let (cut, until) = (after(60), after(1200));
    let line = AuditEntry {
        at: cut,
        ..entry(AuditEvent::LoggedOutEverywhere, &ada)
    };
    let ended = instances
        .next()
        .end_all_sessions_of(ada.id, until, &line)
        .await;
    let revocation = Revocation::Account {
        sub: ada.id,
        not_before: cut,
        until,
    };
    assert_eq!(ended.unwrap(), Some(revocation));
    assert_eq!(listed(&instances, ada.id, cut).await, []);
    assert_eq!(listed(&instances, eve.id, cut).await.len(), 1);
    for (_, token) in first {
        let successor = super::token();
        let rotation = Rotation::new(&token, &successor, "web", after(61), until, until);
        let refused = instances.next().rotate(&rotation).await.unwrap();
        assert!(matches!(refused, RotationOutcome::Revoked), "{refused:?}");
    }
    let sub = ada.id.to_string();
    for (issued_at, is_void) in [(after(59), true), (cut, false)] {
        let facts = TokenFacts {
            jti: "j",
            sid: None,
            sub: &sub,
            kid: "k",
            issued_at,
        };
        assert_eq!(
            instances
                .next()
                .is_revoked(&facts, after(61))
                .await
                .unwrap(),
            is_void
        );
    }
    let nobody = AccountId::from_random(random::bytes());
    let unknown = instances
        .next()
        .end_all_sessions_of(nobody, until, &line)
        .await;
    assert_eq!(unknown.unwrap(), None);
}

pub(crate) async fn a_login_from_before_the_end_of_all_sessions_begins_none(instances: Instances) {
    let ada = instances.register("ada@example.com").await;
    let log_in = async |began: UnixMillis| {
        let family = Family {
            created_at: began,
            ..begun(&ada)
        };
        let line = entry(AuditEvent::LoginSucceeded, &ada);
        let store = instances.next();
        store
            .create_family(&family, &token().hash(), after(600), &line)
            .await
            .unwrap()
    };
    let cut = AuditEntry {
        at: after(60),
        ..entry(AuditEvent::LoggedOutEverywhere, &ada)
    };
    instances
        .next()
        .end_all_sessions_of(ada.id, after(600), &cut)
        .await
        .unwrap();
    // Its password was looked at before the cut, whatever it was then.
    assert_eq!(
        log_in(UnixMillis(after(60).0 - 1)).await,
        FamilyCreation::AccountNotActive
    );
    assert_eq!(log_in(after(60)).await, FamilyCreation::Created);
}

pub(crate) async fn sec_d04_of_logins_beside_the_end_of_all_sessions_none_survives(
    instances: Instances,
) {
    let ada = instances.register("ada@example.com").await;
    let logins = (0..16).map(|_| {
        let (store, family) = (instances.next(), begun(&ada));
        let line = entry(AuditEvent::LoginSucceeded, &ada);
        let first = token().hash();
        async move {
            let created = store.create_family(&family, &first, after(600), &line);
            created.await.map(|_| ()).unwrap();
        }
    });
    let (store, id) = (instances.next(), ada.id);
    let cut = AuditEntry {
        at: after(1),
        ..entry(AuditEvent::LoggedOutEverywhere, &ada)
    };
    let ending = async move {
        let ended = store.end_all_sessions_of(id, after(600), &cut).await;
        assert!(ended.unwrap().is_some());
    };
    let logins =
        logins.map(|login| Box::pin(login) as std::pin::Pin<Box<dyn Future<Output = ()> + Send>>);
    let mut all: Vec<_> = logins.collect();
    all.insert(8, Box::pin(ending));
    all_at_once(all).await;
    assert_eq!(listed(&instances, ada.id, after(2)).await, []);
}
