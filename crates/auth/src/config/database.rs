//! The durable store: where it is and how many connections may use it. Never repeats an
//! address in a message, since it may hold a password.

use std::fmt;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::values::Values;
use super::{Environment, Flags, Variable, var};
use crate::store::PostgresAddress;
use crate::store::postgres::PostgresServers;

pub(super) const VARIABLES: &[Variable] = &[
    var(
        "DATABASE_URL",
        "sqlite://./auth.db",
        "durable store; sqlite:///absolute/path, sqlite://relative/path or postgres://user:password@host:port,host:port/database?sslmode=verify-full&sslrootcert=FILE",
    ),
    var(
        "DATABASE_REPLICA_URLS",
        "none",
        "postgres:// addresses, separated by spaces, of servers that are only ever read; hosts of DATABASE_URL that follow are read, too",
    ),
    var(
        "DATABASE_REPLICA_MAX_LAG",
        "10000",
        "milliseconds by which a replica may lag and still be read",
    ),
    var(
        "DATABASE_DIRECT_URL",
        "DATABASE_URL",
        "the way to the same servers past a pooler, for migrations",
    ),
    var(
        "DATABASE_POOL_SIZE",
        "10, or 4 on SQLite",
        "database connections kept open",
    ),
    var(
        "DATABASE_MAX_OVERFLOW",
        "20, or 4 on SQLite",
        "further database connections under load",
    ),
    var(
        "DB_POOL_MIN",
        "DATABASE_POOL_SIZE",
        "another name for DATABASE_POOL_SIZE",
    ),
    var(
        "DB_POOL_MAX",
        "size and overflow together",
        "most database connections at once, instead of DATABASE_MAX_OVERFLOW",
    ),
];

const REPLICAS: &str = "DATABASE_REPLICA_URLS";
const DIRECT: &str = "DATABASE_DIRECT_URL";
/// Each server gets a pool and is asked once a second.
const SERVERS_MAX: usize = 32;

/// No server takes more from one instance.
const POOL_CEILING: u64 = 1000;

/// The durable store.
#[derive(Debug, Clone)]
pub struct Database {
    /// Where it is.
    pub place: DatabasePlace,
    /// Connections kept open.
    pub pool_size: NonZeroU32,
    /// Connections beyond that under load.
    pub max_overflow: u32,
    /// How far a replica may lag and still be read.
    pub replica_lag_max: Duration,
    /// Whether mail is queued in it.
    pub sends_mail: bool,
}

/// Where the durable store is.
#[derive(Debug, Clone)]
pub enum DatabasePlace {
    /// A SQLite file.
    File(PathBuf),
    /// The PostgreSQL servers of one database.
    Servers(PostgresServers),
}

impl fmt::Display for DatabasePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Servers(servers) => write!(f, "{servers}"),
        }
    }
}

impl Database {
    pub(super) fn read(v: &mut Values<'_>, environment: Environment, flags: Flags) -> Self {
        let place = v.database_place(environment);
        let defaults = match place {
            DatabasePlace::File(_) => (4, 4),
            DatabasePlace::Servers(_) => (10, 20),
        };
        let (pool_size, max_overflow) = v.pool(defaults);
        let lag_max = v.number("DATABASE_REPLICA_MAX_LAG", 10_000, 100..=25_000);
        Self {
            place,
            replica_lag_max: Duration::from_millis(lag_max),
            pool_size: NonZeroU32::new(pool_size).unwrap_or(NonZeroU32::MIN),
            max_overflow: if flags.enhanced_pooling {
                max_overflow
            } else {
                0
            },
            sends_mail: false,
        }
    }

    /// The database's file, where it is one.
    pub(crate) fn file(&self) -> Option<&Path> {
        match &self.place {
            DatabasePlace::File(path) => Some(path),
            DatabasePlace::Servers(_) => None,
        }
    }

    /// Where a file lies that belongs to this database when no other place is given.
    pub(super) fn beside(&self, name: &str) -> PathBuf {
        match self.file() {
            Some(file) => file.with_file_name(name),
            None => PathBuf::from(name),
        }
    }
}

impl Values<'_> {
    fn database_place(&mut self, environment: Environment) -> DatabasePlace {
        let Some(url) = self.get("DATABASE_URL") else {
            if environment.is_production() {
                self.error(
                    "DATABASE_URL",
                    "is not set, and production has no default database",
                    "name it, for example sqlite:///var/lib/portcullis/auth.db",
                );
            }
            return DatabasePlace::File(PathBuf::from("auth.db"));
        };
        let scheme = url.split(':').next().unwrap_or_default();
        if !matches!(scheme, "postgres" | "postgresql") {
            for name in [REPLICAS, DIRECT] {
                if self.get(name).is_some() {
                    let message = "is set beside a database that is a file";
                    self.error(name, message, "unset it, or name a server in DATABASE_URL");
                }
            }
            return DatabasePlace::File(self.sqlite_path("DATABASE_URL", &url));
        }
        let hosts = self.servers("DATABASE_URL", &url, environment);
        let (replicas, direct) = (self.get(REPLICAS), self.get(DIRECT));
        let replicas: Vec<PostgresAddress> = replicas
            .iter()
            .flat_map(|urls| urls.split_whitespace())
            .flat_map(|url| self.servers(REPLICAS, url, environment))
            .collect();
        let direct = direct.map(|url| self.servers(DIRECT, &url, environment));
        self.check_names(&hosts, &replicas);
        DatabasePlace::Servers(PostgresServers {
            hosts,
            replicas,
            direct: direct.unwrap_or_default(),
        })
    }

    /// The servers of one address; none of one that cannot be used.
    fn servers(
        &mut self,
        name: &'static str,
        url: &str,
        environment: Environment,
    ) -> Vec<PostgresAddress> {
        let each = match PostgresAddress::parse_each(url.trim()) {
            Ok(each) => each,
            Err(error) => {
                let hint = "write it like postgres://user:password@host:5432,host:5432/database; \
                            percent-encode what is special in a password";
                self.error(name, error.to_string(), hint);
                return Vec::new();
            }
        };
        if environment.is_production() && each.iter().any(PostgresAddress::is_exposed) {
            self.warnings.push(format!(
                "{name} trusts whoever answers in the server's place: add sslmode=verify-full and sslrootcert"
            ));
        }
        each
    }

    fn check_names(&mut self, hosts: &[PostgresAddress], replicas: &[PostgresAddress]) {
        let all: Vec<String> = hosts
            .iter()
            .chain(replicas)
            .map(PostgresAddress::endpoint)
            .collect();
        let is_double = |(index, name): (usize, &String)| all[..index].contains(name);
        if all.iter().enumerate().any(is_double) {
            let hint = "leave it out here: hosts of DATABASE_URL that follow are read, too";
            self.error(REPLICAS, "names a server that is named before", hint);
        }
        if all.len() > SERVERS_MAX {
            let message = format!("and DATABASE_URL name more than {SERVERS_MAX} servers");
            self.error(REPLICAS, message, "name fewer");
        }
    }

    /// Connections kept open, and how many more under load.
    fn pool(&mut self, (size, overflow): (u64, u64)) -> (u32, u32) {
        for (name, alias) in [
            ("DATABASE_POOL_SIZE", "DB_POOL_MIN"),
            ("DATABASE_MAX_OVERFLOW", "DB_POOL_MAX"),
        ] {
            if self.get(name).is_some() && self.get(alias).is_some() {
                self.error(
                    alias,
                    format!("is set together with {name}"),
                    "set one of the two",
                );
            }
        }
        let size = match self.get("DB_POOL_MIN") {
            Some(_) => self.number("DB_POOL_MIN", size, 1..=POOL_CEILING),
            None => self.number("DATABASE_POOL_SIZE", size, 1..=POOL_CEILING),
        };
        let overflow = match self.get("DB_POOL_MAX") {
            Some(_) => {
                let max = self.number("DB_POOL_MAX", size + overflow, 1..=POOL_CEILING);
                if max < size {
                    self.error(
                        "DB_POOL_MAX",
                        "is below the number of connections that are kept open",
                        format!("set it to {size} or more, or lower DB_POOL_MIN"),
                    );
                }
                max.saturating_sub(size)
            }
            None => self.number("DATABASE_MAX_OVERFLOW", overflow, 0..=POOL_CEILING),
        };
        (size as u32, overflow as u32)
    }

    /// `sqlite:///absolute` and `sqlite://relative` name files. The value is not
    /// repeated in messages, since other databases' addresses hold passwords.
    pub(super) fn sqlite_path(&mut self, name: &'static str, url: &str) -> PathBuf {
        const FILES: &str = "use sqlite:///absolute/path/auth.db or sqlite://relative/path/auth.db";
        const SERVER: &str =
            "use postgres://user:password@host:port/database, or sqlite:///absolute/path/auth.db";
        let (hint, is_server_taken) = match name {
            "DATABASE_URL" => (SERVER, true),
            _ => (FILES, false),
        };
        let scheme = url.split(':').next().unwrap_or_default();
        let path = match url
            .strip_prefix("sqlite://")
            .or_else(|| url.strip_prefix("sqlite:"))
        {
            Some(path) => path.split('?').next().unwrap_or_default(),
            None => {
                let (what, hint) = match scheme {
                    "redis" | "rediss" => ("is the address of a Redis", "give it as REDIS_URL"),
                    _ if is_server_taken => {
                        ("is neither a postgres:// nor a sqlite:// address", hint)
                    }
                    _ => ("is not a sqlite:// address", hint),
                };
                self.error(name, what, hint);
                return PathBuf::new();
            }
        };
        if path.is_empty() || path.contains(":memory:") || url.contains("mode=memory") {
            self.error(
                name,
                "names no file: a database in memory is lost with the process",
                hint,
            );
        }
        PathBuf::from(path)
    }
}
