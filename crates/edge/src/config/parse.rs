//! [`FileConfig`] to [`Config`]: names resolved, files read, values compared with each other.
//! Never stops at the first mistake, and never builds a configuration that has one.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use portcullis_ops::decode::{Located, nearest};
use portcullis_ops::diagnostic::{Diagnostics, Report, Source, Span};
use portcullis_ops::yaml::{self, Lookup, Node};

use super::file::{CheckKind, FileAction, FileCluster, FileConfig, FileHealth};
use super::names::Access;
use super::{AccessLog, ClusterId, Config};

mod admin;
mod affinity;
mod clients;
pub(super) mod clusters;
mod discovery;
mod flags;
mod health;
mod issuers;
mod lifecycle;
mod listeners;
mod pages;
mod policies;
mod rate_limits;
mod retries;
mod revocations;
mod routes;
mod upstream;

pub(crate) use flags::FLAGS_MAX;

/// A usable configuration and what somebody should look at all the same.
#[derive(Debug)]
pub struct Parsed {
    /// Ready to run.
    pub config: Config,
    /// Possibly none.
    pub warnings: Diagnostics,
    /// What was read.
    pub text: String,
    /// The same as a tree, its variables replaced.
    pub tree: Node,
}

/// Everything outside the text that decides what it means.
pub struct Surroundings<'a> {
    /// Values of `${NAME}`.
    pub variables: &'a Lookup<'a>,
    /// Where relative paths begin.
    pub directory: &'a Path,
    /// Addresses of a host name.
    pub resolve: &'a Resolve<'a>,
    /// For the validity of certificates.
    pub now: SystemTime,
}

/// How host names become addresses.
pub type Resolve<'a> = dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + 'a;

impl<'a> Surroundings<'a> {
    /// The machine as it is; paths relative to `directory`.
    pub fn of_machine(directory: &'a Path, variables: &'a Lookup<'a>) -> Self {
        Self {
            variables,
            directory,
            resolve: &resolve,
            now: SystemTime::now(),
        }
    }
}

impl std::fmt::Debug for Surroundings<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Surroundings")
            .field("directory", &self.directory)
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}

/// Waits for the name service; configurations are read before anything serves, and files of endpoints
/// on threads that may wait.
pub(super) fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok((host, port).to_socket_addrs()?.collect())
}

/// All mistakes at once, or a configuration without any.
pub fn parse_in(source: &Source, surroundings: &Surroundings<'_>) -> Result<Parsed, Diagnostics> {
    let report = Report::new(source);
    let root = yaml::load(&report, surroundings.variables);
    let config = root.map(|tree| {
        let file = FileConfig::read(&tree, &report);
        let parser = Parser {
            file: &file,
            surroundings,
            report: &report,
        };
        (parser.config(), tree)
    });
    let (errors, warnings) = report.finish();
    match config {
        Some((config, tree)) if errors.is_empty() => Ok(Parsed {
            config,
            warnings,
            text: source.text().to_owned(),
            tree,
        }),
        _ => Err(errors),
    }
}

/// Fewest characters of a secret.
const SECRET_CHARS_MIN: usize = 32;

/// One pass over one file. Its methods leave out what is mistaken: the result only counts if the report
/// has no errors.
struct Parser<'p> {
    file: &'p FileConfig,
    surroundings: &'p Surroundings<'p>,
    report: &'p Report<'p>,
}

impl Parser<'_> {
    fn config(&self) -> Config {
        let config = Config {
            listeners: self.listeners(),
            clusters: self.clusters(),
            routes: self.routes(),
            issuers: self.issuers(),
            rate_limits: self.rate_limits(),
            flags: self.flags(),
            zone: self.file.zone.as_ref().map(|zone| zone.value.clone()),
            pages: self.pages(&self.file.pages),
            trusted_proxies: self
                .file
                .trusted_proxies
                .iter()
                .map(|network| network.value)
                .collect(),
            forwarded: self.file.forwarded.clone(),
            admin: self.admin(),
            audit_log: self.audit_log(),
            access_log: self.access_log(),
            logs_health_checks: self.file.logs_health_checks,
            log_privacy: self.file.log_privacy.clone(),
            log_sample: self.file.log_sample,
            shutdown: self.shutdown(),
            reload: self.file.reload,
            max_connections: self.file.max_connections.value,
            workers: self.file.workers,
        };
        self.check_trust();
        self.check_admin();
        self.check_shutdown();
        self.check_use_of_clusters();
        self.check_use_of_issuers();
        self.check_affinity_cookies();
        self.check_zones();
        self.check_names_of_certificates(&config);
        self.check_redirects(&config);
        self.check_ways_to_https(&config);
        config
    }

    /// A cluster by the name some other part of the file uses for it.
    fn cluster(&self, name: &Located<String>) -> Option<ClusterId> {
        let clusters = &self.file.clusters;
        let found = clusters
            .iter()
            .position(|cluster| cluster.name.value == name.value);
        if found.is_none() {
            let names = || clusters.iter().map(|cluster| cluster.name.value.as_str());
            let hint = match nearest(&name.value, names()) {
                Some(name) => format!("did you mean `{name}`?"),
                None => format!("known clusters: {}", names().collect::<Vec<_>>().join(", ")),
            };
            let message = format!("there is no cluster `{}`", name.value);
            self.report.error_with_hint(name.span, message, hint);
        }
        found.map(ClusterId)
    }

    fn access_log(&self) -> AccessLog {
        let Some(access_log) = &self.file.access_log else {
            return AccessLog::Off;
        };
        match &access_log.value {
            Access::Off => AccessLog::Off,
            Access::Stdout => AccessLog::Stdout,
            Access::File(file) => AccessLog::File(self.log_file(file, access_log.span)),
        }
    }

    /// A file that lines can be appended to.
    fn log_file(&self, file: &str, span: Span) -> PathBuf {
        let file = self.surroundings.directory.join(file);
        if file.is_dir() {
            let message = format!("{} is a directory", file.display());
            self.report
                .error_with_hint(span, message, "name a file inside it");
        } else if let Some(parent) = file.parent().filter(|parent| !is_directory(parent)) {
            let message = format!("there is no directory {}", parent.display());
            self.report
                .error_with_hint(span, message, "create it first");
        }
        file
    }

    fn check_trust(&self) {
        for network in &self.file.trusted_proxies {
            if network.value.prefix_len() == 0 {
                let hint = "name the networks of your own proxies only";
                let message = "every client may forge its own address";
                self.report.warning(network.span, message, hint);
            }
        }
    }

    fn check_use_of_clusters(&self) {
        for cluster in &self.file.clusters {
            let (is_routed, is_passed) = (self.is_routed(cluster), self.is_passed(cluster));
            let name = &cluster.name.value;
            let warn = |message: String, hint: &str| {
                self.report.warning(cluster.name.span, message, hint);
            };
            if !is_routed && !is_passed {
                warn(
                    format!("nothing uses the cluster `{name}`"),
                    "route to it, or remove it",
                );
            }
            if is_routed && is_passed {
                let message = format!("`{name}` gets both plain HTTP and TLS passed through");
                warn(
                    message,
                    "use a cluster of its own for each, with the right ports",
                );
            }
            let speaks_plain = |check: &FileHealth| {
                let has_tls = match &check.tls {
                    Some(tls) => tls.is_some(),
                    None => cluster.tls.is_some(),
                };
                check.kind != CheckKind::Tcp && !has_tls && check.port.is_none()
            };
            if is_passed && !is_routed && cluster.health.iter().any(speaks_plain) {
                let message =
                    format!("the health check of `{name}` speaks plain HTTP to TLS endpoints");
                warn(message, "give the check `tls: {}`, or write `type: tcp`");
            }
            if is_passed && !is_routed && cluster.affinity.is_some() {
                let message = format!("`affinity` of `{name}` has no effect on TLS passed through");
                warn(message, "leave it out");
            }
        }
    }

    fn is_routed(&self, cluster: &FileCluster) -> bool {
        let names = |name: &Located<String>| name.value == cluster.name.value;
        let mut actions = self
            .file
            .routes
            .iter()
            .filter_map(|route| route.action.as_ref());
        actions.any(|action| match action {
            FileAction::Cluster(name) => names(name),
            FileAction::Split(split) => split.members.iter().any(|(name, _)| names(name)),
            FileAction::Redirect(_) | FileAction::Respond(_) => false,
        })
    }

    fn is_passed(&self, cluster: &FileCluster) -> bool {
        let passthrough = self
            .file
            .listeners
            .iter()
            .flat_map(|listener| &listener.passthrough);
        let mut named = passthrough.filter_map(|passthrough| passthrough.cluster.as_ref());
        named.any(|name| name.value == cluster.name.value)
    }

    fn now_unix_seconds(&self) -> i64 {
        let since = self
            .surroundings
            .now
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    }
}

fn is_directory(path: &Path) -> bool {
    path.as_os_str().is_empty() || path.is_dir()
}
