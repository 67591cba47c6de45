//! `portcullis auth user import`: accounts of another system. Never shows what a line says, only where it stands.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use portcullis_auth::Config;
use portcullis_auth::operator::{self, Effect, Imported, OnMistake};
use serde_json::{Value, json};

use crate::console::Console;

/// As in `HELP`.
const LEFT_OUT: u8 = 3;
/// Accounts between two lines about the progress.
const STEP: u64 = 1000;

const HELP: &str = "\
Examples:
  portcullis auth user import accounts.jsonl --dry-run
  portcullis auth user import accounts.jsonl
  portcullis auth user import accounts.jsonl --keep-going --json

A line of FILE is a JSON object; all but the address may be left out:
  {\"email\":\"ada@example.com\",\"password_hash\":\"$2b$12$…\",\"roles\":[\"clerk\"],\"tier\":\"pro\",\"verified\":true}

Hashes are taken over as they are (bcrypt, PBKDF2, scrypt, argon2; docs/passwords.md) and rewritten at the
first login; without one the owner chooses a password by mail. An address that is taken is left as it is,
so that a file may be imported again. A file with a mistake imports nothing, unless --keep-going is said.

Exit codes:
  0  every line is an account now, or was before
  1  the file has mistakes and nothing was imported; bad configuration, or the database cannot be used
  2  wrong usage of the command line
  3  with --keep-going: some lines were left out";

#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Import {
    /// One JSON object a line
    file: PathBuf,
    /// Only tell what would become of the lines; change nothing
    #[arg(long)]
    dry_run: bool,
    /// Import the good lines of a file with mistakes
    #[arg(long)]
    keep_going: bool,
}

pub(super) fn run(wanted: &Import, config: &Config, console: Console) -> anyhow::Result<ExitCode> {
    let on_mistake = match wanted.keep_going {
        true => OnMistake::LeaveOut,
        false => OnMistake::RefuseAll,
    };
    let effect = match wanted.dry_run {
        true => Effect::DryRun,
        false => Effect::Import,
    };
    let progress = |so_far: &Imported| {
        let count = so_far.added + so_far.present;
        if count.is_multiple_of(STEP) {
            console.progress(format_args!("{count} accounts"));
        }
    };
    let file = &wanted.file;
    let import = operator::import(config, file, on_mistake, effect, progress);
    let imported = super::super::runtime()?
        .block_on(import)
        .with_context(|| format!("cannot import {}", file.display()))?;
    for mistake in &imported.mistakes {
        Console::complain(&format!("line {}: {}", mistake.line, mistake.says));
    }
    let told = imported.mistakes.len() as u64;
    if imported.left_out > told {
        let more = imported.left_out - told;
        Console::complain(&format!("and {more} more lines with mistakes"));
    }
    console.answer(text(&imported, wanted), || json(&imported, wanted));
    Ok(match imported.left_out {
        0 => ExitCode::SUCCESS,
        _ if wanted.keep_going => ExitCode::from(LEFT_OUT),
        _ => ExitCode::FAILURE,
    })
}

fn text(imported: &Imported, wanted: &Import) -> String {
    let Imported {
        added,
        present,
        left_out,
        ..
    } = imported;
    if *left_out > 0 && !wanted.keep_going {
        return format!("nothing is imported: {left_out} lines have mistakes");
    }
    let would = if wanted.dry_run { "would be " } else { "" };
    format!("{added} {would}added, {present} were there before, {left_out} left out")
}

fn json(imported: &Imported, wanted: &Import) -> Value {
    let mistakes = imported.mistakes.iter();
    let mistakes = mistakes.map(|mistake| json!({ "line": mistake.line, "says": mistake.says }));
    json!({
        "added": imported.added,
        "present": imported.present,
        "left_out": imported.left_out,
        "dry_run": wanted.dry_run,
        "mistakes": mistakes.collect::<Vec<_>>(),
    })
}
