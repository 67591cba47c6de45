//! Every metric is in the reference and is looked at by a test. Never starts a service.

use std::collections::BTreeSet;

use crate::tree::{expect_none, files, root};

#[test]
fn the_reference_lists_exactly_the_metrics_there_are() {
    let page = std::fs::read_to_string(root().join("docs/metrics.md")).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let listed: BTreeSet<_> = rows.filter_map(|row| row.split('`').next()).collect();
    let declared = declared();
    let declared: BTreeSet<_> = declared.iter().map(String::as_str).collect();
    assert_eq!(listed, declared);
}

#[test]
fn every_metric_is_looked_at_by_a_test() {
    let sources = files(".rs");
    let tests: Vec<_> = sources
        .iter()
        .filter(|file| file.path != "tests/repo/metrics.rs")
        .map(|file| match file.is_test() {
            true => file.text.as_str(),
            false => &file.text[file.without_tests().len()..],
        })
        .collect();
    let findings: Vec<_> = declared()
        .into_iter()
        .filter(|name| !tests.iter().any(|text| text.contains(name.as_str())))
        .collect();
    expect_none(
        "a metric that no test reads may be wrong for years",
        &findings,
    );
}

/// Names as the services register them: the edge whole, auth behind its prefix.
fn declared() -> BTreeSet<String> {
    let sources = files(".rs");
    let below = |path: &str| -> String {
        let files = sources.iter().filter(|file| file.path.starts_with(path));
        files.map(|file| file.text.as_str()).collect()
    };
    let edge = below("crates/edge/src/metrics");
    let auth = below("crates/auth/src/metrics");
    let whole = edge
        .split('"')
        .filter(|text| text.starts_with("portcullis_edge_"));
    let mut names: BTreeSet<String> = whole.map(str::to_owned).collect();
    for kind in [
        "counter",
        "counters",
        "gauge",
        "gauges",
        "float",
        "floats",
        "histograms",
    ] {
        let calls = format!("r.{kind}(");
        for call in auth.split(calls.as_str()).skip(1) {
            let name = call
                .trim_start()
                .strip_prefix('"')
                .unwrap()
                .split('"')
                .next();
            names.insert(format!("portcullis_auth_{}", name.unwrap()));
        }
    }
    assert!(
        names.len() > 30,
        "the declarations were not understood: {names:?}"
    );
    names
}
