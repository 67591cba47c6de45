//! The edge's configuration from text to [`Config`]. Never starts an edge.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use portcullis_ops::diagnostic::{Diagnostics, Source};

use super::*;

mod affinity;
mod certificates;
mod client_auth;
mod discovery;
mod examples;
mod flags;
mod good;
mod guide;
mod health;
mod issuers;
mod keys;
mod lifecycle;
mod mistakes;
mod mutations;
mod policies;
mod reference;
mod revocations;
mod routes;
mod upstream;

/// Useful and as short as it gets.
const SMALL: &str = "\
listeners:
  - address: 127.0.0.1:8080
clusters:
  auth:
    endpoints: [127.0.0.1:4001]
routes:
  - cluster: auth
";

/// A world without name service and with two variables.
struct World {
    directory: tempfile::TempDir,
    now: SystemTime,
}

impl World {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            now: SystemTime::now(),
        }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn parse(&self, text: &str) -> Result<Parsed, Diagnostics> {
        let variables = |name: &str| match name {
            "PORT" => Some("9090".to_owned()),
            "AFFINITY_SECRET" => Some("0123456789abcdef0123456789abcdef".to_owned()),
            "ADMIN_TOKEN" => Some("an operator's token of 40 characters ...".to_owned()),
            "ADA_TOKEN" => Some("a token of Ada of 40 characters ........".to_owned()),
            "DASHBOARD_TOKEN" => Some("a token of dashboards of 40 characters .".to_owned()),
            "INTERNAL_TOKEN" => Some("a-token-of-edges-of-40-characters-......".to_owned()),
            "FF_SHARED" => Some("5%".to_owned()),
            "FF_MISTAKEN" => Some("1".to_owned()),
            "AFFINITY_SECRET_BEFORE" => Some("fedcba9876543210fedcba9876543210".to_owned()),
            _ => None,
        };
        let surroundings = Surroundings {
            variables: &variables,
            directory: self.path(),
            resolve: &resolve,
            now: self.now,
        };
        parse_in(&Source::new("edge.yaml", text), &surroundings)
    }
}

fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let addresses: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("one.test", &["10.0.0.1"][..]),
        ("two.test", &["10.0.0.2", "10.0.0.1", "10.0.0.2"][..]),
        ("dual.test", &["::1", "127.0.0.1"][..]),
        ("six.test", &["::1"][..]),
        ("empty.test", &[][..]),
    ]);
    let found = addresses
        .get(host)
        .ok_or_else(|| io::Error::other("no such name"))?;
    Ok(found
        .iter()
        .map(|ip| SocketAddr::new(ip.parse().unwrap(), port))
        .collect())
}

/// Parses without files; there must be no error.
fn good(text: &str) -> Parsed {
    World::new()
        .parse(text)
        .unwrap_or_else(|errors| panic!("{errors}"))
}

fn errors(text: &str) -> Diagnostics {
    World::new().parse(text).err().unwrap_or_default()
}

/// `line:column: message | hint` of each diagnostic.
fn told(diagnostics: &Diagnostics) -> Vec<String> {
    let tell = |found: &portcullis_ops::diagnostic::Diagnostic| {
        let hint = found.hint.as_deref().unwrap_or_default();
        format!(
            "{}:{}: {} | {hint}",
            found.line, found.column, found.message
        )
    };
    diagnostics.iter().map(tell).collect()
}

/// Asserts exactly one error that begins with `place` and holds every one of `words`.
fn one_error(text: &str, place: &str, words: &[&str]) {
    assert_one(&told(&errors(text)), place, words);
}

fn one_warning(text: &str, place: &str, words: &[&str]) {
    assert_one(&told(&good(text).warnings), place, words);
}

fn assert_one(told: &[String], place: &str, words: &[&str]) {
    let [one] = told else { panic!("{told:#?}") };
    // A place may be a line alone.
    let place = match place.ends_with(':') {
        true => place.to_owned(),
        false => format!("{place}: "),
    };
    assert!(one.starts_with(&place), "{one}");
    for word in words {
        assert!(one.contains(word), "`{word}` in {one}");
    }
}
