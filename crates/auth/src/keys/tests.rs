//! The ring on a real store: instances agree, changes arrive, and nothing private reaches the disk in clear.
//! Never waits for a fixed time.

use std::path::Path;
use std::sync::Arc;

use portcullis_testkit::wait_until;
use portcullis_token::{Algorithm, RsaSize, SigningKey, Skew, TokenType, VerifyError};
use tempfile::TempDir;

use super::*;
use crate::config::Parsed;
use crate::domain::{KeyPlan, KeyState, SigningKeyRecord};
use crate::store::FirstKey;
use crate::store::sqlite::{self, SqliteOptions};

mod rotation;
mod seen;

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
const DAY: u64 = 86_400;

struct Database {
    directory: TempDir,
    kek: Kek,
}

impl Database {
    fn new() -> Self {
        Self {
            directory: TempDir::new().unwrap(),
            kek: Kek::from_bytes([7; 32]),
        }
    }

    async fn open(&self) -> Arc<dyn Store> {
        let options = SqliteOptions {
            path: self.directory.path().join("auth.db"),
            pool_size: 1,
            max_overflow: 1,
        };
        Arc::new(sqlite::open(&options).await.unwrap())
    }

    /// The keeper of one instance whose ring turns once a day.
    fn keeper(&self, store: &Arc<dyn Store>) -> Keeper {
        Keeper {
            store: Arc::clone(store),
            kek: self.kek.clone(),
            algorithm: Algorithm::Rs256,
            rsa_size: RsaSize::Bits2048,
            given: None,
            plan: KeyPlan {
                algorithm: "RS256".into(),
                interval: Some(Duration::from_secs(DAY)),
                longest_token: Duration::from_secs(3600),
                given: None,
            },
        }
    }

    /// A store with its first key, and the ring of one instance on it.
    async fn ring(&self) -> (Arc<dyn Store>, KeyRing) {
        let store = self.open().await;
        let ring = KeyRing::open(self.keeper(&store), NOW).await.unwrap();
        (store, ring.remembering(64))
    }

    /// Another instance adds a key that does not sign yet, and a token it could have signed.
    async fn add_key(&self, store: &dyn Store) -> (SigningKeyRecord, String) {
        let (key, pkcs8) = SigningKey::generate(Algorithm::EdDsa).unwrap();
        let record = SigningKeyRecord {
            kid: key.kid().to_owned(),
            algorithm: "EdDSA".into(),
            state: KeyState::Next,
            sealed_private_key: seal::seal(&self.kek, Purpose::SigningKey, key.kid(), &pkcs8),
            created_at: NOW,
            changed_at: NOW,
        };
        assert!(store.add_signing_key(&record).await.unwrap());
        (
            record,
            sign(&key, TokenType::AccessToken, &claims()).unwrap(),
        )
    }
}

fn claims() -> Claims {
    Claims {
        iss: "https://auth.example.com".into(),
        sub: "user-1".into(),
        aud: vec!["api".into()],
        exp: NOW.seconds() + 600,
        iat: NOW.seconds(),
        nbf: None,
        jti: portcullis_token::id([1; 16]),
        client_id: "web".into(),
        sid: "session-1".into(),
        roles: vec![],
        scope: None,
        tier: None,
        authentication: portcullis_token::Authentication::default(),
    }
}

fn verifier() -> Verifier {
    Verifier {
        issuer: claims().iss,
        audience: "api".into(),
        token_type: TokenType::AccessToken,
        skew: Skew::DEFAULT,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_start_at_once_share_one_first_key() {
    let database = Arc::new(Database::new());
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let database = Arc::clone(&database);
        tasks.spawn(async move { database.ring().await.1 });
    }
    let rings = tasks.join_all().await;
    let token = rings[0].sign(&claims()).unwrap();
    for ring in &rings {
        assert_eq!(ring.jwks(), rings[0].jwks());
        let verified = ring.verify(&verifier(), &token, NOW).await.unwrap();
        assert_eq!(verified.claims, claims());
    }
    let records = database.open().await.signing_keys().await.unwrap();
    assert_eq!(records.len(), 1);
    assert_eq!(
        (records[0].algorithm.as_str(), records[0].state),
        ("RS256", KeyState::Active)
    );
}

#[tokio::test]
async fn preparing_again_keeps_the_key_and_notices_a_wrong_kek() {
    let database = Database::new();
    let (store, ring) = database.ring().await;
    let again = database.keeper(&store).prepare(NOW).await.unwrap();
    assert_eq!(again, FirstKey::KeysExist);
    assert!(!ring.refresh().await.unwrap());
    let other = || Keeper {
        kek: Kek::from_bytes([8; 32]),
        ..database.keeper(&store)
    };
    let refusal = other().prepare(NOW).await;
    assert!(matches!(refusal, Err(KeyRingError::Sealed { .. })));
    let refusal = KeyRing::load(other()).await;
    assert!(matches!(refusal, Err(KeyRingError::Sealed { .. })));
}

#[tokio::test]
async fn an_unprepared_database_has_no_ring() {
    let database = Database::new();
    let store = database.open().await;
    let refusal = KeyRing::load(database.keeper(&store)).await;
    assert!(matches!(refusal, Err(KeyRingError::Active(0))));
}

#[tokio::test]
async fn sec_c15_the_database_files_hold_no_private_key() {
    let database = Database::new();
    let (store, _ring) = database.ring().await;
    let record = &store.signing_keys().await.unwrap()[0];
    let private = seal::open(
        &database.kek,
        Purpose::SigningKey,
        &record.kid,
        &record.sealed_private_key,
    )
    .unwrap();
    let files = read_all(database.directory.path());
    assert!(
        contains(&files, record.kid.as_bytes()),
        "the row itself is there"
    );
    for part in private.chunks_exact(16) {
        assert!(!contains(&files, part));
    }
    assert!(!contains(&files, b"PRIVATE KEY"));
}

fn read_all(directory: &Path) -> Vec<u8> {
    let entries = std::fs::read_dir(directory).unwrap();
    entries
        .flat_map(|entry| std::fs::read(entry.unwrap().path()).unwrap())
        .collect()
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|part| part == needle)
}

#[tokio::test]
async fn a_token_of_a_key_made_elsewhere_is_believed_at_once() {
    let database = Database::new();
    let (store, ring) = database.ring().await;
    let tag = ring.jwks().etag;
    let (_, token) = database.add_key(&*store).await;
    ring.verify(&verifier(), &token, NOW).await.unwrap();
    assert_ne!(ring.jwks().etag, tag);
    let own = ring.sign(&claims()).unwrap();
    ring.verify(&verifier(), &own, NOW).await.unwrap();
}

#[tokio::test]
async fn sec_c05_unknown_keys_cause_one_look_in_30_seconds() {
    let database = Database::new();
    let (store, ring) = database.ring().await;
    let (foreign, _) = SigningKey::generate(Algorithm::EdDsa).unwrap();
    let foreign = sign(&foreign, TokenType::AccessToken, &claims()).unwrap();
    let is_unknown = |verdict| matches!(verdict, Err(VerifyError::UnknownKey { .. }));
    assert!(is_unknown(ring.verify(&verifier(), &foreign, NOW).await));
    // The look is spent: a key that has come since is not found before its time.
    let (_, token) = database.add_key(&*store).await;
    let at = |millis| UnixMillis(NOW.0 + millis);
    assert!(is_unknown(
        ring.verify(&verifier(), &token, at(29_999)).await
    ));
    ring.verify(&verifier(), &token, at(30_000)).await.unwrap();
}

#[tokio::test]
async fn sec_c05_a_malformed_key_id_causes_no_look() {
    let database = Database::new();
    let (store, ring) = database.ring().await;
    let (_, token) = database.add_key(&*store).await;
    // "{"alg":"EdDSA","typ":"at+jwt","kid":"../x"}"
    let malformed = "eyJhbGciOiJFZERTQSIsInR5cCI6ImF0K2p3dCIsImtpZCI6Ii4uL3gifQ.AAAA.AAAA";
    let verdict = ring.verify(&verifier(), malformed, NOW).await;
    assert_eq!(verdict, Err(VerifyError::Malformed("kid")));
    ring.verify(&verifier(), &token, NOW)
        .await
        .expect("the look was not spent");
}

#[tokio::test]
async fn a_retired_key_is_believed_no_more_after_a_refresh() {
    let database = Database::new();
    let (store, ring) = database.ring().await;
    let (record, token) = database.add_key(&*store).await;
    assert!(ring.refresh().await.unwrap());
    ring.verify(&verifier(), &token, NOW).await.unwrap();
    let moved = store
        .move_signing_key(&record.kid, KeyState::Next, KeyState::Retired, NOW)
        .await;
    assert!(moved.unwrap());
    assert!(ring.refresh().await.unwrap());
    let verdict = ring.verify(&verifier(), &token, NOW).await;
    assert!(matches!(verdict, Err(VerifyError::UnknownKey { .. })));
}

#[tokio::test]
async fn a_ring_that_cannot_be_refreshed_stays_in_use() {
    let database = Database::new();
    let (store, ring) = database.ring().await;
    store.close().await;
    assert!(matches!(ring.refresh().await, Err(KeyRingError::Store(_))));
    let token = ring.sign(&claims()).unwrap();
    ring.verify(&verifier(), &token, NOW).await.unwrap();
}

#[tokio::test]
async fn the_poll_finds_new_keys() {
    let database = Database::new();
    let (store, ring) = database.ring().await;
    let ring = Arc::new(ring);
    let polled = Arc::clone(&ring);
    let poll = tokio::spawn(async move { polled.keep_fresh(Duration::from_millis(1)).await });
    let (record, _) = database.add_key(&*store).await;
    wait_until("the poll to find the key", async || {
        ring.key_set().find(&record.kid).map(|_| ())
    })
    .await;
    poll.abort();
}
