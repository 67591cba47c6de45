//! The same site behind each program: deadlines of two seconds, one worker on the core that is kept.
//! Never measures.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, anyhow};
use portcullis_testkit::attack::{Calm, Door, Endpoints, LARGE, LIMITED, PATH};
use portcullis_testkit::machine::Cores;
use portcullis_testkit::process::descendants;
use portcullis_testkit::wait_until;
use portcullis_testkit::{Authority, Identity, Process, ReservedPort, free_port};
use tempfile::TempDir;

/// Who is attacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    Portcullis,
    Nginx,
}

impl Program {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Portcullis => "portcullis",
            Self::Nginx => "nginx",
        }
    }
}

/// What every program serves.
pub(crate) struct Site {
    portcullis: PathBuf,
    cores: Cores,
    identity: Identity,
    _authority: Authority,
    endpoints: Endpoints,
}

/// A running program.
pub(crate) struct Target {
    process: Process,
    ports: Vec<ReservedPort>,
    _directory: TempDir,
}

const DOORS: [Door; 5] = [
    Door::Http1,
    Door::Crowded,
    Door::Http2,
    Door::Tls,
    Door::Proxied,
];

impl Target {
    pub(crate) fn address(&self, door: Door) -> SocketAddr {
        let position = DOORS.iter().position(|known| *known == door);
        self.ports[position.unwrap_or_default()].address()
    }

    /// Waits until it answers.
    async fn wait(&mut self) -> Result<()> {
        let address = self.address(Door::Http1);
        let process = &mut self.process;
        wait_until("the program to answer", async || {
            if process.try_status().is_some() {
                return Some(Err(anyhow!("it ended: {}", process.output())));
            }
            let mut client = Calm::new(address, Door::Http1, Duration::from_millis(1));
            client.p99_ms(1).await.ok().map(|_| Ok(()))
        })
        .await
    }

    pub(crate) fn processes(&self) -> Vec<u32> {
        let mut processes = descendants(self.process.id());
        processes.push(self.process.id());
        processes
    }
}

impl Site {
    pub(crate) fn start(portcullis: PathBuf, cores: Cores) -> Site {
        let authority = Authority::new();
        let identity = authority.issue("attacks", &["app.example"]);
        Site {
            portcullis,
            cores,
            identity,
            _authority: authority,
            endpoints: Endpoints::start(),
        }
    }

    /// Starts a program anew.
    pub(crate) async fn target(&self, program: Program) -> Result<Target> {
        let directory = TempDir::new()?;
        let ports: Vec<ReservedPort> = DOORS.iter().map(|_| free_port()).collect();
        let addresses: Vec<SocketAddr> = ports.iter().map(ReservedPort::address).collect();
        let text = match program {
            Program::Portcullis => self.portcullis_config(&addresses),
            Program::Nginx => self.nginx_config(&addresses),
        };
        let file = directory.path().join("config");
        fs::write(&file, text)?;
        let process = Process::spawn(self.command(program, directory.path(), &file));
        let mut target = Target {
            process,
            ports,
            _directory: directory,
        };
        target.wait().await?;
        Ok(target)
    }

    fn command(&self, program: Program, directory: &Path, file: &Path) -> std::process::Command {
        let mut command = self.cores.command_on_the_kept_one();
        match program {
            Program::Portcullis => command.arg(&self.portcullis).args(["edge", "--config"]),
            Program::Nginx => {
                command.args(["/usr/sbin/nginx", "-e", "stderr", "-p"]);
                command.arg(directory).arg("-c")
            }
        };
        command.arg(file).current_dir(directory);
        command
    }

    fn portcullis_config(&self, addresses: &[SocketAddr]) -> String {
        let [http, crowded, http2, tls, proxied] = addresses else {
            unreachable!("one for each door")
        };
        let Endpoints {
            calm,
            attacked,
            large,
        } = self.endpoints;
        let (cert, key) = (self.identity.cert.display(), self.identity.key.display());
        let timeouts = "timeouts: { handshake: 2s, header: 2s, body: 2s, write: 2s }";
        format!(
            "workers: 1
listeners:
  - {{ address: \"{http}\", {timeouts} }}
  - {{ address: \"{crowded}\", {timeouts}, connections_per_address: {{ most: 100 }} }}
  - {{ address: \"{http2}\", {timeouts}, http2: {{ cleartext: true }} }}
  - {{ address: \"{tls}\", {timeouts}, tls: {{ certificates: [{{ cert: {cert}, key: {key} }}] }} }}
  - {{ address: \"{proxied}\", {timeouts}, proxy_protocol: {{ from: [127.0.0.0/8], timeout: 2s }} }}
clusters:
  calm: {{ endpoints: [\"{calm}\"] }}
  attacked: {{ endpoints: [\"{attacked}\"] }}
  large: {{ endpoints: [\"{large}\"] }}
rate_limits:
  often: {{ rate: 100/s }}
routes:
  - {{ path: {PATH}, cluster: attacked }}
  - {{ path: {LIMITED}, cluster: attacked, rate_limits: [often] }}
  - {{ path: {LARGE}, cluster: large }}
  - {{ cluster: calm }}
admin: off
access_log: ./access.log
"
        )
    }

    fn nginx_config(&self, addresses: &[SocketAddr]) -> String {
        let [http, crowded, http2, tls, proxied] = addresses else {
            unreachable!("one for each door")
        };
        let Endpoints {
            calm,
            attacked,
            large,
        } = self.endpoints;
        let (cert, key) = (self.identity.cert.display(), self.identity.key.display());
        let locations = format!(
            "location {PATH} {{ proxy_pass http://attacked; }}
    location {LARGE} {{ proxy_pass http://large; }}
    location {LIMITED} {{ limit_req zone=often burst=100 nodelay; proxy_pass http://attacked; }}
    location / {{ proxy_pass http://calm; }}"
        );
        let upstream = |name: &str, address: SocketAddr| {
            format!("  upstream {name} {{ server {address}; keepalive 256; }}\n")
        };
        let upstreams = [("calm", calm), ("attacked", attacked), ("large", large)];
        let upstreams: String = upstreams.map(|(name, at)| upstream(name, at)).concat();
        format!(
            "daemon off;
user root;
worker_processes 1;
worker_rlimit_nofile 8000;
error_log stderr crit;
pid nginx.pid;
events {{ worker_connections 4000; }}
http {{
  access_log access.log;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  client_header_timeout 2s;
  client_body_timeout 2s;
  send_timeout 2s;
  proxy_http_version 1.1;
  proxy_set_header Connection '';
  limit_req_status 429;
  limit_conn_status 429;
  limit_req_zone $binary_remote_addr zone=often:1m rate=100r/s;
  limit_conn_zone $binary_remote_addr zone=crowd:1m;
{upstreams}
  server {{
    listen {http};
    listen {http2} http2;
    listen {tls} ssl http2;
    listen {proxied} proxy_protocol;
    ssl_certificate {cert};
    ssl_certificate_key {key};
    {locations}
  }}
  server {{
    listen {crowded};
    limit_conn crowd 100;
    {locations}
  }}
}}
"
        )
    }
}
