//! What lies in Redis under which key. Never an address of a client or an account's email: counters are digests.

use redis::Cmd;
use serde_json::json;

use crate::domain::{AccountId, InstanceRecord, InstanceState, Revocation, TokenFacts, UnixMillis};
use crate::shared::{Counter, CounterKey};

/// Names the Redis process that holds every revocation. One that lost something has another name, or no marker.
pub(super) const LOADED: &str = "rev:loaded";
/// Index of the registry: ids by their end.
pub(super) const INSTANCES: &str = "inst";
pub(super) const INSTANCE: &str = "inst:";

/// The version that permission sets have to be as new as.
pub(super) const PERMISSIONS: &str = "perm:version";
const REMEMBERED: &str = "mem:";

/// Scripts count in doubles; nothing beyond this is exact, and it is far beyond every instant.
const END_OF_TIME: i64 = (1 << 53) - 1;

/// The sign that a copy of everything is under way.
pub(super) fn loading(nonce: &str) -> String {
    format!("rev:loading:{nonce}")
}

/// The question for all that a token is looked up under. The marker comes first.
pub(super) fn question(token: &TokenFacts<'_>) -> Cmd {
    let mut question = redis::cmd("MGET");
    question.arg(LOADED);
    let of_session = token.sid.map(|sid| ("rev:s:", sid));
    let all = [
        ("rev:j:", token.jti),
        ("rev:u:", token.sub),
        ("rev:k:", token.kid),
    ];
    // One string for all: this is asked of every request.
    let mut key = String::with_capacity(64);
    for (kind, name) in all.into_iter().chain(of_session) {
        key.clear();
        key.push_str(kind);
        key.push_str(name);
        question.arg(&key);
    }
    question
}

/// One revocation as it is written.
pub(super) struct Entry {
    pub(super) key: String,
    /// Tokens issued before this are void.
    pub(super) cut: i64,
    pub(super) until: i64,
}

impl Entry {
    pub(super) fn of(revocation: &Revocation) -> Self {
        let (key, cut) = match revocation {
            Revocation::Token { jti, .. } => (format!("rev:j:{jti}"), END_OF_TIME),
            Revocation::Session { sid, .. } => (format!("rev:s:{sid}"), END_OF_TIME),
            Revocation::Account {
                sub, not_before, ..
            } => (format!("rev:u:{sub}"), not_before.0),
            Revocation::SigningKey { kid, .. } => (format!("rev:k:{kid}"), END_OF_TIME),
        };
        Self {
            key,
            cut: cut.min(END_OF_TIME),
            until: revocation.until().0.min(END_OF_TIME),
        }
    }
}

/// Whether an entry covers a token; `None` for what is no entry.
pub(super) fn covers(entry: &str, issued_at: UnixMillis, now: UnixMillis) -> Option<bool> {
    let (cut, until) = entry.split_once(':')?;
    let (cut, until) = (cut.parse::<i64>().ok()?, until.parse::<i64>().ok()?);
    Some(cut > issued_at.0 && until > now.0)
}

/// Up to where an account has written.
pub(super) fn written_key(account: &AccountId) -> String {
    format!("lsn:{{{account}}}")
}

pub(super) fn remembered_key(key: &str) -> String {
    format!("{REMEMBERED}{key}")
}

pub(super) fn counter_key(key: &CounterKey) -> String {
    digest("cnt:", key)
}

pub(super) fn allowance_key(key: &CounterKey) -> String {
    digest("lim:", key)
}

fn digest(kind: &str, key: &CounterKey) -> String {
    use std::fmt::Write as _;
    let mut name = String::with_capacity(kind.len() + 32);
    name.push_str(kind);
    for byte in key.as_bytes() {
        // Writing to a string does not fail.
        let _ = write!(name, "{byte:02x}");
    }
    name
}

/// `count:end`; one that has ended reads zero.
pub(super) fn counter(entry: Option<&str>, now: UnixMillis) -> Option<Counter> {
    let none = Counter {
        count: 0,
        resets_at: now,
    };
    let Some(entry) = entry else {
        return Some(none);
    };
    let (count, resets_at) = entry.split_once(':')?;
    let counter = Counter {
        count: count.parse().ok()?,
        resets_at: UnixMillis(resets_at.parse().ok()?),
    };
    Some(if counter.resets_at > now {
        counter
    } else {
        none
    })
}

pub(super) fn write_instance(instance: &InstanceRecord) -> String {
    json!({
        "id": instance.id,
        "address": instance.address,
        "version": instance.version,
        "fingerprint": instance.fingerprint,
        "state": instance.state.as_str(),
        "started_at": instance.started_at.0,
    })
    .to_string()
}

/// What stays of an instance that left in good order. No instance, for whoever lists them.
pub(super) fn write_left(id: &str) -> String {
    json!({ "id": id, "state": "left" }).to_string()
}

/// `None` for what this version cannot read.
pub(super) fn read_instance(entry: &str) -> Option<InstanceRecord> {
    let entry: serde_json::Value = serde_json::from_str(entry).ok()?;
    let text = |name: &str| entry[name].as_str().map(str::to_owned);
    Some(InstanceRecord {
        id: text("id")?,
        address: text("address")?,
        version: text("version")?,
        fingerprint: text("fingerprint")?,
        state: InstanceState::parse(entry["state"].as_str()?)?,
        started_at: UnixMillis(entry["started_at"].as_i64()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_entry_is_not_taken_for_one() {
        let now = UnixMillis(5);
        for entry in ["", "1", "1:", ":1", "a:b", "1:2:3", "1.5:9"] {
            assert_eq!(covers(entry, now, now), None, "{entry}");
            assert_eq!(counter(Some(entry), now), None, "{entry}");
            assert_eq!(read_instance(entry), None, "{entry}");
        }
        assert_eq!(counter(Some("-1:9"), now), None);
        assert_eq!(counter(Some("7:5"), now).unwrap().count, 0, "it has ended");
    }
}
