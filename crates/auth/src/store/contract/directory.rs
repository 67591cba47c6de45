//! Looking for accounts. Never tests a database by its own means.

use super::{Instances, account, entry, roles};
use crate::domain::{AccountStatus, AuditEvent};
use crate::store::{AccountFilter, PageLimit};

pub(crate) async fn sec_h05_accounts_are_found_by_what_is_bound_and_pages_are_complete(
    instances: Instances,
) {
    register_some(&instances).await;
    let reader = account("reader@example.com").id;
    let found = async |filter: AccountFilter| {
        let (mut after, mut found) = (None, Vec::new());
        loop {
            let store = instances.next();
            let page = store.find_accounts(&filter, after.as_ref(), PageLimit::new(2), reader);
            let page = page.await.unwrap();
            found.extend(page.iter().map(|one| one.email.as_str().to_owned()));
            match page.last() {
                Some(last) => after = Some(last.email.clone()),
                None => return found,
            }
        }
    };
    let none = AccountFilter::default();
    let all = found(none.clone()).await;
    assert_eq!(all.len(), 6);
    assert!(all.is_sorted());
    let address = |text: &str| AccountFilter {
        address: Some(text.to_owned()),
        ..none.clone()
    };
    assert_eq!(found(address("user")).await.len(), 5);
    assert_eq!(found(address("3@")).await, ["user3@example.com"]);
    for part in ["o'neil", "_x", "x%y", "!@"] {
        assert_eq!(
            found(address(part)).await,
            ["o'neil_x%y!@example.org"],
            "{part}"
        );
    }
    for hostile in [
        "_ser",
        "u%r",
        "' OR '1'='1",
        "'; DROP TABLE account; --",
        "\\",
        "%",
    ] {
        let is = found(address(hostile)).await;
        assert!(
            is.iter().all(|one| one.contains(hostile)),
            "{hostile}: {is:?}"
        );
    }
    let shut = AccountFilter {
        status: Some(AccountStatus::Disabled),
        ..none.clone()
    };
    assert_eq!(found(shut).await, ["user3@example.com"]);
    let admins = AccountFilter {
        role: Some("admin".to_owned()),
        ..none.clone()
    };
    assert_eq!(found(admins).await.len(), 1);
    let nobody = AccountFilter {
        role: Some("' OR 1=1 --".to_owned()),
        ..none
    };
    assert_eq!(found(nobody).await.len(), 0);
}

async fn register_some(instances: &Instances) {
    for number in 0..5 {
        let mut one = account(&format!("user{number}@example.com"));
        if number == 3 {
            one.roles = roles(&["admin", "billing"]);
            one.status = AccountStatus::Disabled;
        }
        let line = entry(AuditEvent::Registered, &one);
        instances.next().create_account(&one, &line).await.unwrap();
    }
    instances.register("o'neil_x%y!@example.org").await;
}
