//! Reads where things are: databases and the issuer's address. Never repeats an
//! address of a database in a message, since it may hold a password.

use std::path::{Path, PathBuf};

use super::Environment;
use super::values::Values;

impl Values<'_> {
    pub(super) fn database(&mut self, environment: Environment) -> PathBuf {
        match self.get("DATABASE_URL") {
            Some(url) => self.sqlite_path("DATABASE_URL", &url),
            None => {
                if environment == Environment::Production {
                    self.error(
                        "DATABASE_URL",
                        "is not set, and production has no default database",
                        "name it, for example sqlite:///var/lib/portcullis/auth.db",
                    );
                }
                PathBuf::from("auth.db")
            }
        }
    }

    pub(super) fn shared_state(&mut self, database: &Path) -> PathBuf {
        let path = match self.get("SHARED_STATE_URL") {
            Some(url) => self.sqlite_path("SHARED_STATE_URL", &url),
            None => database.with_file_name("shared.db"),
        };
        if path == database && !path.as_os_str().is_empty() {
            self.error(
                "SHARED_STATE_URL",
                "names the same file as DATABASE_URL",
                "give it a file of its own, so that counters never block durable writes",
            );
        }
        path
    }

    /// `sqlite:///absolute` and `sqlite://relative` name files. The value is not
    /// repeated in messages, since other databases' addresses hold passwords.
    fn sqlite_path(&mut self, name: &'static str, url: &str) -> PathBuf {
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

    pub(super) fn issuer(&mut self, port: u16, environment: Environment) -> String {
        let production = environment == Environment::Production;
        let example = "https://auth.example.com";
        let Some(text) = self.get("ISSUER_URL") else {
            if production {
                self.error(
                    "ISSUER_URL",
                    "is not set, and production has no default issuer",
                    format!("set the public address, for example {example}"),
                );
            }
            return format!("http://localhost:{port}");
        };
        match text.parse::<http::Uri>() {
            Ok(uri) if is_plain_origin(&uri, &text) => {
                if production && uri.scheme_str() != Some("https") {
                    self.error(
                        "ISSUER_URL",
                        "is not https, which production requires",
                        format!("use the public address that clients reach, such as {example}"),
                    );
                }
            }
            _ => self.error(
                "ISSUER_URL",
                "is not an http(s) address without user, query, fragment and trailing slash",
                format!("write it like {example}: verifiers compare it byte for byte"),
            ),
        }
        text
    }
}

/// Only scheme, host, optional port and path, exactly as they will be compared.
fn is_plain_origin(uri: &http::Uri, text: &str) -> bool {
    matches!(uri.scheme_str(), Some("http" | "https"))
        && uri.host().is_some_and(|host| !host.is_empty())
        && !text.contains(['?', '#', '@', '"', '\\'])
        && !text.ends_with('/')
}
