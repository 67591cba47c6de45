//! What `portcullis check` and every start ask: is this file usable, and what is wrong with it?
//! Never binds, connects or writes anything.

use std::path::Path;

use portcullis_ops::decode::{self, Table};
use portcullis_ops::diagnostic::{Diagnostics, Source};
use portcullis_ops::file;
use portcullis_ops::yaml::Lookup;
use serde_json::json;

use super::Config;
use super::keys;
use super::parse::{Parsed, Surroundings, parse_in};

/// Parses a text with this process's environment; relative paths begin at the directory of `file_name`.
pub fn parse(file_name: &str, text: &str) -> Result<Parsed, Diagnostics> {
    parse_in(
        &Source::new(file_name, text),
        &Surroundings::of_machine(directory(Path::new(file_name)), &environment),
    )
}

/// Reads and parses a file with this process's environment.
pub fn load(path: &Path) -> Result<Parsed, Diagnostics> {
    load_with(path, &environment)
}

/// Everything that can be said about a file without running it.
pub fn check(path: &Path, variables: &Lookup<'_>) -> CheckReport {
    match load_with(path, variables) {
        Ok(Parsed {
            config, warnings, ..
        }) => CheckReport {
            errors: Diagnostics::default(),
            warnings,
            summary: Some(summary(&config)),
        },
        Err(errors) => CheckReport {
            errors,
            warnings: Diagnostics::default(),
            summary: None,
        },
    }
}

/// What [`check`] found.
#[derive(Clone, Debug)]
pub struct CheckReport {
    /// Reasons to refuse the file.
    pub errors: Diagnostics,
    /// Reasons to look at it.
    pub warnings: Diagnostics,
    /// What it configures, in one line; `None` if it is refused.
    pub summary: Option<String>,
}

impl CheckReport {
    /// Whether an edge would start from this file.
    pub fn is_usable(&self) -> bool {
        self.errors.is_empty()
    }

    /// One JSON object with `usable`, `summary`, `errors` and `warnings`.
    pub fn to_json(&self) -> String {
        let array = |found: &Diagnostics| -> serde_json::Value {
            serde_json::from_str(&found.to_json()).expect("diagnostics make valid JSON")
        };
        let report = json!({
            "usable": self.is_usable(),
            "summary": self.summary,
            "errors": array(&self.errors),
            "warnings": array(&self.warnings),
        });
        format!("{report:#}")
    }
}

/// `config/edge.yaml`: every key with its default and one line of meaning.
pub fn reference() -> String {
    decode::reference(&keys::FILE, REFERENCE_HEADER)
}

/// `config/edge.schema.json`, for editors.
pub fn json_schema() -> String {
    format!(
        "{:#}\n",
        decode::schema(&keys::FILE, "Portcullis edge configuration")
    )
}

/// The table of all keys.
pub(crate) fn table() -> &'static Table {
    &keys::FILE
}

/// Every key the file may have, with where it stands: `listeners[].tls.certificates[].cert`.
pub fn key_paths() -> Vec<String> {
    decode::key_paths(&keys::FILE)
}

const REFERENCE_HEADER: &[&str] = &[
    "Every key of the edge's configuration with its default. Made from the code by",
    "`portcullis check --print-reference` and compared with it by a test.",
    "",
    "A line that begins with # and a key is an example of something that is off or empty by default:",
    "remove the #. Lines with # and a space explain the key below them.",
    "",
    "Durations: 250ms, 10s, 5m, 1h. Sizes: 65536, 32KiB, 1MiB, 1GiB. Flags: true, false, on, off.",
    "In every value ${NAME} is replaced by a variable of the environment, ${NAME:-default} by a default",
    "if the variable is unset or empty, and $$ by a dollar sign; in [ ] and { } such values need quotes,",
    "as do values that begin with * or [. Relative paths begin at this file's directory.",
    "Check a file with `portcullis check FILE`.",
];

fn load_with(path: &Path, variables: &Lookup<'_>) -> Result<Parsed, Diagnostics> {
    let source = file::read_source(path)?;
    parse_in(
        &source,
        &Surroundings::of_machine(directory(path), variables),
    )
}

fn directory(file: &Path) -> &Path {
    file.parent().unwrap_or(Path::new(""))
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn summary(config: &Config) -> String {
    let endpoints = config
        .clusters
        .iter()
        .map(|cluster| cluster.endpoints.len())
        .sum();
    let passthrough = config
        .listeners
        .iter()
        .map(|listener| listener.passthrough.len())
        .sum();
    let mut parts = vec![
        counted(config.listeners.len(), "listener"),
        counted(config.clusters.len(), "cluster"),
        counted(endpoints, "endpoint"),
        counted(config.routes.len(), "route"),
    ];
    if passthrough > 0 {
        parts.push(format!(
            "{} passed through",
            counted(passthrough, "server name")
        ));
    }
    parts.join(", ")
}

fn counted(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}
