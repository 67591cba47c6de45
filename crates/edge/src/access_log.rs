//! Writes finished requests, one JSON object a line. Never blocks a request: what the writer cannot take is counted and dropped.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
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
    queue: Arc<Queue>,
    /// Whether lines go anywhere.
    is_on: AtomicBool,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// The log file cannot be opened or its thread not started.
#[derive(Debug, thiserror::Error)]
#[error("cannot open access log {}: {source}", path.display())]
pub struct OpenError {
    path: PathBuf,
    source: io::Error,
}

/// Where lines go; `None` is nowhere.
pub(crate) type Opened = Option<Box<dyn Write + Send>>;

/// Opens a destination.
pub(crate) fn open(destination: &AccessLog) -> Result<Opened, OpenError> {
    Ok(match destination {
        AccessLog::Off => None,
        AccessLog::Stdout => Some(Box::new(io::stdout())),
        AccessLog::File(path) => {
            let file = append(path).map_err(|source| OpenError {
                path: path.clone(),
                source,
            })?;
            Some(Box::new(file))
        }
    })
}

impl AccessLogWriter {
    /// Opens the destination and starts the writer thread, which there is even for none: there may be
    /// one later.
    pub fn open(destination: &AccessLog, dropped: IntCounter) -> Result<Self, OpenError> {
        let opened = open(destination)?;
        let is_on = opened.is_some();
        let opened = opened.unwrap_or_else(|| Box::new(io::sink()));
        let log = Self::start(opened, dropped).map_err(|source| OpenError {
            path: PathBuf::from("(its thread)"),
            source,
        })?;
        log.is_on.store(is_on, Ordering::Relaxed);
        Ok(log)
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
            queue,
            is_on: AtomicBool::new(true),
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Sends further lines to another destination. What was queued before still goes to the old one.
    pub(crate) fn redirect(&self, to: Opened) {
        self.is_on.store(to.is_some(), Ordering::Relaxed);
        self.queue
            .redirect(to.unwrap_or_else(|| Box::new(io::sink())));
    }

    /// Whether lines go anywhere: spares the work of making them.
    pub fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// Queues one line, newline included.
    pub fn write(&self, line: &[u8]) {
        if self.is_on() {
            self.queue.push(line);
        }
    }

    /// Writes what is queued and ends the thread; later lines are dropped. Waits for the
    /// destination, but not for ever: a reader that has stopped must not keep the process alive.
    pub fn close(&self) {
        self.close_within(CLOSE_TIMEOUT);
    }

    fn close_within(&self, timeout: Duration) {
        let queue = &self.queue;
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

struct Queue {
    pending: Mutex<Pending>,
    /// There is something to do for the thread.
    wake: Condvar,
    /// The thread has ended.
    ended: Condvar,
    dropped: IntCounter,
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}

/// Tells whoever closes the log that the thread is over, even if it panicked.
struct Ending<'a>(&'a Queue);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.lock().has_ended = true;
        self.0.ended.notify_all();
    }
}

#[derive(Default)]
struct Pending {
    bytes: Vec<u8>,
    lines: u64,
    /// Where lines go from a position in the bytes on.
    turns: Vec<(usize, Box<dyn Write + Send>)>,
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

    fn redirect(&self, to: Box<dyn Write + Send>) {
        let mut pending = self.lock();
        let position = pending.bytes.len();
        pending.turns.push((position, to));
        drop(pending);
        self.wake.notify_one();
    }

    /// The thread: swaps buffers, so that requests wait for a memory copy at most, never for a disk.
    fn drain(&self, mut destination: Box<dyn Write + Send>) {
        let _ending = Ending(self);
        let mut batch = Vec::new();
        let mut is_failing = false;
        loop {
            let mut pending = self.lock();
            while pending.is_empty() && !pending.is_closed {
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
            let turns = std::mem::take(&mut pending.turns);
            batch.clear();
            std::mem::swap(&mut batch, &mut pending.bytes);
            drop(pending);
            let mut written = Ok(());
            let mut rest = batch.as_slice();
            for (position, next) in turns {
                let until = position.saturating_sub(batch.len() - rest.len());
                let (before, after) = rest.split_at(until.min(rest.len()));
                written = written.and(write_to(&mut *destination, before));
                (destination, rest) = (next, after);
            }
            match written.and(write_to(&mut *destination, rest)) {
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

impl Pending {
    fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.turns.is_empty()
    }
}

fn write_to(destination: &mut dyn Write, bytes: &[u8]) -> io::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    destination.write_all(bytes)?;
    destination.flush()
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
    fn lines_go_where_they_were_to_go_when_they_were_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let read = |name: &str| std::fs::read_to_string(path(name)).unwrap();
        let to = |name: &str| AccessLog::File(path(name));
        let log = AccessLogWriter::open(&AccessLog::Off, counter()).unwrap();
        assert!(!log.is_on());
        log.write(b"nowhere\n");
        log.redirect(open(&to("one")).unwrap());
        assert!(log.is_on());
        log.write(b"first\n");
        log.redirect(open(&to("two")).unwrap());
        log.write(b"second\n");
        log.close();
        assert_eq!(
            (read("one"), read("two")),
            ("first\n".into(), "second\n".into())
        );
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
