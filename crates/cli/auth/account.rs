//! `portcullis auth account`: an operator's work on accounts, beside running instances.
//! Never touches a password.

use std::path::Path;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use portcullis_auth::Config;
use portcullis_auth::domain::Account;
use portcullis_auth::operator;
use serde_json::{Value, json};

use super::Target;
use crate::console::Console;

const HELP: &str = "\
Examples:
  portcullis auth account list --data-dir portcullis-data
  portcullis auth account disable ada@example.com
  portcullis auth account set-roles ada@example.com admin billing:read

Exit codes:
  0  done; running instances act on it from their next request
  1  no such account, bad configuration, or the database cannot be used
  2  wrong usage of the command line";

const LIST_HELP: &str = "\
Examples:
  portcullis auth account list
  portcullis auth account list --json --data-dir portcullis-data

Exit codes:
  0  listed
  1  bad configuration, or the database cannot be used
  2  wrong usage of the command line";

const CHANGE_HELP: &str = "\
Examples:
  portcullis auth account disable ada@example.com
  portcullis auth account enable ada@example.com --data-dir portcullis-data --json

Exit codes:
  0  done; running instances act on it from their next request
  1  no such account, bad configuration, or the database cannot be used
  2  wrong usage of the command line";

const ROLES_HELP: &str = "\
Examples:
  portcullis auth account set-roles ada@example.com admin
  portcullis auth account set-roles ada@example.com

Exit codes:
  0  done; tokens with the old roles are void from the next request on
  1  no such account, bad configuration, or the database cannot be used
  2  wrong usage of the command line";

const TIER_HELP: &str = "\
Examples:
  portcullis auth account set-tier ada@example.com pro
  portcullis auth account set-tier ada@example.com internal --json

Exit codes:
  0  done; tokens say so from the next login or refresh on
  1  no such account or tier, bad configuration, or the database cannot be used
  2  wrong usage of the command line";

/// List and change accounts
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Print every account, in order of its address
    #[command(after_help = LIST_HELP)]
    List(Common),
    /// Shut an account: its sessions end, and it gets no new ones
    #[command(after_help = CHANGE_HELP)]
    Disable(One),
    /// Open an account again; sessions that ended stay ended
    #[command(after_help = CHANGE_HELP)]
    Enable(One),
    /// Replace the roles of an account; name none to take all away
    #[command(after_help = ROLES_HELP)]
    SetRoles(SetRoles),
    /// Put an account into a tier: anonymous, free, pro, enterprise or internal
    #[command(after_help = TIER_HELP)]
    SetTier(SetTier),
}

#[derive(Debug, Args)]
struct Common {
    #[command(flatten)]
    target: Target,
    /// Print one JSON object per account
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct One {
    /// The account's address
    email: String,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
struct SetRoles {
    /// The account's address
    email: String,
    /// Every role it shall have
    roles: Vec<String>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
struct SetTier {
    /// The account's address
    email: String,
    /// The tier
    tier: String,
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let common = match &arguments.verb {
        Verb::List(common) => common,
        Verb::Disable(one) | Verb::Enable(one) => &one.common,
        Verb::SetRoles(change) => &change.common,
        Verb::SetTier(change) => &change.common,
    };
    let config = super::config(common.target.data_dir.as_deref().map(Path::new))?;
    let accounts = super::runtime()?.block_on(apply(&arguments.verb, &config))?;
    let console = Console::from_flag(common.json);
    for account in &accounts {
        console.answer(text(account), || json(account));
    }
    Ok(ExitCode::SUCCESS)
}

async fn apply(verb: &Verb, config: &Config) -> Result<Vec<Account>, operator::OperatorError> {
    let changed = match verb {
        Verb::List(_) => return operator::list(config).await,
        Verb::Disable(One { email, .. }) => operator::disable(config, email).await?,
        Verb::Enable(One { email, .. }) => operator::enable(config, email).await?,
        Verb::SetRoles(SetRoles { email, roles, .. }) => {
            operator::set_roles(config, email, roles).await?
        }
        Verb::SetTier(SetTier { email, tier, .. }) => {
            operator::authorization::set_tier(config, email, tier).await?
        }
    };
    Ok(vec![changed])
}

fn text(account: &Account) -> String {
    let roles: Vec<&str> = account.roles.iter().map(|role| role.as_str()).collect();
    let roles = if roles.is_empty() {
        "-".to_owned()
    } else {
        roles.join(",")
    };
    format!(
        "{}  {:<8}  {:<10}  {}  {roles}",
        account.id,
        account.status.as_str(),
        account.tier.as_str(),
        account.email.as_str()
    )
}

fn json(account: &Account) -> Value {
    let roles: Vec<&str> = account.roles.iter().map(|role| role.as_str()).collect();
    json!({
        "id": account.id.to_string(),
        "email": account.email.as_str(),
        "status": account.status.as_str(),
        "roles": roles,
        "tier": account.tier.as_str(),
        "created_at_ms": account.created_at.0,
    })
}
