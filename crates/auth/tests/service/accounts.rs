//! Registration and set-up.

use serde_json::json;

use crate::harness::{EMAIL, Installation, PASSWORD, Tokens, assert_problem};

on_every_store!(
    sec_a03_a_known_address_registers_like_a_new_one,
    sec_a06_passwords_of_any_script_are_kept_as_they_are,
    sec_a06_refused_passwords_are_never_hashed,
    sec_a10_the_setup_token_makes_the_first_administrator_once,
    sec_a10_no_account_exists_before_somebody_makes_one,
    a_new_preparation_replaces_the_setup_token,
);

async fn sec_a03_a_known_address_registers_like_a_new_one(installation: Installation) {
    let instance = installation.start("a").await;
    let new = instance.register(EMAIL, PASSWORD).await;
    assert_eq!(
        (new.status, new.text().as_str()),
        (202, r#"{"status":"accepted"}"#)
    );
    assert_eq!(instance.hashes().await, 1.0);

    let known = instance
        .register("ADA@Example.com", "another password")
        .await;
    assert_eq!(
        (known.status, known.body),
        (new.status, new.body),
        "nothing tells them apart"
    );
    assert_eq!(instance.hashes().await, 2.0);
    assert_eq!(
        instance.try_login(EMAIL, "another password").await.status,
        401
    );
    assert_eq!(instance.try_login(EMAIL, PASSWORD).await.status, 200);
}

async fn sec_a06_passwords_of_any_script_are_kept_as_they_are(installation: Installation) {
    let instance = installation.start("a").await;
    let longest = "🔒".repeat(128);
    for (n, password) in ["  pass word  ", "пароль со словами", longest.as_str()]
        .into_iter()
        .enumerate()
    {
        let email = format!("u{n}@example.com");
        assert_eq!(instance.register(&email, password).await.status, 202);
        assert_eq!(
            instance.try_login(&email, password).await.status,
            200,
            "{password}"
        );
        assert_eq!(
            instance.try_login(&email, password.trim()).await.status == 200,
            password.trim() == password
        );
    }
}

async fn sec_a06_refused_passwords_are_never_hashed(installation: Installation) {
    let instance = installation.start("a").await;
    let too_many_bytes = "x".repeat(513);
    for password in ["short 7", too_many_bytes.as_str(), ""] {
        assert_problem(
            &instance.register(EMAIL, password).await,
            400,
            "invalid_password",
        );
    }
    for password in ["password123", "ada@example.com"] {
        assert_problem(
            &instance.register(EMAIL, password).await,
            400,
            "weak_password",
        );
    }
    assert_problem(
        &instance.try_login(EMAIL, &too_many_bytes).await,
        400,
        "invalid_password",
    );
    assert_problem(
        &instance.register("not an address", PASSWORD).await,
        400,
        "invalid_email",
    );
    assert_eq!(instance.hashes().await, 0.0);
}

async fn sec_a10_the_setup_token_makes_the_first_administrator_once(installation: Installation) {
    let instance = installation.start("a").await;
    let setup = async |token: &str, email: &str| {
        let body = json!({ "setup_token": token, "email": email, "password": PASSWORD });
        instance.post("/api/v1/auth/setup", body).await
    };
    assert_problem(&setup("pcs_wrong", EMAIL).await, 403, "invalid_setup_token");
    let created = setup(&installation.setup_token, EMAIL).await;
    assert_eq!(
        (created.status, &created.json()["roles"]),
        (201, &json!(["admin"]))
    );
    let again = setup(&installation.setup_token, "eve@example.com").await;
    assert_problem(&again, 403, "invalid_setup_token");

    let tokens = Tokens::of(&instance.try_login(EMAIL, PASSWORD).await);
    assert_eq!(
        instance.verify(&tokens.access).await.json()["roles"],
        json!(["admin"])
    );
    let prepared = portcullis_auth::prepare(&installation.config("b", &[]))
        .await
        .unwrap();
    assert!(
        prepared.setup_token.is_none(),
        "there is an administrator already"
    );
}

async fn sec_a10_no_account_exists_before_somebody_makes_one(installation: Installation) {
    let accounts = portcullis_auth::operator::list(&installation.config("a", &[]))
        .await
        .unwrap();
    assert!(accounts.is_empty());
}

async fn a_new_preparation_replaces_the_setup_token(installation: Installation) {
    let again = portcullis_auth::prepare(&installation.config("b", &[]))
        .await
        .unwrap();
    let token = again.setup_token.expect("nobody is set up yet");
    assert_ne!(token.expose(), &installation.setup_token);
    assert!(again.setup_token_expires_in.as_secs() == 600);
    let instance = installation.start("a").await;
    let body =
        json!({ "setup_token": installation.setup_token, "email": EMAIL, "password": PASSWORD });
    let old = instance.post("/api/v1/auth/setup", body).await;
    assert_problem(&old, 403, "invalid_setup_token");
}
