//! Commands over the operator's API of a running edge: what they share. Never changes anything by
//! itself, and never takes a token as an argument, where every user of the machine could read it.

use std::fmt::Display;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use portcullis_edge::config;
use portcullis_ops::file;
use serde_json::Value;

use crate::console::Console;

pub(crate) mod audit;
pub(crate) mod bans;
mod client;
pub(crate) mod endpoint;
pub(crate) mod explain;
pub(crate) mod flag;
pub(crate) mod health_check;
pub(crate) mod reload;
pub(crate) mod route;
pub(crate) mod status;
pub(crate) mod upgrade;

use client::{Client, Trouble};

/// Where an edge answers that is told nothing else.
const DEFAULT_ADDRESS: &str = "127.0.0.1:2019";
/// More is no token.
const TOKEN_BYTES_MAX: u64 = 4096;
/// Nobody could be asked.
const NOBODY: u8 = 2;

/// Which edge, and who asks
#[derive(Debug, Args)]
pub(crate) struct Target {
    /// Where the edge answers its operators; else `admin.address` of --config, PORTCULLIS_ADMIN, or 127.0.0.1:2019
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<String>,
    /// The configuration of that edge, for its `admin.address`
    #[arg(long, value_name = "FILE", conflicts_with = "admin")]
    config: Option<PathBuf>,
    /// File that holds the token; else PORTCULLIS_ADMIN_TOKEN has it
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Target {
    fn console(&self) -> Console {
        Console::from_flag(self.json)
    }

    fn client(&self) -> anyhow::Result<Client> {
        let token = match &self.token_file {
            Some(path) => Some(file::read_text(path, TOKEN_BYTES_MAX)?),
            None => std::env::var("PORTCULLIS_ADMIN_TOKEN").ok(),
        };
        let token = token.map(|token| token.trim().to_owned());
        Client::new(&self.address()?, token.filter(|token| !token.is_empty()))
    }

    fn address(&self) -> anyhow::Result<String> {
        if let Some(address) = &self.admin {
            return Ok(address.clone());
        }
        if let Some(path) = &self.config {
            let parsed =
                config::load(path).with_context(|| format!("{} cannot be used", path.display()))?;
            let Some(admin) = parsed.config.admin else {
                bail!("{} says `admin: off`: nobody can be asked", path.display());
            };
            return Ok(admin.address.to_string());
        }
        let named = std::env::var("PORTCULLIS_ADMIN").ok();
        let named = named.filter(|address| !address.is_empty());
        Ok(named.unwrap_or_else(|| DEFAULT_ADDRESS.to_owned()))
    }
}

/// What an edge must not have become before something of it is changed
#[derive(Debug, Args)]
pub(crate) struct Precondition {
    /// Change it only if the edge still has this revision, as `portcullis status` tells it
    #[arg(long, value_name = "REVISION")]
    if_match: Option<u64>,
}

impl Precondition {
    /// One that asks for changes of this state only.
    fn client(&self, target: &Target) -> anyhow::Result<Client> {
        Ok(target.client()?.changing(self.if_match))
    }
}

/// Runs a command, and tells what went wrong.
fn finish(ended: Result<ExitCode, Trouble>) -> ExitCode {
    match ended {
        Ok(code) => code,
        Err(trouble) => {
            Console::complain(&format!("error: {}", printable(&trouble.to_string())));
            match trouble {
                Trouble::Refused { .. } | Trouble::InVain(_) => ExitCode::FAILURE,
                Trouble::Unreachable { .. } | Trouble::Strange(_) => ExitCode::from(NOBODY),
            }
        }
    }
}

/// Text of the edge for a terminal: nothing that moves its cursor.
fn printable(text: &str) -> String {
    let shown = |c: char| if c.is_control() && c != '\n' { ' ' } else { c };
    text.chars().map(shown).collect()
}

/// A text of a document.
fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_default()
}

/// Members of a list; none if there is no list.
fn list<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

/// One step of a path, percent-encoded.
fn step(name: &str) -> String {
    let mut encoded = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// Columns as wide as their widest cell; the last one is as long as it likes.
fn table(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths);
        let cells = cells.map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let lines: Vec<String> = rows.iter().map(line).collect();
    printable(&lines.join("\n"))
}

/// A row of a table.
fn row<const N: usize>(cells: [&dyn Display; N]) -> Vec<String> {
    cells.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_of_paths_hold_no_slash_and_no_bracket() {
        assert_eq!(step("10.0.0.1:80"), "10.0.0.1:80");
        assert_eq!(step("[::1]:80"), "%5B::1%5D:80");
        assert_eq!(step("../x y"), "..%2Fx%20y");
    }

    #[test]
    fn columns_are_aligned_and_hold_no_control_characters() {
        let rows = [row([&"a", &"bb", &"c"]), row([&"aaa", &1, &"\u{1b}[31m"])];
        assert_eq!(table(&rows), "a    bb  c\naaa  1    [31m");
    }
}
