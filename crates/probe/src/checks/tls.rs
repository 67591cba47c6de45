//! The certificate, the versions, and what plain HTTP says. Never decides whom to trust: the operator's
//! authorities do, or the system's.

mod hello;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls_pki_types::UnixTime;
use serde_json::json;
use tokio::time::timeout;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::client::{Ask, Client, Trouble, chain};
use crate::plan::Check;
use crate::report::Finding;
use crate::target::Target;
use crate::visit::Visit;
use hello::{Reply, old_hello};

/// What was seen.
#[derive(Debug)]
struct Seen {
    /// What is wrong with the chain.
    distrust: Option<String>,
    /// Whether nobody is to mind.
    is_insecure: bool,
    version: String,
    certificate: Option<Certificate>,
    old_hello: Reply,
    /// `None` where HTTP is not served, or not on its usual port.
    plain: Option<Plain>,
    now_unix_seconds: i64,
}

#[derive(Debug)]
struct Certificate {
    not_before: i64,
    not_after: i64,
    issuer: String,
}

/// What plain HTTP says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plain {
    LeadsToHttps,
    Serves,
}

pub(super) async fn run(visit: &mut Visit<'_>) -> Finding {
    let Some(tls) = &visit.client.tls else {
        return Finding::skipped(Check::Tls, "the URL begins with http://");
    };
    let stream = match visit.client.shake_hands(tls).await {
        Ok(stream) => stream,
        Err(trouble) => return no_handshake(&trouble),
    };
    let chain = chain(&stream);
    let version = stream.get_ref().1.protocol_version();
    let version = version.and_then(|v| v.as_str()).unwrap_or("unknown");
    let name = visit.plan.target.server_name();
    let distrust = tls.judge(&chain, &name, UnixTime::now()).err();
    drop(stream);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    judge(&Seen {
        distrust: distrust.map(|error| reason(&error.to_string())),
        is_insecure: visit.plan.trust.is_insecure,
        version: version.to_owned(),
        certificate: chain.first().and_then(|leaf| read(leaf)),
        old_hello: old_hello(&visit.client).await,
        plain: plain(visit).await,
        now_unix_seconds: now.as_secs().cast_signed(),
    })
}

/// Why a certificate is not trusted. A self-signed one is usually an authority's, of which the library
/// has only its own name to say.
fn reason(said: &str) -> String {
    match said.contains("CaUsedAsEndEntity") {
        true => "the certificate is self-signed, or an authority's own".to_owned(),
        false => said.to_owned(),
    }
}

fn no_handshake(trouble: &Trouble) -> Finding {
    let mut finding = Finding::of(Check::Tls).summary("no handshake");
    finding.fault(
        trouble.to_string(),
        "let the listener speak TLS 1.2 and 1.3, and show a certificate for this name",
    );
    finding
}

fn read(leaf: &[u8]) -> Option<Certificate> {
    let (_, certificate) = X509Certificate::from_der(leaf).ok()?;
    let validity = certificate.validity();
    let issuer = certificate.issuer().to_string();
    Some(Certificate {
        not_before: validity.not_before.timestamp(),
        not_after: validity.not_after.timestamp(),
        issuer: issuer.chars().take(100).collect(),
    })
}

/// Where HTTPS is on its usual port, HTTP may be on its own.
async fn plain(visit: &Visit<'_>) -> Option<Plain> {
    let target = &visit.plan.target;
    if target.port() != 443 {
        return None;
    }
    let host = match target.host() {
        host if host.contains(':') => format!("[{host}]"),
        host => host.to_owned(),
    };
    let target: Target = format!("http://{host}/").parse().ok()?;
    let mut addresses = visit.client.addresses.clone();
    for address in &mut addresses {
        address.set_port(80);
    }
    let client = Client::new(target, addresses, None, PLAIN_TIMEOUT, false);
    let mut visitor = std::sync::Arc::new(client).visitor();
    let answer = timeout(PLAIN_TIMEOUT, visitor.ask(&Ask::get("/")))
        .await
        .ok()?
        .ok()?;
    let location = answer.field(&http::header::LOCATION).unwrap_or_default();
    let leads = (300..400).contains(&answer.status) && location.starts_with("https://");
    Some(if leads {
        Plain::LeadsToHttps
    } else {
        Plain::Serves
    })
}

fn judge(seen: &Seen) -> Finding {
    let mut finding = Finding::of(Check::Tls);
    finding.figure("version", seen.version.clone());
    judge_certificate(&mut finding, seen);
    match seen.old_hello {
        Reply::Accepted => finding.fault(
            "TLS 1.1 or older is accepted",
            "allow TLS 1.2 and 1.3 alone (RFC 8996)",
        ),
        Reply::Refused => finding.figure("refuses_tls_1_1", true),
        Reply::Unknown => finding.figure("refuses_tls_1_1", json!(null)),
    }
    if seen.plain == Some(Plain::Serves) {
        finding.doubt(
            "plain HTTP is served beside it",
            "lead http:// to https:// with 308, or close port 80",
        );
    }
    let days = seen.days_left();
    if let (Some(days), Some(certificate)) = (days, &seen.certificate) {
        finding.figure("days_left", days);
        finding.figure("issuer", certificate.issuer.clone());
    }
    let days = days.map_or_else(String::new, |days| format!(", good for {days} more days"));
    finding.summary(match &seen.distrust {
        None => format!("{}, certificate trusted{days}", seen.version),
        Some(_) => format!("{}, certificate not trusted{days}", seen.version),
    })
}

impl Seen {
    fn days_left(&self) -> Option<i64> {
        let certificate = self.certificate.as_ref()?;
        Some((certificate.not_after - self.now_unix_seconds).div_euclid(86_400))
    }
}

fn judge_certificate(finding: &mut Finding, seen: &Seen) {
    if let Some(why) = &seen.distrust {
        let advice = "get a certificate for this name from an authority that clients trust; if yours \
                      is private, name it with --cacert";
        if seen.is_insecure {
            finding.doubt(why.clone(), advice);
        } else {
            finding.fault(why.clone(), advice);
        }
        return;
    }
    if let Some(certificate) = &seen.certificate {
        let life = certificate.not_after - certificate.not_before;
        let left = certificate.not_after - seen.now_unix_seconds;
        // Certificates of a few days are renewed every few days.
        if left < DAYS_FEW * 86_400 && left < life / 3 {
            finding.doubt(
                format!("the certificate ends in {} days", left.div_euclid(86_400)),
                "renew it; look why that has not happened by itself",
            );
        }
    }
}

const DAYS_FEW: i64 = 14;
const PLAIN_TIMEOUT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Verdict;

    const DAY: i64 = 86_400;

    fn seen() -> Seen {
        Seen {
            distrust: None,
            is_insecure: false,
            version: "TLSv1_3".to_owned(),
            certificate: Some(Certificate {
                not_before: 0,
                not_after: 90 * DAY,
                issuer: "CN=test".to_owned(),
            }),
            old_hello: Reply::Refused,
            plain: None,
            now_unix_seconds: 10 * DAY,
        }
    }

    #[test]
    fn a_trusted_certificate_with_time_left_is_good() {
        let finding = judge(&seen());
        assert_eq!(finding.verdict, Verdict::Pass);
        assert_eq!(
            finding.summary,
            "TLSv1_3, certificate trusted, good for 80 more days"
        );
    }

    #[test]
    fn a_self_signed_certificate_is_called_that() {
        let said = "invalid peer certificate: Other(OtherError(CaUsedAsEndEntity))";
        assert!(reason(said).contains("self-signed"));
        assert_eq!(reason("UnknownIssuer"), "UnknownIssuer");
    }

    #[test]
    fn a_bad_certificate_is_a_fault_unless_nobody_minds() {
        let mut bad = seen();
        bad.distrust = Some("expired".to_owned());
        assert_eq!(judge(&bad).verdict, Verdict::Fail);
        bad.is_insecure = true;
        assert_eq!(judge(&bad).verdict, Verdict::Warn);
    }

    #[test]
    fn a_certificate_near_its_end_is_doubted_by_its_length_of_life() {
        let mut old = seen();
        old.now_unix_seconds = 80 * DAY;
        assert_eq!(judge(&old).verdict, Verdict::Warn);
        old.certificate = Some(Certificate {
            not_before: 78 * DAY,
            not_after: 85 * DAY,
            issuer: String::new(),
        });
        assert_eq!(judge(&old).verdict, Verdict::Pass, "a week long, and fresh");
    }

    #[test]
    fn old_versions_and_plain_http_are_noticed() {
        let mut old = seen();
        old.old_hello = Reply::Accepted;
        assert_eq!(judge(&old).verdict, Verdict::Fail);
        let mut plain = seen();
        plain.plain = Some(Plain::Serves);
        assert_eq!(judge(&plain).verdict, Verdict::Warn);
        plain.plain = Some(Plain::LeadsToHttps);
        assert_eq!(judge(&plain).verdict, Verdict::Pass);
    }
}
