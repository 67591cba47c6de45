//! How long an answer asks to stay away. Never trusts it beyond what can be counted.

use std::time::{Duration, SystemTime};

use http::header::RETRY_AFTER;

use super::head::Fields;

/// Longer values are no number of seconds and no date that anybody means.
const BYTES_MAX: usize = 40;

/// The time that `Retry-After` asks for: a number of seconds, or a date in any of the forms of HTTP
/// (RFC 9110, 10.2.3). A date in the past is no time at all.
pub(super) fn read(fields: &impl Fields) -> Option<Duration> {
    parse(fields.first(&RETRY_AFTER)?, SystemTime::now)
}

fn parse(value: &[u8], now: impl Fn() -> SystemTime) -> Option<Duration> {
    if value.len() > BYTES_MAX {
        return None;
    }
    let text = std::str::from_utf8(value).ok()?.trim_matches([' ', '\t']);
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let seconds = text.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds));
    }
    let until = httpdate::parse_http_date(text).ok()?;
    Some(until.duration_since(now()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sun, 06 Nov 1994 08:49:37 GMT.
    const SAMPLE_UNIX_SECONDS: u64 = 784_111_777;

    fn seconds(value: &str) -> Option<u64> {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(SAMPLE_UNIX_SECONDS - 30);
        parse(value.as_bytes(), || now).map(|asked| asked.as_secs())
    }

    #[test]
    fn seconds_and_all_three_forms_of_dates_are_read() {
        for (value, expected) in [
            ("0", 0),
            ("120", 120),
            (" 7 ", 7),
            ("99999999999999999999999999", u64::MAX),
            ("Sun, 06 Nov 1994 08:49:37 GMT", 30),
            ("Sunday, 06-Nov-94 08:49:37 GMT", 30),
            ("Sun Nov  6 08:49:37 1994", 30),
            ("Sat, 05 Nov 1994 08:49:37 GMT", 0),
        ] {
            assert_eq!(seconds(value), Some(expected), "{value}");
        }
    }

    #[test]
    fn everything_else_asks_for_nothing() {
        let long = "1".repeat(BYTES_MAX + 1);
        for value in [
            "",
            " ",
            "-1",
            "+1",
            "1.5",
            "soon",
            "1 2",
            "Sun, 99 Nov 1994",
            &long,
        ] {
            assert_eq!(seconds(value), None, "{value:?}");
        }
        assert_eq!(parse(b"\xff\xfe", SystemTime::now), None);
    }
}
