//! What a command leaves behind when instances grant tokens beside it.

use portcullis_testkit::wait_until;
use sqlx::sqlite::SqliteSynchronous;

use super::*;
use crate::store::RevocationPosition;
use crate::store::contract::{account, entry};
use crate::store::sqlite::file::{BUSY_TIMEOUT, DatabaseFile, FileOptions};

async fn opened(directory: &tempfile::TempDir) -> (Config, Stores) {
    let database = format!("sqlite://{}", directory.path().join("auth.db").display());
    let vars = |name: &str| match name {
        "DATABASE_URL" => Some(database.clone()),
        "ACCESS_TOKEN_TTL" => Some("60".to_owned()),
        _ => None,
    };
    let config = Config::from_env(vars).unwrap();
    let stores = Stores::open(&config).await.unwrap();
    (config, stores)
}

async fn cut(stores: &Stores) -> (UnixMillis, UnixMillis) {
    let (start, now) = (RevocationPosition::default(), UnixMillis::default());
    let page = stores
        .store
        .revocations(start, now, PageLimit::MAX)
        .await
        .unwrap();
    match page.as_slice() {
        [
            (
                _,
                Revocation::Account {
                    not_before, until, ..
                },
            ),
        ] => (*not_before, *until),
        other => panic!("not one cut: {other:?}"),
    }
}

#[tokio::test]
async fn sec_d04_a_login_granted_while_the_command_waits_is_cut_off_too() {
    let directory = tempfile::tempdir().unwrap();
    let (_, stores) = opened(&directory).await;
    let ada = account("ada@example.com");
    let line = entry(AuditEvent::Registered, &ada);
    stores.store.create_account(&ada, &line).await.unwrap();
    // An instance writes; the command has to wait.
    let instance = DatabaseFile::open(&FileOptions {
        path: directory.path().join("auth.db"),
        synchronous: SqliteSynchronous::Full,
        pool_size: 1,
        max_overflow: 0,
        busy_timeout: BUSY_TIMEOUT,
    })
    .await
    .unwrap();
    let writing = instance.write("granting").await.unwrap();
    let idle = stores.store.pool_metrics().idle;
    let command = change_status(&stores, &ada.email, AccountStatus::Disabled);
    let grant = async {
        wait_until("the command to wait for its turn", async || {
            (stores.store.pool_metrics().idle < idle).then_some(())
        })
        .await;
        // What the instance grants last is issued now.
        let granted_at = UnixMillis::from_system(SystemTime::now()).plus(Duration::from_millis(1));
        wait_until("the clock to move on", async || {
            (UnixMillis::from_system(SystemTime::now()) > granted_at).then_some(())
        })
        .await;
        drop(writing);
        granted_at
    };
    let (changed, granted_at) = tokio::join!(command, grant);
    changed.unwrap();
    assert!(cut(&stores).await.0 > granted_at);
}

#[tokio::test]
async fn sec_d04_a_cut_outlives_tokens_of_any_configured_length() {
    let directory = tempfile::tempdir().unwrap();
    let (config, stores) = opened(&directory).await;
    let ada = account("ada@example.com");
    let line = entry(AuditEvent::Registered, &ada);
    stores.store.create_account(&ada, &line).await.unwrap();
    set_roles(&config, ada.email.as_str(), &["editor".to_owned()])
        .await
        .unwrap();
    let (not_before, until) = cut(&stores).await;
    assert!(until.since(not_before) > Duration::from_secs(ACCESS_TTL_CEILING));
}

#[tokio::test]
async fn a_mistake_is_told_once_and_says_what_would_be_right() {
    let directory = tempfile::tempdir().unwrap();
    let (config, stores) = opened(&directory).await;
    let ada = account("ada@example.com");
    let line = entry(AuditEvent::Registered, &ada);
    stores.store.create_account(&ada, &line).await.unwrap();
    let many: Vec<String> = (0..65).map(|n| format!("r{n}")).collect();
    let bad = ["Not A Role".to_owned()];
    for (refused, says) in [
        (show(&config, "nonsense").await, "name@domain"),
        (set_roles(&config, "ada@example.com", &bad).await, "a-z"),
        (
            set_roles(&config, "ada@example.com", &many).await,
            "64 roles",
        ),
    ] {
        let error = refused.unwrap_err();
        let cause = std::error::Error::source(&error);
        let told = error.to_string();
        assert!(told.contains(says), "{told}");
        assert!(
            cause.is_none_or(|cause| cause.to_string() != told),
            "{told}"
        );
    }
    let nobody = authorization::api_keys(&config, "client:nobody").await;
    assert_eq!(
        nobody.unwrap_err().to_string(),
        "no client is called client:nobody, or it is shut"
    );
}
