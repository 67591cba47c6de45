//! Routes as written. Never compares two values, but for keys that exclude each other.

use portcullis_ops::decode::{Fields, Located};
use portcullis_ops::diagnostic::Span;

use super::super::names;
use super::super::policies::{Cors, SecurityHeaders};
use super::super::rate_limit::Criticality;
use super::super::route::{HeaderChanges, Rewrite};
use super::super::{HostPattern, PathPattern, Pattern};
use super::clients::{self, FileClients};
use super::flags::FileFlag;
use super::issuers::{self, FileAuth};
use super::pages::{self, FileMaintenance, FilePage};
use super::policies;
use super::rate_limits;

mod action;
mod changes;
mod conditions;

pub(in crate::config) use action::{FileAction, FileSplit};

#[derive(Debug)]
pub(in crate::config) struct FileRoute {
    pub(in crate::config) span: Span,
    pub(in crate::config) name: Option<Located<String>>,
    /// As written, for the default name.
    pub(in crate::config) label: String,
    pub(in crate::config) pattern: Option<Pattern>,
    /// `None` if there is none, or more than one.
    pub(in crate::config) action: Option<FileAction>,
    pub(in crate::config) auth: Option<FileAuth>,
    pub(in crate::config) clients: Option<FileClients>,
    pub(in crate::config) rate_limits: Vec<Located<String>>,
    pub(in crate::config) criticality: Criticality,
    pub(in crate::config) cors: Option<Cors>,
    pub(in crate::config) security_headers: Option<SecurityHeaders>,
    pub(in crate::config) rewrite: Rewrite,
    pub(in crate::config) request_headers: HeaderChanges,
    pub(in crate::config) response_headers: HeaderChanges,
    pub(in crate::config) idempotency_key: bool,
    pub(in crate::config) pages: Vec<FilePage>,
    pub(in crate::config) maintenance: Option<FileMaintenance>,
    pub(in crate::config) access_log: bool,
}

pub(super) fn route(fields: &Fields<'_>, flags: &[FileFlag]) -> FileRoute {
    let host = match fields.is_written("host") {
        true => fields.text("host", |text| Ok((text.to_owned(), names::host(text)?))),
        false => None,
    };
    let is_host_mistaken = fields.is_written("host") && host.is_none();
    let (host_label, host) =
        host.map_or_else(|| ("*".to_owned(), HostPattern::Any), |host| host.value);
    let (path_label, path) = path(fields).unzip();
    let conditions = conditions::conditions(fields, flags);
    let action = action::action(fields);
    let is_forwarded = !matches!(
        action,
        Some(FileAction::Redirect(_) | FileAction::Respond(_))
    );
    if !is_forwarded {
        for key in ["rewrite", "request_headers", "idempotency_key"] {
            if fields.is_written(key) {
                let message = format!("`{key}` has no effect: no endpoint is asked");
                let hint = "leave it out, or send the requests to a `cluster`";
                fields
                    .report()
                    .error_with_hint(fields.span_of(key), message, hint);
            }
        }
    }
    FileRoute {
        span: fields.span(),
        name: fields.text("name", names::label),
        label: format!("{host_label}{}", path_label.unwrap_or_default()),
        rewrite: changes::rewrite(fields, path.as_ref()),
        pattern: path
            .zip(conditions)
            .filter(|_| !is_host_mistaken)
            .map(|(path, conditions)| Pattern {
                host,
                path,
                conditions,
            }),
        action,
        auth: issuers::auth(fields),
        cors: policies::cors(fields),
        security_headers: policies::security_headers(fields),
        rate_limits: fields.texts("rate_limits", names::label),
        criticality: rate_limits::criticality(fields),
        request_headers: changes::headers(fields, "request_headers"),
        response_headers: changes::headers(fields, "response_headers"),
        idempotency_key: fields.flag("idempotency_key").value,
        clients: clients::clients(fields),
        pages: pages::pages(fields),
        maintenance: pages::maintenance(fields),
        access_log: fields.flag("access_log").value,
    }
}

/// The path as written, and what it means; `None` if it is mistaken.
fn path(fields: &Fields<'_>) -> Option<(String, PathPattern)> {
    let written = exclusive(
        fields,
        &["path", "exact", "regex"],
        "a route matches a path with all below it, exactly one path, or an expression",
    )?;
    match written {
        Some("exact") => {
            let exact = fields.text("exact", names::path)?.value;
            Some((format!("={exact}"), PathPattern::Exact(exact)))
        }
        Some("regex") => {
            let regex = fields.text("regex", super::super::words::path_regex)?.value;
            Some((format!("~{}", regex.source()), PathPattern::Regex(regex)))
        }
        Some(_) => {
            let prefix = fields.text("path", names::path)?.value;
            Some((prefix.clone(), PathPattern::Prefix(prefix)))
        }
        None => Some(("/".to_owned(), PathPattern::Prefix("/".to_owned()))),
    }
}

/// The only key of these that is written; `None` after an error.
fn exclusive(
    fields: &Fields<'_>,
    keys: &[&'static str],
    hint: &str,
) -> Option<Option<&'static str>> {
    let mut written = keys.iter().copied().filter(|key| fields.is_written(key));
    let first = written.next();
    let mut is_sound = true;
    for other in written {
        let first = first.unwrap_or_default();
        let message = format!("`{first}` and `{other}` exclude each other");
        fields
            .report()
            .error_with_hint(fields.span_of(other), message, hint);
        is_sound = false;
    }
    is_sound.then_some(first)
}
