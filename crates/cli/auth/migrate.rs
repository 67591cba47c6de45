//! `portcullis auth migrate`: what has to be done once before instances start. Safe to repeat.

use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use serde_json::json;

use crate::console::Console;

const HELP: &str = "\
Examples:
  DATABASE_URL=sqlite:///var/lib/portcullis/auth.db portcullis auth migrate
  portcullis auth migrate --json

Exit codes:
  0  the database is ready; a set-up token is printed while there is no administrator
  1  bad configuration, or the database cannot be used
  2  wrong usage of the command line";

/// Bring the database up to date, make the first signing key and a set-up token
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Arguments {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let config = super::config(None)?;
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
