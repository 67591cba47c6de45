//! Changes of messages as written. Never applies one.

use std::collections::HashSet;

use http::HeaderValue;
use portcullis_ops::decode::{Fields, Located, Mistake};

use super::super::super::route::{HeaderChanges, HostChange, PathChange, Rewrite};
use super::super::super::{PathPattern, names, words};
use super::{action, exclusive};

pub(super) fn headers(route: &Fields<'_>, key: &str) -> HeaderChanges {
    let Some(fields) = route.optional_table(key) else {
        return HeaderChanges::default();
    };
    let remove = fields.texts("remove", words::changeable_field);
    let set = fields.map("set", words::field_and_value);
    let add = fields.map("add", words::field_and_value);
    let pairs = set.iter().chain(&add);
    let names = remove.iter().map(|one| (&one.value, one.span));
    let names = names.chain(pairs.map(|one| (&one.value.0, one.span)));
    let mut known = HashSet::new();
    for (name, span) in names {
        if !known.insert(name) {
            let message = format!("two changes of `{name}`");
            let hint = "`set` replaces what is there, `add` keeps it: write one of them";
            fields.report().error_with_hint(span, message, hint);
        }
    }
    HeaderChanges {
        remove: values(remove),
        set: values(set),
        add: values(add),
    }
}

fn values<T>(located: Vec<Located<T>>) -> Vec<T> {
    located.into_iter().map(|one| one.value).collect()
}

/// `path`: what the route matches.
pub(super) fn rewrite(route: &Fields<'_>, path: Option<&PathPattern>) -> Rewrite {
    let Some(fields) = route.optional_table("rewrite") else {
        return Rewrite::default();
    };
    let host = match fields.is_written("host") {
        true => fields.text("host", host).map(|host| host.value),
        false => None,
    };
    let is_pair = fields.is_written("regex") == fields.is_written("to");
    if !is_pair {
        let message = "`regex` and `to` belong together";
        let hint = "`regex` says which paths change, `to` what they become";
        fields
            .report()
            .error_with_hint(fields.span(), message, hint);
    }
    if !["prefix", "regex", "to", "host"]
        .iter()
        .any(|key| fields.is_written(key))
    {
        let hint = "say what changes: `prefix`, `regex` and `to`, or `host`";
        fields
            .report()
            .error_with_hint(fields.span(), "`rewrite` changes nothing", hint);
    }
    let change = match exclusive(&fields, &["prefix", "regex"], "write one of them") {
        Some(Some("prefix")) => prefix(&fields, route, path),
        Some(Some(_)) if is_pair => regex(&fields),
        _ => None,
    };
    Rewrite {
        path: change.unwrap_or_default(),
        host,
    }
}

fn prefix(
    fields: &Fields<'_>,
    route: &Fields<'_>,
    path: Option<&PathPattern>,
) -> Option<PathChange> {
    let put = fields.text("prefix", names::path)?.value;
    path?;
    let taken = action::taken(fields, route)?;
    Some(PathChange::Prefix { taken, put })
}

fn regex(fields: &Fields<'_>) -> Option<PathChange> {
    let regex = fields.text("regex", words::path_regex)?.value;
    let to = fields.text("to", |text| words::path_of_groups(text, &regex))?;
    let to = to.value;
    Some(PathChange::Regex { regex, to })
}

fn host(text: &str) -> Result<HostChange, Mistake> {
    if text == "endpoint" {
        return Ok(HostChange::Endpoint);
    }
    let name = names::authority(text)?;
    let value = HeaderValue::try_from(name);
    value
        .map(HostChange::To)
        .map_err(|_| Mistake::new("is not a host", "such as internal.example.com"))
}
