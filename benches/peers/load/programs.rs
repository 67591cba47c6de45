//! `wrk` and `h2load`, as Debian packages them. Never parses more than their counts.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use portcullis_testkit::measure::{self, Load};

use super::CONNECTIONS;

/// The programs with the files they are told to read.
pub(crate) struct Programs {
    post_script: PathBuf,
    openssl: PathBuf,
}

/// OpenSSL clients do the same cryptography as ours.
const OPENSSL: &str = "openssl_conf = default
[default]
ssl_conf = ssl
[ssl]
system_default = all
[all]
MinProtocol = TLSv1.3
Ciphersuites = TLS_AES_128_GCM_SHA256
Groups = X25519
";

const POST_SCRIPT: &str = r#"wrk.method = "POST"
wrk.body = string.rep("p", 1024)
wrk.headers["Content-Type"] = "text/plain"
"#;

impl Programs {
    /// Writes the files.
    pub(crate) fn prepare(directory: &Path) -> Result<Programs> {
        let programs = Programs {
            post_script: directory.join("post.lua"),
            openssl: directory.join("openssl.cnf"),
        };
        std::fs::write(&programs.post_script, POST_SCRIPT)?;
        std::fs::write(&programs.openssl, OPENSSL)?;
        Ok(programs)
    }

    /// HTTP/1.1 on kept connections.
    pub(crate) fn wrk(
        &self,
        address: SocketAddr,
        is_tls: bool,
        path: &str,
        has_body: bool,
        duration: Duration,
    ) -> Result<Load> {
        let scheme = if is_tls { "https" } else { "http" };
        // It knows whole seconds only.
        let seconds = duration.as_secs().max(1);
        let mut arguments = vec![
            OsString::from("-t1"),
            format!("-c{CONNECTIONS}").into(),
            format!("-d{seconds}s").into(),
        ];
        if has_body {
            arguments.extend(["-s".into(), self.post_script.clone().into_os_string()]);
        }
        arguments.push(format!("{scheme}://{address}{path}").into());
        let text = self.output("wrk", &arguments)?;
        measure::wrk_load(&text).with_context(|| format!("wrk said\n{text}"))
    }

    /// HTTP/2 over TLS.
    pub(crate) fn h2load(
        &self,
        address: SocketAddr,
        path: &str,
        duration: Duration,
    ) -> Result<Load> {
        let arguments = [
            OsString::from("-c8"),
            "-m10".into(),
            "-t1".into(),
            format!("-D{}ms", duration.as_millis()).into(),
            format!("https://{address}{path}").into(),
        ];
        let text = self.output("h2load", &arguments)?;
        measure::h2load_load(&text).with_context(|| format!("h2load said\n{text}"))
    }

    fn output(&self, program: &str, arguments: &[OsString]) -> Result<String> {
        let output = Command::new(program)
            .args(arguments)
            .env("OPENSSL_CONF", &self.openssl)
            .output()
            .with_context(|| format!("starting {program}"))?;
        let text = [output.stdout, output.stderr].concat();
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}
