//! `portcullis check`: every mistake at once, located; good files pass; nothing is ever started.

use std::path::{Path, PathBuf};

use portcullis_testkit::{Authority, Connection, Endpoint, Process, free_port};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::PORTCULLIS;
use crate::native::Setup;

struct Checked {
    code: i32,
    stdout: String,
    stderr: String,
}

async fn check(arguments: &[&str]) -> Checked {
    let mut all = vec!["check"];
    all.extend(arguments);
    let mut process = Process::start(PORTCULLIS, &all);
    let code = process.exit_code().await;
    Checked {
        code,
        stdout: process.stdout().join("\n"),
        stderr: process.stderr().join("\n"),
    }
}

impl Checked {
    fn all(&self) -> String {
        format!("{}\n{}", self.stdout, self.stderr)
    }
}

fn write(text: &str) -> (TempDir, PathBuf) {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("edge.yaml");
    std::fs::write(&file, text).unwrap();
    (directory, file)
}

/// Ten mistakes of ten kinds; each comment names what the message must contain.
const TEN_MISTAKES: &str = "\
listeners:
  - address: 0.0.0.0:99999
    limits: { header_bytes: lots }
    colour: blue
clusters:
  auth:
    balance: least_con
    retries: -1
    endpoints: [ 10.0.0.1:8000, nonsense ]
    health: { path: /ready, interval: 10 parsecs }
routes:
  - { path: /, cluster: other }
  - { path: api, cluster: auth }
trusted_proxies: [ 10.0.0.0/99 ]
";

/// Line and column where each mistake of [`TEN_MISTAKES`] stands.
const PLACES: [(usize, usize); 10] = [
    (2, 14),
    (3, 29),
    (4, 5),
    (7, 14),
    (8, 14),
    (9, 33),
    (10, 39),
    (12, 25),
    (13, 13),
    (14, 20),
];

#[tokio::test]
async fn ten_mistakes_are_ten_located_errors() {
    let (_directory, file) = write(TEN_MISTAKES);
    let checked = check(&[file.to_str().unwrap()]).await;
    assert_eq!(checked.code, 1);
    let text = checked.all();
    for (line, column) in PLACES {
        let place = format!("{}:{line}:{column}: ", file.display());
        assert!(
            text.contains(&place),
            "no error at {line}:{column} in\n{text}"
        );
        let source = TEN_MISTAKES.lines().nth(line - 1).unwrap().trim();
        assert!(text.contains(source), "line {line} is not shown in\n{text}");
    }
    let located = text.matches(&format!("{}:", file.display())).count();
    assert_eq!(located, PLACES.len(), "{text}");
    assert!(
        text.contains("least_conn"),
        "the nearest word is a hint:\n{text}"
    );
}

#[tokio::test]
async fn json_tells_the_same_to_machines() {
    let (_directory, file) = write(TEN_MISTAKES);
    let checked = check(&["--json", file.to_str().unwrap()]).await;
    assert_eq!(checked.code, 1);
    let report: Value = serde_json::from_str(&checked.stdout).unwrap();
    let mistakes = report["diagnostics"]
        .as_array()
        .unwrap_or_else(|| panic!("{report}"));
    let places: Vec<(u64, u64)> = mistakes
        .iter()
        .map(|mistake| {
            (
                mistake["line"].as_u64().unwrap(),
                mistake["column"].as_u64().unwrap(),
            )
        })
        .collect();
    for (line, column) in PLACES {
        let place = (line as u64, column as u64);
        assert!(places.contains(&place), "{place:?} in {places:?}");
    }
    assert_eq!(places.len(), PLACES.len());
    for mistake in mistakes {
        assert!(
            mistake["message"].is_string() && mistake["file"].is_string(),
            "{mistake}"
        );
    }
}

#[tokio::test]
async fn a_malformed_configuration_starts_nothing() {
    let a = Endpoint::start("a").await;
    let setup = Setup::new(&[&a]).set("clusters.main.colour", json!("blue"));
    let address = setup.config()["listeners"][0]["address"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let log = setup.directory().join("access.log");
    let mut edge = setup.spawn();
    assert_eq!(edge.process.exit_code().await, 1);
    let text = edge.process.output();
    assert!(
        text.contains("edge.yaml:") && text.contains("colour"),
        "{text}"
    );
    assert!(Connection::open(address).await.is_err());
    assert!(!log.exists(), "not even the log file was made");
}

#[tokio::test]
async fn broken_yaml_is_located_too() {
    for (text, line) in [
        ("listeners:\n  - address: 127.0.0.1:0\n bad\n", 3),
        ("listeners: [\n", 1),
        ("a: 1\na: 2\n", 2),
        ("listeners: \"${PORTCULLIS_TEST_MISSING}\"\n", 1),
    ] {
        let (_directory, file) = write(text);
        let checked = check(&[file.to_str().unwrap()]).await;
        assert_eq!(checked.code, 1, "{text}");
        let place = format!("{}:", file.display());
        let all = checked.all();
        let found = all
            .lines()
            .filter_map(|l| l.strip_prefix(&place))
            .any(|rest| {
                let number: usize = rest.split(':').next().unwrap().parse().unwrap_or(0);
                // A parser may notice the mistake one line later.
                number >= line && number <= line + 1
            });
        assert!(found, "no error near line {line} for {text:?}:\n{all}");
    }
}

#[tokio::test]
async fn an_empty_or_missing_file_is_an_error() {
    let (directory, file) = write("");
    assert_eq!(check(&[file.to_str().unwrap()]).await.code, 1);
    let missing = directory.path().join("missing.yaml");
    let checked = check(&[missing.to_str().unwrap()]).await;
    assert_eq!(checked.code, 1);
    assert!(checked.all().contains("missing.yaml"), "{}", checked.all());
    let checked = check(&[directory.path().to_str().unwrap()]).await;
    assert_eq!(checked.code, 1, "a directory is no configuration");
    assert_eq!(check(&[]).await.code, 2, "no file is wrong usage");
}

#[tokio::test]
async fn certificates_are_read_and_matched() {
    let authority = Authority::new();
    let (first, second) = (
        authority.issue("a", &["a.example"]),
        authority.issue("b", &["b.example"]),
    );
    let garbage = authority.directory().join("garbage.pem");
    std::fs::write(&garbage, "not a certificate").unwrap();
    let missing = authority.directory().join("missing.pem");
    let check_pair = async |cert: &Path, key: &Path| {
        let tls = json!({ "certificates": [{ "cert": cert, "key": key }] });
        let setup =
            Setup::for_addresses(&["127.0.0.1:1".parse().unwrap()]).set("listeners.0.tls", tls);
        let file = setup.directory().join("edge.yaml");
        std::fs::write(&file, setup.config().to_string()).unwrap();
        check(&[file.to_str().unwrap()]).await
    };
    assert_eq!(check_pair(&first.cert, &first.key).await.code, 0);
    for (cert, key, named) in [
        (&missing, &first.key, "missing.pem"),
        (&first.cert, &missing, "missing.pem"),
        (&garbage, &first.key, "garbage.pem"),
        (&first.cert, &garbage, "garbage.pem"),
        (&first.cert, &second.key, "b.key"),
    ] {
        let checked = check_pair(cert, key).await;
        assert_eq!(checked.code, 1, "{cert:?} {key:?}");
        assert!(
            checked.all().contains(named),
            "{named} in {}",
            checked.all()
        );
    }
}

#[tokio::test]
async fn checking_binds_no_port_and_reads_interpolated_values() {
    let taken = Endpoint::start("taken").await;
    let port = free_port();
    let text = format!(
        "listeners:\n  - address: ${{PORTCULLIS_TEST_ADDRESS:-{}}}\n\
         clusters:\n  main: {{ endpoints: [ \"{}\" ] }}\n\
         routes:\n  - {{ path: /, cluster: main }}\n",
        taken.address(),
        port.address(),
    );
    let (_directory, file) = write(&text);
    let checked = check(&[file.to_str().unwrap()]).await;
    assert_eq!(
        checked.code,
        0,
        "a port in use is no mistake of the file: {}",
        checked.all()
    );
    assert_eq!(taken.connections(), 0);
}

#[tokio::test]
async fn every_sample_passes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let authority = Authority::new();
    authority.issue("auth", &["auth.yourdomain.com"]);
    let samples = samples_below(&[root.join("config"), root.join("examples")]);
    assert!(samples.len() >= 3, "{samples:?}");
    for sample in samples {
        let mut command = std::process::Command::new(PORTCULLIS);
        command
            .arg("check")
            .arg(&sample)
            .current_dir(sample.parent().unwrap());
        command.env("CERT_DIR", authority.directory());
        let mut process = Process::spawn(command);
        let code = process.exit_code().await;
        assert_eq!(code, 0, "{}\n{}", sample.display(), process.output());
    }
}

#[tokio::test]
async fn the_example_of_the_readme_passes() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let examples: Vec<&str> = readme.split("```yaml\n").skip(1).collect();
    assert!(!examples.is_empty());
    for example in examples {
        let (_directory, path) = write(example.split("```").next().unwrap());
        let checked = check(&[path.to_str().unwrap()]).await;
        assert_eq!(checked.code, 0, "{}", checked.all());
    }
}

fn samples_below(directories: &[PathBuf]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for directory in directories {
        for entry in std::fs::read_dir(directory).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                found.extend(samples_below(&[path]));
            } else if path.extension().is_some_and(|e| e == "yaml") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}
