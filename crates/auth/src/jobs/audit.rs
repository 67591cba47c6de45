//! What is done with the audit log beside requests: its lines are linked, and old ones removed. Never by two instances
//! at once, as far as removing goes.

use std::time::Duration;

use super::not_ahead;
use crate::app::Cause;
use crate::domain::{Actor, AuditEntry, AuditEvent, UnixMillis};
use crate::store::{PageLimit, Store};

/// For so long a line has no place in the chain, at most and about.
pub(super) const LINK: Duration = Duration::from_secs(1);
/// Lines that one transaction links: few enough that logins write in between on SQLite.
const LINKED_AT_ONCE: u16 = 200;
/// More than a cluster writes in a second.
const LINK_BITES: u32 = 50;
pub(super) const RETAIN: Duration = Duration::from_secs(60);
/// Far longer than one bite takes: whoever dies in the middle is replaced after this time.
const LEASE: Duration = Duration::from_secs(60);
const LEASE_NAME: &str = "audit retention";
const RETAIN_BITES: u32 = 100;

/// Gives every line its place in the chain.
pub(super) async fn link(store: &dyn Store, now: UnixMillis) -> Result<(), Cause> {
    let limit = PageLimit::new(LINKED_AT_ONCE);
    for _ in 0..LINK_BITES {
        if store.link_audit(now, limit).await? < u64::from(limit.rows()) {
            break;
        }
    }
    Ok(())
}

/// Removes lines that are older than `kept`, unless another instance is at it. Returns how many it were.
pub(super) async fn retain(
    store: &dyn Store,
    kept: Option<Duration>,
    holder: &str,
    now: UnixMillis,
) -> Result<u64, Cause> {
    let Some(kept) = kept else {
        return Ok(0);
    };
    let now = not_ahead(store, now).await?;
    let before = now.minus(kept);
    let oldest = store.audit_chain(0, PageLimit::new(1)).await?;
    if oldest.first().is_none_or(|line| line.at >= before) {
        return Ok(0);
    }
    let limit = PageLimit::MAX;
    let mut removed = 0;
    for _ in 0..RETAIN_BITES {
        // Asked for anew before each bite: whoever was held up for long finds that another one goes on.
        if !store.claim_lease(LEASE_NAME, holder, LEASE, now).await? {
            break;
        }
        let bite = store.cut_audit(before, now, limit).await?;
        removed += bite;
        if bite < u64::from(limit.rows()) {
            break;
        }
    }
    if removed > 0 {
        let days = kept.as_secs() / 86_400;
        tracing::info!(removed, days, "old lines of the audit log are removed");
        let line = AuditEntry::by(Actor::System, now, AuditEvent::AuditCut);
        let line = line.about(&format!("{removed} lines older than {days} days"));
        store.append_audit(&line).await?;
    }
    store.release_lease(LEASE_NAME, holder).await?;
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::tests::inside;

    const DAY: Duration = Duration::from_secs(86_400);

    fn line(at: UnixMillis) -> AuditEntry {
        AuditEntry::by(Actor::System, at, AuditEvent::SetUp)
    }

    #[tokio::test]
    async fn sec_i06_old_lines_go_in_bites_by_one_instance_and_the_rest_stays() {
        let (_directory, inside) = inside().await;
        let store = inside.stores.store.as_ref();
        let start = UnixMillis(1_700_000_000_000);
        let many = 2 * u64::from(PageLimit::MAX.rows()) + 1;
        for number in 0..many {
            let at = UnixMillis(start.0 + i64::try_from(number).unwrap());
            store.append_audit(&line(at)).await.unwrap();
        }
        let later = start.plus(DAY * 10);
        store.append_audit(&line(later)).await.unwrap();
        link(store, later).await.unwrap();
        let now = start.plus(DAY * 31);
        let kept = Some(DAY * 30);
        assert_eq!(retain(store, None, "a", now).await.unwrap(), 0, "for ever");
        let lease = store.claim_lease(LEASE_NAME, "b", LEASE, now).await;
        assert!(lease.unwrap());
        let beside = retain(store, kept, "a", now).await.unwrap();
        assert_eq!(beside, 0, "another one is at it");
        store.release_lease(LEASE_NAME, "b").await.unwrap();
        assert_eq!(retain(store, kept, "a", now).await.unwrap(), many);
        assert_eq!(retain(store, kept, "b", now).await.unwrap(), 0);
        link(store, now).await.unwrap();
        let left = store.audit_chain(0, PageLimit::MAX).await.unwrap();
        let events: Vec<_> = left.iter().map(|line| line.event.as_str()).collect();
        assert_eq!(events, ["set_up", "audit_cut"]);
        let report = crate::app::audit::verify(store, &inside.stores.chain, None);
        let report = report.await.unwrap();
        assert_eq!(report.broken, None);
        assert_eq!(report.cut.unwrap().position, i64::try_from(many).unwrap());
    }
}
