//! `portcullis auth keys`: an operator's work on signing keys, beside running instances.
//! Never prints a private half.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use portcullis_auth::Config;
use portcullis_auth::domain::{PUBLISHED_AHEAD, SigningKeyRecord};
use portcullis_auth::operator::{OperatorError, instant, keys};
use serde_json::{Value, json};

use super::Terms;

const HELP: &str = "\
Examples:
  portcullis auth keys list --data-dir portcullis-data
  portcullis auth keys rotate
  portcullis auth keys revoke auth-server-key-1

Exit codes:
  0  done; running instances act on it within a second
  1  no such key, too early to rotate, bad configuration, or the database cannot be used
  2  wrong usage of the command line";

const LIST_HELP: &str = "\
Examples:
  portcullis auth keys list
  portcullis auth keys list --json --data-dir portcullis-data

A key is published as `next`, signs while `active`, verifies while `retiring` and is gone when
`retired`.

Exit codes:
  0  listed
  1  bad configuration, or the database cannot be used
  2  wrong usage of the command line";

const ROTATE_HELP: &str = "\
Examples:
  portcullis auth keys rotate
  portcullis auth keys rotate --json --data-dir portcullis-data

Nobody is logged out: tokens of the old key stay good to their end.

Exit codes:
  0  the next key signs from now on
  1  verifiers may not know the next key yet, bad configuration, or the database cannot be used
  2  wrong usage of the command line";

const REVOKE_HELP: &str = "\
Examples:
  portcullis auth keys revoke auth-server-key-1
  portcullis auth keys revoke --json --data-dir portcullis-data M5kLr8nOmRT0lc2dpQv6UzHYzHkSpLWDQxTB0YpVqvo

For a key that somebody else may hold. Every token it signed is refused within a second, and
their holders refresh or log in again. If it was active, another key signs at once.

Exit codes:
  0  revoked
  1  no such key, bad configuration, or the database cannot be used
  2  wrong usage of the command line";

/// List, rotate and revoke signing keys
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
    /// Print every key, oldest first
    #[command(after_help = LIST_HELP)]
    List,
    /// Let the next key sign now instead of when its time comes
    #[command(after_help = ROTATE_HELP)]
    Rotate,
    /// End a compromised key and everything it signed
    #[command(after_help = REVOKE_HELP)]
    Revoke(Revoke),
}

#[derive(Debug, Args)]
struct Revoke {
    /// The key's id, as `list` and JWKS show it
    kid: String,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let config = arguments.terms.config()?;
    let ring = super::runtime()?.block_on(apply(&arguments.verb, &config))?;
    let console = arguments.terms.console();
    for key in &ring {
        console.answer(text(key), || json(key));
    }
    Ok(ExitCode::SUCCESS)
}

async fn apply(verb: &Verb, config: &Config) -> Result<Vec<SigningKeyRecord>, OperatorError> {
    match verb {
        Verb::List => keys::list(config).await,
        Verb::Rotate => keys::rotate(config).await,
        Verb::Revoke(Revoke { kid }) => keys::revoke(config, kid).await,
    }
}

fn text(key: &SigningKeyRecord) -> String {
    format!(
        "{:<43}  {:<5}  {:<8}  made {}  {} since {}",
        key.kid,
        key.algorithm,
        key.state.as_str(),
        instant::show(key.created_at),
        key.state.as_str(),
        instant::show(key.changed_at),
    )
}

fn json(key: &SigningKeyRecord) -> Value {
    json!({
        "kid": key.kid,
        "algorithm": key.algorithm,
        "state": key.state.as_str(),
        "created_at": instant::show(key.created_at),
        "changed_at": instant::show(key.changed_at),
        "created_at_ms": key.created_at.0,
        "changed_at_ms": key.changed_at.0,
        "known_to_verifiers_at_ms": key.created_at.plus(PUBLISHED_AHEAD).0,
    })
}
