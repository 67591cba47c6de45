//! Streaming replicas of a private PostgreSQL: copied by `pg_basebackup`, promoted by `pg_promote()`. Never a mock of one.

use std::time::Instant;

use super::template::run;
use super::{
    DEADLINE, Guard, PASSWORD, Postgres, Programs, QUICK, READY, USER, free_port, spawn,
    unprivileged,
};

/// What a server needs so that others can follow it.
const FOLLOWED: [(&str, &str); 4] = [
    ("wal_level", "replica"),
    ("max_wal_senders", "8"),
    ("hot_standby", "on"),
    // A replica that was away for a while finds what it missed.
    ("wal_keep_size", "64MB"),
];
impl Postgres {
    /// Starts one that others can follow.
    pub async fn start_followed(settings: &[(&str, &str)]) -> Postgres {
        let all: Vec<_> = FOLLOWED.iter().chain(settings).copied().collect();
        Postgres::begin(&all, None).await
    }

    /// Starts a replica of this server, which must have been started by [`Postgres::start_followed`]. It answers reads
    /// and holds everything that was there when it was copied. `name` is what `synchronous_standby_names` may ask for.
    pub async fn standby(&self, name: &str, settings: &[(&str, &str)]) -> Postgres {
        let programs = Programs::find();
        let mut guard = Guard::start();
        let (host, port) = (self.address().ip(), self.address().port());
        let primary = format!(
            "host={host} port={port} user={USER} password={PASSWORD} application_name={name}"
        );
        let mut copy = unprivileged(programs.path("pg_basebackup"));
        copy.current_dir("/")
            .args(["--dbname", &primary, "--checkpoint=fast", "--no-sync"])
            .args(["--wal-method=stream", "--write-recovery-conf", "--pgdata"])
            .arg(guard.data());
        run(copy);
        let port = free_port();
        let settings: Vec<String> = QUICK
            .iter()
            .chain(&FOLLOWED)
            .chain(settings)
            .map(|(name, value)| format!("--{name}={value}"))
            .collect();
        let process = spawn(&programs, &guard.data(), port.number(), &settings);
        guard.watch(process.id());
        let mut standby = Postgres {
            port,
            programs,
            settings,
            guard,
            process,
        };
        standby.process.wait_for_line(READY).await;
        standby
    }

    /// Has commits of this server wait until a replica of that name has applied them.
    pub fn wait_for_standby(&self, name: &str) {
        self.query(&format!(
            "ALTER SYSTEM SET synchronous_standby_names = '{name}'"
        ));
        self.query("ALTER SYSTEM SET synchronous_commit = 'remote_apply'");
        self.query("SELECT pg_reload_conf()");
    }

    /// Makes a replica take over, on the next timeline. It follows nobody any more and waits for no replica.
    pub fn promote(&self) {
        self.query("ALTER SYSTEM RESET synchronous_standby_names");
        self.query("SELECT pg_reload_conf()");
        assert_eq!(self.query("SELECT pg_promote(true, 60)"), "t");
    }

    /// Cuts a replica off from its primary: what is written from now on, it lacks.
    pub fn stop_following(&self) {
        self.query("ALTER SYSTEM SET primary_conninfo = ''");
        self.query("SELECT pg_reload_conf()");
        let started = Instant::now();
        while self.query("SELECT count(*) FROM pg_stat_wal_receiver") != "0" {
            assert!(started.elapsed() < DEADLINE, "it follows on");
        }
    }

    /// Has a replica follow another server of the same family from now on.
    pub fn follow(&self, primary: &Postgres) {
        let (host, port) = (primary.address().ip(), primary.address().port());
        self.query(&format!(
            "ALTER SYSTEM SET primary_conninfo = 'host={host} port={port} user={USER} password={PASSWORD}'"
        ));
        self.query("SELECT pg_reload_conf()");
    }

    /// Stops a replica from applying what it receives: from now on it lags.
    pub fn stop_applying(&self) {
        self.query("SELECT pg_wal_replay_pause()");
    }

    /// Lets a replica apply again.
    pub fn go_on_applying(&self) {
        self.query("SELECT pg_wal_replay_resume()");
    }
}
