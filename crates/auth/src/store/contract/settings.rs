//! Stored settings: one value for all instances, each change a version of its own. Never tests a database by its own means.

use super::{Instances, START, after, all_at_once};
use crate::domain::{Actor, AuditEntry, AuditEvent};
use crate::store::PageLimit;

fn changed(seconds: u64) -> AuditEntry {
    AuditEntry::by(Actor::Operator, after(seconds), AuditEvent::SettingChanged).about("LOG_LEVEL")
}

pub(crate) async fn a_setting_is_read_by_all_and_its_version_only_grows(instances: Instances) {
    let store = instances.next();
    assert_eq!(store.settings().await.unwrap(), []);
    let set = async |value| {
        let store = instances.next();
        store
            .set_setting("LOG_LEVEL", value, &changed(1))
            .await
            .unwrap()
    };
    assert_eq!((set(Some("debug")).await, set(Some("'; --")).await), (1, 2));
    let stored = instances.next().settings().await.unwrap().remove(0);
    assert_eq!(
        (stored.value.as_deref(), stored.version),
        (Some("'; --"), 2)
    );
    assert_eq!(
        (stored.changed_at, stored.changed_by.as_str()),
        (after(1), "operator")
    );
    assert_eq!(set(None).await, 3);
    let stored = instances.next().settings().await.unwrap().remove(0);
    assert_eq!((stored.value, stored.version), (None, 3), "a reset shows");
    let lines = instances.next().recent_audit(PageLimit::MAX).await.unwrap();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0], changed(1));
}

pub(crate) async fn changes_at_once_have_versions_of_their_own(instances: Instances) {
    let changing = (0..32).map(|number| {
        let store = instances.next();
        async move {
            let name = format!("SETTING_{}", number % 3);
            let line = AuditEntry::by(Actor::Operator, START, AuditEvent::SettingChanged);
            store.set_setting(&name, Some("x"), &line).await.unwrap()
        }
    });
    let mut versions = all_at_once(changing.collect::<Vec<_>>()).await;
    versions.sort_unstable();
    assert_eq!(versions, (1..=32).collect::<Vec<_>>());
}
