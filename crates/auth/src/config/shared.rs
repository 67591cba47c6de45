//! The short-lived state that all instances see: a file of this machine, or a Redis. Never repeats an address in a
//! message, since it may hold a password.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use portcullis_ops::Secret;

use super::values::Values;
use super::{Database, Variable, var};
use crate::shared::redis::{RedisOptions, RedisTrust, SentinelOptions};

pub(super) const VARIABLES: &[Variable] = &[
    var(
        "SHARED_STATE_URL",
        "shared.db beside the database",
        "file of the short-lived state that all instances on this machine see; not beside Redis",
    ),
    var(
        "REDIS_URL",
        "none",
        "Redis that holds that state instead, for instances on any machine: redis:// or rediss://",
    ),
    var(
        "REDIS_HOST",
        "none",
        "the same, where host, port and password are given apart",
    ),
    var("REDIS_PORT", "6379", "port beside REDIS_HOST"),
    var("REDIS_DB", "0", "number of the database beside REDIS_HOST"),
    var(
        "REDIS_PASSWORD",
        "none",
        "password of Redis, unless REDIS_URL holds it",
    ),
    var(
        "REDIS_CA_FILE",
        "the machine's list",
        "PEM file of the authorities that a rediss:// Redis is certified by",
    ),
    var(
        "REDIS_SENTINELS",
        "none",
        "Sentinels that say which Redis leads, host:port separated by commas, instead of REDIS_URL and REDIS_HOST",
    ),
    var(
        "REDIS_SENTINEL_MASTER",
        "mymaster",
        "the name that the Sentinels know it by",
    ),
    var(
        "REDIS_SENTINEL_PASSWORD",
        "none",
        "password of the Sentinels; REDIS_PASSWORD is that of Redis",
    ),
    var(
        "REDIS_CLUSTER",
        "none",
        "nodes of a Redis Cluster, host:port separated by commas, instead of REDIS_URL, REDIS_HOST and REDIS_SENTINELS; they name the others",
    ),
    var(
        "REDIS_POOL_SIZE",
        "20",
        "most connections to Redis; one carries everything until there is load, in a cluster one for each of eight parts",
    ),
];

/// Where the shared state is.
#[derive(Debug, Clone)]
pub enum SharedState {
    /// In a file that the processes of one machine share.
    File(PathBuf),
    /// In a Redis.
    Redis(RedisOptions),
}

impl SharedState {
    pub(super) fn read(v: &mut Values<'_>, database: &Database) -> Self {
        let redis = redis(v);
        let file = v.get("SHARED_STATE_URL");
        if redis.is_some() && file.is_some() {
            v.error(
                "SHARED_STATE_URL",
                "is set beside a Redis, and there is one shared state only",
                "unset one of them",
            );
        }
        let file = match file {
            Some(url) => v.sqlite_path("SHARED_STATE_URL", &url),
            None => database.beside("shared.db"),
        };
        if Some(file.as_path()) == database.file() && !file.as_os_str().is_empty() {
            v.error(
                "SHARED_STATE_URL",
                "names the same file as DATABASE_URL",
                "give it a file of its own, so that counters never block durable writes",
            );
        }
        redis.map_or(Self::File(file), Self::Redis)
    }
}

fn redis(v: &mut Values<'_>) -> Option<RedisOptions> {
    let password = v.get("REDIS_PASSWORD").map(Secret::new);
    let (port, database) = (
        v.number("REDIS_PORT", 6379, 1..=65535) as u16,
        v.number("REDIS_DB", 0, 0..=65535) as u16,
    );
    let pool_size = v.number("REDIS_POOL_SIZE", 20, 1..=100) as usize;
    let authorities = v.get("REDIS_CA_FILE").map(PathBuf::from);
    let sentinels = sentinels(v, database);
    let cluster = cluster(v, database);
    if cluster.is_some() && sentinels.is_some() {
        let hint = "unset REDIS_SENTINELS: a cluster makes its replicas take over by itself";
        v.error("REDIS_CLUSTER", "is set beside REDIS_SENTINELS", hint);
        return None;
    }
    let mut options = match (v.get("REDIS_URL"), v.get("REDIS_HOST")) {
        (Some(_), _) | (_, Some(_)) if sentinels.is_some() => {
            let hint =
                "unset REDIS_URL, REDIS_HOST and REDIS_PORT: the Sentinels say where Redis is";
            v.error(
                "REDIS_SENTINELS",
                "is set beside the address of a Redis",
                hint,
            );
            return None;
        }
        (Some(_), _) | (_, Some(_)) if cluster.is_some() => {
            let hint =
                "unset REDIS_URL, REDIS_HOST and REDIS_PORT: REDIS_CLUSTER says where Redis is";
            v.error(
                "REDIS_CLUSTER",
                "is set beside the address of a Redis",
                hint,
            );
            return None;
        }
        (None, None) => cluster.or(sentinels)?,
        (Some(_), Some(_)) => {
            let hint = "unset REDIS_HOST, REDIS_PORT and REDIS_DB, or REDIS_URL";
            v.error("REDIS_HOST", "is set beside REDIS_URL", hint);
            return None;
        }
        (Some(url), None) => match RedisOptions::parse(url.trim()) {
            Ok(options) => options,
            Err(error) => {
                let hint = "write redis://:password@host:6379/0, or rediss:// for TLS";
                v.error("REDIS_URL", error.to_string(), hint);
                return None;
            }
        },
        (None, Some(host)) => RedisOptions::at(host.trim(), port, database),
    };
    options.pool_size = NonZeroUsize::new(pool_size).unwrap_or(NonZeroUsize::MIN);
    options.password = options.password.or(password);
    if let Some(file) = authorities {
        if options.tls.is_none() {
            let hint = "write REDIS_URL with rediss://, or unset REDIS_CA_FILE; with REDIS_SENTINELS or REDIS_CLUSTER there is no TLS";
            v.error(
                "REDIS_CA_FILE",
                "is set, but Redis is reached without TLS",
                hint,
            );
        }
        options.tls = Some(RedisTrust::Authorities(file));
    }
    Some(options)
}

/// The cluster, if nodes of one are named.
fn cluster(v: &mut Values<'_>, database: u16) -> Option<RedisOptions> {
    let text = v.get("REDIS_CLUSTER")?;
    if database != 0 {
        let hint = "unset REDIS_DB: a Redis Cluster has no database but 0";
        v.error("REDIS_DB", "is set beside REDIS_CLUSTER", hint);
    }
    match RedisOptions::of_cluster(text.trim()) {
        Ok(options) => Some(options),
        Err(error) => {
            let hint = "write host:6379,host:6379, without redis:// and without a password; that is REDIS_PASSWORD";
            v.error("REDIS_CLUSTER", error.to_string(), hint);
            None
        }
    }
}

/// The Redis that Sentinels know, if any are named.
fn sentinels(v: &mut Values<'_>, database: u16) -> Option<RedisOptions> {
    let name = v.text("REDIS_SENTINEL_MASTER", "mymaster");
    let password = v.get("REDIS_SENTINEL_PASSWORD").map(Secret::new);
    let text = v.get("REDIS_SENTINELS")?;
    let hosts = match SentinelOptions::hosts(text.trim()) {
        Ok(hosts) => hosts,
        Err(error) => {
            v.error(
                "REDIS_SENTINELS",
                error.to_string(),
                "write host:26379,host:26379",
            );
            return None;
        }
    };
    Some(RedisOptions {
        sentinels: Some(SentinelOptions {
            hosts,
            name,
            password,
        }),
        ..RedisOptions::at("", 0, database)
    })
}
