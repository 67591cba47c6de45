//! Accounts: unique, readable by every instance, opened and shut in one step. Never tests a database by its own means.

use std::net::IpAddr;

use super::refresh::rotation;
use super::{Instances, START, account, after, all_at_once, entry, roles, token};
use crate::domain::{
    Account, AccountId, AccountStatus, Actor, AuditEntry, AuditEvent, AuditOutcome, Email,
    MailKind, PasswordHash, RequestId, Revocation,
};
use crate::store::{
    AccountCreation, FamilyCreation, MailLease, PageLimit, RevocationPosition, RotationOutcome,
};

pub(crate) async fn what_one_instance_stores_the_others_read(instances: Instances) {
    let mut ada = account("ada@example.com");
    ada.roles = roles(&["admin", "billing:read"]);
    let registered = entry(AuditEvent::Registered, &ada);
    assert_eq!(
        instances
            .next()
            .create_account(&ada, &registered)
            .await
            .unwrap(),
        AccountCreation::Created
    );
    for found in [
        instances
            .next()
            .account_by_email(&ada.email)
            .await
            .unwrap()
            .unwrap(),
        instances
            .next()
            .account_by_id(ada.id)
            .await
            .unwrap()
            .unwrap(),
    ] {
        assert_eq!(
            (found.id, &found.email, found.status),
            (ada.id, &ada.email, AccountStatus::Active)
        );
        assert_eq!((&found.roles, found.created_at), (&ada.roles, START));
        assert_eq!(found.password_hash.expose(), ada.password_hash.expose());
    }
    assert_eq!(
        instances.next().recent_audit(PageLimit::MAX).await.unwrap(),
        [registered]
    );
}

pub(crate) async fn what_does_not_exist_is_none(instances: Instances) {
    let nobody = Email::parse("nobody@example.com").unwrap();
    let store = instances.next();
    assert!(store.account_by_email(&nobody).await.unwrap().is_none());
    assert!(
        store
            .account_by_id(AccountId::from_random([0; 16]))
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        store
            .accounts(None, PageLimit::MAX)
            .await
            .unwrap()
            .is_empty()
    );
    assert!(store.signing_keys().await.unwrap().is_empty());
    assert!(store.recent_audit(PageLimit::MAX).await.unwrap().is_empty());
    assert!(
        store
            .family_by_token(&token().hash())
            .await
            .unwrap()
            .is_none()
    );
    store.ping().await.unwrap();
}

pub(crate) async fn an_address_is_taken_once_however_many_register_it(instances: Instances) {
    let tasks = (0..32).map(|_| {
        let (store, account) = (instances.next(), account("ada@example.com"));
        async move {
            store
                .create_account(&account, &entry(AuditEvent::Registered, &account))
                .await
                .unwrap()
        }
    });
    let results = all_at_once(tasks.collect::<Vec<_>>()).await;
    assert_eq!(
        results
            .iter()
            .filter(|r| **r == AccountCreation::Created)
            .count(),
        1
    );
    let audit = instances.next().recent_audit(PageLimit::MAX).await.unwrap();
    let ada = Email::parse("ada@example.com").unwrap();
    let owner = instances.next().account_by_email(&ada).await.unwrap();
    let owner = owner.map(|account| account.id);
    assert!(audit.iter().all(|line| line.account == owner));
    let again = audit
        .iter()
        .filter(|line| line.event == AuditEvent::RegisteredAgain);
    assert_eq!(
        (audit.len(), again.count()),
        (32, 31),
        "every registration commits something, so that none answers sooner"
    );
}

pub(crate) async fn hostile_text_is_stored_as_it_is(instances: Instances) {
    let mut account = account("o'hara%_--drop@example.com");
    account.password_hash =
        PasswordHash::from_phc("'; DROP TABLE account; -- \u{1} \u{10ffff}".to_owned());
    instances
        .next()
        .create_account(&account, &entry(AuditEvent::Registered, &account))
        .await
        .unwrap();
    let found = instances
        .next()
        .account_by_email(&account.email)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.password_hash.expose(), account.password_hash.expose());
    let other = Email::parse("o'harax%_--drop@example.com").unwrap();
    assert!(
        instances
            .next()
            .account_by_email(&other)
            .await
            .unwrap()
            .is_none()
    );
}

pub(crate) async fn pages_are_bounded_ordered_and_complete(instances: Instances) {
    for i in [3, 1, 4, 0, 2] {
        instances.register(&format!("user{i}@example.com")).await;
    }
    let (mut seen, mut last) = (Vec::new(), None);
    loop {
        let page = instances
            .next()
            .accounts(last.as_ref(), PageLimit::new(2))
            .await
            .unwrap();
        assert!(page.len() <= 2);
        let Some(end) = page.last() else { break };
        last = Some(end.email.clone());
        seen.extend(
            page.into_iter()
                .map(|account| account.email.as_str().to_owned()),
        );
    }
    assert_eq!(
        seen,
        (0..5)
            .map(|i| format!("user{i}@example.com"))
            .collect::<Vec<_>>()
    );
    assert_eq!(PageLimit::new(0).rows(), 1);
    assert_eq!(PageLimit::new(u16::MAX), PageLimit::MAX);
}

/// Disables the account `seconds` after [`START`] and returns the audit line.
async fn disable(instances: &Instances, account: &Account, seconds: u64) -> AuditEntry {
    let line = AuditEntry {
        at: after(seconds),
        client: None,
        ..entry(AuditEvent::Disabled, account)
    };
    let store = instances.next();
    assert!(
        store
            .set_status(account.id, AccountStatus::Disabled, after(700), &line)
            .await
            .unwrap()
    );
    line
}

/// The revocations still needed at `seconds` after [`START`].
async fn revocations(instances: &Instances, seconds: u64) -> Vec<Revocation> {
    let from = RevocationPosition::default();
    let list = instances
        .next()
        .revocations(from, after(seconds), PageLimit::MAX)
        .await
        .unwrap();
    list.into_iter().map(|(_, revocation)| revocation).collect()
}

pub(crate) async fn sec_a14_shutting_an_account_shuts_every_way_to_a_token(instances: Instances) {
    let ada = instances.register("ada@example.com").await;
    let (family, first) = instances.log_in(&ada).await;
    let line = disable(&instances, &ada, 5).await;

    let found = instances
        .next()
        .account_by_id(ada.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.status, AccountStatus::Disabled);
    let used = rotation(&first, &token(), after(6));
    let outcome = instances.next().rotate(&used).await.unwrap();
    assert!(matches!(outcome, RotationOutcome::Revoked), "{outcome:?}");
    let login = entry(AuditEvent::LoginSucceeded, &ada);
    let (store, fresh) = (instances.next(), super::family(&ada));
    let refused = store
        .create_family(&fresh, &token().hash(), after(60), &login)
        .await
        .unwrap();
    assert_eq!(refused, FamilyCreation::AccountNotActive);
    let cut = Revocation::Account {
        sub: ada.id,
        not_before: after(5),
        until: after(700),
    };
    assert_eq!(revocations(&instances, 5).await, [cut]);
    assert_eq!(
        instances
            .next()
            .recent_audit(PageLimit::new(1))
            .await
            .unwrap(),
        [line]
    );
    let ended = instances
        .next()
        .family_by_token(&first.hash())
        .await
        .unwrap()
        .unwrap();
    assert_eq!((ended.id, ended.revoked_at), (family.id, Some(after(5))));
}

pub(crate) async fn opening_an_account_again_does_not_bring_old_tokens_back(instances: Instances) {
    let ada = instances.register("ada@example.com").await;
    let (_, first) = instances.log_in(&ada).await;
    disable(&instances, &ada, 5).await;
    let enabled = AuditEntry {
        at: after(6),
        ..entry(AuditEvent::Enabled, &ada)
    };
    let store = instances.next();
    assert!(
        store
            .set_status(ada.id, AccountStatus::Active, after(700), &enabled)
            .await
            .unwrap()
    );

    let used = rotation(&first, &token(), after(7));
    let outcome = instances.next().rotate(&used).await.unwrap();
    assert!(matches!(outcome, RotationOutcome::Revoked), "{outcome:?}");
    instances.log_in(&ada).await;
    assert_eq!(
        revocations(&instances, 7).await.len(),
        1,
        "the cut outlives the tokens it covers"
    );
}

pub(crate) async fn changes_to_an_unknown_account_change_nothing(instances: Instances) {
    let nobody = account("nobody@example.com");
    let store = instances.next();
    let line = entry(AuditEvent::Disabled, &nobody);
    assert!(
        !store
            .set_status(nobody.id, AccountStatus::Disabled, after(1), &line)
            .await
            .unwrap()
    );
    assert!(
        !store
            .set_roles(nobody.id, &roles(&["admin"]), &line)
            .await
            .unwrap()
    );
    assert!(
        !store
            .upgrade_password_hash(nobody.id, &nobody.password_hash, &nobody.password_hash)
            .await
            .unwrap()
    );
    let refused = store
        .create_family(&super::family(&nobody), &token().hash(), after(1), &line)
        .await
        .unwrap();
    assert_eq!(refused, FamilyCreation::AccountNotActive);
    assert!(store.recent_audit(PageLimit::MAX).await.unwrap().is_empty());
    assert!(
        store
            .revocations(RevocationPosition::default(), START, PageLimit::MAX)
            .await
            .unwrap()
            .is_empty()
    );
}

pub(crate) async fn roles_are_replaced_as_a_whole(instances: Instances) {
    let ada = instances.register("ada@example.com").await;
    for names in [&["a", "b"][..], &["b", "c"], &[]] {
        let changed = instances
            .next()
            .set_roles(
                ada.id,
                &roles(names),
                &entry(AuditEvent::RolesChanged, &ada),
            )
            .await
            .unwrap();
        assert!(changed);
        assert_eq!(
            instances
                .next()
                .account_by_id(ada.id)
                .await
                .unwrap()
                .unwrap()
                .roles,
            roles(names)
        );
    }
}

pub(crate) async fn a_password_hash_is_upgraded_only_from_what_was_read(instances: Instances) {
    let ada = instances.register("ada@example.com").await;
    let [better, other] = ["$better", "$other"].map(|phc| PasswordHash::from_phc(phc.to_owned()));
    assert!(
        instances
            .next()
            .upgrade_password_hash(ada.id, &ada.password_hash, &better)
            .await
            .unwrap()
    );
    assert!(
        !instances
            .next()
            .upgrade_password_hash(ada.id, &ada.password_hash, &other)
            .await
            .unwrap()
    );
    let found = instances
        .next()
        .account_by_id(ada.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.password_hash.expose(), "$better");
}

pub(crate) async fn the_audit_log_is_read_newest_first(instances: Instances) {
    let ada = account("ada@example.com");
    let mut expected = Vec::new();
    let actors = [
        Actor::Account(ada.id),
        Actor::Client("billing".to_owned()),
        Actor::Operator,
        Actor::System,
        Actor::Unproven,
    ];
    for (i, event) in (0..).zip(AuditEvent::ALL.iter().copied()) {
        let client: Option<IpAddr> = ["2001:db8::1", "192.0.2.7"]
            .get(i % 2)
            .map(|text| text.parse().unwrap());
        let line = AuditEntry {
            client: client.filter(|_| i != 4),
            account: (i != 5).then_some(ada.id),
            object: (i == 1).then(|| "billing'; DROP TABLE audit; --".to_owned()),
            request: (i != 2).then(|| RequestId::parse("018f-a.b_c").unwrap()),
            outcome: AuditOutcome::Refused,
            actor: actors[i % actors.len()].clone(),
            ..entry(event, &ada)
        };
        instances.next().append_audit(&line).await.unwrap();
        expected.insert(0, line);
    }
    assert_eq!(
        instances.next().recent_audit(PageLimit::MAX).await.unwrap(),
        expected
    );
    assert_eq!(
        instances
            .next()
            .recent_audit(PageLimit::new(3))
            .await
            .unwrap(),
        expected[..3]
    );
}

pub(crate) async fn sec_a05_a_sample_of_password_hashes_is_bounded_and_stays_the_same(
    instances: Instances,
) {
    let mut stored = Vec::new();
    for n in 0..5 {
        stored.push(instances.register(&format!("a{n}@example.com")).await);
    }
    stored.sort_by_key(|account| account.id.to_string());
    for _ in 0..2 {
        let store = instances.next();
        let sample = store.password_hash_sample(PageLimit::new(3)).await.unwrap();
        assert_eq!(sample.len(), 3);
        for (hash, account) in sample.iter().zip(&stored) {
            assert_eq!(hash.expose(), account.password_hash.expose());
        }
    }
}

async fn try_register(instances: &Instances, address: &str) -> AccountCreation {
    let account = account(address);
    let line = entry(AuditEvent::Registered, &account);
    let created = instances.next().create_account(&account, &line).await;
    created.unwrap()
}

async fn found(instances: &Instances, address: &str) -> Option<AccountId> {
    let email = Email::parse(address).unwrap();
    let found = instances.next().account_by_email(&email).await.unwrap();
    found.map(|account| account.id)
}

pub(crate) async fn sec_h06_an_address_that_looks_the_same_is_taken(instances: Instances) {
    let ada = instances.register("adafi@example.com").await;
    for address in [
        "ada\u{fb01}@example.com",
        "ＡＤＡfi@example.com",
        "ada\u{fb01}＠example.com",
    ] {
        assert_eq!(
            try_register(&instances, address).await,
            AccountCreation::EmailTaken
        );
        assert_eq!(found(&instances, address).await, Some(ada.id), "{address}");
    }
}

pub(crate) async fn sec_h06_whom_an_earlier_release_stored_is_found_as_before_and_shut_out_by_nobody(
    instances: Instances,
) {
    let ligature = "ada\u{fb01}@example.com";
    let old = Account {
        email: Email::from_store(ligature).unwrap(),
        ..account("unused@example.com")
    };
    let line = entry(AuditEvent::Registered, &old);
    instances.next().create_account(&old, &line).await.unwrap();
    assert_eq!(found(&instances, ligature).await, Some(old.id));
    assert_eq!(
        found(&instances, "ADA\u{fb01}@example.com").await,
        Some(old.id)
    );
    let kept = instances
        .next()
        .account_by_id(old.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(kept.email.as_str(), ligature, "mail goes where it went");
    assert_eq!(
        try_register(&instances, ligature).await,
        AccountCreation::EmailTaken
    );
    // The plain spelling is another mailbox: it may register, and takes nothing from the first.
    assert_eq!(found(&instances, "adafi@example.com").await, None);
    assert_eq!(
        try_register(&instances, "adafi@example.com").await,
        AccountCreation::Created
    );
    assert_eq!(found(&instances, ligature).await, Some(old.id));
    let plain = found(&instances, "adafi@example.com").await;
    assert!(plain.is_some_and(|id| id != old.id));
}

pub(crate) async fn an_imported_account_is_there_once_and_nobody_gets_mail(instances: Instances) {
    let line = |account: &Account| AuditEntry {
        account: Some(account.id),
        ..AuditEntry::by(Actor::Operator, START, AuditEvent::AccountImported)
    };
    let (ada, eve) = (account("ada@example.com"), account("eve@example.com"));
    for (account, verified_at) in [(&ada, Some(START)), (&eve, None)] {
        let store = instances.next();
        let line = line(account);
        let imported = store.import_account(account, verified_at, &line).await;
        assert_eq!(imported.unwrap(), AccountCreation::Created);
    }
    let again = Account {
        roles: roles(&["admin"]),
        ..account("ada@example.com")
    };
    let store = instances.next();
    let taken = store.import_account(&again, None, &line(&again)).await;
    assert_eq!(taken.unwrap(), AccountCreation::EmailTaken);
    let found = instances.next().account_by_email(&ada.email).await;
    let found = found.unwrap().unwrap();
    assert_eq!((found.id, found.roles), (ada.id, ada.roles), "as it was");
    let lines = instances.next().recent_audit(PageLimit::MAX).await.unwrap();
    let imported: Vec<_> = lines.iter().map(|line| line.account).collect();
    assert_eq!(imported, [Some(eve.id), Some(ada.id)], "a line for each");
    assert_eq!(instances.next().mail_queue().await.unwrap().waiting, 0);
    // Whose address is verified has nothing to verify: that mail goes to nobody.
    for (email, waits) in [(&ada.email, 0), (&eve.email, 1)] {
        let asked = AuditEntry::by(Actor::Unproven, START, AuditEvent::VerificationRequested);
        let store = instances.next();
        store
            .request_mail(email, MailKind::VerifyEmail, &asked)
            .await
            .unwrap();
        let mut reached = 0;
        loop {
            let token = token().hash();
            let lease = instances.next().lease_mail(&token, START, after(60)).await;
            match lease.unwrap() {
                MailLease::Mail(_) => reached += 1,
                MailLease::Nobody => {}
                MailLease::Nothing => break,
            }
        }
        assert_eq!(reached, waits, "{}", email.as_str());
    }
}
