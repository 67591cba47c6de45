//! The annotated reference file of a table: every key, its default, one line of meaning.
//! Never shows a value the decoder would refuse.
//!
//! What may be left out without a default is there as an example, commented out: `#key:`, and deeper
//! lines `#  key:`. Explanations are `# Text`, so one `#` without a single space after it can be removed.

use super::{Key, Kind, Presence, Table};

/// The reference below `header`, which is put on top line by line as an explanation.
pub fn reference(table: &Table, header: &[&str]) -> String {
    let mut lines: Vec<String> = header.iter().map(|line| format!("# {line}")).collect();
    for key in table.keys {
        lines.push(String::new());
        lines.extend(key_lines(key));
    }
    lines
        .iter()
        .map(|line| format!("{}\n", line.trim_end()))
        .collect()
}

fn table_lines(table: &Table) -> Vec<String> {
    table.keys.iter().flat_map(key_lines).collect()
}

fn key_lines(key: &Key) -> Vec<String> {
    let (text, is_optional) = match key.presence {
        Presence::Required(text) | Presence::Default(text) | Presence::Usual(text) => (text, false),
        Presence::Optional(text) => (text, true),
    };
    let mut value = match (&key.kind, text) {
        (Kind::Scalar(_), text) => vec![format!("{}: {text}", key.name)],
        (kind, "") => {
            let mut lines = vec![format!("{}:", key.name)];
            lines.extend(indented(kind_lines(kind)));
            lines
        }
        // A list or table whose example is short enough to be given in one line.
        (_, text) => vec![format!("{}: {text}", key.name)],
    };
    if is_optional {
        value = value.into_iter().map(|line| format!("#{line}")).collect();
    }
    value.insert(0, format!("# {}", key.doc));
    value
}

fn kind_lines(kind: &Kind) -> Vec<String> {
    match kind {
        Kind::Scalar(_) | Kind::Map(_) => Vec::new(),
        Kind::Table(table) | Kind::Switch(table) | Kind::Switches(table) | Kind::Short(table) => {
            table_lines(table)
        }
        Kind::List(inner) => {
            let mut lines = vec!["-".to_owned()];
            lines.extend(indented(kind_lines(inner)));
            lines
        }
        Kind::Named(table, example) => {
            let mut lines = vec![format!("{example}:")];
            lines.extend(indented(table_lines(table)));
            lines
        }
    }
}

fn indented(lines: Vec<String>) -> Vec<String> {
    lines.into_iter().map(|line| format!("  {line}")).collect()
}
