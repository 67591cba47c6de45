//! Texts with placeholders in braces. Never knows the values: those are a request's.

use http::HeaderValue;
use portcullis_ops::decode::Mistake;

/// A text in which a closed set of words in braces stands for what is known of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Template {
    /// Without placeholders.
    Fixed(HeaderValue),
    /// With some.
    Parts(Vec<Part>),
}

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// As it is; visible ASCII.
    Text(String),
    /// Of the request at hand.
    Placeholder(Placeholder),
}

/// What a template may name. All are safe in a header field: checked or made by the edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words say it")]
pub enum Placeholder {
    ClientAddress,
    RequestId,
    Host,
    Scheme,
    Route,
    Cluster,
}

impl Placeholder {
    const ALL: [(&'static str, Self); 6] = [
        ("client_address", Self::ClientAddress),
        ("request_id", Self::RequestId),
        ("host", Self::Host),
        ("scheme", Self::Scheme),
        ("route", Self::Route),
        ("cluster", Self::Cluster),
    ];
}

/// A piece of a text with braces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece<'t> {
    Text(&'t str),
    Braced(&'t str),
}

/// Cuts a text at its braces; doubled ones stand for themselves.
pub(super) fn pieces(text: &str) -> Result<Vec<Piece<'_>>, Mistake> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, brace) = rest.split_at(at);
        if !before.is_empty() {
            pieces.push(Piece::Text(before));
        }
        if brace.starts_with("{{") || brace.starts_with("}}") {
            let (one, after) = brace.split_at(1);
            pieces.push(Piece::Text(one));
            rest = after.get(1..).unwrap_or_default();
            continue;
        }
        let braced = brace
            .strip_prefix('{')
            .and_then(|inner| inner.split_once('}'));
        let Some((word, after)) = braced else {
            let hint = "close it, or double it to mean the brace itself: {{ or }}";
            return Err(Mistake::new("has a brace alone", hint));
        };
        pieces.push(Piece::Braced(word));
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest));
    }
    Ok(pieces)
}

/// The value of a header field.
pub(super) fn header_value(text: &str) -> Result<Template, Mistake> {
    if !text.bytes().all(|byte| matches!(byte, b' '..=b'~')) || text.trim() != text {
        let hint = "visible ASCII and inner spaces only";
        return Err(Mistake::new("is no value of a header field", hint));
    }
    if text.len() > VALUE_BYTES_MAX {
        let hint = format!("at most {VALUE_BYTES_MAX} bytes");
        return Err(Mistake::new("is too long", hint));
    }
    let mut parts = Vec::new();
    for piece in pieces(text)? {
        parts.push(match piece {
            Piece::Text(text) => Part::Text(text.to_owned()),
            Piece::Braced(word) => Part::Placeholder(placeholder(word)?),
        });
    }
    let fixed = parts.iter().map(|part| match part {
        Part::Text(text) => Some(text.as_str()),
        Part::Placeholder(_) => None,
    });
    match fixed.collect::<Option<String>>().map(HeaderValue::try_from) {
        Some(Ok(value)) => Ok(Template::Fixed(value)),
        _ => Ok(Template::Parts(parts)),
    }
}

fn placeholder(word: &str) -> Result<Placeholder, Mistake> {
    let known = Placeholder::ALL.iter().find(|(name, _)| *name == word);
    known.map(|(_, placeholder)| *placeholder).ok_or_else(|| {
        let names = Placeholder::ALL.map(|(name, _)| format!("{{{name}}}"));
        let hint = format!("known are {}; for a brace write {{{{", names.join(", "));
        Mistake::new(
            format!(
                "has the unknown placeholder {{{}}}",
                super::names::shown(word)
            ),
            hint,
        )
    })
}

const VALUE_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_and_text_alternate() {
        let template = header_value("{client_address}; by={route}").unwrap();
        assert_eq!(
            template,
            Template::Parts(vec![
                Part::Placeholder(Placeholder::ClientAddress),
                Part::Text("; by=".to_owned()),
                Part::Placeholder(Placeholder::Route),
            ])
        );
    }

    #[test]
    fn doubled_braces_are_braces() {
        let fixed = |text| Template::Fixed(HeaderValue::from_static(text));
        assert_eq!(header_value("{{\"a\":1}}"), Ok(fixed("{\"a\":1}")));
        assert_eq!(header_value("plain"), Ok(fixed("plain")));
        assert_eq!(header_value("{{host}}"), Ok(fixed("{host}")));
    }

    #[test]
    fn what_is_no_template_is_a_mistake() {
        for (text, word) in [
            ("{", "brace"),
            ("a}b", "brace"),
            ("{hos", "brace"),
            ("{hots}", "{hots}"),
            ("{}", "{}"),
            ("{Host}", "{Host}"),
            ("a\r\nSet-Cookie: x", "value"),
            (" a", "value"),
            ("\u{e9}", "value"),
        ] {
            let mistake = header_value(text).unwrap_err();
            assert!(mistake.message.contains(word), "{text:?}: {mistake:?}");
        }
    }
}
