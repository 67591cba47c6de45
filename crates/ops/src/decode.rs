//! A located tree into typed values, driven by tables of keys; tells every mistake, not just the first.
//! Never knows a key itself: tables come from the caller.
//!
//! One [`Table`] says everything about its keys: name, kind, default, meaning. From it come the checks
//! and defaults of [`Fields`], the JSON Schema ([`mod@schema`]), the annotated reference ([`reference()`]) and
//! the list of all keys ([`key_paths`]), so that none of them can differ from the others.

use std::time::Duration;

use crate::diagnostic::Span;

mod fields;
mod forms;
mod mapping;
mod nearest;
mod paths;
mod reference;
mod scalar;
mod schema;

pub use fields::Fields;
pub use nearest::nearest;
pub use paths::key_paths;
pub use reference::reference;
pub use scalar::{Mistake, parse_network, parse_percent, parse_size};
pub use schema::schema;

/// A mapping with a fixed set of keys.
#[derive(Debug)]
pub struct Table {
    /// In the order of the reference.
    pub keys: &'static [Key],
}

/// One key of a table.
#[derive(Debug)]
pub struct Key {
    /// As written in the file.
    pub name: &'static str,
    /// What its value is.
    pub kind: Kind,
    /// Whether it may be left out.
    pub presence: Presence,
    /// One line of meaning.
    pub doc: &'static str,
}

/// Whether a key may be left out. Values are written as in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It must be there; lists and named sets then need at least one member. Holds an example.
    Required(&'static str),
    /// It has this value when left out. Tables have the defaults of their keys, the text is unused.
    Default(&'static str),
    /// Left out it means "none". Holds an example.
    Optional(&'static str),
    /// The same, but hardly anybody leaves it out: the reference has it in force.
    Usual(&'static str),
}

/// What a value is.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A single value.
    Scalar(Scalar),
    /// A mapping with fixed keys.
    Table(&'static Table),
    /// The same, or `off`.
    Switch(&'static Table),
    /// The same, a list of such mappings, or `off`.
    Switches(&'static Table),
    /// A mapping with fixed keys; a single value stands for the first key alone.
    Short(&'static Table),
    /// A list.
    List(&'static Kind),
    /// A mapping from names of the user's choice. Holds an example of a name.
    Named(&'static Table, &'static str),
    /// A mapping from names of the user's choice to single values.
    Map(&'static Scalar),
}

/// What a single value is.
#[derive(Clone, Copy, Debug)]
pub enum Scalar {
    /// Text of a certain shape.
    Text(&'static Text),
    /// Text that is never shown.
    Secret,
    /// `true` or `false`.
    Flag,
    /// One of these words.
    Word(&'static [&'static str]),
    /// An IP address and a port.
    Address,
    /// A network such as `10.0.0.0/8`, or one address.
    Network,
    /// HTTP status codes such as `200-299`.
    StatusRange,
    /// A whole number in a range.
    Count(u64, u64),
    /// From 0 to 100 with two digits behind the point at most; read as hundredths.
    Percent,
    /// Bytes in a range, with `KiB`, `MiB` or `GiB`.
    Size(u64, u64),
    /// A length of time in a range, with `ms`, `s`, `m` or `h`.
    Duration(Duration, Duration),
}

/// A shape of text that the caller parses further.
#[derive(Debug)]
pub struct Text {
    /// With article and example: ``a host name such as `auth.example.com` ``.
    pub what: &'static str,
    /// Regular expression for the JSON Schema; empty for any text.
    pub pattern: &'static str,
}

/// A value and where it was written; defaults have the place of the mapping they are missing from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub span: Span,
    /// Whether the file says it, rather than the table of keys.
    pub is_written: bool,
}

#[cfg(test)]
mod tests;
