//! The request that somebody asks about, as they write it. Never judges it: what is malformed is explained
//! as such.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde_json::{Map, Value};

/// Every member that a question may have.
pub(crate) const MEMBERS: [&str; 9] = [
    "method",
    "target",
    "host",
    "headers",
    "client",
    "listener",
    "server_name",
    "tried",
    "seed",
];

/// A request that nobody has sent.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(super) method: String,
    pub(super) target: String,
    /// In order, `Host` among them.
    pub(super) headers: Vec<(String, String)>,
    /// Whose connection it is.
    pub(super) client: SocketAddr,
    pub(super) listener: Option<String>,
    /// What TLS is asked for; the host of the request by default.
    pub(super) server_name: Option<String>,
    /// Endpoints that attempts have failed at.
    pub(super) tried: Vec<SocketAddr>,
    /// What chance is drawn from.
    pub(super) seed: Option<u64>,
}

impl Asked {
    /// From the members of a JSON object. `Err` says which is wrong and what it should be.
    pub(crate) fn read(members: &Map<String, Value>) -> Result<Self, String> {
        if let Some(unknown) = members
            .keys()
            .find(|name| !MEMBERS.contains(&name.as_str()))
        {
            let unknown = unknown.chars().take(TOLD_CHARS_MAX).collect::<String>();
            let known = MEMBERS.join("`, `");
            return Err(format!("there is no `{unknown}`; there are `{known}`"));
        }
        let mut headers = headers(members)?;
        let names_host = |(name, _): &(String, String)| name.eq_ignore_ascii_case("host");
        match text(members, "host")? {
            Some(host) => headers.insert(0, ("Host".to_owned(), host)),
            None if headers.iter().any(names_host) => {}
            None => headers.insert(0, ("Host".to_owned(), DEFAULT_HOST.to_owned())),
        }
        let needed = |name: &str| {
            let given = text(members, name)?.filter(|given| !given.is_empty());
            given.ok_or_else(|| format!("`{name}` is missing"))
        };
        Ok(Self {
            method: needed("method")?,
            target: needed("target")?,
            headers,
            client: match text(members, "client")? {
                Some(client) => address(&client)?,
                None => SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), ANY_PORT),
            },
            listener: text(members, "listener")?,
            server_name: text(members, "server_name")?,
            tried: tried(members)?,
            seed: match text(members, "seed")? {
                Some(seed) => Some(number(&seed)?),
                None => None,
            },
        })
    }

    /// As it would arrive.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            head.push_str(name);
            head.push_str(": ");
            head.push_str(value);
            head.push_str("\r\n");
        }
        head.push_str("\r\n");
        head.into_bytes()
    }

    /// The host that the request names first.
    pub(super) fn host(&self) -> Option<&str> {
        let mut headers = self.headers.iter();
        let host = headers.find(|(name, _)| name.eq_ignore_ascii_case("host"));
        host.map(|(_, host)| host.as_str())
    }
}

fn text(members: &Map<String, Value>, name: &str) -> Result<Option<String>, String> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => on_one_line(name, text).map(Some),
        Some(_) => Err(format!("`{name}` must be a text")),
    }
}

/// Whatever else is in it is for the parser of requests to judge.
fn on_one_line(name: &str, text: &str) -> Result<String, String> {
    match text.contains(['\r', '\n', '\0']) {
        true => Err(format!("`{name}` holds the end of a line: it would be two")),
        false => Ok(text.to_owned()),
    }
}

fn headers(members: &Map<String, Value>) -> Result<Vec<(String, String)>, String> {
    let list = match members.get("headers") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(list)) => list,
        Some(_) => return Err(HEADERS.to_owned()),
    };
    let pair = |(position, pair): (usize, &Value)| match pair.as_array().map(Vec::as_slice) {
        Some([Value::String(name), Value::String(value)]) => {
            let told = format!("headers[{position}]");
            if name.is_empty() {
                return Err(format!("`{told}` has no name"));
            }
            Ok((on_one_line(&told, name)?, on_one_line(&told, value)?))
        }
        _ => Err(format!("`headers[{position}]` is wrong: {HEADERS}")),
    };
    list.iter().enumerate().map(pair).collect()
}

fn tried(members: &Map<String, Value>) -> Result<Vec<SocketAddr>, String> {
    let mistake = || "`tried` must be a list of endpoints such as 10.0.0.1:80".to_owned();
    let list = match members.get("tried") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(list)) => list.iter(),
        Some(_) => return Err(mistake()),
    };
    let endpoint = |one: &Value| one.as_str().and_then(|one| one.parse().ok());
    list.map(|one| endpoint(one).ok_or_else(mistake)).collect()
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let with_port = text.parse::<SocketAddr>().ok();
    let alone = || Some(SocketAddr::new(text.parse::<IpAddr>().ok()?, ANY_PORT));
    let mistake = || "`client` must be an address such as 203.0.113.9".to_owned();
    with_port.or_else(alone).ok_or_else(mistake)
}

fn number(text: &str) -> Result<u64, String> {
    let is_digits = (1..=16).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
    let number = u64::from_str_radix(text, 16).ok().filter(|_| is_digits);
    number.ok_or_else(|| "`seed` must be up to 16 hexadecimal digits".to_owned())
}

const HEADERS: &str = "`headers` must be a list of pairs such as [\"Accept\", \"*/*\"]";
/// Clients come from any.
const ANY_PORT: u16 = 49_152;
/// Where nobody says another.
const DEFAULT_HOST: &str = "localhost";
const TOLD_CHARS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(question: &Value) -> Result<Asked, String> {
        Asked::read(question.as_object().unwrap())
    }

    #[test]
    fn a_question_becomes_the_bytes_of_a_request() {
        let asked = read(&json!({
            "method": "POST",
            "target": "/auth/login?x=%ff",
            "host": "a.example",
            "headers": [["Accept", "*/*"], ["accept", "text/html"]],
            "client": "203.0.113.9",
            "seed": "ff",
        }))
        .unwrap();
        let text = "POST /auth/login?x=%ff HTTP/1.1\r\nHost: a.example\r\nAccept: */*\r\naccept: text/html\r\n\r\n";
        assert_eq!(asked.bytes(), text.as_bytes());
        assert_eq!(asked.client.ip().to_string(), "203.0.113.9");
        assert_eq!(asked.seed, Some(255));
    }

    #[test]
    fn a_host_is_said_once_however_it_is_said() {
        let get = |host: Value, headers: Value| {
            let question =
                json!({ "method": "GET", "target": "/", "host": host, "headers": headers });
            read(&question).unwrap().headers
        };
        let named = |host: &str| vec![("Host".to_owned(), host.to_owned())];
        assert_eq!(get(Value::Null, Value::Null), named("localhost"));
        assert_eq!(get(json!("a"), json!([])), named("a"));
        assert_eq!(get(Value::Null, json!([["Host", "b"]])), named("b"));
    }

    #[test]
    fn every_mistake_names_the_member() {
        let with = |name: &str, value: Value| {
            let mut question = json!({ "method": "GET", "target": "/" });
            question[name] = value;
            read(&question).unwrap_err()
        };
        for (name, value, word) in [
            ("method", Value::Null, "`method` is missing"),
            ("target", json!(""), "`target` is missing"),
            (
                "target",
                json!("/\r\nX: y"),
                "`target` holds the end of a line",
            ),
            ("host", json!(1), "`host` must be a text"),
            ("headers", json!({}), "list of pairs"),
            ("headers", json!([["a", "b"], ["c"]]), "`headers[1]`"),
            ("headers", json!([["a", "b\nc: d"]]), "`headers[0]` holds"),
            ("headers", json!([["", "b"]]), "`headers[0]` has no name"),
            ("client", json!("nobody"), "`client`"),
            ("tried", json!(["a"]), "`tried`"),
            ("tried", json!("a"), "`tried`"),
            ("seed", json!("+1"), "`seed`"),
            ("seed", json!("12345678901234567"), "`seed`"),
            ("path", json!("/"), "there is no `path`"),
        ] {
            let mistake = with(name, value);
            assert!(mistake.contains(word), "{mistake}");
        }
    }
}
