//! `portcullis auth audit`: what was done, by whom, and whether somebody has been at the log. Never changes a line.

use std::io::{BufWriter, Write};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use portcullis_auth::domain::{AuditRow, UnixMillis};
use portcullis_auth::operator::audit::{self, AuditQuery};
use portcullis_auth::operator::instant;
use portcullis_auth::store::PageLimit;
use portcullis_auth::{ChainReport, Config};
use serde_json::{Value, json};

use super::Terms;
use crate::console::Console;

const HELP: &str = "\
Examples:
  portcullis auth audit list --account ada@example.com --since 24h
  portcullis auth audit verify
  portcullis auth audit export > audit.jsonl

Exit codes:
  0  done
  1  a line is wrong or missing, bad configuration, or the database cannot be used
  2  wrong usage of the command line";

const LIST_HELP: &str = "\
Examples:
  portcullis auth audit list
  portcullis auth audit list --event login_failed --since 1h --json
  portcullis auth audit list --request 018f4b0e6d1c7c3a9d52f0a1b2c3d4e5

Newest first. Times are such as 15m, 24h or 7d ago, or 2026-11-22T03:00:00Z.

Exit codes:
  0  listed
  1  no such account or event, bad configuration, or the database cannot be used
  2  wrong usage of the command line";

const VERIFY_HELP: &str = "\
Examples:
  portcullis auth audit verify
  portcullis auth audit verify --expect 48211:9f2c...

The end of the chain that is told is worth keeping elsewhere: with --expect, a later look finds out
even whether somebody has put back an older copy of the whole database.

Exit codes:
  0  every line is as it was written, and none is missing
  1  it is not, and the first line that is wrong is told; or the database cannot be used
  2  wrong usage of the command line";

const EXPORT_HELP: &str = "\
Examples:
  portcullis auth audit export > audit.jsonl
  portcullis auth audit export --after 48211 >> audit.jsonl

One JSON object a line, in the order of the chain, with position and link.

Exit codes:
  0  exported
  1  bad configuration, or the database cannot be used
  2  wrong usage of the command line";

/// Read the audit log, and find out whether it was tampered with
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    pub(super) terms: Terms,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Print lines, newest first
    #[command(after_help = LIST_HELP)]
    List(List),
    /// Look at every line and tell the first that is wrong
    #[command(after_help = VERIFY_HELP)]
    Verify(Verify),
    /// Print all lines in the order of the chain, for an archive
    #[command(after_help = EXPORT_HELP)]
    Export(Export),
}

#[derive(Debug, Args)]
struct List {
    /// Only this event, such as login_failed
    #[arg(long)]
    event: Option<String>,
    /// Only what was done, or what was refused
    #[arg(long)]
    outcome: Option<String>,
    /// Only what concerns this account, or what it did: its address or its id
    #[arg(long)]
    account: Option<String>,
    /// Only what this request did
    #[arg(long)]
    request: Option<String>,
    /// Not before
    #[arg(long, value_parser = instant::parse)]
    since: Option<UnixMillis>,
    /// Before
    #[arg(long, value_parser = instant::parse)]
    until: Option<UnixMillis>,
    /// How many, at most 500
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=500))]
    limit: u16,
    /// Where the page before ended, as it told
    #[arg(long)]
    cursor: Option<String>,
}

#[derive(Debug, Args)]
struct Verify {
    /// A line that must be in the chain: position and link
    #[arg(long, value_name = "POSITION:LINK", value_parser = expected)]
    expect: Option<Expected>,
}

#[derive(Debug, Args)]
struct Export {
    /// Only lines behind this position
    #[arg(long, default_value_t = 0)]
    after: i64,
}

#[derive(Clone, Debug)]
struct Expected(i64, Vec<u8>);

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let config = arguments.terms.config()?;
    let console = arguments.terms.console();
    let runtime = super::runtime()?;
    match &arguments.verb {
        Verb::List(list) => runtime.block_on(show(list, &config, console)),
        Verb::Verify(verify) => runtime.block_on(judge(verify, &config, console)),
        Verb::Export(export) => runtime.block_on(hand_out(export, &config)),
    }
}

async fn show(list: &List, config: &Config, console: Console) -> anyhow::Result<ExitCode> {
    let query = AuditQuery {
        event: list.event.clone(),
        outcome: list.outcome.clone(),
        account: list.account.clone(),
        request: list.request.clone(),
        since: list.since,
        until: list.until,
    };
    let limit = PageLimit::new(list.limit);
    let page = audit::list(config, &query, list.cursor.as_deref(), limit).await?;
    for row in &page.rows {
        console.answer(text(row), || json(row));
    }
    if let Some(next) = page.next {
        console.answer(
            format!("more with --cursor {next}"),
            || json!({ "next": next }),
        );
    }
    Ok(ExitCode::SUCCESS)
}

async fn judge(verify: &Verify, config: &Config, console: Console) -> anyhow::Result<ExitCode> {
    let expected = verify.expect.clone().map(|Expected(at, link)| (at, link));
    let report = audit::verify(config, expected).await?;
    console.answer(verdict(&report), || report_json(&report));
    Ok(match report.broken {
        None => ExitCode::SUCCESS,
        Some(_) => ExitCode::FAILURE,
    })
}

async fn hand_out(export: &Export, config: &Config) -> anyhow::Result<ExitCode> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    audit::export(config, export.after, |row| writeln!(out, "{}", json(row))).await?;
    out.flush().context("cannot write")?;
    Ok(ExitCode::SUCCESS)
}

fn expected(text: &str) -> anyhow::Result<Expected> {
    let parts = text.split_once(':').and_then(|(position, link)| {
        let link = unhex(link)?;
        Some(Expected(position.parse().ok()?, link))
    });
    match parts {
        Some(expected) if expected.1.len() == 32 => Ok(expected),
        _ => bail!("is not a position and 64 hex digits, as `verify` tells them"),
    }
}

fn verdict(report: &ChainReport) -> String {
    let walk = &report.walk;
    let end = format!("{}:{}", walk.position, hex(&walk.link));
    let told = format!(
        "{} lines, {} waiting for their place, {} of erased accounts, {} of an earlier release",
        walk.lines, report.unlinked, walk.erased, walk.adopted
    );
    match &report.broken {
        None => format!("whole: {told}\nend of the chain: {end}"),
        Some(broken) => format!("BROKEN: {broken}\ngood up to {end}: {told}"),
    }
}

fn report_json(report: &ChainReport) -> Value {
    let walk = &report.walk;
    json!({
        "whole": report.broken.is_none(),
        "broken": report.broken.as_ref().map(ToString::to_string),
        "lines": walk.lines,
        "unlinked": report.unlinked,
        "erased": walk.erased,
        "adopted": walk.adopted,
        "removed_up_to": report.cut.as_ref().map(|cut| cut.position),
        "end": format!("{}:{}", walk.position, hex(&walk.link)),
    })
}

fn text(row: &AuditRow) -> String {
    let word = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let actor = match (&row.actor_kind, &row.personal.actor_id) {
        (Some(kind), Some(id)) => format!("{kind}:{id}"),
        (Some(kind), None) => kind.clone(),
        (None, _) => "-".to_owned(),
    };
    format!(
        "{}  {:<7}  {}  by {actor}  on {}  {}  from {}  request {}",
        instant::show(row.at),
        word(&row.outcome),
        row.event,
        word(&row.personal.account_id),
        word(&row.object),
        word(&row.personal.client),
        word(&row.personal.request_id),
    )
}

fn json(row: &AuditRow) -> Value {
    json!({
        "id": row.id,
        "at": instant::show(row.at),
        "event": row.event,
        "outcome": row.outcome,
        "actor": row.actor_kind,
        "actor_id": row.personal.actor_id,
        "account_id": row.personal.account_id,
        "session_id": row.personal.session_id,
        "object": row.object,
        "client": row.personal.client,
        "request_id": row.personal.request_id,
        "erased": row.erasure.is_some(),
        "position": row.position,
        "link": row.link.as_deref().map(hex),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.chars().map(|c| Some(c.to_digit(16)? as u8)).collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    Some(
        digits
            .chunks(2)
            .map(|pair| pair[0] << 4 | pair[1])
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_verify_tells_is_what_expect_takes() {
        let link: Vec<u8> = (0..32).map(|n| n * 7).collect();
        let Expected(position, read) = expected(&format!("48:{}", hex(&link))).unwrap();
        assert_eq!((position, read), (48, link));
        for wrong in ["", "48", "48:", "48:zz", "x:00", "48:0011", "48:€€"] {
            assert!(expected(wrong).is_err(), "{wrong}");
        }
    }
}
