//! `portcullis probe` visits deployments: good ones pass, and every flaw is caught by the check for it alone.

mod clean;
mod flaws;
mod usage;

use std::path::Path;
use std::process::Command;

use portcullis_testkit::{Deployment, Process, wait_until};
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::PORTCULLIS;

/// A visit to its end.
struct Visit {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Visit {
    /// Runs the command with `--json` and waits.
    async fn json(arguments: &[&str]) -> Visit {
        Visit::end(start(arguments, "")).await
    }

    async fn end(mut process: Process) -> Visit {
        let code = process.exit_code().await;
        Visit {
            code,
            stdout: process.stdout().join("\n"),
            stderr: process.stderr().join("\n"),
        }
    }

    fn document(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {:?} {:?}", self.stdout, self.stderr))
    }

    /// Names of the checks that ended so.
    fn with_verdict(&self, verdict: &str) -> Vec<String> {
        let document = self.document();
        let checks = document["checks"].as_array().unwrap();
        let found = checks.iter().filter(|check| check["verdict"] == verdict);
        found
            .map(|check| check["check"].as_str().unwrap().to_owned())
            .collect()
    }

    fn check(&self, name: &str) -> Value {
        let document = self.document();
        let checks = document["checks"].as_array().unwrap();
        let found = checks.iter().find(|check| check["check"] == name);
        found
            .unwrap_or_else(|| panic!("no {name} in {document:#}"))
            .clone()
    }
}

/// Starts a visit; the password goes into the environment, if there is one.
fn start(arguments: &[&str], password: &str) -> Process {
    let mut command = Command::new(PORTCULLIS);
    command.args(["probe", "--json"]).args(arguments);
    if !password.is_empty() {
        command.env("PORTCULLIS_PROBE_PASSWORD", password);
    }
    Process::spawn(command)
}

/// What a visit to a [`Deployment`] needs to be able to try everything but failover.
const EVERYTHING: [&str; 13] = [
    "--health-only",
    "--load-distribution",
    "--affinity",
    "--headers",
    "--revocation",
    "--limits",
    "--instances",
    "3",
    "--user",
    Deployment::EMAIL,
    "--echo-path",
    Deployment::ECHO_PATH,
    "--requests=120",
];

/// Tries everything on a deployment; over HTTPS also TLS.
async fn visit(deployment: &Deployment) -> Visit {
    let (url, authorities) = (deployment.url(), deployment.authorities());
    let mut arguments = EVERYTHING.to_vec();
    arguments.push(&url);
    if url.starts_with("https") {
        arguments.extend(["--tls", "--cacert", authorities.to_str().unwrap()]);
    }
    Visit::end(start(&arguments, Deployment::PASSWORD)).await
}

/// Tries everything, and stops something when the visit's own command asks for it.
async fn visit_while(
    url: &str,
    more: &[&str],
    password: &str,
    watch: &str,
    stop: impl FnOnce(),
) -> Visit {
    let directory = TempDir::new().unwrap();
    let sign = directory.path().join("now");
    let line = format!("touch '{}'", sign.display());
    let mut arguments = vec![url, "--failover", "--watch", watch, "--rate", "100"];
    arguments.extend(["--drain-command", &line]);
    arguments.extend(more);
    let process = start(&arguments, password);
    wait_for_file(&sign).await;
    stop();
    Visit::end(process).await
}

async fn wait_for_file(file: &Path) {
    wait_until("the drain command to be run", async || {
        file.exists().then_some(())
    })
    .await;
}
