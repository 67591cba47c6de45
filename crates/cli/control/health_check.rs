//! `portcullis health-check`: has endpoints checked now, and tells what was found. Never judges: the edge
//! does.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::client::nothing;
use super::{Target, finish, list, row, table, text};

const HELP: &str = "\
Examples:
  portcullis health-check
  portcullis health-check app --json

Exit codes:
  0  every check that was asked passes
  1  one fails or did not answer within 10 s, or the edge refused
  2  wrong usage of the command line, or no edge answers";

/// Check endpoints now instead of at their time
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    /// Only those of this cluster
    cluster: Option<String>,
    #[command(flatten)]
    target: Target,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let body = match &arguments.cluster {
        Some(cluster) => json!({ "cluster": cluster }),
        None => nothing(),
    };
    let client = arguments.target.client()?;
    let found = client.post("/api/v1/load-balancer/health-check", &body);
    Ok(finish(found.map(|found| {
        let mut rows = vec![row([
            &"CLUSTER",
            &"ENDPOINT",
            &"CHECKS",
            &"STATE",
            &"TROUBLE",
        ])];
        let mut is_well = true;
        for cluster in list(&found, "clusters") {
            for endpoint in list(cluster, "endpoints") {
                let verdict = verdict(endpoint);
                is_well &= matches!(verdict, "pass" | "none");
                rows.push(row([
                    &text(cluster, "cluster"),
                    &text(endpoint, "address"),
                    &verdict,
                    &text(endpoint, "state"),
                    &troubles(endpoint),
                ]));
            }
        }
        let console = arguments.target.console();
        console.answer(table(&rows), || found.clone());
        if is_well {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    })))
}

/// Of the answers that were waited for, not of the rows of answers that make a verdict of the edge.
fn verdict(endpoint: &Value) -> &'static str {
    let checks = list(endpoint, "checks");
    let is_failing = |check: &Value| !check["last"]["trouble"].is_null();
    match endpoint["answered"].as_bool() {
        _ if checks.is_empty() => "none",
        Some(true) if !checks.iter().any(is_failing) => "pass",
        Some(true) => "fail",
        _ => "no answer",
    }
}

fn troubles(endpoint: &Value) -> String {
    let checks = list(endpoint, "checks").iter();
    let troubles = checks.map(|check| text(&check["last"], "trouble"));
    let troubles: Vec<&str> = troubles.filter(|trouble| !trouble.is_empty()).collect();
    troubles.join("; ")
}
