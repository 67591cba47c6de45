//! What a Redis says of itself: which process it is, and whether it may forget or refuse what it is given. Never
//! believes that two processes on one address hold the same.

use redis::RedisError;
use redis::aio::MultiplexedConnection;

/// The part of `INFO` that decides something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) version: String,
    /// Another one after every start: what was acknowledged before may be gone.
    pub(super) run_id: String,
    /// What markers call it: the process, and in a cluster which history of writes it is on, too.
    pub(super) name: String,
    /// Another one each time that a replica is promoted.
    history: String,
    pub(super) is_replica: bool,
    used_bytes: u64,
    /// 0 for no bound.
    max_bytes: u64,
    eviction: String,
    is_snapshot_broken: bool,
    pub(super) keys: u64,
}

impl Facts {
    pub(super) async fn ask(connection: &mut MultiplexedConnection) -> Result<Self, RedisError> {
        let info: String = redis::cmd("INFO").query_async(connection).await?;
        Ok(Self::parse(&info))
    }

    pub(super) fn parse(info: &str) -> Self {
        let mut facts = Self::default();
        for line in info.lines() {
            let Some((name, value)) = line.trim_end().split_once(':') else {
                continue;
            };
            match name {
                "redis_version" => facts.version = value.to_owned(),
                "run_id" => facts.run_id = value.to_owned(),
                "master_replid" => facts.history = value.to_owned(),
                "role" => facts.is_replica = value != "master",
                "used_memory" => facts.used_bytes = value.parse().unwrap_or(0),
                "maxmemory" => facts.max_bytes = value.parse().unwrap_or(0),
                "maxmemory_policy" => facts.eviction = value.to_owned(),
                "rdb_last_bgsave_status" => facts.is_snapshot_broken = value != "ok",
                _ if name.starts_with("db") => facts.keys += keys(value),
                _ => {}
            }
        }
        facts.name = facts.run_id.clone();
        facts
    }

    /// A primary that was demoted and then promoted again may lack what came before, as the same process.
    pub(super) fn name_with_history(&mut self) {
        self.name = format!("{}:{}", self.run_id, self.history);
    }

    /// What `INFO` says of the one that is called `name`.
    pub(super) fn told_by(name: &str) -> Vec<String> {
        let fields = ["run_id:", "master_replid:"].iter();
        let fields = fields.zip(name.split(':'));
        fields
            .map(|(field, value)| format!("{field}{value}"))
            .collect()
    }

    /// Whether entries may vanish before their end, with nobody told.
    pub(super) fn forgets(&self) -> bool {
        self.max_bytes > 0 && self.eviction != "noeviction"
    }

    pub(super) fn warn_of_what_forgets(&self) {
        if self.forgets() {
            tracing::error!(
                policy = self.eviction,
                "this Redis may evict revocations, so none are looked up in it: set maxmemory-policy noeviction"
            );
        }
    }

    /// Memory in use, in bytes.
    pub(super) fn used_bytes(&self) -> u64 {
        self.used_bytes
    }

    /// What is known to be in the way of writes.
    pub(super) fn refuses_writes(&self) -> Option<&'static str> {
        if self.is_replica {
            Some("this Redis is a replica")
        } else if self.max_bytes > 0 && self.used_bytes >= self.max_bytes && !self.forgets() {
            Some("this Redis has no memory left")
        } else if self.is_snapshot_broken {
            Some("the last snapshot of this Redis failed")
        } else {
            None
        }
    }
}

/// `keys=12,expires=3,…`
fn keys(value: &str) -> u64 {
    let keys = value.split(',').find_map(|part| part.strip_prefix("keys="));
    keys.and_then(|text| text.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEALTHY: &str = "# Server\r\nredis_version:7.0.15\r\nrun_id:abc\r\nused_memory:100\r\nmaxmemory:0\r\n\
        maxmemory_policy:noeviction\r\nrole:master\r\nrdb_last_bgsave_status:ok\r\ndb0:keys=2,expires=1\r\ndb3:keys=5\r\n";

    fn with(from: &str, to: &str) -> Facts {
        assert!(HEALTHY.contains(from));
        Facts::parse(&HEALTHY.replace(from, to))
    }

    #[test]
    fn a_healthy_one_keeps_and_takes_everything() {
        let facts = Facts::parse(HEALTHY);
        assert_eq!((facts.run_id.as_str(), facts.keys), ("abc", 7));
        assert_eq!((facts.forgets(), facts.refuses_writes()), (false, None));
        assert_eq!(facts.used_bytes(), 100);
    }

    #[test]
    fn one_that_was_promoted_again_has_another_name() {
        let info =
            |history: &str| format!("{HEALTHY}master_replid:{history}\r\nmaster_replid2:000\r\n");
        let [mut before, mut after] = ["d1", "d2"].map(|of| Facts::parse(&info(of)));
        assert_eq!(before.name, after.name);
        before.name_with_history();
        after.name_with_history();
        assert_eq!(
            (before.name.as_str(), after.name.as_str()),
            ("abc:d1", "abc:d2")
        );
        for told in Facts::told_by(&after.name) {
            assert!(info("d2").contains(&told), "{told}");
        }
        assert_eq!(Facts::told_by("abc"), ["run_id:abc"]);
    }

    #[test]
    fn one_that_evicts_forgets() {
        let bounded = HEALTHY.replace("maxmemory:0", "maxmemory:100");
        for (policy, forgets) in [
            ("noeviction", false),
            ("volatile-ttl", true),
            ("allkeys-lru", true),
        ] {
            let facts = Facts::parse(&bounded.replace("noeviction", policy));
            assert_eq!(facts.forgets(), forgets, "{policy}");
            // One that evicts makes room, one that does not is full.
            assert_eq!(facts.refuses_writes().is_some(), !forgets, "{policy}");
        }
        assert!(
            !with("noeviction", "allkeys-lru").forgets(),
            "without a bound nothing is evicted"
        );
    }

    #[test]
    fn replicas_and_broken_snapshots_refuse_writes() {
        assert!(with("role:master", "role:slave").refuses_writes().is_some());
        assert!(with("status:ok", "status:err").refuses_writes().is_some());
    }

    #[test]
    fn nonsense_is_no_panic() {
        assert_eq!(
            Facts::parse("\0:::\nused_memory:x\ndb0:keys=\n"),
            Facts::default()
        );
    }
}
