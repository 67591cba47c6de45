//! The operator's verbs beside a running instance.

use portcullis_auth::domain::AccountStatus;
use portcullis_auth::operator::{self, OperatorError};
use portcullis_testkit::wait_until;
use serde_json::json;

use crate::harness::{EMAIL, Installation, PASSWORD, Tokens, assert_problem};

#[tokio::test]
async fn accounts_are_listed_in_order_of_their_address() {
    let installation = Installation::new().await;
    let instance = installation.start("a").await;
    for email in ["zoe@example.com", EMAIL] {
        instance.register(email, PASSWORD).await;
    }
    let accounts = operator::list(&installation.config("op", &[]))
        .await
        .unwrap();
    let emails: Vec<&str> = accounts
        .iter()
        .map(|account| account.email.as_str())
        .collect();
    assert_eq!(emails, [EMAIL, "zoe@example.com"]);
    assert!(
        !format!("{accounts:?}").contains("argon2id"),
        "no hash is ever shown"
    );
}

#[tokio::test]
async fn sec_d04_disabling_an_account_ends_its_tokens_at_once() {
    let installation = Installation::new().await;
    let instance = installation.start("a").await;
    let tokens = instance.register_and_login().await;
    let config = installation.config("op", &[]);
    let account = operator::disable(&config, "ADA@example.com").await.unwrap();
    assert_eq!(account.status, AccountStatus::Disabled);
    assert_problem(&instance.verify(&tokens.access).await, 401, "invalid_token");
    assert_problem(
        &instance.refresh(&tokens.refresh).await,
        401,
        "invalid_refresh_token",
    );
    assert_problem(
        &instance.try_login(EMAIL, PASSWORD).await,
        401,
        "invalid_credentials",
    );

    assert_eq!(
        operator::enable(&config, EMAIL).await.unwrap().status,
        AccountStatus::Active
    );
    // `iat` has whole seconds: a token of the very second of the cut counts as older.
    wait_until("a login after the cut", async || {
        let tokens = Tokens::of(&instance.try_login(EMAIL, PASSWORD).await);
        (instance.verify(&tokens.access).await.status == 200).then_some(())
    })
    .await;
    assert_problem(&instance.verify(&tokens.access).await, 401, "invalid_token");
}

#[tokio::test]
async fn new_roles_take_effect_with_the_next_refresh() {
    let installation = Installation::new().await;
    let instance = installation.start("a").await;
    let tokens = instance.register_and_login().await;
    let config = installation.config("op", &[]);
    let roles = ["editor".to_owned(), "admin".to_owned()];
    let account = operator::set_roles(&config, EMAIL, &roles).await.unwrap();
    assert!(account.has_role("editor"));
    assert_eq!(
        instance.verify(&tokens.access).await.status,
        401,
        "the old roles are void"
    );
    let mut refresh = tokens.refresh;
    let seen = wait_until("a token after the cut", async || {
        let next = Tokens::of(&instance.refresh(&refresh).await);
        refresh = next.refresh;
        let answer = instance.verify(&next.access).await;
        (answer.status == 200).then(|| answer.json()["roles"].clone())
    })
    .await;
    assert_eq!(seen, json!(["admin", "editor"]));
}

#[tokio::test]
async fn commands_about_nobody_or_nonsense_change_nothing() {
    let installation = Installation::new().await;
    let config = installation.config("op", &[]);
    let nobody = operator::disable(&config, "nobody@example.com")
        .await
        .unwrap_err();
    assert!(
        matches!(nobody, OperatorError::NoSuchAccount(_)),
        "{nobody}"
    );
    let email = operator::enable(&config, "nonsense").await.unwrap_err();
    assert!(matches!(email, OperatorError::Email(_)), "{email}");
    let role = operator::set_roles(&config, EMAIL, &["Not A Role".to_owned()])
        .await
        .unwrap_err();
    assert!(matches!(role, OperatorError::Role(_)), "{role}");
}
