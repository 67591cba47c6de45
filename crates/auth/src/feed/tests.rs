//! The log as followers read it: nothing left out, nothing told fresher than it is.

use portcullis_testkit::Postgres;
use tempfile::TempDir;
use tokio::sync::oneshot;

use super::*;
use crate::breaker::{BreakerMode, BreakerSettings, Guard};
use crate::domain::{AccountId, SessionId};
use crate::store::postgres::{self, PostgresAddress, PostgresOptions, PostgresServers};
use crate::store::sqlite::{self, SqliteOptions};

async fn store() -> (TempDir, Arc<dyn Store>) {
    let directory = tempfile::tempdir().unwrap();
    let options = SqliteOptions {
        path: directory.path().join("auth.db"),
        pool_size: 2,
        max_overflow: 0,
    };
    let store = sqlite::open(&options).await.unwrap();
    (directory, Arc::new(store))
}

async fn feed(store: &Arc<dyn Store>) -> Feed {
    let feed = Feed::open(store.clone(), "https://auth.test")
        .await
        .unwrap();
    feed.look().await.unwrap();
    feed
}

fn token(n: usize) -> Revocation {
    Revocation::Token {
        jti: format!("t{n}"),
        until: now().plus(Duration::from_secs(600)),
    }
}

async fn page(feed: &Feed, after: Option<&Position>) -> Page {
    match feed.answer(after.cloned(), Duration::ZERO).await {
        Ok(Answer::Page(page)) => page,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_follower_reads_everything_once_in_pages_and_then_only_news() {
    let (_directory, store) = store().await;
    let many = RECORDS_MAX + 7;
    for n in 0..many {
        store.add_revocation(&token(n)).await.unwrap();
    }
    let feed = feed(&store).await;
    let first = page(&feed, None).await;
    assert_eq!((first.records.len(), first.is_last), (RECORDS_MAX, false));
    let second = page(&feed, Some(&first.position)).await;
    assert_eq!((second.records.len(), second.is_last), (7, true));
    let nothing = page(&feed, Some(&second.position)).await;
    assert_eq!((nothing.records.len(), nothing.is_last), (0, true));
    assert_eq!(nothing.position, second.position);
    store.add_revocation(&token(many)).await.unwrap();
    feed.look().await.unwrap();
    let news = page(&feed, Some(&second.position)).await;
    assert_eq!(news.records.len(), 1);
}

#[tokio::test]
async fn every_kind_is_told_with_times_on_the_safe_side() {
    let (_directory, store) = store().await;
    let (sid, sub) = (
        SessionId::from_random([1; 16]),
        AccountId::from_random([2; 16]),
    );
    let until = UnixMillis(4_000_000_000_001);
    let not_before = UnixMillis(1_800_000_000_001);
    for revocation in [
        Revocation::Token {
            jti: "t".into(),
            until,
        },
        Revocation::Session { sid, until },
        Revocation::Account {
            sub,
            not_before,
            until,
        },
        Revocation::SigningKey {
            kid: "k".into(),
            until,
        },
    ] {
        store.add_revocation(&revocation).await.unwrap();
    }
    let records = page(&feed(&store).await, None).await.records;
    let (until, sid, sub) = (4_000_000_001, sid.to_string(), sub.to_string());
    let expected = [
        Record::Token {
            jti: "t".into(),
            until,
        },
        Record::Session { sid, until },
        Record::Subject {
            sub,
            not_before: 1_800_000_001,
            until,
        },
        Record::Key {
            kid: "k".into(),
            until,
        },
    ];
    assert_eq!(records, expected);
}

#[tokio::test]
async fn a_position_of_another_log_or_ahead_of_this_one_is_a_gap() {
    let (_directory, store) = store().await;
    store.add_revocation(&token(0)).await.unwrap();
    let feed = feed(&store).await;
    let here = page(&feed, None).await.position;
    let ahead = Position {
        sequence: here.sequence + 1,
        ..here.clone()
    };
    let elsewhere = Position {
        log: LogId::parse("another").unwrap(),
        ..here
    };
    for strange in [ahead, elsewhere] {
        let answer = feed.answer(Some(strange), Duration::ZERO).await;
        assert!(matches!(answer, Ok(Answer::Gap)), "{answer:?}");
    }
}

#[tokio::test]
async fn an_instance_that_is_behind_another_looks_again_before_it_says_gap() {
    let (_directory, store) = store().await;
    let (behind, ahead) = (feed(&store).await, feed(&store).await);
    store.add_revocation(&token(0)).await.unwrap();
    ahead.look().await.unwrap();
    let position = page(&ahead, None).await.position;
    let answer = async {
        let answer = behind.answer(Some(position), Duration::from_secs(20)).await;
        assert!(matches!(answer, Ok(Answer::Page(_))), "{answer:?}");
    };
    let looking = async {
        tokio::task::yield_now().await;
        behind.look().await.unwrap();
        // It has caught up, and then there is news.
        store.add_revocation(&token(1)).await.unwrap();
        behind.look().await.unwrap();
    };
    tokio::join!(answer, looking);
}

#[tokio::test]
async fn sec_d05_what_is_not_settled_is_told_at_once_and_again_with_what_comes_before_it() {
    let server = Postgres::start().await;
    let settings = BreakerSettings {
        failures: std::num::NonZeroU32::MIN,
        open_for: Duration::from_secs(60),
        mode: BreakerMode::Off,
    };
    let options = PostgresOptions {
        servers: PostgresServers::one(PostgresAddress::parse(&server.url()).unwrap()),
        lag_max: Duration::from_secs(10),
        positions: None,
        pool_size: 1,
        max_overflow: 3,
        acquire_timeout: Duration::from_secs(30),
        recycle_after: Duration::from_secs(3600),
        guard: Arc::new(Guard::new("database", settings)),
    };
    let open = async || postgres::open(&options).await.unwrap();
    let (slow, store): (_, Arc<dyn Store>) = (open().await, Arc::new(open().await));
    let ((written, is_written), (go_on, told)) = (oneshot::channel(), oneshot::channel());
    let writing =
        tokio::spawn(async move { slow.add_revocation_slowly(&token(0), written, told).await });
    is_written.await.unwrap();
    store.add_revocation(&token(1)).await.unwrap();
    let feed = feed(&store).await;
    let first = page(&feed, None).await;
    assert_eq!((first.records.len(), first.is_last), (1, true));
    go_on.send(()).unwrap();
    writing.await.unwrap().unwrap();
    feed.look().await.unwrap();
    let second = page(&feed, Some(&first.position)).await;
    assert_eq!(second.records.len(), 2, "the late one, and again the other");
    let nothing = page(&feed, Some(&second.position)).await;
    assert_eq!(nothing.records.len(), 0);
}

#[tokio::test]
async fn whoever_waits_is_woken_by_news_from_anywhere() {
    let (_directory, store) = store().await;
    let feed = feed(&store).await;
    let here = page(&feed, None).await.position;
    let waiting = async {
        let asked = Instant::now();
        let answer = feed.answer(Some(here), Duration::from_secs(20)).await;
        let Ok(Answer::Page(page)) = answer else {
            panic!("{answer:?}")
        };
        assert_eq!(page.records.len(), 1);
        assert!(asked.elapsed() < Duration::from_secs(10));
        assert!(page.read_ms >= 0 && page.read_ms <= asked.elapsed().as_millis() as i64);
    };
    let revoking = async {
        store.add_revocation(&token(0)).await.unwrap();
        tokio::select! {
            () = feed.keep_reading() => {}
            () = waiting => {}
        }
    };
    revoking.await;
}

#[tokio::test]
async fn a_heartbeat_says_when_the_log_was_read_and_never_too_late() {
    let (_directory, store) = store().await;
    let feed = feed(&store).await;
    let here = page(&feed, None).await.position;
    let heartbeat = page(&feed, Some(&here)).await;
    assert!(
        heartbeat.read_ms < 0,
        "read before it was asked: {}",
        heartbeat.read_ms
    );
}

#[tokio::test]
async fn a_store_that_does_not_answer_ends_the_feed_within_its_bound() {
    let (_directory, store) = store().await;
    let feed = feed(&store).await;
    let here = page(&feed, None).await.position;
    store.close().await;
    assert!(feed.look().await.is_err());
    let read_at = Instant::now().checked_sub(STALE * 2);
    feed.known.send_modify(|known| known.read_at = read_at);
    for after in [None, Some(here)] {
        assert!(feed.answer(after, Duration::ZERO).await.is_err());
    }
}

#[tokio::test]
async fn the_log_has_one_name_on_all_instances_and_another_for_another_issuer() {
    let (_directory, store) = store().await;
    let (one, two) = (feed(&store).await, feed(&store).await);
    let other = Feed::open(store.clone(), "https://other.test")
        .await
        .unwrap();
    assert!(one.log(0) == two.log(0) && one.log(0) != other.log(0));
    assert!(one.log(1) != one.log(2), "of another branch of history");
}

#[tokio::test]
async fn sec_d05_followers_begin_anew_when_a_replica_that_may_lack_something_took_over() {
    let mut primary = Postgres::start_followed(&[]).await;
    let standby = primary.standby("one", &[]).await;
    let both = format!("{},{}", primary.address(), standby.address());
    let url = primary.url().replace(&primary.address().to_string(), &both);
    let settings = BreakerSettings {
        failures: std::num::NonZeroU32::MIN,
        open_for: Duration::from_secs(60),
        mode: BreakerMode::Off,
    };
    let options = PostgresOptions {
        servers: PostgresServers {
            hosts: PostgresAddress::parse_each(&url).unwrap(),
            replicas: Vec::new(),
            direct: Vec::new(),
        },
        lag_max: Duration::from_secs(10),
        positions: None,
        pool_size: 1,
        max_overflow: 3,
        acquire_timeout: Duration::from_secs(30),
        recycle_after: Duration::from_secs(3600),
        guard: Arc::new(Guard::new("database", settings)),
    };
    let store: Arc<dyn Store> = Arc::new(postgres::open(&options).await.unwrap());
    store.add_revocation(&token(0)).await.unwrap();
    portcullis_testkit::wait_until("the replica", async || {
        let rows = "SELECT CASE WHEN to_regclass('revocation') IS NULL THEN 0 ELSE 1 END";
        (standby.query(rows) == "1" && standby.query("SELECT count(*) FROM revocation") == "1")
            .then_some(())
    })
    .await;
    standby.stop_following();
    store.add_revocation(&token(1)).await.unwrap();
    let feed = feed(&store).await;
    let before = page(&feed, None).await;
    assert_eq!(before.records.len(), 2);
    primary.kill().await;
    standby.promote();
    portcullis_testkit::wait_until("the promoted one", async || {
        store.add_revocation(&token(2)).await.ok()
    })
    .await;
    feed.look().await.unwrap();
    let asked = feed.answer(Some(before.position), Duration::ZERO).await;
    assert!(matches!(asked, Ok(Answer::Gap)), "{asked:?}");
    let after = page(&feed, None).await;
    assert_eq!(after.records.len(), 2, "one was lost, another came");
}
