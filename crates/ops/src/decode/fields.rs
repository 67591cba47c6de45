//! Reads one mapping by its table. Never stops at a mistake: it is reported and a stand-in is returned, so
//! whoever reads on must ask the report before using the whole.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use ipnet::IpNet;

use super::scalar::Parsed;
use super::{Key, Kind, Located, Mistake, Presence, Scalar, Table};
use crate::Secret;
use crate::diagnostic::{Report, Span};
use crate::yaml::{Entry, Node, Value};

/// One mapping of the file, ready to be read key by key. Asking for a key that the table does not have, or
/// as another kind, is a bug of the caller and panics.
#[derive(Debug)]
pub struct Fields<'f> {
    pub(super) table: &'static Table,
    pub(super) span: Span,
    pub(super) entries: Vec<(&'static Key, &'f Node)>,
    pub(super) report: &'f Report<'f>,
}

impl<'f> Fields<'f> {
    /// Opens the root of a document.
    pub fn root(table: &'static Table, node: &'f Node, report: &'f Report<'f>) -> Self {
        match &node.value {
            Value::Mapping(entries) => Self::open(table, entries, "the file", node.span, report),
            Value::Invalid => Self::empty(table, node.span, report),
            other => {
                let names: Vec<_> = table.keys.iter().map(|key| key.name).collect();
                let hint = format!("begin lines with one of: {}", names.join(", "));
                let message = format!("the file must be a mapping, not {}", other.kind());
                report.error_with_hint(node.span, message, hint);
                Self::empty(table, node.span, report)
            }
        }
    }

    /// Where the mapping stands.
    pub fn span(&self) -> Span {
        self.span
    }

    /// Where the value of `name` stands; the mapping's place if it is left out.
    pub fn span_of(&self, name: &str) -> Span {
        self.node(self.key(name))
            .map_or(self.span, |node| node.span)
    }

    /// Whether the file has the key.
    pub fn is_written(&self, name: &str) -> bool {
        self.node(self.key(name)).is_some()
    }

    /// Whether the key is written with a list that has no member.
    pub fn is_empty_list(&self, name: &str) -> bool {
        let node = self.node(self.key(name));
        matches!(node.map(|node| &node.value), Some(Value::Sequence(nodes)) if nodes.is_empty())
    }

    /// The report that mistakes go to.
    pub fn report(&self) -> &'f Report<'f> {
        self.report
    }

    /// A text, parsed further by `parse`. `None` if left out (without a default) or mistaken.
    pub fn text<T>(
        &self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, Mistake>,
    ) -> Option<Located<T>> {
        let located = self.scalar(name)?;
        let Parsed::Text(text) = located.value else {
            wrong_kind(name)
        };
        match parse(&text) {
            Ok(value) => Some(Located {
                value,
                span: located.span,
                is_written: located.is_written,
            }),
            Err(mistake) => {
                self.refuse(name, &text, located.span, mistake);
                None
            }
        }
    }

    /// A secret text, kept out of every diagnostic.
    pub fn secret(&self, name: &str) -> Option<Located<Secret<String>>> {
        if let Some(node) = self.node(self.key(name)) {
            self.report.mask(node.span);
        }
        let located = self.scalar(name)?;
        let Parsed::Text(text) = located.value else {
            wrong_kind(name)
        };
        let value = Secret::new(text);
        Some(Located {
            value,
            span: located.span,
            is_written: located.is_written,
        })
    }

    /// An address without a default.
    pub fn optional_address(&self, name: &str) -> Option<Located<SocketAddr>> {
        self.typed(name, |parsed| match parsed {
            Parsed::Address(address) => Some(address),
            _ => None,
        })
    }

    /// An address with a default.
    pub fn address(&self, name: &str) -> Located<SocketAddr> {
        self.optional_address(name)
            .unwrap_or_else(|| wrong_kind(name))
    }

    /// `true` or `false`.
    pub fn flag(&self, name: &str) -> Located<bool> {
        self.defaulted(name, |parsed| match parsed {
            Parsed::Flag(flag) => Some(flag),
            _ => None,
        })
    }

    /// One of the words of the table.
    pub fn word(&self, name: &str) -> Located<&'static str> {
        self.defaulted(name, |parsed| match parsed {
            Parsed::Word(word) => Some(word),
            _ => None,
        })
    }

    /// Status codes.
    pub fn statuses(&self, name: &str) -> Located<RangeInclusive<u16>> {
        self.defaulted(name, |parsed| match parsed {
            Parsed::StatusRange(range) => Some(range),
            _ => None,
        })
    }

    /// A length of time.
    pub fn duration(&self, name: &str) -> Located<Duration> {
        self.defaulted(name, |parsed| match parsed {
            Parsed::Duration(duration) => Some(duration),
            _ => None,
        })
    }

    /// A length of time without a default.
    pub fn optional_duration(&self, name: &str) -> Option<Located<Duration>> {
        self.typed(name, |parsed| match parsed {
            Parsed::Duration(duration) => Some(duration),
            _ => None,
        })
    }

    /// A count or size. The table's range must lie within the range of `T`.
    pub fn number<T: TryFrom<u64>>(&self, name: &str) -> Located<T> {
        self.defaulted(name, |parsed| match parsed {
            Parsed::Number(number) => T::try_from(number).ok(),
            _ => None,
        })
    }

    /// A count or size without a default.
    pub fn optional_number<T: TryFrom<u64>>(&self, name: &str) -> Option<Located<T>> {
        self.typed(name, |parsed| match parsed {
            Parsed::Number(number) => T::try_from(number).ok(),
            _ => None,
        })
    }

    /// The members of a list of texts, each parsed further by `parse`.
    pub fn texts<T>(
        &self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, Mistake>,
    ) -> Vec<Located<T>> {
        self.members(name, |text, span| match parse(&text) {
            Ok(value) => Some(value),
            Err(mistake) => {
                self.refuse(name, &text, span, mistake);
                None
            }
        })
    }

    /// The members of a list of secret texts, kept out of every diagnostic.
    pub fn secrets(&self, name: &str) -> Vec<Located<Secret<String>>> {
        if let Some(node) = self.node(self.key(name))
            && let Value::Sequence(members) = &node.value
        {
            members.iter().for_each(|node| self.report.mask(node.span));
        }
        self.members(name, |text, _| Some(Secret::new(text)))
    }

    fn members<T>(&self, name: &str, take: impl Fn(String, Span) -> Option<T>) -> Vec<Located<T>> {
        let key = self.key(name);
        let Kind::List(Kind::Scalar(scalar)) = key.kind else {
            wrong_kind(name)
        };
        let nodes = self.list(key).into_iter().flatten();
        nodes
            .filter_map(|node| {
                let Parsed::Text(text) = self.parse(key, scalar, node)? else {
                    wrong_kind(name)
                };
                Some(Located {
                    value: take(text, node.span)?,
                    span: node.span,
                    is_written: true,
                })
            })
            .collect()
    }

    /// The members of a list of networks.
    pub fn networks(&self, name: &str) -> Vec<Located<IpNet>> {
        let key = self.key(name);
        let Kind::List(Kind::Scalar(scalar)) = key.kind else {
            wrong_kind(name)
        };
        let nodes = self.list(key).into_iter().flatten();
        nodes
            .filter_map(|node| {
                let parsed = self.parse(key, scalar, node)?;
                let Parsed::Network(value) = parsed else {
                    wrong_kind(name)
                };
                Some(Located {
                    value,
                    span: node.span,
                    is_written: true,
                })
            })
            .collect()
    }

    /// A table that is there even if left out, with the defaults of its keys.
    pub fn table(&self, name: &str) -> Fields<'f> {
        let Kind::Table(table) = self.key(name).kind else {
            wrong_kind(name)
        };
        self.optional_table(name)
            .unwrap_or_else(|| Fields::empty(table, self.span, self.report))
    }

    /// A table that means "none" when left out.
    pub fn optional_table(&self, name: &str) -> Option<Fields<'f>> {
        let key = self.key(name);
        let Kind::Table(table) = key.kind else {
            wrong_kind(name)
        };
        self.mapping(key, table, self.node(key)?, "a mapping")
    }

    /// A table or `off`. `None` is off.
    pub fn switch(&self, name: &str) -> Option<Fields<'f>> {
        let key = self.key(name);
        let Kind::Switch(table) = key.kind else {
            wrong_kind(name)
        };
        let Some(node) = self.node(key) else {
            let is_on = matches!(key.presence, Presence::Default(_));
            return is_on.then(|| Fields::empty(table, self.span, self.report));
        };
        match &node.value {
            // What tools make of `off` when they rewrite YAML.
            Value::Scalar(text) if text == "off" || text == "false" => None,
            _ => self.mapping(key, table, node, "a mapping or `off`"),
        }
    }

    /// The members of a list of tables.
    pub fn tables(&self, name: &str) -> Vec<Fields<'f>> {
        let key = self.key(name);
        let Kind::List(inner) = key.kind else {
            wrong_kind(name)
        };
        let nodes = self.list(key).into_iter().flatten();
        nodes
            .filter_map(|node| match (inner, &node.value) {
                (Kind::Short(table), Value::Scalar(_)) => Some(self.short_form(table, node)),
                (Kind::Table(table), _) => self.mapping(key, table, node, "a list of mappings"),
                (Kind::Short(table), _) => {
                    self.mapping(key, table, node, "a list of values or mappings")
                }
                _ => wrong_kind(name),
            })
            .collect()
    }

    /// Tables by the names the user gave them.
    pub fn named(&self, name: &str) -> Vec<(Located<String>, Fields<'f>)> {
        let key = self.key(name);
        let Kind::Named(table, _) = key.kind else {
            wrong_kind(name)
        };
        let Some(node) = self.node(key) else {
            return Vec::new();
        };
        let Value::Mapping(entries) = &node.value else {
            self.wrong_type(key, node, "a mapping from names");
            return Vec::new();
        };
        if entries.is_empty() && matches!(key.presence, Presence::Required(_)) {
            self.report.error(
                node.span,
                format!("`{}` needs at least one member", key.name),
            );
        }
        entries
            .iter()
            .map(|entry| self.named_member(table, entry))
            .collect()
    }

    fn named_member(
        &self,
        table: &'static Table,
        entry: &'f Entry,
    ) -> (Located<String>, Fields<'f>) {
        let name = Located {
            value: entry.key.clone(),
            span: entry.key_span,
            is_written: true,
        };
        let whose = format!("`{}`", entry.key);
        let fields = match &entry.node.value {
            Value::Mapping(inner) => Self::open(table, inner, &whose, name.span, self.report),
            value => {
                if !matches!(value, Value::Invalid) {
                    let message = format!("{whose} must be a mapping, not {}", value.kind());
                    self.report.error(name.span, message);
                }
                Self::empty(table, name.span, self.report)
            }
        };
        (name, fields)
    }

    pub(super) fn key(&self, name: &str) -> &'static Key {
        let key = self.table.keys.iter().find(|key| key.name == name);
        key.unwrap_or_else(|| panic!("the table of keys has no `{name}`"))
    }

    pub(super) fn node(&self, key: &Key) -> Option<&'f Node> {
        self.entries
            .iter()
            .find(|(known, _)| known.name == key.name)
            .map(|(_, node)| *node)
    }

    pub(super) fn mapping(
        &self,
        key: &Key,
        table: &'static Table,
        node: &'f Node,
        expected: &str,
    ) -> Option<Fields<'f>> {
        if let Value::Mapping(entries) = &node.value {
            let whose = match key.kind {
                Kind::List(_) => format!("an entry of `{}`", key.name),
                _ => format!("`{}`", key.name),
            };
            return Some(Self::open(table, entries, &whose, node.span, self.report));
        }
        self.wrong_type(key, node, expected);
        None
    }

    pub(super) fn list(&self, key: &Key) -> Option<&'f [Node]> {
        let node = self.node(key)?;
        let Value::Sequence(nodes) = &node.value else {
            self.wrong_type(key, node, "a list");
            return None;
        };
        if nodes.is_empty() && matches!(key.presence, Presence::Required(_)) {
            self.report.error(
                node.span,
                format!("`{}` needs at least one member", key.name),
            );
        }
        Some(nodes)
    }

    fn typed<T>(&self, name: &str, pick: impl Fn(Parsed) -> Option<T>) -> Option<Located<T>> {
        let Located {
            value,
            span,
            is_written,
        } = self.scalar(name)?;
        let value = pick(value).unwrap_or_else(|| wrong_kind(name));
        Some(Located {
            value,
            span,
            is_written,
        })
    }

    /// A mistaken value was reported; its default stands in for it.
    fn defaulted<T>(&self, name: &str, pick: impl Fn(Parsed) -> Option<T>) -> Located<T> {
        self.typed(name, pick).unwrap_or_else(|| wrong_kind(name))
    }

    fn scalar(&self, name: &str) -> Option<Located<Parsed>> {
        let key = self.key(name);
        let Kind::Scalar(scalar) = key.kind else {
            wrong_kind(name)
        };
        let node = self.node(key);
        if let Some(value) = node.and_then(|node| self.parse(key, &scalar, node)) {
            let span = node.map_or(self.span, |node| node.span);
            return Some(Located {
                value,
                span,
                is_written: true,
            });
        }
        let Presence::Default(text) = key.presence else {
            return None;
        };
        let value = scalar.parse(text).unwrap_or_else(|_| wrong_kind(name));
        Some(Located {
            value,
            span: self.span,
            is_written: false,
        })
    }

    pub(super) fn parse(&self, key: &Key, scalar: &Scalar, node: &Node) -> Option<Parsed> {
        let Value::Scalar(text) = &node.value else {
            self.wrong_type(key, node, &scalar.what());
            return None;
        };
        match scalar.parse(text) {
            Ok(parsed) => Some(parsed),
            Err(mistake) => {
                self.refuse(key.name, text, node.span, mistake);
                None
            }
        }
    }
}

pub(super) fn wrong_kind(name: &str) -> ! {
    panic!("`{name}` is read as another kind than the table of keys says, or its default is wrong")
}
