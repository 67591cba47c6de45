//! Results as tables for a terminal and as JSON. Never computes a figure.

use std::fmt::Write as _;

use portcullis_testkit::measure::{number, shown};
use portcullis_testkit::noise::Verdict;
use serde_json::{Value, json};

use crate::cases::{Bound, TARGETS};
use crate::results::{Measured, Results, Row};
use crate::site::{CLIENTS, LOGIN_CLIENTS, POSTGRES, SETTINGS};

/// Everything a report says besides the figures.
pub(crate) struct About {
    pub(crate) command: String,
    pub(crate) machine: String,
    pub(crate) cores: String,
    pub(crate) rounds: usize,
    /// The binaries.
    pub(crate) sites: Vec<&'static str>,
}

type Column = (&'static str, fn(&Measured) -> Option<f64>);

const COLUMNS: [Column; 5] = [
    ("CPU us", |one| Some(one.cpu)),
    ("PostgreSQL us", |one| one.postgres),
    ("Redis us", |one| one.redis),
    ("clients us", |one| one.load),
    ("per second", |one| one.per_second),
];

pub(crate) fn terminal(results: &Results, about: &About, verdict: &Verdict) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{}\n{}", about.machine, about.cores);
    let _ = writeln!(text, "{}\n", settings());
    let _ = writeln!(
        text,
        "Processor time per request by whom, and requests a second: median (smallest to largest)"
    );
    let header = std::iter::once(String::new())
        .chain(COLUMNS.iter().map(|(name, _)| (*name).to_owned()))
        .collect();
    let lines = results.rows.iter().map(|row| {
        let cells = COLUMNS.iter().map(|(_, of)| shown(row.spread(*of)));
        std::iter::once(name(row, about)).chain(cells).collect()
    });
    table(&mut text, std::iter::once(header).chain(lines).collect());
    let _ = writeln!(text, "\nWhat must be reached, by medians");
    table(&mut text, targets(results, about));
    if about.sites.len() > 1 {
        let _ = writeln!(text, "\nCPU of the first binary to that of the other");
        table(&mut text, ratios(results));
    }
    let _ = writeln!(text, "\n{}\n{}", verdict.summary, verdict.line());
    text
}

pub(crate) fn json(results: &Results, about: &About, verdict: &Verdict) -> Value {
    json!({
        "command": about.command,
        "machine": about.machine,
        "cores": about.cores,
        "rounds": about.rounds,
        "settings": settings(),
        "binaries": about.sites,
        "noise": verdict.json(),
        "results": results.json(&about.sites),
    })
}

fn settings() -> String {
    let words = |pairs: &[(&str, &str)]| {
        let words = pairs.iter().map(|(name, value)| format!("{name}={value}"));
        words.collect::<Vec<_>>().join(" ")
    };
    format!(
        "auth: {}; PostgreSQL: {}; Redis: appendonly=yes appendfsync=no; {CLIENTS} clients, {LOGIN_CLIENTS} for logins; \
         argon2id m=19456 t=2 p=1; RS256 of 2048 bits",
        words(SETTINGS),
        words(POSTGRES)
    )
}

fn name(row: &Row, about: &About) -> String {
    match row.site {
        Some(site) if about.sites.len() > 1 => format!("{} ({})", row.title, about.sites[site]),
        _ => row.title.to_owned(),
    }
}

fn targets(results: &Results, about: &About) -> Vec<Vec<String>> {
    let mut lines = vec![["", "target"].map(str::to_owned).to_vec()];
    for site in &about.sites {
        lines[0].extend([(*site).to_owned(), String::new()]);
    }
    for target in TARGETS {
        let bound = match target.bound {
            Bound::AtMost(most) => format!("<= {most}"),
            Bound::AtLeast(least) => format!(">= {least}"),
        };
        let mut line = vec![target.title.to_owned(), bound];
        for site in 0..about.sites.len() {
            let verdict = results.verdict(target, site);
            line.extend(match verdict {
                Some(verdict) => {
                    let word = if verdict.is_met { "met" } else { "MISSED" };
                    [number(verdict.value), word.to_owned()]
                }
                None => ["-".to_owned(), String::new()],
            });
        }
        lines.push(line);
    }
    lines
}

fn ratios(results: &Results) -> Vec<Vec<String>> {
    let mut lines = Vec::new();
    for row in results.rows.iter().filter(|row| row.site == Some(0)) {
        let cpu = |row: &Row| Some(row.spread(|one| Some(one.cpu))?.median);
        let other = results.row(row.key, 1).and_then(cpu);
        let ratio = cpu(row).zip(other).map(|(ours, other)| ours / other);
        let cell = ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.3}"));
        lines.push(vec![row.title.to_owned(), cell]);
    }
    lines
}

fn table(text: &mut String, lines: Vec<Vec<String>>) {
    let columns = lines.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for line in &lines {
        for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
            let _ = if column == 0 {
                write!(text, "  {cell:<width$}")
            } else {
                write!(text, "  {cell:>width$}")
            };
        }
        let _ = writeln!(text);
    }
}
