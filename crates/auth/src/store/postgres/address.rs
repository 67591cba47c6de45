//! Where PostgreSQL servers are, read from `postgres://user:password@host:port,host:port/database?sslmode=…`. Never shows
//! the password, nor any part of an address that could not be read.

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

/// More servers than anybody has of one database; each gets a pool.
const HOSTS_MAX: usize = 16;

/// The servers of one database.
#[derive(Clone, Debug)]
pub struct PostgresServers {
    /// Those that may lead. Whichever does takes the writes.
    pub hosts: Vec<PostgresAddress>,
    /// Those that only ever answer reads.
    pub replicas: Vec<PostgresAddress>,
    /// The way to the leading one for migrations, where `hosts` are poolers; empty for the same way.
    pub direct: Vec<PostgresAddress>,
}

impl PostgresServers {
    /// One server that has nobody beside it.
    pub fn one(address: PostgresAddress) -> Self {
        Self {
            hosts: vec![address],
            replicas: Vec::new(),
            direct: Vec::new(),
        }
    }

    /// Every server that is asked for anything.
    pub(crate) fn each(&self) -> impl Iterator<Item = &PostgresAddress> {
        self.hosts.iter().chain(&self.replicas)
    }
}

/// Hosts that may lead, and the database.
impl fmt::Display for PostgresServers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts: Vec<String> = self.hosts.iter().map(PostgresAddress::endpoint).collect();
        let database = self
            .hosts
            .first()
            .and_then(|host| host.connect.get_database());
        write!(
            f,
            "postgres://{}/{}",
            hosts.join(","),
            database.unwrap_or("")
        )
    }
}

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
    /// A host is named twice.
    #[error("names a host twice")]
    Twice,
    /// More hosts than a database has.
    #[error("names more than 16 hosts")]
    TooMany,
}

impl PostgresAddress {
    /// Reads an address with any number of hosts, separated by commas; the rest of it is the same for all.
    pub fn parse_each(text: &str) -> Result<Vec<Self>, AddressError> {
        let (scheme, rest) = text.split_once("://").ok_or(AddressError::Malformed)?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, behind) = rest.split_at(end);
        let (login, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        if hosts.split(',').count() > HOSTS_MAX {
            return Err(AddressError::TooMany);
        }
        let mut each: Vec<Self> = Vec::new();
        for host in hosts.split(',') {
            let address = Self::parse(&format!("{scheme}://{login}@{host}{behind}"))?;
            if each
                .iter()
                .any(|other| other.endpoint() == address.endpoint())
            {
                return Err(AddressError::Twice);
            }
            each.push(address);
        }
        Ok(each)
    }

    /// Host and port, to name it by.
    pub(crate) fn endpoint(&self) -> String {
        format!("{}:{}", self.connect.get_host(), self.connect.get_port())
    }

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
        write!(f, "postgres://{}/{database}", self.endpoint())
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
    fn several_hosts_share_everything_else() {
        let text = "postgres://app:p%40w@db-1:6432,db-2,[::1]:7000/auth?sslmode=verify-full";
        let each = PostgresAddress::parse_each(text).unwrap();
        let shown: Vec<String> = each.iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "postgres://db-1:6432/auth",
                "postgres://db-2:5432/auth",
                "postgres://[::1]:7000/auth"
            ]
        );
        assert!(each.iter().all(|host| !host.is_exposed()));
        let servers = PostgresServers {
            hosts: each,
            replicas: Vec::new(),
            direct: Vec::new(),
        };
        assert_eq!(
            servers.to_string(),
            "postgres://db-1:6432,db-2:5432,[::1]:7000/auth"
        );
    }

    #[test]
    fn lists_of_hosts_that_cannot_be_meant_are_refused() {
        use AddressError::*;
        let many = vec!["h"; 17].join(",");
        for (hosts, error) in [
            ("db,", NoHost),
            (",db", NoHost),
            ("db,,db-2", NoHost),
            ("db,db:5432", Twice),
            ("db:x,db-2", Malformed),
            (many.as_str(), TooMany),
        ] {
            let refused = PostgresAddress::parse_each(&format!("postgres://app:pw@{hosts}/auth"));
            assert_eq!(refused.unwrap_err(), error, "{hosts}");
        }
        assert_eq!(PostgresAddress::parse_each("db").unwrap_err(), Malformed);
        assert_eq!(
            PostgresAddress::parse_each("postgres://a,b/auth").unwrap_err(),
            NoUser
        );
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
