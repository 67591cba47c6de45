//! The same proxy in four languages: one worker, three origins, kept connections to them,
//! `X-Forwarded-For`, TLS 1.3 with X25519. Never starts anything.
//!
//! Whatever one program limits by default and another does not (requests of a connection, idle
//! times, idle connections to an origin) is out of reach in all of them.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::contender::{Program, Setting};

/// What one instance has to itself.
pub(crate) struct Plan<'a> {
    pub(crate) directory: &'a Path,
    pub(crate) plain: SocketAddr,
    pub(crate) tls: SocketAddr,
    pub(crate) log: Option<&'a Path>,
}

/// Idle connections to an origin that are kept; above every concurrency measured.
const POOL: usize = 256;
/// Client connections and those to origins; above the idle connections measured.
const CONNECTIONS: usize = 12_000;

/// Writes the configuration and says how to start the program, on the proxy's core.
pub(crate) fn command(program: Program, setting: &Setting, plan: &Plan<'_>) -> Result<Command> {
    let file = plan.directory.join("config");
    let text = match program {
        Program::Portcullis(engine) => portcullis(engine, setting, plan),
        Program::Nginx => nginx(setting, plan),
        Program::Haproxy => haproxy(setting, plan)?,
        Program::Caddy => caddy(setting, plan),
    };
    fs::write(&file, text)?;
    let mut command = setting.cores.command_on_the_kept_one();
    match program {
        Program::Portcullis(_) => command
            .arg(&setting.portcullis)
            .args(["edge", "--config"])
            .arg(&file),
        Program::Nginx => command
            .args(["nginx", "-e", "stderr", "-p"])
            .arg(plan.directory)
            .arg("-c")
            .arg(&file),
        // Its log goes to standard output, which therefore has to be a file.
        Program::Haproxy => command
            .args(["sh", "-c", r#"exec haproxy -db -f "$0" > "$1""#])
            .arg(&file)
            .arg(plan.log.unwrap_or(Path::new("/dev/null"))),
        Program::Caddy => command
            .args(["caddy", "run", "--adapter", "caddyfile", "--config"])
            .arg(&file)
            .env("GOMAXPROCS", "1")
            .env("HOME", plan.directory)
            .env("XDG_DATA_HOME", plan.directory)
            .env("XDG_CONFIG_HOME", plan.directory),
    };
    command.env("PATH", path()).current_dir(plan.directory);
    Ok(command)
}

/// Servers live where a user's `PATH` does not always lead.
pub(crate) fn path() -> OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin:/sbin");
    path
}

fn portcullis(engine: &str, setting: &Setting, plan: &Plan<'_>) -> String {
    let limits = format!(
        "engine: {engine}
    max_connections: {CONNECTIONS}
    limits: {{ requests_per_connection: 1000000000, connection_age: 24h }}
    timeouts: {{ header: 5m, keep_alive: 5m }}"
    );
    let endpoints: Vec<String> = setting.origins.iter().map(ToString::to_string).collect();
    format!(
        "workers: 1
listeners:
  - address: {plain}
    {limits}
  - address: {tls}
    {limits}
    tls:
      min_version: 1.3
      certificates: [{{ cert: {cert}, key: {key} }}]
clusters:
  origins: {{ balance: round_robin, endpoints: [\"{endpoints}\"] }}
routes: [{{ cluster: origins }}]
admin: off
shutdown: {{ delay: 0s }}
access_log: {log}
",
        plain = plan.plain,
        tls = plan.tls,
        cert = setting.cert.display(),
        key = setting.key.display(),
        endpoints = endpoints.join("\", \""),
        log = plan
            .log
            .map_or("off".to_owned(), |log| log.display().to_string()),
    )
}

fn nginx(setting: &Setting, plan: &Plan<'_>) -> String {
    let user = if nix::unistd::geteuid().is_root() {
        "user root;"
    } else {
        ""
    };
    let log = plan.log.map_or("access_log off;".to_owned(), |log| {
        format!(
            r#"log_format json escape=json '{{"time":"$time_iso8601","client":"$remote_addr","method":"$request_method","path":"$request_uri","status":$status,"bytes":$body_bytes_sent,"seconds":$request_time,"endpoint":"$upstream_addr"}}';
  access_log {} json buffer=64k flush=1s;"#,
            log.display()
        )
    });
    let servers = origins(setting, |_, origin| format!("    server {origin};\n"));
    format!(
        "daemon off;
{user}
worker_processes 1;
worker_rlimit_nofile {files};
error_log stderr warn;
pid nginx.pid;
events {{ worker_connections {CONNECTIONS}; }}
http {{
  {log}
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  tcp_nodelay on;
  keepalive_timeout 300s;
  keepalive_requests 1000000000;
  client_header_timeout 300s;
  map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
  upstream origins {{
{servers}    keepalive {POOL};
    keepalive_requests 1000000000;
    keepalive_timeout 300s;
  }}
  server {{
    listen {plain} backlog=4096;
    listen {tls} ssl http2 backlog=4096;
    ssl_certificate {cert};
    ssl_certificate_key {key};
    ssl_protocols TLSv1.3;
    ssl_ecdh_curve X25519;
    ssl_session_cache shared:tls:10m;
    location / {{
      proxy_pass http://origins;
      proxy_http_version 1.1;
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
    }}
  }}
}}
",
        files = 2 * CONNECTIONS,
        plain = plan.plain,
        tls = plan.tls,
        cert = setting.cert.display(),
        key = setting.key.display(),
    )
}

fn haproxy(setting: &Setting, plan: &Plan<'_>) -> Result<String> {
    let identity = plan.directory.join("identity.pem");
    let pem = [fs::read(&setting.cert)?, fs::read(&setting.key)?].concat();
    fs::write(&identity, pem)?;
    let log = plan.log.map_or(String::new(), |_| {
        r#"  log stdout format raw local0
  log-format '{"time":"%tr","client":"%ci","method":"%HM","path":"%HPO","status":%ST,"bytes":%B,"milliseconds":%Ta,"endpoint":"%s"}'
"#
        .to_owned()
    });
    let servers = origins(setting, |index, origin| {
        format!("  server origin{index} {origin}\n")
    });
    Ok(format!(
        "global
  nbthread 1
  maxconn {CONNECTIONS}
  no strict-limits
  ssl-default-bind-options ssl-min-ver TLSv1.3
defaults
  mode http
{log}  option http-keep-alive
  option forwardfor
  http-reuse always
  retries 1
  timeout connect 5s
  timeout client 300s
  timeout server 300s
  timeout tunnel 300s
  timeout http-request 300s
  timeout http-keep-alive 300s
frontend clients
  bind {plain}
  bind {tls} ssl crt {identity} alpn h2,http/1.1 curves X25519
  http-request set-header X-Forwarded-Proto %[ssl_fc,iif(https,http)]
  default_backend origins
backend origins
  balance roundrobin
{servers}",
        plain = plan.plain,
        tls = plan.tls,
        identity = identity.display(),
    ))
}

fn caddy(setting: &Setting, plan: &Plan<'_>) -> String {
    let log = plan.log.map_or(String::new(), |log| {
        format!(
            "  log {{
    output file {} {{
      roll_disabled
    }}
    format json
  }}
",
            log.display()
        )
    });
    let upstreams = origins(setting, |_, origin| format!(" {origin}"));
    format!(
        "{{
  admin off
  auto_https off
  servers {{
    protocols h1 h2
  }}
}}
(proxy) {{
  bind 127.0.0.1
{log}  reverse_proxy{upstreams} {{
    lb_policy round_robin
    transport http {{
      compression off
      keepalive 300s
      keepalive_idle_conns {total}
      keepalive_idle_conns_per_host {POOL}
    }}
  }}
}}
http://:{plain} {{
  import proxy
}}
https://:{tls} {{
  tls {cert} {key} {{
    protocols tls1.3
    curves x25519
  }}
  import proxy
}}
",
        total = 4 * POOL,
        plain = plan.plain.port(),
        tls = plan.tls.port(),
        cert = setting.cert.display(),
        key = setting.key.display(),
    )
}

fn origins(setting: &Setting, line: impl Fn(usize, SocketAddr) -> String) -> String {
    let mut text = String::new();
    for (index, &origin) in setting.origins.iter().enumerate() {
        let _ = write!(text, "{}", line(index, origin));
    }
    text
}
