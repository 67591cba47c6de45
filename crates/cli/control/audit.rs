//! `portcullis audit` and `history`: what was changed and by whom, and which configurations ran. Never changes
//! anything.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::{Target, finish, list, printable, row, table, text};

const AUDIT_HELP: &str = "\
Examples:
  portcullis audit                 the latest 20 changes, the newest last
  portcullis audit --last 256      all that the edge remembers; `audit_log` has more
  portcullis audit --json | jq '.entries[] | select(.outcome == \"refused\")'

Exit codes:
  0  shown
  1  the edge refused
  2  wrong usage of the command line, or no edge answers";

const HISTORY_HELP: &str = "\
Examples:
  portcullis history
  portcullis rollback --to 3       one of them is in force again

Exit codes:
  0  shown
  1  the edge refused
  2  wrong usage of the command line, or no edge answers";

/// Tell what was changed on a running edge, by whom, and what was refused
#[derive(Debug, Args)]
#[command(after_help = AUDIT_HELP)]
pub(crate) struct Audit {
    /// So many changes
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    last: usize,
    #[command(flatten)]
    target: Target,
}

/// List the configurations that ran in this process
#[derive(Debug, Args)]
#[command(after_help = HISTORY_HELP)]
pub(crate) struct History {
    #[command(flatten)]
    target: Target,
}

pub(crate) fn audit(arguments: &Audit) -> anyhow::Result<ExitCode> {
    let shown = arguments.target.client()?.get("/v1/audit");
    Ok(finish(shown.map(|mut shown| {
        if let Some(entries) = shown["entries"].as_array_mut() {
            entries.truncate(arguments.last);
        }
        let page = trail(list(&shown, "entries"));
        arguments.target.console().answer(page, || shown.clone());
        ExitCode::SUCCESS
    })))
}

pub(crate) fn history(arguments: &History) -> anyhow::Result<ExitCode> {
    let shown = arguments.target.client()?.get("/v1/history");
    Ok(finish(shown.map(|shown| {
        let page = configurations(&shown);
        arguments.target.console().answer(page, || shown.clone());
        ExitCode::SUCCESS
    })))
}

/// The newest entry comes first to us, and last to whoever reads a terminal.
fn trail(entries: &[Value]) -> String {
    let mut rows = vec![row([
        &"TIME",
        &"REVISION",
        &"WHO",
        &"WHAT",
        &"OUTCOME",
        &"CHANGE",
    ])];
    for entry in entries.iter().rev() {
        rows.push(row([
            &seconds(text(entry, "time")),
            &entry["revision"],
            &text(entry, "who"),
            &text(entry, "what"),
            &text(entry, "outcome"),
            &change(entry),
        ]));
    }
    table(&rows)
}

/// What became what, or why it did not.
fn change(entry: &Value) -> String {
    let (before, after) = (&entry["before"], &entry["after"]);
    let told = match (entry["why"].as_str(), before.is_null(), after.is_null()) {
        (Some(why), _, _) => why.to_owned(),
        (None, true, true) => String::new(),
        (None, true, false) => after.to_string(),
        (None, false, _) => format!("{before} -> {after}"),
    };
    match told.char_indices().nth(CHANGE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &told[..end]),
        None => told,
    }
}

fn configurations(history: &Value) -> String {
    let mut rows = vec![row([&"NUMBER", &"SINCE", &"ORIGIN"])];
    for (position, one) in list(history, "configurations").iter().enumerate() {
        let in_force = if position == 0 { " (in force)" } else { "" };
        let origin = format!("{}{in_force}", text(one, "origin"));
        rows.push(row([&one["number"], &seconds(text(one, "since")), &origin]));
    }
    let mut page = table(&rows);
    let refused = &history["last_refusal"];
    if !refused.is_null() {
        let (origin, why) = (text(refused, "origin"), text(refused, "why"));
        let line = format!("\nrefused since ({origin}): {why}");
        page.push_str(&printable(&line));
    }
    page
}

/// A time without what stands behind its seconds.
fn seconds(time: &str) -> String {
    match time.split_once('.') {
        Some((whole, _)) => format!("{whole}Z"),
        None => time.to_owned(),
    }
}

/// More does not fit beside the rest; `--json` has all of it.
const CHANGE_CHARS_MAX: usize = 120;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_newest_change_is_the_last_line() {
        let entries = [
            json!({ "time": "2026-11-22T09:30:01.5Z", "revision": 3, "who": "bob", "what": "bans/add",
                "outcome": "refused", "why": "The token `bob` may only read.", "before": null, "after": null }),
            json!({ "time": "2026-11-22T09:30:00.25Z", "revision": 3, "who": "ada", "what": "flags/x/set",
                "outcome": "done", "why": null, "before": 5, "after": "off" }),
        ];
        assert_eq!(
            trail(&entries),
            "TIME                  REVISION  WHO  WHAT         OUTCOME  CHANGE\n\
             2026-11-22T09:30:00Z  3         ada  flags/x/set  done     5 -> \"off\"\n\
             2026-11-22T09:30:01Z  3         bob  bans/add     refused  The token `bob` may only read."
        );
        let long = json!({ "before": null, "after": "x".repeat(500) });
        assert_eq!(change(&long).chars().count(), CHANGE_CHARS_MAX + 1);
    }

    #[test]
    fn the_configuration_in_force_and_the_last_refusal_are_marked() {
        let history = json!({
            "configurations": [
                { "number": 2, "since": "2026-11-22T09:30:00.5Z", "origin": "admin" },
                { "number": 1, "since": "2026-11-22T09:00:00Z", "origin": "startup" },
            ],
            "last_refusal": { "origin": "sighup", "why": "the configuration has mistakes" },
        });
        assert_eq!(
            configurations(&history),
            "NUMBER  SINCE                 ORIGIN\n\
             2       2026-11-22T09:30:00Z  admin (in force)\n\
             1       2026-11-22T09:00:00Z  startup\n\
             refused since (sighup): the configuration has mistakes"
        );
    }
}
