//! What must hold of any `Cookie` fields whatever. Never reads a clock.

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

use super::super::seal::{Binding, Seal};
use super::{hide, pairs, values};
use crate::pipeline::HeaderEdit;

const OURS: &str = "portcullis";
/// The one binding that any committed input holds.
const KNOWN: Binding = Binding {
    endpoint: 7,
    since_unix_seconds: 1_700_000_000,
    renewed_after_seconds: 60,
};

/// Reads lines as fields: nobody makes a binding of their own, and an endpoint gets every cookie but
/// ours.
pub fn cookies(bytes: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n').take(FIELDS_MAX) {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(COOKIE, value);
        }
    }
    let seal = seal();
    for opened in values(&headers, OURS).filter_map(|value| seal.open(value)) {
        assert_eq!(opened.binding, KNOWN);
    }
    let is_ours = |pair: &&[u8]| pair.starts_with(b"portcullis=");
    let others = |headers: &HeaderMap| -> Vec<Vec<u8>> {
        let others = pairs(headers).filter(|pair| !is_ours(pair));
        others.map(<[u8]>::to_vec).collect()
    };
    let before = others(&headers);
    let edit = hide(&headers, &[OURS]);
    assert_eq!(edit.is_some(), pairs(&headers).any(|pair| is_ours(&pair)));
    if let Some(edit) = edit {
        let is_removed = matches!(edit, HeaderEdit::Remove(_));
        assert_eq!(is_removed, before.is_empty());
        edit.apply(&mut headers);
    }
    assert_eq!(values(&headers, OURS).count(), 0);
    assert_eq!(others(&headers), before);
}

fn seal() -> Seal {
    let secret: &[u8] = b"a secret of nobody, for fuzzing only";
    match Seal::new("main", std::iter::once(secret)) {
        Ok(seal) => seal,
        Err(_) => unreachable!("keys are derived from any secret"),
    }
}

const FIELDS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corpus_holds_a_cookie_that_opens() {
        let genuine = include_bytes!("../../../../../fuzz/corpus/cookies/00");
        let value = genuine.strip_prefix(b"portcullis=").unwrap();
        let fresh = seal().seal(KNOWN).unwrap();
        let opened = seal().open(value);
        assert_eq!(
            opened.map(|one| one.binding),
            Some(KNOWN),
            "one would be {fresh}"
        );
    }
}
