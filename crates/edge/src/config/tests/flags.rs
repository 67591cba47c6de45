//! Feature flags: what the file and the environment say of them.

use portcullis_traffic::flag::{FlagId, Percent, Setting};

use super::*;

/// [`SMALL`] with flags, each asked for by a route.
fn with(flags: &[(&str, &str)]) -> String {
    let mut text = SMALL.to_owned();
    for (name, _) in flags {
        text.push_str(&format!(
            "  - {{ path: /{name}, flags: [{name}], cluster: auth }}\n"
        ));
    }
    text.push_str("flags:\n");
    for (name, keys) in flags {
        text.push_str(&format!("  {name}: {{ {keys} }}\n"));
    }
    text
}

fn share(hundredths: u16) -> Setting {
    Setting::Share(Percent::from_hundredths(hundredths).unwrap())
}

#[test]
fn flags_stand_in_the_order_of_their_names_and_routes_know_their_places() {
    let text = with(&[
        ("zebra", "percent: 0.25"),
        ("ant", "percent: 100, key: \"cookie:user\", on: [ada]"),
    ]);
    let config = good(&text).config;
    let names: Vec<_> = config
        .flags
        .iter()
        .map(|flag| flag.rollout.name.as_str())
        .collect();
    assert_eq!(names, ["ant", "zebra"]);
    assert_eq!(config.flags[0].key, FlagKey::Cookie("user".to_owned()));
    assert!(config.flags[0].rollout.on.contains(b"ada".as_slice()));
    assert_eq!(config.flags[1].written(), share(25));
    let asked = config
        .routes
        .iter()
        .map(|route| route.pattern.conditions.flags());
    let expected = [&[][..], &[FlagId(1)], &[FlagId(0)]];
    assert_eq!(asked.collect::<Vec<_>>(), expected);
}

#[test]
fn the_environment_goes_before_the_file() {
    let text = with(&[("shared", "percent: 20")]);
    let config = good(&text).config;
    assert_eq!(config.flags[0].written(), share(500));
    one_warning(&text, "10:3", &["FF_SHARED", "`shared` is 5 %"]);
    one_error(
        &with(&[("mistaken", "percent: 20")]),
        "10:3",
        &["FF_MISTAKEN=`1`", "`on`, or `1%`"],
    );
}

#[test]
fn mistakes_have_their_places_and_hints() {
    let asking = |name: &str| with(&[("new_search", "percent: 1")]).replace("[new_search]", name);
    one_error(
        &asking("[new_serch]"),
        "8:34",
        &["is no flag", "did you mean `new_search`?"],
    );
    one_error(&asking("[]"), "8:", &["`flags` names nothing"]);
    let without = SMALL.replace("- cluster", "- flags: [x]\n    cluster");
    one_error(&without, "7:13", &["is no flag", "percent: 0"]);
    for (keys, word) in [
        ("percent: 101", "percentage"),
        ("percent: 0.125", "two digits"),
        ("key: client_address", "percent"),
        ("percent: 1, key: user", "header:NAME"),
        ("percent: 1, on: [ada]", "not an IP address"),
        (
            "percent: 1, key: \"cookie:a\", on: [ada], off: [ada]",
            "under `on`",
        ),
    ] {
        one_error(&with(&[("x", keys)]), "10:", &[word]);
    }
    for name in ["New", "new-search", "_x"] {
        let text = with(&[("x", "percent: 1")]).replace("  x:", &format!("  {name}:"));
        let told = told(&errors(&text));
        assert!(
            told.iter().any(|one| one.contains("is not a usable name")),
            "{told:?}"
        );
    }
}

#[test]
fn addresses_are_known_however_they_are_written() {
    let config = good(&with(&[("x", "percent: 0, on: [\"2001:DB8:0::1\"]")])).config;
    assert!(
        config.flags[0]
            .rollout
            .on
            .contains(b"2001:db8::1".as_slice())
    );
}

#[test]
fn a_flag_nobody_asks_for_is_told_and_too_many_are_refused() {
    let unused = format!("{SMALL}flags:\n  x: {{ percent: 1 }}\n");
    one_warning(&unused, "9:3", &["no route asks for the flag `x`"]);
    let names: Vec<_> = (0..65).map(|number| format!("f{number}")).collect();
    let flags: Vec<_> = names
        .iter()
        .map(|name| (name.as_str(), "percent: 1"))
        .collect();
    let told = told(&errors(&with(&flags)));
    assert!(told[0].contains("more than 64 flags"), "{told:?}");
    assert!(errors(&with(&flags[1..])).is_empty());
}
