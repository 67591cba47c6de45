//! What a request must fulfil beyond host and path, and which of two such lists is more specific.
//! Never looks a request up: it says yes or no.

use std::cmp::{Ordering, Reverse};

use http::{HeaderName, Method};
use ipnet::IpNet;

use super::details::{Details, Part};
use super::regex::Regex;
use crate::flag::FlagId;

mod unmet;

pub use unmet::Unmet;

/// Everything a request must fulfil; none of it by default.
///
/// The greater of two lists is the more specific. In this order:
///
/// 1. the one with more conditions (all methods together are one, all networks together are one);
/// 2. the one with more exact values, then with more expressions;
/// 3. the one that names networks, then more headers, then more cookies, then more parameters,
///    then more flags;
/// 4. the one with fewer methods, then the one with narrower or fewer networks;
/// 5. the one whose text sorts later, so that the order is total.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Conditions {
    methods: Vec<Method>,
    values: Vec<Condition>,
    sources: Vec<IpNet>,
    flags: Vec<FlagId>,
}

/// One value that a request must carry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Condition {
    /// Where it stands.
    pub part: Part,
    /// What it is.
    pub value: ValuePattern,
}

/// Which values fulfil a condition.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ValuePattern {
    /// Any, as long as there is one.
    Present,
    /// Whatever the whole expression matches.
    Matches(Regex),
    /// Exactly this one.
    Exact(String),
}

impl Conditions {
    /// Of all requests with one of `methods`, with all `values`, from one of `sources`; an empty
    /// list asks for nothing. The order within the lists means nothing.
    pub fn new(
        mut methods: Vec<Method>,
        mut values: Vec<Condition>,
        mut sources: Vec<IpNet>,
    ) -> Self {
        methods.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        methods.dedup();
        values.sort_unstable_by(|a, b| a.rank().cmp(&b.rank()));
        values.dedup();
        for network in &mut sources {
            *network = network.trunc();
        }
        sources.sort_unstable();
        sources.dedup();
        Self {
            methods,
            values,
            sources,
            flags: Vec::new(),
        }
    }

    /// The same, of requests that have all these features besides.
    #[must_use]
    pub fn with_flags(mut self, mut flags: Vec<FlagId>) -> Self {
        flags.sort_unstable();
        flags.dedup();
        self.flags = flags;
        self
    }

    /// Features that it asks for.
    pub fn flags(&self) -> &[FlagId] {
        &self.flags
    }

    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.methods.is_empty()
            && self.values.is_empty()
            && self.sources.is_empty()
            && self.flags.is_empty()
    }

    /// Whether a request fulfils all of it.
    pub fn matches(&self, details: &impl Details) -> bool {
        let has_method = || {
            let method = details.method();
            method.is_some_and(|method| self.methods.contains(method))
        };
        let has_source = || {
            let source = details.source();
            source.is_some_and(|source| self.sources.iter().any(|net| net.contains(&source)))
        };
        (self.methods.is_empty() || has_method())
            && self.values.iter().all(|one| one.matches(details))
            && (self.sources.is_empty() || has_source())
            && self.flags.iter().all(|flag| details.has_flag(*flag))
    }

    /// Whether every request that fulfils `other` fulfils this list, as far as that can be told.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let has_all_methods = self.methods.is_empty()
            || (!other.methods.is_empty()
                && other.methods.iter().all(|one| self.methods.contains(one)));
        let is_wider = |inner: &IpNet| self.sources.iter().any(|outer| outer.contains(inner));
        let has_all_sources = self.sources.is_empty()
            || (!other.sources.is_empty() && other.sources.iter().all(is_wider));
        let follows = |one: &Condition| other.values.iter().any(|given| one.follows_from(given));
        has_all_methods
            && has_all_sources
            && self.values.iter().all(follows)
            && self.flags.iter().all(|flag| other.flags.contains(flag))
    }

    /// Whether it can cover a list other than itself that ranks lower.
    pub(super) fn is_open(&self) -> bool {
        let is_exact = |one: &Condition| matches!(one.value, ValuePattern::Exact(_));
        self.methods.len() > 1 || !self.sources.is_empty() || !self.values.iter().all(is_exact)
    }

    /// A header, parameter or cookie that must have one exact value, and that value.
    pub(super) fn key(&self) -> Option<(&Part, &str)> {
        // The last one: headers, of which there are fewest to look through.
        self.values.iter().rev().find_map(|one| match &one.value {
            ValuePattern::Exact(value) => Some((&one.part, value.as_str())),
            _ => None,
        })
    }

    fn counts(&self) -> [usize; 8] {
        let count = |is: fn(&Condition) -> bool| self.values.iter().filter(|one| is(one)).count();
        let named_sources = usize::from(!self.sources.is_empty());
        [
            self.values.len()
                + self.flags.len()
                + named_sources
                + usize::from(!self.methods.is_empty()),
            count(|one| matches!(one.value, ValuePattern::Exact(_))),
            count(|one| matches!(one.value, ValuePattern::Matches(_))),
            named_sources,
            count(|one| matches!(one.part, Part::Header(_))),
            count(|one| matches!(one.part, Part::Cookie(_))),
            count(|one| matches!(one.part, Part::Query(_))),
            self.flags.len(),
        ]
    }

    /// Bits of an address that the widest network leaves open.
    fn open_bits(&self) -> Option<u8> {
        let open = |net: &IpNet| net.max_prefix_len() - net.prefix_len();
        self.sources.iter().map(open).max()
    }
}

impl Ord for Conditions {
    fn cmp(&self, other: &Self) -> Ordering {
        let breadth = |one: &Self| {
            let sources = (one.open_bits(), one.sources.len());
            (Reverse(one.methods.len()), Reverse(sources))
        };
        let methods = |one: &Self| {
            let names = one.methods.iter().map(Method::as_str);
            names.collect::<Vec<_>>().join(" ")
        };
        let ranks = |one: &Self| -> Vec<_> {
            one.values
                .iter()
                .map(Condition::rank)
                .map(|(part, value)| (part.0, part.1.to_owned(), value.0, value.1.to_owned()))
                .collect()
        };
        self.counts()
            .cmp(&other.counts())
            .then_with(|| breadth(self).cmp(&breadth(other)))
            .then_with(|| ranks(self).cmp(&ranks(other)))
            .then_with(|| methods(self).cmp(&methods(other)))
            .then_with(|| self.sources.cmp(&other.sources))
            .then_with(|| self.flags.cmp(&other.flags))
    }
}

impl PartialOrd for Conditions {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Condition {
    /// On a header field.
    pub fn header(name: HeaderName, value: ValuePattern) -> Self {
        let part = Part::Header(name);
        Self { part, value }
    }

    fn matches(&self, details: &impl Details) -> bool {
        self.part.any(details, |value| self.value.matches(value))
    }

    /// Whether a request that fulfils `given` fulfils this one.
    fn follows_from(&self, given: &Self) -> bool {
        self.part == given.part
            && match (&self.value, &given.value) {
                (ValuePattern::Present, _) => true,
                (ValuePattern::Matches(regex), ValuePattern::Exact(value)) => {
                    regex.is_match(value.as_bytes())
                }
                (mine, given) => mine == given,
            }
    }

    fn rank(&self) -> ((u8, &str), (u8, &str)) {
        let value = match &self.value {
            ValuePattern::Present => (0, ""),
            ValuePattern::Matches(regex) => (1, regex.source()),
            ValuePattern::Exact(value) => (2, value.as_str()),
        };
        (self.part.rank(), value)
    }
}

impl ValuePattern {
    fn matches(&self, value: &[u8]) -> bool {
        match self {
            Self::Present => true,
            Self::Matches(regex) => regex.is_match(value),
            Self::Exact(exact) => exact.as_bytes() == value,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &'static str, value: &str) -> Condition {
        let value = match value.strip_prefix('~') {
            _ if value == "*" => ValuePattern::Present,
            Some(regex) => ValuePattern::Matches(Regex::new(regex).unwrap()),
            None => ValuePattern::Exact(value.to_owned()),
        };
        Condition::header(HeaderName::from_static(name), value)
    }

    fn query(name: &str) -> Condition {
        let part = Part::Query(name.to_owned());
        let value = ValuePattern::Present;
        Condition { part, value }
    }

    fn values(values: &[Condition]) -> Conditions {
        Conditions::new(Vec::new(), values.to_vec(), Vec::new())
    }

    fn methods(methods: &[Method]) -> Conditions {
        Conditions::new(methods.to_vec(), Vec::new(), Vec::new())
    }

    fn flags(flags: &[usize]) -> Conditions {
        let flags = flags.iter().map(|flag| FlagId(*flag)).collect();
        Conditions::default().with_flags(flags)
    }

    fn sources(networks: &[&str]) -> Conditions {
        let networks = networks.iter().map(|net| net.parse().unwrap());
        Conditions::new(Vec::new(), Vec::new(), networks.collect())
    }

    #[test]
    fn more_specific_conditions_are_greater() {
        let rising = [
            values(&[]),
            methods(&[Method::GET, Method::POST]),
            methods(&[Method::GET]),
            flags(&[0]),
            flags(&[1]),
            values(&[query("a")]),
            values(&[header("x-a", "*")]),
            sources(&["10.0.0.0/8", "192.168.0.0/16"]),
            sources(&["10.0.0.0/8"]),
            sources(&["10.0.0.0/9", "10.128.0.0/9"]),
            values(&[header("x-a", "~[a-z]*")]),
            values(&[header("x-a", "a")]),
            flags(&[0, 1]),
            values(&[header("x-a", "*"), query("a")]),
            values(&[header("x-a", "*"), header("x-b", "*")]),
            values(&[header("x-a", "a"), query("a")]),
        ];
        for pair in rising.windows(2) {
            assert!(pair[0] < pair[1], "{pair:#?}");
        }
    }

    #[test]
    fn order_agrees_with_equality_and_not_with_the_order_within() {
        let (a, b) = (header("x-a", "1"), header("x-b", "1"));
        assert_eq!(
            values(&[a.clone(), b.clone()]),
            values(&[b.clone(), a.clone()])
        );
        assert_ne!(values(&[a]).cmp(&values(&[b])), Ordering::Equal);
        assert_eq!(sources(&["10.1.2.3/8"]), sources(&["10.0.0.0/8"]));
    }

    #[test]
    fn what_covers_a_list_and_is_not_its_equal_ranks_lower() {
        let lists = [
            values(&[]),
            values(&[header("x-a", "*")]),
            values(&[header("x-a", "~[a-z]+")]),
            values(&[header("x-a", "a")]),
            values(&[header("x-a", "a"), query("a")]),
            methods(&[Method::GET, Method::POST]),
            methods(&[Method::GET]),
            sources(&["10.0.0.0/8", "192.168.0.0/16"]),
            sources(&["10.0.0.0/8"]),
            sources(&["10.1.0.0/16"]),
            flags(&[0]),
            flags(&[1, 0, 1]),
        ];
        for (a, b) in lists.iter().flat_map(|a| lists.iter().map(move |b| (a, b))) {
            if a != b && a.covers(b) {
                assert!(a < b, "{a:?} {b:?}");
            }
        }
        assert!(lists[1].covers(&lists[3]) && lists[2].covers(&lists[3]));
        assert!(!lists[3].covers(&lists[2]) && !lists[6].covers(&lists[5]));
        assert!(lists[7].covers(&lists[9]) && !lists[9].covers(&lists[7]));
        assert!(!lists[6].covers(&lists[0]) && !lists[8].covers(&lists[0]));
        assert!(lists[10].covers(&lists[11]) && !lists[11].covers(&lists[10]));
    }
}
