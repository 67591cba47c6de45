//! `docs/requirements.md` is complete and tells the truth about its proofs: every requirement has a
//! status, and every test it names exists. Never judges whether a test proves enough.

use std::collections::{BTreeMap, BTreeSet};

use crate::tree::{expect_none, files, root};

/// Requirements per source document.
const ROWS: [(&str, u32); 5] = [
    ("000", 36),
    ("001", 310),
    ("002", 138),
    ("003", 185),
    ("004", 50),
];

/// `done` works and is shown by the tests named; `partial` works in part, with tests; `open` does
/// not work yet; `advice` asks for nothing that code could do.
const STATUSES: [&str; 4] = ["done", "partial", "open", "advice"];

struct Row {
    id: String,
    status: String,
    tests: Vec<String>,
}

#[test]
fn every_requirement_has_exactly_one_row() {
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for row in rows() {
        *counts.entry(row.id).or_default() += 1;
    }
    let mut findings = Vec::new();
    for (document, last) in ROWS {
        for number in 1..=last {
            let id = format!("{document}-{number:03}");
            match counts.remove(&id) {
                Some(1) => {}
                Some(count) => findings.push(format!("{id} has {count} rows")),
                None => findings.push(format!("{id} is missing")),
            }
        }
    }
    findings.extend(
        counts
            .into_keys()
            .map(|id| format!("{id} is no requirement")),
    );
    expect_none("one row for each requirement", &findings);
}

#[test]
fn what_counts_as_done_is_shown_by_a_test() {
    let mut findings = Vec::new();
    for row in rows() {
        let is_shown = !row.tests.is_empty();
        match row.status.as_str() {
            "done" | "partial" if !is_shown => {
                findings.push(format!("{} is {} without a test", row.id, row.status));
            }
            "open" | "advice" if is_shown => {
                findings.push(format!("{} is {} but names a test", row.id, row.status));
            }
            status if !STATUSES.contains(&status) => {
                findings.push(format!("{} has the unknown status {status:?}", row.id));
            }
            _ => {}
        }
    }
    expect_none("a status and its proof agree", &findings);
}

#[test]
fn every_test_named_as_proof_exists() {
    let known: BTreeSet<String> = test_names();
    let findings: Vec<_> = rows()
        .into_iter()
        .flat_map(|row| {
            row.tests
                .into_iter()
                .map(move |test| (row.id.clone(), test))
        })
        .filter(|(_, test)| !known.contains(test))
        .map(|(id, test)| format!("{id} names {test}"))
        .collect();
    expect_none("tests in docs/requirements.md exist", &findings);
}

fn rows() -> Vec<Row> {
    let text = std::fs::read_to_string(root().join("docs/requirements.md")).unwrap();
    let rows: Vec<_> = text.lines().filter_map(row).collect();
    assert!(
        rows.len() > 700,
        "the table was not understood: {} rows",
        rows.len()
    );
    rows
}

/// `| 000-001 | text | owners | status | `test_one` `test_two` |`
fn row(line: &str) -> Option<Row> {
    let cells: Vec<_> = line
        .strip_prefix("| ")?
        .strip_suffix('|')?
        .split(" | ")
        .collect();
    let [id, _text, _owners, status, tests] = cells.as_slice() else {
        return None;
    };
    if !id.starts_with("00") {
        return None;
    }
    let tests = tests
        .split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect();
    Some(Row {
        id: (*id).to_owned(),
        status: (*status).to_owned(),
        tests,
    })
}

/// Functions under a test attribute, in the whole repository.
fn test_names() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for file in files(".rs") {
        let mut is_test = false;
        for line in file.text.lines().map(str::trim) {
            if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                is_test = true;
            } else if let Some(name) = function_name(line) {
                if is_test {
                    names.insert(name.to_owned());
                }
                is_test = false;
            }
        }
    }
    names
}

fn function_name(line: &str) -> Option<&str> {
    let line = line.strip_prefix("pub ").unwrap_or(line);
    let line = line.strip_prefix("async ").unwrap_or(line);
    line.strip_prefix("fn ")?.split(['(', '<']).next()
}

#[test]
fn names_of_tests_are_read_from_their_sources() {
    let names = test_names();
    assert!(names.contains("names_of_tests_are_read_from_their_sources"));
    assert!(
        !names.contains("function_name"),
        "a plain function is no test"
    );
}
