//! W3C trace context: continue the caller's trace or begin one. Never forwards a malformed one.

use http::{HeaderName, HeaderValue};

use super::head::{Fields, Said};
use super::identify::hex;

/// `traceparent`.
pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// `tracestate`.
pub(crate) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The trace a request belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trace {
    pub(crate) id: u128,
    flags: u8,
    /// Whether the caller began it; only then is its `tracestate` ours to pass on.
    pub(crate) is_continued: bool,
}

impl Trace {
    /// Begins a trace. Sampled: the access log records it, and endpoints whose sampler follows the
    /// parent would otherwise record nothing.
    pub(crate) fn begin(id: u128) -> Self {
        Self {
            id,
            flags: SAMPLED,
            is_continued: false,
        }
    }

    /// The caller's trace if it sent exactly one valid `traceparent`.
    pub(crate) fn read(fields: &impl Fields) -> Option<Self> {
        match fields.said(&TRACEPARENT) {
            Said::Once(value) => parse(value),
            Said::Never | Said::Repeatedly => None,
        }
    }

    /// The field to send on, with us as the parent.
    pub(crate) fn header(self, span: u64) -> HeaderValue {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        text[3..35].copy_from_slice(&hex::<32>(self.id));
        text[36..52].copy_from_slice(&hex::<16>(u128::from(span)));
        text[53..55].copy_from_slice(&hex::<2>(u128::from(self.flags)));
        HeaderValue::from_bytes(&text).expect("digits and dashes are visible ASCII")
    }
}

/// `version-traceid-parentid-flags`. Higher versions may say more after another dash; version 0 may
/// not, and version ff does not exist (Trace Context, 3.2.2).
fn parse(value: &[u8]) -> Option<Trace> {
    let version = parse_hex(value.get(0..2)?)?;
    let is_whole = match version {
        0xff => false,
        0 => value.len() == LENGTH,
        _ => value.get(LENGTH).is_none_or(|next| *next == b'-'),
    };
    let dashes = [2, 35, 52];
    if !is_whole || dashes.iter().any(|at| value.get(*at) != Some(&b'-')) {
        return None;
    }
    let id = parse_hex(value.get(3..35)?)?;
    let parent = parse_hex(value.get(36..52)?)?;
    let flags = parse_hex(value.get(53..55)?)?;
    // Of the flags only "sampled" is defined in the version that we write.
    (id != 0 && parent != 0).then_some(Trace {
        id,
        flags: flags as u8 & SAMPLED,
        is_continued: true,
    })
}

/// Lower-case only, as the specification demands.
fn parse_hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0_u128, |value, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u128::from(digit))
    })
}

const LENGTH: usize = 55;
const SAMPLED: u8 = 1;

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn read(values: &[&str]) -> Option<Trace> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(TRACEPARENT, value.parse().unwrap());
        }
        Trace::read(&headers)
    }

    #[test]
    fn valid_trace_keeps_id_and_flags_and_gets_a_new_parent() {
        let trace = read(&[GOOD]).unwrap();
        assert!(trace.is_continued);
        assert_eq!(
            trace.header(0xabc),
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000abc-01"
        );
        let unsampled = read(&[&GOOD.replace("-01", "-00")]).unwrap();
        assert!(unsampled.header(1).to_str().unwrap().ends_with("-00"));
    }

    #[test]
    fn later_versions_are_read_and_written_as_ours() {
        let later = GOOD.replacen("00-", "cc-", 1);
        for value in [later.clone(), format!("{later}-what-the-future-holds")] {
            assert!(
                read(&[&value])
                    .unwrap()
                    .header(1)
                    .to_str()
                    .unwrap()
                    .starts_with("00-4bf9")
            );
        }
        assert_eq!(read(&[&format!("{later}.x")]), None);
    }

    #[test]
    fn malformed_ones_are_not_continued() {
        for (value, why) in [
            ("", "empty"),
            ("00", "short"),
            (&GOOD[..54], "one digit short"),
            (&format!("{GOOD}-x"), "version 0 with more"),
            (&GOOD.replacen("00-", "ff-", 1), "forbidden version"),
            (&GOOD.to_uppercase(), "upper case"),
            (&GOOD.replace('-', "_"), "wrong separators"),
            (&GOOD.replace("4bf9", "4bg9"), "not hexadecimal"),
            (
                "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
                "zero trace id",
            ),
            (
                "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
                "zero parent id",
            ),
        ] {
            assert_eq!(read(&[value]), None, "{why}: {value}");
        }
    }

    #[test]
    fn two_fields_are_nobodys_trace() {
        assert_eq!(read(&[GOOD, GOOD]), None);
        assert_eq!(read(&[]), None);
    }
}
