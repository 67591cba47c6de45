//! What settings about passwords do to people: a pepper that changes, and a filter of stolen passwords.

use portcullis_auth::password::breached::{BITS_PER_ENTRY, build};
use portcullis_auth::serve;
use tokio::net::TcpListener;

use crate::harness::{EMAIL, Installation, PASSWORD, assert_problem};

const OLD: &str = "Vn4qLr7xTz2yHc9mKd5wBs8pGf3jQa6e-Uv1";
const NEW: &str = "pZ7vQ2mX9cL4bN8tR1wK6yH3jF5dS0gA-uE2";
const SALT: &str = "SECURITY_SALT";
const PREVIOUS: &str = "SECURITY_SALT_PREVIOUS";

#[tokio::test]
async fn sec_b03_a_pepper_changes_without_anybody_noticing() {
    let installation = Installation::new().await;
    let old = [(SALT, OLD)];
    let a = installation.start_with("a", &old).await;
    assert_eq!(a.register(EMAIL, PASSWORD).await.status, 202);
    assert_eq!(a.register("late@example.com", PASSWORD).await.status, 202);
    let ready = installation
        .start_with("b", &[(SALT, OLD), (PREVIOUS, NEW)])
        .await;
    let changed = installation
        .start_with("c", &[(SALT, NEW), (PREVIOUS, OLD)])
        .await;
    assert_eq!(changed.try_login(EMAIL, PASSWORD).await.status, 200);
    // Rewritten: whoever knows the new pepper alone can check it, and those that have been told of it.
    let done = installation.start_with("d", &[(SALT, NEW)]).await;
    assert_eq!(done.try_login(EMAIL, PASSWORD).await.status, 200);
    assert_eq!(
        ready.try_login("late@example.com", PASSWORD).await.status,
        200
    );
    let late = done.try_login("late@example.com", PASSWORD).await;
    assert_problem(&late, 401, "invalid_credentials");
}

#[tokio::test]
async fn sec_b08_stolen_passwords_are_refused_at_registration_and_a_damaged_filter_at_start() {
    let installation = Installation::new().await;
    let (list, out) = (
        installation.path().join("list"),
        installation.path().join("out"),
    );
    std::fs::write(&list, format!("{PASSWORD}\n")).unwrap();
    build(&list, &out, BITS_PER_ENTRY).unwrap();
    let file = out.display().to_string();
    let settings = [("BREACHED_PASSWORDS_FILE", file.as_str())];
    let instance = installation.start_with("a", &settings).await;
    let refused = instance.register(EMAIL, PASSWORD).await;
    assert_problem(&refused, 400, "breached_password");
    let other = instance.register(EMAIL, "correct zebra battery").await;
    assert_eq!(other.status, 202);
    let refusals = instance
        .metric("portcullis_auth_breached_passwords_total")
        .await;
    assert_eq!(refusals, 1.0);

    let mut whole = std::fs::read(&out).unwrap();
    whole[40] ^= 1;
    std::fs::write(&out, &whole).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = installation.config("b", &settings);
    let refused = serve(listener, config, async {}).await.unwrap_err();
    let source = std::error::Error::source(&refused).unwrap();
    assert!(
        refused.to_string().contains("BREACHED_PASSWORDS_FILE"),
        "{refused}"
    );
    assert!(source.to_string().contains("damaged"), "{source}");
}

#[tokio::test]
async fn sec_b07_the_name_of_the_service_is_no_password() {
    let installation = Installation::with(&[("ISSUER_URL", "https://auth.acmecorp.test")]).await;
    let settings = [("PASSWORD_FORBIDDEN_WORDS", "rocketeer")];
    let instance = installation.start_with("a", &settings).await;
    for password in [
        "AcmeCorp2026",
        "auth.acmecorp.test",
        "!rocketeer!",
        "Dragon99!!",
    ] {
        let refused = instance.register(EMAIL, password).await;
        assert_problem(&refused, 400, "weak_password");
    }
}
