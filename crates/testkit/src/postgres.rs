//! A private PostgreSQL: a free port, a temporary directory, gone with the test. Never the
//! machine's own.
//!
//! The program is Debian's `postgresql`; a test without it fails and says what to install.
//! PostgreSQL refuses to run as root, so that it runs as an unprivileged user where tests do not.

mod guard;
mod standby;
mod template;

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid, User, geteuid};

use crate::certificates::Authority;
use crate::ports::{ReservedPort, free_port};
use crate::process::{Process, descendants, is_running, signal_process};
use crate::wait::{DEADLINE, POLL_INTERVAL};
use guard::Guard;
use template::{Programs, Template};

/// The only role, a superuser.
pub const USER: &str = "portcullis";
/// Its password, which no log and no answer may show.
pub const PASSWORD: &str = "pg-pw-7f3kQ9";
/// In the line of the log that says that clients are served, of primaries and of replicas.
const READY: &str = "ready to accept";

/// A PostgreSQL of this test's own. Dropping it ends it; so does the end of the test process,
/// however that comes.
pub struct Postgres {
    port: ReservedPort,
    programs: Programs,
    settings: Vec<String>,
    // Before `process`, which knows only SIGKILL: that leaves shared memory behind.
    guard: Guard,
    process: Process,
}

impl Postgres {
    /// Starts one with an empty database.
    pub async fn start() -> Postgres {
        Postgres::start_with(&[]).await
    }

    /// As [`Postgres::start`], with more settings in the words of `postgresql.conf`.
    pub async fn start_with(settings: &[(&str, &str)]) -> Postgres {
        Postgres::begin(settings, None).await
    }

    /// Starts one that answers over TLS, too, as `localhost`, with a certificate of `authority`.
    pub async fn start_with_tls(authority: &Authority) -> Postgres {
        Postgres::begin(&[("ssl", "on")], Some(authority)).await
    }

    async fn begin(settings: &[(&str, &str)], authority: Option<&Authority>) -> Postgres {
        let programs = Programs::find();
        let template = Template::obtain(&programs);
        let mut guard = Guard::start();
        template.copy_to(&guard.data());
        if let Some(authority) = authority {
            place_certificate(authority, &guard.data());
        }
        let port = free_port();
        let settings: Vec<String> = QUICK
            .iter()
            .chain(settings)
            .map(|(name, value)| format!("--{name}={value}"))
            .collect();
        let process = spawn(&programs, &guard.data(), port.number(), &settings);
        guard.watch(process.id());
        let mut postgres = Postgres {
            port,
            programs,
            settings,
            guard,
            process,
        };
        postgres.process.wait_for_line(READY).await;
        postgres
    }

    /// What clients connect to, with the password in it.
    pub fn url(&self) -> String {
        format!("postgres://{USER}:{PASSWORD}@{}/postgres", self.address())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// The id of its first process, whose children serve one connection each.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Everything it logged since it was last started.
    pub fn log(&self) -> String {
        self.process.output()
    }

    /// Ends all its processes with SIGKILL, as a crash would, and returns once they are gone.
    pub async fn kill(&mut self) {
        let ids = self.processes();
        for &id in &ids {
            signal_process(id, Signal::SIGKILL);
        }
        self.process.exit_code().await;
        let started = Instant::now();
        while ids.iter().any(|&id| is_running(id)) {
            assert!(started.elapsed() < DEADLINE, "{ids:?} outlive SIGKILL");
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Stops all its processes where they are: connections stay open and nothing answers.
    pub fn pause(&self) {
        for id in self.processes() {
            signal_process(id, Signal::SIGSTOP);
        }
    }

    /// Lets it go on after [`Postgres::pause`].
    pub fn resume(&self) {
        for id in self.processes() {
            signal_process(id, Signal::SIGCONT);
        }
    }

    /// Starts it again on the same port with the same data. One that runs is shut down before,
    /// as an administrator would: its clients are told and cut off.
    pub async fn restart(&mut self) {
        if self.process.try_status().is_none() {
            self.process.signal(Signal::SIGINT);
            self.process.exit_code().await;
        }
        let number = self.port.number();
        self.process = spawn(&self.programs, &self.guard.data(), number, &self.settings);
        self.guard.watch(self.process.id());
        self.process.wait_for_line(READY).await;
    }

    /// Runs statements through `psql` and returns what they printed: a row a line, columns
    /// separated by `|`.
    ///
    /// # Panics
    /// When a statement fails.
    pub fn query(&self, sql: &str) -> String {
        let output = Command::new(self.programs.path("psql"))
            .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"])
            .args([
                "--set=ON_ERROR_STOP=1",
                "--dbname",
                &self.url(),
                "--command",
            ])
            .arg(sql)
            .output()
            .expect("psql comes with the server");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{sql}: {said}");
        String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_owned()
    }

    fn processes(&self) -> Vec<u32> {
        let mut ids = vec![self.id()];
        ids.extend(descendants(self.id()));
        ids
    }
}

/// Cheap to start and to end: what is written need not survive this machine.
const QUICK: &[(&str, &str)] = &[
    ("listen_addresses", "127.0.0.1"),
    ("unix_socket_directories", ""),
    ("fsync", "off"),
    ("full_page_writes", "off"),
    ("autovacuum", "off"),
    ("wal_level", "minimal"),
    ("max_wal_senders", "0"),
    ("max_wal_size", "64MB"),
    ("shared_buffers", "16MB"),
    // In a file: a killed server would leave what lies in /dev/shm.
    ("dynamic_shared_memory_type", "mmap"),
    ("jit", "off"),
    ("log_min_messages", "warning"),
];

fn spawn(programs: &Programs, data: &Path, port: u16, settings: &[String]) -> Process {
    let mut command = unprivileged(programs.path("postgres"));
    command
        .current_dir(data)
        .arg("-D")
        .arg(data)
        .arg(format!("--port={port}"))
        .args(settings);
    Process::spawn(command)
}

/// A key that others may read would be refused.
fn place_certificate(authority: &Authority, data: &Path) {
    let identity = authority.issue("postgres", &["localhost"]);
    for (from, to) in [
        (&identity.cert, "server.crt"),
        (&identity.key, "server.key"),
    ] {
        // As ourselves, since the authority's files are ours; the copy belongs to the server.
        let mut install = Command::new("install");
        if let Some((user, group)) = user() {
            install.args(["-o", &user.to_string(), "-g", &group.to_string()]);
        }
        install.args(["-m", "600"]).arg(from).arg(data.join(to));
        template::run(install);
    }
}

/// A command that does not run as root.
fn unprivileged(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    if let Some((user, group)) = user() {
        command.uid(user.as_raw()).gid(group.as_raw());
    }
    command
}

/// Whom root becomes; `None` for everybody else.
fn user() -> Option<(Uid, Gid)> {
    if !geteuid().is_root() {
        return None;
    }
    let user = ["postgres", "nobody"]
        .into_iter()
        .find_map(|name| User::from_name(name).ok().flatten())
        .expect("there is a user without privileges");
    Some((user.uid, user.gid))
}

#[cfg(test)]
mod tests;
