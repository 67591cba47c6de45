//! What a locked login looks like from outside. The rules themselves are tested
//! on a clock of their own, beside the code.

use portcullis_testkit::{Response, wait_until};

use crate::harness::{EMAIL, Installation, PASSWORD, assert_problem};

#[tokio::test]
async fn sec_a02_a_locked_login_looks_and_costs_like_any_failure() {
    let installation = Installation::new().await;
    let instance = installation.start("a").await;
    instance.register(EMAIL, PASSWORD).await;
    let wrong = instance.try_login(EMAIL, "wrong").await;
    // On a slow machine a lock may end before it is looked at: the next try sees it.
    let (locked, hashes) = wait_until("a lock", async || {
        for _ in 0..5 {
            instance.try_login(EMAIL, "wrong").await;
        }
        let before = instance.hashes().await;
        let answer = instance.try_login(EMAIL, PASSWORD).await;
        (answer.status == 401).then_some((answer, instance.hashes().await - before))
    })
    .await;
    assert_problem(&locked, 401, "invalid_credentials");
    assert_eq!(
        (locked.status, &locked.body, hashes),
        (wrong.status, &wrong.body, 1.0)
    );
    let names = |response: &Response| {
        Vec::from_iter(
            response
                .fields
                .iter()
                .map(|(name, value)| (name.clone(), value.len())),
        )
    };
    assert_eq!(names(&locked), names(&wrong));
}

#[tokio::test]
async fn the_limit_can_be_switched_off() {
    let installation = Installation::new().await;
    let off = [("AUTH_RATE_LIMIT_ENABLED", "false")];
    let instance = installation.start_with("a", &off).await;
    instance.register(EMAIL, PASSWORD).await;
    for _ in 0..8 {
        assert_eq!(instance.try_login(EMAIL, "wrong").await.status, 401);
    }
    assert_eq!(instance.try_login(EMAIL, PASSWORD).await.status, 200);
}
