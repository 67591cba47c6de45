//! Sessions: found by their id, ended or not.

use super::{Instances, after, entry, token};
use crate::domain::{AuditEvent, Family, FamilyId, SessionId};
use crate::random;
use crate::store::FamilyCreation;

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
