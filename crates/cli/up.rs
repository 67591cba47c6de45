//! `portcullis up`: edge and auth instances on one machine. Never starts anything before it
//! knows that all ports are free and the data directory is its own.

mod backoff;
mod certificate;
mod edge_file;
mod guide;
mod held;
mod ports;
mod readiness;
mod site;
mod supervisor;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::Context;
use clap::Args;
use portcullis_ops::telemetry::{self, Format, Level};

use crate::console::Console;
use crate::data_dir::text;
use crate::file_limit;
use held::HeldDataDir;
use ports::{Ports, Rows, parse_address};
use site::Site;
use supervisor::Instance;

/// The instances leave within this; the supervisor waits a little longer.
const INSTANCE_SHUTDOWN_TIMEOUT_MS: u32 = 5_000;
/// More than there may be instances.
const INTERNAL_PORTS_ABOVE: u16 = 100;
/// Set by the operator's shell, and safe to hand on.
const INHERITED: [&str; 3] = ["PATH", "LOG_LEVEL", "RUST_BACKTRACE"];

const HELP: &str = "\
Examples:
  portcullis up
  portcullis up --instances 5 --base-port 5001 --http 0.0.0.0:80 --https 0.0.0.0:443
  portcullis up --data-dir /tmp/demo --http 0 --https 0 --admin 0 --base-port 0 --json

A port alone means 127.0.0.1; port 0 means any free one.

Exit codes:
  0  stopped by Ctrl-C or SIGTERM
  1  taken port, data directory in use, or a failure while running
  2  wrong usage of the command line";

/// Run the edge and several auth instances on this machine
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    /// How many auth processes to run
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=64))]
    instances: u16,
    /// Port of the first auth process; the others follow
    #[arg(long, value_name = "PORT", default_value_t = 4001,
        value_parser = clap::value_parser!(u16).range(..=65_000))]
    base_port: u16,
    /// Port where the first auth process tells edges what is revoked and has its metrics;
    /// the others follow [default: 100 above --base-port]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(..=65_100))]
    internal_port: Option<u16>,
    /// Where the edge serves HTTP
    #[arg(long, value_name = "ADDRESS", default_value = "8080", value_parser = parse_address)]
    http: SocketAddr,
    /// Where the edge serves HTTPS
    #[arg(long, value_name = "ADDRESS", default_value = "8443", value_parser = parse_address)]
    https: SocketAddr,
    /// Where /livez, /readyz and /metrics of the edge answer
    #[arg(long, value_name = "ADDRESS", default_value = "2019", value_parser = parse_address)]
    admin: SocketAddr,
    /// Where database, keys, certificate and logs are kept
    #[arg(long, value_name = "DIR", default_value = "portcullis-data")]
    data_dir: PathBuf,
    /// Print one JSON object when ready, then one per event
    #[arg(long)]
    json: bool,
}

impl Arguments {
    fn rows(&self) -> Rows {
        // Any free port for the one row means any for the other.
        let usual = match self.base_port {
            0 => 0,
            base_port => base_port.saturating_add(INTERNAL_PORTS_ABOVE),
        };
        Rows {
            count: self.instances,
            base_port: self.base_port,
            internal_port: self.internal_port.unwrap_or(usual),
        }
    }
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let Arguments {
        http, https, admin, ..
    } = *arguments;
    let ports = Ports::find(http, https, admin, arguments.rows())?;
    let held = HeldDataDir::open(&arguments.data_dir)?;
    let certificate = certificate::keep(held.data.path(), SystemTime::now())?;
    file_limit::raise();
    let site = Site {
        console: Console::from_flag(arguments.json),
        instances: plan(&ports, &held)?,
        ports,
        held,
        certificate,
    };
    let format = if arguments.json {
        Format::Json
    } else {
        Format::Text
    };
    telemetry::init(format, Level::WARN).context("cannot start logging")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(site.run())?;
    Ok(ExitCode::SUCCESS)
}

/// What each auth process is started with. Nothing of this environment leaks in that could
/// point an instance at another database.
fn plan(ports: &Ports, held: &HeldDataDir) -> anyhow::Result<Vec<Instance>> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let hash_workers = (cores / ports.instances.len()).max(1);
    let mut agreed = held.data.environment()?;
    agreed.extend([
        ("HOST", "127.0.0.1".to_owned()),
        ("ISSUER_URL", guide::http_url(ports.http)),
        ("TRUST_PROXY", "127.0.0.0/8,::1/128".to_owned()),
        ("HASH_WORKERS", hash_workers.to_string()),
        ("INTERNAL_TOKEN_FILE", text(held.data.internal_token())?),
        ("DRAIN_DELAY", "0".to_owned()),
        ("SHUTDOWN_TIMEOUT", INSTANCE_SHUTDOWN_TIMEOUT_MS.to_string()),
    ]);
    for name in INHERITED {
        if let Ok(value) = std::env::var(name) {
            agreed.push((name, value));
        }
    }
    let logs = held.data.path().join("logs");
    Ok(ports
        .instances
        .iter()
        .zip(&ports.internal)
        .map(|(address, internal)| {
            let id = format!("auth-{}", address.port());
            let mut environment = agreed.clone();
            environment.push(("PORT", address.port().to_string()));
            environment.push(("INTERNAL_ADDRESS", internal.to_string()));
            environment.push(("INSTANCE_ID", id.clone()));
            Instance {
                log: logs.join(format!("{id}.log")),
                id,
                address: *address,
                internal: *internal,
                environment,
            }
        })
        .collect())
}
