//! Keeps the auth instances running: one task owns each process, starts it again when it
//! ends, and stops it when asked. Never lets a process outlive this one: all of them hold
//! the read end of a pipe whose write end lives here, and leave when it closes.

use std::fs::{File, OpenOptions};
use std::io::{self, PipeReader, PipeWriter};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::backoff::Backoff;

/// Between SIGTERM and SIGKILL: longer than the instances' own shutdown timeout.
const STOP_TIMEOUT: Duration = Duration::from_secs(8);
/// Enough for every instance to end several times before anyone reads.
const EVENTS_MAX: usize = 256;

/// One auth process as it is to be started.
#[derive(Clone, Debug)]
pub(super) struct Instance {
    pub(super) id: String,
    pub(super) address: SocketAddr,
    pub(super) internal: SocketAddr,
    pub(super) environment: Vec<(&'static str, String)>,
    pub(super) log: PathBuf,
}

/// What happened to an instance.
#[derive(Debug)]
pub(super) enum Event {
    /// It has a process.
    Started { index: usize, pid: u32 },
    /// Its process ended, or could not be started, for `reason`.
    Ended {
        index: usize,
        reason: String,
        restart_in: Duration,
    },
}

/// Owner of all instances.
#[derive(Debug)]
pub(super) struct Supervisor {
    tasks: Vec<JoinHandle<()>>,
    stop: watch::Sender<bool>,
    events: mpsc::Receiver<Event>,
    _lifeline: PipeWriter,
}

impl Supervisor {
    /// Starts every instance. Their logs begin anew.
    pub(super) fn start(instances: &[Instance]) -> io::Result<Self> {
        let (reader, lifeline) = io::pipe()?;
        let (stop, stopping) = watch::channel(false);
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        let mut tasks = Vec::with_capacity(instances.len());
        for (index, instance) in instances.iter().enumerate() {
            File::create(&instance.log)?;
            let keeper = Keeper {
                index,
                instance: instance.clone(),
                program: std::env::current_exe()?,
                lifeline: reader.try_clone()?,
                events: sender.clone(),
                stopping: stopping.clone(),
            };
            tasks.push(tokio::spawn(keeper.run()));
        }
        Ok(Self {
            tasks,
            stop,
            events,
            _lifeline: lifeline,
        })
    }

    /// The next thing that happens.
    pub(super) async fn next(&mut self) -> Event {
        match self.events.recv().await {
            Some(event) => event,
            // Only once every keeper is gone, and they stay until they are stopped.
            None => std::future::pending().await,
        }
    }

    /// SIGTERM to all, SIGKILL to those that ignore it. Returns when all are gone.
    pub(super) async fn stop(mut self) {
        self.stop.send_replace(true);
        // Keepers that wait for room in the channel must be able to leave.
        self.events.close();
        for task in self.tasks.drain(..) {
            // A keeper that panicked has lost its child to the closing pipe.
            let _panicked = task.await;
        }
    }
}

/// Owns the process of one instance.
struct Keeper {
    index: usize,
    instance: Instance,
    program: PathBuf,
    lifeline: PipeReader,
    events: mpsc::Sender<Event>,
    stopping: watch::Receiver<bool>,
}

impl Keeper {
    async fn run(mut self) {
        let mut backoff = Backoff::new();
        while !*self.stopping.borrow() {
            let started = Instant::now();
            let reason = match self.spawn() {
                Ok(mut child) => match self.attend(&mut child).await {
                    Some(reason) => reason,
                    None => return,
                },
                Err(error) => format!("could not be started: {error}"),
            };
            let restart_in = backoff.after(started.elapsed());
            self.tell(Event::Ended {
                index: self.index,
                reason,
                restart_in,
            })
            .await;
            tokio::select! {
                () = tokio::time::sleep(restart_in) => {}
                () = asked(&mut self.stopping) => return,
            }
        }
    }

    /// Waits for the process to end by itself and says why; `None` once it was stopped.
    async fn attend(&mut self, child: &mut Child) -> Option<String> {
        let pid = child.id()?;
        self.tell(Event::Started {
            index: self.index,
            pid,
        })
        .await;
        let mut stopping = self.stopping.clone();
        tokio::select! {
            status = child.wait() => Some(match status {
                Ok(status) => describe(status),
                Err(error) => format!("was lost: {error}"),
            }),
            () = asked(&mut stopping) => {
                terminate(child).await;
                None
            }
        }
    }

    /// A process group of its own keeps the terminal's Ctrl-C away from the instance: the
    /// edge has to drain first.
    fn spawn(&self) -> io::Result<Child> {
        let log = OpenOptions::new()
            .append(true)
            .create(true)
            .open(&self.instance.log)?;
        // A rebuild may have replaced the file; the running program is still what its peers are.
        let program = if self.program.exists() {
            &self.program
        } else {
            Path::new("/proc/self/exe")
        };
        let mut command = Command::new(program);
        command
            .args(["auth", "--exit-with-parent"])
            .env_clear()
            .envs(
                self.instance
                    .environment
                    .iter()
                    .map(|(name, value)| (name, value)),
            )
            .stdin(Stdio::from(self.lifeline.try_clone()?))
            .stdout(Stdio::from(log.try_clone()?))
            .stderr(Stdio::from(log))
            .process_group(0)
            .kill_on_drop(true);
        command.spawn()
    }

    async fn tell(&self, event: Event) {
        // Nobody listens any more while everything stops.
        let _stopping = self.events.send(event).await;
    }
}

/// Resolves once everything is to stop, also when the supervisor itself has gone.
async fn asked(stopping: &mut watch::Receiver<bool>) {
    let _gone = stopping.wait_for(|stop| *stop).await.is_err();
}

async fn terminate(child: &mut Child) {
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
        // It may have ended by itself in this moment.
        let _gone = kill(Pid::from_raw(pid), Signal::SIGTERM);
    }
    if tokio::time::timeout(STOP_TIMEOUT, child.wait())
        .await
        .is_err()
    {
        let _gone = child.kill().await;
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (_, Some(number)) => {
            let name = Signal::try_from(number).map_or("an unknown signal", Signal::as_str);
            format!("was killed by {name}")
        }
        _ => "ended".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn end_is_described_by_code_or_signal() {
        assert_eq!(
            describe(ExitStatus::from_raw(1 << 8)),
            "ended with exit code 1"
        );
        assert_eq!(describe(ExitStatus::from_raw(9)), "was killed by SIGKILL");
        assert_eq!(describe(ExitStatus::from_raw(11)), "was killed by SIGSEGV");
    }
}
