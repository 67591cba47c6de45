//! Routes as written. Never compares two values, but for keys that exclude each other.

use portcullis_ops::decode::{Fields, Located, Mistake};
use portcullis_ops::diagnostic::Span;

use super::super::names;
use super::super::{HostPattern, PathPattern};

#[derive(Debug)]
pub(in crate::config) struct FileRoute {
    pub(in crate::config) span: Span,
    pub(in crate::config) name: Option<Located<String>>,
    /// As written, for the default name.
    pub(in crate::config) label: String,
    pub(in crate::config) pattern: Option<(HostPattern, PathPattern)>,
    pub(in crate::config) cluster: Option<Located<String>>,
    pub(in crate::config) idempotency_key: bool,
    pub(in crate::config) access_log: bool,
}

pub(super) fn route(fields: &Fields<'_>) -> FileRoute {
    let written = |name, parse: fn(&str) -> Result<String, Mistake>| match fields.is_written(name) {
        true => fields.text(name, parse).map(|path| Some(path.value)),
        false => Some(None),
    };
    let host = match fields.is_written("host") {
        true => fields.text("host", |text| Ok((text.to_owned(), names::host(text)?))),
        false => None,
    };
    let is_host_mistaken = fields.is_written("host") && host.is_none();
    let (prefix, exact) = (written("path", names::path), written("exact", names::path));
    if fields.is_written("path") && fields.is_written("exact") {
        let hint = "a route matches either a path with all below it or exactly one path";
        let span = fields.span_of("exact");
        fields
            .report()
            .error_with_hint(span, "`path` and `exact` exclude each other", hint);
    }
    let (host_label, host) =
        host.map_or_else(|| ("*".to_owned(), HostPattern::Any), |host| host.value);
    let path = match (prefix, exact) {
        (Some(Some(prefix)), Some(None)) => Some((prefix.clone(), PathPattern::Prefix(prefix))),
        (Some(None), Some(Some(exact))) => Some((format!("={exact}"), PathPattern::Exact(exact))),
        (Some(None), Some(None)) => Some(("/".to_owned(), PathPattern::Prefix("/".to_owned()))),
        _ => None,
    };
    let (path_label, path) = path.unzip();
    FileRoute {
        span: fields.span(),
        name: fields.text("name", names::label),
        label: format!("{host_label}{}", path_label.unwrap_or_default()),
        pattern: path.filter(|_| !is_host_mistaken).map(|path| (host, path)),
        cluster: fields.text("cluster", names::label),
        idempotency_key: fields.flag("idempotency_key").value,
        access_log: fields.flag("access_log").value,
    }
}
