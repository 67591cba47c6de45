//! `portcullis auth migrate`: what has to be done once before instances start. Safe to repeat.

use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use portcullis_auth::Config;
use serde_json::json;

use crate::console::Console;

/// As in `HELP`.
const NOT_UP_TO_DATE: u8 = 3;

const HELP: &str = "\
Examples:
  DATABASE_URL=sqlite:///var/lib/portcullis/auth.db portcullis auth migrate
  portcullis auth migrate --json
  portcullis auth migrate --check || echo 'not yet migrated'

Exit codes:
  0  the database is ready; a set-up token is printed while there is no administrator
  1  bad configuration, or the database cannot be used
  2  wrong usage of the command line
  3  with --check: the schema is not up to date";

/// Bring the database up to date, make the first signing key and a set-up token
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Arguments {
    /// Only tell which migrations are missing; change nothing
    #[arg(long)]
    check: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let config = super::config(None)?;
    if arguments.check {
        return check(&config, arguments.json);
    }
    let prepared = super::runtime()?
        .block_on(portcullis_auth::prepare(&config))
        .context("cannot prepare the database")?;
    let seconds = prepared.setup_token_expires_in.as_secs();
    let token = prepared.setup_token.as_ref().map(|token| token.expose());
    let text = match token {
        Some(token) => format!(
            "The database is ready. Set-up token for the first administrator, good once and \
             for {} minutes:\n  {token}",
            seconds.div_ceil(60)
        ),
        None => "The database is ready.".to_owned(),
    };
    Console::from_flag(arguments.json).answer(text, || {
        json!({
            "ok": true,
            "setup_token": token,
            "setup_token_expires_in_seconds": token.map(|_| seconds),
        })
    });
    Ok(ExitCode::SUCCESS)
}

fn check(config: &Config, is_json: bool) -> anyhow::Result<ExitCode> {
    let plan = super::runtime()?
        .block_on(portcullis_auth::migration::plan(config))
        .context("cannot read the schema's version")?;
    let steps = plan.missing.iter();
    let lines: String = steps
        .map(|step| format!("\n  {}  {}", step.version, step.name))
        .collect();
    let text = match lines.as_str() {
        "" => "The schema is up to date.".to_owned(),
        lines => format!("These migrations are missing:{lines}"),
    };
    Console::from_flag(is_json).answer(text, || {
        let missing = plan.missing.iter();
        let missing = missing.map(|step| json!({ "version": step.version, "name": step.name }));
        json!({
            "ok": plan.missing.is_empty(),
            "found": plan.found,
            "ours": plan.ours,
            "missing": missing.collect::<Vec<_>>(),
        })
    });
    Ok(match plan.missing.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(NOT_UP_TO_DATE),
    })
}
