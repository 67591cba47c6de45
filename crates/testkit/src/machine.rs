//! Cores, processes and the machine, as the kernel accounts for them. Never measures a program
//! by asking it.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{measure, wait_until};

/// Which core is kept for what is measured, if any.
#[derive(Clone, Debug)]
pub struct Cores {
    measured: Option<usize>,
    others: Vec<usize>,
}

impl Cores {
    /// The last core that this process may use is kept for what is measured; with one core there is
    /// nothing to share out.
    pub fn share_out() -> Result<Cores> {
        let mut cores = Cores::together()?;
        if cores.others.len() > 1 {
            cores.measured = cores.others.pop();
        }
        Ok(cores)
    }

    /// All cores are everybody's.
    pub fn together() -> Result<Cores> {
        let allowed = sched_getaffinity(Pid::from_raw(0)).context("asking for this one's cores")?;
        let others = (0..CpuSet::count())
            .filter(|&core| allowed.is_set(core).unwrap_or(false))
            .collect();
        Ok(Cores {
            measured: None,
            others,
        })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.others.len() + usize::from(self.measured.is_some())
    }

    /// Keeps this process, and every thread and program it starts from now on, off the core that is kept.
    pub fn leave_the_kept_one(&self) -> Result<()> {
        pin(&self.others)
    }

    /// A command line to add a program to, which will run on the core that is kept.
    pub fn command_on_the_kept_one(&self) -> Command {
        match self.measured {
            Some(core) => on_cores(&core.to_string()),
            None => Command::new("env"),
        }
    }

    /// A command line to add a program to, which will run on every core.
    pub fn command_on_all(&self) -> Command {
        let cores = self.others.iter().chain(&self.measured);
        let cores: Vec<String> = cores.map(ToString::to_string).collect();
        on_cores(&cores.join(","))
    }

    /// Who runs where.
    pub fn describe(&self) -> String {
        match self.measured {
            Some(core) => format!(
                "what is measured alone on core {core}, everything else on {:?}",
                self.others
            ),
            None => format!("everything together on {:?}", self.others),
        }
    }

    /// Time a fixed piece of work takes on the core that is kept, which must be idle: longer if somebody
    /// else uses it, or if the machine is not what it was.
    pub fn spin(&self) -> f64 {
        let cores = self
            .measured
            .map_or(self.others.clone(), |measured| vec![measured]);
        let spun = std::thread::spawn(move || {
            // Without the right to choose a core the figure is still one of this machine.
            let _ = pin(&cores);
            let started = Instant::now();
            let mut state = 1_u64;
            for round in 0..SPIN_ROUNDS {
                state = std::hint::black_box(state.rotate_left(5).wrapping_mul(round | 1));
            }
            started.elapsed().as_secs_f64()
        });
        spun.join().expect("arithmetic that wraps cannot panic")
    }
}

/// Some 20 ms.
const SPIN_ROUNDS: u64 = 12_000_000;

fn on_cores(list: &str) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", list]);
    command
}

fn pin(cores: &[usize]) -> Result<()> {
    let mut set = CpuSet::new();
    for &core in cores {
        set.set(core)?;
    }
    sched_setaffinity(Pid::from_raw(0), &set).context("choosing cores")
}

/// Lets this process, and the programs it starts, open as many files as it may.
pub fn raise_file_limit() -> Result<u64> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(hard)
}

/// Processor time of all threads so far, user and system, in nanoseconds.
pub fn cpu_nanoseconds(processes: &[u32]) -> Result<u64> {
    let mut sum = 0;
    for id in processes {
        let tasks = format!("/proc/{id}/task");
        let tasks = fs::read_dir(&tasks).with_context(|| format!("reading {tasks}"))?;
        for task in tasks.flatten() {
            // A thread may end in between; what it used is then lost, in the next reading too.
            let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            sum += measure::schedstat_nanoseconds(&text).unwrap_or_default();
        }
    }
    if sum == 0 {
        bail!("this kernel accounts for no processor time in /proc/PID/task/TID/schedstat");
    }
    Ok(sum)
}

/// Processor time of the calling thread so far, user and system, in nanoseconds.
pub fn this_threads_nanoseconds() -> Result<u64> {
    let path = "/proc/thread-self/schedstat";
    let text = fs::read_to_string(path).with_context(|| format!("reading {path}"))?;
    measure::schedstat_nanoseconds(&text).with_context(|| format!("no time in {path}"))
}

/// Waits until the processes have done what they were given: until they are all but idle.
pub async fn wait_until_idle(processes: &[u32]) -> Result<()> {
    let mut before = 0;
    let outcome = wait_until("what is measured to become idle", async || {
        let now = match cpu_nanoseconds(processes) {
            Ok(now) => now,
            Err(error) => return Some(Err(error)),
        };
        let used = now - before;
        before = now;
        (used < IDLE_NANOSECONDS).then_some(Ok(()))
    });
    outcome.await
}

/// Of the 10 ms between two looks.
const IDLE_NANOSECONDS: u64 = 500_000;

/// Memory of all processes, each shared page divided by its users, in kilobytes.
pub fn memory_kilobytes(processes: &[u32]) -> Result<u64> {
    processes
        .iter()
        .map(|id| {
            let path = format!("/proc/{id}/smaps_rollup");
            let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
            measure::pss_kilobytes(&text).with_context(|| format!("no Pss in {path}"))
        })
        .sum()
}

/// Ticks of all cores so far, and those that another guest of the host had.
pub fn machine_and_stolen_ticks() -> (u64, u64) {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    measure::machine_and_stolen_ticks(&text).unwrap_or_default()
}

/// Runs `work` while `strace` counts the system calls of the processes; the count and what `work`
/// returned. `None` where tracing is not allowed.
pub fn system_calls<T>(
    processes: &[u32],
    directory: &Path,
    work: impl FnOnce() -> Result<T>,
) -> Result<Option<(u64, T)>> {
    let table = directory.join("strace");
    let mut command = Command::new("strace");
    command.args(["-c", "-f", "-o"]).arg(&table);
    for id in processes {
        command.args(["-p", &id.to_string()]);
    }
    let Ok(mut tracer) = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
    else {
        return Ok(None);
    };
    let is_traced = processes.iter().all(|&id| wait_for_tracer(id, &mut tracer));
    let done = if is_traced { Some(work()?) } else { None };
    let tracer_id = Pid::from_raw(tracer.id().cast_signed());
    // Already gone where tracing was refused.
    let _ = kill(tracer_id, Signal::SIGINT);
    tracer.wait().context("waiting for strace")?;
    let text = fs::read_to_string(&table).unwrap_or_default();
    Ok(measure::strace_calls(&text).zip(done))
}

/// Whether every thread of the process got a tracer before `strace` gave up.
fn wait_for_tracer(id: u32, tracer: &mut std::process::Child) -> bool {
    loop {
        let tasks = fs::read_dir(format!("/proc/{id}/task"));
        let is_traced = tasks.is_ok_and(|tasks| {
            tasks.flatten().all(|task| {
                fs::read_to_string(task.path().join("status")).is_ok_and(|text| {
                    text.contains("TracerPid:") && !text.contains("TracerPid:\t0\n")
                })
            })
        });
        if is_traced {
            return true;
        }
        if !matches!(tracer.try_wait(), Ok(None)) {
            return false;
        }
        std::thread::yield_now();
    }
}

/// Model of the processor, number of cores, kernel and distribution.
pub fn describe() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name))
            .map(|value| value.trim_matches([' ', '\t', ':', '=', '"']).to_owned())
            .unwrap_or_default()
    };
    let processors = read("/proc/cpuinfo");
    // Of the machine, not of this process, which keeps off one of them.
    let cores = processors
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    let megahertz = field(&processors, "cpu MHz");
    format!(
        "{model} at {megahertz} MHz, {cores} cores; Linux {kernel}; {distribution}",
        model = field(&processors, "model name"),
        kernel = read("/proc/sys/kernel/osrelease").trim(),
        distribution = field(&read("/etc/os-release"), "PRETTY_NAME"),
    )
}
