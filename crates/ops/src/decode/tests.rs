//! The decoder over a small table of its own, good input and bad.

use serde_json::json;

use super::*;
use crate::diagnostic::{Diagnostics, Report, Source};
use crate::yaml::{self, Node};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

static NAME: Text = Text {
    what: "a name",
    pattern: "^[a-z]+$",
};

const fn key(name: &'static str, kind: Kind, presence: Presence, doc: &'static str) -> Key {
    Key {
        name,
        kind,
        presence,
        doc,
    }
}

static ROOT: Table = Table {
    keys: &[
        key(
            "name",
            Kind::Scalar(Scalar::Text(&NAME)),
            Presence::Required("edge"),
            "Its name.",
        ),
        key(
            "count",
            Kind::Scalar(Scalar::Count(1, 9)),
            Presence::Default("3"),
            "How many.",
        ),
        key(
            "flag",
            Kind::Scalar(Scalar::Flag),
            Presence::Default("true"),
            "Whether.",
        ),
        key(
            "token",
            Kind::Scalar(Scalar::Secret),
            Presence::Optional("${TOKEN}"),
            "A secret.",
        ),
        key(
            "limits",
            Kind::Table(&LIMITS),
            Presence::Default(""),
            "Limits.",
        ),
        key(
            "health",
            Kind::Switch(&HEALTH),
            Presence::Optional(""),
            "Checks.",
        ),
        key(
            "admin",
            Kind::Switch(&ADMIN),
            Presence::Default(""),
            "Administration.",
        ),
        key(
            "networks",
            Kind::List(&NETWORK),
            Presence::Optional("[10.0.0.0/8]"),
            "Trusted.",
        ),
        key(
            "points",
            Kind::List(&POINT),
            Presence::Required(""),
            "Where to.",
        ),
        key(
            "groups",
            Kind::Named(&LIMITS, "first"),
            Presence::Optional(""),
            "By name.",
        ),
    ],
};
static NETWORK: Kind = Kind::Scalar(Scalar::Network);
static POINT: Kind = Kind::Short(&POINT_TABLE);
static POINT_TABLE: Table = Table {
    keys: &[
        key(
            "address",
            Kind::Scalar(Scalar::Address),
            Presence::Required("10.0.0.1:80"),
            "Where.",
        ),
        key(
            "weight",
            Kind::Scalar(Scalar::Count(1, 100)),
            Presence::Default("1"),
            "Share.",
        ),
    ],
};
static LIMITS: Table = Table {
    keys: &[
        key(
            "size",
            Kind::Scalar(Scalar::Size(1, 1 << 20)),
            Presence::Default("32KiB"),
            "Size.",
        ),
        key(
            "algorithm",
            Kind::Scalar(Scalar::Word(&["a", "b"])),
            Presence::Default("a"),
            "How.",
        ),
    ],
};
static HEALTH: Table = Table {
    keys: &[
        key(
            "interval",
            Kind::Scalar(Scalar::Duration(SECOND, HOUR)),
            Presence::Default("10s"),
            "Pause.",
        ),
        key(
            "expect",
            Kind::Scalar(Scalar::StatusRange),
            Presence::Default("200-299"),
            "Good.",
        ),
    ],
};
static ADMIN: Table = Table {
    keys: &[key(
        "address",
        Kind::Scalar(Scalar::Address),
        Presence::Default("127.0.0.1:2019"),
        "Where.",
    )],
};

fn decode<T>(text: &str, read: impl FnOnce(&Fields<'_>) -> T) -> (T, Diagnostics) {
    let source = Source::new("f", text);
    let report = Report::new(&source);
    let root: Node = yaml::load(&report, &|_| None).expect("the YAML itself is sound");
    let value = read(&Fields::root(&ROOT, &root, &report));
    (value, report.finish().0)
}

fn good<T>(text: &str, read: impl FnOnce(&Fields<'_>) -> T) -> T {
    let (value, errors) = decode(text, read);
    assert!(errors.is_empty(), "{errors}");
    value
}

/// The one error as `line:column: message | hint`.
fn bad<T>(text: &str, read: impl FnOnce(&Fields<'_>) -> T) -> String {
    let (_, errors) = decode(text, read);
    assert_eq!(errors.len(), 1, "{errors}");
    let error = errors.iter().next().unwrap();
    let hint = error.hint.as_deref().unwrap_or_default();
    format!(
        "{}:{}: {} | {hint}",
        error.line, error.column, error.message
    )
}

const MINIMAL: &str = "name: edge\npoints: [10.0.0.1:80]\n";

fn with(more: &str) -> String {
    format!("{MINIMAL}{more}")
}

fn any_text(text: &str) -> Result<String, Mistake> {
    Ok(text.to_owned())
}

#[test]
fn defaults_come_from_the_table_and_are_marked() {
    good(MINIMAL, |fields| {
        let count = fields.number::<u8>("count");
        assert_eq!((count.value, count.is_written), (3, false));
        assert!(fields.flag("flag").value);
        assert!(!fields.is_written("flag"));
        assert!(fields.secret("token").is_none());
        let limits = fields.table("limits");
        assert_eq!(limits.number::<usize>("size").value, 32_768);
        assert_eq!(limits.word("algorithm").value, "a");
        assert!(fields.networks("networks").is_empty());
        assert!(fields.named("groups").is_empty());
    });
}

#[test]
fn written_values_are_used_and_located() {
    let text = with("count: 5\nflag: off\ntoken: hunter2\nlimits: {size: 1KiB, algorithm: b}\n");
    good(&text, |fields| {
        let count = fields.number::<u8>("count");
        assert_eq!(
            (count.value, count.is_written, count.span.line),
            (5, true, 3)
        );
        assert!(!fields.flag("flag").value);
        assert_eq!(fields.secret("token").unwrap().value.expose(), "hunter2");
        let limits = fields.table("limits");
        assert_eq!(limits.number::<usize>("size").value, 1024);
        assert_eq!(limits.word("algorithm").value, "b");
        assert_eq!(fields.span_of("count").line, 3);
    });
}

#[test]
fn switch_follows_its_presence_when_left_out() {
    good(MINIMAL, |fields| {
        assert!(fields.switch("health").is_none());
        let admin = fields.switch("admin").unwrap();
        assert_eq!(admin.address("address").value.to_string(), "127.0.0.1:2019");
    });
}

#[test]
fn switch_is_off_by_either_word_and_on_by_a_mapping() {
    for off in ["off", "false"] {
        good(&with(&format!("health: {off}\nadmin: {off}\n")), |fields| {
            assert!(fields.switch("health").is_none() && fields.switch("admin").is_none());
        });
    }
    good(&with("health: {}\n"), |fields| {
        let health = fields.switch("health").unwrap();
        assert_eq!(health.duration("interval").value, SECOND * 10);
        assert_eq!(health.statuses("expect").value, 200..=299);
    });
}

#[test]
fn switch_refuses_other_words() {
    let error = bad(&with("health: no\n"), |fields| {
        assert!(fields.switch("health").is_none())
    });
    assert!(
        error.starts_with("3:9: `health` must be a mapping or `off`, not a single"),
        "{error}"
    );
}

#[test]
fn short_form_stands_for_the_first_key() {
    let text = "name: x\npoints: [10.0.0.1:80, {address: 10.0.0.2:80, weight: 7}]";
    good(text, |fields| {
        let points: Vec<_> = fields
            .tables("points")
            .iter()
            .map(|point| {
                let address = point.optional_address("address").unwrap().value.to_string();
                (address, point.number::<u16>("weight").value)
            })
            .collect();
        let expected = [("10.0.0.1:80".to_owned(), 1), ("10.0.0.2:80".to_owned(), 7)];
        assert_eq!(points, expected);
    });
}

#[test]
fn unknown_key_names_the_nearest() {
    let error = bad(&with("cuont: 3\n"), |_| ());
    assert_eq!(
        error,
        "3:1: the file has no key `cuont` | did you mean `count`?"
    );
}

#[test]
fn unknown_key_far_from_all_lists_them() {
    let error = bad(&with("limits: {zzz: 3}\n"), |fields| {
        drop(fields.table("limits"))
    });
    assert_eq!(
        error,
        "3:10: `limits` has no key `zzz` | known keys: size, algorithm"
    );
}

#[test]
fn missing_key_says_what_it_means() {
    let error = bad("points: [10.0.0.1:80]\n", |fields| {
        fields.text("name", any_text).is_none()
    });
    assert_eq!(error, "1:1: the file has no `name` | add `name`. Its name.");
}

#[test]
fn misspelt_required_key_is_one_mistake() {
    let error = bad("nmae: x\npoints: [10.0.0.1:80]\n", |_| ());
    assert!(
        error.contains("no key `nmae` | did you mean `name`?"),
        "{error}"
    );
}

#[test]
fn missing_key_of_a_list_member_is_located_there() {
    let error = bad(
        "name: x\npoints:\n  - 10.0.0.1:80\n  - weight: 2\n",
        |fields| {
            fields.tables("points");
        },
    );
    assert!(
        error.starts_with("4:5: an entry of `points` has no `address`"),
        "{error}"
    );
}

#[test]
fn mistaken_value_is_shown_and_replaced_by_the_default() {
    let error = bad(&with("count: ten\n"), |fields| {
        assert_eq!(fields.number::<u8>("count").value, 3);
    });
    assert!(
        error.starts_with("3:8: `count`: `ten` is not a whole number | digits"),
        "{error}"
    );
}

#[test]
fn mistaken_value_without_default_is_none() {
    let error = bad("name: x\npoints: [ten]\n", |fields| {
        assert!(
            fields.tables("points")[0]
                .optional_address("address")
                .is_none()
        );
    });
    assert!(
        error.starts_with("2:10: `address`: `ten` is not an address"),
        "{error}"
    );
}

#[test]
fn text_is_judged_by_its_reader() {
    let error = bad(&with(""), |fields| {
        let refuse = |_: &str| Err::<(), _>(Mistake::new("is odd", "write another"));
        assert!(fields.text("name", refuse).is_none());
    });
    assert_eq!(error, "1:7: `name`: `edge` is odd | write another");
}

#[test]
fn every_wrong_type_is_told() {
    type Read = fn(&Fields<'_>);
    let cases: [(&str, Read, &str); 8] = [
        (
            "count: [1]",
            |f| assert_eq!(f.number::<u8>("count").value, 3),
            "`count` must be a whole number, not a list",
        ),
        (
            "flag: {a: 1}",
            |f| assert!(f.flag("flag").value),
            "`flag` must be `true` or `false`, not a mapping",
        ),
        (
            "limits: 5",
            |f| drop(f.table("limits")),
            "`limits` must be a mapping, not a single value",
        ),
        (
            "health: [1]",
            |f| drop(f.switch("health")),
            "`health` must be a mapping or `off`, not a list",
        ),
        (
            "networks: 10.0.0.0/8",
            |f| drop(f.networks("networks")),
            "`networks` must be a list, not",
        ),
        (
            "networks: [[x]]",
            |f| drop(f.networks("networks")),
            "`networks` must be a network such",
        ),
        (
            "groups: [a]",
            |f| drop(f.named("groups")),
            "`groups` must be a mapping from names, not a",
        ),
        (
            "groups: {a: 5}",
            |f| drop(f.named("groups")),
            "`a` must be a mapping, not a single value",
        ),
    ];
    for (text, read, message) in cases {
        let error = bad(&with(text), read);
        assert!(error.contains(message), "{error}");
        assert!(error.starts_with("3:"), "{error}");
    }
    let error = bad("name: x\npoints: [[1]]", |f| drop(f.tables("points")));
    assert!(
        error.contains("`points` must be a list of values or mappings, not a list"),
        "{error}"
    );
    let error = bad("name: x\npoints: {a: 1}", |f| drop(f.tables("points")));
    assert!(
        error.contains("`points` must be a list, not a mapping"),
        "{error}"
    );
}

#[test]
fn key_without_value_is_located_at_the_key() {
    let error = bad(&with("count:\n"), |fields| {
        fields.number::<u8>("count").value
    });
    assert_eq!(
        error,
        "3:1: `count` has no value | write a whole number, or leave the key out"
    );
}

#[test]
fn required_lists_need_a_member() {
    let error = bad("name: x\npoints: []\n", |fields| {
        drop(fields.tables("points"))
    });
    assert!(
        error.contains("`points` needs at least one member"),
        "{error}"
    );
}

#[test]
fn optional_lists_and_sets_may_be_empty() {
    good(&with("networks: []\ngroups: {}\n"), |fields| {
        assert!(fields.networks("networks").is_empty() && fields.named("groups").is_empty());
    });
}

#[test]
fn named_tables_keep_names_and_places() {
    good(&with("groups:\n  a: {size: 1}\n  b: {}\n"), |fields| {
        let groups = fields.named("groups");
        let names: Vec<_> = groups
            .iter()
            .map(|(name, _)| (name.value.as_str(), name.span.line))
            .collect();
        assert_eq!(names, [("a", 4), ("b", 5)]);
        assert_eq!(groups[0].1.number::<usize>("size").value, 1);
        assert_eq!(groups[1].1.number::<usize>("size").value, 32_768);
    });
}

#[test]
fn root_that_is_no_mapping_lists_the_keys() {
    let error = bad("- a\n", |_| ());
    assert!(
        error.contains("must be a mapping, not a list | begin lines with one of: name"),
        "{error}"
    );
}

#[test]
fn all_mistakes_are_told_at_once() {
    let text = "count: 0\nflag: maybe\nlimit: 1\nlimits: {size: big, algorithm: c}\n\
                networks: [10.1.0.0/8, x]\npoints: [y, {weight: 0}]\n";
    let (_, errors) = decode(text, |fields| {
        fields.number::<u8>("count");
        fields.flag("flag");
        let limits = fields.table("limits");
        limits.number::<u64>("size");
        limits.word("algorithm");
        fields.networks("networks");
        for point in fields.tables("points") {
            point.optional_address("address");
            point.number::<u16>("weight");
        }
    });
    let lines: Vec<_> = errors.iter().map(|error| error.line).collect();
    assert_eq!(lines, [1, 1, 2, 3, 4, 4, 5, 5, 6, 6, 6], "{errors}");
}

#[test]
fn reported_yaml_mistakes_are_not_told_twice() {
    let (_, errors) = decode(&with("count: ${NONE}\nlimits: *x\n"), |fields| {
        fields.number::<u8>("count");
        fields.table("limits").number::<u64>("size");
    });
    assert_eq!(errors.len(), 2, "{errors}");
}

#[test]
fn secret_is_masked_in_the_line_of_another_mistake() {
    let (_, errors) = decode(
        "{name: x, points: [10.0.0.1:80], token: hunter2, count: 0}",
        |fields| {
            fields.secret("token");
            fields.number::<u8>("count");
        },
    );
    let text = errors.to_string();
    assert!(
        text.contains("token: *******") && !text.contains("hunter2"),
        "{text}"
    );
}

#[test]
fn key_paths_list_every_key_with_its_place() {
    let paths = key_paths(&ROOT);
    for path in [
        "name",
        "limits.size",
        "health.interval",
        "points[].weight",
        "groups.<name>.size",
    ] {
        assert!(
            paths.iter().any(|known| known == path),
            "{path} in {paths:?}"
        );
    }
    assert_eq!(paths.len(), 19);
}

/// Removes the mark of every example line, as the header of a reference tells people to.
fn uncomment(reference: &str) -> String {
    let mut text = String::new();
    for line in reference.lines() {
        let mut line = line.to_owned();
        while let Some(at) = line.find('#').filter(|at| line[..*at].trim().is_empty()) {
            let rest = &line[at + 1..];
            let is_explanation = rest.starts_with(' ') && !rest.starts_with("  ");
            if is_explanation {
                break;
            }
            line.remove(at);
        }
        text.push_str(&line);
        text.push('\n');
    }
    text
}

fn read_all(fields: &Fields<'_>) {
    fields.text("name", any_text);
    fields.number::<u8>("count");
    fields.flag("flag");
    fields.secret("token");
    fields.table("limits").number::<u64>("size");
    if let Some(health) = fields.switch("health") {
        health.duration("interval");
        health.statuses("expect");
    }
    fields.networks("networks");
    for point in fields.tables("points") {
        assert!(point.optional_address("address").is_some());
    }
    fields.named("groups");
}

#[test]
fn reference_is_a_sound_file() {
    let text = reference(&ROOT, &["Reference."]);
    assert!(
        text.starts_with("# Reference.\n\n# Its name.\nname: edge\n"),
        "{text}"
    );
    good(&text, read_all);
}

#[test]
fn reference_without_comment_marks_has_every_key_and_is_sound() {
    let text = uncomment(&reference(&ROOT, &[])).replace("${TOKEN}", "token");
    good(&text, |fields| {
        read_all(fields);
        for key in ROOT.keys {
            assert!(fields.is_written(key.name), "{}", key.name);
        }
        assert_eq!(
            fields.switch("health").unwrap().duration("interval").value,
            SECOND * 10
        );
        assert_eq!(fields.named("groups")[0].0.value, "first");
    });
}

#[test]
fn schema_describes_kinds_defaults_and_requirements() {
    let schema = schema(&ROOT, "Test");
    assert_eq!(schema["title"], "Test");
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(schema["required"], json!(["name", "points"]));
    let properties = &schema["properties"];
    assert_eq!(properties["count"]["default"], 3);
    assert_eq!(properties["flag"]["default"], true);
    assert_eq!(
        properties["count"]["anyOf"][0],
        json!({"type": "integer", "minimum": 1, "maximum": 9})
    );
    assert_eq!(properties["count"]["anyOf"][1]["$ref"], "#/$defs/variable");
    assert_eq!(properties["points"]["minItems"], 1);
    assert_eq!(
        properties["health"]["anyOf"][1],
        json!({"enum": ["off", false]})
    );
    assert_eq!(properties["name"]["description"], "Its name.");
    assert!(properties["groups"]["additionalProperties"]["properties"]["size"].is_object());
}

#[test]
#[should_panic(expected = "no `nothing`")]
fn reading_a_key_outside_the_table_is_a_bug() {
    decode(MINIMAL, |fields| fields.flag("nothing"));
}
