//! What lies in Redis under which key. Never an address of a client or an account's email: counters are digests.

use redis::Cmd;
use serde_json::json;

use crate::domain::{AccountId, InstanceRecord, InstanceState, Revocation, TokenFacts, UnixMillis};
use crate::shared::{Counter, CounterKey};

/// The keys of one Redis, or of one part of a cluster, where all of them begin with what puts them into one slot.
pub(super) struct Keys {
    prefix: String,
    /// Names the Redis process that holds every revocation. One that lost something has another name, or no marker.
    pub(super) loaded: String,
    /// Index of the registry: ids by their end.
    pub(super) instances: String,
    /// What the key of an instance begins with.
    pub(super) instance: String,
    /// The version that permission sets have to be as new as.
    pub(super) permissions: String,
}

/// Scripts count in doubles; nothing beyond this is exact, and it is far beyond every instant.
const END_OF_TIME: i64 = (1 << 53) - 1;

impl Keys {
    /// Of keys that begin with `prefix`; one Redis has them without.
    pub(super) fn new(prefix: String) -> Self {
        Self {
            loaded: format!("{prefix}rev:loaded"),
            instances: format!("{prefix}inst"),
            instance: format!("{prefix}inst:"),
            permissions: format!("{prefix}perm:version"),
            prefix,
        }
    }

    /// The sign that a copy of everything is under way.
    pub(super) fn loading(&self, nonce: &str) -> String {
        format!("{}rev:loading:{nonce}", self.prefix)
    }

    /// The question for all that a token is looked up under. The marker comes first.
    pub(super) fn question(&self, token: &TokenFacts<'_>) -> Cmd {
        let mut question = redis::cmd("MGET");
        question.arg(&self.loaded);
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
            key.push_str(&self.prefix);
            key.push_str(kind);
            key.push_str(name);
            question.arg(&key);
        }
        question
    }

    /// Up to where an account has written.
    pub(super) fn written(&self, account: &AccountId) -> String {
        format!("{}lsn:{{{account}}}", self.prefix)
    }

    pub(super) fn remembered(&self, key: &str) -> String {
        format!("{}mem:{key}", self.prefix)
    }

    pub(super) fn counter(&self, key: &CounterKey) -> String {
        digest(&self.prefix, "cnt:", key)
    }

    pub(super) fn allowance(&self, key: &CounterKey) -> String {
        digest(&self.prefix, "lim:", key)
    }
}

/// One revocation as it is written.
pub(super) struct Entry {
    pub(super) key: String,
    /// Tokens issued before this are void.
    pub(super) cut: i64,
    pub(super) until: i64,
}

impl Entry {
    pub(super) fn of(revocation: &Revocation, keys: &Keys) -> Self {
        let prefix = &keys.prefix;
        let (key, cut) = match revocation {
            Revocation::Token { jti, .. } => (format!("{prefix}rev:j:{jti}"), END_OF_TIME),
            Revocation::Session { sid, .. } => (format!("{prefix}rev:s:{sid}"), END_OF_TIME),
            Revocation::Account {
                sub, not_before, ..
            } => (format!("{prefix}rev:u:{sub}"), not_before.0),
            Revocation::SigningKey { kid, .. } => (format!("{prefix}rev:k:{kid}"), END_OF_TIME),
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

fn digest(prefix: &str, kind: &str, key: &CounterKey) -> String {
    use std::fmt::Write as _;
    let mut name = String::with_capacity(prefix.len() + kind.len() + 32);
    name.push_str(prefix);
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

    /// Those of one Redis are those of every release; those of a part lie in its slot, whatever else is in them.
    #[test]
    fn keys_are_what_they_were_and_those_of_a_part_have_its_tag() {
        let (one, part) = (Keys::new(String::new()), Keys::new("{570}".to_owned()));
        let account = AccountId::from_random([1; 16]);
        let all = |keys: &Keys| {
            let key = CounterKey::new("a test", &[]);
            vec![
                keys.loaded.clone(),
                keys.instances.clone(),
                keys.instance.clone(),
                keys.permissions.clone(),
                keys.loading("n"),
                keys.written(&account),
                keys.remembered("{x}"),
                keys.counter(&key),
                keys.allowance(&key),
            ]
        };
        let begin = [
            "rev:loaded",
            "inst",
            "inst:",
            "perm:version",
            "rev:loading:n",
            "lsn:{",
        ];
        let begin = begin.into_iter().chain(["mem:{x}", "cnt:", "lim:"]);
        for ((one, part), begin) in all(&one).iter().zip(all(&part)).zip(begin) {
            assert!(one.starts_with(begin), "{one}");
            assert_eq!(part, format!("{{570}}{one}"));
        }
    }

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
