//! Logins: what they give, and that failures cannot be told apart.

use portcullis_auth::operator;
use portcullis_testkit::{Response, wait_until};

use crate::harness::{EMAIL, Installation, PASSWORD, assert_problem};

on_every_store!(
    a_login_gives_tokens_that_nobody_may_cache,
    sec_a09_every_login_begins_a_session_of_its_own,
    sec_a02_unknown_wrong_and_disabled_are_one_and_the_same_answer,
    sec_a01_every_login_costs_exactly_one_hash,
    many_logins_at_once_all_succeed,
);

async fn a_login_gives_tokens_that_nobody_may_cache(installation: Installation) {
    let instance = installation.start("a").await;
    instance.register(EMAIL, PASSWORD).await;
    let response = instance.try_login("Ada@EXAMPLE.com", PASSWORD).await;
    assert_eq!(response.status, 200);
    assert_eq!(response.field("cache-control"), Some("no-store"));
    let json = response.json();
    assert_eq!(
        (json["token_type"].as_str(), json["expires_in"].as_u64()),
        (Some("Bearer"), Some(600))
    );
    assert_eq!(json["refresh_expires_in"].as_u64(), Some(14 * 24 * 3600));
    let (access, refresh) = (
        json["access_token"].as_str(),
        json["refresh_token"].as_str(),
    );
    assert!(access.unwrap().split('.').count() == 3 && refresh.unwrap().starts_with("pcr_"));
}

async fn sec_a09_every_login_begins_a_session_of_its_own(installation: Installation) {
    let instance = installation.start("a").await;
    let first = instance.register_and_login().await;
    let second = instance.login().await;
    let sid = async |token: &str| instance.verify(token).await.json()["sid"].clone();
    assert_ne!(sid(&first.access).await, sid(&second.access).await);
}

/// Everything of an answer that somebody could compare, without the values that
/// differ between any two answers.
fn comparable(response: &Response) -> (u16, Vec<(String, String)>, Vec<u8>) {
    let fields = response.fields.iter().map(|(name, value)| {
        let unlike = [
            "date",
            "x-request-id",
            "x-response-time",
            "ratelimit-remaining",
            "ratelimit-reset",
        ];
        let is_unlike = unlike.contains(&name.as_str());
        let value = if is_unlike {
            value.len().to_string()
        } else {
            value.clone()
        };
        (name.clone(), value)
    });
    (response.status, fields.collect(), response.body.clone())
}

async fn sec_a02_unknown_wrong_and_disabled_are_one_and_the_same_answer(
    installation: Installation,
) {
    let instance = installation.start("a").await;
    instance.register(EMAIL, PASSWORD).await;
    instance.register("off@example.com", PASSWORD).await;
    operator::disable(&installation.config("op", &[]), "off@example.com")
        .await
        .unwrap();

    let wrong = instance.try_login(EMAIL, "not the password").await;
    assert_problem(&wrong, 401, "invalid_credentials");
    let unknown = instance.try_login("nobody@example.com", PASSWORD).await;
    let disabled = instance.try_login("off@example.com", PASSWORD).await;
    assert_eq!(comparable(&unknown), comparable(&wrong));
    assert_eq!(comparable(&disabled), comparable(&wrong));
}

async fn sec_a01_every_login_costs_exactly_one_hash(installation: Installation) {
    let instance = installation.start("a").await;
    instance.register(EMAIL, PASSWORD).await;
    instance.register("off@example.com", PASSWORD).await;
    operator::disable(&installation.config("op", &[]), "off@example.com")
        .await
        .unwrap();
    for (email, password) in [
        (EMAIL, PASSWORD),
        (EMAIL, "not the password"),
        ("nobody@example.com", PASSWORD),
        ("off@example.com", PASSWORD),
        ("off@example.com", "not the password"),
    ] {
        let before = instance.hashes().await;
        instance.try_login(email, password).await;
        assert_eq!(instance.hashes().await - before, 1.0, "{email} {password}");
    }
}

async fn many_logins_at_once_all_succeed(installation: Installation) {
    let instance = installation.start("a").await;
    instance.register(EMAIL, PASSWORD).await;
    // Hashing gives way to everything else: on a busy machine some are told to come again, and do.
    let log_in = async || {
        wait_until("a login", async || {
            let answer = instance.try_login(EMAIL, PASSWORD).await;
            if answer.status == 503 {
                assert_problem(&answer, 503, "busy");
                assert!(answer.field("retry-after").is_some());
                return None;
            }
            Some(answer.status)
        })
        .await
    };
    let logins = (0..20).map(|_| log_in());
    let mut statuses = Vec::new();
    let mut running = Vec::from_iter(logins.map(Box::pin));
    std::future::poll_fn(|cx| {
        running.retain_mut(|login| match login.as_mut().poll(cx) {
            std::task::Poll::Ready(status) => {
                statuses.push(status);
                false
            }
            std::task::Poll::Pending => true,
        });
        if running.is_empty() {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    assert_eq!(statuses, [200; 20]);
}
