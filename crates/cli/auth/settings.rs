//! `portcullis auth settings`: what may change while instances run. Never a secret.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use portcullis_auth::Shown;
use portcullis_auth::operator::{instant, settings};
use serde_json::{Value, json};

use super::Terms;

const HELP: &str = "\
Examples:
  portcullis auth settings list
  portcullis auth settings set LOG_LEVEL debug
  portcullis auth settings reset LOG_LEVEL

A value holds in every instance within seconds, unless the instance's environment sets it.

Exit codes:
  0  done
  1  no such setting, a wrong value, bad configuration, or the database cannot be used
  2  wrong usage of the command line";

const LIST_HELP: &str = "\
Examples:
  portcullis auth settings list
  portcullis auth settings list --json --data-dir portcullis-data

Environment means the one this command runs in.

Exit codes:
  0  listed
  1  bad configuration, or the database cannot be used
  2  wrong usage of the command line";

const CHANGE_HELP: &str = "\
Examples:
  portcullis auth settings set AUTH_RATE_LIMIT_LOGIN 60
  portcullis auth settings reset AUTH_RATE_LIMIT_LOGIN --json

Exit codes:
  0  stored; running instances follow within seconds
  1  no such setting, a wrong value, bad configuration, or the database cannot be used
  2  wrong usage of the command line";

/// Change settings of all instances while they run
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
    /// Print every setting, its value and where that comes from
    #[command(after_help = LIST_HELP)]
    List,
    /// Store a value for all instances
    #[command(after_help = CHANGE_HELP)]
    Set(Set),
    /// Take a stored value back
    #[command(after_help = CHANGE_HELP)]
    Reset(Reset),
}

#[derive(Debug, Args)]
struct Set {
    /// Its name, as in the environment
    name: String,
    /// Its value, as in the environment
    value: String,
}

#[derive(Debug, Args)]
struct Reset {
    /// Its name, as in the environment
    name: String,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let config = arguments.terms.config()?;
    let runtime = super::runtime()?;
    let shown = match &arguments.verb {
        Verb::List => runtime.block_on(settings::list(&config)),
        Verb::Set(Set { name, value }) => {
            runtime.block_on(settings::change(&config, name, Some(value.trim())))
        }
        Verb::Reset(Reset { name }) => runtime.block_on(settings::change(&config, name, None)),
    }?;
    let console = arguments.terms.console();
    for setting in &shown {
        console.answer(text(setting), || json(setting));
    }
    Ok(ExitCode::SUCCESS)
}

fn text(setting: &Shown) -> String {
    let changed = setting.stored.as_ref().map_or(String::new(), |row| {
        let at = instant::show(row.changed_at);
        format!("  (changed {at} by {})", row.changed_by)
    });
    format!(
        "{:<34} {:<10} {}{changed}",
        setting.variable.name,
        setting.value,
        setting.source.as_str(),
    )
}

fn json(setting: &Shown) -> Value {
    let stored = setting.stored.as_ref();
    json!({
        "name": setting.variable.name,
        "value": setting.value,
        "source": setting.source.as_str(),
        "default": setting.variable.default,
        "stored": stored.and_then(|row| row.value.as_deref()),
        "version": stored.map(|row| row.version),
        "changed_at": stored.map(|row| instant::show(row.changed_at)),
        "changed_by": stored.map(|row| row.changed_by.as_str()),
    })
}
