//! The file as written: every key read, every single value parsed, nothing compared with anything else.
//! Never touches the machine, and never decides whether two values fit together.

use std::num::{NonZeroU32, NonZeroUsize};

use ipnet::IpNet;
use portcullis_ops::decode::{Fields, Located, Mistake};
use portcullis_ops::diagnostic::Report;
use portcullis_ops::yaml::Node;

use super::names::{self, Access};
use super::{Forwarded, LogPrivacy, LogSample, PrivateField, Reload, keys};

mod admin;
mod affinity;
mod clients;
mod clusters;
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

pub(super) use admin::{Audit, FileAdmin};
pub(super) use affinity::{By, FileAffinity, FileCookie};
pub(super) use clients::FileClients;
pub(super) use clusters::{FileCluster, FileEndpoint};
pub(super) use discovery::{FilePlace, FileRedis, FileSource, endpoint_file};
pub(super) use flags::FileFlag;
pub(super) use health::{CheckKind, FileCheckTls, FileHealth};
pub(super) use issuers::{FileAuth, FileIssuer};
pub(super) use lifecycle::FileShutdown;
pub(super) use listeners::{FileCertificate, FileClientAuth, FileListener, FileTls};
pub(super) use pages::{FileMaintenance, FilePage, FileWords};
pub(super) use rate_limits::{FileRateLimit, PerPeriod};
pub(super) use retries::FileRetries;
pub(super) use revocations::FileRevocations;
pub(super) use routes::{FileAction, FileRoute, FileSplit};
pub(super) use upstream::FileUpstreamTls;

/// What the file says. `None` where a value is missing or mistaken; the report knows.
#[derive(Debug)]
pub(super) struct FileConfig {
    pub(super) listeners: Vec<FileListener>,
    pub(super) clusters: Vec<FileCluster>,
    pub(super) routes: Vec<FileRoute>,
    pub(super) issuers: Vec<FileIssuer>,
    pub(super) rate_limits: Vec<FileRateLimit>,
    pub(super) flags: Vec<FileFlag>,
    pub(super) zone: Option<Located<String>>,
    pub(super) pages: Vec<FilePage>,
    pub(super) trusted_proxies: Vec<Located<IpNet>>,
    pub(super) forwarded: Forwarded,
    pub(super) admin: Option<FileAdmin>,
    pub(super) audit_log: Option<Located<Audit>>,
    pub(super) access_log: Option<Located<Access>>,
    pub(super) logs_health_checks: bool,
    pub(super) log_privacy: LogPrivacy,
    pub(super) log_sample: LogSample,
    pub(super) shutdown: FileShutdown,
    pub(super) reload: Reload,
    pub(super) max_connections: Located<u32>,
    pub(super) workers: Option<NonZeroUsize>,
}

impl FileConfig {
    /// Reads the whole tree; mistakes go to the report.
    pub(super) fn read(root: &Node, report: &Report<'_>) -> Self {
        let file = Fields::root(&keys::FILE, root, report);
        let access_log = file.short("access_log");
        let flags = flags::flags(&file);
        let route = |fields: &Fields<'_>| routes::route(fields, &flags);
        Self {
            listeners: file
                .tables("listeners")
                .iter()
                .map(listeners::listener)
                .collect(),
            clusters: file
                .named("clusters")
                .into_iter()
                .map(clusters::cluster)
                .collect(),
            routes: file.tables("routes").iter().map(route).collect(),
            issuers: file
                .named("issuers")
                .into_iter()
                .map(issuers::issuer)
                .collect(),
            rate_limits: file
                .named("rate_limits")
                .into_iter()
                .map(rate_limits::rate_limit)
                .collect(),
            zone: file.text("zone", names::label),
            pages: pages::pages(&file),
            trusted_proxies: file.networks("trusted_proxies"),
            forwarded: clients::forwarded(&file.short("forwarded")),
            admin: file.switch("admin").as_ref().map(admin::admin),
            audit_log: file.text("audit_log", admin::audit_log),
            access_log: access_log.text("to", names::access),
            logs_health_checks: access_log.flag("health_checks").value,
            log_privacy: log_privacy(&access_log),
            log_sample: LogSample {
                percent: access_log.number("sample").value,
                slow: access_log.duration("slow").value,
            },
            shutdown: lifecycle::shutdown(&file.table("shutdown")),
            reload: Reload {
                watches_file: file.table("reload").flag("watch").value,
            },
            max_connections: file.number("max_connections"),
            workers: file
                .optional_number("workers")
                .and_then(|workers| NonZeroUsize::new(workers.value)),
            flags,
        }
    }
}

fn log_privacy(fields: &Fields<'_>) -> LogPrivacy {
    let named = |key| {
        let written = fields.texts(key, private_field);
        written.into_iter().map(|field| field.value).collect()
    };
    LogPrivacy {
        truncates_addresses: fields.flag("truncate_addresses").value,
        hashed: named("hash"),
        dropped: named("drop"),
        salt_rotation: fields.duration("salt_rotation").value,
    }
}

fn private_field(text: &str) -> Result<PrivateField, Mistake> {
    Ok(match text {
        "client" => PrivateField::Client,
        "host" => PrivateField::Host,
        "path" => PrivateField::Path,
        "server_name" => PrivateField::ServerName,
        "user_agent" => PrivateField::UserAgent,
        _ => {
            let hint = "client, host, path, server_name or user_agent";
            return Err(Mistake::new("is no field that can be hidden", hint));
        }
    })
}

/// The table of keys begins these ranges at 1.
fn positive(fields: &Fields<'_>, name: &str) -> NonZeroU32 {
    NonZeroU32::new(fields.number(name).value).unwrap_or(NonZeroU32::MIN)
}
