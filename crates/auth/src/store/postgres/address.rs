//! Where a PostgreSQL server is, read from `postgres://user:password@host:port/database?sslmode=…`. Never shows the
//! password, nor any part of an address that could not be read.

use std::fmt;
use std::str::FromStr as _;

use sqlx::postgres::{PgConnectOptions, PgSslMode};

/// Parameters with an effect. A misspelt `sslmode` must not be passed over in silence.
const PARAMETERS: [&str; 6] = [
    "application_name",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "statement-cache-capacity",
];

/// A server's address with everything it takes to log in.
#[derive(Clone)]
pub struct PostgresAddress {
    connect: Box<PgConnectOptions>,
    ssl_mode: PgSslMode,
}

/// Why an address cannot be used. Names the part, never its value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It is not an address of this form at all.
    #[error("is not of the form postgres://user:password@host:port/database")]
    Malformed,
    /// No host is named.
    #[error("names no host")]
    NoHost,
    /// No user is named.
    #[error("names no user")]
    NoUser,
    /// A parameter that has no effect.
    #[error("has an unknown parameter behind its question mark")]
    UnknownParameter,
}

impl PostgresAddress {
    /// Reads an address.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let (_, rest) = text.split_once("://").ok_or(AddressError::Malformed)?;
        let (place, parameters) = rest.split_once('?').unwrap_or((rest, ""));
        let authority = place.split('/').next().unwrap_or_default();
        let (login, host) = authority.rsplit_once('@').unwrap_or(("", authority));
        if host.is_empty() || host.starts_with(':') {
            return Err(AddressError::NoHost);
        }
        if login.split(':').next().is_none_or(str::is_empty) {
            return Err(AddressError::NoUser);
        }
        let mut ssl_mode = PgSslMode::Prefer;
        for parameter in parameters.split('&').filter(|text| !text.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            if !PARAMETERS.contains(&name) {
                return Err(AddressError::UnknownParameter);
            }
            if name == "sslmode" {
                ssl_mode = value.parse().map_err(|_| AddressError::Malformed)?;
            }
        }
        let connect = PgConnectOptions::from_str(text).map_err(|_| AddressError::Malformed)?;
        Ok(Self {
            // The variables of PostgreSQL's own tools decide nothing here.
            connect: Box::new(connect.ssl_mode(ssl_mode)),
            ssl_mode,
        })
    }

    /// Whether somebody between here and the server could read along or answer in its place.
    pub fn is_exposed(&self) -> bool {
        let is_checked = matches!(self.ssl_mode, PgSslMode::VerifyCa | PgSslMode::VerifyFull);
        let host = self.connect.get_host().trim_matches(['[', ']']);
        let is_here = host == "localhost"
            || host.starts_with('/')
            || host
                .parse::<std::net::IpAddr>()
                .is_ok_and(|addr| addr.is_loopback());
        !is_checked && !is_here
    }

    pub(super) fn connect_options(&self) -> PgConnectOptions {
        *self.connect.clone()
    }
}

/// Host, port and database.
impl fmt::Display for PostgresAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let database = self.connect.get_database().unwrap_or("");
        let (host, port) = (self.connect.get_host(), self.connect.get_port());
        write!(f, "postgres://{host}:{port}/{database}")
    }
}

impl fmt::Debug for PostgresAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgresAddress({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_shows_where_but_not_with_what() {
        for scheme in ["postgres", "postgresql"] {
            let text = format!("{scheme}://app:hunter2@db.internal:6432/auth?sslmode=verify-full");
            let address = PostgresAddress::parse(&text).unwrap();
            assert_eq!(address.to_string(), "postgres://db.internal:6432/auth");
            assert!(!format!("{address:?}").contains("hunter2"));
            assert!(!address.is_exposed());
        }
    }

    #[test]
    fn only_a_checked_certificate_or_this_machine_is_not_exposed() {
        let is_exposed = |rest: &str| {
            let text = format!("postgres://app@{rest}");
            PostgresAddress::parse(&text).unwrap().is_exposed()
        };
        assert!(is_exposed("db/auth") && is_exposed("db/auth?sslmode=require"));
        assert!(!is_exposed("db/auth?sslmode=verify-ca"));
        assert!(!is_exposed("127.0.0.1/auth") && !is_exposed("[::1]:5432/auth"));
        assert!(!is_exposed("localhost/auth"));
    }

    #[test]
    fn what_cannot_be_used_is_named_without_its_value() {
        use AddressError::*;
        for (text, error) in [
            ("postgres:app", Malformed),
            ("postgres://app:pw@db:port/auth", Malformed),
            ("postgres://app@db/auth?sslmode=hunter2", Malformed),
            ("postgres:///auth", NoHost),
            ("postgres://app@:5432/auth", NoHost),
            ("postgres://db/auth", NoUser),
            ("postgres://app@db/auth?ssl-mode=require", UnknownParameter),
        ] {
            assert_eq!(PostgresAddress::parse(text).unwrap_err(), error, "{text}");
        }
    }
}
