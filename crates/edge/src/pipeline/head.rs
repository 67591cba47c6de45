//! A request head as phases see it, and the edits they answer with. Never knows an engine.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};

/// A request head; every engine implements it over its own bytes.
pub trait Head {
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
    /// Header fields, duplicates included.
    fn headers(&self) -> &HeaderMap;
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
