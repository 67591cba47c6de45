//! The audit log: a chain of all lines whoever writes them, cut at its beginning only, and people taken out of it. Never
//! tests a database by its own means.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{Instances, START, account, after, all_at_once, entry, token};
use crate::app::audit::verify;
use crate::domain::{
    AccountId, Actor, AuditEntry, AuditEvent, AuditRow, ChainKey, ChainWalk, MarkKind, Revocation,
};
use crate::random;
use crate::store::{AuditFilter, PageLimit, Store, Trail};

/// How the stores of all cases write.
pub(crate) fn trail() -> Trail {
    Trail {
        key: Some(key()),
        ..Trail::default()
    }
}

fn key() -> ChainKey {
    ChainKey::new(&[7; 32])
}

async fn link_all(store: &dyn Store) {
    while store.link_audit(START, PageLimit::new(3)).await.unwrap() > 0 {}
}

/// Every line of the chain, which is whole from the cut to the head.
async fn whole(store: &dyn Store) -> Vec<AuditRow> {
    let marks = store.audit_marks().await.unwrap();
    let mut walk = ChainWalk::behind(marks.cut.as_ref());
    let rows = store.audit_chain(0, PageLimit::MAX).await.unwrap();
    for row in &rows {
        walk.step(&key(), row).unwrap();
    }
    let head = marks.head.unwrap();
    assert!(key().is_ours(MarkKind::Head, &head));
    assert_eq!((head.position, head.link), (walk.position, walk.link));
    rows
}

fn system(seconds: u64) -> AuditEntry {
    AuditEntry::by(Actor::System, after(seconds), AuditEvent::SetUp)
}

pub(crate) async fn lines_of_many_writers_and_linkers_make_one_chain(instances: Instances) {
    let writing = (0..64).map(|number| {
        let store = instances.next();
        async move {
            store.append_audit(&system(number)).await.unwrap();
            store.link_audit(START, PageLimit::new(5)).await.unwrap();
        }
    });
    all_at_once(writing.collect::<Vec<_>>()).await;
    link_all(instances.next().as_ref()).await;
    let rows = whole(instances.next().as_ref()).await;
    let positions: Vec<_> = rows.iter().filter_map(|row| row.position).collect();
    assert_eq!(positions, (1..=64).collect::<Vec<_>>());
    let waiting = instances.next().unlinked_audit(0, PageLimit::MAX).await;
    assert_eq!(waiting.unwrap(), []);
}

pub(crate) async fn every_way_to_write_a_line_seals_it(instances: Instances) {
    let ada = instances.register("ada@example.com").await;
    let (family, first) = instances.log_in(&ada).await;
    let line = entry(AuditEvent::LoggedOut, &ada).in_session(family.session);
    let store = instances.next();
    store
        .revoke_session(family.session, after(9), &line)
        .await
        .unwrap();
    drop(first);
    let waiting = store.unlinked_audit(0, PageLimit::MAX).await.unwrap();
    assert_eq!(waiting.len(), 3);
    for row in &waiting {
        key().check(row).unwrap();
    }
    link_all(store.as_ref()).await;
    assert_eq!(whole(store.as_ref()).await.len(), 3);
    assert_eq!(store.copied_audit().await.unwrap(), None);
}

pub(crate) async fn sec_i06_the_chain_is_cut_from_its_beginning_and_stays_whole(
    instances: Instances,
) {
    let store = instances.next();
    // The third is younger than the fourth: clocks differ.
    for seconds in [1, 2, 9, 3, 10] {
        store.append_audit(&system(seconds)).await.unwrap();
    }
    let limit = PageLimit::new(2);
    let cut = async |before| {
        let store = instances.next();
        store.cut_audit(after(before), START, limit).await.unwrap()
    };
    assert_eq!(cut(100).await, 0, "what is not linked yet is not removed");
    link_all(store.as_ref()).await;
    assert_eq!(cut(1).await, 0);
    assert_eq!(cut(5).await, 2);
    assert_eq!(cut(5).await, 0, "not beyond one that stays");
    let rows = whole(store.as_ref()).await;
    assert_eq!(rows.len(), 3);
    let marks = store.audit_marks().await.unwrap();
    assert!(key().is_ours(MarkKind::Cut, marks.cut.as_ref().unwrap()));
    assert_eq!(cut(100).await, 2);
    assert_eq!(cut(100).await, 1);
    assert_eq!(whole(store.as_ref()).await, []);
    store.append_audit(&system(11)).await.unwrap();
    link_all(store.as_ref()).await;
    assert_eq!(whole(store.as_ref()).await[0].position, Some(6));
}

pub(crate) async fn sec_i06_an_erased_account_leaves_a_whole_chain_and_no_trace(
    instances: Instances,
) {
    let ada = instances.register("ada@example.com").await;
    let bob = instances.register("bob@example.com").await;
    instances.log_in(&ada).await;
    link_all(instances.next().as_ref()).await;
    let by_ada = entry(AuditEvent::Disabled, &bob).done_by(Actor::Account(ada.id));
    instances.next().append_audit(&by_ada).await.unwrap();
    let pseudonym = AccountId::from_random(random::bytes());
    let store = instances.next();
    let erase = async |limit| {
        let erasing = store.erase_from_audit(ada.id, pseudonym, PageLimit::new(limit));
        erasing.await.unwrap()
    };
    assert_eq!((erase(2).await, erase(2).await, erase(2).await), (2, 1, 0));
    let line = AuditEntry::by(Actor::Operator, after(5), AuditEvent::AccountErased);
    let deleted = store
        .delete_account(ada.id, after(700), &line)
        .await
        .unwrap();
    let cut = Revocation::Account {
        sub: ada.id,
        not_before: after(5),
        until: after(700),
    };
    assert_eq!(deleted, Some(cut));
    let again = store.delete_account(ada.id, after(700), &line).await;
    assert_eq!(again.unwrap(), None);
    assert!(store.account_by_id(ada.id).await.unwrap().is_none());
    link_all(store.as_ref()).await;
    let rows = whole(store.as_ref()).await;
    let shown = format!("{rows:?}");
    assert!(!shown.contains(&ada.id.to_string()), "{shown}");
    assert!(shown.contains(&pseudonym.to_string()) && shown.contains(&bob.id.to_string()));
    let erased = rows.iter().filter(|row| row.erasure.is_some());
    assert!(
        erased
            .clone()
            .all(|row| row.personal.client.is_none() && row.blind.is_none())
    );
    assert_eq!(erased.count(), 3);
    // Whoever is the other one in a line can be erased, too.
    let second = AccountId::from_random(random::bytes());
    let more = store.erase_from_audit(bob.id, second, PageLimit::MAX).await;
    assert_eq!(more.unwrap(), 2);
    assert_eq!(whole(store.as_ref()).await.len(), 5);
}

pub(crate) async fn deleting_an_account_takes_all_that_is_its_own(instances: Instances) {
    let ada = instances.register("ada@example.com").await;
    let (_, first) = instances.log_in(&ada).await;
    let line = entry(AuditEvent::AccountErased, &ada);
    let deleted = instances
        .next()
        .delete_account(ada.id, after(9), &line)
        .await;
    assert!(deleted.unwrap().is_some());
    let family = instances.next().family_by_token(&first.hash()).await;
    assert!(family.unwrap().is_none());
    let again = account("ada@example.com");
    let registered = entry(AuditEvent::Registered, &again);
    let created = instances.next().create_account(&again, &registered).await;
    assert_eq!(created.unwrap(), crate::store::AccountCreation::Created);
    let fresh = super::family(&ada);
    let refused = instances
        .next()
        .create_family(&fresh, &token().hash(), after(60), &line)
        .await;
    assert_eq!(
        refused.unwrap(),
        crate::store::FamilyCreation::AccountNotActive
    );
}

pub(crate) async fn sec_i06_a_job_has_one_holder_until_its_time_is_over(instances: Instances) {
    let ttl = Duration::from_secs(60);
    let claim = async |holder: &str, seconds| {
        let store = instances.next();
        store
            .claim_lease("a job", holder, ttl, after(seconds))
            .await
            .unwrap()
    };
    let claiming = (0..16).map(|number| {
        let store = instances.next();
        async move {
            let holder = number.to_string();
            store
                .claim_lease("another job", &holder, ttl, START)
                .await
                .unwrap()
        }
    });
    let claimed = all_at_once(claiming.collect::<Vec<_>>()).await;
    assert_eq!(claimed.into_iter().filter(|won| *won).count(), 1);
    assert!(claim("a", 0).await);
    assert!(!claim("b", 59).await);
    assert!(claim("a", 59).await, "kept");
    assert!(!claim("b", 60).await);
    assert!(claim("b", 119).await, "the other one is gone");
    assert!(!claim("a", 120).await);
    let store = instances.next();
    store.release_lease("a job", "a").await.unwrap();
    assert!(!claim("a", 121).await, "only its holder gives it back");
    store.release_lease("a job", "b").await.unwrap();
    assert!(claim("a", 122).await);
}

pub(crate) async fn sec_h05_pages_of_the_log_fit_their_filter_and_nothing_typed_is_run(
    instances: Instances,
) {
    let ada = account("ada@example.com");
    let bob = account("bob@example.com");
    for seconds in 0..7 {
        let owner = if seconds % 2 == 0 { &ada } else { &bob };
        let line = AuditEntry {
            at: after(seconds),
            ..entry(AuditEvent::LoginFailed, owner)
        };
        instances.next().append_audit(&line).await.unwrap();
    }
    let by_bob = entry(AuditEvent::Disabled, &ada).done_by(Actor::Account(bob.id));
    instances.next().append_audit(&by_bob).await.unwrap();
    let count = async |filter: AuditFilter| {
        let (mut before, mut count) = (None, 0);
        loop {
            let store = instances.next();
            let page = store.audit_page(&filter, before, PageLimit::new(3), None);
            let page = page.await.unwrap();
            count += page.len();
            match page.last() {
                Some(row) => before = Some(row.id),
                None => return count,
            }
        }
    };
    let none = AuditFilter::default();
    assert_eq!(count(none.clone()).await, 8);
    let of_bob = AuditFilter {
        account: Some(bob.id),
        ..none.clone()
    };
    assert_eq!(count(of_bob).await, 4, "what concerns him and what he did");
    let event = |word: &str| AuditFilter {
        event: Some(word.to_owned()),
        ..none.clone()
    };
    assert_eq!(count(event("login_failed")).await, 7);
    let refused = AuditFilter {
        outcome: Some("refused".to_owned()),
        ..none.clone()
    };
    assert_eq!(count(refused).await, 7);
    let span = AuditFilter {
        since: Some(after(2)),
        until: Some(after(4)),
        ..none.clone()
    };
    assert_eq!(count(span).await, 2);
    for hostile in [
        "'",
        "' OR '1'='1",
        "login_failed'; DROP TABLE audit; --",
        "%",
        "_",
        "\\",
    ] {
        assert_eq!(count(event(hostile)).await, 0, "{hostile}");
        let request = AuditFilter {
            request: Some(hostile.to_owned()),
            ..none.clone()
        };
        assert_eq!(count(request).await, 0, "{hostile}");
    }
    assert_eq!(count(none).await, 8);
}

pub(crate) async fn a_look_counts_every_line_once_while_others_write_and_link(
    instances: Instances,
) {
    let (begun, done) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let writers: Vec<_> = (0..4)
        .map(|_| {
            let (store, begun, done) = (instances.next(), begun.clone(), done.clone());
            tokio::spawn(async move {
                for number in 0..60 {
                    begun.fetch_add(1, Ordering::SeqCst);
                    store.append_audit(&system(number)).await.unwrap();
                    done.fetch_add(1, Ordering::SeqCst);
                    store.link_audit(START, PageLimit::new(2)).await.unwrap();
                }
            })
        })
        .collect();
    let store = instances.next();
    while !writers.iter().all(tokio::task::JoinHandle::is_finished) {
        let least = done.load(Ordering::SeqCst);
        let report = verify(store.as_ref(), &key(), None).await.unwrap();
        let most = begun.load(Ordering::SeqCst);
        assert_eq!(report.broken, None);
        let counted = report.walk.lines + report.unlinked;
        assert!(
            (least..=most).contains(&counted),
            "{least} {counted} {most}"
        );
    }
    for writer in writers {
        writer.await.unwrap();
    }
    link_all(store.as_ref()).await;
    let report = verify(store.as_ref(), &key(), None).await.unwrap();
    assert_eq!((report.walk.lines, report.unlinked), (240, 0));
}
