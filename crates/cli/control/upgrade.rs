//! `portcullis upgrade`: has the binary on the disk take over from the one that runs. Never starts a
//! process: the edge does, as it was started itself.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::client::{Client, Trouble, nothing};
use super::status::pause;
use super::{Target, finish, printable, text};

const HELP: &str = "\
Examples:
  install -m 755 portcullis.new /usr/local/bin/portcullis && portcullis upgrade
  portcullis upgrade --wait --json

The new process gets all listeners and what operators changed, and reads the configuration anew.
No connection is refused; those of the process before last until they end, or shutdown.upgrade_drain.

Exit codes:
  0  the new process serves; with --wait: the one before is gone, too
  1  it did not get ready and the old one serves on, or the edge refused
  2  wrong usage of the command line, or no edge answers";

/// How often the process before is looked for.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// Who does not answer so often in a row is gone: the process that took over, that is.
const MISSES_MAX: u32 = 3;

/// Replace the binary of a running edge without losing a connection
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    /// End when the process before has ended, which its connections may delay
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    target: Target,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let client = arguments.target.client()?;
    let upgraded = client.post_patiently("/v1/upgrade", &nothing());
    let upgraded = upgraded.and_then(|upgraded| {
        if arguments.wait {
            wait(&client, &upgraded)?;
        }
        Ok(upgraded)
    });
    Ok(finish(upgraded.map(|upgraded| {
        let page = page(&upgraded, arguments.wait);
        arguments.target.console().answer(page, || upgraded.clone());
        ExitCode::SUCCESS
    })))
}

/// Until the process that answers has none before it.
fn wait(client: &Client, upgraded: &Value) -> Result<(), Trouble> {
    let mut misses = 0;
    loop {
        match client.get("/v1/status") {
            Ok(status) if status["pid"] != upgraded["pid"] && status["predecessor"].is_null() => {
                return Err(Trouble::InVain(
                    "another process answers by now than the one that took over".to_owned(),
                ));
            }
            Ok(status) if status["predecessor"].is_null() => return Ok(()),
            Ok(_) => misses = 0,
            Err(trouble) if misses == MISSES_MAX => return Err(trouble),
            Err(_) => misses += 1,
        }
        pause(LOOK_INTERVAL)?;
    }
}

fn page(upgraded: &Value, is_gone: bool) -> String {
    let (pid, before) = (&upgraded["pid"], &upgraded["predecessor"]);
    let took = upgraded["took_ms"].as_f64().unwrap_or_default() / 1_000.0;
    let version = text(upgraded, "version");
    let fate = match is_gone {
        true => "is gone",
        false => "finishes what it has",
    };
    printable(&format!(
        "process {pid} (portcullis {version}) serves after {took:.1} s; process {before} {fate}"
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn who_took_over_and_what_becomes_of_the_other_is_one_line() {
        let done = json!({ "pid": 7, "predecessor": 3, "version": "1.2.0", "took_ms": 1234.5 });
        assert_eq!(
            page(&done, false),
            "process 7 (portcullis 1.2.0) serves after 1.2 s; process 3 finishes what it has"
        );
        assert!(page(&done, true).ends_with("process 3 is gone"));
    }
}
