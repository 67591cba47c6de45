//! The real binary under test: started in its own process group, read while it runs, and never
//! left behind.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

use crate::wait::DEADLINE;

mod tree;

pub use tree::{
    children, descendants, is_running, open_sockets, peak_resident_kilobytes, resident_kilobytes,
};

/// A process this test started. Dropping it kills its process group and its descendants.
pub struct Process {
    child: Child,
    stdout: Arc<Mutex<Vec<String>>>,
    stderr: Arc<Mutex<Vec<String>>>,
    status: Option<ExitStatus>,
    command_line: String,
}

impl Process {
    /// Starts `program` with `arguments` in a process group of its own, with an environment that
    /// holds only `PATH`, `HOME` and `TMPDIR`, so that nothing of the caller's leaks in.
    pub fn start<A: AsRef<OsStr>>(program: &str, arguments: &[A]) -> Process {
        let mut command = Command::new(program);
        command.args(arguments);
        Process::spawn(command)
    }

    /// As [`Process::start`], for a command that also needs a directory or variables.
    pub fn spawn(mut command: Command) -> Process {
        let kept: Vec<_> = command
            .get_envs()
            .map(|(k, v)| (k.to_owned(), v.map(OsStr::to_owned)))
            .collect();
        command.env_clear();
        for name in ["PATH", "HOME", "TMPDIR"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        for (name, value) in kept {
            if let Some(value) = value {
                command.env(name, value);
            }
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.process_group(0);
        let command_line = format!("{command:?}");
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("could not start {command_line}: {error}"));
        let stdout = collect_lines(child.stdout.take().expect("stdout is piped"));
        let stderr = collect_lines(child.stderr.take().expect("stderr is piped"));
        Process {
            child,
            stdout,
            stderr,
            status: None,
            command_line,
        }
    }

    /// The process id, which is also the id of its process group.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Lines written to standard output so far.
    pub fn stdout(&self) -> Vec<String> {
        lock(&self.stdout).clone()
    }

    /// Lines written to standard error so far.
    pub fn stderr(&self) -> Vec<String> {
        lock(&self.stderr).clone()
    }

    /// Asks it to end (SIGTERM), and returns its exit code once it has: a binary that was built to count
    /// writes then what it counted.
    ///
    /// # Panics
    /// When the process outlives the deadline.
    pub async fn leave(&mut self) -> i32 {
        self.signal(Signal::SIGTERM);
        self.exit_code().await
    }

    /// Waits for a line on either stream that contains `text`, and returns it.
    ///
    /// # Panics
    /// When the process ends without it or the deadline passes; all output is in the message.
    pub async fn wait_for_line(&mut self, text: &str) -> String {
        let started = Instant::now();
        loop {
            let ended = self.try_status().is_some();
            let hit = self
                .stdout()
                .into_iter()
                .chain(self.stderr())
                .find(|l| l.contains(text));
            if let Some(line) = hit {
                return line;
            }
            if ended || started.elapsed() > DEADLINE {
                panic!(
                    "{}: no line with {text:?} (ended: {ended})\n{}",
                    self,
                    self.output()
                );
            }
            tokio::time::sleep(crate::wait::POLL_INTERVAL).await;
        }
    }

    /// Sends a signal to the process alone.
    pub fn signal(&self, signal: Signal) {
        // A process that is already gone is what the caller wanted to reach.
        let _ = signal::kill(self.pid(), signal);
    }

    /// The exit status, if the process has ended.
    pub fn try_status(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self
                .child
                .try_wait()
                .expect("a child we own can be waited for");
        }
        self.status
    }

    /// Waits for the end and returns the exit code, negative for a signal.
    ///
    /// # Panics
    /// When the process outlives the deadline.
    pub async fn exit_code(&mut self) -> i32 {
        let started = Instant::now();
        loop {
            if let Some(status) = self.try_status() {
                // The readers end with the streams; a descendant may hold those open for ever.
                let asked = Instant::now();
                while asked.elapsed() < OUTPUT_GRACE && !self.is_output_complete() {
                    tokio::time::sleep(crate::wait::POLL_INTERVAL).await;
                }
                return status
                    .code()
                    .unwrap_or_else(|| -status.signal().unwrap_or(0));
            }
            assert!(
                started.elapsed() < 2 * DEADLINE,
                "{self} still runs after {:?}\n{}",
                2 * DEADLINE,
                self.output()
            );
            tokio::time::sleep(crate::wait::POLL_INTERVAL).await;
        }
    }

    /// Both streams, for failure messages.
    pub fn output(&self) -> String {
        format!(
            "--- stdout ---\n{}\n--- stderr ---\n{}",
            self.stdout().join("\n"),
            self.stderr().join("\n")
        )
    }

    /// Each reader thread holds its list until its stream ends.
    fn is_output_complete(&self) -> bool {
        Arc::strong_count(&self.stdout) == 1 && Arc::strong_count(&self.stderr) == 1
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("process ids fit an i32"))
    }
}

impl std::fmt::Display for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "process {} ({})", self.child.id(), self.command_line)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Descendants first: once the parent is gone they cannot be found any more.
        let left = descendants(self.child.id());
        let has_ended = self.try_status().is_some();
        // Also when its leader has ended: who took over from it is in the group, and keeps the number of
        // the group from being given to anybody else.
        let _ = signal::killpg(self.pid(), Signal::SIGKILL);
        if !has_ended {
            let _ = self.child.wait();
        }
        for id in left {
            let _ = signal::kill(Pid::from_raw(id.cast_signed()), Signal::SIGKILL);
        }
    }
}

/// Kills a process found by [`children`] with a signal.
pub fn signal_process(id: u32, signal: Signal) {
    let _ = signal::kill(Pid::from_raw(id.cast_signed()), signal);
}

fn collect_lines(stream: impl Read + Send + 'static) -> Arc<Mutex<Vec<String>>> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&lines);
    std::thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        while reader
            .read_until(b'\n', &mut line)
            .is_ok_and(|read| read > 0)
        {
            let text = String::from_utf8_lossy(&line)
                .trim_end_matches(['\r', '\n'])
                .to_owned();
            lock(&sink).push(text);
            line.clear();
        }
    });
    lines
}

/// How long the last lines of an ended process may take to be read.
const OUTPUT_GRACE: std::time::Duration = std::time::Duration::from_secs(2);

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait_until;

    #[tokio::test]
    async fn output_is_readable_while_the_process_runs() {
        let mut process = Process::start("sh", &["-c", "echo ready; sleep 1000"]);
        assert_eq!(process.wait_for_line("ready").await, "ready");
        assert!(process.try_status().is_none());
    }

    #[tokio::test]
    async fn exit_code_tells_signals_from_codes() {
        let mut process = Process::start("sh", &["-c", "exit 7"]);
        assert_eq!(process.exit_code().await, 7);
        let mut process = Process::start("sleep", &["1000"]);
        process.signal(Signal::SIGTERM);
        assert_eq!(process.exit_code().await, -15);
    }

    #[tokio::test]
    async fn dropping_leaves_no_descendant() {
        let mut process = Process::start("sh", &["-c", "setsid sleep 1000 & echo up; wait"]);
        process.wait_for_line("up").await;
        let parent = process.id();
        let child = wait_until("the child", async || children(parent).first().copied()).await;
        drop(process);
        wait_until("the end of the child", async || {
            (!is_running(child)).then_some(())
        })
        .await;
    }
}
