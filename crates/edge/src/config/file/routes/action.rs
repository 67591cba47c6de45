//! What a route does, as written. Never looks a cluster up.

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use portcullis_ops::decode::{Fields, Located, Mistake};
use portcullis_ops::diagnostic::Span;

use super::super::super::route::{Location, PathChange, Redirect, Respond, SplitBy};
use super::super::super::{names, words};
use super::exclusive;

#[derive(Debug)]
pub(in crate::config) enum FileAction {
    Cluster(Located<String>),
    Split(FileSplit),
    /// With its place, and whether it repeats the request's host.
    Redirect(Located<Redirect>),
    Respond(Respond),
}

#[derive(Debug)]
pub(in crate::config) struct FileSplit {
    pub(in crate::config) span: Span,
    pub(in crate::config) members: Vec<(Located<String>, u16)>,
    pub(in crate::config) by: SplitBy,
}

pub(super) fn action(fields: &Fields<'_>) -> Option<FileAction> {
    let hint = "a route does one thing with its requests";
    let written = exclusive(fields, &["cluster", "split", "redirect", "respond"], hint)?;
    if fields.is_written("split_by") && written != Some("split") {
        let message = "`split_by` has no effect without `split`";
        let span = fields.span_of("split_by");
        fields
            .report()
            .error_with_hint(span, message, "leave it out");
    }
    match written {
        Some("cluster") => fields
            .text("cluster", names::label)
            .map(FileAction::Cluster),
        Some("split") => split(fields).map(FileAction::Split),
        Some("redirect") => {
            let redirect = fields.optional_table("redirect")?;
            let value = self::redirect(&redirect, fields)?;
            Some(FileAction::Redirect(Located {
                value,
                span: fields.span_of("redirect"),
                is_written: true,
            }))
        }
        Some(_) => respond(&fields.optional_table("respond")?).map(FileAction::Respond),
        None => {
            let message = "the route does nothing with its requests";
            let hint = "add `cluster: NAME`, or one of `split`, `redirect` and `respond`";
            fields
                .report()
                .error_with_hint(fields.span(), message, hint);
            None
        }
    }
}

fn split(fields: &Fields<'_>) -> Option<FileSplit> {
    let by = match fields.is_written("split_by") {
        true => fields.text("split_by", words::split_by)?.value,
        false => SplitBy::OwnCookie,
    };
    let member = |member: &Fields<'_>| {
        let cluster = member.text("cluster", names::label)?;
        Some((cluster, member.optional_number("weight")?.value))
    };
    let members: Vec<_> = fields.tables("split").iter().map(member).collect();
    let members = members.into_iter().collect::<Option<Vec<(_, u16)>>>()?;
    if members.iter().all(|(_, weight)| *weight == 0) {
        let span = fields.span_of("split");
        let hint = "give at least one cluster a `weight` above 0";
        fields
            .report()
            .error_with_hint(span, "`split` leads nowhere", hint);
    }
    Some(FileSplit {
        span: fields.span_of("split"),
        members,
        by,
    })
}

fn redirect(fields: &Fields<'_>, route: &Fields<'_>) -> Option<Redirect> {
    let status = fields.word("status").value.parse().ok();
    let location = match fields.is_written("to") {
        true => {
            let hint = "`to` is the whole address";
            for key in ["scheme", "host", "port", "path", "prefix"] {
                exclusive(fields, &["to", key], hint);
            }
            fields.text("to", words::location)?.value
        }
        false => changed(fields, route)?,
    };
    Some(Redirect {
        location,
        status: status?,
        keeps_query: fields.flag("keep_query").value,
    })
}

fn changed(fields: &Fields<'_>, route: &Fields<'_>) -> Option<Location> {
    let optional = |key: &str| fields.is_written(key);
    let scheme = fields.text("scheme", words::scheme);
    let host = fields.text("host", words::plain_host);
    let port = fields.optional_number("port");
    let hint = "either the whole path changes or its beginning";
    let path = match exclusive(fields, &["path", "prefix"], hint)? {
        Some("path") => PathChange::Whole(fields.text("path", names::target)?.value),
        Some(_) => {
            let put = fields.text("prefix", names::path)?.value;
            PathChange::Prefix {
                taken: taken(fields, route)?,
                put,
            }
        }
        None => PathChange::Kept,
    };
    let is_mistaken = (optional("scheme") && scheme.is_none())
        || (optional("host") && host.is_none())
        || (optional("port") && port.is_none());
    if !["scheme", "host", "port", "path", "prefix"]
        .iter()
        .any(|key| optional(key))
    {
        let hint = "say what changes: `to`, or `scheme`, `host`, `port`, `path` or `prefix`";
        let message = "`redirect` leads back to where the client is";
        fields
            .report()
            .error_with_hint(fields.span(), message, hint);
        return None;
    }
    (!is_mistaken).then(|| Location::Changed {
        scheme: scheme.map(|scheme| scheme.value),
        host: host.map(|host| host.value),
        port: port.map(|port| port.value),
        path,
    })
}

/// How many bytes of the path the route itself matches.
pub(super) fn taken(fields: &Fields<'_>, route: &Fields<'_>) -> Option<usize> {
    if route.is_written("regex") {
        let message = "`prefix` needs a route with `path` or `exact`";
        let hint = "an expression has no beginning to replace";
        fields
            .report()
            .error_with_hint(fields.span_of("prefix"), message, hint);
        return None;
    }
    let key = if route.is_written("exact") {
        "exact"
    } else {
        "path"
    };
    match route.is_written(key) {
        true => Some(
            route
                .text(key, |text| Ok(text.len()))
                .map_or(1, |path| path.value),
        ),
        false => Some(1),
    }
}

fn respond(fields: &Fields<'_>) -> Option<Respond> {
    let status = fields.number::<u16>("status");
    let content_type = fields.text("content_type", |text| {
        HeaderValue::from_str(text)
            .map_err(|_| Mistake::new("is no value of a header field", "visible ASCII only"))
    });
    let body = match fields.is_written("body") {
        true => fields.text("body", body)?.value,
        false => Bytes::new(),
    };
    let has_no_body = matches!(status.value, 204 | 205 | 304);
    if has_no_body && !body.is_empty() {
        let message = format!("an answer with status {} has no body", status.value);
        let hint = "leave `body` out, or choose another status";
        fields
            .report()
            .error_with_hint(fields.span_of("body"), message, hint);
    }
    Some(Respond {
        status: StatusCode::from_u16(status.value).ok()?,
        body,
        content_type: content_type?.value,
    })
}

fn body(text: &str) -> Result<Bytes, Mistake> {
    match text.len() <= BODY_BYTES_MAX {
        true => Ok(Bytes::copy_from_slice(text.as_bytes())),
        false => {
            let hint = format!("at most {BODY_BYTES_MAX} bytes; let an endpoint serve more");
            Err(Mistake::new("is too long", hint))
        }
    }
}

const BODY_BYTES_MAX: usize = 64 * 1024;
