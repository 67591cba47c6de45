//! What takes a token back before it expires: records to share, and a set to look them up in.
//! Never forgets a record before its `until`, and never drops one in silence.

use std::collections::HashMap;

use serde_json::json;

use crate::Verified;
use crate::json::Json;

/// Most records of one set: about 100 MB. Whoever reaches it must ask the shared state instead.
pub const RECORDS_MAX: usize = 1_000_000;
/// First element of the encoded form, so that instances of two versions never misread each other.
const VERSION: i64 = 1;
/// Longest encoded record that is read.
pub(crate) const ENCODED_BYTES_MAX: usize = 1024;

/// One revocation. `until` (Unix seconds) is when no token it concerns can be valid any more:
/// the latest `exp` plus the skew of verifiers. After that it may be forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// One token.
    Token {
        /// Its `jti`.
        jti: String,
        /// When this may be forgotten.
        until: i64,
    },
    /// Every token of one session.
    Session {
        /// Their `sid`.
        sid: String,
        /// When this may be forgotten.
        until: i64,
    },
    /// Every token of one subject that was issued before a moment.
    Subject {
        /// Their `sub`.
        sub: String,
        /// Tokens with `iat` below this are revoked. `iat` has whole seconds: round up to catch
        /// tokens of the same second, down to spare them.
        not_before: i64,
        /// When this may be forgotten.
        until: i64,
    },
    /// Every token signed with one key.
    Key {
        /// The key's id.
        kid: String,
        /// When this may be forgotten.
        until: i64,
    },
}

/// Text that is not a record of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a revocation record of version {VERSION}")]
pub struct DecodeError;

/// The set holds [`RECORDS_MAX`] records and could not take another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than {RECORDS_MAX} live revocations")]
pub struct Full;

impl Record {
    /// One line of JSON: version, kind, key, numbers.
    pub fn encode(&self) -> String {
        match self {
            Self::Token { jti, until } => json!([VERSION, "token", jti, until]),
            Self::Session { sid, until } => json!([VERSION, "session", sid, until]),
            Self::Subject {
                sub,
                not_before,
                until,
            } => json!([VERSION, "subject", sub, not_before, until]),
            Self::Key { kid, until } => json!([VERSION, "key", kid, until]),
        }
        .to_string()
    }

    /// Reads what [`Record::encode`] wrote.
    ///
    /// # Errors
    /// For any other text, other versions included.
    pub fn decode(text: &str) -> Result<Self, DecodeError> {
        if text.len() > ENCODED_BYTES_MAX {
            return Err(DecodeError);
        }
        let array = Json::parse(text.as_bytes()).ok_or(DecodeError)?;
        let [version, kind, key, numbers @ ..] = array.as_array().ok_or(DecodeError)? else {
            return Err(DecodeError);
        };
        if version.as_integer() != Some(VERSION) {
            return Err(DecodeError);
        }
        let key = key.as_str().ok_or(DecodeError)?.to_owned();
        let numbers: Vec<i64> = numbers
            .iter()
            .map(Json::as_integer)
            .collect::<Option<_>>()
            .ok_or(DecodeError)?;
        match (kind.as_str(), numbers.as_slice()) {
            (Some("token"), &[until]) => Ok(Self::Token { jti: key, until }),
            (Some("session"), &[until]) => Ok(Self::Session { sid: key, until }),
            (Some("subject"), &[not_before, until]) => Ok(Self::Subject {
                sub: key,
                not_before,
                until,
            }),
            (Some("key"), &[until]) => Ok(Self::Key { kid: key, until }),
            _ => Err(DecodeError),
        }
    }

    /// When the record may be forgotten, in Unix seconds.
    pub fn until(&self) -> i64 {
        match self {
            Self::Token { until, .. }
            | Self::Session { until, .. }
            | Self::Subject { until, .. }
            | Self::Key { until, .. } => *until,
        }
    }
}

/// The live revocations, for lookups beside every verification.
#[derive(Clone, Debug, Default)]
pub struct Revocations {
    tokens: HashMap<String, i64>,
    sessions: HashMap<String, i64>,
    subjects: HashMap<String, Cut>,
    keys: HashMap<String, i64>,
}

#[derive(Clone, Copy, Debug)]
struct Cut {
    not_before: i64,
    until: i64,
}

impl Revocations {
    /// Takes a record in. Repeats and older records never weaken what is known.
    ///
    /// # Errors
    /// If the set is full; the record is then unknown to it.
    pub fn insert(&mut self, record: Record) -> Result<(), Full> {
        let is_full = self.len() >= RECORDS_MAX;
        match record {
            Record::Token { jti, until } => keep_latest(&mut self.tokens, jti, until, is_full),
            Record::Session { sid, until } => keep_latest(&mut self.sessions, sid, until, is_full),
            Record::Key { kid, until } => keep_latest(&mut self.keys, kid, until, is_full),
            Record::Subject {
                sub,
                not_before,
                until,
            } => {
                if is_full && !self.subjects.contains_key(&sub) {
                    return Err(Full);
                }
                let cut = self
                    .subjects
                    .entry(sub)
                    .or_insert(Cut { not_before, until });
                cut.not_before = cut.not_before.max(not_before);
                cut.until = cut.until.max(until);
                Ok(())
            }
        }
    }

    /// Whether any record takes this token back.
    pub fn is_revoked(&self, token: &Verified) -> bool {
        let claims = &token.claims;
        self.tokens.contains_key(&claims.jti)
            || self.sessions.contains_key(&claims.sid)
            || self.keys.contains_key(&token.kid)
            || self
                .subjects
                .get(&claims.sub)
                .is_some_and(|cut| claims.iat < cut.not_before)
    }

    /// Forgets every record whose `until` has come.
    pub fn purge(&mut self, now: i64) {
        for records in [&mut self.tokens, &mut self.sessions, &mut self.keys] {
            records.retain(|_, until| *until > now);
        }
        self.subjects.retain(|_, cut| cut.until > now);
    }

    /// How many records are held.
    pub fn len(&self) -> usize {
        self.tokens.len() + self.sessions.len() + self.subjects.len() + self.keys.len()
    }

    /// Whether nothing is revoked.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn keep_latest(
    records: &mut HashMap<String, i64>,
    key: String,
    until: i64,
    is_full: bool,
) -> Result<(), Full> {
    if is_full && !records.contains_key(&key) {
        return Err(Full);
    }
    let known = records.entry(key).or_insert(until);
    *known = until.max(*known);
    Ok(())
}

#[cfg(test)]
mod tests;
