//! Answers carry a request id, and errors nothing of the inside. Never breaks HTTP to provoke one: a
//! refusal of something odd will do.

use std::collections::HashSet;
use std::net::SocketAddr;

use http::{HeaderMap, HeaderName, Method, header};
use portcullis_token::headers::HEALTH_CAUSE;

use super::inner::inner_address;
use crate::client::{Answer, Ask};
use crate::plan::Check;
use crate::report::Finding;
use crate::visit::{INSTANCE_HEADERS, Visit};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const CAUSE: HeaderName = HeaderName::from_static(HEALTH_CAUSE);
const MARK: &str = "portcullis-probe-spoof";

/// One answer and what was asked.
struct Seen {
    asked: &'static str,
    status: u16,
    headers: HeaderMap,
    body: String,
}

/// Whose eyes look.
struct Stranger {
    /// Addresses that he used himself.
    known: Vec<SocketAddr>,
    /// The edge shows addresses of endpoints to its own machine.
    is_local: bool,
}

pub(super) async fn run(visit: &mut Visit<'_>) -> Finding {
    let own_claims = |ask: Ask| {
        let claim = |ask: Ask, name: HeaderName| ask.with(name, MARK);
        INSTANCE_HEADERS.into_iter().fold(ask, claim)
    };
    let asks = [
        ("an ordinary request", visit.ask()),
        ("another one", own_claims(visit.ask())),
        ("a path that does not exist", Ask::get(NO_SUCH_PATH)),
        ("TRACE", Ask::method(Method::TRACE, visit.path.clone())),
        (
            "a target that is too long",
            Ask::get(format!("/?{}", "q".repeat(TARGET_BYTES))),
        ),
        (
            "a field that is too large",
            visit.ask().with(FILLER, &"f".repeat(FIELD_BYTES)),
        ),
    ];
    let mut seen = Vec::new();
    for (asked, ask) in asks {
        // Who refuses may hang up at once, before all was sent: then there is nothing to read.
        if let Ok(answer) = visit.visitor().ask(&ask).await {
            seen.push(Seen::new(asked, &answer));
        }
    }
    let client = &visit.client;
    let stranger = Stranger {
        known: client.addresses.clone(),
        is_local: client.addresses.iter().all(|a| a.ip().is_loopback()),
    };
    judge(&seen, &stranger)
}

const FILLER: HeaderName = HeaderName::from_static("x-portcullis-probe-filler");
const NO_SUCH_PATH: &str = "/portcullis-probe/no-such-page";
/// More than the usual limits allow for a target and for a field.
const TARGET_BYTES: usize = 20_000;
const FIELD_BYTES: usize = 60_000;

impl Seen {
    fn new(asked: &'static str, answer: &Answer) -> Self {
        Self {
            asked,
            status: answer.status,
            headers: answer.headers.clone(),
            body: String::from_utf8_lossy(&answer.body).into_owned(),
        }
    }

    /// Whether somebody behind it, or the edge, could not serve what was asked. What TRACE and the
    /// like are answered is another matter.
    fn is_failure(&self) -> bool {
        matches!(self.status, 500 | 502 | 503 | 504)
    }

    fn is_error(&self) -> bool {
        self.status >= 400
    }

    /// Whether the request was understood: one whose head was given up is no request yet, and may go
    /// without an id.
    fn was_read_whole(&self) -> bool {
        !matches!(self.status, 400 | 414 | 431)
    }

    /// Whether no endpoint has part in it.
    fn is_of_the_edge(&self) -> bool {
        !INSTANCE_HEADERS
            .iter()
            .any(|n| self.headers.contains_key(n))
    }
}

fn judge(seen: &[Seen], stranger: &Stranger) -> Finding {
    let mut finding = Finding::of(Check::Errors);
    judge_ids(&mut finding, seen);
    for answer in seen {
        if answer.is_failure() {
            finding.fault(
                format!("{}: answer {}", answer.asked, answer.status),
                "look at the edge's access log: its outcomes say what happened",
            );
        }
        judge_headers(&mut finding, answer, stranger);
        if answer.is_error() {
            judge_error(&mut finding, answer, stranger);
        }
    }
    let errors = seen.iter().filter(|answer| answer.is_error()).count();
    finding.figure("answers", seen.len());
    finding.figure("errors", errors);
    finding.summary(format!(
        "{} answers, {errors} of them errors, looked through",
        seen.len()
    ))
}

fn judge_ids(finding: &mut Finding, seen: &[Seen]) {
    let advice = "let the edge give every request an id and every answer X-Request-Id";
    let read_whole = || seen.iter().filter(|answer| answer.was_read_whole());
    let id = |answer: &Seen| answer.headers.get(&REQUEST_ID).cloned();
    if let Some(answer) = read_whole().find(|answer| id(answer).is_none()) {
        finding.fault(format!("{}: no X-Request-Id", answer.asked), advice);
        return;
    }
    let ids: Vec<_> = read_whole().filter_map(id).collect();
    let unlike: HashSet<_> = ids.iter().collect();
    if unlike.len() < ids.len() {
        finding.fault("two answers carry the same X-Request-Id", advice);
    }
}

fn judge_headers(finding: &mut Finding, answer: &Seen, stranger: &Stranger) {
    let asked = answer.asked;
    for name in &INSTANCE_HEADERS {
        let Some(value) = answer.headers.get(name).and_then(|v| v.to_str().ok()) else {
            continue;
        };
        if value.contains(MARK) {
            finding.fault(
                format!("{asked}: {name} repeats what the client claimed"),
                "let the edge overwrite it: clients must not name instances",
            );
        } else if !stranger.is_local
            && let Some(address) = inner_address(value, &stranger.known)
        {
            finding.fault(
                format!("{asked}: {name} shows {address} to strangers"),
                "show an opaque name instead",
            );
        }
    }
    if answer.headers.contains_key(&CAUSE) {
        finding.fault(
            format!("{asked}: {CAUSE} reaches strangers"),
            "it is between instances and edge: remove it from answers",
        );
    }
}

fn judge_error(finding: &mut Finding, answer: &Seen, stranger: &Stranger) {
    let (asked, status) = (answer.asked, answer.status);
    if let Some(address) = inner_address(&answer.body, &stranger.known) {
        finding.fault(
            format!("{asked}: the error {status} names {address}"),
            "keep addresses of the inside out of error bodies; they belong into the log",
        );
    } else if let Some(trace) = TRACES.iter().find(|trace| answer.body.contains(**trace)) {
        finding.fault(
            format!("{asked}: the error {status} shows a stack trace ({trace:?})"),
            "answer with a problem document and log the trace",
        );
    }
    let kind = answer.headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let is_bare = answer.body.is_empty();
    if answer.is_of_the_edge() && !is_bare && !kind.starts_with("application/problem+json") {
        let kind: String = kind.chars().take(64).collect();
        finding.doubt(
            format!("{asked}: the error {status} comes as {kind:?}"),
            "programs read application/problem+json (RFC 9457)",
        );
    }
}

/// How traces begin in the languages that endpoints are written in.
const TRACES: [&str; 5] = [
    "panicked at",
    "Traceback (most recent call last)",
    "goroutine 1 [",
    "\tat ",
    "    at ",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Verdict;

    const STRANGER: Stranger = Stranger {
        known: Vec::new(),
        is_local: false,
    };

    fn seen(id: &str, status: u16, body: &str) -> Seen {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, id.parse().unwrap());
        let kind = "application/problem+json".parse().unwrap();
        headers.insert(header::CONTENT_TYPE, kind);
        Seen {
            asked: "a request",
            status,
            headers,
            body: body.to_owned(),
        }
    }

    #[test]
    fn clean_answers_are_good() {
        let seen = [
            seen("1", 200, "connected to 10.0.0.1"),
            seen("2", 404, r#"{"title":"Not Found"}"#),
        ];
        let finding = judge(&seen, &STRANGER);
        assert_eq!(finding.verdict, Verdict::Pass, "{:?}", finding.remarks);
    }

    #[test]
    fn errors_that_show_the_inside_are_faults() {
        for body in [
            "upstream 10.0.0.1:4001 refused",
            "thread 'main' panicked at src/main.rs",
            "Traceback (most recent call last):",
        ] {
            let finding = judge(&[seen("1", 502, body)], &STRANGER);
            assert_eq!(finding.verdict, Verdict::Fail, "{body}");
        }
    }

    #[test]
    fn failing_to_serve_is_a_fault_and_refusing_is_not() {
        let verdict = |status| judge(&[seen("1", status, "{}")], &STRANGER).verdict;
        for status in [500, 502, 503, 504] {
            assert_eq!(verdict(status), Verdict::Fail, "{status}");
        }
        for status in [200, 404, 405, 414, 431, 501] {
            assert_eq!(verdict(status), Verdict::Pass, "{status}");
        }
    }

    #[test]
    fn an_error_page_for_people_is_only_doubted() {
        let mut page = seen("1", 404, "<html>");
        let html = "text/html".parse().unwrap();
        page.headers.insert(header::CONTENT_TYPE, html);
        assert_eq!(judge(&[page], &STRANGER).verdict, Verdict::Warn);
    }

    #[test]
    fn request_ids_are_there_and_differ() {
        let twice = [seen("1", 200, ""), seen("1", 200, "")];
        assert_eq!(judge(&twice, &STRANGER).verdict, Verdict::Fail);
        let mut without = seen("1", 200, "");
        without.headers.remove(&REQUEST_ID);
        assert_eq!(judge(&[without], &STRANGER).verdict, Verdict::Fail);
        let mut given_up = seen("1", 431, "");
        given_up.headers.remove(&REQUEST_ID);
        assert_eq!(judge(&[given_up], &STRANGER).verdict, Verdict::Pass);
    }

    #[test]
    fn fields_that_name_instances_are_the_edges_own_and_opaque() {
        let served_by = |value: &str, is_local| {
            let mut answer = seen("1", 200, "");
            answer
                .headers
                .insert(&INSTANCE_HEADERS[0], value.parse().unwrap());
            let stranger = Stranger {
                is_local,
                ..STRANGER
            };
            judge(&[answer], &stranger).verdict
        };
        assert_eq!(served_by("5d1f0c", false), Verdict::Pass);
        assert_eq!(served_by(MARK, true), Verdict::Fail);
        assert_eq!(served_by("10.0.0.7:4001", false), Verdict::Fail);
        assert_eq!(served_by("127.0.0.1:4001", true), Verdict::Pass);
        let mut caused = seen("1", 200, "");
        caused.headers.insert(CAUSE, "database".parse().unwrap());
        assert_eq!(judge(&[caused], &STRANGER).verdict, Verdict::Fail);
    }
}
