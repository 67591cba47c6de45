//! `docs/requirements.md` is complete and tells the truth about its proofs: every requirement has a
//! status, every test it names exists and runs. Never judges whether a test proves enough.

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

#[derive(Debug, PartialEq)]
struct Row {
    id: String,
    status: String,
    tests: Vec<String>,
    /// What stands behind the tests, with its brackets.
    remark: String,
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
fn what_is_partial_says_why_and_what_is_done_has_no_excuse() {
    let mut findings = Vec::new();
    for row in rows() {
        let Row { id, remark, .. } = &row;
        let is_bracketed = remark.len() > 2 && remark.starts_with('(') && remark.ends_with(')');
        match (row.status.as_str(), remark.is_empty()) {
            ("partial", true) => findings.push(format!("{id} does not say what is missing")),
            ("done", false) => findings.push(format!("{id} is done, but {remark}")),
            (_, false) if !is_bracketed => findings.push(format!("{id}: {remark:?}")),
            _ => {}
        }
        let unique: BTreeSet<_> = row.tests.iter().collect();
        if unique.len() < row.tests.len() {
            findings.push(format!("{id} names a test twice"));
        }
    }
    expect_none("tests in backticks, then a remark in brackets", &findings);
}

#[test]
fn settlements_are_numbered_and_name_rows_that_exist() {
    let known: BTreeSet<String> = rows().into_iter().map(|row| row.id).collect();
    let text = text();
    let (_, settlements) = text.split_once("\n## Settlements\n").unwrap();
    let mut findings = Vec::new();
    let mut expected = 1;
    for line in settlements.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<_> = line.split(" | ").collect();
        let Ok(number) = cells[0].trim_start_matches("| ").parse::<u32>() else {
            continue;
        };
        if number != expected || cells.len() != 4 {
            findings.push(format!("{line} is not number {expected} of four cells"));
        }
        expected += 1;
        let named = cells.get(2).unwrap_or(&"").split(", ");
        findings.extend(
            named
                .filter(|id| !known.contains(*id))
                .map(|id| format!("settlement {number} names {id:?}")),
        );
    }
    assert!(expected > 10, "the settlements were not understood");
    expect_none("settlements are about requirements", &findings);
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

fn text() -> String {
    std::fs::read_to_string(root().join("docs/requirements.md")).unwrap()
}

fn rows() -> Vec<Row> {
    let rows: Vec<_> = text().lines().filter_map(row).collect();
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
    // Odd pieces are names; whatever else there is comes behind the last.
    let pieces: Vec<_> = tests.split('`').map(str::trim).collect();
    let names = pieces.iter().skip(1).step_by(2);
    let remark: Vec<_> = pieces.iter().step_by(2).copied().collect();
    Some(Row {
        id: (*id).to_owned(),
        status: (*status).to_owned(),
        tests: names.copied().map(str::to_owned).collect(),
        remark: remark.concat(),
    })
}

/// Functions under a test attribute, in the whole repository.
fn test_names() -> BTreeSet<String> {
    let files = files(".rs");
    files
        .iter()
        .flat_map(|file| tests_in(&file.text))
        .map(str::to_owned)
        .collect()
}

/// Macros that make a test of every name they are given, one a line, on every store or shared state.
const LISTS: [&str; 3] = [
    "every_case! {",
    "on_every_store!(",
    "on_every_shared_state!(",
];

/// Tests that run without being asked for: those that are ignored prove nothing.
fn tests_in(source: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let (mut is_test, mut is_ignored, mut is_list) = (false, false, false);
    for line in source.lines().map(str::trim) {
        if LISTS.iter().any(|list| line.contains(list)) {
            is_list = true;
        } else if matches!(line, ");" | "}") {
            is_list = false;
        }
        if let Some(name) = line.strip_suffix(',')
            && is_list
        {
            names.push(name);
        } else if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if line.starts_with("#[ignore") {
            is_ignored = true;
        } else if let Some(name) = function_name(line) {
            if is_test && !is_ignored {
                names.push(name);
            }
            (is_test, is_ignored) = (false, false);
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

#[test]
fn ignored_and_plain_functions_are_no_proof() {
    let source = "#[test]\nfn one() {}\nfn two() {}\n#[tokio::test(flavor = \"x\")]\nasync fn three() {}\n\
                  #[test]\n#[ignore = \"slow\"]\nfn four() {}\n// #[test]\nfn five() {}\n#[test]\nfn six() {}\n";
    assert_eq!(tests_in(source), ["one", "three", "six"]);
    let lists = "on_every_store!(\n    one,\n    two,\n);\nthree,\nevery_case! { $on\n a: [\n four,\n ]\n}\n";
    assert_eq!(tests_in(lists), ["one", "two", "four"]);
}

#[test]
fn rows_are_read_cell_by_cell() {
    let read =
        row("| 000-001 | Some text | edge, auth | partial | `one` `two` (only here) |").unwrap();
    assert_eq!(
        (read.id.as_str(), read.status.as_str()),
        ("000-001", "partial")
    );
    assert_eq!(read.tests, ["one", "two"]);
    assert_eq!(read.remark, "(only here)");
    let bare = row("| 000-002 | Some text | edge | open |  |").unwrap();
    assert!(bare.tests.is_empty() && bare.remark.is_empty());
    let loose = row("| 000-003 | Some text | edge | done | one `two |").unwrap();
    assert_eq!(
        (loose.tests.as_slice(), loose.remark.as_str()),
        (&["two".to_owned()][..], "one")
    );
    assert_eq!(row("| 000-004 | no status | edge |"), None);
    assert_eq!(
        row("| ID | requirement | owner | status | shown by |"),
        None
    );
}
