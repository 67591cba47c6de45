//! The private PostgreSQL: starts, fails on purpose, comes back, and leaves nothing.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;
use crate::wait_until;

/// Asks whether the server speaks TLS, which it answers with one byte before anything else.
async fn greet(postgres: &Postgres) -> std::io::Result<u8> {
    let mut stream = TcpStream::connect(postgres.address()).await?;
    stream.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).await?;
    stream.read_u8().await
}

#[tokio::test]
async fn a_killed_server_comes_back_with_what_it_acknowledged() {
    let mut postgres = Postgres::start().await;
    postgres.query("CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)");
    postgres.kill().await;
    assert!(greet(&postgres).await.is_err(), "nothing listens any more");
    let port = postgres.address();
    postgres.restart().await;
    assert_eq!(postgres.address(), port);
    assert_eq!(postgres.query("SELECT n FROM kept"), "7");
}

#[tokio::test]
async fn a_running_server_is_shut_down_and_started_again() {
    let mut postgres = Postgres::start().await;
    let before = postgres.id();
    postgres.restart().await;
    assert_ne!(postgres.id(), before);
    assert_eq!(postgres.query("SELECT 1"), "1");
}

#[tokio::test]
async fn a_paused_server_is_silent_until_it_goes_on() {
    let postgres = Postgres::start().await;
    postgres.pause();
    let mut answer = std::pin::pin!(greet(&postgres));
    let silent = tokio::time::timeout(Duration::from_millis(200), &mut answer).await;
    assert!(silent.is_err(), "{silent:?}");
    postgres.resume();
    assert_eq!(answer.await.unwrap(), b'N');
}

#[tokio::test]
async fn settings_are_taken_and_tls_is_offered_where_it_was_asked_for() {
    let postgres = Postgres::start_with(&[("max_connections", "17")]).await;
    assert_eq!(postgres.query("SHOW max_connections"), "17");
    assert_eq!(greet(&postgres).await.unwrap(), b'N');
    let postgres = Postgres::start_with_tls(&Authority::new()).await;
    assert_eq!(greet(&postgres).await.unwrap(), b'S');
}

#[tokio::test]
async fn two_servers_share_nothing() {
    let (one, other) = tokio::join!(Postgres::start(), Postgres::start());
    one.query("CREATE TABLE mine (n int)");
    assert_eq!(other.query("SELECT to_regclass('mine') IS NULL"), "t");
}

#[tokio::test]
async fn dropping_a_paused_server_leaves_neither_process_nor_file() {
    let postgres = Postgres::start().await;
    let (ids, data) = (postgres.processes(), postgres.guard.data());
    assert!(ids.len() > 1 && data.exists());
    postgres.pause();
    drop(postgres);
    assert!(!data.exists());
    assert!(ids.into_iter().all(|id| !is_running(id)));
}

/// The guard is told of the test's end by its pipe alone, as when the test is killed.
#[tokio::test]
async fn the_end_of_the_pipe_ends_server_and_files() {
    let mut postgres = Postgres::start().await;
    let (ids, data) = (postgres.processes(), postgres.guard.data());
    drop(postgres.guard.close());
    wait_until("the end of all processes", async || {
        (!ids.iter().any(|&id| is_running(id)) && !data.exists()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_standby_follows_lags_when_told_to_and_takes_over() {
    let mut primary = Postgres::start_followed(&[]).await;
    let standby = primary.standby("one", &[]).await;
    primary.wait_for_standby("one");
    primary.query("CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)");
    assert_eq!(standby.query("SELECT n FROM kept"), "7");
    assert_eq!(standby.query("SELECT pg_is_in_recovery()"), "t");
    primary.query("ALTER SYSTEM RESET synchronous_standby_names");
    primary.query("SELECT pg_reload_conf()");
    standby.stop_applying();
    primary.query("INSERT INTO kept VALUES (8)");
    assert_eq!(standby.query("SELECT count(*) FROM kept"), "1");
    standby.go_on_applying();
    wait_until("the row", async || {
        (standby.query("SELECT count(*) FROM kept") == "2").then_some(())
    })
    .await;
    primary.kill().await;
    standby.promote();
    standby.query("INSERT INTO kept VALUES (9)");
    primary.restart().await;
    assert_eq!(
        primary.query("SELECT count(*) FROM kept"),
        "2",
        "it knows nothing of the other"
    );
}
