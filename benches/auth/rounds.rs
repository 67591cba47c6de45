//! The measurements themselves: bare work and all cases in turn, at all sites in turn, again and again. Never decides
//! what is measured.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use portcullis_testkit::machine::{Cores, cpu_nanoseconds, wait_until_idle};
use portcullis_testkit::noise::Noise;

use crate::bare::{self, Sample};
use crate::cases::{CASES, Case, HASH, IDLE, Place, SIGNATURE, VERIFICATION, Work};
use crate::load;
use crate::results::{Measured, Results};
use crate::site::{INSTANCES, Processes, Site};

/// How much of everything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    pub(crate) rounds: usize,
    /// Of a case in a round.
    pub(crate) duration: Duration,
    /// Of one whose requests take milliseconds.
    pub(crate) long: Duration,
    /// Of bare work.
    pub(crate) bare: Duration,
}

/// Where the figures go, and what else every measurement needs.
pub(crate) struct Run<'a> {
    pub(crate) sites: &'a mut [Site],
    pub(crate) sample: Sample,
    pub(crate) cores: &'a Cores,
    pub(crate) extent: Extent,
    pub(crate) results: &'a mut Results,
    pub(crate) noise: &'a mut Noise,
    pub(crate) started: Instant,
}

impl Run<'_> {
    pub(crate) async fn all(&mut self, is_chosen: &dyn Fn(&str) -> bool) -> Result<()> {
        for round in 0..self.extent.rounds {
            for case in CASES.iter().filter(|case| is_chosen(case.key)) {
                self.noise.observe();
                self.progress(&format!("round {}: {}", round + 1, case.title));
                // Beside what it is compared with.
                if case.place == Place::One {
                    self.bare(case.work)?;
                }
                for turn in 0..self.sites.len() {
                    let index = (turn + round) % self.sites.len();
                    self.measure(case, index)
                        .await
                        .with_context(|| case.title.to_owned())?;
                }
            }
        }
        Ok(())
    }

    fn bare(&mut self, work: Work) -> Result<()> {
        let (threads, duration) = (self.cores.count(), self.extent.bare);
        let usages = |sites: &[Site]| -> Vec<Usage> {
            let of = |site: &Site| Usage::of(&site.processes(Place::Three));
            sites.iter().map(of).collect()
        };
        let before = usages(self.sites);
        let (title, done) = match work {
            Work::Login => (HASH, bare::hashes(threads, duration * 2)?),
            Work::Verify => (VERIFICATION, self.sample.verifications(threads, duration)?),
            Work::Refresh => (SIGNATURE, self.sample.signatures(threads, duration)?),
            Work::Keys | Work::Permission | Work::Permissions => return Ok(()),
        };
        let measured = Measured {
            per_second: Some(done.per_second()),
            cpu: done.share_us(done.cpu_nanoseconds),
            postgres: None,
            redis: None,
            load: None,
        };
        self.results.add((title, title), None, measured);
        // Nobody asked the instances anything meanwhile.
        for (site, (now, then)) in usages(self.sites).iter().zip(&before).enumerate() {
            let idle = now.since(then, INSTANCES as f64 * done.seconds);
            self.results.add(IDLE, Some(site), idle);
        }
        Ok(())
    }

    async fn measure(&mut self, case: &Case, index: usize) -> Result<()> {
        let site = &mut self.sites[index];
        let mut clients = site.clients(case.work, case.place);
        let extent = load::Extent {
            threads: (self.cores.count() / 2).max(1),
            duration: match case.work {
                Work::Login => self.extent.long,
                Work::Verify
                | Work::Refresh
                | Work::Keys
                | Work::Permission
                | Work::Permissions => self.extent.duration,
            },
        };
        wait_until_idle(&site.processes(case.place).auth).await?;
        let before = Usage::of(&site.processes(case.place));
        let done = tokio::task::block_in_place(|| load::run(&mut clients, extent))?;
        site.keep(case.place, clients);
        wait_until_idle(&site.processes(case.place).auth).await?;
        let used = Usage::of(&site.processes(case.place));
        let measured = Measured {
            per_second: Some(done.per_second()),
            load: Some(done.share_us(done.cpu_nanoseconds)),
            ..used.since(&before, done.count as f64)
        };
        self.results
            .add((case.key, case.title), Some(index), measured);
        Ok(())
    }

    fn progress(&self, text: &str) {
        eprintln!("{:>4} s  {text}", self.started.elapsed().as_secs());
    }
}

/// Processor time so far of each process; connections of PostgreSQL come and go.
struct Usage {
    auth: HashMap<u32, u64>,
    postgres: HashMap<u32, u64>,
    redis: HashMap<u32, u64>,
}

impl Usage {
    fn of(processes: &Processes) -> Usage {
        // One that has just ended used nothing that is still known.
        let each = |ids: &[u32]| {
            ids.iter()
                .map(|&id| (id, cpu_nanoseconds(&[id]).unwrap_or_default()))
                .collect()
        };
        Usage {
            auth: each(&processes.auth),
            postgres: each(&processes.postgres),
            redis: each(&processes.redis),
        }
    }

    /// Microseconds since then for each of so many requests, or of whatever else.
    fn since(&self, before: &Usage, count: f64) -> Measured {
        let share = |now: &HashMap<u32, u64>, then: &HashMap<u32, u64>| {
            let used = now
                .iter()
                .map(|(id, used)| used.saturating_sub(then.get(id).copied().unwrap_or_default()));
            used.sum::<u64>() as f64 / 1e3 / count
        };
        let beside = |now: &HashMap<u32, u64>, then: &HashMap<u32, u64>| {
            (!now.is_empty()).then(|| share(now, then))
        };
        Measured {
            per_second: None,
            cpu: share(&self.auth, &before.auth),
            postgres: beside(&self.postgres, &before.postgres),
            redis: beside(&self.redis, &before.redis),
            load: None,
        }
    }
}
