//! Single values: text to type, or what is wrong with it. Never rounds, clamps or guesses a unit.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use ipnet::IpNet;

use super::{Scalar, nearest};

/// A value of the kind its key asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    Text(String),
    Flag(bool),
    Word(&'static str),
    Address(SocketAddr),
    Network(IpNet),
    StatusRange(RangeInclusive<u16>),
    Number(u64),
    Duration(Duration),
}

/// What is wrong with a value, and what to write in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Reads on after the value: ``is not a duration``.
    pub message: String,
    /// What to write.
    pub hint: String,
}

impl Mistake {
    /// Both parts in one go.
    pub fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: hint.into(),
        }
    }
}

impl Scalar {
    /// What belongs here, with article and example.
    pub(super) fn what(&self) -> String {
        match self {
            Self::Text(text) => text.what.to_owned(),
            Self::Secret => "a secret text".to_owned(),
            Self::Flag => "`true` or `false`".to_owned(),
            Self::Word(words) => format!("one of {}", quoted(words)),
            Self::Address => "an address such as `127.0.0.1:8080`".to_owned(),
            Self::Network => "a network such as `10.0.0.0/8`".to_owned(),
            Self::StatusRange => "status codes such as `200-299`".to_owned(),
            Self::Count(..) => "a whole number".to_owned(),
            Self::Percent => "a percentage such as `20` or `0.25`".to_owned(),
            Self::Size(..) => "a size such as `1MiB`".to_owned(),
            Self::Duration(..) => "a duration such as `10s`".to_owned(),
        }
    }

    pub(super) fn parse(&self, text: &str) -> Result<Parsed, Mistake> {
        let wrong = || Mistake::new(format!("is not {}", self.what()), self.hint());
        match self {
            Self::Text(_) | Self::Secret if text.is_empty() => {
                Err(Mistake::new("is empty", format!("write {}", self.what())))
            }
            Self::Text(_) | Self::Secret => Ok(Parsed::Text(text.to_owned())),
            Self::Flag => parse_flag(text).map(Parsed::Flag).ok_or_else(wrong),
            Self::Word(words) => parse_word(words, text).map(Parsed::Word),
            Self::Address => parse_address(text).map(Parsed::Address),
            Self::Network => parse_network(text).map(Parsed::Network),
            Self::StatusRange => parse_statuses(text)
                .map(Parsed::StatusRange)
                .ok_or_else(wrong),
            Self::Count(min, max) => {
                let number = parse_digits(text).ok_or_else(wrong)?;
                within(number, *min, *max, u64::to_string).map(Parsed::Number)
            }
            Self::Percent => parse_percent(text)
                .map(|hundredths| Parsed::Number(hundredths.into()))
                .ok_or_else(wrong),
            Self::Size(min, max) => {
                let bytes = parse_size(text).ok_or_else(wrong)?;
                within(bytes, *min, *max, format_size).map(Parsed::Number)
            }
            Self::Duration(min, max) => {
                let duration = parse_duration(text).ok_or_else(wrong)?;
                within(duration, *min, *max, format_duration).map(Parsed::Duration)
            }
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::Duration(..) => "a number and a unit: 250ms, 10s, 5m or 1h",
            Self::Size(..) => "bytes, or a number and a unit: 65536, 32KiB, 1MiB or 1GiB",
            Self::Count(..) => "digits only, no sign, fraction or unit",
            Self::Percent => "from 0 to 100, at most two digits behind the point",
            Self::StatusRange => "one code or two with a dash, between 100 and 599",
            _ => "write true or false",
        }
    }
}

fn quoted(words: &[&str]) -> String {
    words
        .iter()
        .map(|word| format!("`{word}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

fn within<T: PartialOrd>(
    value: T,
    min: T,
    max: T,
    shown: impl Fn(&T) -> String,
) -> Result<T, Mistake> {
    let hint = || format!("between {} and {}", shown(&min), shown(&max));
    if value < min {
        return Err(Mistake::new("is too small", hint()));
    }
    if value > max {
        return Err(Mistake::new("is too large", hint()));
    }
    Ok(value)
}

/// A percentage in hundredths of a percent: 12.5 is 1250.
pub fn parse_percent(text: &str) -> Option<u16> {
    let (whole, rest) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    if !is_number(whole) || !is_number(rest) || whole.len() > 3 || rest.len() > 2 {
        return None;
    }
    let tens = if rest.len() == 1 { 10 } else { 1 };
    let hundredths = whole.parse::<u32>().ok()? * 100 + rest.parse::<u32>().ok()? * tens;
    u16::try_from(hundredths)
        .ok()
        .filter(|found| *found <= 10_000)
}

/// `on` and `off` too: tools that rewrite YAML turn one pair into the other.
fn parse_flag(text: &str) -> Option<bool> {
    match text {
        "true" | "on" => Some(true),
        "false" | "off" => Some(false),
        _ => None,
    }
}

fn parse_word(words: &'static [&'static str], text: &str) -> Result<&'static str, Mistake> {
    if let Some(word) = words.iter().find(|word| **word == text) {
        return Ok(word);
    }
    let hint = match nearest(text, words.iter().copied()) {
        Some(word) => format!("did you mean `{word}`?"),
        None => format!("write one of {}", quoted(words)),
    };
    Err(Mistake::new(
        format!("is not one of {}", quoted(words)),
        hint,
    ))
}

fn parse_address(text: &str) -> Result<SocketAddr, Mistake> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let what = "is not an address with a port";
    let hint = if let Ok(ip) = text.parse::<IpAddr>() {
        format!("add a port: {}", SocketAddr::new(ip, 8080))
    } else if let Some(port) = text.strip_prefix(':').or_else(|| text.strip_prefix("*:")) {
        format!("name the address: 0.0.0.0:{port} or [::]:{port}")
    } else if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
        format!("name the address: 0.0.0.0:{text} or [::]:{text}")
    } else if let Some(port) = text.strip_prefix("localhost:") {
        format!("write 127.0.0.1:{port}")
    } else {
        "an IP address and a port: 0.0.0.0:8080 or \"[::]:8080\"".to_owned()
    };
    Err(Mistake::new(what, hint))
}

/// A network such as `10.0.0.0/8`, or one address; IPv4 in clothes of IPv6 is IPv4.
pub fn parse_network(text: &str) -> Result<IpNet, Mistake> {
    let address = text.parse::<IpAddr>().map(IpNet::from);
    let network = address.or_else(|_| text.parse::<IpNet>()).map_err(|_| {
        Mistake::new(
            "is not a network",
            "an address, a slash and a length: 10.0.0.0/8",
        )
    })?;
    if let IpNet::V6(six) = network
        && let Some(four) = six.addr().to_ipv4_mapped()
        && let Some(length) = six.prefix_len().checked_sub(96)
    {
        let message = "is an IPv4 network in IPv6, as which no client is ever seen";
        return Err(Mistake::new(message, format!("write {four}/{length}")));
    }
    let truncated = network.trunc();
    if truncated != network {
        // Somebody meant one of two networks; believing the wrong one would be a hole.
        let message = format!("has bits beyond its length of {}", network.prefix_len());
        return Err(Mistake::new(
            message,
            format!("write {truncated} or {}", network.addr()),
        ));
    }
    Ok(network)
}

fn parse_statuses(text: &str) -> Option<RangeInclusive<u16>> {
    let status = |text: &str| {
        let number = parse_digits(text.trim())?;
        u16::try_from(number)
            .ok()
            .filter(|status| (100..=599).contains(status))
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (status(first)?, status(last)?);
    (first <= last).then_some(first..=last)
}

/// Stricter than `str::parse`, which takes a sign.
fn parse_digits(text: &str) -> Option<u64> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
}

const SIZE_UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

/// Bytes, or a number with `KiB`, `MiB` or `GiB`.
pub fn parse_size(text: &str) -> Option<u64> {
    for (unit, bytes) in SIZE_UNITS {
        if let Some(number) = text.strip_suffix(unit) {
            return parse_digits(number)?.checked_mul(bytes);
        }
    }
    parse_digits(text)
}

fn format_size(bytes: &u64) -> String {
    match SIZE_UNITS
        .iter()
        .find(|(_, unit)| *bytes >= *unit && bytes.is_multiple_of(*unit))
    {
        Some((name, unit)) => format!("{}{name}", bytes / unit),
        None => bytes.to_string(),
    }
}

/// `ms` stands before `s`, which is its end.
const DURATION_UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];

fn parse_duration(text: &str) -> Option<Duration> {
    let (unit, milliseconds) = DURATION_UNITS
        .iter()
        .find(|(unit, _)| text.ends_with(unit))?;
    let number = parse_digits(text.strip_suffix(unit)?)?;
    Some(Duration::from_millis(number.checked_mul(*milliseconds)?))
}

fn format_duration(duration: &Duration) -> String {
    let milliseconds = duration.as_millis();
    let fits = |unit: u64| milliseconds > 0 && milliseconds.is_multiple_of(u128::from(unit));
    match DURATION_UNITS.iter().rev().find(|(_, unit)| fits(*unit)) {
        Some((name, unit)) => format!("{}{name}", milliseconds / u128::from(*unit)),
        None => "0s".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn duration(text: &str) -> Result<Parsed, Mistake> {
        Scalar::Duration(Duration::from_millis(1), MINUTE).parse(text)
    }

    #[test]
    fn durations_have_a_unit() {
        for (text, milliseconds) in [
            ("250ms", 250),
            ("10s", 10_000),
            ("1m", 60_000),
            ("1s", 1000),
            ("1ms", 1),
        ] {
            let parsed = duration(text).unwrap();
            assert_eq!(
                parsed,
                Parsed::Duration(Duration::from_millis(milliseconds)),
                "{text}"
            );
        }
        assert_eq!(parse_duration("2h"), Some(MINUTE * 120));
    }

    #[test]
    fn anything_else_is_no_duration() {
        for text in [
            "", "10", "s", "ms", "10 s", "-1s", "+1s", "1.5s", "1d", "1S", "10sec", "1h30m", "١s",
        ] {
            let mistake = duration(text).unwrap_err();
            assert!(
                mistake.message.contains("not a duration"),
                "{text}: {mistake:?}"
            );
            assert!(mistake.hint.contains("250ms"), "{text}");
        }
    }

    #[test]
    fn huge_numbers_are_refused_and_do_not_overflow() {
        for text in [
            "18446744073709551615h",
            "99999999999999999999s",
            "18446744073709551615ms",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert_eq!(parse_size("18446744073709551615GiB"), None);
        assert!(Scalar::Count(0, 9).parse("99999999999999999999").is_err());
    }

    #[test]
    fn range_is_inclusive_at_both_ends_and_told() {
        assert!(duration("1ms").is_ok());
        assert!(duration("60s").is_ok());
        let below = duration("0ms").unwrap_err();
        assert_eq!(
            (below.message.as_str(), below.hint.as_str()),
            ("is too small", "between 1ms and 1m")
        );
        let above = duration("60001ms").unwrap_err();
        assert_eq!(above.message, "is too large");
    }

    #[test]
    fn durations_are_shown_in_their_largest_whole_unit() {
        for (milliseconds, shown) in [
            (0, "0s"),
            (1, "1ms"),
            (1500, "1500ms"),
            (60_000, "1m"),
            (7_200_000, "2h"),
        ] {
            assert_eq!(format_duration(&Duration::from_millis(milliseconds)), shown);
        }
    }

    #[test]
    fn sizes_are_binary() {
        for (text, bytes) in [
            ("0", 0),
            ("65536", 65536),
            ("32KiB", 32768),
            ("1MiB", 1 << 20),
            ("2GiB", 2 << 30),
        ] {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
    }

    #[test]
    fn anything_else_is_no_size() {
        for text in [
            "", "KiB", "1KB", "1K", "1kib", "1 KiB", "-1", "1.5MiB", "1B",
        ] {
            assert!(Scalar::Size(0, u64::MAX).parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_shown_in_their_largest_whole_unit() {
        for (bytes, shown) in [
            (0, "0"),
            (1000, "1000"),
            (1024, "1KiB"),
            (1 << 20, "1MiB"),
            (1025, "1025"),
        ] {
            assert_eq!(format_size(&bytes), shown);
        }
    }

    #[test]
    fn counts_are_digits_in_a_range() {
        let count = Scalar::Count(1, 10);
        assert_eq!(count.parse("1"), Ok(Parsed::Number(1)));
        assert_eq!(count.parse("10"), Ok(Parsed::Number(10)));
        for text in ["0", "11", "", "-1", "+1", "1.0", "one", "1k", "0x1"] {
            assert!(count.parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn flags_are_two_pairs_of_words() {
        for (text, value) in [
            ("true", true),
            ("on", true),
            ("false", false),
            ("off", false),
        ] {
            assert_eq!(Scalar::Flag.parse(text), Ok(Parsed::Flag(value)));
        }
        for text in ["", "yes", "1", "True", "OFF"] {
            assert!(Scalar::Flag.parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn words_are_exact_and_the_nearest_is_told() {
        let word = Scalar::Word(&["round_robin", "least_conn"]);
        assert_eq!(word.parse("least_conn"), Ok(Parsed::Word("least_conn")));
        let hint = |text| word.parse(text).unwrap_err().hint;
        assert_eq!(hint("least_con"), "did you mean `least_conn`?");
        assert_eq!(hint("random"), "write one of `round_robin`, `least_conn`");
    }

    #[test]
    fn addresses_need_ip_and_port() {
        for text in ["0.0.0.0:80", "127.0.0.1:0", "[::]:8080", "[::1]:65535"] {
            assert!(Scalar::Address.parse(text).is_ok(), "{text}");
        }
        for (text, hint) in [
            ("8080", "0.0.0.0:8080"),
            (":8080", "0.0.0.0:8080"),
            ("*:8080", "[::]:8080"),
            ("10.0.0.1", "10.0.0.1:8080"),
            ("::1", "[::1]:8080"),
            ("localhost:80", "127.0.0.1:80"),
            ("example.com:80", "IP address"),
            ("1.2.3.4:65536", "IP address"),
            ("", "IP address"),
        ] {
            let mistake = Scalar::Address.parse(text).unwrap_err();
            assert!(mistake.hint.contains(hint), "{text}: {mistake:?}");
        }
    }

    #[test]
    fn networks_are_exact() {
        for text in ["10.0.0.0/8", "0.0.0.0/0", "192.168.1.1", "fd00::/8", "::1"] {
            assert!(Scalar::Network.parse(text).is_ok(), "{text}");
        }
        let mistake = Scalar::Network.parse("10.1.2.3/8").unwrap_err();
        assert!(mistake.hint.contains("10.0.0.0/8"), "{mistake:?}");
        for (text, four) in [
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:10.0.0.1", "10.0.0.1/32"),
        ] {
            let mistake = parse_network(text).unwrap_err();
            assert!(mistake.hint.contains(four), "{mistake:?}");
        }
        for text in ["", "10.0.0.0/33", "10.0/8", "10.0.0.0/", "ten"] {
            assert!(Scalar::Network.parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn statuses_are_one_code_or_a_rising_range() {
        let statuses = |text| Scalar::StatusRange.parse(text);
        assert_eq!(statuses("200-299"), Ok(Parsed::StatusRange(200..=299)));
        assert_eq!(statuses("204"), Ok(Parsed::StatusRange(204..=204)));
        assert_eq!(statuses("100-599"), Ok(Parsed::StatusRange(100..=599)));
        for text in [
            "",
            "99",
            "600",
            "299-200",
            "200-",
            "-200",
            "2xx",
            "200-299-300",
            "70000",
        ] {
            assert!(statuses(text).is_err(), "{text}");
        }
    }

    #[test]
    fn empty_text_is_refused() {
        assert!(Scalar::Secret.parse("").is_err());
        assert_eq!(Scalar::Secret.parse("x"), Ok(Parsed::Text("x".to_owned())));
    }

    #[test]
    fn percentages_have_two_digits_behind_the_point() {
        for (text, hundredths) in [
            ("0", 0),
            ("1", 100),
            ("0.25", 25),
            ("12.5", 1_250),
            ("099.99", 9_999),
            ("100", 10_000),
            ("100.00", 10_000),
        ] {
            assert_eq!(parse_percent(text), Some(hundredths), "{text}");
        }
        for text in [
            "", ".5", "5.", "100.01", "1000", "-1", "+1", "1e1", "0.125", "5%", "1,5", "1.2.3",
        ] {
            assert_eq!(parse_percent(text), None, "{text}");
            assert!(Scalar::Percent.parse(text).is_err(), "{text}");
        }
    }
}
