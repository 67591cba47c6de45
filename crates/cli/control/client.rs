//! One question to the operator's listener, one answer. Never follows anybody elsewhere, and never
//! shows the token.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, bail};
use portcullis_ops::Secret;
use serde_json::{Value, json};

/// The machine is near: who does not take a connection by then does not run.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Longer than forced health checks may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// The longest `shutdown.upgrade_timeout`, and a little for the answer.
const PATIENT_TIMEOUT: Duration = Duration::from_secs(3600 + 15);
/// The status of thousands of endpoints is some megabytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Asks one edge.
pub(super) struct Client {
    /// As it was given, for messages and `Host`.
    name: String,
    addresses: Vec<SocketAddr>,
    token: Option<Secret<String>>,
    /// The state that changes are for; any by default.
    revision: Option<u64>,
}

/// Why there is no good answer.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Nobody takes connections, or the connection broke.
    Unreachable { address: String, source: io::Error },
    /// What came is no answer of an edge.
    Strange(String),
    /// The edge says no.
    Refused { status: u16, detail: String },
    /// It was waited for something that did not come.
    InVain(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { address, source } => write!(
                f,
                "no edge answers at {address}: {source}\n  hint: start one, or say where it answers with --admin ADDRESS, --config FILE or PORTCULLIS_ADMIN"
            ),
            Self::Strange(address) => {
                write!(f, "who answers at {address} is no edge\n  hint: this must be `admin.address` of its configuration, not a listener")
            }
            Self::Refused { status: 401, .. } => f.write_str(
                "the edge wants a token\n  hint: put it into PORTCULLIS_ADMIN_TOKEN, or into a file and name that with --token-file",
            ),
            Self::Refused { detail, .. } => f.write_str(detail),
            Self::InVain(what) => f.write_str(what),
        }
    }
}

impl Client {
    pub(super) fn new(name: &str, token: Option<String>) -> anyhow::Result<Self> {
        let addresses = name
            .to_socket_addrs()
            .with_context(|| format!("`{name}` is no address such as 127.0.0.1:2019"))?;
        let addresses: Vec<SocketAddr> = addresses.collect();
        if addresses.is_empty() {
            bail!("`{name}` has no address");
        }
        if let Some(token) = &token
            && !token.bytes().all(|byte| byte.is_ascii_graphic())
        {
            bail!("the token holds spaces or other characters that cannot be sent");
        }
        Ok(Self {
            name: name.to_owned(),
            addresses,
            token: token.map(Secret::new),
            revision: None,
        })
    }

    /// The same, for changes of this state only.
    pub(super) fn changing(mut self, revision: Option<u64>) -> Self {
        self.revision = revision;
        self
    }

    /// What the edge shows.
    pub(super) fn get(&self, path: &str) -> Result<Value, Trouble> {
        self.ask("GET", path, "", ANSWER_TIMEOUT)
    }

    /// Has it do something; the members of `body` are for it.
    pub(super) fn post(&self, path: &str, body: &Value) -> Result<Value, Trouble> {
        self.post_within(path, body, ANSWER_TIMEOUT)
    }

    /// The same for what may take as long as the configuration of the edge says.
    pub(super) fn post_patiently(&self, path: &str, body: &Value) -> Result<Value, Trouble> {
        self.post_within(path, body, PATIENT_TIMEOUT)
    }

    fn post_within(&self, path: &str, body: &Value, time: Duration) -> Result<Value, Trouble> {
        let is_empty = body.as_object().is_none_or(serde_json::Map::is_empty);
        let body = if is_empty {
            String::new()
        } else {
            body.to_string()
        };
        self.ask("POST", path, &body, time)
    }

    fn ask(&self, verb: &str, path: &str, body: &str, time: Duration) -> Result<Value, Trouble> {
        let unreachable = |source| Trouble::Unreachable {
            address: self.name.clone(),
            source,
        };
        let mut connection = self.connect(time).map_err(unreachable)?;
        let request = self.request(verb, path, body);
        let sent = connection.write_all(request.expose().as_bytes());
        sent.map_err(unreachable)?;
        let answer = read(&mut connection).map_err(unreachable)?;
        let strange = || Trouble::Strange(self.name.clone());
        let (status, document) = parse(&answer).ok_or_else(strange)?;
        if (200..300).contains(&status) {
            // Who tells no revision is somebody else, however polite.
            return match is_of_edge(&answer) {
                true => Ok(document),
                false => Err(strange()),
            };
        }
        let detail = document["detail"].as_str().ok_or_else(strange)?;
        let mut detail = detail.to_owned();
        for words in super::list(&document, "last_words") {
            detail.push_str("\n  ");
            detail.push_str(words.as_str().unwrap_or_default());
        }
        for mistake in super::list(&document, "errors") {
            detail.push_str(&located(mistake));
        }
        for change in super::list(&document, "changed_since") {
            detail.push_str(&changed(change));
        }
        Err(Trouble::Refused { status, detail })
    }

    fn connect(&self, time: Duration) -> io::Result<TcpStream> {
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in &self.addresses {
            match TcpStream::connect_timeout(address, CONNECT_TIMEOUT) {
                Ok(connection) => {
                    connection.set_read_timeout(Some(time))?;
                    connection.set_write_timeout(Some(ANSWER_TIMEOUT))?;
                    return Ok(connection);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn request(&self, verb: &str, path: &str, body: &str) -> Secret<String> {
        let token = self.token.as_ref().map_or_else(String::new, |token| {
            format!("Authorization: Bearer {}\r\n", token.expose())
        });
        // By its address: a name of this machine need not be among `admin.hosts`.
        let host = self
            .addresses
            .first()
            .map_or_else(String::new, ToString::to_string);
        let length = body.len();
        let precondition = match (verb, self.revision) {
            ("POST", Some(revision)) => format!("If-Match: \"r{revision}\"\r\n"),
            _ => String::new(),
        };
        Secret::new(format!(
            "{verb} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{token}{precondition}Content-Length: {length}\r\n\r\n{body}"
        ))
    }
}

/// One whole answer, or what came of it. Whoever is no edge may keep the connection open.
fn read(connection: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut answer = Vec::new();
    let mut piece = [0; 16 * 1024];
    loop {
        let is_whole = length(&answer)
            .is_some_and(|(begin, length)| answer.len().saturating_sub(begin) >= length);
        if is_whole || answer.len() > ANSWER_BYTES_MAX {
            return Ok(answer);
        }
        match connection.read(&mut piece) {
            Ok(0) => return Ok(answer),
            Ok(count) => answer.extend_from_slice(piece.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time"));
            }
            Err(error) => return Err(error),
        }
    }
}

/// Where the body begins and how long it is. Every answer of an edge says so.
fn length(answer: &[u8]) -> Option<(usize, usize)> {
    let head = head(answer)?;
    let length = head.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse::<usize>().ok())?
    })?;
    Some((head.len() + END.len(), length))
}

/// A mistake of a configuration, below what it was refused with.
fn located(mistake: &Value) -> String {
    let told = |key: &str| mistake[key].as_str().unwrap_or_default();
    let (line, column) = (&mistake["line"], &mistake["column"]);
    let hint = match told("hint") {
        "" => String::new(),
        hint => format!("\n    hint: {hint}"),
    };
    format!(
        "\n  {}:{line}:{column}: {}{hint}",
        told("file"),
        told("message")
    )
}

/// What somebody else changed, below what was refused for it.
fn changed(change: &Value) -> String {
    let told = |key: &str| change[key].as_str().unwrap_or_default();
    let (revision, before, after) = (&change["revision"], &change["before"], &change["after"]);
    let (who, what) = (told("who"), told("what"));
    format!("\n  revision {revision} by {who}: {what} {before} -> {after}")
}

/// Whether a good answer tells the state that it is of: `ETag: "r17"`.
fn is_of_edge(answer: &[u8]) -> bool {
    let mut lines = head(answer).unwrap_or_default().split("\r\n");
    lines.any(|line| {
        let (name, value) = line.split_once(':').unwrap_or_default();
        name.eq_ignore_ascii_case("etag") && value.trim().starts_with("\"r")
    })
}

fn head(answer: &[u8]) -> Option<&str> {
    let end = answer.windows(END.len()).position(|window| window == END)?;
    std::str::from_utf8(answer.get(..end)?).ok()
}

const END: &[u8] = b"\r\n\r\n";

/// Status and document.
fn parse(answer: &[u8]) -> Option<(u16, Value)> {
    let status = head(answer)?.strip_prefix("HTTP/1.1 ")?.get(..3)?;
    let (begin, length) = length(answer)?;
    let body = answer.get(begin..)?.get(..length)?;
    let document = serde_json::from_slice(body).ok()?;
    Some((status.parse().ok()?, document))
}

/// No members.
pub(super) fn nothing() -> Value {
    json!({})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_answers_with_a_document_count() {
        let good = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}\n";
        assert_eq!(parse(good), Some((200, json!({}))));
        for bad in [
            &b""[..],
            b"HTTP/1.1 200 OK\r\n\r\n{}",
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}",
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n<>",
            b"HTTP/1.1 \r\nContent-Length: 2\r\n\r\n{}",
            b"SSH-2.0-x\r\n\r\n",
        ] {
            assert_eq!(parse(bad), None, "{}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn an_edge_tells_the_state_it_speaks_of() {
        assert!(is_of_edge(b"HTTP/1.1 200 OK\r\netag: \"r17\"\r\n\r\n"));
        for other in [
            &b"HTTP/1.1 200 OK\r\n\r\nETag: \"r1\""[..],
            b"HTTP/1.1 200 OK\r\nETag: \"abc\"\r\n\r\n",
            b"",
        ] {
            assert!(!is_of_edge(other));
        }
    }

    #[test]
    fn what_cannot_be_sent_is_no_token() {
        assert!(Client::new("127.0.0.1:1", Some("a\r\nX: y".to_owned())).is_err());
        assert!(Client::new("127.0.0.1", None).is_err());
    }
}
