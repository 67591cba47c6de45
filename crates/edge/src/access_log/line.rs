//! One ended request as one line of JSON. Never holds a query, a cookie or a credential.

use std::io::Write as _;
use std::time::{Duration, SystemTime};

use crate::outcome::Outcome;

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
    pub client: std::net::IpAddr,
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
    pub tls_version: Option<&'a str>,
    pub server_name: Option<&'a str>,
    pub user_agent: Option<&'a [u8]>,
}

impl Line<'_> {
    /// The line with its newline.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Encoder(Vec::with_capacity(LINE_BYTES_USUAL));
        out.raw("{\"time\":\"");
        out.time(self.time);
        out.raw("\"");
        out.text("listener", Some(self.listener));
        out.display("client", Some(format_args!("\"{}\"", self.client)));
        out.text("scheme", Some(self.scheme));
        out.text("method", self.method);
        out.text("host", self.host);
        out.text("path", self.path);
        out.text("protocol", self.protocol);
        out.display("status", self.status);
        out.text("outcome", Some(self.outcome.name()));
        out.text("route", self.route);
        out.text("cluster", self.cluster);
        out.text("endpoint", self.endpoint);
        out.display("attempts", Some(self.attempts));
        out.text("request_id", Some(self.request_id));
        out.display("trace_id", self.trace_id.map(TraceId));
        out.display("duration_ms", Some(Milliseconds(self.duration)));
        out.display("endpoint_ms", self.endpoint_time.map(Milliseconds));
        out.display("request_bytes", Some(self.request_bytes));
        out.display("response_bytes", Some(self.response_bytes));
        out.text("tls_version", self.tls_version);
        out.text("server_name", self.server_name);
        let user_agent = self.user_agent.map(String::from_utf8_lossy);
        out.text("user_agent", user_agent.as_deref());
        out.raw("}\n");
        out.0
    }
}

struct Encoder(Vec<u8>);

impl Encoder {
    fn raw(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }

    fn key(&mut self, key: &str) {
        self.raw(",\"");
        self.raw(key);
        self.raw("\":");
    }

    fn text(&mut self, key: &str, value: Option<&str>) {
        self.key(key);
        match value {
            Some(value) => serde_json::to_writer(&mut self.0, value)
                .expect("a string is valid JSON and a vector takes it"),
            None => self.raw("null"),
        }
    }

    fn display(&mut self, key: &str, value: Option<impl std::fmt::Display>) {
        self.key(key);
        match value {
            Some(value) => write!(self.0, "{value}").expect("a vector takes everything"),
            None => self.raw("null"),
        }
    }

    /// RFC 3339 in UTC with milliseconds.
    fn time(&mut self, time: SystemTime) {
        let at = time::OffsetDateTime::from(time);
        let (date, hour, minute, second) = (at.date(), at.hour(), at.minute(), at.second());
        let (year, month, day) = (date.year(), u8::from(date.month()), date.day());
        let ms = at.millisecond();
        write!(
            self.0,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z"
        )
        .expect("a vector takes everything");
    }
}

struct Milliseconds(Duration);

impl std::fmt::Display for Milliseconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}.{:03}",
            self.0.as_millis(),
            self.0.subsec_micros() % 1_000
        )
    }
}

struct TraceId(u128);

impl std::fmt::Display for TraceId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"{:032x}\"", self.0)
    }
}

const LINE_BYTES_USUAL: usize = 640;

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn line() -> Line<'static> {
        Line {
            time: SystemTime::UNIX_EPOCH + Duration::from_millis(1_767_225_600_042),
            listener: "web",
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
        assert_eq!(value.as_object().unwrap().len(), 23);
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
