//! `portcullis edge`: the load balancer alone. Never writes to standard output, which
//! belongs to the access log.

use std::convert::Infallible;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use portcullis_edge::audit::Who;
use portcullis_edge::config::{self, Parsed};
use portcullis_edge::control::{Controller, Origin};
use portcullis_edge::upgrade::{self, Launch, Predecessor};
use portcullis_edge::{Lineage, StartError};
use portcullis_ops::telemetry::{self, Format, Level};
use portcullis_ops::{manager, orphans, signal};
use tokio::signal::unix::{self, SignalKind};

use crate::check;
use crate::console::Console;
use crate::file_limit;
use crate::port_holder;

/// One towards the client, one towards an endpoint.
const FILES_PER_CONNECTION: u64 = 2;

/// What comes behind the drain: connections that were cut off, the last lines of the access log.
const LET_GO: Duration = Duration::from_secs(5);

const HELP: &str = "\
Examples:
  portcullis edge --config edge.yaml
  portcullis edge --config edge.yaml --json --log-level warn

The access log goes where the configuration says, standard output by default.
SIGTERM or Ctrl-C drains; a second one ends the process at once. SIGHUP reads the
configuration again and opens the access log anew; with mistakes the old one goes on.
SIGUSR2 has the binary that is in the place of this one by now take over.

Exit codes:
  0  drained and stopped as asked
  1  bad configuration, taken port, or a failure while running
  2  wrong usage of the command line";

/// Run the load balancer
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    /// The configuration to run
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Write log lines and configuration mistakes as JSON
    #[arg(long)]
    json: bool,
    /// Least severe log lines to write: trace, debug, info, warn or error
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log_level: Level,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    // Before anything else uses standard input, or another file is put in the place of the program.
    let lineage = Lineage {
        predecessor: Predecessor::find()?,
        launch: Launch::of_this_process().ok(),
    };
    let parsed = match config::load(&arguments.config) {
        Ok(parsed) => parsed,
        Err(errors) => {
            check::refuse(
                Console::from_flag(arguments.json),
                &arguments.config,
                errors,
            );
            return Ok(ExitCode::FAILURE);
        }
    };
    let format = if arguments.json {
        Format::Json
    } else {
        Format::Text
    };
    telemetry::init(format, arguments.log_level).context("cannot start logging")?;
    for warning in &parsed.warnings {
        tracing::warn!("{warning}");
    }
    // Without a number, one worker per core.
    let cores = || std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let workers = parsed.config.workers.unwrap_or_else(cores).get();
    let named = AtomicUsize::new(0);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        // Workers are started first; whatever comes later looks at files.
        .thread_name_fn(move || match named.fetch_add(1, Ordering::Relaxed) {
            number if number < workers => "edge-worker".to_owned(),
            _ => "edge-files".to_owned(),
        })
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(serve(arguments.config.clone(), parsed, lineage))?;
    Ok(ExitCode::SUCCESS)
}

async fn serve(file: PathBuf, parsed: Parsed, lineage: Lineage) -> anyhow::Result<()> {
    let shutdown = signal::shutdown().context("cannot watch for signals")?;
    tokio::pin!(shutdown);
    let watched = |kind| unix::signal(kind).context("cannot watch for signals");
    let mut hangups = watched(SignalKind::hangup())?;
    let mut upgrades = watched(SignalKind::user_defined2())?;
    let files = file_limit::raise();
    let max_connections = parsed.config.max_connections;
    let mut running = start_from(file, parsed, lineage).await?;
    for (listener, address) in &running.addresses {
        tracing::info!(listener, %address, "listening");
    }
    if let Some(address) = running.admin {
        tracing::info!(%address, "listening for /livez, /readyz and /metrics");
    }
    if files < u64::from(max_connections).saturating_mul(FILES_PER_CONNECTION) {
        tracing::warn!(
            open_files = files,
            max_connections,
            "the limit of open files is reached before max_connections: raise the hard limit \
             (ulimit -Hn, LimitNOFILE) or lower max_connections"
        );
    }
    manager::ready("serving");
    let controller = Arc::clone(running.controller());
    let is_succeeded = tokio::select! {
        signal = &mut shutdown => {
            told_to_leave(signal);
            false
        }
        () = upgrade::succeeded(&controller) => true,
        () = running.failed() => bail!("a part of the edge ended unexpectedly"),
        never = reload_when_asked(&mut hangups, &controller) => match never {},
        never = upgrade_when_asked(&mut upgrades, &controller) => match never {},
        never = manager::keep_alive() => match never {},
        Err(error) = orphans::bury() => {
            return Err(error).context("cannot watch for the ends of processes");
        }
    };
    if is_succeeded {
        // The manager listens to the other process from now on.
        let asked = async { told_to_leave(shutdown.await) };
        tokio::select! {
            _cut_off = running.retire(asked) => {}
            never = reopen_when_asked(&mut hangups, &controller) => match never {},
            never = upgrade_when_asked(&mut upgrades, &controller) => match never {},
        }
    } else {
        manager::leaving(running.patience().saturating_add(LET_GO));
        tokio::select! {
            _cut_off = running.shutdown() => {}
            never = manager::keep_alive() => match never {},
        }
    }
    tracing::info!("stopped");
    Ok(())
}

fn told_to_leave(signal: signal::Signal) {
    tracing::info!(
        signal = signal.name(),
        "asked to leave; a second signal ends the process at once"
    );
}

/// Has the binary that is in the place of this one take over at every SIGUSR2.
async fn upgrade_when_asked(asked: &mut unix::Signal, controller: &Arc<Controller>) -> Infallible {
    loop {
        if asked.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
        let controller = Arc::clone(controller);
        // Who asks a second time meanwhile is told so. It tells itself how it went.
        tokio::spawn(async move {
            drop(upgrade::upgrade(&controller, Who::itself("sigusr2")).await);
        });
    }
}

/// Opens the access log anew at every SIGHUP: the configuration is the next process's.
async fn reopen_when_asked(hangups: &mut unix::Signal, controller: &Arc<Controller>) -> Infallible {
    loop {
        match hangups.recv().await {
            Some(()) => drop(controller.reload(Origin::Sighup).await),
            None => std::future::pending().await,
        }
    }
}

/// Puts the file into force at every SIGHUP.
async fn reload_when_asked(hangups: &mut unix::Signal, controller: &Arc<Controller>) -> Infallible {
    loop {
        match hangups.recv().await {
            Some(()) => {
                manager::reloading();
                // The controller tells how it went.
                drop(controller.reload(Origin::Sighup).await);
                manager::ready("serving");
            }
            None => std::future::pending().await,
        }
    }
}

/// Starts the edge; a taken port is told with its holder.
#[cfg(feature = "auth")]
pub(crate) async fn start(config: config::Config) -> anyhow::Result<portcullis_edge::Running> {
    portcullis_edge::start(config).await.map_err(explain)
}

/// The same for one that may be reloaded from its file.
async fn start_from(
    file: PathBuf,
    parsed: Parsed,
    lineage: Lineage,
) -> anyhow::Result<portcullis_edge::Running> {
    portcullis_edge::start_from(file, parsed, lineage)
        .await
        .map_err(explain)
}

fn explain(error: StartError) -> anyhow::Error {
    match &error {
        StartError::Bind {
            listener,
            address,
            source,
        } if source.kind() == std::io::ErrorKind::AddrInUse => {
            anyhow::anyhow!(
                "port {} (listener {listener}) is taken by {}; stop it, or change the \
                 address in the configuration",
                address.port(),
                port_holder::find(*address)
            )
        }
        _ => error.into(),
    }
}
