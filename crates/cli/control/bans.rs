//! `portcullis bans`, `ban` and `unban`: who is kept out. Never keeps a list of its own.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::{Precondition, Target, finish, list, printable, row, table, text};

const BANS_HELP: &str = "\
Examples:
  portcullis bans

Exit codes:
  0  listed
  1  the edge refused
  2  wrong usage of the command line, or no edge answers";

const BAN_HELP: &str = "\
Examples:
  portcullis ban 203.0.113.9 --for 3600
  portcullis ban 203.0.113.0/24

Exit codes:
  0  kept out
  1  the edge refused
  2  wrong usage of the command line, or no edge answers";

const UNBAN_HELP: &str = "\
Examples:
  portcullis unban 203.0.113.9

Exit codes:
  0  may come in again
  1  it was not kept out, or the edge refused
  2  wrong usage of the command line, or no edge answers";

/// List the networks that are kept out
#[derive(Debug, Args)]
#[command(after_help = BANS_HELP)]
pub(crate) struct Bans {
    #[command(flatten)]
    target: Target,
}

/// Keep a network out
#[derive(Debug, Args)]
#[command(after_help = BAN_HELP)]
pub(crate) struct Ban {
    /// A network such as 203.0.113.0/24, or one address
    network: String,
    /// For so many seconds; as long as the edge runs by default
    #[arg(long = "for", value_name = "SECONDS")]
    seconds: Option<u64>,
    #[command(flatten)]
    precondition: Precondition,
    #[command(flatten)]
    target: Target,
}

/// Let a network in again
#[derive(Debug, Args)]
#[command(after_help = UNBAN_HELP)]
pub(crate) struct Unban {
    /// As `bans` has it
    network: String,
    #[command(flatten)]
    precondition: Precondition,
    #[command(flatten)]
    target: Target,
}

pub(crate) fn bans(arguments: &Bans) -> anyhow::Result<ExitCode> {
    let shown = arguments.target.client()?.get("/v1/bans");
    Ok(finish(shown.map(|shown| {
        let mut rows = vec![row([&"NETWORK", &"UNTIL"])];
        for ban in list(&shown, "bans") {
            let until = ban["until"].as_str().unwrap_or("the edge ends");
            rows.push(row([&text(ban, "network"), &until]));
        }
        arguments
            .target
            .console()
            .answer(table(&rows), || shown.clone());
        ExitCode::SUCCESS
    })))
}

pub(crate) fn ban(arguments: &Ban) -> anyhow::Result<ExitCode> {
    let mut body = json!({ "network": arguments.network });
    if let Some(seconds) = arguments.seconds {
        body["ttl_seconds"] = json!(seconds);
    }
    let banned = arguments
        .precondition
        .client(&arguments.target)?
        .post("/v1/bans/add", &body);
    Ok(finish(banned.map(|banned| {
        let until = banned["ban"]["until"].as_str().unwrap_or("the edge ends");
        let line = format!(
            "{} is kept out until {until}",
            text(&banned["ban"], "network")
        );
        arguments
            .target
            .console()
            .answer(printable(&line), || banned.clone());
        ExitCode::SUCCESS
    })))
}

pub(crate) fn unban(arguments: &Unban) -> anyhow::Result<ExitCode> {
    let body = json!({ "network": arguments.network });
    let freed = arguments
        .precondition
        .client(&arguments.target)?
        .post("/v1/bans/remove", &body);
    Ok(finish(freed.map(|freed| {
        let line = format!("{} may come in again", text(&freed, "network"));
        arguments
            .target
            .console()
            .answer(printable(&line), || freed.clone());
        ExitCode::SUCCESS
    })))
}
