//! The process that shall take over, as seen by the one before. Never lets it live if it does not.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use serde_json::{Value, json};

use super::{HANDOVER, Launch, wire};

/// One that is on its way out may take this long for its last words.
const END_TIMEOUT: Duration = Duration::from_secs(1);
/// So much of what it writes is kept.
const WORDS_BYTES_MAX: usize = 4096;

/// A process that was started to take over.
pub(super) struct Successor {
    child: Child,
    stream: Arc<UnixStream>,
    words: Arc<Mutex<VecDeque<u8>>>,
    /// Closed when it writes nothing more.
    silent: mpsc::Receiver<()>,
}

/// How one ended that did not take over.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    /// What it wrote last.
    pub(super) words: String,
}

impl Successor {
    /// Starts it. It knows nothing yet.
    pub(super) fn start(launch: &Launch) -> io::Result<Self> {
        let (stream, theirs) = UnixStream::pair()?;
        let mut command = Command::new(&launch.program);
        command
            .args(&launch.arguments)
            .env(HANDOVER, std::process::id().to_string())
            // It names this process: the other one would take no notice of the watchdog.
            .env_remove("WATCHDOG_PID")
            .stdin(OwnedFd::from(theirs))
            .stderr(Stdio::piped());
        let mut child = command.spawn()?;
        // Its end of the pair must be open nowhere else.
        drop(command);
        let words = Arc::new(Mutex::default());
        let heard = Arc::clone(&words);
        let stderr = child.stderr.take();
        let (speaks, silent) = mpsc::channel();
        let relaying = thread().spawn(move || {
            if let Some(stderr) = stderr {
                relay(stderr, &heard);
            }
            drop(speaks);
        });
        let successor = Self {
            child,
            stream: Arc::new(stream),
            words,
            silent,
        };
        match relaying {
            Ok(_) => Ok(successor),
            Err(error) => {
                successor.end()?;
                Err(error)
            }
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What is said to it and heard of it.
    pub(super) fn line(&self) -> Line {
        Line(Arc::clone(&self.stream))
    }

    /// Ends it, unless it has ended, and tells its last words.
    pub(super) fn end(mut self) -> io::Result<Ended> {
        // Whoever waits for its answer waits no longer.
        self.line().cut();
        // Nothing is ever sent: it is closed, or it is not.
        let _ = self.silent.recv_timeout(END_TIMEOUT);
        // One that is ending keeps its exit code.
        self.child.kill()?;
        let status = self.child.wait()?;
        let words: Vec<u8> = lock(&self.words).iter().copied().collect();
        Ok(Ended {
            status,
            words: String::from_utf8_lossy(&words).trim().to_owned(),
        })
    }

    /// It has taken over. It sees when this process ends, and its own end is told.
    pub(super) fn release(self) {
        let mut successor = self;
        let waiting = thread().spawn(move || {
            let ended = successor.child.wait();
            let status = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
            tracing::error!(status, "the process that took over has ended");
            // Until then our end of the line stays open.
            drop(successor);
        });
        if let Err(error) = waiting {
            tracing::warn!(%error, "nobody sees how the process that took over fares");
        }
    }
}

/// What goes to and fro. Its calls block.
#[derive(Clone)]
pub(super) struct Line(Arc<UnixStream>);

impl Line {
    /// Gives it a descriptor of its own.
    pub(super) fn give(&self, what: &Value, descriptor: BorrowedFd<'_>) -> io::Result<()> {
        wire::send(&self.0, what, Some(descriptor))
    }

    /// Gives it our error stream, for the time after.
    pub(super) fn give_stderr(&self) -> io::Result<()> {
        self.give(&json!({ "stderr": true }), io::stderr().as_fd())
    }

    pub(super) fn tell(&self, what: &Value) -> io::Result<()> {
        wire::send(&self.0, what, None)
    }

    /// What it says when it is ready; `None` if it ended.
    pub(super) fn hear(&self) -> io::Result<Option<Value>> {
        let parcel = wire::receive(&self.0)?;
        Ok(parcel.map(|parcel| parcel.words))
    }

    /// Nothing more is said or heard.
    pub(super) fn cut(&self) {
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

fn thread() -> std::thread::Builder {
    std::thread::Builder::new().name("edge-successor".to_owned())
}

/// Until it takes over, it writes through us.
fn relay(mut stderr: impl Read, words: &Mutex<VecDeque<u8>>) {
    let mut piece = [0; 4096];
    loop {
        let count = match stderr.read(&mut piece) {
            Ok(0) => return,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return,
        };
        let piece = piece.get(..count).unwrap_or_default();
        // Where nobody reads ours, nobody misses it.
        let _ = io::stderr().write_all(piece);
        let mut words = lock(words);
        words.extend(piece);
        let surplus = words.len().saturating_sub(WORDS_BYTES_MAX);
        words.drain(..surplus);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started(script: &str) -> Successor {
        let launch = Launch {
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
        };
        Successor::start(&launch).unwrap()
    }

    #[test]
    fn the_last_words_of_one_that_fails_are_told() {
        let successor = started("echo no such thing >&2; exit 3");
        assert!(!matches!(successor.line().hear(), Ok(Some(_))));
        let ended = successor.end().unwrap();
        assert_eq!(ended.status.code(), Some(3));
        assert_eq!(ended.words, "no such thing");
    }

    #[test]
    fn one_that_hangs_is_ended() {
        let successor = started("exec sleep 1000");
        let (pid, line) = (successor.pid(), successor.line());
        let hearing = std::thread::spawn(move || line.hear());
        let ended = successor.end().unwrap();
        assert_eq!(ended.status.code(), None);
        assert!(!matches!(hearing.join().unwrap(), Ok(Some(_))));
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    }

    #[test]
    fn no_more_is_kept_of_a_talker_than_its_end() {
        let successor =
            started("i=0; while [ $i -lt 2000 ]; do echo line-$i >&2; i=$((i+1)); done");
        assert!(!matches!(successor.line().hear(), Ok(Some(_))));
        let words = successor.end().unwrap().words;
        assert!(words.len() <= WORDS_BYTES_MAX && words.ends_with("line-1999"));
    }
}
