//! `portcullis reload`, `rollback` and `config`: the configuration of a running edge. Never reads the file: the edge
//! does, as it sees it.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::client::{Trouble, nothing};
use super::{Precondition, Target, finish, list, printable, row, table, text};

const RELOAD_HELP: &str = "\
Examples:
  portcullis reload --plan      tell what would change, and change nothing
  portcullis reload

Exit codes:
  0  the file is in force; with --plan: it would be
  1  the file has mistakes, or the edge refused: the old configuration serves on
  2  wrong usage of the command line, or no edge answers";

const ROLLBACK_HELP: &str = "\
Examples:
  portcullis rollback
  portcullis rollback --to 3

The file stays as it is: mend it before the next reload.

Exit codes:
  0  the earlier configuration is in force
  1  there is none, or the edge refused
  2  wrong usage of the command line, or no edge answers";

const CONFIG_HELP: &str = "\
Examples:
  portcullis config                 as JSON, which is YAML too
  portcullis config --json          with number, origin and file

Secrets are hidden, and values from the environment are told by the names of their variables.

Exit codes:
  0  shown
  1  the edge refused
  2  wrong usage of the command line, or no edge answers";

/// Show the configuration that a running edge has in force
#[derive(Debug, Args)]
#[command(after_help = CONFIG_HELP)]
pub(crate) struct Config {
    #[command(flatten)]
    target: Target,
}

/// Have a running edge read its configuration again, whole or not at all
#[derive(Debug, Args)]
#[command(after_help = RELOAD_HELP)]
pub(crate) struct Reload {
    /// Only tell what would change
    #[arg(long)]
    plan: bool,
    #[command(flatten)]
    precondition: Precondition,
    #[command(flatten)]
    target: Target,
}

/// Put an earlier configuration into force again
#[derive(Debug, Args)]
#[command(after_help = ROLLBACK_HELP)]
pub(crate) struct Rollback {
    /// Number of the configuration, of /v1/history; the last one that was different by default
    #[arg(long, value_name = "NUMBER")]
    to: Option<u64>,
    #[command(flatten)]
    precondition: Precondition,
    #[command(flatten)]
    target: Target,
}

pub(crate) fn reload(arguments: &Reload) -> anyhow::Result<ExitCode> {
    let body = match arguments.plan {
        true => json!({ "plan": true }),
        false => nothing(),
    };
    let done = arguments
        .precondition
        .client(&arguments.target)?
        .post("/v1/reload", &body);
    Ok(told(&arguments.target, done))
}

pub(crate) fn rollback(arguments: &Rollback) -> anyhow::Result<ExitCode> {
    let body = match arguments.to {
        Some(number) => json!({ "number": number }),
        None => nothing(),
    };
    let done = arguments
        .precondition
        .client(&arguments.target)?
        .post("/v1/rollback", &body);
    Ok(told(&arguments.target, done))
}

pub(crate) fn config(arguments: &Config) -> anyhow::Result<ExitCode> {
    let shown = arguments.target.client()?.get("/v1/config");
    Ok(finish(shown.map(|shown| {
        let page = format!("{:#}", shown["config"]);
        arguments.target.console().answer(page, || shown.clone());
        ExitCode::SUCCESS
    })))
}

fn told(target: &Target, done: Result<Value, Trouble>) -> ExitCode {
    finish(done.map(|done| {
        target.console().answer(page(&done), || done.clone());
        ExitCode::SUCCESS
    }))
}

fn page(done: &Value) -> String {
    let changes = list(done, "changes");
    let sign = |change: &Value| match text(change, "kind") {
        "added" => "+",
        "removed" => "-",
        _ => "~",
    };
    let rows: Vec<_> = changes
        .iter()
        .map(|change| row([&sign(change), &text(change, "path"), &difference(change)]))
        .collect();
    let mut lines = vec![table(&rows)];
    let warnings = list(done, "warnings").iter().filter_map(Value::as_str);
    lines.extend(warnings.map(|warning| printable(&format!("warning: {warning}"))));
    let count = changes.len();
    lines.push(
        match (done["would_apply"].as_bool(), done["number"].as_u64()) {
            (Some(true), _) => format!("{count} changes would come into force"),
            (_, Some(number)) => format!("{count} changes are in force, as configuration {number}"),
            _ => format!("{count} changes"),
        },
    );
    lines.retain(|line| !line.is_empty());
    lines.join("\n")
}

fn difference(change: &Value) -> String {
    match (change["before"].is_null(), change["after"].is_null()) {
        (true, _) => change["after"].to_string(),
        (false, true) => change["before"].to_string(),
        (false, false) => format!("{} -> {}", change["before"], change["after"]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_one_line_for_each_change() {
        let plan = json!({ "would_apply": true, "warnings": ["workers: takes effect with the next start"], "changes": [
            { "path": "zone", "kind": "changed", "before": "a", "after": "b" },
            { "path": "routes[x]", "kind": "added", "before": null, "after": {} },
        ] });
        assert_eq!(
            page(&plan),
            "~  zone       \"a\" -> \"b\"\n+  routes[x]  {}\n\
             warning: workers: takes effect with the next start\n2 changes would come into force"
        );
    }
}
