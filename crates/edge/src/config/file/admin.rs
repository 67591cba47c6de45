//! The operator's listener and the audit, as written. Never compares two values.

use std::net::SocketAddr;

use portcullis_ops::Secret;
use portcullis_ops::decode::{Fields, Located, Mistake};

use super::super::{AdminRole, HostPattern, names};

#[derive(Debug)]
pub(in crate::config) struct FileAdmin {
    pub(in crate::config) address: Located<SocketAddr>,
    pub(in crate::config) token: Option<Located<Secret<String>>>,
    pub(in crate::config) tokens: Vec<FileAdminToken>,
    pub(in crate::config) hosts: Vec<Located<String>>,
    pub(in crate::config) open_metrics: Located<bool>,
}

#[derive(Debug)]
pub(in crate::config) struct FileAdminToken {
    /// `None` where it is missing or mistaken.
    pub(in crate::config) name: Option<Located<String>>,
    pub(in crate::config) role: AdminRole,
    pub(in crate::config) token: Option<Located<Secret<String>>>,
    pub(in crate::config) token_file: Option<Located<String>>,
    pub(in crate::config) span: portcullis_ops::diagnostic::Span,
}

/// What `audit_log` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::config) enum Audit {
    Log,
    File(String),
}

pub(super) fn admin(fields: &Fields<'_>) -> FileAdmin {
    FileAdmin {
        address: fields.address("address"),
        token: fields.secret("token"),
        tokens: fields.tables("tokens").iter().map(token).collect(),
        hosts: fields.texts("hosts", host),
        open_metrics: fields.flag("open_metrics"),
    }
}

fn token(fields: &Fields<'_>) -> FileAdminToken {
    FileAdminToken {
        name: fields.text("name", names::label),
        role: match fields.word("role").value {
            "operate" => AdminRole::Operate,
            _ => AdminRole::Read,
        },
        token: fields.secret("token"),
        token_file: fields.text("token_file", names::file),
        span: fields.span(),
    }
}

fn host(text: &str) -> Result<String, Mistake> {
    match names::host(text)? {
        HostPattern::Exact(name) => Ok(name),
        HostPattern::Any | HostPattern::Wildcard(_) => {
            let hint = "name each host: edge.example.com";
            Err(Mistake::new("stands for many hosts", hint))
        }
    }
}

pub(super) fn audit_log(text: &str) -> Result<Audit, Mistake> {
    match text {
        "log" => Ok(Audit::Log),
        _ if text.contains('/') => names::file(text).map(Audit::File),
        _ => {
            let hint = "write `log` or a path with a slash, such as ./audit.log";
            Err(Mistake::new("is no destination", hint))
        }
    }
}
