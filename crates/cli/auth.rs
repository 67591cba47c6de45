//! `portcullis auth`: one auth instance, and its operator's commands. Everything is set
//! by environment variables; a flag never repeats one.

mod api_key;
mod audit;
mod breached;
mod client;
mod factors;
mod keys;
mod migrate;
mod role;
mod settings;
mod user;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use portcullis_auth::Config;
use portcullis_ops::telemetry::{self, Format, LogLevel};
use portcullis_ops::{manager, orphans, signal};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::console::Console;
use crate::data_dir::DataDir;
use crate::file_limit;
use crate::port_holder;

const HELP: &str = "\
Examples:
  portcullis auth migrate && portcullis auth
  PORT=8001 DATABASE_URL=sqlite:///var/lib/portcullis/auth.db portcullis auth
  portcullis auth user list --data-dir portcullis-data
  portcullis auth audit verify
  portcullis auth role set clerk orders:read orders:write
  portcullis auth keys list
  portcullis auth factors reset ada@example.com";

/// What comes behind the drain: jobs that end, stores that close.
const LET_GO: Duration = Duration::from_secs(10);

const EXIT_CODES: &str = "\
Exit codes:
  0  done, or drained and stopped as asked
  1  bad configuration, taken port, or a failure while running
  2  wrong usage of the command line";

/// Run one auth instance, or do an operator's work on its database
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, after_help = help())]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Write log lines as JSON
    #[arg(long)]
    json: bool,
    /// Leave when standard input closes, as it does when the parent process ends
    #[arg(long)]
    exit_with_parent: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    Migrate(migrate::Arguments),
    #[command(alias = "account")]
    User(user::Arguments),
    Audit(audit::Arguments),
    Role(role::Arguments),
    Client(client::Arguments),
    ApiKey(api_key::Arguments),
    Keys(keys::Arguments),
    Factors(factors::Arguments),
    Breached(breached::Arguments),
    Settings(settings::Arguments),
}

/// Which database an operator's command works on, and how it answers. Flags that stand behind the verb or in front of it.
#[derive(Debug, Args)]
struct Terms {
    /// Use the data directory of `portcullis up` instead of DATABASE_URL and the like
    #[arg(long, value_name = "DIR", global = true)]
    data_dir: Option<PathBuf>,
    /// Print JSON, one object for each entry
    #[arg(long, global = true)]
    json: bool,
}

impl Terms {
    fn config(&self) -> anyhow::Result<Config> {
        config(self.data_dir.as_deref())
    }

    fn console(&self) -> Console {
        Console::from_flag(self.json)
    }
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    match &arguments.command {
        Some(Command::Migrate(arguments)) => migrate::run(arguments),
        Some(Command::User(arguments)) => user::run(arguments),
        Some(Command::Audit(arguments)) => audit::run(arguments),
        Some(Command::Role(arguments)) => role::run(arguments),
        Some(Command::Client(arguments)) => client::run(arguments),
        Some(Command::ApiKey(arguments)) => api_key::run(arguments),
        Some(Command::Keys(arguments)) => keys::run(arguments),
        Some(Command::Factors(arguments)) => factors::run(arguments),
        Some(Command::Breached(arguments)) => breached::run(arguments),
        Some(Command::Settings(arguments)) => settings::run(arguments),
        None => {
            let config = config(None)?;
            let format = if arguments.json {
                Format::Json
            } else {
                Format::Text
            };
            let log = telemetry::init(format, config.instance.log_level);
            let log = log.context("cannot start logging")?;
            for warning in &config.warnings {
                tracing::warn!("{warning}");
            }
            runtime()?.block_on(serve(config, log, arguments.exit_with_parent))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn help() -> String {
    let variables: String = portcullis_auth::config::variables()
        .map(|variable| {
            format!(
                "  {:<24} {} [{}]\n",
                variable.name, variable.meaning, variable.default
            )
        })
        .collect();
    format!("{HELP}\n\nEnvironment variables, with their defaults:\n{variables}\n{EXIT_CODES}")
}

/// The settings from the environment; those of a data directory come first.
fn config(data_dir: Option<&Path>) -> anyhow::Result<Config> {
    let overrides = match data_dir {
        Some(path) => DataDir::existing(path)?.environment()?,
        None => Vec::new(),
    };
    let lookup = |name: &str| match overrides.iter().find(|(key, _)| *key == name) {
        Some((_, value)) => Some(value.clone()),
        None => std::env::var(name).ok(),
    };
    Config::from_env(lookup).map_err(|errors| anyhow::anyhow!("bad environment:\n{errors}"))
}

/// Names as one word of a line; a dash where there are none.
fn joined(names: &[&str], separator: &str) -> String {
    match names {
        [] => "-".to_owned(),
        names => names.join(separator),
    }
}

fn tell_removed(console: Console, name: &str) {
    console.answer(format!("{name} is removed"), || json!({ "removed": name }));
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")
}

async fn serve(config: Config, log: LogLevel, exit_with_parent: bool) -> anyhow::Result<()> {
    let asked = signal::shutdown().context("cannot watch for signals")?;
    file_limit::raise();
    let listener = bind(&config).await?;
    let address = listener
        .local_addr()
        .context("cannot tell the bound address")?;
    tracing::info!(instance = config.instance.id, %address, "listening");
    let parent = exit_with_parent.then(watch_parent).transpose()?;
    let longest = config.instance.drain_delay + config.instance.shutdown_timeout;
    let shutdown = async move {
        tokio::select! {
            signal = asked => tracing::info!(signal = signal.name(), "asked to leave"),
            () = ended(parent) => tracing::info!("the parent process ended"),
        }
        manager::leaving(longest.saturating_add(LET_GO));
    };
    tokio::select! {
        served = portcullis_auth::serve_logging(listener, config, log, shutdown) => served?,
        never = manager::keep_alive() => match never {},
        Err(error) = orphans::bury() => {
            return Err(error).context("cannot watch for the ends of processes");
        }
    }
    tracing::info!("stopped");
    Ok(())
}

async fn bind(config: &Config) -> anyhow::Result<TcpListener> {
    TcpListener::bind(config.instance.address)
        .await
        .or_else(|error| match error.kind() {
            std::io::ErrorKind::AddrInUse => bail!(
                "port {} is taken by {}; stop it, or choose another port with PORT",
                config.instance.address.port(),
                port_holder::find(config.instance.address)
            ),
            _ => bail!(
                "cannot listen on {}: {error}; see HOST and PORT",
                config.instance.address
            ),
        })
}

/// Resolves when standard input ends. On a thread of its own, since reading blocks; the
/// thread is never joined: it ends with the process.
fn watch_parent() -> anyhow::Result<oneshot::Receiver<()>> {
    let (sender, receiver) = oneshot::channel();
    std::thread::Builder::new()
        .name("parent".to_owned())
        .spawn(move || {
            let mut bytes = [0; 64];
            while matches!(std::io::stdin().read(&mut bytes), Ok(1..)) {}
            // Nobody waits any more once the instance is leaving for another reason.
            let _leaving = sender.send(());
        })
        .context("cannot watch the parent process")?;
    Ok(receiver)
}

async fn ended(parent: Option<oneshot::Receiver<()>>) {
    match parent {
        // An error means that the thread is gone, and with it the watch.
        Some(parent) => drop(parent.await),
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        auth: Arguments,
    }

    fn terms(line: &str) -> Option<Terms> {
        let line = Line::try_parse_from(line.split(' ')).ok()?;
        match line.auth.command? {
            Command::User(user::Arguments { terms, .. })
            | Command::Audit(audit::Arguments { terms, .. })
            | Command::Role(role::Arguments { terms, .. })
            | Command::Client(client::Arguments { terms, .. })
            | Command::ApiKey(api_key::Arguments { terms, .. })
            | Command::Keys(keys::Arguments { terms, .. })
            | Command::Factors(factors::Arguments { terms, .. })
            | Command::Settings(settings::Arguments { terms, .. }) => Some(terms),
            Command::Migrate(_) | Command::Breached(_) => None,
        }
    }

    #[test]
    fn every_operators_command_takes_the_same_flags_on_either_side_of_its_verb() {
        for command in [
            "user list",
            "user roles ada@example.com admin",
            "audit verify",
            "audit export",
            "role set clerk orders:read",
            "client remove billing",
            "api-key list client:billing",
            "keys rotate",
            "factors reset ada@example.com",
            "settings reset LOG_LEVEL",
        ] {
            let (noun, verb) = command.split_once(' ').unwrap();
            let plain = terms(&format!("auth {command}")).unwrap();
            assert!(!plain.json && plain.data_dir.is_none(), "{command}");
            for line in [
                format!("auth {command} --json --data-dir d"),
                format!("auth {noun} --data-dir d {verb} --json"),
            ] {
                let terms = terms(&line).unwrap_or_else(|| panic!("{line}"));
                assert!(terms.json, "{line}");
                assert_eq!(terms.data_dir, Some(PathBuf::from("d")), "{line}");
            }
        }
        assert!(terms("auth user list --yes").is_none());
    }
}
