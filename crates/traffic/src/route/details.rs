//! What routes may ask of a request beyond host and path. Never parses a request itself.

use std::net::IpAddr;

use http::header::COOKIE;
use http::{HeaderName, Method};

use crate::flag::FlagId;

/// A request, as far as conditions look at it. Engines and tests each answer over their own bytes.
pub trait Details {
    /// The method; `None` fulfils no condition.
    fn method(&self) -> Option<&Method>;
    /// Values of all header fields of this name.
    fn values(&self, name: &HeaderName) -> impl Iterator<Item = &[u8]>;
    /// The query, without the question mark.
    fn query(&self) -> Option<&str>;
    /// The client, behind trusted proxies.
    fn source(&self) -> Option<IpAddr>;
    /// Whether a feature is on for it.
    fn has_flag(&self, flag: FlagId) -> bool;
}

/// A request of which nothing but host and path is known: fulfils no condition.
impl Details for () {
    fn method(&self) -> Option<&Method> {
        None
    }

    fn values(&self, _: &HeaderName) -> impl Iterator<Item = &[u8]> {
        std::iter::empty()
    }

    fn query(&self) -> Option<&str> {
        None
    }

    fn source(&self) -> Option<IpAddr> {
        None
    }

    fn has_flag(&self, _: FlagId) -> bool {
        false
    }
}

/// What a condition looks at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// A header field; repeated ones each count, the first [`REPETITIONS_MAX`] of them.
    Header(HeaderName),
    /// A parameter of the query, name and value percent-decoded, `+` for a space.
    Query(String),
    /// A cookie, as sent.
    Cookie(String),
}

/// How many fields, parameters or cookies are looked at. What clients send beyond it is not there
/// for conditions, so that no request costs more than its share.
pub const REPETITIONS_MAX: usize = 64;

/// Longest value that a condition names.
pub const VALUE_BYTES_MAX: usize = 256;

impl Part {
    /// Whether `accepts` says yes to one of the values the request has for this part.
    pub(super) fn any(
        &self,
        details: &impl Details,
        mut accepts: impl FnMut(&[u8]) -> bool,
    ) -> bool {
        match self {
            Self::Header(name) => details
                .values(name)
                .take(REPETITIONS_MAX)
                .any(|value| accepts(value.trim_ascii())),
            Self::Cookie(name) => {
                let pairs = details
                    .values(&COOKIE)
                    .flat_map(|field| field.split(|byte| *byte == b';'));
                pairs
                    .take(REPETITIONS_MAX)
                    .filter_map(|pair| split_once(pair, b'='))
                    .filter(|(found, _)| found.trim_ascii() == name.as_bytes())
                    .any(|(_, value)| accepts(value.trim_ascii()))
            }
            Self::Query(name) => {
                let query = details.query().unwrap_or_default().as_bytes();
                let pairs = query.split(|byte| *byte == b'&').take(REPETITIONS_MAX);
                pairs
                    .filter(|pair| !pair.is_empty())
                    .map(|pair| split_once(pair, b'=').unwrap_or((pair, &[])))
                    .filter(|(found, _)| is_decoded(found, name.as_bytes()))
                    .any(|(_, value)| {
                        let mut buffer = [0; VALUE_BYTES_MAX];
                        match decoded(value, &mut buffer) {
                            Some(value) => accepts(value),
                            // Rare, and no longer than what was sent.
                            None => accepts(&decode(value).collect::<Vec<_>>()),
                        }
                    })
            }
        }
    }

    /// `header`, `cookie` or `query`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Header(_) => "header",
            Self::Cookie(_) => "cookie",
            Self::Query(_) => "query",
        }
    }

    /// The name of the field, cookie or parameter.
    pub fn name(&self) -> &str {
        match self {
            Self::Header(name) => name.as_str(),
            Self::Cookie(name) | Self::Query(name) => name,
        }
    }

    /// Kind and name, for an order.
    pub(super) fn rank(&self) -> (u8, &str) {
        let kind = match self {
            Self::Header(_) => 2,
            Self::Cookie(_) => 1,
            Self::Query(_) => 0,
        };
        (kind, self.name())
    }
}

fn split_once(pair: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let position = pair.iter().position(|byte| *byte == at)?;
    Some((pair.get(..position)?, pair.get(position + 1..)?))
}

/// Bytes of a form-encoded text; what is no valid escape stands for itself.
fn decode(text: &[u8]) -> impl Iterator<Item = u8> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (first, after) = rest.split_first()?;
        let escaped = match (first, after) {
            (b'%', [high, low, after @ ..]) => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16).map(|digit| digit as u8);
                digit(high)
                    .zip(digit(low))
                    .map(|(high, low)| (high * 16 + low, after))
            }
            (b'+', after) => Some((b' ', after)),
            _ => None,
        };
        let (byte, after) = escaped.unwrap_or((*first, after));
        rest = after;
        Some(byte)
    })
}

fn is_decoded(text: &[u8], plain: &[u8]) -> bool {
    text.len() >= plain.len() && decode(text).eq(plain.iter().copied())
}

/// `None` if it does not fit.
fn decoded<'b>(text: &[u8], buffer: &'b mut [u8; VALUE_BYTES_MAX]) -> Option<&'b [u8]> {
    let mut length = 0;
    for byte in decode(text) {
        *buffer.get_mut(length)? = byte;
        length += 1;
    }
    buffer.get(..length)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request with a query or with header fields.
    struct Sent(&'static str, Vec<(HeaderName, &'static str)>);

    impl Details for Sent {
        fn method(&self) -> Option<&Method> {
            None
        }

        fn values(&self, name: &HeaderName) -> impl Iterator<Item = &[u8]> {
            let named = self.1.iter().filter(move |field| field.0 == *name);
            named.map(|field| field.1.as_bytes())
        }

        fn query(&self) -> Option<&str> {
            Some(self.0)
        }

        fn source(&self) -> Option<IpAddr> {
            None
        }

        fn has_flag(&self, _: FlagId) -> bool {
            false
        }
    }

    fn values(part: &Part, sent: &Sent) -> Vec<String> {
        let mut values = Vec::new();
        part.any(sent, |value| {
            values.push(String::from_utf8_lossy(value).into_owned());
            false
        });
        values
    }

    #[test]
    fn parameters_are_decoded_as_endpoints_do() {
        let part = Part::Query("a b".to_owned());
        for (query, expected) in [
            ("a+b=1&a%20b=2&a b=3", vec!["1", "2", "3"]),
            ("a+b", vec![""]),
            ("a+b=x%3Dy=z", vec!["x=y=z"]),
            ("a%2+b=1&a%zzb=2&=3&&", vec![]),
            ("A+B=1", vec![]),
        ] {
            assert_eq!(values(&part, &Sent(query, Vec::new())), expected, "{query}");
        }
        let percent = Part::Query("%".to_owned());
        assert_eq!(values(&percent, &Sent("%=%4", Vec::new())), ["%4"]);
    }

    #[test]
    fn cookies_are_found_in_all_fields_and_compared_as_sent() {
        let fields = ["a=1; b=2", "b=3;c", " b = 4 ", "bb=5; B=6", "b=\"7\""];
        let fields = fields.map(|value| (COOKIE, value)).to_vec();
        let part = Part::Cookie("b".to_owned());
        assert_eq!(values(&part, &Sent("", fields)), ["2", "3", "4", "\"7\""]);
    }

    #[test]
    fn what_is_repeated_without_end_is_looked_at_so_often() {
        let name = HeaderName::from_static("x-a");
        let fields = vec![(name.clone(), "v"); 1_000];
        let part = Part::Header(name);
        assert_eq!(values(&part, &Sent("", fields)).len(), REPETITIONS_MAX);
        let long: &'static str = Box::leak("q=1&".repeat(1_000).into_boxed_str());
        let part = Part::Query("q".to_owned());
        assert_eq!(
            values(&part, &Sent(long, Vec::new())).len(),
            REPETITIONS_MAX
        );
    }

    #[test]
    fn a_long_parameter_is_decoded_too() {
        let part = Part::Query("q".to_owned());
        for count in [VALUE_BYTES_MAX, VALUE_BYTES_MAX + 1, 5_000] {
            let query = format!("q={}", "%41".repeat(count));
            let query: &'static str = Box::leak(query.into_boxed_str());
            let values = values(&part, &Sent(query, Vec::new()));
            assert_eq!(values, ["A".repeat(count)]);
        }
    }
}
