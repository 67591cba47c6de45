//! What `up` prints when everything runs: addresses, the set-up token and lines to copy.
//! Every line works exactly as printed, in any POSIX shell, while `up` runs.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use portcullis_ops::Secret;
use serde_json::{Value, json};

/// An account of the printed examples. Registering it again gives the same answer.
const EXAMPLE_ACCOUNT: &str =
    r#"{"email":"ada@example.com","password":"correct horse battery staple"}"#;
const JSON: &str = "-H 'Content-Type: application/json'";

/// Everything worth telling.
#[derive(Debug)]
pub(super) struct Guide {
    pub(super) http: SocketAddr,
    pub(super) https: SocketAddr,
    pub(super) admin: SocketAddr,
    pub(super) instances: Vec<RunningInstance>,
    pub(super) data_dir: PathBuf,
    pub(super) certificate: PathBuf,
    /// The file with what opens the instances' internal listeners.
    pub(super) internal_token: PathBuf,
    pub(super) setup: Option<SetupToken>,
}

/// One auth process.
#[derive(Debug)]
pub(super) struct RunningInstance {
    pub(super) id: String,
    pub(super) address: SocketAddr,
    /// Where it tells edges what is revoked, and has its metrics.
    pub(super) internal: SocketAddr,
    pub(super) pid: u32,
    pub(super) log: PathBuf,
}

/// Makes the first administrator, once.
#[derive(Debug)]
pub(super) struct SetupToken {
    pub(super) token: Secret<String>,
    pub(super) expires_in: Duration,
}

/// A line to copy, and what it does.
struct Line {
    purpose: &'static str,
    command: String,
}

impl Guide {
    /// For people.
    pub(super) fn text(&self) -> String {
        let mut out = String::from("\nPortcullis is up. Ctrl-C stops it; the data stays.\n\n");
        let ids: Vec<&str> = self
            .instances
            .iter()
            .map(|instance| &*instance.id)
            .collect();
        let rows = [
            ("HTTP", self.http_url()),
            ("HTTPS", self.https_url()),
            (
                "Metrics",
                format!("http://{}/metrics", reachable(self.admin)),
            ),
            ("Instances", ids.join(", ")),
            ("Data, logs", self.data_dir.display().to_string()),
        ];
        for (name, value) in rows {
            // Writing to a string cannot fail.
            let _infallible = writeln!(out, "  {name:<11} {value}");
        }
        if let Some(setup) = &self.setup {
            let minutes = setup.expires_in.as_secs().div_ceil(60);
            let _infallible = write!(
                out,
                "\nSet-up token for the first administrator, good once and for {minutes} minutes:\n  {}\n",
                setup.token.expose()
            );
        }
        out.push_str("\nTry it, line by line:\n");
        for line in self.lines() {
            let _infallible = write!(out, "\n  # {}\n  {}\n", line.purpose, line.command);
        }
        out
    }

    /// For machines; the first line that `up --json` prints.
    pub(super) fn json(&self) -> Value {
        let instances: Vec<Value> = self
            .instances
            .iter()
            .map(|instance| {
                json!({
                    "id": instance.id,
                    "url": format!("http://{}", instance.address),
                    "internal": format!("http://{}", instance.internal),
                    "pid": instance.pid,
                    "log": instance.log,
                })
            })
            .collect();
        let commands: Vec<Value> = self
            .lines()
            .into_iter()
            .map(|line| json!({ "purpose": line.purpose, "command": line.command }))
            .collect();
        json!({
            "event": "ready",
            "http": self.http_url(),
            "https": self.https_url(),
            "admin": format!("http://{}", reachable(self.admin)),
            "instances": instances,
            "data_dir": self.data_dir,
            "certificate": self.certificate,
            "internal_token_file": self.internal_token,
            "setup_token": self.setup.as_ref().map(|setup| setup.token.expose()),
            "setup_token_expires_in_seconds":
                self.setup.as_ref().map(|setup| setup.expires_in.as_secs()),
            "commands": commands,
        })
    }

    fn http_url(&self) -> String {
        http_url(self.http)
    }

    /// By name: that is what the certificate is for.
    fn https_url(&self) -> String {
        format!("https://localhost:{}", self.https.port())
    }

    fn lines(&self) -> Vec<Line> {
        let base = format!("{}/api/v1/auth", self.http_url());
        let line = |purpose, command| Line { purpose, command };
        let post =
            |path: &str, body: &str| format!("curl -sS -w '\\n' {base}/{path} {JSON} -d '{body}'");
        let bearer = r#"-H "Authorization: Bearer $token""#;
        let field = |name: &str| format!(r#"sed -n 's/.*"{name}":"\([^"]*\)".*/\1/p'"#);
        let mut lines = Vec::new();
        if let Some(setup) = &self.setup {
            let body = json!({
                "setup_token": setup.token.expose(),
                "email": "admin@example.com",
                "password": "first of all administrators",
            });
            lines.push(line(
                "make the first administrator",
                post("setup", &body.to_string()),
            ));
        }
        lines.extend([
            line("register", post("register", EXAMPLE_ACCOUNT)),
            line(
                "log in, and keep the answer",
                format!(
                    "login=$({}); echo \"$login\"",
                    post("login", EXAMPLE_ACCOUNT)
                ),
            ),
            line(
                "take the token out",
                format!("token=$(echo \"$login\" | {})", field("access_token")),
            ),
            line(
                "verify",
                format!("curl -sS -w '\\n' {base}/verify {bearer}"),
            ),
            line(
                "refresh",
                format!(
                    "curl -sS -w '\\n' {base}/refresh {JSON} \
                     -d \"{{\\\"refresh_token\\\":\\\"$(echo \"$login\" | {})\\\"}}\"",
                    field("refresh_token")
                ),
            ),
            line(
                "log out: the token ends on every instance",
                format!("curl -sS -w '%{{http_code}}\\n' -X POST {base}/logout {bearer}"),
            ),
            line(
                "verify again: 401",
                format!("curl -sS -w '\\n%{{http_code}}\\n' {base}/verify {bearer}"),
            ),
            line(
                "which instance answered, over HTTPS",
                format!(
                    "curl -sS -i --cacert '{}' {}/health",
                    self.certificate
                        .display()
                        .to_string()
                        .replace('\'', r"'\''"),
                    self.https_url()
                ),
            ),
        ]);
        lines
    }
}

/// The address of a listener as a client on this machine reaches it.
pub(super) fn http_url(address: SocketAddr) -> String {
    format!("http://{}", reachable(address))
}

/// A listener on every interface is reached on loopback.
pub(super) fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guide(setup: Option<SetupToken>) -> Guide {
        Guide {
            http: "0.0.0.0:8080".parse().unwrap(),
            https: "127.0.0.1:8443".parse().unwrap(),
            admin: "127.0.0.1:2019".parse().unwrap(),
            instances: vec![RunningInstance {
                id: "auth-4001".to_owned(),
                address: "127.0.0.1:4001".parse().unwrap(),
                internal: "127.0.0.1:4101".parse().unwrap(),
                pid: 42,
                log: "/data/logs/auth-4001.log".into(),
            }],
            data_dir: "/data".into(),
            certificate: "/it's here/cert.pem".into(),
            internal_token: "/data/internal.token".into(),
            setup,
        }
    }

    fn token() -> SetupToken {
        SetupToken {
            token: Secret::new("secret-token".to_owned()),
            expires_in: Duration::from_secs(600),
        }
    }

    #[test]
    fn token_is_shown_with_its_validity() {
        let text = guide(Some(token())).text();
        assert!(
            text.contains("good once and for 10 minutes:\n  secret-token\n"),
            "{text}"
        );
        assert!(!guide(None).text().contains("et-up token"));
    }

    #[test]
    fn machines_get_one_object_with_addresses_processes_and_token() {
        let json = guide(Some(token())).json();
        assert_eq!(json["event"], "ready");
        assert_eq!(json["http"], "http://127.0.0.1:8080");
        assert_eq!(json["https"], "https://localhost:8443");
        assert_eq!(json["instances"][0]["pid"], 42);
        assert_eq!(json["instances"][0]["internal"], "http://127.0.0.1:4101");
        assert_eq!(json["internal_token_file"], "/data/internal.token");
        assert_eq!(json["setup_token"], "secret-token");
        assert_eq!(json["setup_token_expires_in_seconds"], 600);
        assert_eq!(guide(None).json()["setup_token"], Value::Null);
    }

    #[test]
    fn every_line_is_a_shell_command_without_syntax_errors() {
        for line in guide(Some(token())).lines() {
            let status = std::process::Command::new("sh")
                .args(["-n", "-c", &line.command])
                .status()
                .unwrap();
            assert!(status.success(), "{}", line.command);
        }
    }

    #[test]
    fn tokens_are_cut_out_of_the_answer_by_the_printed_line() {
        let guide = guide(None);
        let take = guide
            .lines()
            .into_iter()
            .find(|line| line.purpose == "take the token out");
        let script = format!(
            "login='{{\"access_token\":\"a.b.c\",\"refresh_token\":\"r\"}}'; {}; echo \"$token\"",
            take.unwrap().command
        );
        let output = std::process::Command::new("sh")
            .args(["-c", &script])
            .output()
            .unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "a.b.c\n");
    }
}
