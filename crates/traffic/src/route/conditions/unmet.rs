//! What of a list of conditions a request does not fulfil, for people. Never decides: it asks as the list does.

use std::fmt;

use http::Method;
use ipnet::IpNet;

use super::super::details::Details;
use super::{Condition, Conditions, ValuePattern};
use crate::flag::FlagId;

/// One thing that a request does not fulfil.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmet<'a> {
    /// Its method is none of these.
    Method(&'a [Method]),
    /// It carries no such value.
    Value(&'a Condition),
    /// Its client is in none of these networks.
    Source(&'a [IpNet]),
    /// It has not this feature.
    Flag(FlagId),
}

/// As a clause that says what would have to be.
impl fmt::Display for Unmet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Method(methods) => {
                let names: Vec<_> = methods.iter().map(Method::as_str).collect();
                write!(f, "method: {}", names.join(", "))
            }
            Self::Value(condition) => write!(f, "{condition}"),
            Self::Source(networks) => {
                let named = networks.iter().take(NETWORKS_TOLD_MAX);
                let named: Vec<_> = named.map(ToString::to_string).collect();
                let more = if named.len() < networks.len() {
                    ", …"
                } else {
                    ""
                };
                write!(f, "client: {}{more}", named.join(", "))
            }
            Self::Flag(FlagId(position)) => write!(f, "flag: number {position}"),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, name) = (self.part.kind(), self.part.name());
        match &self.value {
            ValuePattern::Present => write!(f, "{kind} {name}: any"),
            ValuePattern::Matches(regex) => write!(f, "{kind} {name}: /{}/", regex.source()),
            ValuePattern::Exact(value) => write!(f, "{kind} {name}: {value}"),
        }
    }
}

impl Conditions {
    /// What of it a request does not fulfil; nothing if it [matches](Self::matches).
    pub fn unmet(&self, details: &impl Details) -> Vec<Unmet<'_>> {
        let method = details.method();
        let has_method =
            self.methods.is_empty() || method.is_some_and(|method| self.methods.contains(method));
        let source = details.source();
        let is_within = |source| self.sources.iter().any(|net| net.contains(&source));
        let has_source = self.sources.is_empty() || source.is_some_and(is_within);
        let method = (!has_method).then_some(Unmet::Method(&self.methods));
        let values = self.values.iter().filter(|one| !one.matches(details));
        let source = (!has_source).then_some(Unmet::Source(&self.sources));
        let flags = self.flags.iter().filter(|flag| !details.has_flag(**flag));
        let unmet = method.into_iter().chain(values.map(Unmet::Value));
        let unmet = unmet.chain(source);
        unmet.chain(flags.copied().map(Unmet::Flag)).collect()
    }
}

/// As many as somebody reads.
const NETWORKS_TOLD_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::super::super::{Part, Regex};
    use super::*;

    struct Sent(Method, &'static str, &'static str);

    impl Details for Sent {
        fn method(&self) -> Option<&Method> {
            Some(&self.0)
        }

        fn values(&self, _: &http::HeaderName) -> impl Iterator<Item = &[u8]> {
            std::iter::once(self.1.as_bytes())
        }

        fn query(&self) -> Option<&str> {
            None
        }

        fn source(&self) -> Option<std::net::IpAddr> {
            self.2.parse().ok()
        }

        fn has_flag(&self, flag: FlagId) -> bool {
            flag == FlagId(1)
        }
    }

    #[test]
    fn what_is_unmet_is_said_and_nothing_is_where_the_list_matches() {
        let condition = |value| Condition {
            part: Part::Header(http::HeaderName::from_static("x-a")),
            value,
        };
        let values = vec![
            condition(ValuePattern::Exact("blue".to_owned())),
            condition(ValuePattern::Matches(Regex::new("b.*").unwrap())),
        ];
        let sources = vec!["10.0.0.0/8".parse().unwrap()];
        let methods = vec![Method::POST, Method::GET];
        let asked =
            Conditions::new(methods, values, sources).with_flags(vec![FlagId(1), FlagId(2)]);
        for (sent, expected) in [
            (
                Sent(Method::GET, "blue", "10.1.2.3"),
                vec!["flag: number 2"],
            ),
            (
                Sent(Method::PUT, "black", "192.0.2.1"),
                vec![
                    "method: GET, POST",
                    "header x-a: blue",
                    "client: 10.0.0.0/8",
                    "flag: number 2",
                ],
            ),
        ] {
            let unmet: Vec<_> = asked.unmet(&sent).iter().map(ToString::to_string).collect();
            assert_eq!(unmet, expected);
            assert!(!asked.matches(&sent));
        }
        let met = asked.with_flags(vec![FlagId(1)]);
        let sent = Sent(Method::GET, "blue", "10.1.2.3");
        assert!(met.matches(&sent) && met.unmet(&sent).is_empty());
    }
}
