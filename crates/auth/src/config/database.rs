//! The durable store: where it is and how many connections may use it. Never repeats an
//! address in a message, since it may hold a password.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use super::values::Values;
use super::{Environment, Variable, var};

pub(super) const VARIABLES: &[Variable] = &[
    var(
        "DATABASE_URL",
        "sqlite://./auth.db",
        "durable store; sqlite:///absolute/path or sqlite://relative/path",
    ),
    var("DATABASE_POOL_SIZE", "4", "database connections kept open"),
    var(
        "DATABASE_MAX_OVERFLOW",
        "4",
        "further database connections under load",
    ),
];

/// The durable store.
#[derive(Debug, Clone)]
pub struct Database {
    /// Its file.
    pub path: PathBuf,
    /// Connections kept open.
    pub pool_size: NonZeroU32,
    /// Connections beyond that under load.
    pub max_overflow: u32,
}

impl Database {
    pub(super) fn read(v: &mut Values<'_>, environment: Environment) -> Self {
        let path = match v.get("DATABASE_URL") {
            Some(url) => v.sqlite_path("DATABASE_URL", &url),
            None => {
                if environment.is_production() {
                    v.error(
                        "DATABASE_URL",
                        "is not set, and production has no default database",
                        "name it, for example sqlite:///var/lib/portcullis/auth.db",
                    );
                }
                PathBuf::from("auth.db")
            }
        };
        let pool_size = v.number("DATABASE_POOL_SIZE", 4, 1..=100) as u32;
        Self {
            path,
            pool_size: NonZeroU32::new(pool_size).unwrap_or(NonZeroU32::MIN),
            max_overflow: v.number("DATABASE_MAX_OVERFLOW", 4, 0..=100) as u32,
        }
    }

    /// The database's file, where it is one.
    pub(super) fn file(&self) -> Option<&Path> {
        Some(&self.path)
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
    /// `sqlite:///absolute` and `sqlite://relative` name files. The value is not
    /// repeated in messages, since other databases' addresses hold passwords.
    pub(super) fn sqlite_path(&mut self, name: &'static str, url: &str) -> PathBuf {
        let hint = "use sqlite:///absolute/path/auth.db or sqlite://relative/path/auth.db";
        let scheme = url.split(':').next().unwrap_or_default();
        let path = match url
            .strip_prefix("sqlite://")
            .or_else(|| url.strip_prefix("sqlite:"))
        {
            Some(path) => path.split('?').next().unwrap_or_default(),
            None => {
                let what = match scheme {
                    "postgres" | "postgresql" => "PostgreSQL is not supported by this version yet",
                    "redis" | "rediss" => "Redis is not supported by this version yet",
                    _ => "is not a sqlite:// address",
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
