//! Route matching by host, path and further conditions. Never parses a request: what it asks for is
//! a [`Details`].
//!
//! Precedence does not depend on the order of the rules: of all that match, the greatest
//! [`Pattern`] wins. The most specific host decides first: an exact name, then the longest
//! wildcard, then any host. Within a host, an exact path goes before the longest expression before
//! the longest prefix. Within a path, more and stricter [`Conditions`] go before fewer. A rule
//! that does not match passes the request on to the next less specific one. The `Ord` of these
//! types spells this out.
//!
//! Paths are compared byte by byte. Whoever asks brings them to their [`plain_path`] before, as an
//! endpoint reads them, and refuses dot segments: two readings of one path are a way past access
//! rules.

mod choices;
mod conditions;
mod details;
mod expressions;
mod host;
mod normal;
mod paths;
mod pattern;
mod reach;
mod regex;
mod spelling;
pub mod split;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;

pub use conditions::{Condition, Conditions, Unmet, ValuePattern};
pub use details::{Details, Part, REPETITIONS_MAX, VALUE_BYTES_MAX};
pub use host::normalize_host;
pub use normal::{
    DotSegments, DoubleSlash, EncodedSlash, Oddity, PathRules, has_dot_segments, normalize,
    readings,
};
pub use pattern::{HostPattern, PathPattern, Pattern};
pub use reach::{Hidden, hidden};
pub use regex::{Regex, RegexError};
pub use spelling::plain_path;

use host::{LONGEST_NAME, lower_case, parent_names};
use paths::{Paths, PathsBuilder};

/// What to match, and what to answer.
#[derive(Clone, Debug)]
pub struct Rule<T> {
    /// Which requests.
    pub pattern: Pattern,
    /// What [`Router::find`] returns.
    pub target: T,
}

/// Two rules that match exactly the same requests, by their position in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The earlier rule.
    pub first: usize,
    /// The later rule, which could never be reached.
    pub second: usize,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, second } = self;
        write!(f, "rules {first} and {second} match the same requests")
    }
}

impl std::error::Error for Conflict {}

/// A set of rules, arranged for lookup. A lookup allocates nothing, and its cost is bounded by the
/// rules, not by what a client sends.
///
/// ```
/// use portcullis_traffic::route::{HostPattern, PathPattern, Pattern, Router, Rule, normalize_host};
///
/// let rule = |host, path: &str, target| {
///     let path = PathPattern::Prefix(path.to_owned());
///     Rule { pattern: Pattern { host, path, conditions: Default::default() }, target }
/// };
/// let api = HostPattern::Exact("api.example.com".into());
/// let router = Router::build([rule(HostPattern::Any, "/", "site"), rule(api, "/v1", "api")])?;
/// let host = normalize_host("API.example.com:8443");
/// assert_eq!(router.find(Some(host), "/v1/users", &()), Some(&"api"));
/// assert_eq!(router.find(Some(host), "/v10", &()), Some(&"site"));
/// # Ok::<(), portcullis_traffic::route::Conflict>(())
/// ```
#[derive(Clone, Debug)]
pub struct Router<T> {
    exact: HashMap<Box<[u8]>, Paths<T>>,
    /// By the name after `*.`.
    wildcards: HashMap<Box<[u8]>, Paths<T>>,
    /// Which lengths those names have, so that a host of a hundred labels costs no hundred lookups.
    wildcard_lengths: [bool; LONGEST_NAME],
    any: Paths<T>,
}

impl<T> Router<T> {
    /// Arranges the rules. Host names are compared without regard to case, so `A.example` and
    /// `a.example` conflict.
    pub fn build(rules: impl IntoIterator<Item = Rule<T>>) -> Result<Self, Conflict> {
        let mut seen = HashMap::new();
        let mut exact: HashMap<Box<[u8]>, PathsBuilder<T>> = HashMap::new();
        let mut wildcards: HashMap<Box<[u8]>, PathsBuilder<T>> = HashMap::new();
        let mut any = PathsBuilder::default();
        for (index, rule) in rules.into_iter().enumerate() {
            let pattern = rule.pattern.to_lower_case();
            match seen.entry(pattern.clone()) {
                Entry::Occupied(earlier) => {
                    return Err(Conflict {
                        first: *earlier.get(),
                        second: index,
                    });
                }
                Entry::Vacant(free) => free.insert(index),
            };
            let paths = match pattern.host {
                HostPattern::Exact(name) => exact.entry(name.into_bytes().into()).or_default(),
                HostPattern::Wildcard(name) => {
                    wildcards.entry(name.into_bytes().into()).or_default()
                }
                HostPattern::Any => &mut any,
            };
            paths.add(pattern.path, pattern.conditions, rule.target);
        }
        let finish = |hosts: HashMap<_, PathsBuilder<T>>| {
            hosts
                .into_iter()
                .map(|(name, paths)| (name, paths.finish()))
                .collect()
        };
        let mut wildcard_lengths = [false; LONGEST_NAME];
        for name in wildcards.keys() {
            if let Some(length) = wildcard_lengths.get_mut(name.len()) {
                *length = true;
            }
        }
        Ok(Self {
            exact: finish(exact),
            wildcards: finish(wildcards),
            wildcard_lengths,
            any: any.finish(),
        })
    }

    /// The target of the most specific rule that matches.
    ///
    /// `host` is the name alone, as [`normalize_host`] leaves it, in any case; `None` or a name that
    /// no DNS name can be (empty, beyond 255 bytes) is matched by [`HostPattern::Any`] only. `path`
    /// is without query. `details` are asked only where a rule for host and path has conditions.
    pub fn find(&self, host: Option<&str>, path: &str, details: &impl Details) -> Option<&T> {
        let mut buffer = [0; LONGEST_NAME];
        host.and_then(|host| lower_case(host, &mut buffer))
            .and_then(|name| self.find_by_name(name, path, details))
            .or_else(|| self.any.find(path, details))
    }

    fn find_by_name(&self, name: &[u8], path: &str, details: &impl Details) -> Option<&T> {
        let exact = self
            .exact
            .get(name)
            .and_then(|paths| paths.find(path, details));
        if exact.is_some() || self.wildcards.is_empty() {
            return exact;
        }
        parent_names(name)
            .filter(|parent| self.wildcard_lengths.get(parent.len()) == Some(&true))
            .filter_map(|parent| self.wildcards.get(parent))
            .find_map(|paths| paths.find(path, details))
    }
}

#[cfg(test)]
mod tests;
