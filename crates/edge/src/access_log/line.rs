//! One ended request as one line of JSON. Never holds a query, a cookie or a credential.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use super::Privacy;
use crate::config::PrivateField;
use crate::outcome::Outcome;
use crate::pipeline::hex;
use crate::words;

/// What the access log says of a request. Fields that are not known are `null`, so that every line
/// has the same keys.
#[derive(Debug)]
#[expect(
    missing_docs,
    reason = "fields are the keys of the line; the reference explains them"
)]
pub struct Line<'a> {
    pub time: SystemTime,
    pub listener: &'a str,
    pub privacy: &'a Privacy,
    pub client: IpAddr,
    pub scheme: &'a str,
    pub method: Option<&'a str>,
    pub host: Option<&'a str>,
    pub path: Option<&'a str>,
    pub protocol: Option<&'a str>,
    pub status: Option<u16>,
    pub outcome: Outcome,
    pub route: Option<&'a str>,
    pub cluster: Option<&'a str>,
    pub endpoint: Option<&'a str>,
    pub attempts: u32,
    pub request_id: &'a str,
    pub trace_id: Option<u128>,
    pub duration: Duration,
    pub endpoint_time: Option<Duration>,
    pub request_bytes: u64,
    pub response_bytes: u64,
    pub limited_by: Option<&'a str>,
    pub tls_version: Option<&'a str>,
    pub server_name: Option<&'a str>,
    pub user_agent: Option<&'a [u8]>,
}

/// A key as it stands in the line, behind another one.
macro_rules! key {
    ($name:literal) => {
        concat!(",\"", $name, "\":")
    };
}

impl Line<'_> {
    /// The line with its newline.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Encoder(Vec::with_capacity(LINE_BYTES_USUAL));
        out.raw("{\"time\":\"");
        out.time(self.time);
        out.raw("\"");
        out.text(key!("listener"), Some(self.listener));
        let client = address(self.privacy.address(self.client));
        self.private(
            &mut out,
            key!("client"),
            PrivateField::Client,
            Some(&client),
        );
        out.text(key!("scheme"), Some(self.scheme));
        out.text(key!("method"), self.method);
        self.private(&mut out, key!("host"), PrivateField::Host, self.host);
        self.private(&mut out, key!("path"), PrivateField::Path, self.path);
        out.text(key!("protocol"), self.protocol);
        out.number(key!("status"), self.status.map(u64::from));
        out.text(key!("outcome"), Some(self.outcome.name()));
        out.text(key!("route"), self.route);
        out.text(key!("cluster"), self.cluster);
        out.text(key!("endpoint"), self.endpoint);
        out.number(key!("attempts"), Some(u64::from(self.attempts)));
        out.text(key!("request_id"), Some(self.request_id));
        let trace_id = self.trace_id.map(hex::<32>);
        out.text(
            key!("trace_id"),
            trace_id
                .as_ref()
                .and_then(|id| std::str::from_utf8(id).ok()),
        );
        out.milliseconds(key!("duration_ms"), Some(self.duration));
        out.milliseconds(key!("endpoint_ms"), self.endpoint_time);
        out.number(key!("request_bytes"), Some(self.request_bytes));
        out.number(key!("response_bytes"), Some(self.response_bytes));
        out.text(key!("limited_by"), self.limited_by);
        out.text(key!("tls_version"), self.tls_version);
        let server_name = self.server_name;
        self.private(
            &mut out,
            key!("server_name"),
            PrivateField::ServerName,
            server_name,
        );
        let user_agent = self.user_agent.map(String::from_utf8_lossy);
        let user_agent = user_agent.as_deref();
        self.private(
            &mut out,
            key!("user_agent"),
            PrivateField::UserAgent,
            user_agent,
        );
        out.raw("}\n");
        out.0
    }

    /// A field that tells of a person.
    fn private(&self, out: &mut Encoder, key: &str, field: PrivateField, value: Option<&str>) {
        match value.map(|value| self.privacy.hide(field, value)) {
            Some(Err(instead)) => out.text(key, instead.as_deref()),
            Some(Ok(())) | None => out.text(key, value),
        }
    }
}

/// JSON by hand where that is simple: a line is written for every request.
struct Encoder(Vec<u8>);

impl Encoder {
    fn raw(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }

    fn text(&mut self, key: &str, value: Option<&str>) {
        self.raw(key);
        match value {
            Some(value) if is_written_as_it_is(value) => {
                self.raw("\"");
                self.raw(value);
                self.raw("\"");
            }
            Some(value) => serde_json::to_writer(&mut self.0, value)
                .expect("a string is valid JSON and a vector takes it"),
            None => self.raw("null"),
        }
    }

    fn number(&mut self, key: &str, value: Option<u64>) {
        self.raw(key);
        match value {
            Some(value) => self.digits(value, 1),
            None => self.raw("null"),
        }
    }

    fn milliseconds(&mut self, key: &str, value: Option<Duration>) {
        self.raw(key);
        let Some(value) = value else {
            return self.raw("null");
        };
        self.digits(u64::try_from(value.as_millis()).unwrap_or(u64::MAX), 1);
        self.raw(".");
        self.digits(u64::from(value.subsec_micros() % 1_000), 3);
    }

    /// Decimal, with zeros in front up to the width.
    fn digits(&mut self, mut value: u64, width: usize) {
        let mut text = [b'0'; u64::MAX.ilog10() as usize + 1];
        let mut start = text.len();
        while value > 0 {
            start -= 1;
            text[start] = b'0' + (value % 10) as u8;
            value /= 10;
        }
        self.0
            .extend_from_slice(&text[start.min(text.len() - width)..]);
    }

    /// RFC 3339 in UTC with milliseconds.
    fn time(&mut self, time: SystemTime) {
        let at = time::OffsetDateTime::from(time);
        let year = u64::try_from(at.year()).unwrap_or_default();
        self.digits(year, 4);
        for (before, value) in [
            (b'-', u8::from(at.month())),
            (b'-', at.day()),
            (b'T', at.hour()),
            (b':', at.minute()),
            (b':', at.second()),
        ] {
            let digits = [before, b'0' + value / 10, b'0' + value % 10];
            self.0.extend_from_slice(&digits);
        }
        self.raw(".");
        self.digits(at.millisecond().into(), 3);
        self.raw("Z");
    }
}

/// Whether JSON has this text in a string as it is.
fn is_written_as_it_is(text: &str) -> bool {
    let is_suspect = |word| {
        words::has_high(word)
            || words::has_below(word, b' ')
            || [b'"', b'\\', 0x7f]
                .iter()
                .any(|byte| words::has(word, *byte))
    };
    let stands_for_itself = |byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
    words::all(text.as_bytes(), is_suspect, stands_for_itself)
}

/// As `Display` writes it, without the machinery of formatting for most.
fn address(address: IpAddr) -> String {
    let IpAddr::V4(address) = address else {
        return address.to_string();
    };
    let mut out = Encoder(Vec::with_capacity("255.255.255.255".len()));
    for (at, part) in address.octets().into_iter().enumerate() {
        if at > 0 {
            out.raw(".");
        }
        out.digits(part.into(), 1);
    }
    String::from_utf8(out.0).unwrap_or_default()
}

const LINE_BYTES_USUAL: usize = 640;

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::LogPrivacy;

    fn line() -> Line<'static> {
        Line {
            time: SystemTime::UNIX_EPOCH + Duration::from_millis(1_767_225_600_042),
            listener: "web",
            privacy: Box::leak(Box::new(Privacy::new(&LogPrivacy::default()))),
            client: "2001:db8::1".parse().unwrap(),
            scheme: "https",
            method: Some("GET"),
            host: Some("example.com"),
            path: Some("/a"),
            protocol: Some("HTTP/1.1"),
            status: Some(200),
            outcome: Outcome::Served,
            route: Some("r"),
            cluster: Some("c"),
            endpoint: Some("10.0.0.1:80"),
            attempts: 1,
            request_id: "id",
            trace_id: Some(0xabc),
            duration: Duration::from_micros(12_034),
            endpoint_time: None,
            request_bytes: 1,
            response_bytes: 2,
            limited_by: None,
            tls_version: Some("TLSv1.3"),
            server_name: None,
            user_agent: Some(b"curl/8"),
        }
    }

    #[test]
    fn line_is_one_json_object_with_every_key() {
        let bytes = line().encode();
        assert_eq!(bytes.iter().filter(|byte| **byte == b'\n').count(), 1);
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(value["time"], json!("2026-01-01T00:00:00.042Z"));
        assert_eq!(value["client"], json!("2001:db8::1"));
        assert_eq!(value["duration_ms"], json!(12.034));
        assert_eq!(value["endpoint_ms"], Value::Null);
        assert_eq!(value["trace_id"], json!("00000000000000000000000000000abc"));
        assert_eq!(value.as_object().unwrap().len(), 24);
    }

    #[test]
    fn numbers_have_all_their_digits() {
        let extreme = Line {
            status: None,
            attempts: 0,
            duration: Duration::MAX,
            endpoint_time: Some(Duration::from_micros(5)),
            request_bytes: u64::MAX,
            response_bytes: 10,
            ..line()
        };
        let value: Value = serde_json::from_slice(&extreme.encode()).unwrap();
        assert_eq!(value["status"], Value::Null);
        assert_eq!(value["attempts"], json!(0));
        assert_eq!(value["endpoint_ms"], json!(0.005));
        assert_eq!(value["request_bytes"], json!(u64::MAX));
        assert_eq!(value["response_bytes"], json!(10));
        assert!(value["duration_ms"].as_f64().unwrap() > 1e18);
    }

    #[test]
    fn addresses_are_written_as_everybody_writes_them() {
        for text in [
            "0.0.0.0",
            "10.0.200.7",
            "255.255.255.255",
            "2001:db8::1",
            "::",
        ] {
            assert_eq!(address(text.parse().unwrap()), text);
        }
    }

    #[test]
    fn control_characters_and_broken_text_cannot_break_the_line() {
        let hostile = Line {
            path: Some("/\"},{\n\u{1b}[31m"),
            user_agent: Some(b"\xff\r\n\0"),
            ..line()
        };
        let bytes = hostile.encode();
        let (newline, rest) = bytes.split_last().unwrap();
        assert_eq!(*newline, b'\n');
        assert!(
            rest.iter().all(|byte| *byte >= b' '),
            "no control characters inside"
        );
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(value["path"], json!("/\"},{\n\u{1b}[31m"));
        assert_eq!(value["user_agent"], json!("\u{fffd}\r\n\0"));
    }
}
