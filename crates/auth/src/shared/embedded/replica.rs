//! The live revocations in this process's memory, as far as it has read. Never answers from less than the mark demands.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use super::revoked::{PERMISSIONS, Row};
use crate::domain::{PermissionVersion, TokenFacts, UnixMillis};

/// About 20 MB; an instance with more asks the file for every token.
const MAX_ENTRIES: usize = 100_000;
/// Ended entries are swept out this often, when something new is read anyway.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// What a request may do about its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Known.
    Revoked(bool),
    /// Something may have happened behind this position: read it and ask again.
    Behind(i64),
    /// Too many to hold: ask the file.
    Full,
}

#[derive(Debug, Default)]
pub(super) struct Replica(RwLock<Set>);

#[derive(Debug, Default)]
struct Set {
    /// Everything up to here has been read.
    position: i64,
    entries: HashMap<Box<str>, Entry>,
    is_full: bool,
    swept_at: UnixMillis,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    not_before: UnixMillis,
    until: UnixMillis,
}

impl Replica {
    /// Looks a token up, given the mark that was read after the request came in.
    pub(super) fn answer(
        &self,
        mark: Option<i64>,
        token: &TokenFacts<'_>,
        now: UnixMillis,
    ) -> Answer {
        let set = self.read();
        if set.is_full {
            return Answer::Full;
        }
        if mark.is_none_or(|mark| mark > set.position) {
            return Answer::Behind(set.position);
        }
        Answer::Revoked(set.covers(token, now))
    }

    /// The answer as of what has been read, whatever the mark says: for whoever has just read.
    pub(super) fn answer_now(&self, token: &TokenFacts<'_>, now: UnixMillis) -> Answer {
        let position = self.read().position;
        self.answer(Some(position), token, now)
    }

    /// The version of the permissions, as of what has been read.
    pub(super) fn permissions(&self) -> Option<PermissionVersion> {
        let set = self.read();
        let entry = set.entries.get(PERMISSIONS)?;
        Some(PermissionVersion(entry.not_before.0))
    }

    /// Takes in rows and that everything up to `position` has now been read. Two tasks may take in the same rows in
    /// any order: entries only grow, and so does the position.
    pub(super) fn take_in(&self, rows: Vec<Row>, position: i64, now: UnixMillis) {
        let mut set = self.write();
        if now.since(set.swept_at) >= SWEEP_INTERVAL {
            set.entries.retain(|_, entry| entry.until > now);
            set.swept_at = now;
        }
        for row in rows {
            let entry = set.entries.entry(row.key).or_insert(Entry {
                not_before: row.not_before,
                until: row.until,
            });
            entry.not_before = entry.not_before.max(row.not_before);
            entry.until = entry.until.max(row.until);
        }
        set.position = set.position.max(position);
        if set.entries.len() > MAX_ENTRIES {
            set.is_full = true;
            set.entries = HashMap::new();
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Set> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Set> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Set {
    fn covers(&self, token: &TokenFacts<'_>, now: UnixMillis) -> bool {
        super::revoked::keys(token).iter().flatten().any(|key| {
            self.entries
                .get(key.as_str())
                .is_some_and(|entry| entry.not_before > token.issued_at && entry.until > now)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_000_000);

    fn row(key: &str, until: i64) -> Row {
        Row {
            key: key.into(),
            not_before: UnixMillis(i64::MAX),
            until: UnixMillis(until),
        }
    }

    fn token() -> TokenFacts<'static> {
        TokenFacts {
            jti: "t",
            sid: None,
            sub: "s",
            kid: "k",
            issued_at: NOW,
        }
    }

    #[test]
    fn nothing_is_answered_until_the_mark_is_reached() {
        let replica = Replica::default();
        assert_eq!(replica.answer(None, &token(), NOW), Answer::Behind(0));
        assert_eq!(
            replica.answer(Some(0), &token(), NOW),
            Answer::Revoked(false)
        );
        assert_eq!(replica.answer(Some(1), &token(), NOW), Answer::Behind(0));
        replica.take_in(vec![row("j:t", NOW.0 + 1)], 1, NOW);
        assert_eq!(
            replica.answer(Some(1), &token(), NOW),
            Answer::Revoked(true)
        );
        assert_eq!(
            replica.answer(Some(1), &token(), UnixMillis(NOW.0 + 1)),
            Answer::Revoked(false)
        );
    }

    #[test]
    fn what_was_read_late_never_takes_anything_back() {
        let replica = Replica::default();
        replica.take_in(vec![row("j:t", NOW.0 + 100)], 7, NOW);
        replica.take_in(vec![row("j:t", NOW.0 + 1)], 3, NOW);
        assert_eq!(
            replica.answer(Some(7), &token(), UnixMillis(NOW.0 + 99)),
            Answer::Revoked(true)
        );
    }

    #[test]
    fn what_has_ended_is_swept_out() {
        let replica = Replica::default();
        replica.take_in(
            (0..100)
                .map(|i| row(&format!("j:{i}"), NOW.0 + 1))
                .collect(),
            100,
            NOW,
        );
        replica.take_in(Vec::new(), 100, NOW.plus(SWEEP_INTERVAL));
        assert!(replica.read().entries.is_empty());
    }

    #[test]
    fn too_many_are_not_held() {
        let replica = Replica::default();
        let rows = (0..=MAX_ENTRIES)
            .map(|i| row(&format!("j:{i}"), NOW.0 + 1))
            .collect();
        replica.take_in(rows, 1, NOW);
        assert_eq!(replica.answer(Some(1), &token(), NOW), Answer::Full);
        assert_eq!(replica.answer_now(&token(), NOW), Answer::Full);
        assert_eq!(replica.read().entries.capacity(), 0);
    }
}
