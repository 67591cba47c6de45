//! Portcullis beside nginx, HAProxy and Caddy: processor time, latency, memory and system calls
//! per request in one interleaved run. Never fails for being slow; fails when the contenders do not
//! do the same, and says when the machine spoiled the figures.
//!
//! Run it with `make bench-peers`, which installs what it needs; `benches/README.md` has the method.

#![expect(clippy::print_stdout, reason = "its tables are what it is for")]
#![expect(clippy::print_stderr, reason = "its progress is for whoever waits")]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use portcullis_testkit::Authority;
use portcullis_testkit::machine::{self, Cores};
use portcullis_testkit::noise::Noise;
use tokio::signal::unix::{SignalKind, signal};

mod cases;
mod check;
mod configs;
mod contender;
mod floor;
mod growth;
mod load;
mod origin;
mod plot;
mod report;
mod results;
mod rounds;

use check::Trust;
use configs::Site;
use contender::{Contender, Instance, Setting};
use growth::Grounds;
use load::client::Client;
use load::{Loads, Programs};
use origin::{ORIGINS, Origins};
use report::About;
use results::Results;
use rounds::{Extent, Run};

/// Measure Portcullis beside nginx, HAProxy and Caddy.
#[derive(Debug, Parser)]
#[command(name = "peers", bin_name = "make bench-peers ARGS=")]
struct Options {
    /// One short round with fewer cases, under 2 minutes
    #[arg(long)]
    quick: bool,
    /// Rounds of each case [default: 3, with --quick 1]
    #[arg(long, value_name = "COUNT")]
    rounds: Option<usize>,
    /// Measure these alone, separated by commas
    #[arg(long, value_name = "CASE", value_delimiter = ',')]
    only: Vec<String>,
    /// Start these alone, separated by commas
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    contenders: Vec<String>,
    /// Where the figures go
    #[arg(
        long,
        value_name = "FILE",
        default_value = "target/bench-peers/results.json"
    )]
    json: PathBuf,
    /// Where the plot goes
    #[arg(
        long,
        value_name = "FILE",
        default_value = "target/bench-peers/cpu.svg"
    )]
    svg: PathBuf,
    /// Put the results into benches/README.md too
    #[arg(long)]
    update_readme: bool,
    /// Another binary of Portcullis than the one built along
    #[arg(long, value_name = "FILE", default_value = env!("CARGO_BIN_EXE_portcullis"))]
    portcullis: PathBuf,
    /// Forward bytes instead: a listener, another that is only bound, and an origin
    #[arg(long, hide = true, num_args = 3)]
    forward: Vec<SocketAddr>,
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
    if !options.forward.is_empty() {
        match floor::forward(&options.forward)? {}
    }
    let known = cases::keys();
    for key in &options.only {
        let is_known = known.contains(&key.as_str());
        ensure!(
            is_known,
            "no case is called {key:?}; known are {}",
            known.join(", ")
        );
    }
    let cores = Cores::share_out()?;
    // Before the first thread, so that all threads and load generators follow.
    cores.leave_the_kept_one()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        // Both, so that nothing that was started is left behind.
        let mut terminated = signal(SignalKind::terminate())?;
        let mut interrupted = signal(SignalKind::interrupt())?;
        tokio::select! {
            result = measure(options, &cores) => result,
            _ = terminated.recv() => bail!("terminated"),
            _ = interrupted.recv() => bail!("interrupted"),
        }
    })
}

async fn measure(options: &Options, cores: &Cores) -> Result<()> {
    let started = Instant::now();
    let contenders = contender::chosen(&options.contenders)?;
    let files = machine::raise_file_limit()?;
    ensure!(
        files >= 12_000,
        "10,000 connections need more than {files} open files"
    );
    let directory = tempfile::tempdir()?;
    let authority = Authority::new();
    let identity = authority.issue("peers", &[load::client::NAME, "127.0.0.1"]);
    let trust = Trust {
        root: authority.root_file(),
        leaf: identity.leaf,
    };
    let origins = Origins::start(ORIGINS, Vec::new())?;
    let setting = Setting {
        portcullis: options
            .portcullis
            .canonicalize()
            .context("no such binary")?,
        site: Site::in_front_of(origins.addresses.clone()),
        cert: identity.cert,
        key: identity.key,
        directory: directory.path().to_owned(),
        cores: cores.clone(),
    };
    let loads = Loads {
        client: Client::new(&trust.root)?,
        programs: Programs::prepare(directory.path())?,
    };
    let mut noise = Noise::calibrate(cores);
    let mut results = Results::new(contenders.clone());
    let mut run = Run {
        loads: &loads,
        setting: &setting,
        extent: options.extent(),
        results: &mut results,
        noise: &mut noise,
        started,
    };
    for is_logging in [false, true] {
        if !options.has_cases() && (is_logging || !options.needs_instances()) {
            continue;
        }
        eprintln!("   . starting everyone, log: {is_logging}");
        let instances = start(&contenders, &setting, is_logging, &origins, &trust).await?;
        all(options, &mut run, &instances, is_logging).await?;
        for instance in instances {
            instance.leave().await;
        }
    }
    if options.is_chosen(cases::MEMORY) {
        run.memory().await?;
    }
    growth(options, &mut run).await?;
    let about = options.about(&contenders, cores);
    publish(options, &results, &about, &noise)
}

/// What was asked for of everyone with the same site.
async fn all(
    options: &Options,
    run: &mut Run<'_>,
    instances: &[Instance],
    is_logging: bool,
) -> Result<()> {
    run.closed_loop(instances, &|key| options.is_chosen(key))
        .await?;
    if is_logging {
        return Ok(());
    }
    if options.is_chosen(cases::LATENCY) {
        run.open_loop(instances).await?;
    }
    if options.is_named(floor::FLOOR) {
        run.floor(instances).await?;
    }
    if options.is_chosen(cases::SYSTEM_CALLS) {
        let is_traced = |key: &str| !options.has_cases() || options.is_chosen(key);
        run.system_calls(instances, &is_traced).await?;
    }
    Ok(())
}

/// What was asked for of [`growth::SERIES`].
async fn growth(options: &Options, run: &mut Run<'_>) -> Result<()> {
    let is_chosen = |key| options.is_named(key) || options.is_named(growth::GROWTH);
    let series = growth::SERIES.iter().filter(|series| is_chosen(series.key));
    let mut grounds = None;
    for series in series {
        let grounds = match &mut grounds {
            Some(grounds) => grounds,
            none => none.insert(Grounds::prepare()?),
        };
        run.growth(series, grounds).await?;
    }
    Ok(())
}

async fn start(
    contenders: &[Contender],
    setting: &Setting,
    is_logging: bool,
    origins: &Origins,
    trust: &Trust,
) -> Result<Vec<Instance>> {
    let mut instances = Vec::new();
    for &contender in contenders {
        let instance = Instance::start(contender, setting, is_logging).await?;
        check::check(&instance, origins, trust).await?;
        instances.push(instance);
    }
    Ok(instances)
}

fn publish(options: &Options, results: &Results, about: &About, noise: &Noise) -> Result<()> {
    let verdict = noise.verdict();
    print!("{}", report::terminal(results, about, &verdict));
    let json = serde_json::to_string_pretty(&report::json(results, about, &verdict))?;
    write(&options.json, &json)?;
    if let Some(svg) = plot::svg(results, about, &verdict) {
        write(&options.svg, &svg)?;
    }
    if options.update_readme {
        let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/README.md");
        report::update(&readme, &report::markdown(results, about, &verdict))
            .with_context(|| format!("updating {}", readme.display()))?;
    }
    Ok(())
}

fn write(file: &Path, text: &str) -> Result<()> {
    if let Some(directory) = file.parent() {
        std::fs::create_dir_all(directory)?;
    }
    std::fs::write(file, text).with_context(|| format!("writing {}", file.display()))?;
    println!("{}", file.display());
    Ok(())
}

impl Options {
    fn is_chosen(&self, key: &str) -> bool {
        self.only.is_empty() || self.is_named(key)
    }

    /// What takes too long to be measured unless it is asked for.
    fn is_named(&self, key: &str) -> bool {
        self.only.iter().any(|only| only == key)
    }

    fn has_cases(&self) -> bool {
        cases::CASES.iter().any(|case| self.is_chosen(case.key))
    }

    fn needs_instances(&self) -> bool {
        self.is_chosen(cases::LATENCY)
            || self.is_chosen(cases::SYSTEM_CALLS)
            || self.is_named(floor::FLOOR)
    }

    fn extent(&self) -> Extent {
        let milliseconds = Duration::from_millis;
        if self.quick {
            Extent {
                rounds: self.rounds.unwrap_or(1),
                duration: milliseconds(500),
                open_loop: milliseconds(1000),
                is_thorough: false,
            }
        } else {
            Extent {
                rounds: self.rounds.unwrap_or(3),
                duration: milliseconds(1000),
                open_loop: milliseconds(2000),
                is_thorough: true,
            }
        }
    }

    fn about(&self, contenders: &[Contender], cores: &Cores) -> About {
        let mut versions: Vec<(String, String)> = contenders
            .iter()
            .map(|contender| {
                (
                    contender.name.to_owned(),
                    contender.version(&self.portcullis),
                )
            })
            .collect();
        for program in ["wrk", "h2load"] {
            versions.push((program.to_owned(), package_version(program)));
        }
        About {
            command: command(),
            machine: machine::describe(),
            cores: cores.describe(),
            rounds: self.extent().rounds,
            versions,
        }
    }
}

/// What to type for the same run.
fn command() -> String {
    let is_cargos = |argument: &String| argument == "--bench";
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !is_cargos(a)).collect();
    if arguments.is_empty() {
        "make bench-peers".to_owned()
    } else {
        format!("make bench-peers ARGS=\"{}\"", arguments.join(" "))
    }
}

/// As Debian calls it: `wrk` itself only knows when it was built.
fn package_version(program: &str) -> String {
    let package = if program == "h2load" {
        "nghttp2-client"
    } else {
        program
    };
    let output = Command::new("dpkg-query")
        .args(["-W", "-f", "${Package} ${Version}", package])
        .output();
    output.map_or("unknown".to_owned(), |output| {
        String::from_utf8_lossy(&output.stdout).into_owned()
    })
}
