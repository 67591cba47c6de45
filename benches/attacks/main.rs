//! What a client notices while another attacks, and what that costs in memory: Portcullis and nginx
//! beside it, each alone on one core. Never fails for being slow.
//!
//! Run it with `make bench-attacks`; `benches/README.md` has the method.

#![expect(clippy::print_stdout, reason = "its tables are what it is for")]
#![expect(clippy::print_stderr, reason = "its progress is for whoever waits")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use portcullis_testkit::attack::{Attack, Calm, Door, over_http1, over_http2};
use portcullis_testkit::machine::{self, Cores};
use portcullis_testkit::measure::{Spread, number};
use portcullis_testkit::process::resident_kilobytes;

mod site;

use site::{Program, Site};

/// Requests that a percentile is of.
const REQUESTS: u32 = 500;
/// What attacks more than in tests, whose builds are not optimised.
const FASTER: u32 = 4;
/// Between two of them.
const PACE: Duration = Duration::from_millis(3);
/// Requests while an attack begins, of which nothing is measured.
const LEAD: u32 = 230;
/// How often memory is read.
const LOOK: Duration = Duration::from_millis(20);
/// Requests while memory may come back.
const AFTERWARDS: u32 = 330;

/// Measure what a client notices while another attacks.
#[derive(Debug, Parser)]
#[command(name = "attacks", bin_name = "make bench-attacks ARGS=")]
struct Options {
    /// Rounds of each attack
    #[arg(long, value_name = "COUNT", default_value = "3")]
    rounds: usize,
    /// Attacks whose names contain one of these, separated by commas
    #[arg(long, value_name = "WORD", value_delimiter = ',')]
    only: Vec<String>,
    /// Attack these alone: portcullis, nginx
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    contenders: Vec<String>,
    /// Another binary of Portcullis than the one built along
    #[arg(long, value_name = "FILE", default_value = env!("CARGO_BIN_EXE_portcullis"))]
    portcullis: PathBuf,
    /// What cargo adds
    #[arg(long, hide = true)]
    bench: bool,
}

/// One round of one attack.
struct Round {
    calm_ms: f64,
    attacked_ms: f64,
    grown_kilobytes: u64,
    kept_kilobytes: u64,
    core_percent: f64,
    opened: u64,
    cut: u64,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let cores = Cores::share_out()?;
    // Before the first thread, so that all threads follow.
    cores.leave_the_kept_one()?;
    machine::raise_file_limit()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(measure(&options, &cores))
}

async fn measure(options: &Options, cores: &Cores) -> Result<()> {
    let portcullis = options.portcullis.canonicalize()?;
    let site = Site::start(portcullis, cores.clone());
    println!("{}; {}", machine::describe(), cores.describe());
    println!(
        "| attack | rate | who | p99 calm, ms | attacked | ratio | core | memory | kept | cut |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for attack in over_http1().into_iter().chain(over_http2()) {
        let attack = attack.faster(FASTER);
        let is_meant = |word: &String| attack.name.contains(word.as_str());
        if !options.only.is_empty() && !options.only.iter().any(is_meant) {
            continue;
        }
        for program in [Program::Portcullis, Program::Nginx] {
            let is_meant = |name: &String| name == program.name();
            if !options.contenders.is_empty() && !options.contenders.iter().any(is_meant) {
                continue;
            }
            eprintln!("   . {} against {}", attack.name, program.name());
            let mut rounds = Vec::new();
            for _ in 0..options.rounds {
                let round = round(&site, program, &attack).await;
                rounds.push(round.with_context(|| format!("{}, {}", attack.name, program.name()))?);
            }
            println!("{}", line(&attack, program, &rounds)?);
        }
    }
    Ok(())
}

async fn round(site: &Site, program: Program, attack: &Attack) -> Result<Round> {
    let target = site.target(program).await?;
    let processes = target.processes();
    let address = target.address(attack.door);
    let calm_door = match attack.door {
        Door::Http2 => Door::Http2,
        _ => Door::Http1,
    };
    let mut calm = Calm::new(target.address(calm_door), calm_door, PACE);
    // The first requests connect and warm up.
    calm.p99_ms(100).await?;
    let calm_ms = calm.p99_ms(REQUESTS).await?;
    let at_rest = resident(&processes);
    let running = attack.clone().start(address);
    let mut peak = at_rest;
    let mut look = tokio::time::interval(LOOK);
    let watching = async {
        loop {
            look.tick().await;
            peak = peak.max(resident(&processes));
        }
    };
    let measured = async {
        calm.p99_ms(LEAD).await?;
        let (began, before) = (Instant::now(), machine::cpu_nanoseconds(&processes)?);
        let p99 = calm.p99_ms(REQUESTS).await?;
        let used = machine::cpu_nanoseconds(&processes)? - before;
        anyhow::Ok((p99, used as f64 / began.elapsed().as_nanos() as f64 * 100.0))
    };
    let (attacked_ms, core_percent) = tokio::select! {
        () = watching => unreachable!("it watches for ever"),
        measured = measured => measured?,
    };
    let tally = running.tally();
    drop(running);
    calm.p99_ms(AFTERWARDS).await?;
    Ok(Round {
        calm_ms,
        attacked_ms,
        grown_kilobytes: peak - at_rest,
        kept_kilobytes: resident(&processes).saturating_sub(at_rest),
        core_percent,
        opened: tally.opened,
        cut: tally.cut,
    })
}

fn resident(processes: &[u32]) -> u64 {
    processes
        .iter()
        .filter_map(|&id| resident_kilobytes(id))
        .sum()
}

fn line(attack: &Attack, program: Program, rounds: &[Round]) -> Result<String> {
    let middle = |value: &dyn Fn(&Round) -> f64| {
        let values: Vec<f64> = rounds.iter().map(value).collect();
        Spread::of(&values).map(|spread| spread.median)
    };
    ensure!(!rounds.is_empty(), "no rounds");
    let figure = |value: &dyn Fn(&Round) -> f64| middle(value).unwrap_or_default();
    // Whoever else uses the machine spoils some rounds, an attack all of them.
    let best = |value: &dyn Fn(&Round) -> f64| rounds.iter().map(value).fold(f64::MAX, f64::min);
    let calm_ms = best(&|round| round.calm_ms);
    let attacked_ms = best(&|round| round.attacked_ms);
    Ok(format!(
        "| {} | {} | {} | {} | {} | {} | {:.0} % | {:.1} MB | {:.1} MB | {:.0} of {:.0} |",
        attack.name,
        attack.rate(),
        program.name(),
        number(calm_ms),
        number(attacked_ms),
        number(attacked_ms / calm_ms),
        figure(&|round| round.core_percent),
        figure(&|round| round.grown_kilobytes as f64) / 1024.0,
        figure(&|round| round.kept_kilobytes as f64) / 1024.0,
        figure(&|round| round.cut as f64),
        figure(&|round| round.opened as f64),
    ))
}
