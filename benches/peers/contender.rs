//! Who is measured, and one running instance of each. Never knows how anything is measured.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use portcullis_testkit::{Process, ReservedPort, free_port, wait_until};

use crate::configs::{self, Plan, Site};
use portcullis_testkit::machine::Cores;

/// One program with one way to configure it: a row of the results.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Contender {
    /// How results call it.
    pub(crate) name: &'static str,
    /// How `--contenders` calls it.
    pub(crate) key: &'static str,
    /// Its bars in the plot.
    pub(crate) color: &'static str,
    pub(crate) program: Program,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Program {
    /// With this value of `listeners[].engine`.
    Portcullis(&'static str),
    Nginx,
    Haproxy,
    Caddy,
    /// See [`crate::floor`].
    Bare,
}

/// Everyone, in the order of the tables.
pub(crate) const CONTENDERS: &[Contender] = &[
    Contender {
        name: "portcullis (engine: pingora)",
        key: "pingora",
        color: "#b5651d",
        program: Program::Portcullis("pingora"),
    },
    Contender {
        name: "portcullis",
        key: "portcullis",
        color: "#1f5fa8",
        program: Program::Portcullis("native"),
    },
    Contender {
        name: "nginx",
        key: "nginx",
        color: "#5a9e4b",
        program: Program::Nginx,
    },
    Contender {
        name: "HAProxy",
        key: "haproxy",
        color: "#7f7f7f",
        program: Program::Haproxy,
    },
    Contender {
        name: "Caddy",
        key: "caddy",
        color: "#8a5fb0",
        program: Program::Caddy,
    },
];

impl Contender {
    pub(crate) fn is_portcullis(&self) -> bool {
        matches!(self.program, Program::Portcullis(_))
    }

    /// The first line of what the program says about its version.
    pub(crate) fn version(&self, portcullis: &Path) -> String {
        let (program, argument) = match self.program {
            Program::Portcullis(_) => (portcullis.to_owned(), "--version"),
            Program::Nginx => (PathBuf::from("nginx"), "-v"),
            Program::Haproxy => (PathBuf::from("haproxy"), "-v"),
            Program::Caddy => (PathBuf::from("caddy"), "version"),
            Program::Bare => return "as this bench".to_owned(),
        };
        let output = Command::new(program)
            .arg(argument)
            .env("PATH", configs::path())
            .output();
        let Ok(output) = output else {
            return "unknown".to_owned();
        };
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        text.lines().next().unwrap_or_default().trim().to_owned()
    }
}

/// What all instances of a run share.
#[derive(Clone)]
pub(crate) struct Setting {
    pub(crate) portcullis: PathBuf,
    pub(crate) site: Site,
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) directory: PathBuf,
    pub(crate) cores: Cores,
}

/// A running contender. Dropping it ends the process.
pub(crate) struct Instance {
    pub(crate) contender: Contender,
    pub(crate) plain: SocketAddr,
    pub(crate) tls: SocketAddr,
    pub(crate) log: Option<PathBuf>,
    process: Process,
    _ports: [ReservedPort; 2],
}

impl Instance {
    /// Starts a contender and waits until both its listeners accept.
    pub(crate) async fn start(
        contender: Contender,
        setting: &Setting,
        is_logging: bool,
    ) -> Result<Instance> {
        let ports = [free_port(), free_port()];
        let [plain, tls] = [ports[0].address(), ports[1].address()];
        let name = format!("{}-{}", contender.key, plain.port());
        let directory = setting.directory.join(name);
        std::fs::create_dir_all(&directory)?;
        let log = is_logging.then(|| directory.join("access.log"));
        let command = configs::command(
            contender.program,
            setting,
            &Plan {
                directory: &directory,
                plain,
                tls,
                log: log.as_deref(),
            },
        )?;
        let process = Process::spawn(command);
        let mut instance = Instance {
            contender,
            plain,
            tls,
            log,
            process,
            _ports: ports,
        };
        instance.wait_until_it_accepts().await?;
        Ok(instance)
    }

    /// Ends in peace.
    pub(crate) async fn leave(mut self) {
        self.process.leave().await;
    }

    /// The process and everything below it.
    pub(crate) fn process_ids(&self) -> Vec<u32> {
        let root = self.process.id();
        let mut ids = portcullis_testkit::process::descendants(root);
        ids.insert(0, root);
        ids
    }

    /// Where a case goes.
    pub(crate) fn address(&self, is_tls: bool) -> SocketAddr {
        if is_tls { self.tls } else { self.plain }
    }

    async fn wait_until_it_accepts(&mut self) -> Result<()> {
        let addresses = [self.plain, self.tls];
        let process = &mut self.process;
        let accepted = wait_until("a contender to accept", async || {
            if process.try_status().is_some() {
                return Some(false);
            }
            for address in addresses {
                tokio::net::TcpStream::connect(address).await.ok()?;
            }
            Some(true)
        })
        .await;
        if accepted {
            return Ok(());
        }
        let name = self.contender.name;
        bail!("{name} ended at its start\n{}", self.process.output())
    }
}

/// The contenders that `--contenders` names, in the order of the tables.
pub(crate) fn chosen(keys: &[String]) -> Result<Vec<Contender>> {
    for key in keys {
        let known = || CONTENDERS.iter().map(|contender| contender.key);
        if !known().any(|known| known == key) {
            let known: Vec<_> = known().collect();
            return Err(anyhow::anyhow!("known are {}", known.join(", ")))
                .with_context(|| format!("no contender is called {key:?}"));
        }
    }
    let is_chosen =
        |contender: &&Contender| keys.is_empty() || keys.iter().any(|key| key == contender.key);
    Ok(CONTENDERS.iter().filter(is_chosen).copied().collect())
}
