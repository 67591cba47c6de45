//! How long sessions live, with the time as an argument.

use std::time::Duration;

use super::*;
use crate::domain::AccountStatus;
use crate::domain::{AuditEntry, AuditEvent};
use crate::server::tests::{Inside, inside};

const HOUR: i64 = 3600;
const EMAIL: &str = "ada@example.com";
const PASSWORD: &str = "correct horse battery";

fn at(seconds: i64) -> Origin {
    Origin {
        now: UnixMillis::from_seconds(1_800_000_000 + seconds),
        client: [192, 0, 2, 1].into(),
        request: None,
    }
}

async fn log_in(inside: &Inside) -> SessionCookie {
    let app = inside.app();
    app.register(EMAIL, PASSWORD, at(0)).await.unwrap();
    let grant = app.log_in(EMAIL, PASSWORD, at(0)).await.unwrap();
    grant.session.unwrap()
}

async fn verify(inside: &Inside, cookie: &SessionCookie, seconds: i64) -> Outcome<Session> {
    let token = cookie.token.expose();
    inside.app().verify_session(token, at(seconds).now).await
}

fn is_refused(outcome: Outcome<Session>) -> bool {
    matches!(outcome, Err(Refusal::InvalidToken))
}

#[tokio::test]
async fn sec_f04_an_unused_session_ends_after_its_idle_time() {
    let (_directory, inside) = inside().await;
    let cookie = log_in(&inside).await;
    assert_eq!(cookie.expires_in, Duration::from_secs(8 * 3600));
    assert!(verify(&inside, &cookie, 8 * HOUR - 1).await.is_ok());
    assert!(is_refused(verify(&inside, &cookie, 8 * HOUR).await));
}

#[tokio::test]
async fn sec_f04_a_session_in_use_ends_after_its_whole_time() {
    let (_directory, inside) = inside().await;
    let mut cookie = log_in(&inside).await;
    let mut renewals = 0;
    for seconds in (60..24 * HOUR).step_by(60) {
        let session = verify(&inside, &cookie, seconds).await.unwrap();
        if let Some(renewed) = session.renewed {
            (cookie, renewals) = (renewed, renewals + 1);
        }
    }
    assert_eq!(renewals, 24 * 12 - 1, "once in five minutes");
    assert!(cookie.expires_in <= Duration::from_secs(300));
    assert!(is_refused(verify(&inside, &cookie, 24 * HOUR).await));
}

#[tokio::test]
async fn an_ended_session_stays_ended_when_its_revocation_is_forgotten() {
    let (_directory, inside) = inside().await;
    let cookie = log_in(&inside).await;
    let app = inside.app();
    let token = cookie.token.expose();
    app.log_out_session(token, &cookie.csrf, at(1))
        .await
        .unwrap();
    for seconds in [1, 299, 300, 600, HOUR, 8 * HOUR - 1] {
        let page = crate::store::PageLimit::MAX;
        app.shared
            .purge(at(seconds).now, page.rows())
            .await
            .unwrap();
        app.store.purge(at(seconds).now, page).await.unwrap();
        assert!(
            is_refused(verify(&inside, &cookie, seconds).await),
            "{seconds} s"
        );
    }
}

#[tokio::test]
async fn sec_d04_a_disabled_account_has_no_session_however_old_its_cookie() {
    let (_directory, inside) = inside().await;
    let cookie = log_in(&inside).await;
    let app = inside.app();
    let session = verify(&inside, &cookie, 1).await.unwrap();
    let account = crate::domain::AccountId::parse(&session.claims.sub).unwrap();
    let audit = AuditEntry::of(at(2).now, AuditEvent::Disabled, account, None);
    let until = at(HOUR).now;
    let status = AccountStatus::Disabled;
    assert!(
        app.store
            .set_status(account, status, until, &audit)
            .await
            .unwrap()
    );
    assert!(is_refused(verify(&inside, &cookie, 2 * HOUR).await));
}

#[tokio::test]
async fn a_renewed_session_has_the_roles_of_now() {
    let (_directory, inside) = inside().await;
    let cookie = log_in(&inside).await;
    let app = inside.app();
    let session = verify(&inside, &cookie, 1).await.unwrap();
    let account = crate::domain::AccountId::parse(&session.claims.sub).unwrap();
    let audit = AuditEntry::of(at(2).now, AuditEvent::RolesChanged, account, None);
    let roles = [crate::domain::Role::parse("editor").unwrap()].into();
    assert!(app.store.set_roles(account, &roles, &audit).await.unwrap());
    let session = verify(&inside, &cookie, 301).await.unwrap();
    assert_eq!(session.claims.roles, ["editor"]);
    let renewed = verify(&inside, &session.renewed.unwrap(), 302)
        .await
        .unwrap();
    assert_eq!(renewed.claims.roles, ["editor"]);
}

#[tokio::test]
async fn sec_f02_the_csrf_token_of_another_session_does_not_fit() {
    let (_directory, inside) = inside().await;
    let first = log_in(&inside).await;
    let app = inside.app();
    let grant = app.log_in(EMAIL, PASSWORD, at(0)).await.unwrap();
    let second = grant.session.unwrap();
    assert_ne!(first.csrf, second.csrf);
    for forged in [second.csrf.as_str(), "", &first.csrf[1..]] {
        let outcome = app
            .log_out_session(first.token.expose(), forged, at(1))
            .await;
        assert!(matches!(outcome, Err(Refusal::ForgedRequest)), "{forged}");
    }
    assert!(verify(&inside, &first, 1).await.is_ok());
}
