//! Asks one server what it is, again and again, over a connection of its own: a pool that is exhausted says nothing about
//! its server. Never waits for an answer without an end, and never decides what follows from one.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Connection as _, Row as _};
use tokio::time::{sleep, timeout};

use super::Endpoint;
use super::judge::Seen;

/// How often a server is asked.
const PERIOD: Duration = Duration::from_secs(1);
/// How often while nobody leads.
pub(super) const HASTE: Duration = Duration::from_millis(200);
/// However many requests doubt it, a server is asked no more often than this.
const PAUSE: Duration = Duration::from_millis(100);
/// A server that takes longer to connect and answer does not answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// One look at everything. What follows from `standing` is asked of the server in the same state that it told: nobody
/// goes back from leading to following without a restart. The timeline of a primary is that of the file it writes, since
/// its control file still has the one before right after a promotion. A standby is on the newest that anything of it
/// proves: what it received is seen by members of `pg_read_all_stats` alone.
const ASKING: &str = "
    SELECT self.is_standby,
           (SELECT system_identifier FROM pg_control_system()) AS family,
           (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint AS started,
           CASE WHEN self.is_standby THEN COALESCE((pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::bigint, 0)
                ELSE (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint END AS position,
           CASE WHEN self.is_standby THEN GREATEST(
                    (SELECT timeline_id FROM pg_control_checkpoint()),
                    (SELECT min_recovery_end_timeline FROM pg_control_recovery()),
                    (SELECT max(received_tli) FROM pg_stat_wal_receiver))::bigint
                ELSE ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint END AS timeline
    FROM (SELECT pg_is_in_recovery() AS is_standby OFFSET 0) AS self";

/// Tells what the server says for as long as it is polled.
pub(super) async fn follow(endpoint: &Endpoint, tell: impl Fn(Option<Seen>) -> Duration) {
    let options = endpoint
        .connect
        .clone()
        .application_name("portcullis-auth-probe")
        .disable_statement_logging();
    let mut connection = None;
    let mut is_silent = false;
    loop {
        let answer = timeout(PATIENCE, ask(&mut connection, &options)).await;
        let failure = match &answer {
            Ok(Ok(_)) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("it does not answer".to_owned()),
        };
        if let Some(error) = &failure
            && !is_silent
        {
            tracing::warn!(
                endpoint = endpoint.name,
                error,
                "a database server cannot be asked what it is"
            );
        }
        is_silent = failure.is_some();
        let pause = tell(answer.ok().and_then(Result::ok));
        tokio::select! {
            () = sleep(pause.min(PERIOD)) => {}
            () = async {
                endpoint.pool.doubted().await;
                sleep(PAUSE).await;
            } => {}
        }
    }
}

/// A connection is kept only if it has answered.
async fn ask(
    kept: &mut Option<PgConnection>,
    options: &PgConnectOptions,
) -> Result<Seen, sqlx::Error> {
    let mut connection = match kept.take() {
        Some(connection) => connection,
        None => PgConnection::connect_with(options).await?,
    };
    let row = sqlx::query(ASKING).fetch_one(&mut connection).await?;
    let seen = Seen {
        family: row.try_get("family")?,
        started: row.try_get("started")?,
        timeline: row.try_get("timeline")?,
        position: row.try_get("position")?,
        is_primary: !row.try_get::<bool, _>("is_standby")?,
    };
    *kept = Some(connection);
    Ok(seen)
}
