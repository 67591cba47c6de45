//! One run of `up`, from the first process to the last: start in the order of dependence,
//! tell what happens, stop in the reverse order. Never parses an argument.

use std::time::Duration;

use anyhow::{Context, bail};
use portcullis_edge::{Running, config};
use portcullis_ops::signal::{self, Shutdown};
use serde_json::json;

use super::certificate::Certificate;
use super::guide::{self, Guide, RunningInstance, SetupToken};
use super::held::{self, HeldDataDir};
use super::ports::Ports;
use super::supervisor::{Event, Instance, Supervisor};
use super::{edge_file, readiness};
use crate::console::Console;
use crate::edge;

/// Migrated and prepared, an instance answers within a second; a loaded machine needs more.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
const READY_POLL: Duration = Duration::from_millis(25);
/// Lines of an instance's log that explain why it did not start.
const LOG_LINES_SHOWN: usize = 5;

/// Everything that was settled before the first process starts.
pub(super) struct Site {
    pub(super) console: Console,
    pub(super) ports: Ports,
    pub(super) held: HeldDataDir,
    pub(super) certificate: Certificate,
    pub(super) instances: Vec<Instance>,
}

impl Site {
    pub(super) async fn run(&self) -> anyhow::Result<()> {
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
        let files = edge_file::Files {
            certificate: &self.certificate,
            access_log: &access_log,
            internal_token: &self.held.data.internal_token(),
        };
        let yaml = edge_file::write(&self.ports, &files)?;
        held::write_private(&file, yaml.as_bytes())?;
        let parsed = config::parse(&file.display().to_string(), &yaml)
            .context("the generated configuration is bad")?;
        edge::start(parsed.config)
            .await
            .context("cannot start the edge")
    }

    /// Until an instance answers through it, and it knows keys and revocations.
    async fn wait_for_edge(&self) -> anyhow::Result<()> {
        let ready = async {
            for (address, path) in [
                (self.ports.http, "/health/ready"),
                (self.ports.admin, "/readyz"),
            ] {
                while !readiness::is_ready(guide::reachable(address), path).await {
                    tokio::time::sleep(READY_POLL).await;
                }
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
                    internal: instance.internal,
                    pid: *pid,
                    log: instance.log.clone(),
                })
                .collect(),
            data_dir: self.held.data.path().to_owned(),
            certificate: self.certificate.cert.clone(),
            internal_token: self.held.data.internal_token(),
            setup,
        }
    }
}
