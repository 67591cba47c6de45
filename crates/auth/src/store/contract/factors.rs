//! Second factors: codes that are good once over all instances, and proofs of identity that all of them see.

use super::{ABSOLUTE_TTL, Instances, START, account, after, all_at_once, entry};
use crate::domain::{
    Account, AuditEntry, AuditEvent, Family, Proof, ProvedBy, RECOVERY_CODES, RecoveryCode,
    RefreshToken, TokenHash, TotpStep,
};
use crate::random;
use crate::store::{FamilyCreation, PageLimit, Rotation, RotationOutcome, TotpConfirmation};

const SEALED: &[u8] = b"a sealed secret";
const STEP: TotpStep = TotpStep(60_000_000);

fn codes(account: &Account) -> Vec<TokenHash> {
    (0..RECOVERY_CODES)
        .map(|_| RecoveryCode::from_random(random::bytes()).hash(account.id))
        .collect()
}

fn confirmation<'a>(account: &Account, codes: &'a [TokenHash]) -> TotpConfirmation<'a> {
    TotpConfirmation {
        account: account.id,
        sealed_secret: SEALED,
        step: STEP,
        codes,
    }
}

/// An account with an authenticator, and its recovery codes.
async fn enrolled(instances: &Instances) -> (Account, Vec<TokenHash>) {
    let ada = instances.register("ada@example.com").await;
    let codes = codes(&ada);
    let store = instances.next();
    assert!(store.begin_totp(ada.id, SEALED, START).await.unwrap());
    let line = entry(AuditEvent::FactorEnrolled, &ada);
    let confirmed = store.confirm_totp(&confirmation(&ada, &codes), &line).await;
    assert!(confirmed.unwrap());
    (ada, codes)
}

fn wins(results: Vec<bool>) -> usize {
    results.into_iter().filter(|is_won| *is_won).count()
}

pub(crate) async fn sec_g01_an_authenticator_counts_once_it_is_confirmed(instances: Instances) {
    let ada = instances.register("ada@example.com").await;
    let next = || instances.next();
    assert_eq!(next().totp(ada.id).await.unwrap(), None);
    assert!(next().begin_totp(ada.id, b"older", START).await.unwrap());
    assert!(next().begin_totp(ada.id, SEALED, after(1)).await.unwrap());
    let found = next().totp(ada.id).await.unwrap().unwrap();
    assert_eq!(
        (&*found.sealed_secret, found.created_at, found.confirmed_at),
        (SEALED, after(1), None)
    );
    assert!(!next().spend_totp_step(ada.id, STEP).await.unwrap());
    let (line, codes) = (entry(AuditEvent::FactorEnrolled, &ada), codes(&ada));
    let replaced = TotpConfirmation {
        sealed_secret: b"older",
        ..confirmation(&ada, &codes)
    };
    assert!(!next().confirm_totp(&replaced, &line).await.unwrap());
    let good = confirmation(&ada, &codes);
    assert!(next().confirm_totp(&good, &line).await.unwrap());
    assert!(!next().confirm_totp(&good, &line).await.unwrap());
    assert!(!next().begin_totp(ada.id, b"another", START).await.unwrap());
    let found = next().totp(ada.id).await.unwrap().unwrap();
    let shown = (&*found.sealed_secret, found.confirmed_at);
    assert_eq!(shown, (SEALED, Some(START)));
    assert_eq!(next().recovery_codes_left(ada.id).await.unwrap(), 10);
    assert!(
        !next().spend_totp_step(ada.id, STEP).await.unwrap(),
        "the confirming code is spent"
    );
    let lines = next().recent_audit(PageLimit::MAX).await.unwrap();
    let enrolled = |line: &&AuditEntry| line.event == AuditEvent::FactorEnrolled;
    assert_eq!(lines.iter().filter(enrolled).count(), 1);
}

pub(crate) async fn sec_g01_of_many_uses_of_a_step_one_is_good(instances: Instances) {
    let (ada, _) = enrolled(&instances).await;
    for step in [TotpStep(STEP.0 + 1), TotpStep(STEP.0 + 5)] {
        let uses = (0..32).map(|_| {
            let (store, id) = (instances.next(), ada.id);
            async move { store.spend_totp_step(id, step).await.unwrap() }
        });
        let results = all_at_once(uses.collect::<Vec<_>>()).await;
        assert_eq!(wins(results), 1, "{step:?}");
    }
    let older = TotpStep(STEP.0 + 4);
    assert!(
        !instances
            .next()
            .spend_totp_step(ada.id, older)
            .await
            .unwrap()
    );
    let nobody = account("nobody@example.com");
    let spent = instances.next().spend_totp_step(nobody.id, STEP).await;
    assert!(!spent.unwrap());
}

pub(crate) async fn sec_g08_of_many_uses_of_a_recovery_code_one_is_good(instances: Instances) {
    let (ada, codes) = enrolled(&instances).await;
    let line = entry(AuditEvent::RecoveryCodeUsed, &ada);
    for (code, left) in [(codes[3], 9), (codes[7], 8)] {
        let uses = (0..16).map(|_| {
            let (store, id, line) = (instances.next(), ada.id, line.clone());
            async move { store.spend_recovery_code(id, &code, &line).await.unwrap() }
        });
        let results = all_at_once(uses.collect::<Vec<_>>()).await;
        assert_eq!(wins(results), 1);
        let store = instances.next();
        assert_eq!(store.recovery_codes_left(ada.id).await.unwrap(), left);
    }
    let lines = instances.next().recent_audit(PageLimit::MAX).await.unwrap();
    let used = |line: &&AuditEntry| line.event == AuditEvent::RecoveryCodeUsed;
    assert_eq!(lines.iter().filter(used).count(), 2);
    let grace = instances.register("grace@example.com").await;
    let stolen = instances.next();
    let stolen = stolen.spend_recovery_code(grace.id, &codes[0], &line).await;
    assert!(!stolen.unwrap(), "another account's code");
}

pub(crate) async fn sec_g08_a_new_set_voids_every_earlier_one(instances: Instances) {
    let (ada, old) = enrolled(&instances).await;
    let line = entry(AuditEvent::RecoveryCodesReplaced, &ada);
    let sets: Vec<_> = (0..4).map(|_| codes(&ada)).collect();
    let replacing = sets.iter().cloned().map(|set| {
        let (store, id, line) = (instances.next(), ada.id, line.clone());
        async move { store.replace_recovery_codes(id, &set, &line).await.unwrap() }
    });
    let results = all_at_once(replacing.collect::<Vec<_>>()).await;
    assert_eq!(wins(results), 4, "one after the other");
    let store = instances.next();
    assert_eq!(store.recovery_codes_left(ada.id).await.unwrap(), 10);
    let spend = async |code: &TokenHash| {
        let line = entry(AuditEvent::RecoveryCodeUsed, &ada);
        let store = instances.next();
        store
            .spend_recovery_code(ada.id, code, &line)
            .await
            .unwrap()
    };
    for code in &old {
        assert!(!spend(code).await);
    }
    let mut good = 0;
    for code in sets.iter().flatten() {
        good += u32::from(spend(code).await);
    }
    assert_eq!(good, 10, "one set is in force");
    let grace = instances.register("grace@example.com").await;
    let without = instances.next();
    let without = without.replace_recovery_codes(grace.id, &old, &line).await;
    assert!(!without.unwrap(), "no authenticator, no recovery codes");
}

pub(crate) async fn removed_factors_are_gone_and_may_come_anew(instances: Instances) {
    let (ada, codes) = enrolled(&instances).await;
    let line = entry(AuditEvent::FactorRemoved, &ada);
    let next = || instances.next();
    assert!(next().remove_factors(ada.id, &line).await.unwrap());
    assert!(!next().remove_factors(ada.id, &line).await.unwrap());
    assert_eq!(next().totp(ada.id).await.unwrap(), None);
    assert_eq!(next().recovery_codes_left(ada.id).await.unwrap(), 0);
    let later = TotpStep(STEP.0 + 1);
    assert!(!next().spend_totp_step(ada.id, later).await.unwrap());
    let spent = next().spend_recovery_code(ada.id, &codes[0], &line).await;
    assert!(!spent.unwrap());
    assert!(next().begin_totp(ada.id, SEALED, after(9)).await.unwrap());
    let pending = next().remove_factors(ada.id, &line).await.unwrap();
    assert!(!pending, "what was never confirmed is no factor");
    let good = confirmation(&ada, &codes);
    assert!(next().confirm_totp(&good, &line).await.unwrap());
}

pub(crate) async fn sec_f05_every_instance_sees_when_somebody_last_proved_who_they_are(
    instances: Instances,
) {
    let ada = instances.register("ada@example.com").await;
    let (family, _) = instances.log_in(&ada).await;
    let (other, _) = instances.log_in(&ada).await;
    let at = async |family: &Family, seconds| {
        let store = instances.next();
        let at = store.authenticated_at(family.session, after(seconds)).await;
        at.unwrap()
    };
    assert_eq!(at(&family, 1).await, Some(START), "a login is a proof");
    let proof = AuditEntry {
        at: after(600),
        ..entry(AuditEvent::Reauthenticated, &ada)
    };
    let store = instances.next();
    assert!(
        store
            .mark_authenticated(family.session, ProvedBy::Password, &proof)
            .await
            .unwrap()
    );
    assert_eq!(at(&family, 601).await, Some(after(600)));
    assert_eq!(at(&family, 601).await, Some(after(600)));
    assert_eq!(at(&other, 601).await, Some(START), "of this session alone");
    let end = ABSOLUTE_TTL.as_secs();
    assert_eq!(at(&family, end).await, None, "it is over");
    let line = entry(AuditEvent::LoggedOut, &ada);
    let store = instances.next();
    store
        .revoke_session(family.session, after(end), &line)
        .await
        .unwrap();
    assert_eq!(at(&family, 602).await, None, "it was ended");
    let store = instances.next();
    assert!(
        !store
            .mark_authenticated(family.session, ProvedBy::Password, &proof)
            .await
            .unwrap()
    );
    let unknown = super::family(&ada);
    assert_eq!(at(&unknown, 1).await, None);
}

/// Through every rotation and its repetition, and until the next proof.
pub(crate) async fn by_what_somebody_proved_who_they_are_stays_with_the_session(
    instances: Instances,
) {
    let ada = instances.register("ada@example.com").await;
    let (family, mut token) = instances.log_in(&ada).await;
    let (other, _) = instances.log_in(&ada).await;
    let rotated = async |token: &mut RefreshToken, seconds| {
        let successor = super::token();
        let now = after(seconds);
        let rotation = Rotation::new(token, &successor, "web", now, after(7000), after(9000));
        let used = instances.next().rotate(&rotation).await.unwrap();
        let RotationOutcome::Rotated(grant) = used else {
            panic!("{used:?}")
        };
        let again = instances.next().rotate(&rotation).await.unwrap();
        let RotationOutcome::Repeated { grant: again, .. } = again else {
            panic!("{again:?}")
        };
        assert_eq!(again.family, grant.family);
        *token = successor;
        grant.family.proof
    };
    assert_eq!(rotated(&mut token, 1).await, family.proof);
    let line = AuditEntry {
        at: after(600),
        ..entry(AuditEvent::Reauthenticated, &ada)
    };
    let by = ProvedBy::PasswordAndCode;
    let store = instances.next();
    let marked = store.mark_authenticated(family.session, by, &line).await;
    assert!(marked.unwrap());
    let proof = Some(Proof { by, at: after(600) });
    for seconds in [601, 1200] {
        assert_eq!(rotated(&mut token, seconds).await, proof);
    }
    let of = async |session| {
        let found = instances.next().family_by_session(session).await;
        found.unwrap().unwrap().proof
    };
    assert_eq!(of(family.session).await, proof);
    assert_eq!(of(other.session).await, other.proof, "of no other session");
    let unknown = Family {
        proof: None,
        ..super::family(&ada)
    };
    let first = super::token().hash();
    let line = entry(AuditEvent::LoginSucceeded, &ada);
    let store = instances.next();
    let begun = store
        .create_family(&unknown, &first, after(60), &line)
        .await;
    assert_eq!(begun.unwrap(), FamilyCreation::Created);
    assert_eq!(of(unknown.session).await, None);
}
