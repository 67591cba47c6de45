//! Whether a change is for the state that is in force (RFC 9110 section 13.1.1). Never makes it.

use http::HeaderMap;
use http::header::IF_MATCH;

use super::answer::Refused;
use crate::audit::Audit;

/// Refuses a change that its operator decided on before somebody else changed something.
pub(super) fn check(headers: &HeaderMap, audit: &Audit) -> Result<(), Refused> {
    let mut fields = headers.get_all(IF_MATCH).iter().peekable();
    if fields.peek().is_none() {
        return Ok(());
    }
    let revision = audit.revision();
    let mut known = None;
    for field in fields {
        for tag in field.to_str().unwrap_or_default().split(',') {
            let tag = tag.trim();
            let named = revision_of(tag);
            if tag == "*" || named == Some(revision) {
                return Ok(());
            }
            known = known.max(named);
        }
    }
    Err(Refused::Stale {
        revision,
        since: known.map_or_else(Vec::new, |known| audit.since(known)),
    })
}

/// `"r17"`; a weak tag names no state.
fn revision_of(tag: &str) -> Option<u64> {
    let digits = tag.strip_prefix("\"r")?.strip_suffix('"')?;
    let is_plain = digits.bytes().all(|digit| digit.is_ascii_digit());
    is_plain.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use prometheus::IntCounter;

    use super::*;
    use crate::config::AuditLog;

    fn asked(fields: &[&'static str]) -> Result<(), u64> {
        let dropped = IntCounter::new("dropped", "for a test").unwrap();
        let audit = Audit::open(&AuditLog::Log, dropped).unwrap();
        audit.revise();
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(IF_MATCH, HeaderValue::from_static(field));
        }
        check(&headers, &audit).map_err(|refused| match refused {
            Refused::Stale { revision, .. } => revision,
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn only_the_state_in_force_fits() {
        for fields in [
            &[][..],
            &["\"r2\""],
            &["*"],
            &["\"r1\", \"r2\""],
            &["\"r1\"", "\"r2\""],
        ] {
            assert_eq!(asked(fields), Ok(()), "{fields:?}");
        }
        for fields in [
            &["\"r1\""][..],
            &["\"r3\""],
            &["W/\"r2\""],
            &["r2"],
            &["\"r+2\""],
            &[""],
        ] {
            assert_eq!(asked(fields), Err(2), "{fields:?}");
        }
    }
}
