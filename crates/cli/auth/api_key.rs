//! `portcullis auth api-key`: API keys of accounts and clients, beside running instances. Prints a key once, when it is
//! made, and never again.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use portcullis_auth::domain::ApiKey;
use portcullis_auth::operator::authorization;
use serde_json::{Value, json};

use super::Terms;

const HELP: &str = "\
Examples:
  portcullis auth api-key list client:billing
  portcullis auth api-key create client:billing 'nightly run' 'orders:*' --days 90
  portcullis auth api-key revoke 8c1d6b0e-4f0c-4c39-9a5e-0d7a5d7b4a11

Exit codes:
  0  done; running instances act on it from their next request
  1  no such owner or key, a name that is none, bad configuration, or the database cannot be used
  2  wrong usage of the command line";

const LIST_HELP: &str = "\
Examples:
  portcullis auth api-key list ada@example.com
  portcullis auth api-key list client:billing --json --data-dir portcullis-data

Exit codes:
  0  listed, the newest first
  1  no such owner, bad configuration, or the database cannot be used
  2  wrong usage of the command line";

const CREATE_HELP: &str = "\
Examples:
  portcullis auth api-key create client:billing 'nightly run' 'orders:*' --days 90
  portcullis auth api-key create ada@example.com laptop orders:read --json

The key is printed this once. It gives what is named here, as far as its owner has it.

Exit codes:
  0  made
  1  no such owner, too many keys, bad configuration, or the database cannot be used
  2  wrong usage of the command line";

const REVOKE_HELP: &str = "\
Examples:
  portcullis auth api-key revoke 8c1d6b0e-4f0c-4c39-9a5e-0d7a5d7b4a11
  portcullis auth api-key revoke --json 8c1d6b0e-4f0c-4c39-9a5e-0d7a5d7b4a11

Exit codes:
  0  revoked, also if it had been before
  1  no such key, bad configuration, or the database cannot be used
  2  wrong usage of the command line";

/// List, make and revoke API keys
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
    /// Print the API keys of an account or a client
    #[command(after_help = LIST_HELP)]
    List(List),
    /// Make an API key and print it, once
    #[command(after_help = CREATE_HELP)]
    Create(Create),
    /// Revoke an API key
    #[command(after_help = REVOKE_HELP)]
    Revoke(Revoke),
}

#[derive(Debug, Args)]
struct List {
    /// The address of an account, or client: and a client's name
    owner: String,
}

#[derive(Debug, Args)]
struct Create {
    /// The address of an account, or client: and a client's name
    owner: String,
    /// What to call the key
    name: String,
    /// Every permission it shall give, as resource:action or resource:*
    permissions: Vec<String>,
    /// Days until it ends; without it, never
    #[arg(long)]
    days: Option<u32>,
}

#[derive(Debug, Args)]
struct Revoke {
    /// The key's id, not the key
    id: String,
}

const DAY: u64 = 24 * 3600;

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let config = arguments.terms.config()?;
    let console = arguments.terms.console();
    super::runtime()?.block_on(async {
        match &arguments.verb {
            Verb::List(list) => {
                for key in authorization::api_keys(&config, &list.owner).await? {
                    console.answer(text(&key), || json(&key));
                }
            }
            Verb::Create(create) => {
                let Create {
                    owner,
                    name,
                    permissions,
                    days,
                } = create;
                let expires_in = days.map(|days| u64::from(days) * DAY);
                let made =
                    authorization::create_api_key(&config, owner, name, permissions, expires_in);
                let (key, secret) = made.await?;
                console.answer(format!("{}\n  {}", text(&key), secret.expose()), || {
                    let mut answer = json(&key);
                    answer["key"] = json!(secret.expose());
                    answer
                });
            }
            Verb::Revoke(revoke) => {
                let key = authorization::revoke_api_key(&config, &revoke.id).await?;
                console.answer(text(&key), || json(&key));
            }
        }
        anyhow::Ok(())
    })?;
    Ok(ExitCode::SUCCESS)
}

fn names(key: &ApiKey) -> Vec<&str> {
    let grants = key.permissions.iter();
    grants.map(|grant| grant.as_str()).collect()
}

fn text(key: &ApiKey) -> String {
    let state = if key.revoked_at.is_some() {
        "revoked"
    } else {
        "kept"
    };
    let (name, names) = (key.name.as_str(), names(key).join(" "));
    format!("{}  {}  {state:<7}  {name}  {names}", key.id, key.prefix)
}

fn json(key: &ApiKey) -> Value {
    json!({
        "id": key.id.to_string(),
        "name": key.name.as_str(),
        "prefix": key.prefix,
        "owner": key.owner.to_string(),
        "permissions": names(key),
        "created_at_ms": key.created_at.0,
        "expires_at_ms": key.expires_at.map(|at| at.0),
        "revoked_at_ms": key.revoked_at.map(|at| at.0),
        "last_used_at_ms": key.last_used_at.map(|at| at.0),
    })
}
