//! `portcullis status`: what runs and why, once or over and over. Never changes anything.

use std::collections::HashMap;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::Value;

use super::client::{Client, Trouble};
use super::{Target, finish, list, row, table, text};
use crate::console::Console;

const HELP: &str = "\
Examples:
  portcullis status
  portcullis status --watch
  portcullis status --json --admin 10.0.0.5:2019 --token-file ops.token

Exit codes:
  0  shown
  1  the edge refused
  2  wrong usage of the command line, or no edge answers";

/// Show clusters and endpoints of a running edge, and why they stand as they do
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    /// Show it again and again until Ctrl-C, with requests per second
    #[arg(long)]
    watch: bool,
    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value_t = 1, requires = "watch", value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,
    #[command(flatten)]
    target: Target,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let client = arguments.target.client()?;
    if arguments.watch {
        return Ok(finish(watch(arguments, &client)));
    }
    let shown = client.get("/v1/status");
    Ok(finish(shown.map(|status| {
        let console = arguments.target.console();
        console.answer(page(&status, &Rates::default()), || status.clone());
        ExitCode::SUCCESS
    })))
}

/// Until Ctrl-C, or until nobody reads any more.
fn watch(arguments: &Arguments, client: &Client) -> Result<ExitCode, Trouble> {
    let mut rates = Rates::default();
    loop {
        let status = client.get("/v1/status")?;
        rates.look(&status, Instant::now());
        let mut shown = match arguments.target.console() {
            Console::Json => status.to_string(),
            Console::Text => page(&status, &rates),
        };
        if io::stdout().is_terminal() {
            // To the top, and nothing below.
            shown = format!("\u{1b}[H\u{1b}[J{shown}");
        }
        let mut out = io::stdout().lock();
        if writeln!(out, "{shown}").and_then(|()| out.flush()).is_err() {
            return Ok(ExitCode::SUCCESS);
        }
        drop(out);
        pause(Duration::from_secs(arguments.interval))?;
    }
}

/// Waits.
pub(super) fn pause(time: Duration) -> Result<(), Trouble> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(|error| Trouble::InVain(format!("cannot wait: {error}")))?;
    // Made inside: a timer needs the runtime that it belongs to.
    runtime.block_on(async { tokio::time::sleep(time).await });
    Ok(())
}

/// Requests per second by cluster and endpoint, between two looks.
#[derive(Debug, Default)]
struct Rates {
    seen: Option<(Instant, HashMap<Key, u64>)>,
    per_second: HashMap<Key, f64>,
}

/// Cluster and address.
type Key = (String, String);

impl Rates {
    fn look(&mut self, status: &Value, now: Instant) {
        let mut counts = HashMap::new();
        for cluster in list(status, "clusters") {
            for endpoint in list(cluster, "endpoints") {
                let requests = endpoint["requests"].as_u64().unwrap_or_default();
                counts.insert(key(cluster, endpoint), requests);
            }
        }
        self.per_second.clear();
        if let Some((then, before)) = &self.seen {
            let seconds = now
                .saturating_duration_since(*then)
                .as_secs_f64()
                .max(0.001);
            for (endpoint, count) in &counts {
                if let Some(before) = before.get(endpoint) {
                    let rate = count.saturating_sub(*before) as f64 / seconds;
                    self.per_second.insert(endpoint.clone(), rate);
                }
            }
        }
        self.seen = Some((now, counts));
    }

    fn of(&self, cluster: &Value, endpoint: &Value) -> String {
        let rate = self.per_second.get(&key(cluster, endpoint));
        rate.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.0}"))
    }
}

fn key(cluster: &Value, endpoint: &Value) -> Key {
    (
        text(cluster, "name").to_owned(),
        text(endpoint, "address").to_owned(),
    )
}

fn page(status: &Value, rates: &Rates) -> String {
    let leaving = match status["is_draining"].as_bool() {
        Some(true) => ", leaving",
        _ if !status["predecessor"].is_null() => ", the process before still drains",
        _ => "",
    };
    let (revision, generation) = (&status["revision"], &status["generation"]);
    let mut rows = vec![row([
        &"CLUSTER",
        &"ENDPOINT",
        &"STATE",
        &"WEIGHT",
        &"IN FLIGHT",
        &"REQ/S",
        &"WHY",
    ])];
    for cluster in list(status, "clusters") {
        for endpoint in list(cluster, "endpoints") {
            rows.push(row([
                &text(cluster, "name"),
                &text(endpoint, "address"),
                &text(endpoint, "state"),
                &endpoint["weight"],
                &endpoint["in_flight"],
                &rates.of(cluster, endpoint),
                &why(endpoint),
            ]));
        }
    }
    let endpoints = table(&rows);
    let mut rows = vec![row([&"ROUTE", &"CLUSTERS", &""])];
    for route in list(status, "routes") {
        let switched = match route["before"].is_null() {
            true => "",
            false => "changed by an operator",
        };
        rows.push(row([
            &text(route, "name"),
            &shares(&route["clusters"]),
            &switched,
        ]));
    }
    format!(
        "revision {revision}, generation {generation}{leaving}\n\n{endpoints}\n\n{}",
        table(&rows)
    )
}

fn shares(shares: &Value) -> String {
    let shares = shares.as_object().into_iter().flatten();
    let shares = shares.map(|(cluster, weight)| format!("{cluster}={weight}"));
    shares.collect::<Vec<_>>().join(" ")
}

/// Obstacles with what was seen, most important first.
fn why(endpoint: &Value) -> String {
    let told = list(endpoint, "why").iter().map(|obstacle| {
        let reason = text(obstacle, "reason");
        match (
            text(obstacle, "trouble"),
            obstacle["ends_in_seconds"].as_u64(),
        ) {
            ("", None) => reason.to_owned(),
            ("", Some(left)) => format!("{reason} for {left} s more"),
            (trouble, None) => format!("{reason}: {trouble}"),
            (trouble, Some(left)) => format!("{reason} for {left} s more: {trouble}"),
        }
    });
    told.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status(requests: u64) -> Value {
        json!({ "revision": 3, "generation": 1, "clusters": [{ "name": "app", "endpoints": [
            { "address": "10.0.0.1:80", "state": "out", "weight": 1, "in_flight": 2, "requests": requests,
              "why": [{ "reason": "ejected", "trouble": "connect", "ends_in_seconds": 9 }] },
        ] }], "routes": [{ "name": "all", "clusters": { "app": 1 }, "before": null }] })
    }

    #[test]
    fn rates_are_what_came_between_two_looks() {
        let mut rates = Rates::default();
        let begin = Instant::now();
        rates.look(&status(100), begin);
        assert!(page(&status(100), &rates).contains("2          -      ejected"));
        rates.look(&status(300), begin + Duration::from_secs(2));
        let page = page(&status(300), &rates);
        assert!(
            page.contains("100    ejected for 9 s more: connect"),
            "{page}"
        );
        // A new process counts from the beginning.
        rates.look(&status(0), begin + Duration::from_secs(3));
        assert!(rates.per_second.values().all(|rate| *rate == 0.0));
    }
}
