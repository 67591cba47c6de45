//! What auth tells the edge about revocations: pages of a log, and how fresh they are. Never does IO.
//!
//! The edge asks `GET` [`PATH`] with `after` (where it has got to) and `wait_ms`. Without `after` the
//! log is read from its beginning: that is the snapshot. An answer is lines of JSON: a head, then one
//! [`Record`] a line in the order of the log. A page without records is the heartbeat.
//!
//! ```
//! use portcullis_token::feed::{Answer, LogId, Page, Position};
//!
//! let log = LogId::parse("a-log").expect("a name");
//! let page = Page { position: Position { log, sequence: 7 }, is_last: true, read_ms: -3, records: vec![] };
//! assert_eq!(Answer::decode(&page.encode()), Ok(Answer::Page(page)));
//! ```

use std::fmt::{self, Write as _};
use std::str::FromStr;
use std::time::Duration;

use serde_json::json;

use crate::json::Json;
use crate::revocation::Record;

/// Where the feed is asked for.
pub const PATH: &str = "/internal/v1/revocations";
/// The media type of an answer.
pub const MEDIA_TYPE: &str = "application/x-ndjson";
/// Records of one page; whoever is further behind asks again.
pub const RECORDS_MAX: usize = 2_000;
/// Longest answer that is read: every record at its longest, with its line end, and the head.
pub const ANSWER_BYTES_MAX: usize = (RECORDS_MAX + 1) * (crate::revocation::ENCODED_BYTES_MAX + 1);
/// Longest an answer waits for something to tell.
pub const WAIT_MAX: Duration = Duration::from_secs(25);

/// First element of a head, so that two versions never misread each other.
const VERSION: i64 = 1;
/// A read further from its request than this is a mistake.
const READ_MS_MAX: i64 = 120_000;
/// Longest name of a log.
const LOG_ID_BYTES_MAX: usize = 64;

/// Names one log for as long as its sequence numbers mean the same thing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LogId(Box<str>);

impl LogId {
    /// `None` unless it is 1 to 64 letters, digits, `-` and `_`.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let is_name = (1..=LOG_ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(fits);
        is_name.then(|| Self(text.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How far somebody has read one log, as `LOG.SEQUENCE`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// The log.
    pub log: LogId,
    /// Everything up to here has been read; never negative.
    pub sequence: i64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.log.as_str(), self.sequence)
    }
}

impl FromStr for Position {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let (log, sequence) = text.split_once('.').ok_or(Malformed("a position"))?;
        let is_number = !sequence.is_empty() && sequence.bytes().all(|byte| byte.is_ascii_digit());
        let sequence = is_number.then(|| sequence.parse().ok()).flatten();
        Ok(Self {
            log: LogId::parse(log).ok_or(Malformed("a position"))?,
            sequence: sequence.ok_or(Malformed("a position"))?,
        })
    }
}

/// An answer that is not one of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} of the revocation feed is malformed, or of another version")]
pub struct Malformed(pub &'static str);

/// What the feed answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// What comes behind the position asked for.
    Page(Page),
    /// The position is of another log, or of one that has lost its end: ask without one. What is known
    /// stays revoked.
    Gap,
}

/// A stretch of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Where to go on.
    pub position: Position,
    /// Whether this reaches the end of the log as it was when it was read.
    pub is_last: bool,
    /// When the log was read, in milliseconds after the request came in; below zero is before. Added to
    /// when the request was sent, it is never too late, however long the answer is under way.
    pub read_ms: i64,
    /// In the order of the log; at most [`RECORDS_MAX`].
    pub records: Vec<Record>,
}

impl Page {
    /// A head and a line for each record.
    pub fn encode(&self) -> String {
        let Position { log, sequence } = &self.position;
        let head = json!([
            VERSION,
            "page",
            log.as_str(),
            sequence,
            i64::from(self.is_last),
            self.read_ms,
            self.records.len()
        ]);
        let mut text = String::new();
        for line in std::iter::once(head.to_string()).chain(self.records.iter().map(Record::encode))
        {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{line}");
        }
        text
    }
}

impl Answer {
    /// What [`Answer::decode`] reads.
    pub fn encode(&self) -> String {
        match self {
            Self::Page(page) => page.encode(),
            Self::Gap => format!("{}\n", json!([VERSION, "gap"])),
        }
    }

    /// Reads a whole answer.
    ///
    /// # Errors
    /// For anything but an answer of this version in full: a cut one, one too long, one with a line
    /// that is no record.
    pub fn decode(text: &str) -> Result<Self, Malformed> {
        if text.len() > ANSWER_BYTES_MAX || !text.ends_with('\n') {
            return Err(Malformed("the length"));
        }
        let mut lines = text.lines();
        let head = Json::parse(lines.next().unwrap_or_default().as_bytes());
        let head = head.as_ref().and_then(Json::as_array).unwrap_or_default();
        let Some((version, rest)) = head.split_first() else {
            return Err(Malformed("the head"));
        };
        if version.as_integer() != Some(VERSION) {
            return Err(Malformed("the version"));
        }
        match rest {
            [kind] if kind.as_str() == Some("gap") => match lines.next() {
                None => Ok(Self::Gap),
                Some(_) => Err(Malformed("the end")),
            },
            [kind, rest @ ..] if kind.as_str() == Some("page") => page(rest, lines).map(Self::Page),
            _ => Err(Malformed("the head")),
        }
    }
}

fn page<'a>(head: &[Json<'_>], lines: impl Iterator<Item = &'a str>) -> Result<Page, Malformed> {
    const BAD: Malformed = Malformed("the head");
    let [log, numbers @ ..] = head else {
        return Err(BAD);
    };
    let log = log.as_str().and_then(LogId::parse).ok_or(BAD)?;
    let numbers: Option<Vec<i64>> = numbers.iter().map(Json::as_integer).collect();
    let Some(&[sequence, is_last @ 0..=1, read_ms, count]) = numbers.as_deref() else {
        return Err(BAD);
    };
    let count = usize::try_from(count).map_err(|_| BAD)?;
    if sequence < 0 || !(-READ_MS_MAX..=READ_MS_MAX).contains(&read_ms) || count > RECORDS_MAX {
        return Err(BAD);
    }
    let records: Vec<Record> = lines
        .take(count + 1)
        .map(|line| Record::decode(line).map_err(|_| Malformed("a record")))
        .collect::<Result<_, _>>()?;
    if records.len() != count {
        return Err(Malformed("the number of records"));
    }
    Ok(Page {
        position: Position { log, sequence },
        is_last: is_last == 1,
        read_ms,
        records,
    })
}

#[cfg(test)]
mod tests;
