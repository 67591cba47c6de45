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
        let mut meant = Vec::new();
        for entry in written {
            match table.keys.iter().find(|key| key.name == entry.key) {
                Some(key) => entries.push((key, &entry.node)),
                None => meant.extend(unknown_key(table, entry, whose, report)),
            }
        }
        let fields = Self {
            table,
            span,
            entries,
            report,
        };
        for key in table.keys {
            // A misspelt key is one mistake, not two.
            let is_missing = fields.node(key).is_none() && !meant.contains(&key.name);
            if is_missing && matches!(key.presence, Presence::Required(_)) {
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

/// Returns the key that was meant, if that can be told.
fn unknown_key(
    table: &'static Table,
    entry: &Entry,
    whose: &str,
    report: &Report<'_>,
) -> Option<&'static str> {
    let names = || table.keys.iter().map(|key| key.name);
    let meant = nearest(&entry.key, names());
    let hint = match meant {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("known keys: {}", names().collect::<Vec<_>>().join(", ")),
    };
    let message = format!("{whose} has no key `{}`", shown(&entry.key));
    report.error_with_hint(entry.key_span, message, hint);
    meant
}

fn shown(text: &str) -> String {
    text.chars()
        .take(SHOWN_CHARS_MAX)
        .filter(|c| !c.is_control())
        .collect()
}
