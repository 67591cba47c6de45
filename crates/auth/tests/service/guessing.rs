//! What a locked login looks like from outside. The rules themselves are tested
//! on a clock of their own, beside the code.

use portcullis_testkit::{Response, wait_until};

use crate::harness::{EMAIL, Installation, PASSWORD, assert_problem};

on_every_store!(
    sec_a02_a_locked_login_looks_and_costs_like_any_failure,
    the_limit_can_be_switched_off,
    guesses_count_when_nobody_waits_for_the_answer,
);

async fn sec_a02_a_locked_login_looks_and_costs_like_any_failure(installation: Installation) {
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

async fn the_limit_can_be_switched_off(installation: Installation) {
    let off = [("AUTH_RATE_LIMIT_ENABLED", "false")];
    let instance = installation.start_with("a", &off).await;
    instance.register(EMAIL, PASSWORD).await;
    for _ in 0..8 {
        assert_eq!(instance.try_login(EMAIL, "wrong").await.status, 401);
    }
    assert_eq!(instance.try_login(EMAIL, PASSWORD).await.status, 200);
}

async fn guesses_count_when_nobody_waits_for_the_answer(installation: Installation) {
    // One worker hashes in the order of arrival: the guesses are done before what comes after.
    let instance = installation.start_with("a", &[("HASH_WORKERS", "1")]).await;
    instance.register(EMAIL, PASSWORD).await;
    let body = format!(r#"{{"email":"{EMAIL}","password":"not the password"}}"#);
    let head = "POST /api/v1/auth/login HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n";
    let request = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
    // On a slow machine a lock may end before it is looked at: the next guesses renew it.
    wait_until("a lock by guesses alone", async || {
        let before = instance.hashes().await;
        let mut clients = Vec::new();
        for _ in 0..8 {
            let mut client = instance.connect().await;
            client.send(request.as_bytes()).await.unwrap();
            clients.push(client);
        }
        wait_until("the first hash", async || {
            (instance.hashes().await > before).then_some(())
        })
        .await;
        drop(clients);
        let is_locked = instance.try_login(EMAIL, PASSWORD).await.status == 401;
        is_locked.then_some(())
    })
    .await;
}

#[tokio::test]
async fn sec_a11_failures_through_two_instances_on_redis_lock_on_both() {
    let redis = portcullis_testkit::redis::Redis::start().await;
    let url = redis.url();
    let installation = Installation::new().await;
    let settings = [("REDIS_URL", url.as_str())];
    let (a, b) = (
        installation.start_with("a", &settings).await,
        installation.start_with("b", &settings).await,
    );
    a.register(EMAIL, PASSWORD).await;
    // On a slow machine a lock may end before it is looked at: the next failures renew it for longer.
    wait_until("a lock on both", async || {
        for instance in [&a, &b, &a, &b, &a] {
            instance.try_login(EMAIL, "wrong").await;
        }
        let (here, there) =
            tokio::join!(a.try_login(EMAIL, PASSWORD), b.try_login(EMAIL, PASSWORD));
        (here.status == 401 && there.status == 401).then_some(())
    })
    .await;
}
