//! Where a Redis is and who asks. Never shows a password, and never opens anything.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use portcullis_ops::Secret;
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo};

/// How to reach one Redis.
#[derive(Clone, Debug)]
pub struct RedisOptions {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Whom TLS trusts; `None` for no TLS.
    pub tls: Option<RedisTrust>,
    /// Account, where Redis has access lists.
    pub username: Option<String>,
    /// Password of the account, or of the whole Redis.
    pub password: Option<Secret<String>>,
    /// Number of the database inside.
    pub database: u16,
    /// Most connections that one instance opens.
    pub pool_size: NonZeroUsize,
    /// Who says which Redis it is, instead of host and port.
    pub sentinels: Option<SentinelOptions>,
    /// Nodes of a cluster that say who has what, instead of host and port.
    pub cluster: Option<Vec<(String, u16)>>,
}

/// Sentinels that watch over one Redis and its replicas.
#[derive(Clone, Debug)]
pub struct SentinelOptions {
    /// Where they are.
    pub hosts: Vec<(String, u16)>,
    /// The name that they know the primary by.
    pub name: String,
    /// Their own password.
    pub password: Option<Secret<String>>,
}

/// More Sentinels, or nodes to begin with, than anybody needs.
const HOSTS_MAX: usize = 16;
const SENTINEL_PORT: u16 = 26379;
const PORT: u16 = 6379;

impl SentinelOptions {
    /// Reads `host:port,host:port`; without a port it is 26379.
    ///
    /// # Errors
    /// For what is no list of hosts.
    pub fn hosts(text: &str) -> Result<Vec<(String, u16)>, BadAddress> {
        hosts(text, SENTINEL_PORT)
    }
}

/// `host:port,host:port`.
fn hosts(text: &str, port: u16) -> Result<Vec<(String, u16)>, BadAddress> {
    let hosts = text.split(',').map(|host| one_host(host.trim(), port));
    let hosts = hosts.collect::<Option<Vec<_>>>();
    let hosts = hosts.ok_or(BadAddress("is not a list of host:port"))?;
    if hosts.len() > HOSTS_MAX {
        return Err(BadAddress("names more than 16 hosts"));
    }
    Ok(hosts)
}

fn one_host(text: &str, otherwise: u16) -> Option<(String, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, behind) = rest.split_once(']')?;
            match behind.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if behind.is_empty() => (host, None),
                None => return None,
            }
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = match port {
        None => otherwise,
        Some(port) => port.parse().ok().filter(|&port| port > 0)?,
    };
    let is_odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | '@' | '?');
    let is_host = !host.is_empty() && !host.contains(is_odd);
    is_host.then(|| (host.to_owned(), port))
}

/// Whose certificates are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisTrust {
    /// Those of the machine's own list.
    System,
    /// Those of the authorities in this PEM file alone.
    Authorities(PathBuf),
}

/// Why an address cannot be used. Never repeats it, since it may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadAddress(pub &'static str);

/// Enough for the bursts of one instance: one connection carries tens of thousands of commands a second.
const DEFAULT_POOL_SIZE: NonZeroUsize = NonZeroUsize::new(20).expect("20 is not 0");

impl RedisOptions {
    /// Reads `redis://[[user]:password@]host[:port][/database]`, or `rediss://` for TLS.
    ///
    /// # Errors
    /// For anything else, without repeating it.
    pub fn parse(url: &str) -> Result<Self, BadAddress> {
        let is_tls = url.starts_with("rediss://");
        if !is_tls && !url.starts_with("redis://") {
            return Err(BadAddress("is neither redis:// nor rediss://"));
        }
        let unreadable = BadAddress("cannot be read as an address");
        let info = url.into_connection_info().map_err(|_| unreadable)?;
        let (host, port) = match info.addr() {
            ConnectionAddr::Tcp(host, port) => (host.clone(), *port),
            ConnectionAddr::TcpTls { insecure: true, .. } => {
                return Err(BadAddress("asks not to check the certificate"));
            }
            ConnectionAddr::TcpTls { host, port, .. } => (host.clone(), *port),
            _ => return Err(unreadable),
        };
        let redis = info.redis_settings();
        let database = u16::try_from(redis.db()).map_err(|_| BadAddress("names no database"))?;
        Ok(Self {
            tls: is_tls.then_some(RedisTrust::System),
            username: redis.username().map(str::to_owned),
            password: redis.password().map(|text| Secret::new(text.to_owned())),
            ..Self::at(&host, port, database)
        })
    }

    /// Without TLS or password.
    pub fn at(host: &str, port: u16, database: u16) -> Self {
        Self {
            host: host.to_owned(),
            port,
            tls: None,
            username: None,
            password: None,
            database,
            pool_size: DEFAULT_POOL_SIZE,
            sentinels: None,
            cluster: None,
        }
    }

    /// Reads the nodes of a cluster, `host:port,host:port`; without a port it is 6379.
    ///
    /// # Errors
    /// For what is no list of hosts.
    pub fn of_cluster(text: &str) -> Result<Self, BadAddress> {
        Ok(Self {
            cluster: Some(hosts(text, PORT)?),
            ..Self::at("", 0, 0)
        })
    }

    /// The same, at another place.
    pub(super) fn moved_to(&self, (host, port): &(String, u16)) -> Self {
        Self {
            host: host.clone(),
            port: *port,
            ..self.clone()
        }
    }

    /// What messages may say of the place: no account, no password.
    pub fn place(&self) -> String {
        let listed = |hosts: &[(String, u16)]| {
            let each = hosts.iter();
            let each: Vec<String> = each.map(|(host, port)| format!("{host}:{port}")).collect();
            each.join(",")
        };
        if let Some(sentinels) = &self.sentinels {
            let (each, name) = (listed(&sentinels.hosts), &sentinels.name);
            return format!("redis-sentinel://{each}/{name}/{}", self.database);
        }
        if let Some(nodes) = &self.cluster {
            return format!("redis-cluster://{}", listed(nodes));
        }
        let scheme = if self.tls.is_some() {
            "rediss"
        } else {
            "redis"
        };
        format!("{scheme}://{}:{}/{}", self.host, self.port, self.database)
    }

    /// The file of authorities to read, if one is named.
    pub(super) fn authorities(&self) -> Option<&Path> {
        match &self.tls {
            Some(RedisTrust::Authorities(file)) => Some(file),
            Some(RedisTrust::System) | None => None,
        }
    }

    /// In the words of the driver.
    pub(super) fn connection(&self) -> redis::RedisResult<ConnectionInfo> {
        let (host, port) = (self.host.clone(), self.port);
        let address = match self.tls {
            None => ConnectionAddr::Tcp(host, port),
            Some(_) => ConnectionAddr::TcpTls {
                host,
                port,
                insecure: false,
                tls_params: None,
            },
        };
        let mut redis = RedisConnectionInfo::default().set_db(self.database.into());
        if let Some(username) = &self.username {
            redis = redis.set_username(username);
        }
        if let Some(password) = &self.password {
            redis = redis.set_password(password.expose());
        }
        Ok(address.into_connection_info()?.set_redis_settings(redis))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_whole() {
        let full = RedisOptions::parse("rediss://ada:p%40ss@cache.example:7000/3").unwrap();
        assert_eq!((full.host.as_str(), full.port), ("cache.example", 7000));
        assert_eq!(
            (full.tls.clone(), full.username.as_deref()),
            (Some(RedisTrust::System), Some("ada"))
        );
        assert_eq!(full.password.as_ref().unwrap().expose(), "p@ss");
        assert_eq!(full.place(), "rediss://cache.example:7000/3");
        let bare = RedisOptions::parse("redis://localhost").unwrap();
        assert_eq!((bare.port, bare.database, &bare.tls), (6379, 0, &None));
        assert!(bare.password.is_none() && bare.username.is_none());
    }

    #[test]
    fn what_is_no_address_of_a_redis_is_refused_and_not_repeated() {
        for url in [
            "",
            "http://hunter2@host",
            "unix:///run/hunter2.sock",
            "redis+unix:///hunter2",
            "redis://:hunter2@",
            "redis://:hunter2@host:99999",
            "redis://:hunter2@host/many",
            "redis://:hunter2@host/-1",
            "redis://:hunter2@host/70000",
            "rediss://:hunter2@host/#insecure",
        ] {
            let error = RedisOptions::parse(url).expect_err(url).to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn sentinels_are_read_and_what_is_no_host_is_refused() {
        let hosts = SentinelOptions::hosts("s-1:5000, s-2,[::1]:7000,[::1]").unwrap();
        let expected = [("s-1", 5000), ("s-2", 26379), ("::1", 7000), ("::1", 26379)];
        assert_eq!(hosts, expected.map(|(host, port)| (host.to_owned(), port)));
        let many = vec!["s"; 17].join(",");
        for text in [
            "",
            "a,,b",
            "a:0",
            "a:x",
            ":5",
            "[::1",
            "[::1]x",
            "redis://a",
            "a@b:1",
            many.as_str(),
        ] {
            assert!(SentinelOptions::hosts(text).is_err(), "{text}");
        }
        let options = RedisOptions {
            sentinels: Some(SentinelOptions {
                hosts: hosts[..2].to_vec(),
                name: "main".to_owned(),
                password: Some(Secret::new("hunter2".to_owned())),
            }),
            ..RedisOptions::at("", 0, 3)
        };
        assert_eq!(
            options.place(),
            "redis-sentinel://s-1:5000,s-2:26379/main/3"
        );
        assert!(!format!("{options:?}").contains("hunter2"));
    }

    #[test]
    fn nodes_of_a_cluster_are_read_and_what_is_no_host_is_refused() {
        let options = RedisOptions::of_cluster("n-1, n-2:7000,[::1]").unwrap();
        assert_eq!(
            options.place(),
            "redis-cluster://n-1:6379,n-2:7000,::1:6379"
        );
        for text in ["", "a,,b", "redis://a", "a/0", &vec!["n"; 17].join(",")] {
            assert!(RedisOptions::of_cluster(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_password_shows_in_no_debug_output() {
        let options = RedisOptions::parse("redis://:hunter2@host").unwrap();
        assert!(!format!("{options:?}").contains("hunter2"));
    }
}
