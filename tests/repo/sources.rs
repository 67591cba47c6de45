//! Rules for Rust files: headers, lengths, imports, names. Never looks at behaviour.

use crate::tree::{TextFile, expect_none, files, root};

/// Lines a file may have, tests apart.
const MAX_LINES: usize = 600;

#[test]
fn every_source_file_says_what_it_is() {
    let findings: Vec<_> = files(".rs")
        .iter()
        .filter(|file| !file.text.starts_with("//! "))
        .map(|file| file.path.clone())
        .collect();
    expect_none(
        "begin with `//!`: what the file is and what it must never do",
        &findings,
    );
}

#[test]
fn no_source_file_is_too_long_to_hold_in_mind() {
    let findings: Vec<_> = files(".rs")
        .iter()
        .filter(|file| !file.is_test())
        .map(|file| (file, file.without_tests().lines().count()))
        .filter(|(_, lines)| *lines > MAX_LINES)
        .map(|(file, lines)| format!("{} has {lines} lines", file.path))
        .collect();
    expect_none("split files above 600 lines", &findings);
}

#[test]
fn pingora_stays_in_its_rooms() {
    let rooms = ["crates/edge/src/engine"];
    let findings: Vec<_> = files(".rs")
        .iter()
        .filter(|file| file.path.starts_with("crates/"))
        .filter(|file| !rooms.iter().any(|room| file.path.starts_with(room)))
        .flat_map(|file| uses_of(file, &["pingora::", "use pingora"]))
        .collect();
    expect_none("pingora is imported by engines only", &findings);
}

#[test]
fn traffic_decides_without_io_clock_or_logging() {
    let forbidden = [
        "tokio",
        "serde",
        "tracing",
        "std::net::Tcp",
        "std::fs",
        "Instant::now",
        "SystemTime",
        "std::thread",
        "async fn",
        "println",
    ];
    let findings: Vec<_> = files(".rs")
        .iter()
        .filter(|file| file.path.starts_with("crates/traffic/src") && !file.is_test())
        .flat_map(|file| uses_in(&file.path, file.without_tests(), &forbidden))
        .collect();
    expect_none("crates/traffic is pure", &findings);
}

#[test]
fn the_pipeline_imports_no_engine_and_no_socket() {
    let forbidden = [
        "crate::engine",
        "crate::listener",
        "crate::server",
        "tokio::net",
        "hyper::",
    ];
    let findings: Vec<_> = files(".rs")
        .iter()
        .filter(|file| file.path.starts_with("crates/edge/src/pipeline"))
        .flat_map(|file| uses_in(&file.path, file.without_tests(), &forbidden))
        .collect();
    expect_none("phases decide, engines carry", &findings);
}

#[test]
fn auth_rules_know_no_http_and_endpoints_know_no_sql() {
    let rules = [
        ("crates/auth/src/app", ["axum", "sqlx", "StatusCode"]),
        ("crates/auth/src/domain", ["axum", "sqlx", "async fn"]),
        ("crates/auth/src/http", ["sqlx", "SELECT ", "INSERT "]),
    ];
    let sources = files(".rs");
    let findings: Vec<_> = rules
        .iter()
        .flat_map(|(room, forbidden)| {
            sources
                .iter()
                .filter(move |file| file.path.starts_with(room) && !file.is_test())
                .flat_map(|file| uses_in(&file.path, file.without_tests(), forbidden))
        })
        .collect();
    expect_none("http -> app -> {domain, store, shared, keys}", &findings);
}

#[test]
fn arrows_between_crates_point_down_only() {
    let allowed: [(&str, &[&str]); 8] = [
        (".", &["edge", "auth", "ops", "probe"]),
        ("traffic", &[]),
        ("token", &[]),
        ("ops", &[]),
        ("edge", &["traffic", "token", "ops"]),
        ("auth", &["token", "ops"]),
        ("probe", &["token", "ops"]),
        ("testkit", &[]),
    ];
    let mut findings = Vec::new();
    for (name, below) in allowed {
        let path = root().join("crates").join(name);
        let path = if name == "." { root() } else { &path }.join("Cargo.toml");
        let manifest = std::fs::read_to_string(&path).unwrap();
        // Of the root, which also lists what all crates may use.
        let (_, behind) = manifest.split_once("\n[dependencies]\n").unwrap();
        let dependencies = behind.split("[dev-dependencies]").next().unwrap();
        for line in dependencies
            .lines()
            .filter(|line| line.starts_with("portcullis-"))
        {
            let dependency = line["portcullis-".len()..]
                .split(['.', ' ', '='])
                .next()
                .unwrap();
            if !below.contains(&dependency) {
                findings.push(format!("{name} depends on {dependency}"));
            }
        }
    }
    expect_none("see the table in ARCHITECTURE.md", &findings);
}

#[test]
fn tests_neither_sleep_nor_hide() {
    let findings: Vec<_> = files(".rs")
        .iter()
        // The rule itself, and the one place that may poll.
        .filter(|file| {
            !file.path.starts_with("tests/repo/") && !file.path.starts_with("crates/testkit/")
        })
        .filter(|file| file.is_test())
        .flat_map(|file| {
            uses_of(
                file,
                &["thread::sleep(", "time::sleep(", "#[ignore]", "fn test_"],
            )
        })
        .collect();
    expect_none(
        "wait for conditions, give #[ignore] a reason, name the behaviour",
        &findings,
    );
}

#[test]
fn metric_names_are_declared_in_one_place_per_service() {
    let findings: Vec<_> = files(".rs")
        .iter()
        .filter(|file| file.path.starts_with("crates/") && !file.is_test())
        .filter(|file| !file.path.contains("/src/metrics"))
        .flat_map(|file| {
            uses_in(
                &file.path,
                file.without_tests(),
                &["\"portcullis_edge_", "\"portcullis_auth_"],
            )
        })
        .collect();
    expect_none("metric names live in metrics.rs", &findings);
}

fn uses_of(file: &TextFile, words: &[&str]) -> Vec<String> {
    uses_in(&file.path, &file.text, words)
}

/// Lines of code (comments apart) that hold one of the words.
fn uses_in(path: &str, text: &str, words: &[&str]) -> Vec<String> {
    let lines = text.lines().enumerate();
    lines
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .filter(|(_, line)| words.iter().any(|word| line.contains(word)))
        .map(|(index, line)| format!("{path}:{}: {}", index + 1, line.trim()))
        .collect()
}

#[test]
fn sec_h01_auth_asks_nobody_but_its_stores_and_its_mail_server() {
    // What a token, a client or a page says is never an address to fetch. Whoever adds such a fetch goes through one
    // client that refuses private addresses, and names its file here.
    let forbidden = [
        "TcpStream",
        "TcpSocket",
        "UdpSocket",
        "UnixStream",
        "lookup_host",
        "ToSocketAddrs",
        "hyper::client",
        "hyper_util::client",
        "reqwest",
        "ureq",
    ];
    let listens = "crates/auth/src/http/connection";
    let findings: Vec<_> = files(".rs")
        .iter()
        .filter(|file| file.path.starts_with("crates/auth/src") && !file.is_test())
        .filter(|file| !file.path.starts_with(listens))
        .flat_map(|file| uses_in(&file.path, file.without_tests(), &forbidden))
        .collect();
    expect_none("crates/auth dials nobody by itself", &findings);
    let manifest = std::fs::read_to_string(root().join("crates/auth/Cargo.toml")).unwrap();
    let (needs, _) = manifest.split_once("[dev-dependencies]").unwrap();
    let clients: Vec<_> = ["reqwest", "ureq", "hyper-rustls", "isahc", "curl"]
        .into_iter()
        .filter(|name| needs.lines().any(|line| line.starts_with(name)))
        .map(str::to_owned)
        .collect();
    expect_none("crates/auth has no client for HTTP", &clients);
}
