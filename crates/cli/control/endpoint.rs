//! `portcullis drain`, `undrain` and `weight`: an operator's work on one endpoint. Never guesses between
//! two that fit.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};

use super::client::{Client, Trouble, nothing};
use super::{Precondition, Target, finish, list, step, text};

const DRAIN_HELP: &str = "\
Examples:
  portcullis drain app 10.0.1.10:8000
  portcullis drain app 10.0.1.10 --wait --timeout 120

Clients bound to the endpoint by affinity stay with it; nobody new comes. It holds
until `undrain`, or until the edge ends.

Exit codes:
  0  draining; with --wait: and nothing is in flight there any more
  1  the edge refused, or something was still in flight when the time was over
  2  wrong usage of the command line, or no edge answers";

const UNDRAIN_HELP: &str = "\
Examples:
  portcullis undrain app 10.0.1.10:8000

Exit codes:
  0  the endpoint takes new clients again
  1  the edge refused
  2  wrong usage of the command line, or no edge answers";

const WEIGHT_HELP: &str = "\
Examples:
  portcullis weight app 10.0.1.10:8000 5
  portcullis weight app 10.0.1.10 0

Exit codes:
  0  the endpoint has that weight
  1  the edge refused
  2  wrong usage of the command line, or no edge answers";

/// How often is looked whether an endpoint is idle.
const POLL: Duration = Duration::from_millis(200);

/// Which endpoint
#[derive(Debug, Args)]
struct One {
    /// Name of the cluster
    cluster: String,
    /// Address of the endpoint, or the beginning of it if that fits one alone
    endpoint: String,
    #[command(flatten)]
    precondition: Precondition,
    #[command(flatten)]
    target: Target,
}

/// Let an endpoint finish what it has, and give it nobody new
#[derive(Debug, Args)]
#[command(after_help = DRAIN_HELP)]
pub(crate) struct Drain {
    #[command(flatten)]
    one: One,
    /// Wait until nothing is in flight there
    #[arg(long)]
    wait: bool,
    /// Give up waiting after so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60, requires = "wait")]
    timeout: u64,
}

/// Let a drained endpoint take new clients again
#[derive(Debug, Args)]
#[command(after_help = UNDRAIN_HELP)]
pub(crate) struct Undrain {
    #[command(flatten)]
    one: One,
}

/// Give an endpoint another share of the traffic
#[derive(Debug, Args)]
#[command(after_help = WEIGHT_HELP)]
pub(crate) struct Weight {
    #[command(flatten)]
    one: One,
    /// Its share beside the other endpoints' weights; 0 takes none
    #[arg(value_parser = clap::value_parser!(u16).range(0..=1000))]
    weight: u16,
}

pub(crate) fn drain(arguments: &Drain) -> anyhow::Result<ExitCode> {
    let client = arguments.one.client()?;
    let ended = change(&client, &arguments.one, "drain", &nothing()).and_then(|endpoint| {
        match arguments.wait {
            true => wait(
                &client,
                &arguments.one,
                text(&endpoint, "address"),
                arguments.timeout,
            ),
            false => Ok(endpoint),
        }
    });
    Ok(finish(
        ended.map(|endpoint| told(&arguments.one, &endpoint)),
    ))
}

pub(crate) fn undrain(arguments: &Undrain) -> anyhow::Result<ExitCode> {
    let client = arguments.one.client()?;
    let ended = change(&client, &arguments.one, "undrain", &nothing());
    Ok(finish(
        ended.map(|endpoint| told(&arguments.one, &endpoint)),
    ))
}

pub(crate) fn weight(arguments: &Weight) -> anyhow::Result<ExitCode> {
    let client = arguments.one.client()?;
    let body = json!({ "weight": arguments.weight });
    let ended = change(&client, &arguments.one, "weight", &body);
    Ok(finish(
        ended.map(|endpoint| told(&arguments.one, &endpoint)),
    ))
}

impl One {
    fn client(&self) -> anyhow::Result<Client> {
        self.precondition.client(&self.target)
    }
}

fn told(one: &One, endpoint: &Value) -> ExitCode {
    let line = format!(
        "{} of {}: {}, weight {}, {} in flight",
        text(endpoint, "address"),
        one.cluster,
        text(endpoint, "state"),
        endpoint["weight"],
        endpoint["in_flight"],
    );
    let console = one.target.console();
    console.answer(super::printable(&line), || endpoint.clone());
    ExitCode::SUCCESS
}

fn change(client: &Client, one: &One, verb: &str, body: &Value) -> Result<Value, Trouble> {
    let address = find(&client.get("/v1/status")?, &one.cluster, &one.endpoint)?;
    let (cluster, address) = (step(&one.cluster), step(&address));
    let path = format!("/v1/clusters/{cluster}/endpoints/{address}/{verb}");
    let changed = client.post(&path, body)?;
    Ok(changed["endpoint"].clone())
}

/// The address that is meant. A cluster that is not there is for the edge to explain.
fn find(status: &Value, cluster: &str, written: &str) -> Result<String, Trouble> {
    let mut clusters = list(status, "clusters").iter();
    let Some(cluster) = clusters.find(|one| text(one, "name") == cluster) else {
        // Any address will do: the edge looks for the cluster first.
        return Ok("0.0.0.0:0".to_owned());
    };
    let endpoints = list(cluster, "endpoints").iter();
    let known: Vec<&str> = endpoints.map(|one| text(one, "address")).collect();
    if known.contains(&written) {
        return Ok(written.to_owned());
    }
    let fits = known.iter().filter(|address| address.starts_with(written));
    let fits: Vec<&str> = fits.copied().collect();
    let refused = |detail: String| {
        Err(Trouble::Refused {
            status: 404,
            detail,
        })
    };
    match fits.as_slice() {
        [one] => Ok((*one).to_owned()),
        [] => refused(format!(
            "The cluster has no endpoint `{written}`. It has: {}.",
            known.join(", ")
        )),
        several => refused(format!(
            "`{written}` fits several endpoints: {}.",
            several.join(", ")
        )),
    }
}

/// Until nothing is in flight, as the edge counts.
fn wait(client: &Client, one: &One, address: &str, seconds: u64) -> Result<Value, Trouble> {
    let begin = Instant::now();
    let console = one.target.console();
    console.progress(format_args!("draining {address} of {}", one.cluster));
    loop {
        let status = client.get("/v1/status")?;
        let clusters = list(&status, "clusters").iter();
        let mut endpoints = clusters
            .filter(|cluster| text(cluster, "name") == one.cluster)
            .flat_map(|cluster| list(cluster, "endpoints"));
        let Some(endpoint) = endpoints.find(|one| text(one, "address") == address) else {
            return Err(Trouble::InVain(format!(
                "{address} is gone from its cluster"
            )));
        };
        let in_flight = endpoint["in_flight"].as_u64().unwrap_or_default();
        if in_flight == 0 {
            return Ok(endpoint.clone());
        }
        if begin.elapsed() >= Duration::from_secs(seconds) {
            return Err(Trouble::InVain(format!(
                "{address} still has {in_flight} in flight after {seconds} s: it goes on draining"
            )));
        }
        super::status::pause(POLL)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_named_by_its_address_or_by_what_only_it_begins_with() {
        let status = json!({ "clusters": [{ "name": "app", "endpoints": [
            { "address": "10.0.0.1:80" },
            { "address": "10.0.0.1:8000" },
            { "address": "10.0.0.2:80" },
        ] }] });
        let meant = |written| find(&status, "app", written).map_err(|trouble| trouble.to_string());
        assert_eq!(meant("10.0.0.1:80").unwrap(), "10.0.0.1:80");
        assert_eq!(meant("10.0.0.2").unwrap(), "10.0.0.2:80");
        assert!(meant("10.0.0.1").unwrap_err().contains("fits several"));
        assert!(meant("10.9").unwrap_err().contains("It has: 10.0.0.1:80"));
    }
}
