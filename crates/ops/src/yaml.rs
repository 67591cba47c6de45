//! YAML text into a tree that knows where everything stands. Never guesses a type: scalars stay text.
//!
//! The parser underneath is the one of `serde-saphyr` (no unsafe code; `serde_yaml` is archived). Its
//! events are used directly, because derived deserialisers stop at the first mistake and lose positions.
//! The dialect is small on purpose: one document, no tags, no anchors or aliases (so the tree is never
//! larger than its text), unique keys. In scalars `${NAME}` and `${NAME:-default}` stand for variables
//! and `$$` for a dollar sign.

use crate::diagnostic::{Report, Span};

mod build;
mod interpolate;

/// Largest text that is parsed, and the most that all variables together may add to it.
pub const TEXT_BYTES_MAX: usize = 1024 * 1024;
/// Deepest nesting of lists and mappings.
pub const DEPTH_MAX: usize = 32;
/// Most values in one document.
pub const NODES_MAX: usize = 100_000;

/// How variables are looked up; usually the process environment, in tests a fixed answer.
pub type Lookup<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// A value and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Where the value begins.
    pub span: Span,
    /// What it is.
    pub value: Value,
}

/// What a value can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// Text, variables already replaced.
    Scalar(String),
    /// A list.
    Sequence(Vec<Node>),
    /// Keys and values in the order of the file; keys are unique.
    Mapping(Vec<Entry>),
    /// A mistake that was reported already.
    Invalid,
}

impl Value {
    /// What people call it, with its article.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Scalar(_) => "a single value",
            Self::Sequence(_) => "a list",
            Self::Mapping(_) => "a mapping",
            Self::Invalid => "a mistake",
        }
    }
}

/// One key of a mapping with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key as written; variables are not replaced in keys.
    pub key: String,
    /// Where the key stands.
    pub key_span: Span,
    /// The value.
    pub node: Node,
}

/// Parses the report's source. `None` means that nothing usable was left; whatever is returned, the
/// report holds the mistakes found on the way.
pub fn load(report: &Report<'_>, lookup: &Lookup<'_>) -> Option<Node> {
    build::load(report, lookup)
}

#[cfg(test)]
mod tests;
