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

/// What a proxy stands in front of, and what it has to do besides.
#[derive(Clone)]
pub(crate) struct Site {
    pub(crate) origins: Vec<SocketAddr>,
    /// The one that is used, and others for paths beside it.
    pub(crate) routes: usize,
    pub(crate) workers: usize,
    /// Affinity by cookie, access tokens that the first origin has the keys of, changes of header fields and
    /// a rate limit by address. Portcullis alone.
    pub(crate) policies: bool,
}

impl Site {
    /// One route, one worker, no policies.
    pub(crate) fn in_front_of(origins: Vec<SocketAddr>) -> Site {
        Site {
            origins,
            routes: 1,
            workers: 1,
            policies: false,
        }
    }

    /// Paths of the routes that nobody asks for.
    fn other_paths(&self) -> impl Iterator<Item = String> {
        (1..self.routes).map(|number| format!("/small-{number}"))
    }

    /// Idle connections to all origins that are kept; above every concurrency measured.
    fn pool(&self) -> usize {
        POOL.max(2 * self.origins.len())
    }
}

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
        Program::Bare => String::new(),
    };
    fs::write(&file, text)?;
    let mut command = if setting.site.workers > 1 {
        setting.cores.command_on_all()
    } else {
        setting.cores.command_on_the_kept_one()
    };
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
            .env("GOMAXPROCS", setting.site.workers.to_string())
            .env("HOME", plan.directory)
            .env("XDG_DATA_HOME", plan.directory)
            .env("XDG_CONFIG_HOME", plan.directory),
        Program::Bare => command
            .arg(std::env::current_exe()?)
            .arg("--forward")
            .arg(plan.plain.to_string())
            .arg(plan.tls.to_string())
            .arg(setting.site.origins[0].to_string()),
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
    let site = &setting.site;
    let endpoints: Vec<String> = site.origins.iter().map(ToString::to_string).collect();
    let mut routes = String::new();
    for path in site.other_paths() {
        let _ = write!(routes, ", {{ path: {path}, cluster: origins }}");
    }
    let (affinity, policies, tables) = if site.policies {
        (", affinity: { by: cookie }", POLICIES, tables(site))
    } else {
        ("", "", String::new())
    };
    format!(
        "workers: {workers}
listeners:
  - address: {plain}
    {limits}
  - address: {tls}
    {limits}
    tls:
      min_version: 1.3
      certificates: [{{ cert: {cert}, key: {key} }}]
clusters:
  origins: {{ balance: round_robin, endpoints: [\"{endpoints}\"]{affinity} }}
routes: [{{ cluster: origins{policies} }}{routes}]
{tables}admin: off
shutdown: {{ delay: 0s }}
access_log: {log}
",
        plain = plan.plain,
        tls = plan.tls,
        cert = setting.cert.display(),
        key = setting.key.display(),
        workers = site.workers,
        endpoints = endpoints.join("\", \""),
        log = plan
            .log
            .map_or("off".to_owned(), |log| log.display().to_string()),
    )
}

/// Of the one route.
const POLICIES: &str = ", auth: { issuer: main }, rate_limits: [per_client], \
    request_headers: { set: { X-Tenant: blue }, remove: [X-Debug] }, \
    response_headers: { set: { X-Via: '{route}' }, remove: [X-Powered-By] }";

fn tables(site: &Site) -> String {
    let first = site.origins[0];
    format!(
        "issuers:
  main: {{ issuer: 'http://{first}', jwks: 'http://{first}/keys', audience: portcullis }}
rate_limits:
  per_client: {{ rate: 1000000/s, burst: 1000000 }}
"
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
    let site = &setting.site;
    let servers = origins(setting, |_, origin| format!("    server {origin};\n"));
    format!(
        "daemon off;
{user}
worker_processes {workers};
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
{servers}    keepalive {pool};
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
    proxy_http_version 1.1;
    proxy_set_header Host $host;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $connection_upgrade;
    location / {{ proxy_pass http://origins; }}
{locations}  }}
}}
",
        locations = nginx_locations(site),
        workers = site.workers,
        pool = site.pool(),
        files = 2 * CONNECTIONS,
        plain = plan.plain,
        tls = plan.tls,
        cert = setting.cert.display(),
        key = setting.key.display(),
    )
}

/// Where nobody goes.
fn nginx_locations(site: &Site) -> String {
    let mut text = String::new();
    for path in site.other_paths() {
        let _ = writeln!(text, "    location {path} {{ proxy_pass http://origins; }}");
    }
    text
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
    let site = &setting.site;
    let mut routes = String::new();
    if site.routes > 1 {
        let map = plan.directory.join("routes");
        let lines = site.other_paths().map(|path| format!("{path} origins\n"));
        fs::write(&map, lines.collect::<String>())?;
        let _ = writeln!(
            routes,
            "  use_backend %[path,map_beg({})] if {{ path,map_beg({}) -m found }}",
            map.display(),
            map.display()
        );
    }
    let servers = origins(setting, |index, origin| {
        format!("  server origin{index} {origin}\n")
    });
    Ok(format!(
        "global
  nbthread {workers}
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
{routes}  default_backend origins
backend origins
  balance roundrobin
{servers}",
        workers = site.workers,
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
    for (index, &origin) in setting.site.origins.iter().enumerate() {
        let _ = write!(text, "{}", line(index, origin));
    }
    text
}
