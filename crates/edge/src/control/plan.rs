//! What tells two configurations apart, by names and places as the file has them. Never shows a secret,
//! and asks nobody but the two texts.

use std::collections::BTreeMap;

use portcullis_ops::decode::{Kind, Scalar, Table};
use portcullis_ops::diagnostic::{Report, Source};
use portcullis_ops::tells_of_secret;
use portcullis_ops::yaml::{self, Lookup, Node, Value};
use serde_json::json;

use crate::config::{self, Config};

/// What would become of the configuration in force.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// In the order of the new file; what is removed comes last in its place.
    pub changes: Vec<Change>,
    /// What will not be as the file says before the next start.
    pub warnings: Vec<String>,
}

/// One difference.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Where: `clusters.auth.endpoints[10.0.0.1:8000]`, `routes[login].path`.
    pub path: String,
    /// What is in force; `None` if it is added.
    pub before: Option<serde_json::Value>,
    /// What would be; `None` if it is removed.
    pub after: Option<serde_json::Value>,
}

impl Change {
    /// In one word.
    pub fn kind(&self) -> &'static str {
        match (&self.before, &self.after) {
            (None, _) => "added",
            (_, None) => "removed",
            _ => "changed",
        }
    }
}

impl Plan {
    /// Both texts must have been read without mistakes, into these configurations.
    pub(super) fn between(before: &Read, after: &Read, running: &Config, wanted: &Config) -> Self {
        let mut changes = Vec::new();
        let shape = Shape::Table(config::table());
        let pairs = (before.view(), after.view());
        if before.is_known() && after.is_known() {
            compare("", shape, pairs, &mut changes);
        }
        let mut warnings = Vec::new();
        if running.workers != wanted.workers {
            warnings.push("workers: takes effect with the next start".to_owned());
        }
        Self { changes, warnings }
    }

    /// For the operator's tools.
    pub fn to_json(&self) -> serde_json::Value {
        let change = |one: &Change| {
            json!({
                "path": one.path,
                "kind": one.kind(),
                "before": one.before,
                "after": one.after,
            })
        };
        let changes: Vec<_> = self.changes.iter().map(change).collect();
        json!({ "changes": changes, "warnings": self.warnings })
    }
}

/// What a text says: secrets are hidden, and values from the environment are the names of their
/// variables. The text must have been read without mistakes.
pub(super) fn told(text: &str) -> serde_json::Value {
    let read = Read::again(text);
    let shape = Shape::Table(config::table());
    let told = read.view().map(|view| shown(shape, "", view.written));
    told.unwrap_or_default()
}

/// A text as it is meant, and as it is written: with the names of variables instead of what they hold.
pub(super) struct Read {
    meant: Option<Node>,
    /// `None` where both are the same.
    written: Option<Node>,
}

impl Read {
    /// What has been read of a text already: large files take milliseconds.
    pub(super) fn new(text: &str, meant: Option<Node>) -> Self {
        let written = || load(text, &|name| Some(format!("${{{name}}}")));
        Self {
            meant,
            written: text.contains("${").then(written).flatten(),
        }
    }

    pub(super) fn again(text: &str) -> Self {
        Self::new(text, load(text, &|name| std::env::var(name).ok()))
    }

    fn view(&self) -> Option<View<'_>> {
        let meant = self.meant.as_ref()?;
        Some(View {
            meant,
            written: self.written.as_ref().unwrap_or(meant),
        })
    }

    fn is_known(&self) -> bool {
        self.meant.is_some()
    }
}

fn load(text: &str, lookup: &Lookup<'_>) -> Option<Node> {
    let source = Source::new("", text);
    let report = Report::new(&source);
    yaml::load(&report, lookup)
}

/// One value, twice.
#[derive(Clone, Copy)]
struct View<'a> {
    meant: &'a Node,
    written: &'a Node,
}

/// What the table of keys says of a value.
#[derive(Clone, Copy)]
enum Shape {
    Table(&'static Table),
    Kind(&'static Kind),
    /// Of one header field or the like: its name may tell that it is a secret.
    Entry(&'static Scalar),
    Unknown,
}

impl Shape {
    /// Of what stands behind a key.
    fn of_key(self, name: &str) -> Self {
        let kind = match self {
            Self::Table(table) => return Self::of_key_in(table, name),
            Self::Kind(kind) => kind,
            Self::Entry(_) | Self::Unknown => return Self::Unknown,
        };
        match kind {
            Kind::Table(table)
            | Kind::Switch(table)
            | Kind::Switches(table)
            | Kind::Short(table) => Self::of_key_in(table, name),
            Kind::Named(table, _) => Self::Table(table),
            Kind::Map(scalar) => Self::Entry(scalar),
            Kind::Scalar(_) | Kind::List(_) => Self::Unknown,
        }
    }

    fn of_key_in(table: &'static Table, name: &str) -> Self {
        let key = table.keys.iter().find(|key| key.name == name);
        key.map_or(Self::Unknown, |key| Self::Kind(&key.kind))
    }

    /// Of what stands in a list.
    fn of_item(self) -> Self {
        match self {
            Self::Kind(Kind::List(inner)) => Self::Kind(inner),
            Self::Kind(Kind::Switches(table)) => Self::Table(table),
            other => other,
        }
    }

    fn is_secret(self) -> bool {
        matches!(
            self,
            Self::Kind(Kind::Scalar(Scalar::Secret)) | Self::Entry(Scalar::Secret)
        )
    }
}

/// `None` is not there at all.
type Pair<'a> = (Option<View<'a>>, Option<View<'a>>);

fn compare(path: &str, shape: Shape, pair: Pair<'_>, changes: &mut Vec<Change>) {
    if let (Some(before), Some(after)) = pair {
        if is_same(before.meant, after.meant) {
            return;
        }
        if let (Some(old), Some(new)) = (parts(before), parts(after))
            && old.is_list == new.is_list
        {
            return compare_parts(path, shape, &old, &new, changes);
        }
    }
    let shown = |view: Option<View<'_>>| view.map(|view| shown(shape, name_of(path), view.written));
    changes.push(Change {
        path: path.to_owned(),
        before: shown(pair.0),
        after: shown(pair.1),
    });
}

fn compare_parts(
    path: &str,
    shape: Shape,
    old: &Parts<'_>,
    new: &Parts<'_>,
    changes: &mut Vec<Change>,
) {
    let known: BTreeMap<&str, View<'_>> = old
        .views
        .iter()
        .map(|(name, view)| (name.as_str(), *view))
        .collect();
    let mut left = known.clone();
    let inside = |name: &str| match new.is_list {
        true => (format!("{path}[{name}]"), shape.of_item()),
        false if path.is_empty() => (name.to_owned(), shape.of_key(name)),
        false => (format!("{path}.{name}"), shape.of_key(name)),
    };
    for (name, view) in &new.views {
        let before = left.remove(name.as_str());
        let (path, shape) = inside(name);
        compare(&path, shape, (before, Some(*view)), changes);
    }
    for (name, view) in &old.views {
        if left.contains_key(name.as_str()) {
            let (path, shape) = inside(name);
            compare(&path, shape, (Some(*view), None), changes);
        }
    }
}

/// What a value consists of, by names.
struct Parts<'a> {
    views: Vec<(String, View<'a>)>,
    is_list: bool,
}

fn parts(view: View<'_>) -> Option<Parts<'_>> {
    match (&view.meant.value, &view.written.value) {
        (Value::Mapping(meant), Value::Mapping(written)) => {
            let both = meant.iter().zip(written);
            let entry = |(meant, written)| view_of_entry(meant, written);
            Some(Parts {
                views: both.map(entry).collect(),
                is_list: false,
            })
        }
        (Value::Sequence(meant), Value::Sequence(written)) => {
            let mut seen = BTreeMap::new();
            let both = meant.iter().zip(written);
            let item = |(meant, written)| {
                let name = name_of_item(meant, written);
                // The same may stand in a list twice.
                let count = seen.entry(name.clone()).and_modify(|count| *count += 1);
                let name = match *count.or_insert(1) {
                    1 => name,
                    count => format!("{name} #{count}"),
                };
                (name, View { meant, written })
            };
            Some(Parts {
                views: both.map(item).collect(),
                is_list: true,
            })
        }
        _ => None,
    }
}

fn view_of_entry<'a>(meant: &'a yaml::Entry, written: &'a yaml::Entry) -> (String, View<'a>) {
    let view = View {
        meant: &meant.node,
        written: &written.node,
    };
    (meant.key.clone(), view)
}

/// What people know a member of a list by: its name, else its address or another key that says which it
/// is, else the value itself.
fn name_of_item(meant: &Node, written: &Node) -> String {
    match &meant.value {
        Value::Mapping(entries) => {
            let of = |key: &&str| {
                let entry = entries.iter().find(|entry| entry.key == **key)?;
                match &entry.node.value {
                    Value::Scalar(text) => Some(text.clone()),
                    _ => None,
                }
            };
            NAMING.iter().find_map(of).unwrap_or_default()
        }
        Value::Scalar(_) => match &written.value {
            Value::Scalar(text) => text.clone(),
            _ => String::new(),
        },
        _ => String::new(),
    }
}

/// Keys that tell members of lists apart, best first.
const NAMING: [&str; 6] = ["name", "address", "cluster", "sni", "cert", "status"];

fn is_same(one: &Node, other: &Node) -> bool {
    match (&one.value, &other.value) {
        (Value::Sequence(one), Value::Sequence(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(a, b)| is_same(a, b))
        }
        (Value::Mapping(one), Value::Mapping(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .zip(other)
                    .all(|(a, b)| a.key == b.key && is_same(&a.node, &b.node))
        }
        (one, other) => one == other,
    }
}

fn shown(shape: Shape, name: &str, node: &Node) -> serde_json::Value {
    if shape.is_secret() || (matches!(shape, Shape::Entry(_)) && tells_of_secret(name)) {
        return json!("(hidden)");
    }
    match &node.value {
        Value::Null | Value::Invalid => serde_json::Value::Null,
        Value::Scalar(text) => json!(text),
        Value::Sequence(items) => {
            let items = items.iter().map(|item| shown(shape.of_item(), name, item));
            items.collect()
        }
        Value::Mapping(entries) => {
            let entry = |entry: &yaml::Entry| {
                let value = shown(shape.of_key(&entry.key), &entry.key, &entry.node);
                (entry.key.clone(), value)
            };
            let entries = entries.iter().map(entry);
            serde_json::Value::Object(entries.collect())
        }
    }
}

/// The last step of a path.
fn name_of(path: &str) -> &str {
    path.rsplit(['.', '[']).next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::fake;

    const BASE: &str = "
listeners: [{ name: web, address: 127.0.0.1:80 }]
clusters:
  one: { endpoints: [10.0.0.1:80, 10.0.0.2:80] }
routes: [{ name: all, path: /, cluster: one }]
";

    fn changes(before: &str, after: &str) -> Vec<(String, &'static str)> {
        let changes = plan(before, after).changes;
        changes
            .iter()
            .map(|one| (one.path.clone(), one.kind()))
            .collect()
    }

    fn plan(before: &str, after: &str) -> Plan {
        let config = || fake::config(fake::cluster(&["127.0.0.1:9"]));
        let (before, after) = (Read::again(before), Read::again(after));
        Plan::between(&before, &after, &config(), &config())
    }

    #[test]
    fn the_same_words_in_another_layout_change_nothing() {
        let block = BASE.replace(
            "[10.0.0.1:80, 10.0.0.2:80]",
            "['10.0.0.1:80', \"10.0.0.2:80\"]",
        );
        assert_eq!(plan(BASE, &format!("# changed\n{block}")), Plan::default());
    }

    #[test]
    fn members_of_lists_are_known_by_their_names() {
        let after = BASE
            .replace("10.0.0.1:80, 10.0.0.2:80", "10.0.0.2:80, 10.0.0.3:80")
            .replace("path: /,", "path: /app,")
            .replace(
                "[{ name: web",
                "[{ name: admin, address: 127.0.0.1:81 }, { name: web",
            );
        let expected = [
            ("listeners[admin]", "added"),
            ("clusters.one.endpoints[10.0.0.3:80]", "added"),
            ("clusters.one.endpoints[10.0.0.1:80]", "removed"),
            ("routes[all].path", "changed"),
        ];
        let expected = expected.map(|(path, kind)| (path.to_owned(), kind));
        assert_eq!(changes(BASE, &after), expected);
    }

    #[test]
    fn values_are_told_before_and_after() {
        let after = BASE.replace("path: /,", "path: /app,");
        let plan = plan(BASE, &after);
        assert_eq!(
            plan.to_json()["changes"][0],
            json!({ "path": "routes[all].path", "kind": "changed", "before": "/", "after": "/app" })
        );
    }

    #[test]
    fn secrets_are_never_told() {
        let with = |token: &str, field: &str| {
            format!(
                "{BASE}admin: {{ token: {token} }}\nissuers: {{ main: {{ revocations: {{ token: {token} }} }} }}\n\
                 clusters2: {field}\n"
            )
        };
        let secret = "0123456789abcdef0123456789abcdef";
        let added = plan(BASE, &with(secret, "a"));
        let told = added.to_json().to_string();
        assert!(!told.contains(secret), "{told}");
        let other = plan(&with(secret, "a"), &with("another", "a"));
        assert_eq!(other.changes.len(), 2);
        assert!(
            other
                .changes
                .iter()
                .all(|one| one.before == Some(json!("(hidden)")))
        );
    }

    #[test]
    fn variables_are_told_by_their_names() {
        let home = std::env::var("PATH").unwrap();
        let plan = plan(BASE, &format!("{BASE}zone: \"${{PATH}}\"\n"));
        let told = plan.to_json().to_string();
        assert!(told.contains("${PATH}") && !told.contains(&home), "{told}");
    }

    #[test]
    fn the_number_of_threads_waits_for_the_next_start() {
        let config = |workers| Config {
            workers: std::num::NonZeroUsize::new(workers),
            ..fake::config(fake::cluster(&["127.0.0.1:9"]))
        };
        let read = Read::again(BASE);
        let plan = Plan::between(&read, &read, &config(1), &config(2));
        assert_eq!(plan.warnings.len(), 1);
        assert!(plan.changes.is_empty());
    }
}
