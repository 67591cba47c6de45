//! `portcullis auth role`: what roles grant, beside running instances. Who holds them is `auth user roles`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use portcullis_auth::Config;
use portcullis_auth::domain::RoleDefinition;
use portcullis_auth::operator::{OperatorError, authorization};
use serde_json::{Value, json};

use super::Terms;

const HELP: &str = "\
Examples:
  portcullis auth role list --data-dir portcullis-data
  portcullis auth role set clerk orders:read orders:write 'users:*'
  portcullis auth role remove clerk

Exit codes:
  0  done; running instances act on it from their next request
  1  no such role, a name that is none, bad configuration, or the database cannot be used
  2  wrong usage of the command line";

const LIST_HELP: &str = "\
Examples:
  portcullis auth role list
  portcullis auth role list --json --data-dir portcullis-data

Exit codes:
  0  listed
  1  bad configuration, or the database cannot be used
  2  wrong usage of the command line";

const SET_HELP: &str = "\
Examples:
  portcullis auth role set clerk orders:read orders:write
  portcullis auth role set admin 'orders:*' 'users:*' --json
  portcullis auth role set clerk

Exit codes:
  0  done; whoever holds the role has these permissions from the next request on
  1  a name that is none, too many, bad configuration, or the database cannot be used
  2  wrong usage of the command line";

const REMOVE_HELP: &str = "\
Examples:
  portcullis auth role remove clerk
  portcullis auth role remove clerk --json --data-dir portcullis-data

Exit codes:
  0  done
  1  no such role, somebody holds it, bad configuration, or the database cannot be used
  2  wrong usage of the command line";

/// List and change what roles grant
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
    /// Print every role with what it grants
    #[command(after_help = LIST_HELP)]
    List,
    /// Define a role, or replace what it grants
    #[command(after_help = SET_HELP)]
    Set {
        /// The role
        role: String,
        /// Every permission it shall grant, as resource:action or resource:*
        permissions: Vec<String>,
    },
    /// Take a role away that nobody holds
    #[command(after_help = REMOVE_HELP)]
    Remove {
        /// The role
        role: String,
    },
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let config = arguments.terms.config()?;
    let roles = super::runtime()?.block_on(apply(&arguments.verb, &config))?;
    let console = arguments.terms.console();
    for role in &roles {
        console.answer(text(role), || json(role));
    }
    if let Verb::Remove { role } = &arguments.verb {
        super::tell_removed(console, role);
    }
    Ok(ExitCode::SUCCESS)
}

async fn apply(verb: &Verb, config: &Config) -> Result<Vec<RoleDefinition>, OperatorError> {
    match verb {
        Verb::List => authorization::roles(config).await,
        Verb::Set { role, permissions } => Ok(vec![
            authorization::define_role(config, role, permissions).await?,
        ]),
        Verb::Remove { role } => {
            authorization::remove_role(config, role).await?;
            Ok(Vec::new())
        }
    }
}

fn names(role: &RoleDefinition) -> Vec<&str> {
    let grants = role.permissions.iter();
    grants.map(|grant| grant.as_str()).collect()
}

fn text(role: &RoleDefinition) -> String {
    let granted = super::joined(&names(role), " ");
    format!("{:<24}  {granted}", role.role.as_str())
}

fn json(role: &RoleDefinition) -> Value {
    json!({ "name": role.role.as_str(), "permissions": names(role) })
}
