//! `portcullis up`: edge and auth instances on one machine, in the order in which they
//! depend on each other. Never starts anything before it knows that all ports are free.

mod backoff;
mod certificate;
mod edge_file;
mod guide;
mod held;
mod ports;
mod readiness;
mod supervisor;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use clap::Args;
use portcullis_edge::{Running, config};
use portcullis_ops::signal::{self, Shutdown};
use portcullis_ops::telemetry::{self, Format, Level};
use serde_json::json;

use crate::console::Console;
use crate::{edge, file_limit};
use certificate::Certificate;
use guide::{Guide, RunningInstance, SetupToken};
use held::HeldDataDir;
use ports::{Ports, parse_address};
use supervisor::{Event, Instance, Supervisor};

/// Migrated and prepared, an instance answers within a second; a loaded machine needs more.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
const READY_POLL: Duration = Duration::from_millis(25);
/// Lines of an instance's log that explain why it did not start.
const LOG_LINES_SHOWN: usize = 5;
/// The instances leave within this; the supervisor waits a little longer.
const INSTANCE_SHUTDOWN_TIMEOUT_MS: u32 = 5_000;
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

/// Everything that was settled before the first process starts.
struct Site {
    console: Console,
    ports: Ports,
    held: HeldDataDir,
    certificate: Certificate,
    instances: Vec<Instance>,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let Arguments {
        http,
        https,
        admin,
        base_port,
        instances,
        ..
    } = *arguments;
    let ports = Ports::find(http, https, admin, base_port, instances)?;
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
        .map(|address| {
            let id = format!("auth-{}", address.port());
            let mut environment = agreed.clone();
            environment.push(("PORT", address.port().to_string()));
            environment.push(("INSTANCE_ID", id.clone()));
            Instance {
                log: logs.join(format!("{id}.log")),
                id,
                address: *address,
                environment,
            }
        })
        .collect())
}

impl Site {
    async fn run(&self) -> anyhow::Result<()> {
        // From here on Ctrl-C is an orderly end, however far the start has come.
        let mut shutdown = signal::shutdown().context("cannot watch for signals")?;
        let directory = self.held.data.path().display();
        self.console
            .progress(format_args!("Preparing the database in {directory} ..."));
        let setup = tokio::select! {
            setup = self.prepare() => setup?,
            _ = &mut shutdown => return Ok(()),
        };
        let count = self.instances.len();
        self.console
            .progress(format_args!("Starting {count} auth instances ..."));
        let mut supervisor =
            Supervisor::start(&self.instances).context("cannot start the auth instances")?;
        let result = self.live(&mut supervisor, &mut shutdown, setup).await;
        supervisor.stop().await;
        if result.is_ok() {
            self.console
                .event("Stopped.", || json!({ "event": "stopped" }));
        }
        result
    }

    /// Migrations and first keys, before several processes would do it at once.
    async fn prepare(&self) -> anyhow::Result<Option<SetupToken>> {
        let first = &self.instances[0];
        let lookup = |name: &str| {
            first
                .environment
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value.clone())
        };
        let config = portcullis_auth::Config::from_env(lookup)?;
        let prepared = portcullis_auth::prepare(&config)
            .await
            .context("cannot prepare the database")?;
        let expires_in = prepared.setup_token_expires_in;
        Ok(prepared
            .setup_token
            .map(|token| SetupToken { token, expires_in }))
    }

    /// From the first process to the request to stop. The edge is drained when it returns.
    async fn live(
        &self,
        supervisor: &mut Supervisor,
        shutdown: &mut Shutdown,
        setup: Option<SetupToken>,
    ) -> anyhow::Result<()> {
        let pids = tokio::select! {
            pids = self.wait_for_instances(supervisor) => pids?,
            _ = &mut *shutdown => return Ok(()),
        };
        self.console.progress("Starting the edge ...");
        let mut edge = self.start_edge().await?;
        let is_stopped = tokio::select! {
            result = self.wait_for_edge() => { result?; false }
            _ = &mut *shutdown => true,
        };
        let result = if is_stopped {
            Ok(())
        } else {
            let guide = self.guide(&pids, setup);
            self.console.answer(guide.text(), || guide.json());
            self.attend(supervisor, shutdown, &mut edge).await
        };
        self.console
            .event("Draining ...", || json!({ "event": "draining" }));
        edge.shutdown().await;
        result
    }

    /// Returns the process ids once every instance is ready.
    async fn wait_for_instances(&self, supervisor: &mut Supervisor) -> anyhow::Result<Vec<u32>> {
        let ready = async {
            for instance in &self.instances {
                while !readiness::is_ready(instance.address, "/health/ready").await {
                    tokio::time::sleep(READY_POLL).await;
                }
                let Instance { id, .. } = instance;
                self.console.progress(format_args!("  {id} is ready"));
            }
        };
        let mut ready = std::pin::pin!(tokio::time::timeout(READY_TIMEOUT, ready));
        let mut pids = vec![0; self.instances.len()];
        loop {
            tokio::select! {
                biased;
                event = supervisor.next() => match event {
                    Event::Started { index, pid } => pids[index] = pid,
                    Event::Ended { index, reason, .. } => {
                        bail!(self.failed_start(index, &reason));
                    }
                },
                done = &mut ready => {
                    done.ok().context("the auth instances were not ready in time; see their logs")?;
                    return Ok(pids);
                }
            }
        }
    }

    fn failed_start(&self, index: usize, reason: &str) -> String {
        let Instance { id, log, .. } = &self.instances[index];
        let written = std::fs::read_to_string(log).unwrap_or_default();
        let lines: Vec<&str> = written.lines().collect();
        let last = lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n");
        format!("{id} {reason}; the end of {}:\n{last}", log.display())
    }

    async fn start_edge(&self) -> anyhow::Result<Running> {
        let directory = self.held.data.path();
        let file = directory.join("edge.yaml");
        let access_log = directory.join("logs").join("edge-access.log");
        let yaml = edge_file::write(&self.ports, &self.certificate, &access_log)?;
        held::write_private(&file, yaml.as_bytes())?;
        let parsed = config::parse(&file.display().to_string(), &yaml)
            .context("the generated configuration is bad")?;
        edge::start(parsed.config)
            .await
            .context("cannot start the edge")
    }

    async fn wait_for_edge(&self) -> anyhow::Result<()> {
        let address = guide::reachable(self.ports.http);
        let ready = async {
            while !readiness::is_ready(address, "/health/ready").await {
                tokio::time::sleep(READY_POLL).await;
            }
        };
        let waited = tokio::time::timeout(READY_TIMEOUT, ready).await;
        waited
            .ok()
            .context("the edge found no healthy instance in time")
    }

    /// Tells of every restart until somebody asks to stop.
    async fn attend(
        &self,
        supervisor: &mut Supervisor,
        shutdown: &mut Shutdown,
        edge: &mut Running,
    ) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                _ = &mut *shutdown => return Ok(()),
                () = edge.failed() => bail!("a part of the edge ended unexpectedly"),
                event = supervisor.next() => self.tell(&event),
            }
        }
    }

    fn tell(&self, event: &Event) {
        match event {
            Event::Started { index, pid } => {
                let id = &self.instances[*index].id;
                self.console.event(
                    format_args!("{id} started again (process {pid})"),
                    || json!({ "event": "instance_started", "instance": id, "pid": pid }),
                );
            }
            Event::Ended {
                index,
                reason,
                restart_in,
            } => {
                let Instance { id, log, .. } = &self.instances[*index];
                let wait = restart_in.as_millis();
                let log = log.display().to_string();
                self.console.event(
                    format_args!("{id} {reason}; starting it again in {wait} ms (log: {log})"),
                    || {
                        json!({
                            "event": "instance_ended", "instance": id, "reason": reason,
                            "restart_in_ms": u64::try_from(wait).unwrap_or(u64::MAX), "log": log,
                        })
                    },
                );
            }
        }
    }

    fn guide(&self, pids: &[u32], setup: Option<SetupToken>) -> Guide {
        let instances = self.instances.iter().zip(pids);
        Guide {
            http: self.ports.http,
            https: self.ports.https,
            admin: self.ports.admin,
            instances: instances
                .map(|(instance, pid)| RunningInstance {
                    id: instance.id.clone(),
                    address: instance.address,
                    pid: *pid,
                    log: instance.log.clone(),
                })
                .collect(),
            data_dir: self.held.data.path().to_owned(),
            certificate: self.certificate.cert.clone(),
            setup,
        }
    }
}
