//! `portcullis auth client`: machine identities, beside running instances. They act by API keys: `auth api-key`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use portcullis_auth::Config;
use portcullis_auth::domain::Client;
use portcullis_auth::operator::OperatorError;
use portcullis_auth::operator::authorization::{self, WantedClient};
use serde_json::{Value, json};

use super::Terms;

const HELP: &str = "\
Examples:
  portcullis auth client list --data-dir portcullis-data
  portcullis auth client set billing clerk auditor --tier pro
  portcullis auth client remove billing

Exit codes:
  0  done; running instances act on it from their next request
  1  no such client, a name that is none, bad configuration, or the database cannot be used
  2  wrong usage of the command line";

const LIST_HELP: &str = "\
Examples:
  portcullis auth client list
  portcullis auth client list --json --data-dir portcullis-data

Exit codes:
  0  listed
  1  bad configuration, or the database cannot be used
  2  wrong usage of the command line";

const SET_HELP: &str = "\
Examples:
  portcullis auth client set billing clerk --tier internal
  portcullis auth client set billing clerk --disabled

Roles, tier and status are replaced: what is not said is a free, open client without roles.

Exit codes:
  0  done; its keys give what its roles grant from the next request on
  1  a name that is none, too many, bad configuration, or the database cannot be used
  2  wrong usage of the command line";

const REMOVE_HELP: &str = "\
Examples:
  portcullis auth client remove billing
  portcullis auth client remove billing --json --data-dir portcullis-data

Exit codes:
  0  done; its keys are gone with it
  1  no such client, bad configuration, or the database cannot be used
  2  wrong usage of the command line";

/// List and change machine identities
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
    /// Print every client, in order of its name
    #[command(after_help = LIST_HELP)]
    List,
    /// Make a client, or replace what it has
    #[command(after_help = SET_HELP)]
    Set(Set),
    /// Take a client away, and its API keys with it
    #[command(after_help = REMOVE_HELP)]
    Remove {
        /// The client
        name: String,
    },
}

#[derive(Debug, Args)]
struct Set {
    /// The client
    name: String,
    /// Every role it shall have
    roles: Vec<String>,
    /// anonymous, free, pro, enterprise or internal
    #[arg(long, default_value = "free")]
    tier: String,
    /// Shut it: its keys are good for nothing
    #[arg(long)]
    disabled: bool,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let config = arguments.terms.config()?;
    let clients = super::runtime()?.block_on(apply(&arguments.verb, &config))?;
    let console = arguments.terms.console();
    for client in &clients {
        console.answer(text(client), || json(client));
    }
    if let Verb::Remove { name } = &arguments.verb {
        super::tell_removed(console, name);
    }
    Ok(ExitCode::SUCCESS)
}

async fn apply(verb: &Verb, config: &Config) -> Result<Vec<Client>, OperatorError> {
    match verb {
        Verb::List => authorization::clients(config).await,
        Verb::Set(set) => {
            let wanted = WantedClient {
                name: &set.name,
                roles: &set.roles,
                tier: Some(&set.tier),
                is_active: !set.disabled,
            };
            Ok(vec![authorization::put_client(config, wanted).await?])
        }
        Verb::Remove { name } => {
            authorization::remove_client(config, name).await?;
            Ok(Vec::new())
        }
    }
}

fn status(client: &Client) -> &'static str {
    if client.is_active {
        "active"
    } else {
        "disabled"
    }
}

fn roles(client: &Client) -> Vec<&str> {
    client.roles.iter().map(|role| role.as_str()).collect()
}

fn text(client: &Client) -> String {
    let roles = super::joined(&roles(client), ",");
    let (name, status, tier) = (client.name.as_str(), status(client), client.tier.as_str());
    format!("{name:<24}  {status:<8}  {tier:<10}  {roles}")
}

fn json(client: &Client) -> Value {
    json!({
        "name": client.name.as_str(),
        "status": status(client),
        "tier": client.tier.as_str(),
        "roles": roles(client),
    })
}
