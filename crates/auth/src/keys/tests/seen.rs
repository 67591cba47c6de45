//! What is remembered of tokens: that a signature holds, never more.

use super::*;

async fn seen() -> (Arc<dyn Store>, KeyRing, String, Database) {
    let database = Database::new();
    let (store, ring) = database.ring().await;
    let token = ring.sign(&claims()).unwrap();
    ring.verify(&verifier(), &token, NOW).await.unwrap();
    (store, ring, token, database)
}

fn count(checked: u64, remembered: u64) -> Signatures {
    Signatures {
        checked,
        remembered,
    }
}

#[tokio::test]
async fn a_signature_is_checked_once() {
    let (_store, ring, token, _database) = seen().await;
    for _ in 0..9 {
        let verified = ring.verify(&verifier(), &token, NOW).await.unwrap();
        assert_eq!(verified.claims, claims());
    }
    assert_eq!(ring.signatures(), count(1, 9));
}

#[tokio::test]
async fn where_none_is_remembered_every_signature_is_checked() {
    let (_store, ring, token, _database) = seen().await;
    let ring = ring.remembering(0);
    for _ in 0..3 {
        ring.verify(&verifier(), &token, NOW).await.unwrap();
    }
    assert_eq!(ring.signatures(), count(4, 0));
}

#[tokio::test]
async fn a_remembered_token_expires_all_the_same() {
    let (_store, ring, token, _database) = seen().await;
    let late = UnixMillis::from_seconds(claims().exp + Skew::DEFAULT.seconds());
    let verdict = ring.verify(&verifier(), &token, late).await;
    assert_eq!(verdict, Err(VerifyError::Expired));
    assert_eq!(ring.signatures(), count(1, 1));
}

#[tokio::test]
async fn a_remembered_token_is_no_more_than_it_was() {
    let (_store, ring, token, _database) = seen().await;
    let session = Verifier {
        token_type: TokenType::Session,
        ..verifier()
    };
    let elsewhere = Verifier {
        audience: "another".into(),
        ..verifier()
    };
    for _ in 0..2 {
        let verdict = ring.verify(&session, &token, NOW).await;
        assert_eq!(verdict, Err(VerifyError::WrongType));
        let verdict = ring.verify(&elsewhere, &token, NOW).await;
        assert_eq!(verdict, Err(VerifyError::WrongAudience));
    }
}

#[tokio::test]
async fn another_signature_under_a_remembered_token_is_bad() {
    let (_store, ring, token, _database) = seen().await;
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let first = if signature.starts_with('A') { 'B' } else { 'A' };
    let forged = format!("{signed}.{first}{}", &signature[1..]);
    for _ in 0..2 {
        let verdict = ring.verify(&verifier(), &forged, NOW).await;
        assert_eq!(verdict, Err(VerifyError::BadSignature));
    }
    assert_eq!(ring.signatures(), count(3, 0), "nothing bad is remembered");
}

#[tokio::test]
async fn a_change_of_the_ring_has_every_signature_checked_again() {
    let (store, ring, token, database) = seen().await;
    database.add_key(&*store).await;
    assert!(ring.refresh().await.unwrap());
    ring.verify(&verifier(), &token, NOW).await.unwrap();
    assert_eq!(ring.signatures(), count(2, 0));
}
