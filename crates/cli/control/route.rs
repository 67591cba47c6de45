//! `portcullis switch` and `split`: where the requests of a route go. Never touches requests on their way.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Map, Value, json};

use super::client::{Trouble, nothing};
use super::{Precondition, Target, finish, printable, step, text};

const SWITCH_HELP: &str = "\
Examples:
  portcullis switch app green       all requests of the route go to green
  portcullis switch app --back      what was in force before is in force again

Exit codes:
  0  switched
  1  the edge refused
  2  wrong usage of the command line, or no edge answers";

const SPLIT_HELP: &str = "\
Examples:
  portcullis split app blue=95 green=5
  portcullis split app green=50

Clusters that are not named keep their weights.

Exit codes:
  0  these weights are in force
  1  the edge refused
  2  wrong usage of the command line, or no edge answers";

/// Send all requests of a route to one cluster, in one step
#[derive(Debug, Args)]
#[command(after_help = SWITCH_HELP)]
pub(crate) struct Switch {
    /// Name of the route
    route: String,
    /// Name of the cluster
    #[arg(required_unless_present = "back", conflicts_with = "back")]
    cluster: Option<String>,
    /// Undo the last change of the route instead
    #[arg(long)]
    back: bool,
    #[command(flatten)]
    precondition: Precondition,
    #[command(flatten)]
    target: Target,
}

/// Give the clusters of a route's split other weights
#[derive(Debug, Args)]
#[command(after_help = SPLIT_HELP)]
pub(crate) struct Split {
    /// Name of the route
    route: String,
    /// Weights from 0 to 1000 by cluster
    #[arg(required = true, value_name = "CLUSTER=WEIGHT", value_parser = share)]
    weights: Vec<(String, u16)>,
    #[command(flatten)]
    precondition: Precondition,
    #[command(flatten)]
    target: Target,
}

fn share(text: &str) -> Result<(String, u16), String> {
    let (cluster, weight) = text
        .rsplit_once('=')
        .ok_or("write a cluster and its weight: blue=95")?;
    match weight.parse() {
        Ok(weight) if weight <= 1000 => Ok((cluster.to_owned(), weight)),
        _ => Err("weights go from 0 to 1000".to_owned()),
    }
}

pub(crate) fn switch(arguments: &Switch) -> anyhow::Result<ExitCode> {
    let route = step(&arguments.route);
    let (verb, body) = match &arguments.cluster {
        Some(cluster) => ("switch", json!({ "cluster": cluster })),
        None => ("switch-back", nothing()),
    };
    let client = arguments.precondition.client(&arguments.target)?;
    let changed = client.post(&format!("/v1/routes/{route}/{verb}"), &body);
    Ok(told(&arguments.target, changed))
}

pub(crate) fn split(arguments: &Split) -> anyhow::Result<ExitCode> {
    let mut weights = Map::new();
    for (cluster, weight) in &arguments.weights {
        if weights.insert(cluster.clone(), json!(weight)).is_some() {
            anyhow::bail!("`{cluster}` has two weights");
        }
    }
    let path = format!("/v1/routes/{}/split", step(&arguments.route));
    let client = arguments.precondition.client(&arguments.target)?;
    let changed = client.post(&path, &json!({ "weights": weights }));
    Ok(told(&arguments.target, changed))
}

fn told(target: &Target, changed: Result<Value, Trouble>) -> ExitCode {
    finish(changed.map(|changed| {
        let shares = |key: &str| {
            let shares = changed[key].as_object().into_iter().flatten();
            let shares = shares.map(|(cluster, weight)| format!("{cluster}={weight}"));
            shares.collect::<Vec<_>>().join(" ")
        };
        let route = text(&changed, "route");
        let line = format!("{route}: {} (was {})", shares("now"), shares("before"));
        target
            .console()
            .answer(printable(&line), || changed.clone());
        ExitCode::SUCCESS
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_cluster_and_its_weight() {
        assert_eq!(share("blue=95"), Ok(("blue".to_owned(), 95)));
        assert_eq!(share("a=b=0"), Ok(("a=b".to_owned(), 0)));
        for wrong in ["blue", "blue=", "blue=-1", "blue=1001", "blue=1.5"] {
            assert!(share(wrong).is_err(), "{wrong}");
        }
    }
}
