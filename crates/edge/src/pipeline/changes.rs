//! The operator's changes of header fields. Never touches a name that the edge answers for: the
//! configuration refuses those.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::admit::Request;
use super::forward::same_name;
use super::head::{Fields, HeaderEdit};
use crate::config::{HeaderChanges, Part, Placeholder, Template};

/// What placeholders stand for.
pub(super) struct Facts<'a> {
    pub(super) request: &'a Request,
    pub(super) route: &'a str,
    /// Empty without one.
    pub(super) cluster: &'a str,
}

/// Appends the removal of what a client sends under a name that the route sets or removes, spelled
/// with underscores: many applications read `_` as `-`, and would take the client's word for the
/// operator's.
pub(super) fn remove_lookalikes(
    changes: &HeaderChanges,
    fields: &impl Fields,
    edits: &mut Vec<HeaderEdit>,
) {
    let set = changes.set.iter().map(|(name, _)| name);
    let governed = || changes.remove.iter().chain(set.clone());
    let is_lookalike = |sent: &[u8]| {
        let is_other = |name: &&HeaderName| !sent.eq_ignore_ascii_case(name.as_str().as_bytes());
        sent.contains(&b'_')
            && governed()
                .filter(is_other)
                .any(|name| same_name(sent, &name.as_str().replace('_', "-")))
    };
    let found = fields.names().filter(|sent| is_lookalike(sent));
    let found = found.filter_map(|sent| HeaderName::from_bytes(sent).ok());
    edits.extend(found.map(HeaderEdit::Remove));
}

/// Appends the edits that a route asks for.
pub(super) fn append(changes: &HeaderChanges, facts: &Facts<'_>, edits: &mut Vec<HeaderEdit>) {
    let removed = changes.remove.iter().cloned().map(HeaderEdit::Remove);
    edits.extend(removed);
    let value = |(name, template): &(HeaderName, Template)| {
        let value = render(template, facts)?;
        Some((name.clone(), value))
    };
    let set = changes.set.iter().filter_map(value);
    edits.extend(set.map(|(name, value)| HeaderEdit::Set(name, value)));
    let added = changes.add.iter().filter_map(value);
    edits.extend(added.map(|(name, value)| HeaderEdit::Append(name, value)));
}

/// Applies them to an answer of ours.
pub(super) fn apply(
    changes: &HeaderChanges,
    facts: &Facts<'_>,
    headers: &mut Vec<(HeaderName, HeaderValue)>,
) {
    let mut edits = Vec::new();
    append(changes, facts, &mut edits);
    if edits.is_empty() {
        return;
    }
    let mut map: HeaderMap = headers.drain(..).collect();
    for edit in edits {
        edit.apply(&mut map);
    }
    let mut name = None;
    for (next, value) in map {
        name = next.or(name);
        headers.extend(name.clone().map(|name| (name, value)));
    }
}

/// `None` if a value of the request cannot be sent on; nothing stands for it then.
fn render(template: &Template, facts: &Facts<'_>) -> Option<HeaderValue> {
    let parts = match template {
        Template::Fixed(value) => return Some(value.clone()),
        Template::Parts(parts) => parts,
    };
    let mut text = Vec::with_capacity(TEXT_BYTES_USUAL);
    let excerpt = &facts.request.excerpt;
    for part in parts {
        match part {
            Part::Text(fixed) => text.extend_from_slice(fixed.as_bytes()),
            Part::Placeholder(Placeholder::ClientAddress) => {
                text.extend_from_slice(facts.request.client.to_string().as_bytes());
            }
            Part::Placeholder(Placeholder::RequestId) => {
                text.extend_from_slice(excerpt.id.as_bytes());
            }
            Part::Placeholder(Placeholder::Host) => {
                let host = excerpt.host.as_ref();
                text.extend_from_slice(host.map_or(&[][..], HeaderValue::as_bytes));
            }
            Part::Placeholder(Placeholder::Scheme) => {
                let scheme = if facts.request.is_https {
                    "https"
                } else {
                    "http"
                };
                text.extend_from_slice(scheme.as_bytes());
            }
            Part::Placeholder(Placeholder::Route) => text.extend_from_slice(facts.route.as_bytes()),
            Part::Placeholder(Placeholder::Cluster) => {
                text.extend_from_slice(facts.cluster.as_bytes());
            }
        }
    }
    HeaderValue::from_maybe_shared(bytes::Bytes::from(text)).ok()
}

const TEXT_BYTES_USUAL: usize = 64;

#[cfg(test)]
mod tests {
    use super::super::fake::FakeHead;
    use super::super::head::Head;
    use super::*;

    #[test]
    fn what_looks_like_a_governed_field_is_removed() {
        let name = |name: &'static str| HeaderName::from_static(name);
        let value = Template::Fixed(HeaderValue::from_static("ours"));
        let changes = HeaderChanges {
            remove: vec![name("x-internal-user")],
            set: vec![
                (name("x-tenant"), value.clone()),
                (name("a_b"), value.clone()),
            ],
            add: vec![(name("x-more-of"), value)],
        };
        let head = FakeHead::get("/")
            .with("x_tenant", "theirs")
            .with("x_internal-user", "root")
            .with("x_more_of", "stays")
            .with("a_b", "set anyway")
            .with("x-tenant", "set anyway");
        let mut edits = Vec::new();
        remove_lookalikes(&changes, head.fields(), &mut edits);
        let mut headers = head.fields().clone();
        for edit in edits {
            edit.apply(&mut headers);
        }
        for (name, is_there) in [
            ("x_tenant", false),
            ("x_internal-user", false),
            ("x_more_of", true),
            ("a_b", true),
            ("x-tenant", true),
        ] {
            assert_eq!(headers.contains_key(name), is_there, "{name}");
        }
    }
}
