//! Who changed what while the edge runs, and what was refused. Never told a secret: whoever records
//! a change says only what may be read.
//!
//! [`Audit::revise`] counts the states that operators, reloads and discovery lead to; the number is
//! the entity tag of the operator's listener. [`Audit::record`] writes one line for each change.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use prometheus::IntCounter;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::config::{AdminRole, AuditLog};

mod file;

use file::Writer;
pub use file::{OpenError, StartError};

/// So many entries are kept in memory.
pub(crate) const ENTRIES_MAX: usize = 256;
/// Lines a second for those who show no token: they must not fill a disk.
const STRANGERS_PER_SECOND_MAX: u32 = 10;

/// The revision, the latest entries, and where all of them are written.
#[derive(Debug)]
pub struct Audit {
    book: Mutex<Book>,
    writer: Writer,
}

#[derive(Debug)]
struct Book {
    revision: u64,
    latest: VecDeque<Entry>,
    strangers: Strangers,
    destination: AuditLog,
}

/// Who asked for a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    name: String,
    role: Option<AdminRole>,
    address: Option<SocketAddr>,
}

/// A change, made or refused.
#[derive(Clone, Debug)]
pub struct Record {
    /// Who asked.
    pub who: Who,
    /// What for, as a path: `clusters/auth/endpoints/10.0.1.10:8000/drain`, `reload`.
    pub what: String,
    /// How it was; null if it cannot be said.
    pub before: Value,
    /// How it is.
    pub after: Value,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is in force, as this revision.
    Done(u64),
    /// It was not made, for this reason.
    Refused(String),
}

#[derive(Clone, Debug)]
struct Entry {
    revision: u64,
    is_done: bool,
    told: Value,
}

impl Who {
    /// What changes by itself: `sighup`, `file`, `discovery`.
    pub fn itself(name: &'static str) -> Self {
        Self {
            name: name.to_owned(),
            role: None,
            address: None,
        }
    }

    /// Whoever showed a token of this name.
    pub fn operator(name: &str, role: AdminRole, address: SocketAddr) -> Self {
        Self {
            name: name.to_owned(),
            role: Some(role),
            address: Some(address),
        }
    }

    /// Whoever showed none that is known.
    pub fn stranger(address: SocketAddr) -> Self {
        Self {
            name: "unknown".to_owned(),
            role: None,
            address: Some(address),
        }
    }

    fn is_stranger(&self) -> bool {
        self.role.is_none() && self.address.is_some()
    }
}

impl Audit {
    /// Revision 1, written to `destination`.
    pub fn open(destination: &AuditLog, dropped: IntCounter) -> Result<Self, OpenError> {
        file::try_open(destination)?;
        Ok(Self {
            book: Mutex::new(Book {
                revision: 1,
                latest: VecDeque::new(),
                strangers: Strangers::default(),
                destination: destination.clone(),
            }),
            writer: Writer::start(dropped)?,
        })
    }

    /// Writes to another destination from now on, unless it cannot be opened.
    pub fn aim(&self, destination: &AuditLog) -> Result<(), OpenError> {
        file::try_open(destination)?;
        self.lock().destination = destination.clone();
        Ok(())
    }

    /// The number of the state in force.
    pub fn revision(&self) -> u64 {
        self.lock().revision
    }

    /// The state in force is another one now; its number.
    pub fn revise(&self) -> u64 {
        let mut book = self.lock();
        book.revision += 1;
        book.revision
    }

    /// A line as it will be told, without writing it.
    pub(crate) fn told(&self, record: &Record) -> Value {
        Entry::new(record, self.revision(), SystemTime::now(), 0).told
    }

    /// Counts on from the number of another process, and remembers what it did: oldest first.
    pub(crate) fn resume(&self, revision: u64, entries: impl IntoIterator<Item = Value>) {
        let mut book = self.lock();
        book.revision = book.revision.max(revision);
        let known = entries.into_iter().filter_map(|told| {
            Some(Entry {
                revision: told["revision"].as_u64()?,
                is_done: told["outcome"] == "done",
                told,
            })
        });
        book.latest.extend(known.take(ENTRIES_MAX));
    }

    /// Writes one line, and remembers it for who asks later.
    pub fn record(&self, record: Record) {
        let now = SystemTime::now();
        let mut book = self.lock();
        let unnamed = match record.who.is_stranger() {
            true => match book.strangers.admit(unix_seconds(now)) {
                Some(unnamed) => unnamed,
                None => return,
            },
            false => 0,
        };
        let entry = Entry::new(&record, book.revision, now, unnamed);
        match &book.destination {
            AuditLog::Log => log(&record, &entry),
            AuditLog::File(path) => self.writer.write(path, &entry.told),
        }
        // They must not push out what operators did.
        if record.who.is_stranger() {
            return;
        }
        if book.latest.len() == ENTRIES_MAX {
            book.latest.pop_front();
        }
        book.latest.push_back(entry);
    }

    /// The latest entries, newest first.
    pub(crate) fn latest(&self) -> Vec<Value> {
        let book = self.lock();
        let entries = book.latest.iter().rev();
        entries.map(|entry| entry.told.clone()).collect()
    }

    /// What was changed after a revision, oldest first, as far as it is remembered.
    pub(crate) fn since(&self, revision: u64) -> Vec<Value> {
        let book = self.lock();
        let entries = book.latest.iter();
        let newer = entries.filter(|entry| entry.is_done && entry.revision > revision);
        newer.map(|entry| entry.told.clone()).collect()
    }

    /// Waits until what was recorded is written, but not for ever.
    pub(crate) fn close(&self) {
        self.writer.flush();
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn new(record: &Record, revision: u64, now: SystemTime, unnamed: u64) -> Self {
        let (revision, outcome, why) = match &record.outcome {
            Outcome::Done(revision) => (*revision, "done", None),
            Outcome::Refused(why) => (revision, "refused", Some(why)),
        };
        let mut told = json!({
            "time": OffsetDateTime::from(now).format(&Rfc3339).ok(),
            "revision": revision,
            "who": record.who.name,
            "role": record.who.role.map(AdminRole::name),
            "address": record.who.address.map(|address| address.to_string()),
            "what": record.what,
            "before": record.before,
            "after": record.after,
            "outcome": outcome,
            "why": why,
        });
        if unnamed > 0 {
            told["untold_before"] = json!(unnamed);
        }
        Self {
            revision,
            is_done: why.is_none(),
            told,
        }
    }
}

/// A line of the process log, let through at every level.
fn log(record: &Record, entry: &Entry) {
    let told = |key: &str| entry.told[key].as_str().unwrap_or_default().to_owned();
    tracing::info!(
        target: "audit",
        revision = entry.revision,
        who = record.who.name,
        role = told("role"),
        address = told("address"),
        what = record.what,
        before = %record.before,
        after = %record.after,
        outcome = told("outcome"),
        why = told("why"),
        "a change was asked for"
    );
}

/// Counts those who show no token, second by second.
#[derive(Debug, Default)]
struct Strangers {
    second: u64,
    told: u32,
    untold: u64,
}

impl Strangers {
    /// Whether to tell of one, with how many before went untold.
    fn admit(&mut self, second: u64) -> Option<u64> {
        if second != self.second {
            (self.second, self.told) = (second, 0);
        }
        if self.told == STRANGERS_PER_SECOND_MAX {
            self.untold = self.untold.saturating_add(1);
            return None;
        }
        self.told += 1;
        Some(std::mem::take(&mut self.untold))
    }
}

fn unix_seconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn audit() -> Audit {
        let dropped = IntCounter::new("dropped", "for a test").unwrap();
        Audit::open(&AuditLog::Log, dropped).unwrap()
    }

    fn record(who: Who, outcome: Outcome) -> Record {
        Record {
            who,
            what: "routes/all/switch".to_owned(),
            before: json!({ "blue": 1 }),
            after: json!({ "green": 1 }),
            outcome,
        }
    }

    fn operator() -> Who {
        Who::operator("ada", AdminRole::Operate, "127.0.0.1:5".parse().unwrap())
    }

    #[test]
    fn what_changed_since_a_revision_is_told_without_what_was_refused() {
        let audit = audit();
        assert_eq!(audit.revision(), 1);
        for _ in 0..3 {
            let revision = audit.revise();
            audit.record(record(operator(), Outcome::Done(revision)));
            audit.record(record(operator(), Outcome::Refused("no".to_owned())));
        }
        let since: Vec<_> = audit
            .since(2)
            .iter()
            .map(|e| e["revision"].clone())
            .collect();
        assert_eq!(since, [3, 4]);
        assert_eq!(audit.latest().len(), 6);
        assert_eq!(audit.latest()[0]["why"], "no");
        assert_eq!(audit.latest()[1]["who"], "ada");
        assert_eq!(audit.latest()[1]["role"], "operate");
        assert_eq!(audit.latest()[1]["why"], Value::Null);
    }

    #[test]
    fn no_more_is_kept_than_agreed_and_strangers_push_nothing_out() {
        let audit = audit();
        let stranger = Who::stranger("192.0.2.1:5".parse().unwrap());
        for _ in 0..ENTRIES_MAX + 5 {
            let revision = audit.revise();
            audit.record(record(operator(), Outcome::Done(revision)));
            audit.record(record(stranger.clone(), Outcome::Refused("no".to_owned())));
        }
        let latest = audit.latest();
        assert_eq!(latest.len(), ENTRIES_MAX);
        assert!(latest.iter().all(|entry| entry["who"] == "ada"));
    }

    #[test]
    fn strangers_get_a_few_lines_a_second_and_the_next_one_counts_the_others() {
        let mut strangers = Strangers::default();
        let told = (0..1_000).filter(|_| strangers.admit(7).is_some()).count();
        assert_eq!(told, 10);
        assert_eq!(strangers.admit(8), Some(990));
        assert_eq!(strangers.admit(8), Some(0));
    }
}
