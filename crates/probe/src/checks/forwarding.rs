//! Endpoints are told who asks, and a stranger cannot tell them something else. Never sends a claim that
//! could be true: every one carries a mark.

use http::{HeaderName, header};
use portcullis_token::headers::{IDENTITY, X_INSTANCE_ID, X_SERVED_BY};
use serde_json::json;

use super::echo;
use crate::client::Ask;
use crate::plan::Check;
use crate::report::Finding;
use crate::visit::Visit;

/// From a network that is nobody's (RFC 5737).
const MARK_ADDRESS: &str = "192.0.2.66";
const MARK: &str = "portcullis-probe-spoof";
const HOP: &str = "x-portcullis-probe-hop";

type Fields = Vec<(String, String)>;

pub(super) async fn run(visit: &mut Visit<'_>) -> Finding {
    let Some(path) = visit.plan.echo_path.clone() else {
        let reason = "no path is known that answers with what an endpoint received: --echo-path";
        return Finding::skipped(Check::Forwarding, reason);
    };
    let mut visitor = visit.visitor();
    let plain = visitor.ask(&Ask::get(&path)).await;
    let spoofed = visitor.ask(&spoofing(&path)).await;
    let (plain, spoofed) = match (plain, spoofed) {
        (Ok(plain), Ok(spoofed)) => (plain, spoofed),
        (Err(trouble), _) | (_, Err(trouble)) => {
            let mut finding = Finding::of(Check::Forwarding).summary("the echo path fails");
            finding.fault(trouble.to_string(), "check --echo-path and its endpoints");
            return finding;
        }
    };
    match (echo::received(&plain.body), echo::received(&spoofed.body)) {
        (Some(plain), Some(spoofed)) => {
            let is_https = visit.plan.target.is_https();
            judge(&plain, &spoofed, is_https, &visit.plan.target.authority())
        }
        _ => Finding::skipped(
            Check::Forwarding,
            format!("{path} does not answer with received headers as JSON"),
        ),
    }
}

/// A request that claims everything a stranger must not claim.
fn spoofing(path: &str) -> Ask {
    let name = |name: &'static str| HeaderName::from_static(name);
    let mut ask = Ask::get(path)
        .with(name("x-forwarded-for"), MARK_ADDRESS)
        .with(name("x-real-ip"), MARK_ADDRESS)
        .with(header::FORWARDED, &format!("for={MARK_ADDRESS}"))
        .with(name("x-forwarded-host"), MARK)
        .with(name("x-forwarded-proto"), MARK)
        .with(name("x_forwarded_for"), MARK_ADDRESS)
        .with(name(X_INSTANCE_ID), MARK)
        .with(name(X_SERVED_BY), MARK)
        .with(name("proxy"), MARK)
        .with(name(HOP), MARK)
        .with(header::CONNECTION, &format!("keep-alive, {HOP}"))
        .with(name("keep-alive"), MARK);
    for identity in IDENTITY {
        ask = ask.with(name(identity), MARK);
        let underscored = HeaderName::try_from(identity.replace('-', "_"));
        ask = ask.with(underscored.expect("underscores are allowed in names"), MARK);
    }
    ask
}

fn judge(plain: &Fields, spoofed: &Fields, is_https: bool, authority: &str) -> Finding {
    let mut finding = Finding::of(Check::Forwarding);
    let told = told(&mut finding, plain, is_https, authority);
    let is_marked = |value: &str| value.contains(MARK) || value.contains(MARK_ADDRESS);
    let believed: Vec<&str> = spoofed
        .iter()
        .filter(|(_, value)| is_marked(value))
        .map(|(name, _)| name.as_str())
        .collect();
    for name in &believed {
        let plain_name = name.replace('_', "-");
        let (what, advice) = match plain_name.as_str() {
            "x-forwarded-for" | "x-real-ip" | "forwarded" => (
                format!("{name}: endpoints are told the address that a stranger claims"),
                "trust X-Forwarded-For from your own proxies alone (this machine is not one of them, is it?)",
            ),
            identity if IDENTITY.contains(&identity) => (
                format!("{name}: a stranger can say who he is, and endpoints would believe it"),
                "remove identity headers from what clients send",
            ),
            HOP | "keep-alive" | "connection" => (
                format!("{name}: a field for one connection is passed on"),
                "remove what Connection names, and all hop-by-hop fields (RFC 9110 section 7.6.1)",
            ),
            _ => (
                format!("{name}: a stranger's word reaches endpoints"),
                "overwrite or remove it at the edge",
            ),
        };
        finding.fault(what, advice);
    }
    finding.figure("told", json!(told));
    finding.figure("believed", json!(believed));
    finding.summary(match believed.len() {
        0 => "endpoints learn who asks, and no false claim reaches them".to_owned(),
        number => format!("{number} false claims reach endpoints"),
    })
}

/// What endpoints are told about a client that claims nothing.
fn told(finding: &mut Finding, plain: &Fields, is_https: bool, authority: &str) -> Vec<String> {
    let scheme = if is_https { "https" } else { "http" };
    let expected = [
        ("x-forwarded-for", None),
        ("x-forwarded-proto", Some(scheme)),
        ("x-forwarded-host", Some(authority)),
        ("x-request-id", None),
    ];
    let mut told = Vec::new();
    for (name, expected) in expected {
        let value = plain
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_str());
        match (value, expected) {
            (None, _) => finding.fault(
                format!("endpoints are not told {name}"),
                "let the edge set it on every request",
            ),
            (Some(value), Some(expected)) if !value.eq_ignore_ascii_case(expected) => {
                let value: String = value.chars().take(64).collect();
                finding.fault(
                    format!("{name} says {value:?} instead of {expected:?}"),
                    "let the edge that the client reaches set it; a proxy in between must pass it on",
                );
            }
            (Some(_), _) => told.push(name.to_owned()),
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Verdict;

    const HOST: &str = "auth.example.com";

    fn good() -> Fields {
        [
            ("host", HOST),
            ("x-forwarded-for", "203.0.113.9"),
            ("x-real-ip", "203.0.113.9"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", HOST),
            ("x-request-id", "1"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }

    fn with(name: &str, value: &str) -> Fields {
        let mut fields = good();
        fields.push((name.to_owned(), value.to_owned()));
        fields
    }

    #[test]
    fn an_edge_that_overwrites_every_claim_is_good() {
        let finding = judge(&good(), &good(), true, HOST);
        assert_eq!(finding.verdict, Verdict::Pass, "{:?}", finding.remarks);
    }

    #[test]
    fn every_false_claim_that_gets_through_is_a_fault() {
        for (name, value) in [
            ("x-forwarded-for", "192.0.2.66, 203.0.113.9"),
            ("forwarded", "for=192.0.2.66"),
            ("x-auth-subject", MARK),
            ("x_auth_subject", MARK),
            ("x-instance-id", MARK),
            (HOP, MARK),
            ("proxy", MARK),
        ] {
            let finding = judge(&good(), &with(name, value), true, HOST);
            assert_eq!(finding.verdict, Verdict::Fail, "{name}");
            assert_eq!(finding.remarks.len(), 1, "{name}");
            assert!(finding.remarks[0].what.starts_with(name));
        }
    }

    #[test]
    fn what_endpoints_are_not_told_is_a_fault() {
        for missing in [
            "x-forwarded-for",
            "x-forwarded-proto",
            "x-forwarded-host",
            "x-request-id",
        ] {
            let mut plain = good();
            plain.retain(|(name, _)| name != missing);
            let finding = judge(&plain, &good(), true, HOST);
            assert_eq!(finding.verdict, Verdict::Fail, "{missing}");
        }
        assert_eq!(judge(&good(), &good(), false, HOST).verdict, Verdict::Fail);
    }
}
