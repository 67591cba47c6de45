//! Results as text, in a terminal and in Markdown, and as JSON. Never computes a figure.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::results::{METRICS, Metric, Results, Row};
use portcullis_testkit::measure::shown;
use portcullis_testkit::noise::Verdict;

/// Everything a report says besides the figures.
pub(crate) struct About {
    pub(crate) command: String,
    pub(crate) machine: String,
    pub(crate) cores: String,
    pub(crate) rounds: usize,
    /// Name and version of each contender, then of the load generators.
    pub(crate) versions: Vec<(String, String)>,
}

/// Tables for a terminal.
pub(crate) fn terminal(results: &Results, about: &About, verdict: &Verdict) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{}\n{}", about.machine, about.cores);
    for metric in METRICS {
        for table in tables(results, metric) {
            let widths = table.widths();
            let _ = writeln!(text, "\n{}", table.title);
            for line in &table.lines {
                let cells = line.iter().zip(&widths).enumerate();
                for (column, (cell, width)) in cells {
                    let _ = if column == 0 {
                        write!(text, "  {cell:<width$}")
                    } else {
                        write!(text, "  {cell:>width$}")
                    };
                }
                let _ = writeln!(text);
            }
        }
    }
    let _ = writeln!(text, "\n{}\n{}", verdict.summary, verdict.line());
    text
}

/// The section of `benches/README.md`.
pub(crate) fn markdown(results: &Results, about: &About, verdict: &Verdict) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "`{}`, {} rounds, on {} ({}).\n",
        about.command, about.rounds, about.machine, about.cores
    );
    for (name, version) in &about.versions {
        let _ = writeln!(text, "- {name}: {version}");
    }
    let _ = writeln!(text, "\n**{}** {}.", verdict.line(), verdict.summary);
    for metric in METRICS {
        for table in tables(results, metric) {
            let _ = writeln!(text, "\n### {}\n", table.title);
            for (index, line) in table.lines.iter().enumerate() {
                let _ = writeln!(text, "| {} |", line.join(" | "));
                if index == 0 {
                    let rule = vec!["---:"; line.len() - 1].join("|");
                    let _ = writeln!(text, "|---|{rule}|");
                }
            }
        }
    }
    text
}

/// Puts the section between its marks.
pub(crate) fn update(file: &Path, section: &str) -> Result<()> {
    let text = std::fs::read_to_string(file)?;
    let (before, rest) = text
        .split_once(BEGIN)
        .context("the first mark is missing")?;
    let (_, after) = rest.split_once(END).context("the last mark is missing")?;
    ensure!(!section.contains(BEGIN), "a section holds no marks");
    std::fs::write(file, format!("{before}{BEGIN}\n\n{section}\n{END}{after}"))?;
    Ok(())
}

const BEGIN: &str = "<!-- results -->";
const END: &str = "<!-- end of results -->";

pub(crate) fn json(results: &Results, about: &About, verdict: &Verdict) -> Value {
    let versions: serde_json::Map<String, Value> = about
        .versions
        .iter()
        .map(|(name, version)| (name.clone(), json!(version)))
        .collect();
    json!({
        "command": about.command,
        "machine": about.machine,
        "cores": about.cores,
        "rounds": about.rounds,
        "versions": versions,
        "noise": verdict.json(),
        "results": results.json(),
    })
}

/// Cells; the first line is the header, the first column the title.
struct Table {
    title: String,
    lines: Vec<Vec<String>>,
}

impl Table {
    fn widths(&self) -> Vec<usize> {
        let columns = self.lines.first().map_or(0, Vec::len);
        let width = |column: usize| {
            let cells = self.lines.iter().map(|line| line[column].chars().count());
            cells.max().unwrap_or_default()
        };
        (0..columns).map(width).collect()
    }
}

/// The figures, and the ratios of ours to each peer's.
fn tables(results: &Results, metric: Metric) -> Vec<Table> {
    let rows: Vec<&Row> = results.rows_of(metric).collect();
    let names = results.contenders.iter().map(|c| c.name.to_owned());
    let header: Vec<String> = std::iter::once(String::new()).chain(names).collect();
    let mut figures = Table {
        title: format!("{}: median (smallest to largest)", metric.title()),
        lines: vec![header],
    };
    let mut ratios = Table {
        title: format!("{}: ratio of medians", metric.title()),
        lines: vec![vec![String::new()]],
    };
    let pairs: Vec<(usize, usize)> = results
        .indices(true)
        .into_iter()
        .flat_map(|ours| {
            results
                .indices(false)
                .into_iter()
                .map(move |peer| (ours, peer))
        })
        .collect();
    for &(ours, peer) in &pairs {
        let [ours, peer] = [ours, peer].map(|index| results.contenders[index].key);
        ratios.lines[0].push(format!("{ours}/{peer}"));
    }
    for row in &rows {
        let cells = (0..results.contenders.len()).map(|index| shown(row.spread(index)));
        let line = std::iter::once(row.title.clone()).chain(cells);
        figures.lines.push(line.collect());
        let cells = pairs.iter().map(|&(ours, peer)| {
            let ratio = row.ratio(ours, peer);
            ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}"))
        });
        let line = std::iter::once(row.title.clone()).chain(cells);
        ratios.lines.push(line.collect());
    }
    if rows.is_empty() {
        Vec::new()
    } else if pairs.is_empty() || matches!(metric, Metric::Growth | Metric::Floor) {
        vec![figures]
    } else {
        vec![figures, ratios]
    }
}
