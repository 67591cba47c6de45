//! Mail: queued with what causes it, taken by one, proven once. Never sent here.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use super::{IDLE_TTL, Instances, account, after, all_at_once, entry, token};
use crate::domain::{
    Account, AccountStatus, Actor, AuditEntry, AuditEvent, Email, MailKind, MailToken,
    PasswordHash, Revocation, TokenHash, UnixMillis,
};
use crate::random;
use crate::store::{LeasedMail, MailLease, MailQueue, PageLimit, RUN, Rotation, RotationOutcome};

fn mail_token() -> TokenHash {
    MailToken::from_random(random::bytes()).hash()
}

/// Whatever is due at `now`, leased for a minute.
async fn lease(instances: &Instances, now: UnixMillis) -> Option<(LeasedMail, TokenHash)> {
    loop {
        let token = mail_token();
        let until = now.plus(std::time::Duration::from_secs(60));
        match instances
            .next()
            .lease_mail(&token, now, until)
            .await
            .unwrap()
        {
            MailLease::Mail(mail) => return Some((mail, token)),
            MailLease::Nobody => {}
            MailLease::Nothing => return None,
        }
    }
}

/// Sends all that is due and says what kinds there were.
async fn send_all(instances: &Instances, now: UnixMillis) -> Vec<MailKind> {
    let mut kinds = Vec::new();
    while let Some((mail, _)) = lease(instances, now).await {
        instances.next().mail_sent(&mail).await.unwrap();
        kinds.push(mail.kind);
    }
    kinds
}

async fn ask(instances: &Instances, address: &str, kind: MailKind, at: UnixMillis) {
    let audit = AuditEntry::by(Actor::Unproven, at, AuditEvent::PasswordResetRequested);
    let email = Email::parse(address).unwrap();
    instances
        .next()
        .request_mail(&email, kind, &audit)
        .await
        .unwrap();
}

/// The token of a reset that was asked for and sent.
async fn reset_token(instances: &Instances, account: &Account, at: UnixMillis) -> TokenHash {
    ask(
        instances,
        account.email.as_str(),
        MailKind::ResetPassword,
        at,
    )
    .await;
    let (mail, token) = lease(instances, at).await.unwrap();
    assert_eq!(mail.kind, MailKind::ResetPassword);
    instances.next().mail_sent(&mail).await.unwrap();
    token
}

pub(crate) async fn mail_waits_from_the_moment_of_what_causes_it(instances: Instances) {
    let ada = instances.register("ada@example.com").await;
    let eve = Account {
        password_hash: ada.password_hash.clone(),
        ..account("ada@example.com")
    };
    let line = entry(AuditEvent::Registered, &eve);
    instances.next().create_account(&eve, &line).await.unwrap();
    let (first, _) = lease(&instances, after(0)).await.unwrap();
    let (second, _) = lease(&instances, after(0)).await.unwrap();
    let mut found =
        [&first, &second].map(|mail| (mail.kind.as_str(), mail.account, mail.to.clone()));
    found.sort();
    let to = ada.email.clone();
    assert_eq!(
        found,
        [
            ("registered_again", ada.id, to.clone()),
            ("verify_email", ada.id, to)
        ]
    );
    assert!(lease(&instances, after(0)).await.is_none());
    let queue = instances.next().mail_queue().await.unwrap();
    assert_eq!(
        queue,
        MailQueue {
            waiting: 2,
            oldest: Some(after(0))
        }
    );
    for mail in [first, second] {
        instances.next().mail_sent(&mail).await.unwrap();
    }
    assert_eq!(
        instances.next().mail_queue().await.unwrap(),
        MailQueue::default()
    );
    assert!(lease(&instances, after(86_400)).await.is_none());
}

pub(crate) async fn of_many_that_take_mail_at_once_each_gets_another(instances: Instances) {
    for n in 0..20 {
        instances.register(&format!("u{n}@example.com")).await;
    }
    let takers = (0..12).map(|_| {
        let store = instances.next();
        async move {
            let mut taken = Vec::new();
            for _ in 0..20 {
                match store
                    .lease_mail(&mail_token(), after(0), after(60))
                    .await
                    .unwrap()
                {
                    MailLease::Mail(mail) => taken.push(mail.id),
                    MailLease::Nobody => {}
                    MailLease::Nothing => break,
                }
            }
            taken
        }
    });
    let taken: Vec<_> = all_at_once(takers).await.concat();
    assert_eq!(taken.len(), 20);
    assert_eq!(
        taken.iter().collect::<BTreeSet<_>>().len(),
        20,
        "none twice"
    );
}

pub(crate) async fn mail_of_an_instance_that_died_is_taken_by_another(instances: Instances) {
    instances.register("ada@example.com").await;
    let (first, _) = lease(&instances, after(0)).await.unwrap();
    assert!(lease(&instances, after(59)).await.is_none());
    let (second, _) = lease(&instances, after(60)).await.unwrap();
    assert_eq!(
        (&second.id, first.attempts, second.attempts),
        (&first.id, 1, 2)
    );
    // It lived after all: what it says now changes nothing of what the other does.
    instances.next().mail_failed(&first, None).await.unwrap();
    instances
        .next()
        .mail_failed(&second, Some(after(90)))
        .await
        .unwrap();
    assert!(lease(&instances, after(89)).await.is_none());
    let (third, _) = lease(&instances, after(90)).await.unwrap();
    assert_eq!(third.attempts, 3);
    instances.next().mail_failed(&third, None).await.unwrap();
    assert!(lease(&instances, after(86_400)).await.is_none(), "given up");
}

pub(crate) async fn sec_a04_mail_to_nobody_costs_a_row_and_reaches_nobody(instances: Instances) {
    let ada = instances.register("ada@example.com").await;
    let eve = instances.register("eve@example.com").await;
    assert_eq!(send_all(&instances, after(0)).await.len(), 2);
    let line = entry(AuditEvent::Disabled, &eve);
    let store = instances.next();
    let disabled = store.set_status(eve.id, AccountStatus::Disabled, after(60), &line);
    assert!(disabled.await.unwrap());
    for address in ["nobody@example.com", "eve@example.com", "ada@example.com"] {
        ask(&instances, address, MailKind::ResetPassword, after(1)).await;
    }
    let mut leases = Vec::new();
    for _ in 0..4 {
        leases.push(
            instances
                .next()
                .lease_mail(&mail_token(), after(1), after(60))
                .await
                .unwrap(),
        );
    }
    let nobody = leases
        .iter()
        .filter(|it| matches!(it, MailLease::Nobody))
        .count();
    let sent: Vec<_> = leases
        .iter()
        .filter_map(|it| match it {
            MailLease::Mail(mail) => Some(mail.account),
            _ => None,
        })
        .collect();
    assert_eq!((nobody, sent), (2, vec![ada.id]));
    let lines = instances
        .next()
        .recent_audit(PageLimit::new(3))
        .await
        .unwrap();
    let about: Vec<_> = lines
        .iter()
        .map(|line| (line.event, line.account))
        .collect();
    let asked = AuditEvent::PasswordResetRequested;
    assert_eq!(about, [(asked, Some(ada.id)), (asked, None), (asked, None)]);
}

pub(crate) async fn mail_of_a_kind_is_bounded_for_each_account_and_hour(instances: Instances) {
    instances.register("ada@example.com").await;
    instances.register("eve@example.com").await;
    send_all(&instances, after(0)).await;
    let most = usize::from(MailKind::MOST);
    for second in 1..=9 {
        ask(
            &instances,
            "ada@example.com",
            MailKind::ResetPassword,
            after(second),
        )
        .await;
    }
    ask(
        &instances,
        "eve@example.com",
        MailKind::ResetPassword,
        after(9),
    )
    .await;
    assert_eq!(send_all(&instances, after(10)).await.len(), most + 1);
    ask(
        &instances,
        "ada@example.com",
        MailKind::ResetPassword,
        after(3600),
    )
    .await;
    assert_eq!(send_all(&instances, after(3600)).await.len(), 0);
    ask(
        &instances,
        "ada@example.com",
        MailKind::ResetPassword,
        after(3605),
    )
    .await;
    assert_eq!(send_all(&instances, after(3605)).await.len(), 1);
}

pub(crate) async fn sec_g06_a_token_of_mail_is_good_once_until_a_newer_one(instances: Instances) {
    let ada = instances.register("ada@example.com").await;
    let (mail, first) = lease(&instances, after(0)).await.unwrap();
    instances.next().mail_sent(&mail).await.unwrap();
    ask(
        &instances,
        "ada@example.com",
        MailKind::VerifyEmail,
        after(1),
    )
    .await;
    let (_, second) = lease(&instances, after(1)).await.unwrap();
    let line = |at| AuditEntry {
        at,
        ..entry(AuditEvent::EmailVerified, &ada)
    };
    let verify = async |token: &TokenHash, at| {
        instances
            .next()
            .verify_email(token, &line(at))
            .await
            .unwrap()
    };
    assert_eq!(verify(&first, after(2)).await, None, "replaced");
    assert_eq!(verify(&mail_token(), after(2)).await, None, "unknown");
    assert_eq!(verify(&second, after(86_401)).await, None, "expired");
    let kind = MailKind::ResetPassword;
    let wrong = instances
        .next()
        .account_by_mail_token(&second, kind, after(2))
        .await;
    assert!(wrong.unwrap().is_none(), "of another kind");
    // Looking at it consumes nothing.
    for _ in 0..2 {
        let kind = MailKind::VerifyEmail;
        let found = instances
            .next()
            .account_by_mail_token(&second, kind, after(2))
            .await;
        assert_eq!(found.unwrap().unwrap().id, ada.id);
    }
    let verified_at = async || instances.next().email_verified_at(ada.id).await.unwrap();
    assert_eq!(verified_at().await, None);
    assert_eq!(verify(&second, after(2)).await, Some(ada.id));
    assert_eq!(verify(&second, after(2)).await, None, "spent");
    assert_eq!(verified_at().await, Some(after(2)));
    // Who is verified gets no such mail again.
    ask(
        &instances,
        "ada@example.com",
        MailKind::VerifyEmail,
        after(3),
    )
    .await;
    assert_eq!(send_all(&instances, after(3)).await, []);
}

pub(crate) async fn sec_g06_of_many_uses_of_one_token_one_resets_the_password(
    instances: Instances,
) {
    let ada = instances.register("ada@example.com").await;
    send_all(&instances, after(0)).await;
    let token = reset_token(&instances, &ada, after(1)).await;
    let uses = (0..16).map(|n| {
        let (store, line) = (instances.next(), entry(AuditEvent::PasswordReset, &ada));
        let line = AuditEntry {
            at: after(2),
            ..line
        };
        let hash = PasswordHash::from_phc(format!("$new-{n}"));
        async move {
            let done = store
                .reset_password(&token, &hash, after(600), &line)
                .await
                .unwrap();
            done.map(|_| hash.expose().to_owned())
        }
    });
    let done: Vec<_> = all_at_once(uses).await.into_iter().flatten().collect();
    assert_eq!(done.len(), 1);
    let found = instances
        .next()
        .account_by_id(ada.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        found.password_hash.expose(),
        done[0],
        "what the others wrote never happened"
    );
    assert_eq!(
        send_all(&instances, after(3)).await,
        [MailKind::PasswordChanged]
    );
}

pub(crate) async fn sec_b09_another_password_ends_all_that_the_one_before_began(
    instances: Instances,
) {
    let ada = instances.register("ada@example.com").await;
    let eve = instances.register("eve@example.com").await;
    send_all(&instances, after(0)).await;
    let (_, refresh) = instances.log_in(&ada).await;
    instances.log_in(&eve).await;
    let reset = reset_token(&instances, &ada, after(1)).await;
    ask(
        &instances,
        "ada@example.com",
        MailKind::ResetPassword,
        after(2),
    )
    .await;
    let line = AuditEntry {
        at: after(3),
        ..entry(AuditEvent::PasswordChanged, &ada)
    };
    let [new, other] = ["$new", "$other"].map(|phc| PasswordHash::from_phc(phc.to_owned()));
    let until = after(600);
    let store = instances.next();
    let wrong = store.change_password(&other, &new, until, &line).await;
    assert_eq!(
        wrong.unwrap(),
        None,
        "only from the hash that was looked at"
    );
    let store = instances.next();
    let changed = store
        .change_password(&ada.password_hash, &new, until, &line)
        .await;
    let cut = Revocation::Account {
        sub: ada.id,
        not_before: after(3),
        until,
    };
    assert_eq!(changed.unwrap(), Some(cut));
    let successor = token();
    let rotation = Rotation::new(&refresh, &successor, "web", after(4), until, until);
    let refused = instances.next().rotate(&rotation).await.unwrap();
    assert!(matches!(refused, RotationOutcome::Revoked), "{refused:?}");
    let line = AuditEntry {
        at: after(5),
        ..entry(AuditEvent::PasswordReset, &ada)
    };
    let late = instances
        .next()
        .reset_password(&reset, &other, until, &line)
        .await;
    assert_eq!(late.unwrap(), None, "a reset from before is void");
    assert_eq!(
        send_all(&instances, after(5)).await,
        [MailKind::PasswordChanged],
        "and none is sent"
    );
    let eves = instances
        .next()
        .sessions_of(eve.id, after(0), after(4), None, PageLimit::MAX)
        .await;
    assert_eq!(eves.unwrap().len(), 1);
}

pub(crate) async fn sec_a14_a_disabled_account_resets_nothing(instances: Instances) {
    let ada = instances.register("ada@example.com").await;
    send_all(&instances, after(0)).await;
    let reset = reset_token(&instances, &ada, after(1)).await;
    ask(
        &instances,
        "ada@example.com",
        MailKind::ResetPassword,
        after(2),
    )
    .await;
    let line = entry(AuditEvent::Disabled, &ada);
    instances
        .next()
        .set_status(ada.id, AccountStatus::Disabled, after(60), &line)
        .await
        .unwrap();
    assert_eq!(
        send_all(&instances, after(3)).await,
        [],
        "what waited is not sent"
    );
    let kind = MailKind::ResetPassword;
    let found = instances
        .next()
        .account_by_mail_token(&reset, kind, after(3))
        .await;
    assert!(found.unwrap().is_none());
    let line = AuditEntry {
        at: after(3),
        ..entry(AuditEvent::PasswordReset, &ada)
    };
    let new = PasswordHash::from_phc("$new".to_owned());
    let done = instances
        .next()
        .reset_password(&reset, &new, after(60), &line)
        .await;
    assert_eq!(done.unwrap(), None);
    let found = instances
        .next()
        .account_by_id(ada.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.password_hash.expose(), ada.password_hash.expose());
}

pub(crate) async fn sec_e12_the_owner_of_a_stolen_session_gets_mail(instances: Instances) {
    let ada = instances.register("ada@example.com").await;
    send_all(&instances, after(0)).await;
    let (_, first) = instances.log_in(&ada).await;
    let successor = token();
    for (seconds, is_first) in [(1, true), (600, false)] {
        let now = after(seconds);
        let rotation = Rotation::new(&first, &successor, "web", now, now.plus(IDLE_TTL), now);
        let outcome = instances.next().rotate(&rotation).await.unwrap();
        assert_eq!(
            matches!(outcome, RotationOutcome::Reused { .. }),
            !is_first,
            "{outcome:?}"
        );
    }
    assert_eq!(
        send_all(&instances, after(601)).await,
        [MailKind::SessionStolen]
    );
}

pub(crate) async fn old_mail_and_tokens_are_purged(instances: Instances) {
    let ada = instances.register("ada@example.com").await;
    send_all(&instances, after(0)).await;
    let reset = reset_token(&instances, &ada, after(1)).await;
    let purge = async |at| {
        instances
            .next()
            .purge(at, PageLimit::MAX)
            .await
            .unwrap()
            .mails
    };
    assert_eq!(purge(after(900)).await, 0);
    // The token of the reset, then that of the verification, then the rows of both mails.
    assert_eq!(purge(after(901)).await, 1);
    let gone = instances
        .next()
        .account_by_mail_token(&reset, MailKind::ResetPassword, after(2))
        .await;
    assert!(gone.unwrap().is_none());
    assert_eq!(purge(after(86_400)).await, 1);
    assert_eq!(purge(after(2 * 86_400)).await, 1);
    assert_eq!(purge(after(2 * 86_400 + 1)).await, 1);
}

/// Time is not measured: what could take another time is the number of statements, and hashing, which nobody does here.
pub(crate) async fn sec_a04_mail_is_the_same_work_for_everybody(instances: Instances) {
    instances.register("ada@example.com").await;
    let eve = instances.register("eve@example.com").await;
    let line = entry(AuditEvent::Disabled, &eve);
    let store = instances.next();
    let disabled = store.set_status(eve.id, AccountStatus::Disabled, after(60), &line);
    assert!(disabled.await.unwrap());
    for kind in [MailKind::ResetPassword, MailKind::VerifyEmail] {
        let mut counts = BTreeSet::new();
        // The first ones reach Ada, and those beyond what an account gets an hour do not.
        for n in 0..8 {
            for address in ["ada@example.com", "eve@example.com", "nobody@example.com"] {
                let before = RUN.load(Ordering::Relaxed);
                ask(&instances, address, kind, after(n)).await;
                counts.insert(RUN.load(Ordering::Relaxed) - before);
            }
        }
        assert_eq!(counts.len(), 1, "{kind:?}: statements: {counts:?}");
    }
}
