//! The edge's configuration for `up`, written as a file that people can copy. Never a
//! second way to configure the edge: the edge reads this text like any other.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context;

use super::certificate::Certificate;
use super::guide;
use super::ports::Ports;
use crate::data_dir::text;

/// Files that the edge reads and writes.
pub(super) struct Files<'a> {
    pub(super) certificate: &'a Certificate,
    pub(super) access_log: &'a Path,
    pub(super) internal_token: &'a Path,
}

/// The YAML text. Paths are absolute, so that a copy works anywhere on this machine. Holds no secret:
/// that stays in the file it names.
pub(super) fn write(ports: &Ports, files: &Files<'_>) -> anyhow::Result<String> {
    let mut endpoints = String::new();
    for address in &ports.instances {
        writeln!(endpoints, "      - {address}")?;
    }
    let access = access(ports, files)?;
    let Files { certificate, .. } = files;
    let Ports {
        http, https, admin, ..
    } = ports;
    Ok(format!(
        "\
# Written anew by `portcullis up` at every start. Copy it to begin your own:
#   portcullis check edge.yaml
#   portcullis edge --config edge.yaml
listeners:
  - name: http
    address: {http}
  - name: https
    address: {https}
    tls:
      certificates:
        - cert: {cert}
          key: {key}
clusters:
  auth:
    balance: least_conn
    endpoints:
{endpoints}    health:
      path: /health/ready
      # One machine: a look costs nothing, and a killed instance is out at once.
      interval: 1s
      timeout: 1s
      rise: 1
      fall: 2
{access}admin:
  address: {admin}
access_log: {access_log}
shutdown:
  # Nobody in front of this edge has to notice first that it leaves.
  delay: 0s
  drain: 10s
",
        http = quoted_address(*http),
        https = quoted_address(*https),
        admin = quoted_address(*admin),
        cert = quoted(text(certificate.cert.clone())?),
        key = quoted(text(certificate.key.clone())?),
        access_log = quoted(text(files.access_log.to_owned())?),
    ))
}

/// Whose tokens count, and where they are asked for.
fn access(ports: &Ports, files: &Files<'_>) -> anyhow::Result<String> {
    let mut feeds = String::new();
    for internal in &ports.internal {
        writeln!(feeds, "        - http://{internal}")?;
    }
    let first = ports.instances.first();
    let jwks = first.context("there is no instance to ask for keys")?;
    Ok(format!(
        "\
issuers:
  portcullis:
    issuer: {issuer}
    audience: {issuer}
    jwks: http://{jwks}/.well-known/jwks.json
    # A token that is logged out at any instance is refused here in a moment.
    revocations:
      feeds:
{feeds}      token_file: {internal_token}
routes:
  - name: auth
    path: /
    cluster: auth
  # What only administrators may see is refused here already, unless a good token comes along.
  - name: operators
    path: /api/v1/load-balancer
    cluster: auth
    auth: portcullis
  - name: health
    exact: /api/v1/load-balancer/health
    cluster: auth
  # An application of yours, behind the same tokens; it is told who asks as X-Auth-Subject:
  # - name: app
  #   path: /app
  #   cluster: app              # beside `auth` under `clusters`
  #   auth: {{ issuer: portcullis, roles: [user] }}
",
        issuer = quoted(guide::http_url(ports.http)),
        internal_token = quoted(text(files.internal_token.to_owned())?),
    ))
}

/// JSON strings are YAML strings, whatever characters they hold; a dollar sign would begin
/// a variable.
fn quoted(text: String) -> String {
    serde_json::Value::String(text.replace('$', "$$")).to_string()
}

/// IPv6 addresses begin with a bracket, which YAML takes for a list.
fn quoted_address(address: SocketAddr) -> String {
    if address.is_ipv6() {
        quoted(address.to_string())
    } else {
        address.to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::SystemTime;

    use portcullis_edge::config::{AccessLog, parse};

    use super::*;
    use crate::up::certificate;

    fn ports(http: &str) -> Ports {
        let local = |port| (Ipv4Addr::LOCALHOST, port).into();
        Ports {
            http: http.parse().unwrap(),
            https: local(8443),
            admin: local(2019),
            instances: vec![local(4001), local(4002)],
            internal: vec![local(4101), local(4102)],
        }
    }

    #[test]
    fn edge_reads_what_is_written_whatever_the_paths_hold() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("a \"b\" ${HOME} \\ #c: ä");
        std::fs::create_dir(&directory).unwrap();
        let certificate = certificate::keep(&directory, SystemTime::now()).unwrap();
        let log = directory.join("access.log");
        let token = "0123456789abcdef0123456789abcdef";
        let internal_token = directory.join("internal.token");
        std::fs::write(&internal_token, token).unwrap();
        let files = Files {
            certificate: &certificate,
            access_log: &log,
            internal_token: &internal_token,
        };
        for http in ["127.0.0.1:8080", "[::1]:8080"] {
            let yaml = write(&ports(http), &files).unwrap();
            assert!(!yaml.contains(token), "{yaml}");
            let parsed = parse("edge.yaml", &yaml).unwrap_or_else(|e| panic!("{e}\n{yaml}"));
            assert!(parsed.warnings.is_empty(), "{}", parsed.warnings);
            let config = parsed.config;
            assert_eq!(config.listeners[0].address, http.parse().unwrap());
            assert!(config.listeners[1].tls.is_some());
            assert_eq!(config.clusters[0].endpoints.len(), 2);
            let issuer = &config.issuers[0];
            assert_eq!(issuer.verifier.issuer, format!("http://{http}"));
            let follow = issuer.revocations.as_ref().unwrap();
            assert_eq!(follow.token.as_ref().unwrap().expose(), token);
            let feeds: Vec<u16> = follow.feeds.iter().map(|feed| feed.port).collect();
            assert_eq!(feeds, [4101, 4102]);
            let guarded: Vec<&str> = config
                .routes
                .iter()
                .filter(|route| route.auth.is_some())
                .map(|route| route.name.as_str())
                .collect();
            assert_eq!(guarded, ["operators"]);
            assert_eq!(config.access_log, AccessLog::File(log.clone()));
            assert_eq!(
                config.admin.unwrap().address,
                "127.0.0.1:2019".parse().unwrap()
            );
        }
    }
}
