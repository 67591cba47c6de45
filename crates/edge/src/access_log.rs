//! Writes finished requests, one JSON object a line. Never blocks a request: what the writer cannot take is counted and dropped.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use prometheus::IntCounter;

use crate::config::AccessLog;

mod line;
mod privacy;

pub use line::Line;
pub use privacy::Privacy;

/// Takes finished lines and hands them to one thread of its own.
#[derive(Debug)]
pub struct AccessLogWriter {
    queue: Option<Arc<Queue>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// The log file cannot be opened or its thread not started.
#[derive(Debug, thiserror::Error)]
#[error("cannot open access log {}: {source}", path.display())]
pub struct OpenError {
    path: PathBuf,
    source: io::Error,
}

impl AccessLogWriter {
    /// Opens the destination and starts the writer thread.
    pub fn open(destination: &AccessLog, dropped: IntCounter) -> Result<Self, OpenError> {
        match destination {
            AccessLog::Off => Ok(Self::off()),
            AccessLog::Stdout => {
                Self::start(Box::new(io::stdout()), dropped).map_err(|source| OpenError {
                    path: PathBuf::from("<stdout>"),
                    source,
                })
            }
            AccessLog::File(path) => append(path)
                .and_then(|file| Self::start(Box::new(file), dropped))
                .map_err(|source| OpenError {
                    path: path.clone(),
                    source,
                }),
        }
    }

    /// Writes nowhere.
    pub fn off() -> Self {
        Self {
            queue: None,
            thread: Mutex::new(None),
        }
    }

    /// Writes to any destination.
    pub fn start(destination: Box<dyn Write + Send>, dropped: IntCounter) -> io::Result<Self> {
        let queue = Arc::new(Queue {
            pending: Mutex::default(),
            wake: Condvar::new(),
            ended: Condvar::new(),
            dropped,
        });
        let reader = Arc::clone(&queue);
        let thread = std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || reader.drain(destination))?;
        Ok(Self {
            queue: Some(queue),
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Whether lines go anywhere: spares the work of making them.
    pub fn is_on(&self) -> bool {
        self.queue.is_some()
    }

    /// Queues one line, newline included.
    pub fn write(&self, line: &[u8]) {
        if let Some(queue) = &self.queue {
            queue.push(line);
        }
    }

    /// Writes what is queued and ends the thread; later lines are dropped. Waits for the
    /// destination, but not for ever: a reader that has stopped must not keep the process alive.
    pub fn close(&self) {
        self.close_within(CLOSE_TIMEOUT);
    }

    fn close_within(&self, timeout: Duration) {
        let Some(queue) = &self.queue else { return };
        let mut pending = queue.lock();
        pending.is_closed = true;
        queue.wake.notify_one();
        let (pending, _) = queue
            .ended
            .wait_timeout_while(pending, timeout, |pending| !pending.has_ended)
            .unwrap_or_else(PoisonError::into_inner);
        let has_ended = pending.has_ended;
        drop(pending);
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(thread) = thread else { return };
        if !has_ended {
            tracing::error!("the access log's destination takes no lines; the last ones are lost");
        } else if thread.join().is_err() {
            tracing::error!("the access log's thread panicked; its last lines are lost");
        }
    }
}

impl Drop for AccessLogWriter {
    fn drop(&mut self) {
        self.close();
    }
}

#[derive(Debug)]
struct Queue {
    pending: Mutex<Pending>,
    /// There is something to do for the thread.
    wake: Condvar,
    /// The thread has ended.
    ended: Condvar,
    dropped: IntCounter,
}

/// Tells whoever closes the log that the thread is over, even if it panicked.
struct Ending<'a>(&'a Queue);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.lock().has_ended = true;
        self.0.ended.notify_all();
    }
}

#[derive(Debug, Default)]
struct Pending {
    bytes: Vec<u8>,
    lines: u64,
    is_closed: bool,
    has_ended: bool,
}

impl Queue {
    fn push(&self, line: &[u8]) {
        let mut pending = self.lock();
        if pending.is_closed || pending.bytes.len() + line.len() > QUEUE_BYTES_MAX {
            drop(pending);
            self.dropped.inc();
            return;
        }
        let was_empty = pending.bytes.is_empty();
        pending.bytes.extend_from_slice(line);
        pending.lines += 1;
        drop(pending);
        if was_empty {
            self.wake.notify_one();
        }
    }

    /// The thread: swaps buffers, so that requests wait for a memory copy at most, never for a disk.
    fn drain(&self, mut destination: Box<dyn Write + Send>) {
        let _ending = Ending(self);
        let mut batch = Vec::new();
        let mut is_failing = false;
        loop {
            let mut pending = self.lock();
            while pending.bytes.is_empty() && !pending.is_closed {
                pending = self
                    .wake
                    .wait(pending)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            // Let a few more lines gather: one write and one wake-up for many requests.
            if !pending.is_closed {
                pending = self
                    .wake
                    .wait_timeout(pending, GATHER)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0;
            }
            let lines = std::mem::take(&mut pending.lines);
            let is_last = pending.is_closed;
            batch.clear();
            std::mem::swap(&mut batch, &mut pending.bytes);
            drop(pending);
            match destination
                .write_all(&batch)
                .and_then(|()| destination.flush())
            {
                Ok(()) => is_failing = false,
                Err(error) => {
                    self.dropped.inc_by(lines);
                    if !is_failing {
                        tracing::error!(%error, "cannot write the access log; lines are dropped");
                    }
                    is_failing = true;
                }
            }
            if is_last {
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn append(path: &PathBuf) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// About ten thousand lines: a second of full load while a disk stalls.
const QUEUE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How long a destination may take for the last lines.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a line may wait for company.
const GATHER: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn counter() -> IntCounter {
        IntCounter::new("dropped", "for a test").unwrap()
    }

    /// Passes on what is written; waits for permission before every write.
    struct Slow {
        permission: mpsc::Receiver<()>,
        written: mpsc::Sender<Vec<u8>>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.permission.recv().map_err(io::Error::other)?;
            self.written
                .send(bytes.to_vec())
                .map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn file_keeps_what_it_had_and_gets_all_lines_by_close() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("access.log");
        std::fs::write(&path, "before\n").unwrap();
        let log = AccessLogWriter::open(&AccessLog::File(path.clone()), counter()).unwrap();
        for number in 0..1_000 {
            log.write(format!("{number}\n").as_bytes());
        }
        log.close();
        let text = std::fs::read_to_string(&path).unwrap();
        let expected = (0..1_000)
            .map(|number| format!("{number}\n"))
            .collect::<String>();
        assert_eq!(text, format!("before\n{expected}"));
    }

    #[test]
    fn file_that_cannot_be_opened_is_named() {
        let path = PathBuf::from("/nonexistent/access.log");
        let error = AccessLogWriter::open(&AccessLog::File(path), counter()).unwrap_err();
        assert!(
            error.to_string().contains("/nonexistent/access.log"),
            "{error}"
        );
    }

    #[test]
    fn stalled_destination_costs_lines_not_requests() {
        let (allow, permission) = mpsc::channel();
        let (written, received) = mpsc::channel();
        let dropped = counter();
        let log = AccessLogWriter::start(
            Box::new(Slow {
                permission,
                written,
            }),
            dropped.clone(),
        )
        .unwrap();
        let line = vec![b'x'; 1024];
        let lines = 3 * QUEUE_BYTES_MAX / line.len();
        for _ in 0..lines {
            log.write(&line);
        }
        let lost = usize::try_from(dropped.get()).unwrap();
        assert!(lost >= lines / 3 && lost < lines, "lost {lost} of {lines}");
        drop(allow);
        log.close();
        assert_eq!(received.try_iter().count(), 0);
        assert_eq!(
            dropped.get(),
            lines as u64,
            "lines of a failed write count as dropped"
        );
    }

    #[test]
    fn close_does_not_wait_for_ever() {
        let (allow, permission) = mpsc::channel();
        let (written, _received) = mpsc::channel();
        let destination = Box::new(Slow {
            permission,
            written,
        });
        let log = AccessLogWriter::start(destination, counter()).unwrap();
        log.write(b"one\n");
        log.close_within(Duration::from_millis(20));
        drop(allow);
    }

    #[test]
    fn close_writes_what_is_queued_and_later_lines_are_dropped() {
        let (allow, permission) = mpsc::channel();
        let (written, received) = mpsc::channel();
        let dropped = counter();
        let log = AccessLogWriter::start(
            Box::new(Slow {
                permission,
                written,
            }),
            dropped.clone(),
        )
        .unwrap();
        allow.send(()).unwrap();
        allow.send(()).unwrap();
        log.write(b"one\n");
        log.close();
        log.write(b"two\n");
        log.close();
        assert_eq!(received.try_iter().collect::<Vec<_>>().concat(), b"one\n");
        assert_eq!(dropped.get(), 1);
    }

    #[test]
    fn switched_off_log_takes_nothing() {
        let log = AccessLogWriter::open(&AccessLog::Off, counter()).unwrap();
        assert!(!log.is_on());
        log.write(b"nowhere\n");
        log.close();
    }
}
