//! The measurements themselves, all contenders in turn, in another order each round. Never decides
//! what is measured.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::cases::{CASES, Case, IDLE, Logged, RATES};
use crate::contender::{Instance, Setting};
use crate::load::idle::Idle;
use crate::load::{Loads, open_loop};
use crate::results::{Metric, Results};
use portcullis_testkit::machine::{
    cpu_nanoseconds, memory_kilobytes, system_calls, wait_until_idle,
};
use portcullis_testkit::noise::Noise;

/// How much of everything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    pub(crate) rounds: usize,
    /// Of a case in a round; `wrk` takes a second at least.
    pub(crate) duration: Duration,
    pub(crate) open_loop: Duration,
    pub(crate) is_thorough: bool,
}

/// Where the figures go, and what else every measurement needs.
pub(crate) struct Run<'a> {
    pub(crate) loads: &'a Loads,
    pub(crate) setting: &'a Setting,
    pub(crate) extent: Extent,
    pub(crate) results: &'a mut Results,
    pub(crate) noise: &'a mut Noise,
    pub(crate) started: Instant,
}

impl Run<'_> {
    /// Processor time and throughput of the cases.
    pub(crate) async fn closed_loop(
        &mut self,
        instances: &[Instance],
        is_chosen: &dyn Fn(&str) -> bool,
    ) -> Result<()> {
        let is_logging = instances.iter().any(|instance| instance.log.is_some());
        let cases: Vec<&Case> = CASES
            .iter()
            .filter(|case| is_chosen(case.key) && (!is_logging || self.is_logged(case)))
            .collect();
        for round in 0..self.extent.rounds {
            for case in &cases {
                self.progress(&format!("round {}: {}", round + 1, title(case, is_logging)));
                self.noise.observe();
                for index in order(instances.len(), round) {
                    self.measure(case, &instances[index], index).await?;
                }
            }
        }
        Ok(())
    }

    async fn measure(&mut self, case: &Case, instance: &Instance, index: usize) -> Result<()> {
        let (cost, rate) = self.cost(case, instance).await?;
        let title = title(case, instance.log.is_some());
        self.results
            .add(Metric::CpuMicroseconds, &title, index, cost);
        self.results.add(Metric::PerSecond, &title, index, rate);
        Ok(())
    }

    /// Microseconds of processor time per request of a case, and requests per second.
    pub(crate) async fn cost(&self, case: &Case, instance: &Instance) -> Result<(f64, f64)> {
        let duration = self.extent.duration;
        let work = self.loads.run(case.work, case.is_tls, instance, duration);
        let (cpu_us, done) = microseconds_of(instance, work)
            .await
            .with_context(|| format!("{} of {}", case.title, instance.contender.name))?;
        let count = done.count as f64;
        Ok((cpu_us / count, count / done.seconds))
    }

    fn is_logged(&self, case: &Case) -> bool {
        match case.logged {
            Logged::Always => true,
            Logged::Thoroughly => self.extent.is_thorough,
            Logged::Never => false,
        }
    }

    /// Latency at fixed rates.
    pub(crate) async fn open_loop(&mut self, instances: &[Instance]) -> Result<()> {
        for round in 0..self.extent.rounds {
            for rate in RATES {
                self.progress(&format!("round {}: latency at {rate}/s", round + 1));
                self.noise.observe();
                for index in order(instances.len(), round) {
                    let instance = &instances[index];
                    let latencies =
                        open_loop::run(instance.plain, rate, self.extent.open_loop).await?;
                    self.noise.observe_lateness(latencies.late_p99);
                    for (name, value) in [("p50", latencies.p50), ("p99", latencies.p99)] {
                        let title = format!("HTTP/1.1 128 B at {rate}/s, {name}");
                        self.results
                            .add(Metric::LatencyMicroseconds, &title, index, value);
                    }
                }
            }
        }
        Ok(())
    }

    /// System calls of the cases, apart from every measurement of time.
    pub(crate) async fn system_calls(
        &mut self,
        instances: &[Instance],
        is_chosen: &dyn Fn(&str) -> bool,
    ) -> Result<()> {
        let cases = CASES.iter().filter(|case| is_chosen(case.key));
        for case in cases.filter(|case| self.extent.is_thorough || case.logged == Logged::Always) {
            self.progress(&format!("system calls: {}", case.title));
            for (index, instance) in instances.iter().enumerate() {
                let handle = tokio::runtime::Handle::current();
                let work = || {
                    let duration = TRACED;
                    let work = self.loads.run(case.work, case.is_tls, instance, duration);
                    tokio::task::block_in_place(|| handle.block_on(work))
                };
                let directory = &self.setting.directory;
                let counted = system_calls(&instance.process_ids(), directory, work)?;
                let Some((calls, done)) = counted else {
                    self.progress("system calls: not available, strace may not trace here");
                    return Ok(());
                };
                let per_request = calls as f64 / done.count as f64;
                self.results
                    .add(Metric::SystemCalls, case.title, index, per_request);
            }
        }
        Ok(())
    }

    /// Memory of fresh instances before, with and after a first use of idle connections.
    pub(crate) async fn memory(&mut self) -> Result<()> {
        let contenders = self.results.contenders.clone();
        let counts = if self.extent.is_thorough {
            &IDLE[..]
        } else {
            &IDLE[..1]
        };
        for (&count, is_tls) in counts
            .iter()
            .flat_map(|count| [(count, false), (count, true)])
        {
            let kind = if is_tls { "TLS" } else { "plain" };
            self.progress(&format!("memory: {count} idle connections, {kind}"));
            for (index, &contender) in contenders.iter().enumerate() {
                let instance = Instance::start(contender, self.setting, false).await?;
                let processes = instance.process_ids();
                wait_until_idle(&processes).await?;
                let at_rest = memory_kilobytes(&processes)?;
                let address = instance.address(is_tls);
                let idle = Idle::open(&self.loads.client, address, is_tls, count)
                    .await
                    .with_context(|| format!("{count} connections to {}", contender.name))?;
                wait_until_idle(&processes).await?;
                let silent = memory_kilobytes(&processes)?;
                let idle = idle
                    .use_each_once()
                    .await
                    .with_context(|| format!("a use of each at {}", contender.name))?;
                wait_until_idle(&processes).await?;
                let used = memory_kilobytes(&processes)?;
                drop(idle);
                if count == IDLE[0] && !is_tls {
                    self.add_memory("at rest", index, at_rest);
                }
                for (state, memory) in [("never used", silent), ("used once", used)] {
                    let title = format!("{count} {kind} connections, {state}");
                    self.add_memory(&title, index, memory);
                    let grown = memory.saturating_sub(at_rest) as f64 / count as f64;
                    let metric = Metric::MemoryKilobytesPerConnection;
                    self.results.add(metric, &title, index, grown);
                }
            }
        }
        Ok(())
    }

    fn add_memory(&mut self, title: &str, index: usize, kilobytes: u64) {
        let megabytes = kilobytes as f64 / 1024.0;
        self.results
            .add(Metric::MemoryMegabytes, title, index, megabytes);
    }

    pub(crate) fn progress(&self, text: &str) {
        eprintln!("{:>4} s  {text}", self.started.elapsed().as_secs());
    }
}

/// Tracing makes a contender many times slower; it still has to answer some.
const TRACED: Duration = Duration::from_secs(1);

fn title(case: &Case, is_logging: bool) -> String {
    let log = if is_logging { ", JSON log" } else { "" };
    format!("{}{log}", case.title)
}

/// Processor time that an instance takes for some work, from idle to idle, and what the work gives.
pub(crate) async fn microseconds_of<T>(
    instance: &Instance,
    work: impl Future<Output = Result<T>>,
) -> Result<(f64, T)> {
    let processes = instance.process_ids();
    wait_until_idle(&processes).await?;
    let before = cpu_nanoseconds(&processes)?;
    let done = work.await?;
    wait_until_idle(&processes).await?;
    let used = cpu_nanoseconds(&processes)?.saturating_sub(before);
    Ok((used as f64 / 1e3, done))
}

/// Everyone once, beginning with another one each round.
pub(crate) fn order(count: usize, round: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |place| (place + round) % count)
}
