//! Values that may be written in more than one form, and mappings whose names are the user's. Never
//! makes a difference between the forms: the reader sees tables or pairs.

use super::fields::{Fields, wrong_kind};
use super::scalar::Parsed;
use super::{Kind, Located, Mistake, Presence, Table};
use crate::yaml::{Node, Value};

impl<'f> Fields<'f> {
    /// One table or a list of them; none if it is `off` or left out.
    pub fn switches(&self, name: &str) -> Vec<Fields<'f>> {
        let key = self.key(name);
        let Kind::Switches(table) = key.kind else {
            wrong_kind(name)
        };
        let Some(node) = self.node(key) else {
            let is_on = matches!(key.presence, Presence::Default(_));
            let fields = is_on.then(|| Fields::empty(table, self.span, self.report));
            return fields.into_iter().collect();
        };
        let expected = "a mapping, a list of mappings or `off`";
        match &node.value {
            Value::Scalar(text) if text == "off" || text == "false" => Vec::new(),
            Value::Sequence(nodes) => {
                if nodes.is_empty() {
                    let message = format!("`{name}` needs at least one member");
                    let hint = "write `off` for none";
                    self.report.error_with_hint(node.span, message, hint);
                }
                let members = nodes.iter();
                members
                    .filter_map(|node| self.mapping(key, table, node, "a list of mappings"))
                    .collect()
            }
            _ => {
                let fields = self.mapping(key, table, node, expected);
                fields.into_iter().collect()
            }
        }
    }

    /// A table that is there even if left out; a single value in its place is its first key.
    pub fn short(&self, name: &str) -> Fields<'f> {
        let key = self.key(name);
        let Kind::Short(table) = key.kind else {
            wrong_kind(name)
        };
        let fields = self.node(key).and_then(|node| match &node.value {
            Value::Scalar(_) => Some(self.short_form(table, node)),
            _ => self.mapping(key, table, node, "a value or a mapping"),
        });
        fields.unwrap_or_else(|| Fields::empty(table, self.span, self.report))
    }

    /// A mapping from names of the user's choice to single texts, both parsed further by `parse`:
    /// name first. What it refuses is reported where the value stands.
    pub fn map<T>(
        &self,
        name: &str,
        parse: impl Fn(&str, &str) -> Result<T, Mistake>,
    ) -> Vec<Located<T>> {
        let key = self.key(name);
        let Kind::Map(scalar) = key.kind else {
            wrong_kind(name)
        };
        let Some(node) = self.node(key) else {
            return Vec::new();
        };
        let Value::Mapping(entries) = &node.value else {
            self.wrong_type(key, node, "a mapping from names to values");
            return Vec::new();
        };
        let pairs = entries.iter().filter_map(|entry| {
            let text = match &entry.node.value {
                Value::Scalar(text) => text,
                Value::Invalid => return None,
                _ => {
                    let message = format!("`{}` must be a single value", entry.key);
                    self.report.error(entry.key_span, message);
                    return None;
                }
            };
            let parsed = match scalar.parse(text) {
                Ok(Parsed::Text(text)) => parse(&entry.key, &text),
                Ok(_) => wrong_kind(name),
                Err(mistake) => Err(mistake),
            };
            match parsed {
                Ok(value) => Some(Located {
                    value,
                    span: entry.node.span,
                    is_written: true,
                }),
                Err(mistake) => {
                    self.refuse(&entry.key, text, entry.node.span, mistake);
                    None
                }
            }
        });
        pairs.collect()
    }

    /// Whether the table has a key of this name at all.
    pub fn knows(&self, name: &str) -> bool {
        self.table.keys.iter().any(|key| key.name == name)
    }

    /// The table whose first key alone is written, without its name.
    pub(super) fn short_form(&self, table: &'static Table, node: &'f Node) -> Fields<'f> {
        Fields {
            table,
            span: node.span,
            entries: table
                .keys
                .first()
                .map(|key| (key, node))
                .into_iter()
                .collect(),
            report: self.report,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::decode::{Key, Scalar, Text, key_paths, reference, schema};
    use crate::diagnostic::{Report, Source};
    use crate::yaml;

    static ANY: Text = Text {
        what: "a text",
        pattern: "",
    };
    const ANY_TEXT: Scalar = Scalar::Text(&ANY);
    static ROOT: Table = Table {
        keys: &[
            key("checks", Kind::Switches(&CHECK), Presence::Optional("")),
            key("always", Kind::Switches(&CHECK), Presence::Default("")),
            key("log", Kind::Short(&LOG), Presence::Default("")),
            key("pairs", Kind::Map(&ANY_TEXT), Presence::Optional("{a: b}")),
        ],
    };
    const INTERVAL: Scalar = Scalar::Duration(Duration::ZERO, Duration::MAX);
    static CHECK: Table = Table {
        keys: &[key(
            "interval",
            Kind::Scalar(INTERVAL),
            Presence::Default("10s"),
        )],
    };
    static LOG: Table = Table {
        keys: &[
            key("to", Kind::Scalar(ANY_TEXT), Presence::Default("stdout")),
            key(
                "sample",
                Kind::Scalar(Scalar::Count(1, 9)),
                Presence::Default("1"),
            ),
        ],
    };

    const fn key(name: &'static str, kind: Kind, presence: Presence) -> Key {
        Key {
            name,
            kind,
            presence,
            doc: "For a test.",
        }
    }

    /// What was read, and the mistakes.
    fn decode<T>(text: &str, read: impl FnOnce(&Fields<'_>) -> T) -> (T, String) {
        let source = Source::new("f", text);
        let report = Report::new(&source);
        let root = yaml::load(&report, &|_| None).unwrap();
        let value = read(&Fields::root(&ROOT, &root, &report));
        (value, report.finish().0.to_string())
    }

    fn intervals(text: &str) -> (Vec<u64>, String) {
        decode(text, |fields| {
            let tables = fields.switches("checks");
            let seconds = |table: &Fields<'_>| table.duration("interval").value.as_secs();
            tables.iter().map(seconds).collect()
        })
    }

    #[test]
    fn one_table_a_list_of_them_and_off_are_read_alike() {
        for (text, expected) in [
            ("checks: {interval: 1s}", vec![1]),
            ("checks: [{interval: 1s}, {}]", vec![1, 10]),
            ("checks: off", vec![]),
            ("checks: false", vec![]),
            ("log: x", vec![]),
        ] {
            assert_eq!(intervals(text), (expected, String::new()), "{text}");
        }
        let (count, _) = decode("log: x", |fields| fields.switches("always").len());
        assert_eq!(count, 1, "there by default");
    }

    #[test]
    fn other_forms_of_tables_are_mistakes_with_a_place() {
        for (text, expected) in [
            ("checks: on", "1:9"),
            ("checks: []", "write `off`"),
            ("checks: [{interval: 1s}, 5s]", "1:26"),
            ("checks: [{pace: 1s}]", "1:11"),
        ] {
            let (_, errors) = intervals(text);
            assert!(errors.contains(expected), "{text}: {errors}");
        }
    }

    #[test]
    fn single_value_in_place_of_a_table_is_its_first_key() {
        for (text, to, sample) in [
            ("log: here", "here", 1),
            ("log: {to: there, sample: 2}", "there", 2),
            ("checks: off", "stdout", 1),
        ] {
            let (read, errors) = decode(text, |fields| {
                let log = fields.short("log");
                let to = log.text("to", |text| Ok(text.to_owned())).unwrap();
                (to.value, log.number::<u8>("sample").value)
            });
            assert_eq!((read, errors), ((to.to_owned(), sample), String::new()));
        }
        let (_, errors) = decode("log: [a]", |fields| fields.short("log").span());
        assert!(errors.contains("a value or a mapping"), "{errors}");
    }

    fn pairs(text: &str) -> (Vec<(String, String)>, String) {
        decode(text, |fields| {
            let pairs = fields.map("pairs", |name, value| match value {
                "bad" => Err(Mistake::new("is bad", "write good")),
                _ => Ok((name.to_owned(), value.to_owned())),
            });
            pairs.into_iter().map(|pair| pair.value).collect()
        })
    }

    #[test]
    fn pairs_keep_their_order_and_are_judged_by_the_reader() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let (read, errors) = pairs("pairs: {z: 1, a: x y}");
        assert_eq!(
            (read, errors.as_str()),
            (vec![pair("z", "1"), pair("a", "x y")], "")
        );
        assert_eq!(pairs("log: x"), (vec![], String::new()));
        for (text, expected) in [
            ("pairs: {a: bad}", "`a`: `bad` is bad"),
            ("pairs: {a: \"\"}", "is empty"),
            ("pairs: {a: [1]}", "single value"),
            ("pairs: 5", "a mapping from names"),
        ] {
            let (read, errors) = pairs(text);
            assert!(
                read.is_empty() && errors.contains(expected),
                "{text}: {errors}"
            );
        }
    }

    #[test]
    fn reference_schema_and_paths_know_the_forms() {
        let reference = reference(&ROOT, &[]);
        let lines: Vec<_> = reference.lines().map(str::trim).collect();
        assert!(lines.contains(&"#  interval: 10s"), "{reference}");
        assert!(lines.contains(&"#pairs: {a: b}"), "{reference}");
        let schema = schema(&ROOT, "Test");
        let checks = &schema["properties"]["checks"]["anyOf"];
        assert_eq!(checks[0]["type"], "object");
        assert_eq!(
            (&checks[1]["type"], &checks[1]["minItems"]),
            (&json!("array"), &json!(1))
        );
        assert_eq!(checks[2], json!({ "enum": ["off", false] }));
        let pairs = &schema["properties"]["pairs"];
        assert_eq!(pairs["additionalProperties"]["type"], "string");
        let paths = key_paths(&ROOT);
        assert!(
            paths.iter().any(|path| path == "checks.interval"),
            "{paths:?}"
        );
        assert!(paths.iter().any(|path| path == "pairs"), "{paths:?}");
    }
}
