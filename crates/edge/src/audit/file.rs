//! Appends lines of the audit to files. Never makes whoever records one wait for a disk.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::time::Duration;

use prometheus::IntCounter;
use serde_json::Value;

use crate::config::AuditLog;

/// Changes that wait for a disk; operators make a few a minute.
const QUEUE_LINES_MAX: usize = 1_024;
/// How long the disk may take for the last lines.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// The audit cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its file cannot be opened.
    #[error("cannot open audit log {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Its thread cannot be started.
    #[error(transparent)]
    Thread(#[from] StartError),
}

/// The thread that writes cannot be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot start the thread of the audit log: {0}")]
pub struct StartError(io::Error);

/// Whether lines can be appended.
pub(super) fn try_open(destination: &AuditLog) -> Result<(), OpenError> {
    match destination {
        AuditLog::Log => Ok(()),
        AuditLog::File(path) => append(path).map(drop).map_err(|source| OpenError::File {
            path: path.clone(),
            source,
        }),
    }
}

/// Hands lines to a thread, which ends with it.
#[derive(Debug)]
pub(super) struct Writer {
    lines: SyncSender<Message>,
    dropped: IntCounter,
}

enum Message {
    Line(PathBuf, String),
    /// Answered when all lines before it are written.
    Flush(SyncSender<()>),
}

impl Writer {
    pub(super) fn start(dropped: IntCounter) -> Result<Self, StartError> {
        let (lines, queue) = mpsc::sync_channel(QUEUE_LINES_MAX);
        let of_thread = dropped.clone();
        std::thread::Builder::new()
            .name("audit-log".to_owned())
            .spawn(move || drain(&queue, &of_thread))
            .map_err(StartError)?;
        Ok(Self { lines, dropped })
    }

    pub(super) fn write(&self, path: &Path, line: &Value) {
        let message = Message::Line(path.to_owned(), format!("{line}\n"));
        if self.lines.try_send(message).is_err() {
            self.dropped.inc();
            tracing::error!(target: "audit", %line, "the audit log takes no lines: this one is here");
        }
    }

    pub(super) fn flush(&self) {
        let (done, wait) = mpsc::sync_channel(1);
        if self.lines.try_send(Message::Flush(done)).is_ok() {
            // Either way there is nothing more to be done.
            let _ = wait.recv_timeout(FLUSH_TIMEOUT);
        }
    }
}

/// Opens the file for each line: whoever rotates it needs to tell nobody.
fn drain(queue: &Receiver<Message>, dropped: &IntCounter) {
    for message in queue {
        match message {
            Message::Line(path, line) => {
                let written = append(&path).and_then(|mut file| file.write_all(line.as_bytes()));
                if let Err(error) = written {
                    dropped.inc();
                    let line = line.trim_end();
                    tracing::error!(target: "audit", %error, line, "the audit log cannot be written: this line is here");
                }
            }
            Message::Flush(done) => {
                // Whoever asked may have given up.
                let _ = done.try_send(());
            }
        }
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lines_follow_a_file_that_was_moved_away() {
        let directory = tempfile::tempdir().unwrap();
        let (path, old) = (directory.path().join("a.log"), directory.path().join("b"));
        let writer = Writer::start(IntCounter::new("dropped", "for a test").unwrap()).unwrap();
        writer.write(&path, &json!(1));
        writer.flush();
        std::fs::rename(&path, &old).unwrap();
        writer.write(&path, &json!(2));
        writer.flush();
        assert_eq!(std::fs::read_to_string(&old).unwrap(), "1\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "2\n");
    }

    #[test]
    fn what_cannot_be_written_is_counted() {
        let dropped = IntCounter::new("dropped", "for a test").unwrap();
        let writer = Writer::start(dropped.clone()).unwrap();
        writer.write(Path::new("/dev/full"), &json!(1));
        writer.flush();
        assert_eq!(dropped.get(), 1);
    }
}
