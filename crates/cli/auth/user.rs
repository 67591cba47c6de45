//! `portcullis auth user`: an operator's work on accounts, beside running instances. Never shows a password, and takes
//! one from standard input alone.

mod import;

use std::io::BufRead;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use portcullis_auth::Config;
use portcullis_auth::domain::{Account, SessionRecord};
use portcullis_auth::operator::{self, instant};
use portcullis_ops::Secret;
use serde_json::{Value, json};

use super::Terms;

/// Nobody's password is longer; a file that was piped in by mistake is.
const PASSWORD_BYTES_MAX: u64 = 4096;

const HELP: &str = "\
Examples:
  portcullis auth user list --data-dir portcullis-data
  portcullis auth user disable ada@example.com
  portcullis auth user roles ada@example.com admin billing:read
  portcullis auth user import accounts.jsonl --dry-run
  portcullis auth user erase ada@example.com --yes

The names of earlier releases, `auth account` and `set-roles`, still work.

Exit codes:
  0  done; running instances act on it from their next request
  1  no such account, bad configuration, or the database cannot be used
  2  wrong usage of the command line";

const LIST_HELP: &str = "\
Examples:
  portcullis auth user list
  portcullis auth user list --json --data-dir portcullis-data

Exit codes:
  0  listed
  1  bad configuration, or the database cannot be used
  2  wrong usage of the command line";

const SHOW_HELP: &str = "\
Examples:
  portcullis auth user show ada@example.com
  portcullis auth user show ada@example.com --json --data-dir portcullis-data

Exit codes:
  0  shown
  1  no such account, bad configuration, or the database cannot be used
  2  wrong usage of the command line";

const CHANGE_HELP: &str = "\
Examples:
  portcullis auth user disable ada@example.com
  portcullis auth user enable ada@example.com --data-dir portcullis-data --json

Exit codes:
  0  done; running instances act on it from their next request
  1  no such account, bad configuration, or the database cannot be used
  2  wrong usage of the command line";

const ROLES_HELP: &str = "\
Examples:
  portcullis auth user roles ada@example.com admin
  portcullis auth user roles ada@example.com

Exit codes:
  0  done; tokens with the old roles are void from the next request on
  1  no such account, bad configuration, or the database cannot be used
  2  wrong usage of the command line";

const TIER_HELP: &str = "\
Examples:
  portcullis auth user tier ada@example.com pro
  portcullis auth user tier ada@example.com internal --json

Exit codes:
  0  done; tokens say so from the next login or refresh on
  1  no such account or tier, bad configuration, or the database cannot be used
  2  wrong usage of the command line";

const ADD_HELP: &str = "\
Examples:
  pass show ada | portcullis auth user add ada@example.com --role billing:read
  portcullis auth user add ada@example.com --json < password.txt

The password is the first line of standard input; the same rules hold as for registrations.

Exit codes:
  0  added
  1  the address is taken, the password is refused, bad configuration, or the database cannot be used
  2  wrong usage of the command line";

const SESSIONS_HELP: &str = "\
Examples:
  portcullis auth user sessions ada@example.com
  portcullis auth user logout ada@example.com --json

Exit codes:
  0  done; running instances refuse ended sessions from their next request
  1  no such account, bad configuration, or the database cannot be used
  2  wrong usage of the command line";

const ERASE_HELP: &str = "\
Examples:
  portcullis auth user erase ada@example.com --yes
  portcullis auth user erase 5b0f6f0e-6d1c-4c3a-9d52-f0a1b2c3d4e5 --yes

Deletes the account with its sessions, and puts a pseudonym in its place in the audit log, whose chain
stays whole. There is no way back. By its id it also ends an erasure that was interrupted.

Exit codes:
  0  erased
  1  no such account, --yes is missing, bad configuration, or the database cannot be used
  2  wrong usage of the command line";

/// List, add, import, change and erase accounts
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
    /// Print every account, in order of its address
    #[command(after_help = LIST_HELP)]
    List,
    /// Shut an account: its sessions end, and it gets no new ones
    #[command(after_help = CHANGE_HELP)]
    Disable(One),
    /// Open an account again; sessions that ended stay ended
    #[command(after_help = CHANGE_HELP)]
    Enable(One),
    /// Replace the roles of an account; name none to take all away
    #[command(after_help = ROLES_HELP, alias = "set-roles")]
    Roles(SetRoles),
    /// Put an account into a tier: anonymous, free, pro, enterprise or internal
    #[command(after_help = TIER_HELP, alias = "set-tier")]
    Tier(SetTier),
    /// Print one account
    #[command(after_help = SHOW_HELP)]
    Show(One),
    /// Add an account, with the password on standard input
    #[command(after_help = ADD_HELP)]
    Add(Add),
    /// Print the sessions of an account, newest first
    #[command(after_help = SESSIONS_HELP)]
    Sessions(One),
    /// End every session of an account; it may log in again
    #[command(after_help = SESSIONS_HELP)]
    Logout(One),
    /// Take accounts over from another system
    Import(import::Import),
    /// Delete an account, and take it out of the audit log
    #[command(after_help = ERASE_HELP)]
    Erase(Erase),
}

#[derive(Debug, Args)]
struct One {
    /// The account's address
    email: String,
}

#[derive(Debug, Args)]
struct SetRoles {
    /// The account's address
    email: String,
    /// Every role it shall have
    roles: Vec<String>,
}

#[derive(Debug, Args)]
struct SetTier {
    /// The account's address
    email: String,
    /// The tier
    tier: String,
}

#[derive(Debug, Args)]
struct Add {
    /// The account's address
    email: String,
    /// A role it shall have; may be given several times
    #[arg(long = "role")]
    roles: Vec<String>,
}

#[derive(Debug, Args)]
struct Erase {
    /// The account's address, or its id
    account: String,
    /// Do it: there is no way back
    #[arg(long)]
    yes: bool,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let config = arguments.terms.config()?;
    let console = arguments.terms.console();
    if let Verb::Import(wanted) = &arguments.verb {
        return import::run(wanted, &config, console);
    }
    let runtime = super::runtime()?;
    if let Verb::Erase(erase) = &arguments.verb {
        if !erase.yes {
            bail!("nothing was erased: this cannot be undone, say --yes");
        }
        let erased = runtime.block_on(operator::erase(&config, &erase.account))?;
        let lines = erased.audit_lines;
        console.answer(
            format!("erased, with {lines} lines of the audit log"),
            || json!({ "erased": true, "audit_lines": lines }),
        );
        return Ok(ExitCode::SUCCESS);
    }
    if let Verb::Sessions(One { email }) = &arguments.verb {
        for session in &runtime.block_on(operator::sessions(&config, email))? {
            console.answer(session_text(session), || session_json(session));
        }
        return Ok(ExitCode::SUCCESS);
    }
    for account in &runtime.block_on(apply(&arguments.verb, &config))? {
        console.answer(text(account), || json(account));
    }
    Ok(ExitCode::SUCCESS)
}

async fn apply(verb: &Verb, config: &Config) -> anyhow::Result<Vec<Account>> {
    let account = match verb {
        Verb::List => return Ok(operator::list(config).await?),
        Verb::Disable(One { email }) => operator::disable(config, email).await?,
        Verb::Enable(One { email }) => operator::enable(config, email).await?,
        Verb::Show(One { email }) => operator::show(config, email).await?,
        Verb::Roles(SetRoles { email, roles }) => operator::set_roles(config, email, roles).await?,
        Verb::Tier(SetTier { email, tier }) => {
            operator::authorization::set_tier(config, email, tier).await?
        }
        Verb::Add(Add { email, roles }) => {
            let password = password(std::io::stdin().lock())?;
            operator::add(config, email, &password, roles).await?
        }
        Verb::Logout(One { email }) => operator::log_out(config, email).await?,
        Verb::Erase(_) | Verb::Import(_) | Verb::Sessions(_) => return Ok(Vec::new()),
    };
    Ok(vec![account])
}

/// The first line, without its end.
fn password(input: impl BufRead) -> anyhow::Result<Secret<String>> {
    let mut line = String::new();
    let read = input.take(PASSWORD_BYTES_MAX).read_line(&mut line);
    let line = Secret::new(line);
    read.context("cannot read the password from standard input")?;
    let password = line.expose().trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        bail!("no password on standard input: pipe one in, it is never an argument");
    }
    Ok(Secret::new(password.to_owned()))
}

fn text(account: &Account) -> String {
    let roles: Vec<&str> = account.roles.iter().map(|role| role.as_str()).collect();
    let roles = super::joined(&roles, ",");
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

fn session_text(session: &SessionRecord) -> String {
    let from = session.began_from.map(|network| network.to_string());
    format!(
        "{}  began {}  last used {}  from {}",
        session.id,
        instant::show(session.began_at),
        instant::show(session.used_at),
        from.as_deref().unwrap_or("-"),
    )
}

fn session_json(session: &SessionRecord) -> Value {
    json!({
        "id": session.id.to_string(),
        "began_at": instant::show(session.began_at),
        "last_used_at": instant::show(session.used_at),
        "began_from": session.began_from.map(|network| network.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_the_first_line_and_never_nothing() {
        for (typed, is) in [("correct horse\n", "correct horse"), (" a b\r\nc", " a b")] {
            assert_eq!(password(typed.as_bytes()).unwrap().expose(), is);
        }
        for nothing in ["", "\n", "\r\nsecond line"] {
            assert!(password(nothing.as_bytes()).is_err());
        }
    }
}
