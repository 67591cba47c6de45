//! `portcullis auth breached`: makes the filter of stolen passwords. Never asks the network: how the list comes here is
//! the operator's affair.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};
use portcullis_auth::password::breached::{BITS_PER_ENTRY, build};
use serde_json::json;

use crate::console::Console;

const HELP: &str = "\
Examples:
  portcullis auth breached build pwned-passwords-sha1.txt --out breached.filter
  portcullis auth breached build our-worst-passwords.txt --out breached.filter --bits 24

LIST has a SHA-1 digest in hex on each line, with or without :COUNT behind it, as the public download
has it, or a password; both may be mixed. It is read twice, and the filter lies in memory until it is
written: 2 bytes for each line at 16 bits. Name it in BREACHED_PASSWORDS_FILE and start the
instances again.

Exit codes:
  0  built; an earlier filter of that name was replaced
  1  the list cannot be read or is none, or the filter cannot be written
  2  wrong usage of the command line";

/// Make the filter of stolen passwords that nobody may choose
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Build a filter out of a list
    #[command(after_help = HELP)]
    Build(Build),
}

#[derive(Debug, Args)]
struct Build {
    /// SHA-1 digests or passwords, one a line
    list: PathBuf,
    /// The filter's file
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Bits for each line: more of them take fewer good passwords for stolen ones
    #[arg(long, default_value_t = BITS_PER_ENTRY, value_parser = clap::value_parser!(u64).range(8..=64))]
    bits: u64,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let Verb::Build(wanted) = &arguments.verb;
    let built = build(&wanted.list, &wanted.out, wanted.bits)
        .with_context(|| format!("cannot build {}", wanted.out.display()))?;
    let text = format!(
        "{} entries, {} bytes; of 1,000,000 random passwords {:.0} were taken for stolen ({:.3} %)",
        built.entries,
        built.bytes,
        built.false_positives * 1e6,
        built.false_positives * 100.0
    );
    Console::from_flag(wanted.json).answer(text, || {
        json!({
            "entries": built.entries,
            "bytes": built.bytes,
            "false_positives": built.false_positives,
        })
    });
    Ok(ExitCode::SUCCESS)
}
