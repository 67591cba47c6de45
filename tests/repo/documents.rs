//! Rules for prose: links lead somewhere, and the project speaks of itself alone. Never checks the
//! network.

use std::path::Path;

use crate::tree::{expect_none, files, root};

#[test]
fn relative_links_resolve() {
    let mut findings = Vec::new();
    for file in files(".md") {
        let directory = root().join(Path::new(&file.path).parent().unwrap());
        for target in links(&file.text) {
            let path = target.split('#').next().unwrap_or_default();
            let is_elsewhere = target.contains("://") || target.starts_with("mailto:");
            if !is_elsewhere && !path.is_empty() && !directory.join(path).exists() {
                findings.push(format!("{} -> {target}", file.path));
            }
        }
    }
    expect_none("links in documents lead to files that exist", &findings);
}

#[test]
fn headings_that_links_name_exist() {
    let mut findings = Vec::new();
    for file in files(".md") {
        for target in links(&file.text) {
            let Some(anchor) = target.strip_prefix('#') else {
                continue;
            };
            if !headings(&file.text).any(|heading| heading == anchor) {
                findings.push(format!("{} -> #{anchor}", file.path));
            }
        }
    }
    expect_none("links inside a document lead to its headings", &findings);
}

#[test]
fn nothing_refers_to_a_place_outside_the_repository() {
    // Put together here, so that this file does not break its own rule.
    let outside = [
        ["..", "/shared"].concat(),
        ["/work", "/"].concat(),
        ["/root", "/"].concat(),
    ];
    let mut findings = Vec::new();
    for ending in [
        ".rs",
        ".md",
        ".toml",
        ".yaml",
        ".json",
        ".sql",
        "Makefile",
        "Dockerfile",
        "run",
    ] {
        for file in files(ending) {
            for (index, line) in file.text.lines().enumerate() {
                if outside.iter().any(|place| line.contains(place.as_str())) {
                    findings.push(format!("{}:{}: {}", file.path, index + 1, line.trim()));
                }
            }
        }
    }
    expect_none(
        "no path of a machine, no file that is not committed",
        &findings,
    );
}

/// Targets of `[text](target)`, code spans and blocks apart.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut is_code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        }
        if is_code {
            continue;
        }
        // Odd pieces are code spans.
        for prose in line.split('`').step_by(2) {
            for piece in prose.split("](").skip(1) {
                if let Some((target, _)) = piece.split_once(')') {
                    found.push(target.to_owned());
                }
            }
        }
    }
    found
}

fn headings(text: &str) -> impl Iterator<Item = String> {
    text.lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            let kept = title
                .chars()
                .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
}

#[test]
fn links_are_found_outside_code_only() {
    let text = "see [a](b.md) and `[c](d)`\n```\n[e](f)\n```\n[g](#h-i)\n# H i\n";
    assert_eq!(links(text), ["b.md", "#h-i"]);
    assert_eq!(headings(text).collect::<Vec<_>>(), ["h-i"]);
}
