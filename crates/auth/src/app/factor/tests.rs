//! Second factors on a clock of our own, with a test in the place of the app on a phone.

use super::*;
use crate::app::{Administrator, Grant, Origin, Owner};
use crate::domain::{AuditEvent, RecoveryCode, UnixMillis};
use crate::server::tests::{Inside, inside, inside_at};
use crate::store::PageLimit;

const EMAIL: &str = "ada@example.com";
const PASSWORD: &str = "correct horse battery";

fn at(seconds: i64) -> Origin {
    // The beginning of a step.
    Origin {
        now: UnixMillis::from_seconds(1_800_000_000 + seconds),
        client: [192, 0, 2, 1].into(),
        request: None,
    }
}

fn from(client: [u8; 4], seconds: i64) -> Origin {
    Origin {
        client: client.into(),
        ..at(seconds)
    }
}

async fn owner(app: &App, grant: &Grant, origin: Origin) -> Owner {
    let token = grant.access_token.expose();
    app.owner_by_token(token, origin.now).await.unwrap()
}

/// An account with an authenticator, enrolled at second 0 with the code of that step; its recovery codes, and the
/// session it was enrolled in.
async fn enrolled(inside: &Inside) -> (TotpSecret, Vec<RecoveryCode>, Owner) {
    let app = inside.app();
    app.register(EMAIL, PASSWORD, at(0)).await.unwrap();
    let grant = app.log_in(EMAIL, PASSWORD, at(0)).await.unwrap();
    let owner = owner(app, &grant, at(0)).await;
    app.begin_totp(owner, at(0)).await.unwrap();
    let secret = secret_of(app, owner).await;
    let code = secret.code_at(at(0).now);
    let codes = app.confirm_totp(owner, &code, at(0)).await.unwrap();
    (secret, codes, owner)
}

/// What the answer to an enrolment showed, out of the store.
async fn secret_of(app: &App, owner: Owner) -> TotpSecret {
    let record = app.store.totp(owner.account).await.unwrap().unwrap();
    app.totp_secret(owner.account, &record).unwrap()
}

/// The first step of a login.
async fn challenge(app: &App, origin: Origin) -> String {
    match app.log_in(EMAIL, PASSWORD, origin).await {
        Err(Refusal::SecondFactorRequired(challenge)) => challenge.token.expose().clone(),
        other => panic!("no challenge: {other:?}"),
    }
}

async fn answer(app: &App, code: &str, origin: Origin) -> Outcome<Grant> {
    let challenge = challenge(app, origin).await;
    app.log_in_with_code(&challenge, code, origin).await
}

fn is_wrong<T>(outcome: &Outcome<T>) -> bool {
    matches!(outcome, Err(Refusal::InvalidCode))
}

#[tokio::test]
async fn sec_g01_a_code_is_good_once_through_all_instances() {
    let (directory, a) = inside().await;
    let (secret, _, _) = enrolled(&a).await;
    let b = inside_at(&directory).await;
    let apps = [a.app(), b.app()];
    let used = secret.code_at(at(0).now);
    assert!(
        is_wrong(&answer(apps[1], &used, at(1)).await),
        "it enrolled"
    );
    let code = secret.code_at(at(30).now);
    assert!(answer(apps[0], &code, at(30)).await.is_ok());
    for app in apps {
        assert!(is_wrong(&answer(app, &code, at(31)).await), "replayed");
    }
    let early = secret.code_at(at(90).now);
    assert!(answer(apps[1], &early, at(61)).await.is_ok(), "one ahead");
    let older = secret.code_at(at(60).now);
    assert!(
        is_wrong(&answer(apps[0], &older, at(62)).await),
        "one behind"
    );
}

#[tokio::test]
async fn sec_g01_five_failures_lock_codes_on_all_instances_and_the_lock_ends() {
    let (directory, a) = inside().await;
    let (secret, _, _) = enrolled(&a).await;
    let b = inside_at(&directory).await;
    let apps = [a.app(), b.app()];
    let challenge = challenge(apps[0], at(60)).await;
    for n in 0..5_u8 {
        // Another network each time: what is locked is the account.
        let origin = from([203, 0, 113, n], 60);
        let app = apps[usize::from(n) % 2];
        let refused = app.log_in_with_code(&challenge, "000000", origin).await;
        assert!(is_wrong(&refused), "{refused:?}");
    }
    let right = secret.code_at(at(60).now);
    for app in apps {
        let refused = app.log_in_with_code(&challenge, &right, at(60)).await;
        assert!(is_wrong(&refused), "not looked at while the lock runs");
    }
    let late = apps[1].log_in_with_code(&challenge, &right, at(62)).await;
    late.expect("the first lock is over, and the code was not spent");
    let fresh = secret.code_at(at(90).now);
    let wrong = apps[0].log_in_with_code(&challenge, "000000", at(90)).await;
    assert!(is_wrong(&wrong));
    let again = apps[0].log_in_with_code(&challenge, &fresh, at(90)).await;
    again.expect("a right code forgets the failures");
}

#[tokio::test]
async fn sec_g01_codes_sent_at_once_are_looked_at_no_oftener_than_one_by_one() {
    let (_directory, inside) = inside().await;
    let (secret, _, owner) = enrolled(&inside).await;
    let app = inside.app();
    let code = crate::domain::TotpCode::parse("000000").unwrap();
    let tries = (0..40).map(|_| app.try_code(owner.account, &secret, &code, at(60)));
    let mut running = Vec::from_iter(tries.map(Box::pin));
    for run in &mut running {
        assert_eq!(run.as_mut().await.unwrap(), None);
    }
    let right = crate::domain::TotpCode::parse(&secret.code_at(at(60).now)).unwrap();
    let found = app.try_code(owner.account, &secret, &right, at(61)).await;
    assert_eq!(found.unwrap(), None);
}

#[tokio::test]
async fn sec_g08_a_recovery_code_is_good_once_and_passes_the_lock() {
    let (_directory, inside) = inside().await;
    let (_, codes, _) = enrolled(&inside).await;
    assert_eq!(codes.len(), 10);
    let app = inside.app();
    let challenge = challenge(app, at(60)).await;
    for n in 0..7 {
        let origin = from([203, 0, 113, n], 60);
        let refused = app.log_in_with_code(&challenge, "000000", origin).await;
        assert!(is_wrong(&refused));
    }
    let code = codes[4].reveal();
    let typed = code.expose().to_uppercase();
    assert!(
        app.log_in_with_code(&challenge, &typed, at(60))
            .await
            .is_ok()
    );
    let again = app.log_in_with_code(&challenge, &typed, at(60)).await;
    assert!(is_wrong(&again), "{again:?}");
}

#[tokio::test]
async fn sec_g08_new_recovery_codes_void_the_old_ones() {
    let (_directory, inside) = inside().await;
    let (_, old, owner) = enrolled(&inside).await;
    let app = inside.app();
    let new = app.new_recovery_codes(owner, at(10)).await.unwrap();
    let [old, new] = [&old[0], &new[0]].map(|code| code.reveal().expose().clone());
    assert!(is_wrong(&answer(app, &old, at(11)).await));
    assert!(answer(app, &new, at(11)).await.is_ok());
}

#[tokio::test]
async fn sec_a14_a_challenge_ends_with_the_password_or_the_account_it_was_for() {
    let (_directory, inside) = inside().await;
    let (secret, _, owner) = enrolled(&inside).await;
    let app = inside.app();
    let challenge = challenge(app, at(60)).await;
    let code = secret.code_at(at(90).now);
    let account = app.active(owner).await.unwrap();
    let other = crate::domain::PasswordHash::from_phc("another".to_owned());
    let changed = app
        .store
        .upgrade_password_hash(account.id, &account.password_hash, &other);
    assert!(changed.await.unwrap());
    let refused = app.log_in_with_code(&challenge, &code, at(90)).await;
    assert!(matches!(refused, Err(Refusal::InvalidChallenge)));
    let back = app
        .store
        .upgrade_password_hash(account.id, &other, &account.password_hash);
    assert!(back.await.unwrap());
    let line = at(91).audit(AuditEvent::Disabled, account.id);
    let status = crate::domain::AccountStatus::Disabled;
    let shut = app
        .store
        .set_status(account.id, status, at(9999).now, &line);
    assert!(shut.await.unwrap());
    let refused = app.log_in_with_code(&challenge, &code, at(91)).await;
    assert!(matches!(refused, Err(Refusal::InvalidChallenge)));
}

#[tokio::test]
async fn sec_a02_a_wrong_password_never_tells_of_a_factor() {
    let (_directory, inside) = inside().await;
    enrolled(&inside).await;
    let app = inside.app();
    let refused = app.log_in(EMAIL, "not the password", at(60)).await;
    assert!(matches!(refused, Err(Refusal::BadCredentials)));
}

#[tokio::test]
async fn sec_f05_factors_change_only_after_a_proof_of_the_last_five_minutes() {
    let (directory, a) = inside().await;
    let (secret, _, owner) = enrolled(&a).await;
    let b = inside_at(&directory).await;
    let (app, other) = (a.app(), b.app());
    app.require_fresh(owner, at(299).now).await.unwrap();
    let needs_proof = |outcome: Outcome<()>| {
        assert!(
            matches!(outcome, Err(Refusal::ReauthenticationRequired)),
            "{outcome:?}"
        );
    };
    needs_proof(app.require_fresh(owner, at(300).now).await);
    needs_proof(app.remove_totp(owner, at(300)).await);
    needs_proof(app.new_recovery_codes(owner, at(300)).await.map(drop));
    needs_proof(app.begin_totp(owner, at(300)).await.map(drop));

    let prove = async |password: &str, code: Option<&str>, seconds| {
        app.reauthenticate(owner, password, code, at(seconds)).await
    };
    let code = secret.code_at(at(330).now);
    let wrong = prove("not the password", Some(&code), 330).await;
    assert!(matches!(wrong, Err(Refusal::BadCredentials)), "{wrong:?}");
    let half = prove(PASSWORD, None, 330).await;
    assert!(matches!(half, Err(Refusal::CodeRequired)), "{half:?}");
    assert!(is_wrong(&prove(PASSWORD, Some("000000"), 330).await));
    needs_proof(app.remove_totp(owner, at(331)).await);
    prove(PASSWORD, Some(&code), 331).await.unwrap();
    assert!(is_wrong(&prove(PASSWORD, Some(&code), 332).await), "spent");
    other.require_fresh(owner, at(332).now).await.unwrap();
    other.remove_totp(owner, at(333)).await.unwrap();
    let gone = app.remove_totp(owner, at(334)).await;
    assert!(matches!(gone, Err(Refusal::NoFactor)));
    assert!(app.log_in(EMAIL, PASSWORD, at(335)).await.is_ok());
}

#[tokio::test]
async fn sec_f05_a_login_from_before_the_factor_does_not_change_it() {
    let (_directory, inside) = inside().await;
    let app = inside.app();
    app.register(EMAIL, PASSWORD, at(0)).await.unwrap();
    let thief = app.log_in(EMAIL, PASSWORD, at(0)).await.unwrap();
    let thief = owner(app, &thief, at(0)).await;
    let own = app.log_in(EMAIL, PASSWORD, at(1)).await.unwrap();
    let own = owner(app, &own, at(1)).await;
    app.begin_totp(own, at(2)).await.unwrap();
    let code = secret_of(app, own).await.code_at(at(2).now);
    app.confirm_totp(own, &code, at(2)).await.unwrap();
    let refused = app.remove_totp(thief, at(3)).await;
    assert!(matches!(refused, Err(Refusal::ReauthenticationRequired)));
    app.remove_totp(own, at(3)).await.unwrap();
}

#[tokio::test]
async fn sec_f05_a_session_that_ended_proves_nothing() {
    let (_directory, inside) = inside().await;
    let app = inside.app();
    app.register(EMAIL, PASSWORD, at(0)).await.unwrap();
    let grant = app.log_in(EMAIL, PASSWORD, at(0)).await.unwrap();
    let owner = owner(app, &grant, at(0)).await;
    app.log_out(grant.access_token.expose(), at(1))
        .await
        .unwrap();
    for outcome in [
        app.require_fresh(owner, at(2).now).await,
        app.reauthenticate(owner, PASSWORD, None, at(2)).await,
    ] {
        assert!(matches!(outcome, Err(Refusal::InvalidToken)), "{outcome:?}");
    }
}

#[tokio::test]
async fn an_enrolment_counts_only_when_its_code_is_shown_in_time() {
    let (_directory, inside) = inside().await;
    let app = inside.app();
    app.register(EMAIL, PASSWORD, at(0)).await.unwrap();
    let grant = app.log_in(EMAIL, PASSWORD, at(0)).await.unwrap();
    let owner = owner(app, &grant, at(0)).await;
    let none = app.confirm_totp(owner, "000000", at(0)).await;
    assert!(matches!(none, Err(Refusal::NoFactor)));
    let first = app.begin_totp(owner, at(0)).await.unwrap();
    let old = secret_of(app, owner).await;
    let second = app.begin_totp(owner, at(1)).await.unwrap();
    assert_ne!(first.secret.expose(), second.secret.expose());
    assert!(
        second
            .url
            .expose()
            .contains(second.secret.expose().as_str())
    );
    let stale = old.code_at(at(1).now);
    assert!(is_wrong(&app.confirm_totp(owner, &stale, at(1)).await));
    let ttl = crate::domain::ENROLMENT_TTL.as_secs() as i64;
    let code = secret_of(app, owner).await.code_at(at(1 + ttl).now);
    let late = app.confirm_totp(owner, &code, at(1 + ttl)).await;
    assert!(matches!(late, Err(Refusal::NoFactor)));
    assert!(app.log_in(EMAIL, PASSWORD, at(2)).await.is_ok());
    let code = secret_of(app, owner).await.code_at(at(3).now);
    app.confirm_totp(owner, &code, at(3)).await.unwrap();
    let again = app.begin_totp(owner, at(4)).await;
    assert!(matches!(again, Err(Refusal::FactorExists)));
}

#[tokio::test]
async fn sec_g01_the_secret_is_sealed_for_its_account_alone() {
    let (_directory, inside) = inside().await;
    let (secret, _, owner) = enrolled(&inside).await;
    let app = inside.app();
    let record = app.store.totp(owner.account).await.unwrap().unwrap();
    let sealed = &record.sealed_secret;
    assert!(
        sealed
            .windows(8)
            .all(|part| !secret.expose().windows(8).any(|it| it == part))
    );
    let other = AccountId::from_random([9; 16]);
    assert!(matches!(
        app.totp_secret(other, &record),
        Err(Refusal::Internal(_))
    ));
}

#[tokio::test]
async fn what_happens_to_factors_is_in_the_audit_log() {
    let (_directory, inside) = inside().await;
    let (_, codes, owner) = enrolled(&inside).await;
    let app = inside.app();
    let code = codes[0].reveal();
    answer(app, code.expose(), at(60)).await.unwrap();
    assert!(is_wrong(&answer(app, "000000", at(61)).await));
    app.new_recovery_codes(owner, at(62)).await.unwrap();
    app.remove_totp(owner, at(63)).await.unwrap();
    let lines = app.store.recent_audit(PageLimit::MAX).await.unwrap();
    for event in [
        AuditEvent::FactorEnrolled,
        AuditEvent::RecoveryCodeUsed,
        AuditEvent::SecondFactorFailed,
        AuditEvent::RecoveryCodesReplaced,
        AuditEvent::FactorRemoved,
    ] {
        let found = lines.iter().find(|line| line.event == event);
        assert_eq!(found.unwrap().account, Some(owner.account), "{event:?}");
    }
}

#[tokio::test]
async fn sec_f05_an_administrator_resets_factors_only_with_a_young_proof() {
    let (_directory, inside) = inside().await;
    let (_, _, ada) = enrolled(&inside).await;
    let app = inside.app();
    let email = "root@example.com";
    app.register(email, PASSWORD, at(0)).await.unwrap();
    let grant = app.log_in(email, PASSWORD, at(0)).await.unwrap();
    let root = Administrator {
        owner: owner(app, &grant, at(0)).await,
    };
    let late = app.reset_factors(root, ada.account, at(301)).await;
    assert!(
        matches!(late, Err(Refusal::ReauthenticationRequired)),
        "{late:?}"
    );
    assert!(app.factors(ada.account).await.unwrap().has_totp);
    app.reauthenticate(root.owner, PASSWORD, None, at(301))
        .await
        .unwrap();
    app.reset_factors(root, ada.account, at(302)).await.unwrap();
    assert!(!app.factors(ada.account).await.unwrap().has_totp);
    let line = inside.stores.store.recent_audit(PageLimit::new(1));
    let line = line.await.unwrap().remove(0);
    assert_eq!(line.event, AuditEvent::FactorsReset);
    assert_eq!(line.account, Some(ada.account));
}
