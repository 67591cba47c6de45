//! The operator's own command that makes an endpoint leave. Never waits for it while the watch goes on.

use std::process::{Child, Command, Stdio};

/// A command that was started, or could not be.
#[derive(Debug)]
pub(super) struct Drain {
    line: String,
    started: std::io::Result<Child>,
}

impl Drain {
    /// Hands a line to the shell.
    pub(super) fn start(line: &str) -> Self {
        let started = Command::new("sh")
            .args(["-c", line])
            .stdin(Stdio::null())
            // Standard output is for the report.
            .stdout(Stdio::null())
            .spawn();
        Self {
            line: line.to_owned(),
            started,
        }
    }

    /// What went wrong with it, once the watch is over.
    pub(super) fn complaint(self) -> Option<String> {
        let line = &self.line;
        match self.started.and_then(|mut child| child.try_wait()) {
            Ok(Some(status)) if status.success() => None,
            Ok(Some(status)) => Some(format!("{line:?} ended with {status}")),
            Ok(None) => Some(format!("{line:?} still runs")),
            Err(error) => Some(format!("{line:?} cannot be run: {error}")),
        }
    }
}
