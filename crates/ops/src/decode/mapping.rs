//! What is wrong with a mapping as such: keys that are unknown, missing, or of the wrong kind.
//! Never looks at the values themselves.

use super::fields::Fields;
use super::{Key, Mistake, Presence, Table, nearest};
use crate::diagnostic::{Report, Span};
use crate::yaml::{Entry, Node, Value};

/// Longest piece of a key or value that a message repeats.
const SHOWN_CHARS_MAX: usize = 80;

impl<'f> Fields<'f> {
    pub(super) fn open(
        table: &'static Table,
        written: &'f [Entry],
        whose: &str,
        span: Span,
        report: &'f Report<'f>,
    ) -> Self {
        let mut entries = Vec::new();
        for entry in written {
            match table.keys.iter().find(|key| key.name == entry.key) {
                Some(key) => entries.push((key, &entry.node)),
                None => unknown_key(table, entry, whose, report),
            }
        }
        let fields = Self {
            table,
            span,
            entries,
            report,
        };
        for key in table.keys {
            if let (Presence::Required(_), None) = (key.presence, fields.node(key)) {
                let message = format!("{whose} has no `{}`", key.name);
                report.error_with_hint(span, message, format!("add `{}`. {}", key.name, key.doc));
            }
        }
        fields
    }

    pub(super) fn empty(table: &'static Table, span: Span, report: &'f Report<'f>) -> Self {
        Self {
            table,
            span,
            entries: Vec::new(),
            report,
        }
    }

    pub(super) fn refuse(&self, name: &str, text: &str, span: Span, mistake: Mistake) {
        let shown = shown(text);
        let message = if shown.is_empty() {
            format!("`{name}` {}", mistake.message)
        } else {
            format!("`{name}`: `{shown}` {}", mistake.message)
        };
        self.report.error_with_hint(span, message, mistake.hint);
    }

    pub(super) fn wrong_type(&self, key: &Key, node: &Node, expected: &str) {
        match &node.value {
            Value::Invalid => {}
            Value::Null => {
                let message = format!("`{}` has no value", key.name);
                let hint = format!("write {expected}, or leave the key out");
                self.report.error_with_hint(node.span, message, hint);
            }
            other => {
                let message = format!("`{}` must be {expected}, not {}", key.name, other.kind());
                self.report.error(node.span, message);
            }
        }
    }
}

fn unknown_key(table: &Table, entry: &Entry, whose: &str, report: &Report<'_>) {
    let names = || table.keys.iter().map(|key| key.name);
    let hint = match nearest(&entry.key, names()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("known keys: {}", names().collect::<Vec<_>>().join(", ")),
    };
    let shown: String = entry
        .key
        .chars()
        .take(80)
        .filter(|c| !c.is_control())
        .collect();
    report.error_with_hint(
        entry.key_span,
        format!("{whose} has no key `{shown}`"),
        hint,
    );
}

fn shown(text: &str) -> String {
    text.chars()
        .take(SHOWN_CHARS_MAX)
        .filter(|c| !c.is_control())
        .collect()
}
