//! `portcullis check`: every mistake of an edge configuration at once. Never binds,
//! connects or writes anything.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use portcullis_edge::config::{self, CheckReport};
use portcullis_ops::diagnostic::Diagnostics;
use serde_json::{Value, json};

use crate::console::Console;

const HELP: &str = "\
Examples:
  portcullis check edge.yaml
  portcullis check --json edge.yaml | jq '.diagnostics[].message'
  portcullis check --print-reference > edge.yaml

Exit codes:
  0  the configuration can be used; there may be warnings
  1  it holds mistakes, each with file, line, column and a hint
  2  wrong usage of the command line";

/// Find every mistake in an edge configuration
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    /// The configuration to read
    #[arg(required_unless_present = "print")]
    file: Option<PathBuf>,
    /// Print one JSON object with all diagnostics
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    print: Print,
}

/// What can be printed instead of checking a file.
#[derive(Debug, Args)]
#[group(id = "print", multiple = false, conflicts_with_all = ["file", "json"])]
struct Print {
    /// Print every key with its default and meaning, and check nothing
    #[arg(long)]
    print_reference: bool,
    /// Print the JSON Schema of the configuration for editors, and check nothing
    #[arg(long)]
    print_schema: bool,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let Some(file) = &arguments.file else {
        let text = if arguments.print.print_schema {
            config::json_schema()
        } else {
            config::reference()
        };
        io::stdout().lock().write_all(text.as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    };
    let report = config::check(file, &|name| std::env::var(name).ok());
    let is_usable = report.is_usable();
    tell(Console::from_flag(arguments.json), file, &report);
    Ok(if is_usable {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Tells the mistakes of a file that a command needed, as `check` would.
pub(crate) fn refuse(console: Console, file: &Path, errors: Diagnostics) {
    let report = CheckReport {
        errors,
        warnings: Diagnostics::default(),
        summary: None,
    };
    tell(console, file, &report);
}

fn tell(console: Console, file: &Path, report: &CheckReport) {
    let found = [
        (&report.errors, counted(report.errors.len(), "mistake")),
        (&report.warnings, counted(report.warnings.len(), "warning")),
    ];
    for (diagnostics, number) in found {
        if !diagnostics.is_empty() {
            console.progress(format_args!("{diagnostics}\n{number}"));
        }
    }
    match (console, &report.summary) {
        (Console::Text, None) => {}
        (_, summary) => {
            let summary = summary.as_deref().unwrap_or_default();
            console.answer(
                format_args!("{} can be used: {summary}", file.display()),
                || json(report),
            );
        }
    }
}

/// One list: each diagnostic says itself whether it is an error or a warning.
fn json(report: &CheckReport) -> Value {
    let diagnostics: Vec<Value> = [&report.errors, &report.warnings]
        .into_iter()
        .flat_map(|found| {
            serde_json::from_str::<Vec<Value>>(&found.to_json())
                .expect("diagnostics make a valid JSON array")
        })
        .collect();
    json!({
        "usable": report.is_usable(),
        "summary": report.summary,
        "diagnostics": diagnostics,
    })
}

fn counted(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

#[cfg(test)]
mod tests {
    use portcullis_ops::diagnostic::Diagnostic;

    use super::*;

    #[test]
    fn report_for_machines_holds_every_diagnostic() {
        let error = Diagnostic::of_file("edge.yaml", "no such file", None);
        let report = CheckReport {
            errors: Diagnostics::from(error.clone()),
            warnings: Diagnostics::from(error),
            summary: None,
        };
        let json = json(&report);
        assert_eq!(json["usable"], false);
        assert_eq!(json["diagnostics"].as_array().unwrap().len(), 2);
        assert_eq!(json["diagnostics"][0]["message"], "no such file");
    }

    #[test]
    fn counts_read_like_sentences() {
        assert_eq!(counted(1, "mistake"), "1 mistake");
        assert_eq!(counted(12, "mistake"), "12 mistakes");
    }
}
