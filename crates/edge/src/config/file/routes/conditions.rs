//! Conditions of a route as written. Never compares two routes.

use std::collections::HashSet;

use portcullis_ops::decode::{Fields, Located, Mistake};
use portcullis_traffic::route::{Condition, Part, ValuePattern};

use super::super::super::{Conditions, names, words};
use super::super::flags::{self, FileFlag};
use super::exclusive;

/// `None` if one of them is mistaken.
pub(super) fn conditions(fields: &Fields<'_>, flags: &[FileFlag]) -> Option<Conditions> {
    let mut is_sound = true;
    for key in ["methods", "headers", "query", "cookies", "source", "flags"] {
        if fields.is_empty_list(key) {
            let message = format!("`{key}` names nothing, so no request could fulfil it");
            let hint = "leave it out where anything will do";
            fields
                .report()
                .error_with_hint(fields.span_of(key), message, hint);
            is_sound = false;
        }
    }
    let mut values = Vec::new();
    for (key, parse) in [
        ("headers", header as fn(&str) -> Result<Part, Mistake>),
        ("query", parameter),
        ("cookies", cookie),
    ] {
        for one in fields.tables(key) {
            let condition = one.text("name", parse).zip(value(&one));
            is_sound &= condition.is_some();
            values.extend(condition.map(|(part, value)| Located {
                value: Condition {
                    part: part.value,
                    value,
                },
                span: part.span,
                is_written: true,
            }));
        }
    }
    let mut parts = HashSet::new();
    for one in &values {
        if !parts.insert(&one.value.part) {
            let message = "two conditions on one thing";
            let hint = "a request must fulfil all of them: join them in one, or make two routes";
            fields.report().error_with_hint(one.span, message, hint);
            is_sound = false;
        }
    }
    let written = fields.texts("methods", words::method);
    let methods: Vec<_> = written.into_iter().map(|method| method.value).collect();
    let networks = fields.networks("source");
    // Mistaken members are left out; without them the list would ask for less.
    is_sound &= methods.is_empty() != fields.is_written("methods");
    is_sound &= networks.is_empty() != fields.is_written("source");
    let sources = networks.into_iter().map(|network| network.value);
    let values = values.into_iter().map(|one| one.value).collect();
    let wanted = fields.texts("flags", |name| flags::wanted(flags, name));
    is_sound &= wanted.is_empty() != fields.is_written("flags");
    let wanted = wanted.into_iter().map(|flag| flag.value).collect();
    is_sound.then(|| Conditions::new(methods, values, sources.collect()).with_flags(wanted))
}

fn value(fields: &Fields<'_>) -> Option<ValuePattern> {
    let has_regex = fields.knows("regex");
    let keys: &[&str] = match has_regex {
        true => &["value", "regex"],
        false => &["value"],
    };
    match exclusive(fields, keys, "a value is told exactly or by an expression")? {
        Some("regex") => {
            let regex = fields.text("regex", words::regex)?;
            Some(ValuePattern::Matches(regex.value))
        }
        Some(_) => {
            let value = fields.text("value", words::value)?;
            Some(ValuePattern::Exact(value.value))
        }
        None => Some(ValuePattern::Present),
    }
}

fn header(text: &str) -> Result<Part, Mistake> {
    let name = words::field(text)?;
    let elsewhere = match name.as_str() {
        "host" => "use `host`",
        "cookie" => "use `cookies`",
        // Many applications read `_` as `-`.
        other if other.replace('_', "-").starts_with("x-auth-") => {
            let hint = "any client can send it; endpoints get it from the edge alone";
            return Err(Mistake::new("proves nothing here", hint));
        }
        _ => return Ok(Part::Header(name)),
    };
    Err(Mistake::new("has a key of its own", elsewhere))
}

fn parameter(text: &str) -> Result<Part, Mistake> {
    words::value(text).map(Part::Query)
}

fn cookie(text: &str) -> Result<Part, Mistake> {
    names::cookie(text).map(Part::Cookie)
}
