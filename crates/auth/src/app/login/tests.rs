//! Logins of accounts that moved here with the hash of another system.

use super::*;
use crate::domain::{PasswordHash, UnixMillis};
use crate::server::tests::inside;

const EMAIL: &str = "ada@example.com";
/// `correct horse`, by libxcrypt.
const BCRYPT: &str = "$2b$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e";

fn at(seconds: i64) -> Origin {
    Origin {
        now: UnixMillis::from_seconds(1_800_000_000 + seconds),
        client: [192, 0, 2, 1].into(),
        request: None,
    }
}

async fn stored(app: &App) -> Account {
    let email = Email::parse(EMAIL).unwrap();
    let found = app.store.account_by_email(&email).await.unwrap();
    found.unwrap()
}

#[tokio::test]
async fn sec_b02_a_login_with_a_foreign_hash_rewrites_it_in_the_same_request() {
    let (_directory, inside) = inside().await;
    let app = inside.app();
    app.register(EMAIL, "some other one", at(0)).await.unwrap();
    let account = stored(app).await;
    let foreign = PasswordHash::from_phc(BCRYPT.to_owned());
    let moved = app
        .store
        .upgrade_password_hash(account.id, &account.password_hash, &foreign);
    assert!(moved.await.unwrap());
    let refused = app.log_in(EMAIL, "not the password", at(1)).await;
    assert!(matches!(refused, Err(Refusal::BadCredentials)));
    assert_eq!(stored(app).await.password_hash.expose(), BCRYPT);
    app.log_in(EMAIL, "correct horse", at(2)).await.unwrap();
    let own = stored(app).await.password_hash;
    assert!(own.expose().starts_with("$argon2id$v=19$m=19456,t=2,p=1"));
    app.log_in(EMAIL, "correct horse", at(3)).await.unwrap();
    assert_eq!(stored(app).await.password_hash.expose(), own.expose());
}

#[tokio::test]
async fn sec_a05_an_address_stands_for_the_same_cost_at_every_instance() {
    let (directory, a) = inside().await;
    let b = crate::server::tests::inside_at(&directory).await;
    let one = Email::parse(EMAIL).unwrap();
    let other = Email::parse("grace@example.com").unwrap();
    assert_eq!(a.app().stand_in(&one), b.app().stand_in(&one));
    assert_ne!(a.app().stand_in(&one), a.app().stand_in(&other));
}
