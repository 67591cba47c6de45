//! `portcullis auth factors`: an operator's work on second factors, beside running instances.
//! Never shows a secret or a code.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use portcullis_auth::operator::factors;
use serde_json::json;

use super::Terms;

const HELP: &str = "\
Examples:
  portcullis auth factors reset ada@example.com
  portcullis auth factors reset ada@example.com --json --data-dir portcullis-data

Find out first, by another way than a message that asks for it, who asks: whoever holds the
password of the account and has this done is in.

Exit codes:
  0  done; from the next login on the password is enough
  1  no such account, no authenticator, bad configuration, or the database cannot be used
  2  wrong usage of the command line";

/// Take the authenticator away from somebody who lost it
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    pub(super) terms: Terms,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Take authenticator and recovery codes away; sessions go on
    #[command(after_help = HELP)]
    Reset {
        /// The account's address
        email: String,
    },
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let Verb::Reset { email } = &arguments.verb;
    let config = arguments.terms.config()?;
    let account = super::runtime()?.block_on(factors::reset(&config, email))?;
    let text = format!("{} has no authenticator any more", account.email.as_str());
    arguments.terms.console().answer(
        text,
        || json!({ "id": account.id.to_string(), "email": account.email.as_str() }),
    );
    Ok(ExitCode::SUCCESS)
}
