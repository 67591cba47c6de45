//! `portcullis probe`: tries a running deployment as a stranger would. Never judges: the library does,
//! and sees nothing but HTTP.

mod command;
mod flags;
mod table;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Mutex;

use portcullis_probe::{Event, Finding, Verdict};

use crate::console::Console;
use command::Drain;
pub(crate) use flags::Arguments;

/// There was nothing to judge: wrong usage, or nobody answers.
const NOT_VISITED: u8 = 2;

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let console = Console::from_flag(arguments.json);
    let plan = match arguments.plan(&|name| std::env::var(name).ok()) {
        Ok(plan) => plan,
        Err(error) => return Ok(refuse(&format!("{error:#}"))),
    };
    let drain = Mutex::new(None);
    let is_colorful = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let tell = |event: Event<'_>| {
        if let (Event::EndpointMayGo { .. }, Some(line)) = (&event, &arguments.drain_command) {
            let mut place = drain
                .lock()
                .unwrap_or_else(|poisoned| poisoned.into_inner());
            *place = Some(Drain::start(line));
        }
        progress(console, &event, is_colorful);
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let report = match runtime.block_on(portcullis_probe::run(&plan, &tell)) {
        Ok(report) => report,
        Err(error) => return Ok(refuse(&error.to_string())),
    };
    let drain = drain
        .into_inner()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(complaint) = drain.and_then(Drain::complaint) {
        Console::complain(&format!("warning: {complaint}"));
    }
    console.answer(table::of(&report), || report.json());
    Ok(if report.is_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn refuse(error: &str) -> ExitCode {
    // What is wrong may hold words of a stranger, of a certificate for example.
    Console::complain(&format!("error: {}", table::printable(error)));
    ExitCode::from(NOT_VISITED)
}

/// One line for each step; on a terminal failures stand out.
fn progress(console: Console, event: &Event<'_>, is_colorful: bool) {
    match event {
        Event::Arrived { plan } => console.progress(format_args!("visiting {}", plan.target)),
        Event::Begins(check) => console.progress(format_args!("  {check} …")),
        Event::EndpointMayGo { left } => console.progress(format_args!(
            "  an endpoint may go now: stop or drain one; the watch goes on for {} s",
            left.as_secs()
        )),
        Event::Ends(finding) => console.progress(ended(finding, is_colorful)),
    }
}

fn ended(finding: &Finding, is_colorful: bool) -> String {
    let verdict = finding.verdict.name();
    let color = match finding.verdict {
        Verdict::Fail => "31",
        Verdict::Warn => "33",
        Verdict::Pass => "32",
        Verdict::Skipped => "2",
    };
    let verdict = match is_colorful {
        true => format!("\u{1b}[{color}m{verdict}\u{1b}[0m"),
        false => verdict.to_owned(),
    };
    format!(
        "  {} {verdict}: {}",
        finding.check,
        table::printable(&finding.summary)
    )
}
