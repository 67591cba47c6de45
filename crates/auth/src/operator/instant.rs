//! Instants as operators type and read them. Never guesses a time zone: all is UTC.

use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::domain::UnixMillis;

/// Neither a time ago nor an instant.
#[derive(Debug, thiserror::Error)]
#[error("is neither a time ago, such as 15m, 24h or 7d, nor one such as 2026-11-22T03:00:00Z")]
pub struct InvalidInstant;

/// Reads `15m`, `24h` or `7d` ago, or an instant of RFC 3339.
pub fn parse(text: &str) -> Result<UnixMillis, InvalidInstant> {
    if let Some(ago) = ago(text) {
        return Ok(super::now().minus(ago));
    }
    let instant = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| InvalidInstant)?;
    let millis = instant.unix_timestamp_nanos() / 1_000_000;
    i64::try_from(millis)
        .map(UnixMillis)
        .map_err(|_| InvalidInstant)
}

/// As RFC 3339, to the second.
pub fn show(at: UnixMillis) -> String {
    let instant = OffsetDateTime::from_unix_timestamp(at.seconds()).ok();
    let text = instant.and_then(|instant| instant.format(&Rfc3339).ok());
    text.unwrap_or_else(|| at.to_string())
}

fn ago(text: &str) -> Option<Duration> {
    let unit = text.chars().last()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return None,
    };
    let number: u32 = text.strip_suffix(unit)?.parse().ok()?;
    Some(Duration::from_secs(u64::from(number) * seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_read_and_shown() {
        let at = parse("2026-11-22T03:00:00Z").unwrap();
        assert_eq!(show(at), "2026-11-22T03:00:00Z");
        assert_eq!(parse("2026-11-22T04:00:00+01:00").unwrap(), at);
        assert!(parse("7d").unwrap() < parse("24h").unwrap());
        for wrong in [
            "",
            "d",
            "yesterday",
            "-1h",
            "1.5h",
            "2026-11-22",
            "99999999999d",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
