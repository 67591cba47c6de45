//! The files made from the table of keys: reference, schema, list of keys.

use portcullis_testkit::Authority;

use super::*;

/// Removes the mark of every example line, as the header of the reference tells people to.
pub(super) fn uncomment(reference: &str) -> String {
    let mut text = String::new();
    for line in reference.lines() {
        let mut line = line.to_owned();
        while let Some(at) = line.find('#').filter(|at| line[..*at].trim().is_empty()) {
            let rest = &line[at + 1..];
            let is_explanation =
                rest.is_empty() || rest.starts_with(' ') && !rest.starts_with("  ");
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

/// The whole reference in force, with certificates where it expects them.
pub(super) fn full() -> (World, String) {
    let world = World::new();
    let authority = Authority::new();
    let identity = authority.issue("auth", &["auth.example.com"]);
    let certs = world.path().join("certs");
    std::fs::create_dir(&certs).unwrap();
    std::fs::copy(&identity.cert, certs.join("auth.pem")).unwrap();
    std::fs::copy(&identity.key, certs.join("auth.key")).unwrap();
    std::fs::copy(&identity.cert, certs.join("edge.pem")).unwrap();
    std::fs::copy(&identity.key, certs.join("edge.key")).unwrap();
    std::fs::copy(authority.root_file(), certs.join("ca.pem")).unwrap();
    world.write("certs/tickets.key", &"s".repeat(64));
    for list in ["allowed.txt", "denied.txt"] {
        world.write(list, "192.0.2.0/24\n");
    }
    authority.write_crl("ca.crl", &[]);
    std::fs::copy(authority.directory().join("ca.crl"), certs.join("ca.crl")).unwrap();
    let staple = portcullis_testkit::certificates::ocsp_of(&identity, true, "20991231235959Z");
    std::fs::write(certs.join("auth.ocsp"), staple).unwrap();
    let pages = world.path().join("pages");
    std::fs::create_dir(&pages).unwrap();
    std::fs::write(pages.join("sorry.html"), "sorry").unwrap();
    // A page has a file or a body, a token one place, a lost feed one policy.
    let whole = reference();
    let others = ["body: Back ", "token_file: ", "policy: closed"];
    let is_other = |line: &&str| others.iter().any(|other| line.contains(other));
    let lines = whole.lines().filter(|line| !is_other(line));
    let text: String = lines.map(|line| format!("{line}\n")).collect();
    let text = without(
        &without(&text, "routes", &ALTERNATIVES),
        "clusters",
        &SOURCES,
    );
    // What is hashed is only said where something is.
    let text = text.replace("balance: least_conn", "balance: hash");
    (world, uncomment(&text))
}

/// Keys of a route that exclude those that stay.
const ALTERNATIVES: [&str; 7] = [
    "exact", "regex", "to", "split", "split_by", "redirect", "respond",
];

/// Keys of a source of endpoints that exclude `file`.
const SOURCES: [&str; 7] = [
    "dns", "srv", "family", "resolver", "min_ttl", "max_ttl", "redis",
];

/// The reference without these keys of a part of it and all that is below them.
fn without(reference: &str, part: &str, keys: &[&str]) -> String {
    let mut text = String::new();
    let mut below = usize::MAX;
    let mut is_there = false;
    for line in reference.lines() {
        if line.starts_with(|first: char| first.is_ascii_lowercase()) {
            is_there = line == format!("{part}:");
        }
        let key = line.trim_start_matches([' ', '#']);
        let depth = line.len() - key.len();
        if depth > below && !line.trim().is_empty() {
            continue;
        }
        below = usize::MAX;
        if is_there && keys.iter().any(|name| key.starts_with(&format!("{name}:"))) {
            below = depth;
            continue;
        }
        text.push_str(line);
        text.push('\n');
    }
    text
}

/// Compares a generated text with the file in the repository.
fn assert_current(file: &str, generated: &str, print: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../config")
        .join(file);
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    if written != generated {
        let fresh = path.with_file_name("../target").join(file);
        std::fs::create_dir_all(fresh.parent().unwrap()).unwrap();
        std::fs::write(&fresh, generated).unwrap();
        panic!(
            "config/{file} is not what the table of keys says now. To update it:\n  \
             cargo run -- check {print} > config/{file}\nor: cp target/{file} config/{file}"
        );
    }
}

#[test]
fn reference_in_the_repository_is_current() {
    assert_current("edge.yaml", &reference(), "--print-reference");
}

#[test]
fn schema_in_the_repository_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/edge.schema.json");
    let written = std::fs::read_to_string(path).unwrap_or_default();
    let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
    // The order of keys depends on how serde_json was built.
    if parse(&written) != parse(&json_schema()) {
        assert_current("edge.schema.json", &json_schema(), "--print-schema");
    }
}

#[test]
fn reference_alone_is_a_sound_file() {
    let text = reference();
    let Parsed {
        config, warnings, ..
    } = good(&text);
    assert!(warnings.is_empty(), "{warnings}");
    assert_eq!(config.clusters[0].name, "auth");
}

#[test]
fn reference_states_the_defaults_the_code_has() {
    let small = SMALL
        .replace("127.0.0.1:8080", "0.0.0.0:8080")
        .replace("127.0.0.1:4001", "10.0.1.10:8000");
    let text = reference();
    assert_eq!(
        format!("{:#?}", good(&text).config),
        format!("{:#?}", good(&small).config)
    );
}

#[test]
fn reference_with_every_key_in_force_is_sound() {
    let (world, text) = full();
    let parsed = world
        .parse(&text)
        .unwrap_or_else(|errors| panic!("{errors}\n{text}"));
    let config = parsed.config;
    assert!(config.listeners[0].tls.is_some() && !config.listeners[0].passthrough.is_empty());
    assert!(!config.clusters[0].health.is_empty() && config.clusters[0].affinity.is_some());
}

#[test]
fn reference_has_every_key() {
    let text = reference();
    for path in key_paths() {
        let name = path.rsplit('.').next().unwrap();
        let mut lines = text
            .lines()
            .map(|line| line.trim_start_matches(['#', ' ', '-']));
        assert!(
            lines.any(|line| line.starts_with(&format!("{name}:"))),
            "{path}"
        );
    }
}

#[test]
fn schema_accepts_what_the_reference_shows() {
    let schema: serde_json::Value = serde_json::from_str(&json_schema()).unwrap();
    for path in key_paths() {
        let mut at = &schema;
        for part in path.split('.') {
            let (name, is_list) = part
                .strip_suffix("[]")
                .map_or((part, false), |name| (name, true));
            at = if name == "<name>" {
                &at["additionalProperties"]
            } else {
                &table(at)["properties"][name]
            };
            if is_list {
                at = &at["items"];
            }
        }
        assert!(at.is_object(), "{path}");
        assert!(
            path.ends_with(']') || at["description"].is_string(),
            "{path}"
        );
    }
}

/// The table among the forms a value may take.
fn table(schema: &serde_json::Value) -> &serde_json::Value {
    let forms = schema["anyOf"].as_array();
    forms
        .and_then(|forms| forms.iter().find(|form| form["properties"].is_object()))
        .unwrap_or(schema)
}
