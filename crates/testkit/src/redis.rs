//! A private Redis: a free port, a temporary directory, gone with the test. Never the machine's own.
//!
//! The program is Debian's `redis-server`; a test without it fails and says what to install.

pub mod cluster;
pub mod sentinel;

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::{User, geteuid};
use tempfile::TempDir;

use crate::certificates::Authority;
use crate::ports::{ReservedPort, free_port};
use crate::process::Process;
use crate::wait::{DEADLINE, POLL_INTERVAL};

/// A Redis of this test's own. Dropping it ends it; so does the end of the test process, however that comes.
pub struct Redis {
    port: ReservedPort,
    directory: TempDir,
    arguments: Vec<String>,
    password: Option<String>,
    is_tls: bool,
    process: Process,
}

impl Redis {
    /// Starts one that answers anybody on loopback.
    pub async fn start() -> Redis {
        Redis::begin(None, None).await
    }

    /// Starts one that asks for a password.
    pub async fn start_with_password(password: &str) -> Redis {
        Redis::begin(Some(password), None).await
    }

    /// Starts one that speaks TLS alone, as `localhost`, with a certificate of `authority`.
    pub async fn start_with_tls(authority: &Authority) -> Redis {
        Redis::begin(None, Some(authority)).await
    }

    async fn begin(password: Option<&str>, authority: Option<&Authority>) -> Redis {
        let directory = TempDir::new().expect("the temporary directory is writable");
        let port = free_port();
        let mut arguments = arguments(directory.path());
        if let Some(password) = password {
            arguments.extend(["--requirepass", password].map(str::to_owned));
        }
        let listening = match authority {
            None => vec!["--port".to_owned(), port.number().to_string()],
            Some(authority) => tls_arguments(authority, directory.path(), port.number()),
        };
        arguments.extend(listening);
        give_away(directory.path());
        let mut redis = Redis {
            process: spawn(&arguments),
            port,
            directory,
            arguments,
            password: password.map(str::to_owned),
            is_tls: authority.is_some(),
        };
        redis.wait_for_answer().await;
        redis
    }

    /// What clients connect to: `redis://…`, or `rediss://localhost:…` with TLS.
    pub fn url(&self) -> String {
        let port = self.port.number();
        match (&self.password, self.is_tls) {
            (_, true) => format!("rediss://localhost:{port}/0"),
            (None, _) => format!("redis://127.0.0.1:{port}/0"),
            (Some(password), _) => format!("redis://:{password}@127.0.0.1:{port}/0"),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Ends it with SIGKILL, and returns once it is gone.
    pub async fn kill(&mut self) {
        self.process.signal(Signal::SIGKILL);
        self.process.exit_code().await;
    }

    /// Stops it where it is: connections stay open and nothing answers.
    pub fn pause(&self) {
        self.process.signal(Signal::SIGSTOP);
    }

    /// Lets it go on after [`Redis::pause`].
    pub fn resume(&self) {
        self.process.signal(Signal::SIGCONT);
    }

    /// Ends it if it runs and starts it again on the same port, with all data that it acknowledged.
    pub async fn restart(&mut self) {
        self.kill().await;
        self.process = spawn(&self.arguments);
        self.wait_for_answer().await;
    }

    /// As [`Redis::restart`], but everything it held is lost.
    pub async fn restart_empty(&mut self) {
        self.kill().await;
        let data = self.directory.path().join("data");
        std::fs::remove_dir_all(&data).expect("a stopped Redis leaves its files alone");
        std::fs::create_dir(&data).expect("the directory is writable");
        give_away(self.directory.path());
        self.process = spawn(&self.arguments);
        self.wait_for_answer().await;
    }

    /// Runs one command through `redis-cli` and returns what it printed. Not for a Redis that speaks TLS.
    pub fn command(&self, words: &[&str]) -> String {
        let mut cli = Command::new("redis-cli");
        cli.args(["-h", "127.0.0.1", "-p", &self.port.number().to_string()]);
        if let Some(password) = &self.password {
            cli.env("REDISCLI_AUTH", password);
        }
        let output = cli.args(words).output();
        let output = output.unwrap_or_else(|error| panic!("redis-cli: {error}; {INSTALL}"));
        String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_owned()
    }

    /// Waits until it answers and has loaded what it stored.
    async fn wait_for_answer(&mut self) {
        let started = Instant::now();
        while !answers(self.port.address(), self.is_tls) {
            let is_over = self.process.try_status().is_some() || started.elapsed() > DEADLINE;
            assert!(
                !is_over,
                "{} does not answer\n{}",
                self.process,
                self.process.output()
            );
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}

const INSTALL: &str = "install it: apt-get install redis-server";

/// Every setting that matters, so that no default of the distribution does. A write is in the kernel's hands before it
/// is acknowledged, which outlives SIGKILL; waiting for the disk would only slow tests down.
fn arguments(directory: &Path) -> Vec<String> {
    let data = directory.join("data");
    std::fs::create_dir(&data).expect("the directory is new");
    let data = data.display().to_string();
    [
        ("--bind", "127.0.0.1"),
        ("--dir", &data),
        ("--daemonize", "no"),
        ("--save", ""),
        ("--appendonly", "yes"),
        ("--appendfsync", "no"),
    ]
    .iter()
    .flat_map(|(name, value)| [(*name).to_owned(), (*value).to_owned()])
    .collect()
}

fn tls_arguments(authority: &Authority, directory: &Path, port: u16) -> Vec<String> {
    let identity = authority.issue("redis", &["localhost"]);
    // Copied, so that the account Redis runs under can read them.
    let copy = |from: &Path, name: &str| {
        let to = directory.join(name);
        std::fs::copy(from, &to).expect("the directory is writable");
        to.display().to_string()
    };
    let (cert, key, root) = (
        copy(&identity.cert, "cert.pem"),
        copy(&identity.key, "key.pem"),
        copy(&authority.root_file(), "root.pem"),
    );
    [
        ("--port", "0"),
        ("--tls-port", &port.to_string()),
        ("--tls-cert-file", &cert),
        ("--tls-key-file", &key),
        ("--tls-ca-cert-file", &root),
        ("--tls-auth-clients", "no"),
    ]
    .iter()
    .flat_map(|(name, value)| [(*name).to_owned(), (*value).to_owned()])
    .collect()
}

/// Root hands the directory to the account without rights that Redis will run under.
fn give_away(directory: &Path) {
    let Some(nobody) = unprivileged() else { return };
    let entries = std::fs::read_dir(directory).expect("the directory is ours");
    let paths = entries.map(|entry| entry.expect("the directory is ours").path());
    for path in paths.chain([directory.to_owned()]) {
        chown(&path, Some(nobody.uid.as_raw()), Some(nobody.gid.as_raw()))
            .expect("root may give files away");
    }
}

/// Whom to run as instead of root.
fn unprivileged() -> Option<User> {
    if !geteuid().is_root() {
        return None;
    }
    User::from_name("nobody").expect("accounts can be looked up")
}

/// `setpriv` drops root's rights and has the kernel kill Redis should this process die without dropping anything.
fn spawn(arguments: &[String]) -> Process {
    let found = Command::new("redis-server").arg("--version").output();
    assert!(found.is_ok(), "there is no redis-server; {INSTALL}");
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]);
    if let Some(nobody) = unprivileged() {
        command.arg(format!("--reuid={}", nobody.uid));
        command.arg(format!("--regid={}", nobody.gid));
        command.arg("--clear-groups");
    }
    command.arg("redis-server").args(arguments);
    Process::spawn(command)
}

/// Whether somebody there is ready for commands. With TLS, that somebody listens.
fn answers(address: SocketAddr, is_tls: bool) -> bool {
    debug_assert_eq!(address.ip(), Ipv4Addr::LOCALHOST);
    let patience = Duration::from_secs(1);
    let Ok(mut stream) = TcpStream::connect_timeout(&address, DEADLINE) else {
        return false;
    };
    if is_tls {
        return true;
    }
    let mut answer = [0; 5];
    let asked = stream
        .set_read_timeout(Some(patience))
        .and_then(|()| stream.write_all(b"PING\r\n"))
        .and_then(|()| stream.read_exact(&mut answer));
    // It says "-LOADING" for as long as it reads its files.
    asked.is_ok() && (&answer == b"+PONG" || &answer == b"-NOAU")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::is_running;

    #[tokio::test]
    async fn what_was_acknowledged_outlives_a_kill_but_not_an_empty_restart() {
        let mut redis = Redis::start().await;
        assert_eq!(redis.command(&["SET", "a", "1"]), "OK");
        let port = redis.address();
        redis.restart().await;
        assert_eq!(
            (redis.address(), redis.command(&["GET", "a"])),
            (port, "1".to_owned())
        );
        redis.restart_empty().await;
        assert_eq!(redis.command(&["EXISTS", "a"]), "0");
    }

    #[tokio::test]
    async fn a_paused_one_is_silent_and_a_killed_one_refuses() {
        let mut redis = Redis::start().await;
        redis.pause();
        assert!(
            TcpStream::connect(redis.address()).is_ok(),
            "the kernel accepts"
        );
        assert!(!answers(redis.address(), false));
        redis.resume();
        redis.wait_for_answer().await;
        redis.kill().await;
        assert!(TcpStream::connect(redis.address()).is_err());
    }

    #[tokio::test]
    async fn two_are_strangers_and_neither_is_left_behind() {
        let (one, other) = (Redis::start().await, Redis::start().await);
        one.command(&["SET", "a", "1"]);
        assert_eq!(other.command(&["EXISTS", "a"]), "0");
        let ids = [one.id(), other.id()];
        drop((one, other));
        assert!(ids.iter().all(|&id| !is_running(id)));
    }

    #[tokio::test]
    async fn it_never_runs_as_root() {
        let redis = Redis::start().await;
        let status = std::fs::read_to_string(format!("/proc/{}/status", redis.id())).unwrap();
        let uids = status
            .lines()
            .find(|line| line.starts_with("Uid:"))
            .unwrap();
        assert!(!uids.split_whitespace().any(|uid| uid == "0"), "{uids}");
    }

    #[tokio::test]
    async fn a_password_is_asked_for() {
        let redis = Redis::start_with_password("open sesame").await;
        assert_eq!(redis.command(&["PING"]), "PONG");
        let port = redis.address().port().to_string();
        let stranger = Command::new("redis-cli")
            .args(["-p", &port, "PING"])
            .output();
        assert!(String::from_utf8_lossy(&stranger.unwrap().stdout).contains("NOAUTH"));
    }

    #[tokio::test]
    async fn tls_is_spoken_under_the_authoritys_name() {
        let authority = Authority::new();
        let redis = Redis::start_with_tls(&authority).await;
        assert!(redis.url().starts_with("rediss://localhost:"));
        let stream = tokio::net::TcpStream::connect(redis.address())
            .await
            .unwrap();
        let client = tokio_rustls::TlsConnector::from(std::sync::Arc::new(authority.client()));
        let name = "localhost".try_into().unwrap();
        client
            .connect(name, stream)
            .await
            .expect("the certificate is the authority's");
    }
}
