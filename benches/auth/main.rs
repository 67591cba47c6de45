//! Auth under load on PostgreSQL, Redis and files, beside what its work costs bare, in one interleaved run: processor time
//! per request, and rates. Never fails for being slow; fails when a request does, and says when the machine spoiled the
//! figures.
//!
//! Run it with `make bench-auth`, which installs what it needs; `benches/README.md` has the method.

#![expect(clippy::print_stdout, reason = "its tables are what it is for")]
#![expect(clippy::print_stderr, reason = "its progress is for whoever waits")]

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use portcullis_testkit::machine::{self, Cores};
use portcullis_testkit::noise::Noise;
use tokio::signal::unix::{SignalKind, signal};

mod bare;
mod cases;
mod load;
mod report;
mod results;
mod rounds;
mod site;

use bare::Sample;
use report::About;
use results::Results;
use rounds::{Extent, Run};
use site::Site;

/// Measure auth beside the bare cost of its work.
#[derive(Debug, Parser)]
#[command(name = "auth", bin_name = "make bench-auth ARGS=")]
struct Options {
    /// Two short rounds, under 2 minutes
    #[arg(long)]
    quick: bool,
    /// Rounds of each case [default: 7, with --quick 2]
    #[arg(long, value_name = "COUNT")]
    rounds: Option<usize>,
    /// Measure these alone, separated by commas
    #[arg(long, value_name = "CASE", value_delimiter = ',')]
    only: Vec<String>,
    /// Where the figures go
    #[arg(
        long,
        value_name = "FILE",
        default_value = "target/bench-auth/results.json"
    )]
    json: PathBuf,
    /// Another binary of Portcullis than the one built along
    #[arg(long, value_name = "FILE", default_value = env!("CARGO_BIN_EXE_portcullis"))]
    portcullis: PathBuf,
    /// One more binary, measured in turn with the first: what a change did
    #[arg(long, value_name = "FILE")]
    beside: Option<PathBuf>,
    /// Threads that carry requests in each instance [default: one for each core]
    #[arg(long, value_name = "COUNT")]
    workers: Option<NonZeroUsize>,
    /// What cargo adds
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Without the backtrace that anyhow would add.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let known: Vec<&str> = cases::CASES.iter().map(|case| case.key).collect();
    for key in &options.only {
        let is_known = known.contains(&key.as_str());
        ensure!(
            is_known,
            "no case is called {key:?}; known are {}",
            known.join(", ")
        );
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        // Both, so that nothing that was started is left behind.
        let mut terminated = signal(SignalKind::terminate())?;
        let mut interrupted = signal(SignalKind::interrupt())?;
        tokio::select! {
            result = measure(options) => result,
            _ = terminated.recv() => bail!("terminated"),
            _ = interrupted.recv() => bail!("interrupted"),
        }
    })
}

async fn measure(options: &Options) -> Result<()> {
    let started = Instant::now();
    let cores = Cores::together()?;
    machine::raise_file_limit()?;
    let beside = options.beside.as_ref().map(|beside| ("beside", beside));
    let binaries = std::iter::once(("this", &options.portcullis)).chain(beside);
    let mut sites = Vec::new();
    for (name, binary) in binaries {
        eprintln!("   . starting {name} with its PostgreSQL and Redis, logging in");
        let binary = binary
            .canonicalize()
            .with_context(|| format!("no binary {}", binary.display()))?;
        sites.push(Site::start(name, &binary, options.workers).await?);
    }
    let (token, keys) = sites[0].sample().await?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let sample = Sample::of(
        site::ISSUER,
        &token,
        &keys,
        i64::try_from(now.as_secs()).unwrap_or_default(),
    )?;
    let mut noise = Noise::calibrate(&cores);
    let mut results = Results::default();
    let extent = options.extent();
    let mut run = Run {
        sites: &mut sites,
        sample,
        cores: &cores,
        extent,
        results: &mut results,
        noise: &mut noise,
        started,
    };
    run.all(&|key| options.is_chosen(key)).await?;
    let about = About {
        command: command(),
        machine: machine::describe(),
        cores: cores.describe(),
        rounds: extent.rounds,
        sites: sites.iter().map(|site| site.name).collect(),
    };
    for site in sites {
        site.leave().await;
    }
    let verdict = noise.verdict();
    print!("{}", report::terminal(&results, &about, &verdict));
    let json = report::json(&results, &about, &verdict);
    if let Some(directory) = options.json.parent() {
        std::fs::create_dir_all(directory)?;
    }
    std::fs::write(&options.json, serde_json::to_string_pretty(&json)?)
        .with_context(|| format!("writing {}", options.json.display()))?;
    println!("{}", options.json.display());
    Ok(())
}

impl Options {
    fn is_chosen(&self, key: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == key)
    }

    fn extent(&self) -> Extent {
        let milliseconds = Duration::from_millis;
        if self.quick {
            Extent {
                rounds: self.rounds.unwrap_or(2),
                duration: milliseconds(1000),
                long: milliseconds(3000),
                bare: milliseconds(1000),
            }
        } else {
            Extent {
                rounds: self.rounds.unwrap_or(7),
                duration: milliseconds(3000),
                long: milliseconds(6000),
                bare: milliseconds(2000),
            }
        }
    }
}

/// What to type for the same run.
fn command() -> String {
    let is_cargos = |argument: &String| argument == "--bench";
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !is_cargos(a)).collect();
    if arguments.is_empty() {
        "make bench-auth".to_owned()
    } else {
        format!("make bench-auth ARGS=\"{}\"", arguments.join(" "))
    }
}
