//! A request head as phases see it, and the edits they answer with. Never knows an engine.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};

/// The header fields of one message, repeated ones included; every engine implements it over its
/// own bytes.
pub trait Fields {
    /// How many fields there are, each repetition counted.
    fn len(&self) -> usize;
    /// Value of the first field of this name.
    fn first(&self, name: &HeaderName) -> Option<&[u8]>;
    /// Values of all fields of this name, in the order sent.
    fn all(&self, name: &HeaderName) -> impl DoubleEndedIterator<Item = &[u8]>;
    /// Names in any order and in any case; a repeated one may come once or each time.
    fn names(&self) -> impl Iterator<Item = &[u8]>;

    /// Whether there are no fields.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is a field of this name.
    fn has(&self, name: &HeaderName) -> bool {
        self.first(name).is_some()
    }

    /// Whether a field of this name is there once, more often or never.
    fn said(&self, name: &HeaderName) -> Said<'_> {
        let mut values = self.all(name);
        match (values.next(), values.next()) {
            (None, _) => Said::Never,
            (Some(value), None) => Said::Once(value),
            (Some(_), Some(_)) => Said::Repeatedly,
        }
    }
}

/// A field that may not be repeated, as found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said<'a> {
    /// No such field.
    Never,
    /// One field with this value.
    Once(&'a [u8]),
    /// More than one, so that two readers may disagree about the value.
    Repeatedly,
}

impl Fields for HeaderMap {
    fn len(&self) -> usize {
        HeaderMap::len(self)
    }

    fn first(&self, name: &HeaderName) -> Option<&[u8]> {
        self.get(name).map(HeaderValue::as_bytes)
    }

    fn all(&self, name: &HeaderName) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.get_all(name).iter().map(HeaderValue::as_bytes)
    }

    fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.keys().map(|name| name.as_str().as_bytes())
    }
}

/// A request head; every engine implements it over its own bytes.
pub trait Head {
    /// Its header fields.
    type Fields: Fields;

    /// Method as sent.
    fn method(&self) -> &Method;
    /// Protocol version as sent.
    fn version(&self) -> Version;
    /// Raw path, without query.
    fn path(&self) -> &str;
    /// Raw query, without the question mark.
    fn query(&self) -> Option<&str>;
    /// `:authority`, else the host of an absolute-form target, else `Host`.
    fn authority(&self) -> Option<&str>;
    /// Header fields.
    fn fields(&self) -> &Self::Fields;
}

/// One change to a head that an engine is about to send. Applied in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderEdit {
    /// Replace all fields of this name by one.
    Set(HeaderName, HeaderValue),
    /// Add a field, keep those that are there.
    Append(HeaderName, HeaderValue),
    /// Remove all fields of this name.
    Remove(HeaderName),
}

impl HeaderEdit {
    /// Applies the edit to a header map.
    pub fn apply(self, headers: &mut HeaderMap) {
        match self {
            Self::Set(name, value) => {
                headers.insert(name, value);
            }
            Self::Append(name, value) => {
                headers.append(name, value);
            }
            Self::Remove(name) => {
                headers.remove(name);
            }
        }
    }
}
