//! `portcullis explain`: what would become of a request, and why. Never sends it.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use portcullis_edge::{config, explain};
use serde_json::{Value, json};

use super::{Target, finish, list, printable, row, table, text};
use crate::console::Console;

const HELP: &str = "\
Examples:
  portcullis explain 'POST /auth/login'
  portcullis explain /api/users --host api.example.com --from 203.0.113.9
  portcullis explain 'GET /' -H 'Cookie: beta=yes' -H 'X-Tenant: blue'
  portcullis explain /api --config edge.yaml --offline     without an edge that runs

Nothing is changed or counted, and nothing is sent. What chance decides is drawn anew each time: give the
seed that was told to see the same again. Offline all endpoints count as healthy and idle.

Exit codes:
  0  explained, whatever becomes of the request
  1  the question is wrong, or the edge refused
  2  wrong usage of the command line, or no edge answers";

/// As many endpoints as fit on a screen; the one that is chosen comes first.
const ENDPOINTS_TOLD_MAX: usize = 40;

/// Tell what would become of a request, and why
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    /// Method and target, such as 'POST /auth/login'; GET if it is a target alone
    request: String,
    /// A header field of the request; as often as there are fields
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
    /// Its host; localhost by default
    #[arg(long)]
    host: Option<String>,
    /// The address it comes from; 127.0.0.1 by default
    #[arg(long, value_name = "ADDRESS")]
    from: Option<String>,
    /// The listener where it arrives; the first that speaks plain HTTP by default
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    /// The name that TLS is asked for; its host by default
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
    /// An endpoint where an attempt has failed already; as often as there are such
    #[arg(long, value_name = "ADDRESS")]
    tried: Vec<String>,
    /// What chance is drawn from, as an explanation told it
    #[arg(long, value_name = "DIGITS")]
    seed: Option<String>,
    /// Explain by the file of --config, without an edge that runs
    #[arg(long, requires = "config")]
    offline: bool,
    #[command(flatten)]
    target: Target,
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once(':')
        .ok_or("write a name and a value: 'Accept: text/html'")?;
    match name.trim() {
        "" => Err("the name is missing: write 'Accept: text/html'".to_owned()),
        name => Ok((name.to_owned(), value.trim().to_owned())),
    }
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let question = question(arguments);
    if let (true, Some(path)) = (arguments.offline, &arguments.target.config) {
        let explained = offline(path, &question)?;
        tell(&arguments.target, &explained);
        return Ok(ExitCode::SUCCESS);
    }
    let explained = arguments.target.client()?.post("/v1/explain", &question);
    Ok(finish(explained.map(|explained| {
        tell(&arguments.target, &explained);
        ExitCode::SUCCESS
    })))
}

fn offline(path: &Path, question: &Value) -> anyhow::Result<Value> {
    let parsed =
        config::load(path).with_context(|| format!("{} cannot be used", path.display()))?;
    let members = question.as_object().cloned().unwrap_or_default();
    match explain::offline(parsed.config, &members) {
        Ok(explained) => Ok(explained),
        Err(mistake) => bail!("{mistake}"),
    }
}

fn question(arguments: &Arguments) -> Value {
    let (method, target) = match arguments.request.trim().split_once(' ') {
        Some((method, target)) => (method, target.trim()),
        None => ("GET", arguments.request.trim()),
    };
    let mut question = json!({ "method": method, "target": target });
    let mut add = |name: &str, value: &Option<String>| {
        if let Some(value) = value {
            question[name] = json!(value);
        }
    };
    add("host", &arguments.host);
    add("client", &arguments.from);
    add("listener", &arguments.listener);
    add("server_name", &arguments.server_name);
    add("seed", &arguments.seed);
    if !arguments.headers.is_empty() {
        question["headers"] = json!(arguments.headers);
    }
    if !arguments.tried.is_empty() {
        question["tried"] = json!(arguments.tried);
    }
    question
}

fn tell(target: &Target, explained: &Value) {
    let console: Console = target.console();
    console.answer(page(explained), || explained.clone());
}

/// What somebody reads at night: the end first.
fn page(explained: &Value) -> String {
    let mut parts = vec![printable(&end(explained))];
    let mut rows = Vec::new();
    for step in list(explained, "steps") {
        rows.push(row([
            &text(step, "step"),
            &text(step, "result"),
            &text(step, "says"),
        ]));
    }
    parts.push(table(&rows));
    parts.extend(others(explained));
    parts.extend(endpoints(explained));
    parts.extend(sent(explained));
    parts.push(format!("seed {}", printable(text(explained, "seed"))));
    parts.join("\n\n")
}

fn end(explained: &Value) -> String {
    let end = &explained["ends"];
    match text(end, "by") {
        "endpoint" => {
            let cluster = text(explained, "cluster");
            format!(
                "goes to {} of {cluster}, {}",
                text(end, "endpoint"),
                text(end, "why")
            )
        }
        "queue" => "waits in line: all endpoints are busy".to_owned(),
        _ => {
            let outcome = text(end, "outcome");
            match end["status"].as_u64() {
                Some(status) => format!("the edge answers {status} ({outcome})"),
                None => format!("the edge closes the connection ({outcome})"),
            }
        }
    }
}

fn others(explained: &Value) -> Option<String> {
    let others = &explained["other_routes"];
    let listed = list(others, "listed");
    // Routes of other hosts and paths are what nobody asked about, unless none took the request.
    let is_near = |other: &&Value| {
        explained["route"].is_null() || !text(other, "why_not").starts_with("is for other")
    };
    let near: Vec<_> = listed.iter().filter(is_near).collect();
    if near.is_empty() {
        return None;
    }
    let mut rows = vec![row([&"OTHER ROUTE", &"TAKES", &"WHY NOT"])];
    for other in near {
        rows.push(row([
            &text(other, "name"),
            &text(other, "takes"),
            &text(other, "why_not"),
        ]));
    }
    Some(table(&rows))
}

fn endpoints(explained: &Value) -> Option<String> {
    let all = list(explained, "endpoints");
    if all.is_empty() {
        return None;
    }
    let head: [&dyn std::fmt::Display; 7] = [
        &"ENDPOINT",
        &"STATE",
        &"WEIGHT",
        &"IN FLIGHT",
        &"SCORE",
        &"TURN",
        &"WHY NOT",
    ];
    let mut rows = vec![row(head)];
    for one in all.iter().take(ENDPOINTS_TOLD_MAX) {
        let number = |key: &str| match one[key].as_f64() {
            Some(number) => format!("{number}"),
            None => "-".to_owned(),
        };
        let why: Vec<&str> = list(one, "why").iter().filter_map(Value::as_str).collect();
        let skipped = match one["chosen"].as_bool() {
            Some(true) => "chosen".to_owned(),
            _ => text(one, "skipped").replace('_', " "),
        };
        let why = match why.is_empty() {
            true => skipped,
            false => format!("{skipped}: {}", why.join("; ")),
        };
        let (weight, busy) = (&one["weight"], &one["in_flight"]);
        let cells: [&dyn std::fmt::Display; 7] = [
            &text(one, "address"),
            &text(one, "state"),
            weight,
            busy,
            &number("score"),
            &number("turn"),
            &why,
        ];
        rows.push(row(cells));
    }
    let page = table(&rows);
    Some(match all.len().saturating_sub(ENDPOINTS_TOLD_MAX) {
        0 => page,
        more => format!("{page}\nand {more} more: --json has them"),
    })
}

fn sent(explained: &Value) -> Option<String> {
    let sent = &explained["sent"];
    let target = sent["target"].as_str()?;
    let mut rows = Vec::new();
    for edit in list(sent, "header_edits") {
        let word = |position: usize| edit[position].as_str().unwrap_or_default();
        rows.push(row([&word(0), &word(1), &word(2)]));
    }
    let (retries, timeouts) = (&explained["retries"], &explained["timeouts"]);
    let repeats = match retries["may_be_repeated"].as_bool() {
        Some(true) => format!("repeated {} times at most", retries["count"]),
        _ => "repeated only if nothing of it was sent".to_owned(),
    };
    let patience = format!(
        "connects within {} s, waits {} s for an answer; {repeats}",
        timeouts["connect_seconds"], timeouts["read_seconds"],
    );
    let target = printable(target);
    Some(format!("asks for {target}\n{}\n{patience}", table(&rows)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_a_name_and_a_value() {
        let pair = |name: &str, value: &str| Ok((name.to_owned(), value.to_owned()));
        assert_eq!(header("Accept: text/html"), pair("Accept", "text/html"));
        assert_eq!(header("X-Time:12:30"), pair("X-Time", "12:30"));
        assert_eq!(header("X-Empty:"), pair("X-Empty", ""));
        assert!(header("Accept").is_err() && header(": x").is_err());
    }

    #[test]
    fn the_page_begins_with_the_end_and_holds_no_control_characters() {
        let explained = json!({
            "seed": "00ff",
            "cluster": "main",
            "ends": { "by": "endpoint", "endpoint": "10.0.0.1:80", "why": "by rule" },
            "steps": [{ "step": "route", "result": "found", "says": "all\u{1b}[2J" }],
            "route": { "name": "all" },
            "other_routes": { "listed": [
                { "name": "far", "takes": "x", "why_not": "is for other hosts" },
                { "name": "near", "takes": "y", "why_not": "asks for method: GET" },
            ] },
            "endpoints": [
                { "address": "10.0.0.1:80", "chosen": true, "weight": 1, "in_flight": 0, "turn": 2.0 },
                { "address": "10.0.0.2:80", "chosen": false, "skipped": "out", "why": ["ejected"] },
            ],
        });
        let page = page(&explained);
        assert!(
            page.starts_with("goes to 10.0.0.1:80 of main, by rule\n"),
            "{page}"
        );
        assert!(page.contains("near") && !page.contains("far"), "{page}");
        assert!(
            page.contains("out: ejected") && page.contains("seed 00ff"),
            "{page}"
        );
        assert!(!page.contains('\u{1b}'), "{page}");
    }

    #[test]
    fn of_many_endpoints_the_first_are_told_and_the_others_counted() {
        let one = json!({ "address": "10.0.0.1:80", "chosen": false, "skipped": "behind" });
        let told = endpoints(&json!({ "endpoints": vec![one; 50] })).unwrap();
        assert_eq!(told.lines().count(), 1 + ENDPOINTS_TOLD_MAX + 1);
        assert!(told.ends_with("and 10 more: --json has them"), "{told}");
    }
}
